package mysql

import (
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/decimal256"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestCursorOfPartitions: several connections read from the cursor on what one reads, and the greatest value is that
// of all parts.
func TestCursorOfPartitions(t *testing.T) {
	db := dbtest.MariaDB(t)
	// The greatest time is in the midst of the key.
	db.Exec("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME(6) NOT NULL, more VARCHAR(100)); INSERT INTO t SELECT seq, '2024-01-01' + INTERVAL (seq * 7919) % 50000 SECOND, REPEAT('x', 100) FROM seq_1_to_50000; ANALYZE TABLE t")
	last := "2024-01-01 13:53:19"
	for _, from := range []string{"", "2024-01-01 10:00:00"} {
		var before [][]string
		for _, partitions := range []int{1, 4} {
			c := config.Cursor{Column: "at", Type: config.CursorTimestamp, From: from, Zone: "UTC"}
			if from != "" {
				c.Origin = newTargetOf(t, db.DSN(db.Database()))
			}
			with := asked(db.DSN(db.Database()), settings{"table_name": "t"})
			with["cursor"], with["partitions"], with["partition_buffer"], with["time_zone"] = c.Tree(), partitions, "1MiB", "+00:00"
			got := mustRead(t, with)
			if got.facts[stage.FactCursor] != last || partitions > 1 && got.facts["snapshot"] == "" {
				t.Errorf("from %q, %d connections: %v", from, partitions, got.facts)
			}
			if before != nil && !slices.EqualFunc(before, got.rows, slices.Equal) {
				t.Errorf("from %q: %d rows by one connection, %d by several", from, len(before), len(got.rows))
			}
			if before = got.rows; from == "" && len(before) != 50000 || from != "" && len(before) != 14000 {
				t.Errorf("from %q: %d rows", from, len(before))
			}
		}
	}
}

// newTargetOf is what a state says of a database.
func newTargetOf(t *testing.T, dsn string) string {
	t.Helper()
	target, err := newTarget(&Settings{URL: config.NewSecret(dsn), TimeZone: zoneServer})
	if err != nil {
		t.Fatal(err)
	}
	return target.address + "/" + target.database
}

// TestDecimalText: every digit, and the zeros that a scale has.
func TestDecimalText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value string
		scale int32
		want  string
	}{{"0", 0, "0"}, {"-7", 0, "-7"}, {"0.00", 2, "0.00"}, {"-0.05", 2, "-0.05"}} {
		v, err := decimal256.FromString(c.value, 65, c.scale)
		if err != nil {
			t.Fatal(err)
		}
		if got := decimalText(v, int(c.scale)); got != c.want {
			t.Errorf("%s is %s", c.value, got)
		}
	}
}
