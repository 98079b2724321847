package mysql

import (
	"fmt"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestPreview: the result ends after max_rows, in the midst of a batch and behind one, of text and binary rows, also
// when there are just so many or fewer; and what was left of the statement does not go on.
func TestPreview(t *testing.T) {
	db := dbtest.MariaDB(t)
	for _, c := range []struct {
		rows     string
		most     int
		want     int
		protocol string
	}{
		{"1000000000", 1, 1, "binary"}, {"1000000000", 10_000, 10_000, "text"}, {"1000000000", 8192, 8192, "binary"}, {"5", 5, 5, "auto"}, {"5", 6, 5, "auto"}, {"5", 0, 5, "auto"},
	} {
		got := mustRead(t, settings{"url": db.DSN(db.Database()), "query": "SELECT seq, 'preview' FROM seq_1_to_" + c.rows, "max_rows": c.most, "protocol": c.protocol})
		if len(got.rows) != c.want || got.rows[c.want-1][0] != fmt.Sprint(c.want) {
			t.Errorf("%s rows, at most %d: %d", c.rows, c.most, len(got.rows))
		}
		await(t, "the query's end", func() bool { return running(db, "preview") == "0" })
	}
	db.Exec("DELIMITER //\nCREATE PROCEDURE many() BEGIN SELECT seq, 'preview' FROM seq_1_to_1000000000; SELECT 2; END //")
	if got := mustRead(t, settings{"url": db.DSN(db.Database()), "call": "many", "max_rows": 7, "result_set": 1}); len(got.rows) != 7 {
		t.Errorf("a call gives %d rows", len(got.rows))
	}
	await(t, "the call's end", func() bool { return running(db, "preview") == "0" })
}
