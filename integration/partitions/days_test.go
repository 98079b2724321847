package partitions

import (
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestDays: a procedure whose rows belong to one day each gives the same rows in parts of its range, in the order of the
// parts; and one connection calls it where the range cannot be cut.
func TestDays(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		numbers(db, 1000)
		db.Exec("CREATE TABLE visit (id INT PRIMARY KEY, d DATE, KEY (d)); INSERT INTO visit SELECT n, '2024-02-20' + INTERVAL n * 37 % 50 DAY FROM numbers;\nDELIMITER //\n" +
			"CREATE PROCEDURE visits(a DATE, word VARCHAR(9), b DATE) BEGIN SELECT id, d, word FROM visit WHERE (a IS NULL OR d >= a) AND (b IS NULL OR d <= b) ORDER BY id; END//\n" +
			"CREATE PROCEDURE leaves(a DATE, b DATE) BEGIN COMMIT; SELECT id FROM visit WHERE d BETWEEN a AND b; END//\n" +
			"CREATE PROCEDURE odd(a DATE, b DATE) BEGIN IF a > '2024-02-25' THEN SELECT id FROM visit WHERE d BETWEEN a AND b; ELSE SELECT d, id FROM visit WHERE d BETWEEN a AND b; END IF; END//\n")
		_, url := account(t, db, "")
		days := map[string]any{"from": 1, "to": 3, "tables": "visit, " + db.Database() + ".numbers"}
		for _, c := range []struct {
			from, to any
			parts    string
		}{
			{"2024-02-20", "2024-04-09", "3 connections, 12 parts"}, {"2024-02-28", "2024-03-01", "3 connections, 3 parts"},
			{"2024-02-28", "2024-03-15", "3 connections, 12 parts"}, {"1999-01-01", "9999-12-31", "3 connections, 12 parts"},
			{"2024-03-01", "2024-03-01", "1 connection: the range has no two days"}, {"2024-03-02", "2024-03-01", "1 connection: the range has no two days"},
			{nil, "2024-03-01", "1 connection: the range is not from one day"}, {"2024-02-28", nil, "1 connection: the range is not from one day"},
			{"2024-2-28", "2024-03-01", "1 connection: the range is not from one day"},
		} {
			with := settings{"url": url, "call": "visits", "args": []any{c.from, "w", c.to}}
			want, got := read(t, with), read(t, with.with(settings{"partitions": 3, "partition_days": days}))
			if !strings.HasPrefix(got.facts["partitions"], c.parts) {
				t.Errorf("%v to %v: the receipt says %q", c.from, c.to, got.facts["partitions"])
			}
			if strings.HasPrefix(c.parts, "1 ") {
				if !slices.Equal(got.rows, want.rows) {
					t.Errorf("%v to %v: %d rows, want %d", c.from, c.to, len(got.rows), len(want.rows))
				}
				continue
			}
			if strings.HasSuffix(c.parts, " 3 parts") { // one for each day
				var inOrder []string
				for _, day := range []string{"2024-02-28", "2024-02-29", "2024-03-01"} {
					inOrder = append(inOrder, read(t, settings{"url": url, "call": "visits", "args": []any{day, "w", day}}).rows...)
				}
				if !slices.Equal(got.rows, inOrder) {
					t.Errorf("%v to %v: the rows are %v, want %v", c.from, c.to, got.rows, inOrder)
				}
			}
			slices.Sort(got.rows)
			slices.Sort(want.rows)
			if !slices.Equal(got.rows, want.rows) {
				t.Errorf("%v to %v: %d rows, want %d", c.from, c.to, len(got.rows), len(want.rows))
			}
		}
		days = map[string]any{"from": 1, "to": 2, "tables": "visit"}
		for call, code := range map[string]string{"leaves": "mysql.snapshot", "odd": "mysql.table_changed"} {
			e, err := newExtract(t, settings{"url": url, "call": call, "args": []any{"2024-02-20", "2024-04-01"}, "partitions": 2, "partition_days": days})
			if err == nil {
				err = e.run(t.Context())
			}
			if f := fault.From(err); f == nil || f.Code != code {
				t.Errorf("%s: %v, want %s", call, err, code)
			}
		}
		// A table that is not there is an error, and not one connection.
		e, err := newExtract(t, settings{"url": url, "call": "leaves", "args": []any{"2024-02-20", "2024-04-01"}, "partitions": 2, "partition_days": map[string]any{"from": 1, "to": 2, "tables": "visitors"}})
		if err == nil {
			err = e.run(t.Context())
		}
		if f := fault.From(err); f == nil || f.Code != "mysql.unknown_table" && f.Code != "mysql.access_denied" {
			t.Errorf("an unknown table: %v", err)
		}
	})
}
