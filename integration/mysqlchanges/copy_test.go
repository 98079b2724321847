package mysqlchanges_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// testCopy: a first copy joins the log while rows are inserted, changed, deleted and given other keys, and is ended and
// begun again at whatever position it has.
func testCopy(t *testing.T, s server) {
	s.Exec(createA + "CREATE TABLE b (id INT PRIMARY KEY, v TEXT) ENGINE=InnoDB; INSERT INTO b VALUES (1, 'of b')")
	db := s.Open(s.database)
	const rows = 3000
	var values []string
	for i := range rows {
		values = append(values, fmt.Sprintf("(%d, 'row %d')", i*10, i))
	}
	s.Exec("INSERT INTO a VALUES " + strings.Join(values, ","))
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		random := rand.New(rand.NewPCG(1, 2))
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			id := random.IntN(rows) * 10
			var err error
			switch random.IntN(4) {
			case 0:
				_, err = db.Exec("INSERT INTO a VALUES (?, ?) ON DUPLICATE KEY UPDATE v = VALUES(v)", id+random.IntN(10), fmt.Sprint("new ", n))
			case 1:
				_, err = db.Exec("UPDATE a SET v = ? WHERE id >= ? LIMIT 3", fmt.Sprint("changed ", n), id)
			case 2:
				_, err = db.Exec("DELETE FROM a WHERE id = ?", id)
			case 3:
				_, err = db.Exec("UPDATE IGNORE a SET id = ? WHERE id = ?", random.IntN(rows)*10+5, id)
			}
			if err != nil && !strings.Contains(err.Error(), "Deadlock") && !strings.Contains(err.Error(), "Lock wait") {
				stopped <- err
				return
			}
		}
	}()
	with := ofA("a", "b")
	with["page_rows"] = 100
	st := &stream{t: t, copy: map[string]string{}}
	defer st.close()
	for st.copy["b/1"] == "" {
		if err := st.begin(s, with, sdk.Env{BatchRows: 37}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		for range 40 {
			if st.copy["b/1"] != "" {
				break
			}
			if err := st.next(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		st.close()
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	s.Exec("INSERT INTO a VALUES (-1, 'last')")
	if err := st.begin(s, with, sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	st.until("the last row", func() bool { return st.copy["a/-1"] != "" })
	st.same(s, "a")
	st.same(s, "b")
	t.Logf("%d documents after %d changes in %d batches", len(st.copy), st.rows, st.batches)
}

// testAgain: a bounded run gives the documents that are asked for, with those that are not there any more as deletes,
// behind the log, and ends.
func testAgain(t *testing.T, s server) {
	s.Exec(createA + "CREATE TABLE b (id INT PRIMARY KEY, v TEXT) ENGINE=InnoDB; INSERT INTO a VALUES (1, 'x'), (2, 'y'), (3, 'z'); INSERT INTO b VALUES (1, 'of b')")
	st := open(t, s, ofA("a", "b"))
	st.until("the first copy", func() bool { return len(st.copy) == 4 })
	st.close()
	s.Exec("UPDATE a SET v = 'changed' WHERE id = 1; DELETE FROM a WHERE id = 3")
	for _, c := range []struct {
		again changes.Again
		want  string
	}{
		{changes.Again{Documents: []changes.Document{{Type: "a", ID: "2"}, {Type: "b", ID: "1"}, {Type: "a", ID: "3"}, {Type: "a", ID: "1"}}},
			"write a 1, delete a 3, write a 2, write b 1, delete a 3, write a 1"},
		{changes.Again{Documents: []changes.Document{}}, ""},
	} {
		text, err := json.Marshal(c.again)
		if err != nil {
			t.Fatal(err)
		}
		with := ofA("a", "b")
		with["again"] = string(text)
		st.changes = nil
		if err := st.begin(s, with, sdk.Env{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		for err == nil {
			err = st.next(ctx)
		}
		cancel()
		st.close()
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if got := strings.Join(st.changes, ", "); got != c.want {
			t.Errorf("came %s\nwant %s", got, c.want)
		}
	}
	s.Exec("INSERT INTO a VALUES (9, 'after')")
	if err := st.begin(s, ofA("a", "b"), sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	st.until("what follows", func() bool { return st.copy["a/9"] != "" })
	st.same(s, "a")
}

// testCompressed: transactions that the server compresses are read as others, and gone on in their middle.
func testCompressed(t *testing.T, s server) {
	s.Exec(createA + "INSERT INTO a VALUES (-1, 'first')")
	first := open(t, s, ofA("a"))
	first.until("the first copy", func() bool { return len(first.copy) == 1 })
	begin := first.position
	first.changes = nil
	var values []string
	for i := range 5000 {
		values = append(values, fmt.Sprintf("(%d, '%s')", i, strings.Repeat(fmt.Sprint("long ", i), 20)))
	}
	on := "SET SESSION binlog_transaction_compression = ON;"
	mariaDB := s.IsMariaDB()
	if mariaDB {
		on = "SET GLOBAL log_bin_compress = ON;"
	}
	s.Exec(on + "BEGIN; INSERT INTO a VALUES " + strings.Join(values, ",") + "; UPDATE a SET v = CONCAT(v, '!') WHERE id % 3 = 0; DELETE FROM a WHERE id % 5 = 0; COMMIT; INSERT INTO a VALUES (9999, 'last')")
	if mariaDB {
		s.Exec("SET GLOBAL log_bin_compress = OFF")
	}
	first.until("all", func() bool { return first.copy["a/9999"] != "" })
	first.same(s, "a")
	first.close()
	st := &stream{t: t, copy: map[string]string{}, keep: true, position: begin}
	for st.copy["a/9999"] == "" {
		if err := st.begin(s, ofA("a"), sdk.Env{BatchRows: 500}); err != nil {
			t.Fatal(err)
		}
		st.until("a batch or two", func() bool { return st.copy["a/9999"] != "" || st.batches >= 2 })
		st.batches = 0
		st.close()
	}
	if strings.Join(st.changes, "\n") != strings.Join(first.changes, "\n") {
		t.Errorf("%d changes came in pieces, want the %d that came at once", len(st.changes), len(first.changes))
	}
}

// testKeys: ids of several columns, of bytes and of text of a collation stay those of their rows.
func testKeys(t *testing.T, s server) {
	s.Exec("CREATE TABLE k (n INT, s VARCHAR(20) COLLATE utf8mb4_general_ci, b VARBINARY(8), v INT, PRIMARY KEY (s, n, b)) ENGINE=InnoDB; INSERT INTO k VALUES (1, 'a:b\\\\\\\\', 'x', 1), (2, 'Ab', '', 2)")
	st := open(t, s, settings{"tables": []map[string]any{{"table": "k", "type": "k", "channel": "logs", "columns": []string{"v"}}}})
	st.until("the first copy", func() bool { return len(st.copy) == 2 })
	st.changes = nil
	s.Exec("UPDATE k SET s = 'AB', v = 3 WHERE n = 2; UPDATE k SET v = 4; DELETE FROM k WHERE n = 1; INSERT INTO k VALUES (9, 'é', '', 9)")
	st.until("the last row", func() bool { return st.copy["k/é:9:"] != "" })
	want := `delete k Ab:2:, write k AB:2:, write k AB:2:, write k a\:b\\\\:1:eA==, delete k a\:b\\\\:1:eA==, write k é:9:`
	got := strings.Join(st.changes, ", ")
	if swapped := `delete k Ab:2:, write k AB:2:, write k a\:b\\\\:1:eA==, write k AB:2:, delete k a\:b\\\\:1:eA==, write k é:9:`; got != want && got != swapped {
		t.Errorf("came %s\nwant %s", got, want)
	}
	if got := st.copy["k/AB:2:"]; got != `{"id":"AB:2:","type":"k","v":4}` {
		t.Errorf("the document is %s", got)
	}
}
