package plugin

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// TestFolderOfPluginsNotThereYet: the variable may be set before the first installation.
func TestFolderOfPluginsNotThereYet(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "plugins")
	t.Setenv(session.EnvPlugins, missing)
	for _, args := range []string{
		"plan appointments", "lint appointments", "schema", "plugin list", "plugin info where", "describe appointments",
	} {
		if got := cmdtest.Call(t, strings.Fields(args)...); got.Code != 0 {
			t.Errorf("%s: %d %s", args, got.Code, got.Stderr)
		}
	}
	for _, args := range []string{"plugin remove upper", "plugin verify", "plan appointments --plugins " + missing} {
		if got := cmdtest.Call(t, strings.Fields(args)...); got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr, missing) {
			t.Errorf("%s: %d %s", args, got.Code, got.Stderr)
		}
	}
}

// TestLimitsInPlan: what a run may take is seen before it is started.
func TestLimitsInPlan(t *testing.T) {
	for _, c := range []struct {
		args          string
		shows, hidden string
	}{
		{"plan custom_table -p table_name=x", "timeout  180s", "stall"},
		{"plan custom_table -p table_name=x --timeout 2h --stall 30s", "timeout  7200s\n  stall    30s", "180s"},
		{"plan custom_table -p table_name=x --timeout 0s", "custom_table", "timeout  "},
	} {
		got := cmdtest.Call(t, strings.Fields(c.args)...)
		if got.Code != 0 || !strings.Contains(got.Stdout, c.shows) || strings.Contains(got.Stdout, c.hidden) {
			t.Errorf("%s: %d\n%s%s", c.args, got.Code, got.Stdout, got.Stderr)
		}
	}
}
