package mysqlchanges_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
)

const createA = "CREATE TABLE a (id INT PRIMARY KEY, v TEXT) ENGINE=InnoDB; "

// testChanges: documents follow what is committed, in its order.
func testChanges(t *testing.T, s server) {
	s.Exec(createA + "CREATE TABLE other (id INT PRIMARY KEY)")
	st := open(t, s, ofA("a"))
	s.Exec("INSERT INTO a VALUES (1, 'x'), (2, 'y'), (3, NULL); INSERT INTO other VALUES (1); UPDATE a SET v = 'z' WHERE id = 2; DELETE FROM a WHERE id = 1; " +
		"UPDATE a SET id = 7 WHERE id = 3; BEGIN; INSERT INTO a VALUES (8, 'never'); ROLLBACK; ALTER TABLE other ADD x INT; INSERT INTO a VALUES (9, 'last')")
	st.until("the last row", func() bool { return st.copy["a/9"] != "" })
	want := "write a 1, write a 2, write a 3, write a 2, delete a 1, delete a 3, write a 7, write a 9"
	if got := strings.Join(st.changes, ", "); got != want {
		t.Errorf("came %s\nwant %s", got, want)
	}
	st.same(s, "a")
	s.Exec("TRUNCATE TABLE a; INSERT INTO a VALUES (10, 'again')")
	st.until("a row after TRUNCATE", func() bool { return st.copy["a/10"] != "" })
	st.same(s, "a")
}

// testResume: a run that goes on at any position that was given gives the rest, and nothing twice.
func testResume(t *testing.T, s server) {
	s.Exec(createA)
	s.Exec("INSERT INTO a VALUES (-1, 'first')")
	first := open(t, s, ofA("a"))
	first.until("a position", func() bool { return first.copy["a/-1"] != "" })
	start := first.position
	first.changes = nil
	var script strings.Builder
	script.WriteString("SET autocommit = 0;")
	for i := range 400 {
		fmt.Fprintf(&script, "INSERT INTO a VALUES (%d, 'row %d');", i, i)
		if i%2 == 0 {
			fmt.Fprintf(&script, "UPDATE a SET v = 'changed' WHERE id = %d;", i/2)
		}
		if i%150 == 0 {
			script.WriteString("COMMIT;")
		}
	}
	script.WriteString("DELETE FROM a WHERE id % 7 = 0; COMMIT; INSERT INTO a VALUES (1000, 'last'); COMMIT;")
	s.Exec(script.String())
	first.until("all", func() bool { return first.copy["a/1000"] != "" })
	first.close()
	st := &stream{t: t, copy: map[string]string{}, keep: true, position: start}
	for st.copy["a/1000"] == "" {
		if err := st.begin(s, ofA("a"), sdk.Env{BatchRows: 7}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		for range 10 {
			if st.copy["a/1000"] != "" {
				break
			}
			if err := st.next(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		st.close()
	}
	if strings.Join(st.changes, "\n") != strings.Join(first.changes, "\n") {
		t.Errorf("%d changes came in pieces, want the %d that came at once", len(st.changes), len(first.changes))
	}
	first.same(s, "a")
}
