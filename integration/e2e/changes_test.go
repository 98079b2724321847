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
	t.Parallel()
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

// TestLeftOutIsTold: what a call gave and the output does not hold is told of as well.
func TestLeftOutIsTold(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	db.Exec(`DELIMITER //
CREATE PROCEDURE several(OUT n INT) BEGIN SELECT 1 AS a; SET SESSION group_concat_max_len = 4;
 SELECT GROUP_CONCAT(seq + 100) AS b FROM seq_1_to_3; SET n = 7; END//`)
	receipt := filepath.Join(t.TempDir(), "receipt")
	with := settings{"call": "several", "args": []any{nil}, "result_set": 2, "warnings": "count"}
	r := w.run("run", w.pipeline(with, "csv"), "-o", w.output("rows"), "--summary", receipt)
	var got struct{ Changes []string }
	if err := json.Unmarshal(readFile(t, receipt), &got); err != nil || r.code != 0 || len(got.Changes) != 3 {
		t.Fatalf("it ended with %d (%v):\n%s", r.code, err, r.stderr)
	}
	for _, want := range []string{
		"the server gave 1 warning (warnings: count)",
		"1 further result set was dropped (result_set)",
		"what 1 OUT parameter held was dropped (result_set: out delivers it)",
	} {
		if !strings.Contains(r.stderr, "note: "+want+"\n") || !strings.Contains(strings.Join(got.Changes, "\n"), want) {
			t.Errorf("nobody is told that %s:\n%s\n%q", want, r.stderr, got.Changes)
		}
	}
	with["warnings"] = "cut"
	if r := w.run("run", w.pipeline(with, "csv"), "-o", w.output("rows")); r.code == 0 || !strings.Contains(r.stderr, "mysql.warning") {
		t.Errorf("a list that was cut: it ended with %d:\n%s", r.code, r.stderr)
	}
}

// TestOutParametersOfCustom: what a called procedure leaves in its parameters can be asked for.
func TestOutParametersOfCustom(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	db.Exec("DELIMITER //\nCREATE PROCEDURE gives(IN a INT, OUT n DECIMAL(5,2)) BEGIN SELECT a; SET n = a / 4; END//")
	w := newWorkspace(t, db.DSN(db.Database()))
	output := w.output("rows")
	r := w.run("run", w.custom("", "gives"), "-p", "procedure_name=gives", "-p", "arguments=[5]", "-p", "out_parameters=true", "-o", output)
	if got := string(readFile(t, output)); r.code != 0 || !strings.Contains(got, "1.25") || !strings.Contains(r.stderr, "1 further result set was dropped") {
		t.Errorf("it ended with %d and gave %q:\n%s", r.code, got, r.stderr)
	}
}
