package mysqlchanges_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/snapshot"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// pairs is a table of two numbers, as a pager takes it.
func pairs(s *servers.Server) *snapshot.Table {
	return &snapshot.Table{Database: s.Database(), Name: "p", Columns: []string{"v", "id"}, Key: []row.Column{{Name: "id", DataType: "bigint"}}}
}

// pairsOf are the rows of a page of that table.
func pairsOf(t *testing.T, page snapshot.Page) (ids []int64, values map[int64]int64) {
	t.Helper()
	values = map[int64]int64{}
	for _, r := range page.Records {
		for i := range int(r.NumRows()) {
			id := r.Column(1).(*array.Int64).Value(i)
			ids, values[id] = append(ids, id), r.Column(0).(*array.Int64).Value(i)
		}
	}
	page.Release()
	return ids, values
}

// replay keeps what the log says of the table p.
type replay struct {
	t      *testing.T
	reader *binlog.Reader
	rows   map[int64]int64
	// touched are the keys, each with the end of the last transaction that changed it.
	touched map[int64]binlog.Position
	at      binlog.Position
	tables  map[uint64]string
	open    []change
}

type change struct {
	id, v   int64
	deleted bool
}

func newReplay(t *testing.T, s *servers.Server, from binlog.Position) *replay {
	t.Helper()
	r, err := follow(t, server{s, s.Database()}, from)
	if err != nil {
		t.Fatal(err)
	}
	return &replay{t: t, reader: r, at: from, rows: map[int64]int64{}, touched: map[int64]binlog.Position{}, tables: map[uint64]string{}}
}

// next takes one event, and is false where there is none.
func (r *replay) next(wait time.Duration) bool {
	r.t.Helper()
	e, err := r.reader.Next(time.Now().Add(wait))
	if errors.Is(err, mysql.ErrNotYet) {
		return false
	}
	if err != nil {
		r.t.Fatal(err)
	}
	switch e.Kind {
	case binlog.Table:
		r.tables[e.TableID] = e.Name
	case binlog.Rows:
		if r.tables[e.TableID] != "p" {
			break
		}
		for image := e.Images; len(image) > 0; image = image[17:] { // a byte of bits, and two numbers
			c := change{id: int64(binary.LittleEndian.Uint64(image[1:])), v: int64(binary.LittleEndian.Uint64(image[9:]))}
			c.deleted = e.Operation == binlog.Delete
			if e.Operation == binlog.Update {
				r.open = append(r.open, change{id: c.id, deleted: true})
				image = image[17:]
				c.id, c.v = int64(binary.LittleEndian.Uint64(image[1:])), int64(binary.LittleEndian.Uint64(image[9:]))
			}
			r.open = append(r.open, c)
		}
	case binlog.Commit:
		r.at = r.reader.Start()
		for _, c := range r.open {
			r.rows[c.id] = c.v
			if c.deleted {
				delete(r.rows, c.id)
			}
			r.touched[c.id] = r.at
		}
		r.open = nil
	case binlog.Rollback:
		r.open = nil
		r.at = r.reader.Start()
	case binlog.Moved:
		r.at = r.reader.Start()
	}
	return true
}

// to delivers the log up to a place.
func (r *replay) to(p binlog.Position) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); r.at.Compare(p) < 0; {
		if !r.next(100*time.Millisecond) && time.Now().After(deadline) {
			r.t.Fatalf("the log does not come to %s; it is at %s", p, r.at)
		}
	}
}

func pagerOf(t *testing.T, s *servers.Server, o snapshot.Options) *snapshot.Pager {
	t.Helper()
	c := session(t, s)
	t.Cleanup(func() { c.Close() })
	p, err := snapshot.NewPager(context.Background(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startOf(t *testing.T, s *servers.Server) binlog.Position {
	t.Helper()
	c := session(t, s)
	defer c.Close()
	at, err := snapshot.Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func scan(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// keys are tables of awkward keys: the columns, the key, and its values.
var keys = []struct{ columns, key, values string }{
	{"k VARCHAR(20) COLLATE utf8mb4_general_ci", "k", `(''), ('a'), ('B'), ('c'), ('Ä'), ('z'), ('ß'), ('é0'), (' x'), ('a:b'), ('a\\b'), ('a\'"b'), ('日本'), ('😀'), ('tab\t'), ('x\0y')`},
	{"k VARCHAR(20) COLLATE utf8mb4_bin", "k", `(''), ('a'), ('A'), ('B'), ('b'), ('Ä'), ('ä'), ('z'), ('\\'), (':'), ('日本'), ('😀')`},
	{"k VARCHAR(20) COLLATE utf8mb4_unicode_ci", "k", `(''), ('a'), ('B'), ('ch'), ('Ä'), ('z'), ('ss0'), ('ß'), ('-a'), ('a-b')`},
	{"k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci", "k", `(''), ('a'), ('B'), ('ä'), ('af'), ('ad'), ('Ö'), ('of'), ('ß'), ('st'), ('z'), ('€')`},
	{"k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin", "k", `('z'), ('é'), ('Z'), ('a'), ('ÿ')`},
	{"k CHAR(4) COLLATE utf8mb4_general_ci", "k", `(''), ('a'), ('ab'), ('b'), ('a\t'), ('aaaa'), (' ')`},
	{"k VARBINARY(9)", "k", `(''), (x'00'), (x'0000'), (x'ff'), ('a:'), ('a'), ('A'), (x'ff00')`},
	{"k BINARY(3)", "k", `(''), (x'000001'), (x'ff'), ('a:'), ('a'), ('A')`},
	{"k BIGINT UNSIGNED", "k", `(0), (1), (9223372036854775807), (9223372036854775808), (18446744073709551615)`},
	{"k BIGINT", "k", `(-9223372036854775808), (-1), (0), (9223372036854775807)`},
	{"k DECIMAL(40,10)", "k", `(-123456789012345678901234567890.0000000001), (-0.0000000001), (0), (0.1), (0.10000000011), (99999999999999999999999999999.9)`},
	{"k DOUBLE", "k", `(-1e300), (-0.1), (0), (0.1), (0.30000000000000004), (0.3), (5e-324)`},
	{"k FLOAT", "k", `(-0.1), (0), (0.1), (0.7), (16777216), (3e38)`},
	{"k DATE", "k", `('1000-01-01'), ('1969-12-31'), ('2024-02-29'), ('9999-12-31')`},
	{"k DATETIME(6)", "k", `('1000-01-01'), ('2024-02-29 23:59:59.999999'), ('2024-02-29 23:59:59.999998'), ('9999-12-31 00:00:00.5')`},
	{"k TIMESTAMP(3)", "k", `('1970-01-01 00:00:01'), ('2026-04-04 15:30:00.123'), ('2026-04-04 16:30:00.123'), ('2038-01-19 03:14:07.999')`},
	{"k TIME(2)", "k", `('-838:59:59'), ('-00:00:00.01'), ('00:00:00'), ('838:59:59'), ('25:00:00.5')`},
	{"k YEAR", "k", `(0), (1901), (2000), (2155)`},
	{"k BIT(12)", "k", `(0), (1), (255), (256), (4095)`},
	{"k ENUM('z','a','M','b')", "k", `('z'), ('a'), ('M'), ('b')`},
	{"k SET('z','a','M')", "k", `(''), ('z'), ('a'), ('z,a'), ('M'), ('z,M')`},
	{"a VARCHAR(10) COLLATE utf8mb4_general_ci, b INT, c DATE", "a, b, c", `('x', 1, '2024-01-01'), ('X', 1, '2024-01-02'), ('x', 2, '2023-01-01'), ('', -1, '2024-01-01'), ('y', -5, '2020-01-01'), ('Y', -5, '2020-01-02'), ('a:b', 7, '2024-01-01')`},
	{"a ENUM('z','a'), b VARBINARY(4), c SMALLINT", "c, a, b", `('z', 'a', 1), ('a', 'a', 1), ('z', '', 1), ('a', ':', 0), ('a', x'00', 0)`},
}

// TestKeys: pages follow a key's own order, whatever its types, without gap and without a row twice; and an id finds its
// row. The account may do no more than it must.
func TestKeys(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s *servers.Server) {
		ctx, db := context.Background(), s.Open(s.Database())
		s.Exec("CREATE USER reader@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON `" + s.Database() + "`.* TO reader@'%'; GRANT REPLICATION CLIENT ON *.* TO reader@'%'")
		c, err := mysql.Connect(ctx, mysql.Settings{URL: config.NewSecret(s.UserDSN("reader", "secret", s.Database()))})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i, k := range keys {
			name := fmt.Sprintf("k%d", i)
			s.Exec(fmt.Sprintf("SET sql_mode = ''; CREATE TABLE %[1]s (%[2]s, n INT AUTO_INCREMENT UNIQUE, PRIMARY KEY (%[3]s)); INSERT IGNORE INTO %[1]s (%[4]s) VALUES %[5]s",
				name, k.columns, k.key, columnNames(k.columns), k.values))
			table := &snapshot.Table{Database: s.Database(), Name: name}
			described := map[string]row.Column{}
			err := c.Rows(ctx, strings.Replace(row.ColumnQuery, "? AND TABLE_NAME = ?", c.QuoteText(s.Database())+" AND TABLE_NAME = "+c.QuoteText(name), 1), func(cells []string) {
				column, err := row.ColumnOf(cells)
				if err != nil {
					t.Error(err)
				}
				table.Columns, described[column.Name] = append(table.Columns, column.Name), column
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, column := range strings.Split(k.key, ", ") {
				table.Key = append(table.Key, described[column])
			}
			var want []int32
			rows, err := db.Query("SELECT n FROM " + name + " ORDER BY " + k.key)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var n int32
				if err := rows.Scan(&n); err != nil {
					t.Fatal(err)
				}
				want = append(want, n)
			}
			for _, most := range []int{1, 2, 100} {
				pager, err := snapshot.NewPager(ctx, c, snapshot.Options{Rows: most})
				if err != nil {
					t.Fatal(err)
				}
				var got []int32
				var ids []string
				var after *string
				for done := false; !done && len(got) <= len(want); {
					page, err := pager.Page(ctx, table, after, binlog.Position{})
					if err != nil {
						t.Fatalf("%s: %v", k.columns, err)
					}
					numbers := numbersOf(t, page, len(table.Columns))
					if after, done = page.Last, page.Done; len(numbers) > 0 {
						got, ids = append(got, numbers...), append(ids, *after)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s by %d: the rows are %v, want %v", k.columns, most, got, want)
				}
				if most > 1 || strings.Contains(k.columns, "ENUM") || strings.Contains(k.columns, "SET(") {
					continue // a label has its number in Last, and its text in an id
				}
				for j, id := range ids {
					page, taken, err := pager.Again(ctx, table, []string{id}, binlog.Position{})
					if err != nil || taken != 1 {
						t.Fatalf("%s: %d taken: %v", k.columns, taken, err)
					}
					if got := numbersOf(t, page, len(table.Columns)); len(got) != 1 || got[0] != want[j] {
						t.Errorf("%s: the id %q has the rows %v, want %d", k.columns, id, got, want[j])
					}
				}
			}
		}
	})
}

// columnNames are the names of columns' definitions.
func columnNames(definitions string) string {
	var names []string
	for _, d := range strings.Split(definitions, ", ") {
		if name, _, is := strings.Cut(d, " "); is && len(name) == 1 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// numbersOf are the values of a page's last column, of as many as it is to have.
func numbersOf(t *testing.T, page snapshot.Page, columns int) (list []int32) {
	t.Helper()
	defer page.Release()
	for _, r := range page.Records {
		if int(r.NumCols()) != columns {
			t.Fatalf("a record has %d columns, want %d", r.NumCols(), columns)
		}
		for i := range int(r.NumRows()) {
			list = append(list, r.Column(columns-1).(*array.Int32).Value(i))
		}
	}
	return list
}

// TestLargeRows: rows that are larger than a page may be come in more pages, and not one of them is left out.
func TestLargeRows(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s *servers.Server) {
		ctx := context.Background()
		s.Exec("CREATE TABLE l (id BIGINT PRIMARY KEY, b LONGBLOB, n INT)")
		for i := range 40 {
			s.Exec(fmt.Sprintf("INSERT INTO l VALUES (%[1]d, REPEAT('x', %[2]d), %[1]d)", i, []int{10, 3 << 20, 100, 600 << 10}[i%4]))
		}
		table := &snapshot.Table{Database: s.Database(), Name: "l", Columns: []string{"id", "b", "n"}, Key: []row.Column{{Name: "id", DataType: "bigint"}}}
		pager := pagerOf(t, s, snapshot.Options{Bytes: 1 << 20})
		var after *string
		var got []int32
		pages := 0
		for done := false; !done; pages++ {
			page, err := pager.Page(ctx, table, after, binlog.Position{})
			if err != nil {
				t.Fatal(err)
			}
			after, done = page.Last, page.Done
			got = append(got, numbersOf(t, page, 3)...)
		}
		if len(got) != 40 || pages < 10 {
			t.Errorf("%d rows in %d pages", len(got), pages)
		}
		for i, n := range got {
			if int(n) != i {
				t.Fatalf("row %d is %d", i, n)
			}
		}
	})
}

// TestStoppedCommit: a transaction that is in the log and not yet visible is lost neither by a stream that begins now, nor
// by a page that is read now, nor comes back old behind what the log has delivered of it.
func TestStoppedCommit(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s *servers.Server) {
		ctx, db := context.Background(), s.Open(s.Database())
		s.Exec("CREATE TABLE p (id BIGINT PRIMARY KEY, v BIGINT NOT NULL); INSERT INTO p VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)")
		early := newReplay(t, s, startOf(t, s))

		resume := servers.HoldCommits(t, db, s.IsMariaDB())
		committed := make(chan error, 1)
		go func() {
			_, err := db.ExecContext(ctx, "UPDATE p SET v = CASE id WHEN 3 THEN 7 WHEN 4 THEN 8 ELSE v END, id = CASE id WHEN 4 THEN 9 ELSE id END WHERE id IN (3, 4)")
			committed <- err
		}()
		resumed := false
		defer func() {
			if !resumed {
				resume()
				<-committed
			}
		}()
		for deadline := time.Now().Add(30 * time.Second); early.rows[9] != 8; {
			if early.next(100 * time.Millisecond); time.Now().After(deadline) {
				t.Fatal("the log does not have the transaction")
			}
		}
		inLog := early.at
		if n := scan(t, db, "SELECT COUNT(*) FROM p WHERE v = 0"); n != 5 {
			t.Fatalf("%d rows are as before: the commit was not stopped between log and engine", n)
		}

		// Only rows that the transaction did not touch can come: whoever delivered the log up to here has it behind them, and
		// a stream that begins here does not get it from the log.
		table, pager := pairs(s), pagerOf(t, s, snapshot.Options{Rows: 4})
		var after *string
		rows := map[int64]int64{}
		take := func(delivered binlog.Position) (done bool) {
			page, err := pager.Page(ctx, table, after, delivered)
			if err != nil {
				t.Fatal(err)
			}
			if page.Low.Compare(delivered) < 0 || page.High.Compare(page.Low) < 0 {
				t.Fatalf("delivered %s, low %s, high %s", delivered, page.Low, page.High)
			}
			after, done = page.Last, page.Done
			_, values := pairsOf(t, page)
			for id, v := range values {
				rows[id] = v
			}
			return done
		}
		for range 4 {
			if take(inLog) {
				t.Error("a page says that it is the last one, and rows behind it are locked")
			}
		}
		for id, v := range rows {
			if id > 2 || v != 0 {
				t.Errorf("row %d came with %d, while its transaction was not to be seen", id, v)
			}
		}
		// By their ids, likewise.
		if page, taken, err := pager.Again(ctx, table, []string{"3"}, inLog); err != nil || taken != 0 || len(page.Records) != 0 {
			t.Errorf("asked for by its id, a row came: %d taken, %v", taken, err)
			page.Release()
		}
		resume()
		resumed = true
		if err := <-committed; err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); !take(inLog); {
			if time.Now().After(deadline) {
				t.Fatal("the pages do not end")
			}
		}
		if fmt.Sprint(rows) != fmt.Sprint(map[int64]int64{1: 0, 2: 0, 3: 7, 5: 0, 9: 8}) {
			t.Errorf("the pages have %v", rows)
		}
		page, taken, err := pager.Again(ctx, table, []string{"9", "4", "3"}, inLog)
		if err != nil || taken != 3 {
			t.Fatalf("%d taken: %v", taken, err)
		}
		if ids, values := pairsOf(t, page); len(ids) != 2 || values[9] != 8 || values[3] != 7 {
			t.Errorf("by their ids the rows are %v", values)
		}
	}, servers.SemiSync)
}

// TestPagesAreTheLog: under writers, whose commits are stopped again and again, every page is what the log gives at its
// high mark, but for the keys that were touched between its marks.
func TestPagesAreTheLog(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s *servers.Server) {
		ctx, db := context.Background(), s.Open(s.Database())
		db.SetMaxOpenConns(20)
		start := startOf(t, s)
		s.Exec("CREATE TABLE p (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)")
		var writers sync.WaitGroup
		ending := make(chan struct{})
		var version, commits atomic.Int64
		for n := range 6 {
			writers.Add(1)
			go func() {
				defer writers.Done()
				random := rand.New(rand.NewPCG(uint64(n), 17))
				for {
					select {
					case <-ending:
						return
					default:
					}
					tx, err := db.Begin()
					if err != nil {
						t.Error(err)
						return
					}
					for range 1 + random.IntN(6) {
						id, v := random.IntN(400), version.Add(1)
						switch random.IntN(6) {
						case 0:
							_, err = tx.Exec("DELETE FROM p WHERE id = ?", id)
						case 1:
							_, err = tx.Exec("UPDATE IGNORE p SET id = ?, v = ? WHERE id = ?", random.IntN(400), v, id)
						default:
							_, err = tx.Exec("REPLACE INTO p VALUES (?, ?)", id, v)
						}
						if err != nil {
							break
						}
					}
					if err == nil && random.IntN(5) > 0 {
						err = tx.Commit()
						commits.Add(1)
					} else { // a deadlock among the writers, too
						err = tx.Rollback()
					}
					if err != nil && !strings.Contains(err.Error(), "Deadlock") {
						t.Error(err)
						return
					}
				}
			}()
		}
		stops := 0
		writers.Add(1)
		go func() {
			defer writers.Done()
			random := rand.New(rand.NewPCG(5, 5))
			for {
				resume := servers.HoldCommits(t, db, s.IsMariaDB())
				stops++
				for _, wait := range []time.Duration{time.Duration(random.IntN(150)) * time.Millisecond, time.Duration(random.IntN(50)) * time.Millisecond} {
					select {
					case <-time.After(wait):
						resume()
					case <-ending:
						resume()
						return
					}
				}
			}
		}()

		log, table, pager := newReplay(t, s, start), pairs(s), pagerOf(t, s, snapshot.Options{Rows: 40})
		var after *string
		last := int64(-1)
		pages, rows, touched, empty := 0, 0, 0, 0
		for deadline := time.Now().Add(4 * time.Second); time.Now().Before(deadline) && !t.Failed(); {
			for range rand.IntN(200) { // as far behind as it may be
				log.next(time.Millisecond)
			}
			page, err := pager.Page(ctx, table, after, log.at)
			if err != nil {
				t.Error(err)
				break
			}
			log.to(page.High)
			if log.at.Compare(page.High) != 0 {
				t.Errorf("%s is no end of a transaction: the log goes from before it to %s", page.High, log.at)
			}
			ids, values := pairsOf(t, page)
			until := last
			for _, id := range ids {
				if id <= until {
					t.Errorf("row %d comes behind %d", id, until)
				}
				until = id
			}
			if page.Done {
				until = 1 << 62
			}
			unknown := func(id int64) bool {
				at, ever := log.touched[id]
				return ever && at.Compare(page.Low) > 0
			}
			for id, v := range values {
				if at, is := log.rows[id]; unknown(id) {
					touched++
				} else if rows++; !is || at != v {
					t.Errorf("row %d is %d in the page; the log has %d (%v) at %s, low %s", id, v, at, is, page.High, page.Low)
				}
			}
			for id, v := range log.rows {
				if _, is := values[id]; id > last && id <= until && !is && !unknown(id) {
					t.Errorf("row %d is not in the page; the log has %d at %s, low %s", id, v, page.High, page.Low)
				}
			}
			if pages++; len(ids) == 0 && !page.Done {
				empty++
			}
			if after, last = page.Last, until; page.Done {
				after, last = nil, -1
			}
		}
		close(ending)
		writers.Wait()
		t.Logf("%d pages of which %d empty, %d rows compared, %d touched, %d commits, %d stops", pages, empty, rows, touched, commits.Load(), stops)
		if pages < 10 || rows < 200 || commits.Load() < 50 {
			t.Error("nothing much was seen")
		}
	}, servers.SemiSync)
}
