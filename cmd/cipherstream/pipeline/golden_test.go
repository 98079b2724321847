package pipeline

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
)

// TestGolden holds what the commands that only look at things print.
func TestGolden(t *testing.T) {
	const visits = "testdata/visits.yaml"
	for _, c := range []struct {
		file string
		code int
		args []string
	}{
		{"describe.txt", 0, []string{"describe", visits}},
		{"describe.json", 0, []string{"describe", visits, "--json"}},
		{"plan.txt", 0, []string{"plan", visits, "-p", "since=2024-01-31", "-c", "gzip", "-o", "/data/out.gz"}},
		{"plan.json", 0, []string{"plan", visits, "-p", "since=2024-01-31", "-f", "csv", "--isolation", "stage", "--json"}},
		{"plan_missing.txt", 2, []string{"plan", visits}},
		{"plan_rule.txt", 2, []string{"plan", visits, "-p", "since=2024-02-30", "-p", "mots=1"}},
		{"describe_state.txt", 0, []string{"describe", "testdata/changes.yaml"}},
		{"plan_state.txt", 0, []string{"plan", "testdata/changes.yaml", "--state-file", "testdata/changes.state"}},
		{"plan_no_state.txt", 0, []string{"plan", "testdata/changes.yaml"}},
		{"lint_state.txt", 2, []string{"lint", "testdata/changes.yaml", "testdata/changes_bad.yaml"}},
		{"lint_good.txt", 0, []string{"lint", visits, "testdata/everything.yaml"}},
		{"lint_bad.txt", 2, []string{"lint", visits, "testdata/bad.yaml"}},
		{"lint_bad.json", 2, []string{"lint", "testdata/bad.yaml", "--json"}},
		{"lint_bad.sarif", 2, []string{"lint", "testdata/bad.yaml", "--sarif"}},
	} {
		t.Run(strings.Join(append([]string{c.file}, c.args...), " "), func(t *testing.T) {
			got := cmdtest.Call(t, c.args...)
			if got.Code != c.code {
				t.Errorf("exit code %d, want %d", got.Code, c.code)
			}
			golden.Compare(t, c.file, got.Stdout+got.Stderr)
			if got.Stdout != "" && got.Stderr != "" {
				t.Error("a result and an error came together")
			}
		})
	}
}
