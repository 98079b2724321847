package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

func TestDebuggingUsage(t *testing.T) {
	t.Setenv(session.EnvDSN, noDSN)
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const visits = "testdata/visits.yaml"
	base := []string{"run", visits, "-p", "since=2024-01-31"}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--attach", "mask"}, `runs no stage "mask"`},
		{[]string{"--attach", "mask"}, "it runs source (mysql)"},
		{[]string{"--attach", "source", "--isolation", "none"}, "runs in the host's own process"},
		{[]string{"--attach", "source", "--attach", "mysql"}, `stage "source" is to be attached twice`},
		{[]string{"--record", ""}, "--record names no folder"},
		{[]string{"--record", "rec", "--isolation", "none"}, "leave --isolation out"},
		{[]string{"--record", "rec", "--isolation", "group"}, "leave --isolation out"},
		{[]string{"--record", full}, "is not empty"},
	} {
		got := cmdtest.Call(t, append(append([]string{}, base...), c.args...)...)
		if got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr, c.says) {
			t.Errorf("%v: it ended with %d:\n%s", c.args, got.Code, got.Stderr)
		}
	}
}
