package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// found runs check and returns its findings as LEVEL STAGE CODE, without those that are fine.
func found(t *testing.T, args ...string) (cmdtest.Result, []string) {
	t.Helper()
	r := cmdtest.Call(t, append([]string{"check", "--json", "--isolation", "none"}, args...)...)
	var out checked
	if err := json.Unmarshal([]byte(r.Stdout), &out); err != nil {
		t.Fatalf("check %v: exit %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	if out.ExitCode != r.Code || out.OK != (r.Code == terminal.ExitDone) {
		t.Errorf("check %v: exit %d, and the answer says %d, ok %v", args, r.Code, out.ExitCode, out.OK)
	}
	var list []string
	for _, f := range out.Findings {
		if f.Level != "fine" {
			list = append(list, string(f.Level)+" "+f.Stage+" "+f.Code)
		}
	}
	return r, list
}

func contractOf(columns string) string {
	return strings.TrimSuffix(pipelineWith("${secret.dsn}", "SELECT patient_id, surname FROM patient", "", "${run.output}"), "\n") +
		"\n  columns:\n" + columns
}

// Everything that is wrong comes in one answer, with the exit code that run has.
func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	drifted := writeFile(t, "mine.yaml", contractOf("    - {name: patient_id, type: string}\n    - {name: surnme, type: string}\n"))
	good := writeFile(t, "mine.yaml", contractOf("    - {name: patient_id, type: int64}\n    - {name: surname, type: string}\n"))
	missing := filepath.Join(dir, "missing", "rows.ndjson")
	const warning, call = "warning source mysql.may_write", "unchecked source check.unchecked"
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"good", []string{good, "--sandbox"}, terminal.ExitDone, []string{warning}},
		{"drift and output", []string{drifted, "--sandbox", "-o", missing}, terminal.ExitFailed, []string{warning, "wrong contract drift.columns", "wrong sink sink.not_found", "unchecked encoder check.unchecked"}},
		{"a procedure", []string{"appointments", "--sandbox", "-f", "parquet", "-o", filepath.Join(dir, "x.parquet")}, terminal.ExitDone, []string{warning, call}},
		{"a table, bucket to be made", []string{"custom_table", "--sandbox", "-p", "table_name=patient", "--job", "--bucket", filepath.Join(dir, "bucket", "below")}, terminal.ExitDone, []string{warning}},
		{"no such table", []string{"custom_table", "--sandbox", "-p", "table_name=patents", "--summary", filepath.Join(dir, "missing", "r.json")}, terminal.ExitUsage,
			[]string{"wrong  cli.usage", warning, "wrong source mysql.table_not_available", "unchecked encoder check.unchecked"}},
		{"no server, no folder", []string{"appointments", "--dsn", "mysql://u:hunter2@127.0.0.1:1/x", "-o", missing}, terminal.ExitConnect,
			[]string{"wrong source mysql.connect", "wrong sink sink.not_found"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, got := found(t, c.args...)
			slices.Sort(got)
			slices.Sort(c.want)
			if r.Code != c.code || !slices.Equal(got, c.want) {
				t.Errorf("exit %d, want %d: %q, want %q\n%s", r.Code, c.code, got, c.want, r.Stdout)
			}
			if strings.Contains(r.Stdout+r.Stderr, "hunter2") {
				t.Errorf("the password is shown: %s%s", r.Stdout, r.Stderr)
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("check left behind %v (%v)", entries, err)
	}
}

// A pipeline that is wrong in itself ends as in run, and in a process of its own check
// finds the same.
func TestCheckStartsAsRun(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"appointmnts"}, {"appointments", "--sandbox", "-p", "nonsense=1"}, {"appointments"}} {
		c, r := cmdtest.Call(t, append([]string{"check"}, args...)...), cmdtest.Call(t, append([]string{"run"}, args...)...)
		if c.Code != terminal.ExitUsage || c.Code != r.Code || c.Stderr != r.Stderr {
			t.Errorf("%v: check %d %q, run %d %q", args, c.Code, c.Stderr, r.Code, r.Stderr)
		}
	}
	r := cmdtest.Call(t, "check", "custom_table", "--sandbox", "-p", "table_name=patient", "-o", filepath.Join(t.TempDir(), "rows.parquet"))
	if r.Code != terminal.ExitDone || !strings.Contains(r.Stdout, "45 columns") || !strings.Contains(r.Stdout, "nothing is wrong, 1 warning") {
		t.Errorf("exit %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
}
