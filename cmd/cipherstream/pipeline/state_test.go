package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/statefile"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// TestStateFlag: a run of a pipeline with state is told where to keep it, and takes no state that is not its own.
func TestStateFlag(t *testing.T) {
	t.Parallel()
	const changes = "testdata/changes.yaml"
	damaged := writeFile(t, "damaged.state", "{}")
	for name, c := range map[string]struct {
		args []string
		code string
		says string
	}{
		"nowhere": {[]string{"run", changes, "--dsn", "mysql://u:p@db/practice"}, "cli.usage",
			"--state-file"},
		"nowhere, checked": {[]string{"check", changes, "--dsn", "mysql://u:p@db/practice"}, "cli.usage",
			"--state-file"},
		"damaged": {[]string{"plan", changes, "--state-file", damaged}, statefile.CodeDamaged, "copy"},
		"another parameter": {[]string{"plan", changes, "--state-file", "testdata/changes.state", "-p",
			"location=2"}, "state.other", "params.location"},
		"another pipeline": {[]string{"plan", "testdata/visits.yaml", "-p", "since=2024-01-31", "--state-file",
			"testdata/changes.state"}, "state.other", "keeps no state"},
		"a folder": {[]string{"plan", changes, "--state-file", t.TempDir()}, statefile.CodeFile,
			"not a file"},
		"another's, in a run": {[]string{"run", changes, "--dsn", "mysql://u:p@db/practice", "--state-file",
			"testdata/changes.state", "-p", "location=2"}, "state.other", ""},
	} {
		got := cmdtest.Call(t, append(c.args, "--json")...)
		if got.Code != terminal.ExitUsage || !strings.Contains(got.Stdout+got.Stderr, c.code) ||
			!strings.Contains(got.Stdout+got.Stderr, c.says) {
			t.Errorf("%s: exit %d: %s%s", name, got.Code, got.Stdout, got.Stderr)
		}
	}
}

// TestStateOfSandbox: a run keeps how far it has come, a preview does not, and another database is not gone on with.
func TestStateOfSandbox(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "changes.state")
	run := func(args ...string) cmdtest.Result {
		return cmdtest.Call(t, append([]string{"run", "testdata/changes.yaml", "--sandbox", "--isolation", "none",
			"--progress", "none", "-o", "/dev/null"}, args...)...)
	}
	for name, args := range map[string][]string{"a preview": {"--state-file", "none", "-p", "limit=3"},
		"every row": {"--state-file", "none"}} {
		if got := run(args...); got.Code != terminal.ExitDone {
			t.Errorf("%s: exit %d: %s", name, got.Code, got.Stderr)
		}
	}
	if got := run("--state-file", state, "-p", "limit=3"); got.Code != terminal.ExitUsage ||
		!strings.Contains(got.Stderr, "max_rows") {
		t.Errorf("a preview with state: exit %d: %s", got.Code, got.Stderr)
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("a run that failed has kept a state")
	}
	if got := run("--state-file", state); got.Code != terminal.ExitDone {
		t.Fatalf("exit %d: %s", got.Code, got.Stderr)
	}
	kept, err := statefile.Read(state)
	if err != nil || kept.Pipeline != "changes" || kept.Cursor != "updated_date" ||
		kept.Inputs["params.location"] != "1" || len(kept.Inputs) != 2 {
		t.Errorf("%+v, %v", kept, err)
	}
	// Every sandbox is another server.
	if got := run("--state-file", state); got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr,
		"mysql.cursor_origin") {
		t.Errorf("another database: exit %d: %s", got.Code, got.Stderr)
	}
	var p struct{ State struct{ From, Last string } }
	got := cmdtest.Call(t, "plan", "testdata/changes.yaml", "--json", "--state-file", state)
	if err := json.Unmarshal([]byte(got.Stdout), &p); err != nil || p.State.Last != kept.Value ||
		p.State.From >= kept.Value {
		t.Errorf("%s%s: %v", got.Stdout, got.Stderr, err)
	}
}
