package e2e

import (
	"encoding/json"
	"fmt"
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
	peak := func(rows int, isolation string) int64 {
		summary := filepath.Join(t.TempDir(), "summary")
		source := settings{"query": fmt.Sprintf(
			"SELECT seq, seq * 3 AS a, 'Attended' AS status, CAST('2024-02-29 12:34:56' AS DATETIME) AS at, CAST(seq AS DECIMAL(12,4)) AS fee, REPEAT('n', seq %% 40) AS note FROM seq_1_to_%d", rows)}
		w.must("run", w.pipeline(source, "ndjson"), "-o", "/dev/null", "--isolation", isolation, "--summary", summary)
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
				t.Errorf("isolation %s: a process without a peak", isolation)
			}
			total += p.PeakMemoryBytes
		}
		return total
	}
	for _, isolation := range []string{"group", "stage"} {
		a, b := peak(few, isolation), peak(many, isolation)
		t.Logf("isolation %s: %d MiB for %d rows, %d MiB for %d", isolation, a>>20, few, b>>20, many)
		if b-a > grows || isolation == "group" && b > most {
			t.Errorf("isolation %s: %d rows need %d bytes, %d rows need %d", isolation, few, a, many, b)
		}
	}
}
