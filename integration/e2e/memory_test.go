package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestMemory: five times the rows need no more memory.
func TestMemory(t *testing.T) {
	const (
		few, many = 300_000, 1_500_000
		// most is what the plugin process of a usual run may need, in bytes, and grows
		// what more rows may add, however the stages are spread.
		most, grows = 128 << 20, 20 << 20
	)
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	w.env = []string{"CIPHERSTREAM_KEYS=" + newKey()}
	peak := func(rows int, args ...string) int64 {
		summary := filepath.Join(t.TempDir(), "summary")
		source := settings{"query": fmt.Sprintf(
			"SELECT seq, seq * 3 AS a, 'Attended' AS status, CAST('2024-02-29 12:34:56' AS DATETIME) AS at, CAST(seq AS DECIMAL(12,4)) AS fee, REPEAT('n', seq %% 40) AS note FROM seq_1_to_%d", rows)}
		w.must(append([]string{"run", w.extending("output", source), "--summary", summary}, args...)...)
		var receipt struct {
			Rows      int `json:"rows"`
			Processes []struct {
				PeakMemoryBytes int64 `json:"peak_memory_bytes"`
			} `json:"processes"`
		}
		if err := json.Unmarshal(readFile(t, summary), &receipt); err != nil {
			t.Fatal(err)
		}
		if receipt.Rows != rows {
			t.Fatalf("%d rows, want %d", receipt.Rows, rows)
		}
		total := int64(0)
		for _, p := range receipt.Processes {
			if p.PeakMemoryBytes <= 0 {
				t.Errorf("%v: a process without a peak", args)
			}
			total += p.PeakMemoryBytes
		}
		return total
	}
	for _, c := range []struct {
		bounded bool
		args    []string
	}{
		{true, []string{"-o", "/dev/null"}},
		{false, []string{"-o", "/dev/null", "--isolation", "stage"}},
		{true, []string{"-o", "/dev/null", "-f", "parquet"}},
		{true, []string{"--job", "--bucket", t.TempDir(), "--object", "x", "-c", "zip", "--encrypted", "--customer", "c"}},
	} {
		a, b := peak(few, c.args...), peak(many, c.args...)
		t.Logf("%v: %d MiB for %d rows, %d MiB for %d", c.args, a>>20, few, b>>20, many)
		if b-a > grows || c.bounded && b > most {
			t.Errorf("%v: %d rows need %d bytes, %d rows need %d", c.args, few, a, many, b)
		}
	}
}

// extending writes a pipeline that extends a template of the catalogue, with a
// source of its own.
func (w *workspace) extending(template string, source settings) string {
	w.Helper()
	text, err := json.Marshal(source) // JSON is YAML
	if err != nil {
		w.Fatal(err)
	}
	path := filepath.Join(w.TempDir(), "extending.yaml")
	if err := os.WriteFile(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: e2e, title: End to end}
spec: {extends: `+template+`, stages: {source: {use: mysql, with: `+string(text)+`}}}
`), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}
