// Package visits is a table of a practice whose rows change by a clock of a test's own, some of them in transactions that
// are committed late. It never reads the table as a pipeline does: whether one that follows it leaves a row out is for the
// tests to find out.
package visits

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Row is a row of the table, and as NDJSON delivers it.
type Row struct {
	ID        int64  `json:"id"`
	Version   int32  `json:"version"`
	UpdatedAt string `json:"updated_at"` // as the server writes it
}

// Table is a table visit of id, version and updated_at.
type Table struct {
	testing.TB
	DB     *sql.DB
	Random *rand.Rand
	// Now is the clock, which Pass puts on.
	Now time.Time
	// Below is how many transactions were committed with a time below the state that had been kept already.
	Below int

	ticks     int
	id        int64   // the last one
	committed []int64 // rows that no transaction holds
	open      []late
}

// late is a transaction that is still open, the time of its rows, and the tick at which it is committed.
type late struct {
	tx     *sql.Tx
	at     string
	commit int
}

// New makes the table, without a row.
func New(t testing.TB, db *sql.DB) *Table {
	t.Helper()
	v := &Table{TB: t, DB: db, Random: rand.New(rand.NewPCG(1, 2)), Now: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
	v.exec(db, "CREATE TABLE visit (id BIGINT PRIMARY KEY, version INT NOT NULL, updated_at DATETIME NOT NULL, KEY (updated_at))")
	return v
}

// executes is a database and a transaction.
type executes interface {
	Exec(statement string, args ...any) (sql.Result, error)
}

func (v *Table) exec(on executes, statement string, args ...any) {
	v.Helper()
	if _, err := on.Exec(statement, args...); err != nil {
		v.Fatalf("%s: %v", statement, err)
	}
}

// Insert adds rows of now, which are committed.
func (v *Table) Insert(rows int) {
	v.Helper()
	v.insert(v.DB, rows)
	for i := range int64(rows) {
		v.committed = append(v.committed, v.id-i)
	}
}

func (v *Table) insert(on executes, rows int) {
	v.Helper()
	var values []string
	for range rows {
		v.id++
		values = append(values, fmt.Sprintf("(%d, 1, '%s')", v.id, v.Now.Format(time.DateTime)))
	}
	v.exec(on, "INSERT INTO visit VALUES "+strings.Join(values, ", "))
}

// Pass lets ten minutes pass: rows are written and changed, a transaction is begun whose rows have this time, and those that
// were begun up to fifty minutes ago and are due are committed. State is how far whoever follows the table has come.
func (v *Table) Pass(state string) {
	v.Helper()
	v.Now = v.Now.Add(10 * time.Minute)
	at := v.Now.Format(time.DateTime)
	v.Insert(20)
	for range 3 { // of now or of an earlier time
		some := v.committed[v.Random.IntN(len(v.committed))]
		v.exec(v.DB, "UPDATE visit SET version = version + 1, updated_at = ? WHERE id = ?", at, some)
	}
	tx, err := v.DB.Begin()
	if err != nil {
		v.Fatal(err)
	}
	v.insert(tx, 3)
	v.open = append(v.open, late{tx, at, v.ticks + 1 + v.Random.IntN(5)})
	v.commit(state, v.ticks)
	v.ticks++
}

// CommitAll commits all transactions that are open.
func (v *Table) CommitAll(state string) {
	v.Helper()
	v.commit(state, v.ticks+5)
}

func (v *Table) commit(state string, by int) {
	v.Helper()
	var open []late
	for _, l := range v.open {
		if l.commit > by {
			open = append(open, l)
			continue
		}
		if state > l.at {
			v.Below++
		}
		if err := l.tx.Commit(); err != nil {
			v.Fatal(err)
		}
	}
	v.open = open
}

// Rows are those of the table.
func (v *Table) Rows() (rows []Row) {
	v.Helper()
	found, err := v.DB.Query("SELECT id, version, CAST(updated_at AS CHAR) FROM visit")
	if err != nil {
		v.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var r Row
		if err := found.Scan(&r.ID, &r.Version, &r.UpdatedAt); err != nil {
			v.Fatal(err)
		}
		rows = append(rows, r)
	}
	if err := found.Err(); err != nil {
		v.Fatal(err)
	}
	return rows
}

// Delivered are the rows of NDJSON.
func (v *Table) Delivered(text []byte) (rows []Row) {
	v.Helper()
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var r Row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			v.Fatalf("%q: %v", lines.Text(), err)
		}
		r.UpdatedAt = strings.Replace(r.UpdatedAt, "T", " ", 1)
		rows = append(rows, r)
	}
	return rows
}
