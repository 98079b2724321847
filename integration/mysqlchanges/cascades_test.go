package mysqlchanges_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
)

// family is tables whose rows are changed by foreign keys: the children of a table that is none of the stream, through one
// that is none either, of several columns, set to NULL, given another key, and of the table itself.
const family = "CREATE TABLE g (id INT PRIMARY KEY, code INT UNIQUE, note INT) ENGINE=InnoDB; " +
	"CREATE TABLE m (id INT PRIMARY KEY, g INT, FOREIGN KEY (g) REFERENCES g (code) ON DELETE CASCADE ON UPDATE CASCADE, UNIQUE (g, id)) ENGINE=InnoDB; " +
	"CREATE TABLE pair (id INT PRIMARY KEY, g INT, m INT, FOREIGN KEY (g, m) REFERENCES m (g, id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB; " +
	"CREATE TABLE lone (id INT PRIMARY KEY, m INT, v INT, FOREIGN KEY (m) REFERENCES m (id) ON DELETE SET NULL ON UPDATE SET NULL) ENGINE=InnoDB; " +
	"CREATE TABLE keyed (id INT PRIMARY KEY, v INT, FOREIGN KEY (id) REFERENCES g (id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB; " +
	"CREATE TABLE tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE) ENGINE=InnoDB; " +
	"CREATE TABLE plain (id INT PRIMARY KEY, v INT) ENGINE=InnoDB; "

// ofFamily are the tables of the stream, with their columns.
var ofFamily = map[string]string{"pair": "g m", "lone": "m v", "keyed": "v", "tree": "up", "plain": "v"}

func reconciled() settings {
	with := ofA("pair", "lone", "keyed", "tree", "plain")
	with["cascades"], with["page_rows"] = "reconcile", 7
	return with
}

// differs says where the copy of the family is not the database.
func (st *stream) differs(s server) string {
	st.t.Helper()
	want := map[string]string{}
	for table, columns := range ofFamily {
		one := "CONCAT('{\"id\":\"', id, '\",\"type\":\"" + table + "\",\"key\":', id"
		for _, column := range strings.Fields(columns) {
			one += ", ',\"" + column + "\":', IFNULL(" + column + ", 'null')"
		}
		rows, err := s.Open(s.database).Query("SELECT id, " + one + ", '}') FROM " + table)
		if err != nil {
			st.t.Fatal(err)
		}
		for rows.Next() {
			var id, document string
			if err := rows.Scan(&id, &document); err != nil {
				st.t.Fatal(err)
			}
			want[table+"/"+id] = document
		}
		rows.Close()
	}
	for key, document := range want {
		if st.copy[key] != document {
			return fmt.Sprintf("%s is %q, want %s", key, st.copy[key], document)
		}
	}
	for key := range st.copy {
		if want[key] == "" {
			return key + " is there"
		}
	}
	return ""
}

// testCascades: each sort of foreign key by itself, and what has no cascade reads nothing again.
func testCascades(t *testing.T, s server) {
	s.Exec(family + "INSERT INTO g VALUES (1, 10, 0), (2, 20, 0), (3, 30, 0), (4, 40, 0); INSERT INTO m VALUES (1, 10), (2, 10), (3, 20), (4, 30), (5, 40); " +
		"INSERT INTO pair VALUES (1, 10, 1), (2, 10, 2), (3, 20, 3), (4, 40, 5); INSERT INTO lone VALUES (1, 1, 1), (2, 3, 2), (3, 4, 3), (4, 5, 4); INSERT INTO keyed VALUES (1, 1), (2, 2), (3, 3); " +
		"INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, NULL), (5, 4); INSERT INTO plain VALUES (1, 1)")
	st := open(t, s, reconciled())
	st.until("the first copy", func() bool { return len(st.copy) == 17 })
	st.changes = nil
	s.Exec("UPDATE g SET note = 5; INSERT INTO g VALUES (9, 90, 0); INSERT INTO m VALUES (9, 90); UPDATE tree SET up = NULL WHERE id = 5; INSERT INTO plain VALUES (2, 2)")
	st.until("what cascades nothing", func() bool { return st.copy["plain/2"] != "" })
	if got := strings.Join(st.changes, ", "); got != "write tree 5, write plain 2" {
		t.Errorf("came %s", got)
	}
	for i, sql := range []string{
		"DELETE FROM g WHERE id = 1",
		"UPDATE g SET code = 21 WHERE id = 2",
		"UPDATE g SET id = 7 WHERE id = 3",
		"UPDATE m SET id = 50 WHERE id = 5",
		"DELETE FROM m WHERE id = 4",
		"DELETE FROM tree WHERE id = 1",
		"UPDATE lone SET v = 77 WHERE id = 2",
		"BEGIN; INSERT INTO tree VALUES (6, 4); DELETE FROM g WHERE id = 2; UPDATE tree SET up = 6 WHERE id = 5; DELETE FROM tree WHERE id = 6; COMMIT",
	} {
		s.Exec(sql + fmt.Sprintf("; INSERT INTO plain VALUES (%d, 0)", 100+i))
		plain := fmt.Sprintf("plain/%d", 100+i)
		st.until(sql, func() bool { return st.copy[plain] != "" && st.differs(s) == "" })
	}
	if len(st.copy) == 0 || st.copy["tree/3"] != "" || st.copy["pair/2"] != "" {
		t.Errorf("%v", st.copy)
	}
}

// testCascadesRandom: rows of parents and children are changed while the stream copies, follows, reads again, and is ended
// and begun at whatever position it has.
func testCascadesRandom(t *testing.T, s server) {
	s.Exec(family)
	db := s.Open(s.database)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	random := rand.New(rand.NewPCG(3, 4))
	statement := func() string {
		n := func() int { return 1 + random.IntN(40) }
		list := []string{
			fmt.Sprintf("INSERT IGNORE INTO g VALUES (%d, %d, 0)", n(), n()),
			fmt.Sprintf("INSERT IGNORE INTO m SELECT %d, code FROM g WHERE id >= %d LIMIT 1", n(), n()),
			fmt.Sprintf("INSERT IGNORE INTO pair SELECT %d, g, id FROM m WHERE id >= %d LIMIT 1", n(), n()),
			fmt.Sprintf("INSERT IGNORE INTO lone SELECT %d, id, %d FROM m WHERE id >= %d LIMIT 1", n(), n(), n()),
			fmt.Sprintf("INSERT IGNORE INTO keyed SELECT id, %d FROM g WHERE id >= %d LIMIT 1", n(), n()),
			fmt.Sprintf("INSERT IGNORE INTO tree VALUES (%d, NULL)", n()),
			fmt.Sprintf("UPDATE IGNORE tree SET up = %d WHERE id = %d", n(), n()),
			fmt.Sprintf("UPDATE lone SET v = v + 1 WHERE id = %d", n()),
			fmt.Sprintf("UPDATE IGNORE pair SET id = %d WHERE id = %d", n(), n()),
			fmt.Sprintf("INSERT INTO plain VALUES (%d, 1) ON DUPLICATE KEY UPDATE v = v + 1", n()),
		}
		if i := random.IntN(len(list) + 3); i < len(list) {
			return list[i]
		}
		list = []string{
			fmt.Sprintf("DELETE FROM g WHERE id = %d", n()),
			fmt.Sprintf("UPDATE IGNORE g SET code = %d WHERE id = %d", n(), n()),
			fmt.Sprintf("UPDATE IGNORE g SET id = %d WHERE id = %d", n(), n()),
			fmt.Sprintf("DELETE FROM m WHERE id = %d", n()),
			fmt.Sprintf("UPDATE IGNORE m SET id = %d WHERE id = %d", n(), n()),
			fmt.Sprintf("DELETE FROM tree WHERE id = %d", n()),
		}
		return list[random.IntN(len(list))]
	}
	write := func() error {
		_, err := db.Exec(statement())
		for _, harmless := range []string{"deadlock", "lock wait", "foreign key constraint"} {
			if err != nil && strings.Contains(strings.ToLower(err.Error()), harmless) {
				return nil
			}
		}
		return err
	}
	for range 300 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := write(); err != nil {
				stopped <- err
				return
			}
		}
	}()
	st := &stream{t: t, copy: map[string]string{}}
	defer st.close()
	for range 12 {
		if err := st.begin(s, reconciled(), sdk.Env{BatchRows: 5}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		for range 30 {
			if err := st.next(ctx); err != nil {
				select {
				case why := <-stopped:
					t.Fatal(why)
				default:
					t.Fatal(err)
				}
			}
		}
		cancel()
		st.close()
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	s.Exec("REPLACE INTO plain VALUES (1000, 1)")
	if err := st.begin(s, reconciled(), sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	why := ""
	st.until("the last row", func() bool { return st.copy["plain/1000"] != "" })
	for deadline := time.Now().Add(15 * time.Second); ; {
		if why = st.differs(s); why == "" {
			break
		}
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		err := st.next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%v: %s", err, why)
		}
	}
	t.Logf("%d documents after %d changes in %d batches", len(st.copy), st.rows, st.batches)
}
