package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestChanges: dates that become NULL are told of on the terminal and in the receipt, in words.
func TestChanges(t *testing.T) {
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	db.Exec("SET sql_mode = ''; CREATE TABLE z (d DATE); INSERT INTO z VALUES ('0000-00-00'), ('2024-01-31'), ('2024-02-00')")
	receipt := filepath.Join(t.TempDir(), "receipt")
	r := w.run("run", w.pipeline(settings{"query": "SELECT d FROM z ORDER BY d DESC", "zero_dates": "null"}, "csv"), "-o", w.output("rows"), "--summary", receipt)
	const want = "2 zero, partial or impossible dates became NULL (zero_dates: null)"
	if lines := strings.Split(strings.TrimSpace(r.stderr), "\n"); r.code != 0 || len(lines) != 2 || lines[1] != "note: "+want {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	var got struct{ Changes []string }
	if err := json.Unmarshal(readFile(t, receipt), &got); err != nil || len(got.Changes) != 1 || got.Changes[0] != want {
		t.Errorf("the receipt says %q (%v)", got.Changes, err)
	}
	if r := w.run("run", w.pipeline(settings{"query": "SELECT d FROM z WHERE d = '2024-01-31'", "zero_dates": "null"}, "csv"), "-o", w.output("rows")); strings.Contains(r.stderr, "note:") {
		t.Errorf("nothing was changed:\n%s", r.stderr)
	}
}
