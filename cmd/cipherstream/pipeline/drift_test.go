package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
)

// TestDrift runs pipelines whose columns are not what the database delivers. Nothing
// of such a run reaches the output, unless the pipeline allows it.
func TestDrift(t *testing.T) {
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	dir := t.TempDir()
	pipeline := func(name, drift string, columns ...string) string {
		path := filepath.Join(dir, name+".yaml")
		text := "apiVersion: cipherstream/v1\nkind: Pipeline\nmetadata: {name: " + name + "}\nspec:\n  drift: " + drift + `
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", query: "SELECT patient_id, surname, NULLIF(patient_id, 1) AS other FROM patient ORDER BY patient_id LIMIT 3"}}
    encoder: {use: csv}
    sink: {use: stream, with: {to: "${run.output}"}}
  columns: [` + strings.Join(columns, ", ") + "]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	exact := []string{"{name: surname, type: string, nullable: false}", "{name: other, type: int64}", "{name: patient_id, type: int64, nullable: false}"}
	drifted := []string{"{name: patient_id, type: int8}", "{name: surnam, type: string}", "{name: other, type: int64, nullable: false}"}
	nulls := []string{"{name: patient_id, type: int64}", "{name: surname, type: string}", "{name: other, type: int64, nullable: false}"}
	for _, c := range []struct {
		name, file     string
		code           int
		header, stderr string
	}{
		{"exact", pipeline("exact", "fail", exact...), 0, "surname,other,patient_id", ""},
		{"fail", pipeline("fail", "fail", drifted...), 1, "", "drift.columns"},
		{"null", pipeline("nulls", "fail", nulls...), 1, "", "drift.null"},
		{"warn", pipeline("warn", "warn", drifted...), 0, "patient_id,other,surname", "the contract says string, the source delivers no such column"},
		{"ignore", pipeline("ignored", "ignore", drifted...), 0, "patient_id,surname,other", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, summary := filepath.Join(dir, c.name+".csv"), filepath.Join(dir, c.name+".json")
			got := cmdtest.Call(t, "run", c.file, "-o", out, "--summary", summary)
			if got.Code != c.code || !strings.Contains(got.Stderr, c.stderr) {
				t.Errorf("%+v", got)
			}
			content, err := os.ReadFile(out)
			if (err == nil) != (c.code == 0) {
				t.Errorf("the output: %q, %v", content, err)
			}
			if header, _, _ := strings.Cut(string(content), "\r\n"); header != c.header {
				t.Errorf("the header is %q", header)
			}
			if c.stderr == "drift.columns" {
				if got := cmdtest.Call(t, "run", c.file); got.Stdout != "" {
					t.Errorf("standard output got %q", got.Stdout)
				}
			}
			if c.name != "warn" {
				return
			}
			text, err := os.ReadFile(summary)
			if err != nil {
				t.Fatal(err)
			}
			var receipt struct{ Counters map[string]int64 }
			if err := json.Unmarshal(text, &receipt); err != nil || receipt.Counters["contract.drift_nulls.other"] != 1 {
				t.Errorf("%v, %s", err, text)
			}
		})
	}
}
