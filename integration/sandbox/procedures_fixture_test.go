//go:build gms_pure_go

package sandbox_test

import (
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// column is a column of schema.sql.
type column struct {
	name, kind string // kind is its type without the length
	nullable   bool
}

// practice is schema.sql and the procedures, for tests that fill the tables themselves.
type practice struct {
	statements []string
	tables     map[string][]column
	procedures []string
}

var (
	tableStart = regexp.MustCompile(`(?m)^CREATE TABLE (\w+) \(`)
	columnLine = regexp.MustCompile(`(?m)^  (\w+) +([A-Z]+)(?:\([0-9,]+\))? +(NOT NULL|NULL),`)
)

func readPractice(t testing.TB) practice {
	t.Helper()
	p := practice{tables: map[string][]column{}}
	schema, err := fs.ReadFile(practiceSQL, "schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strings.SplitAfter(strings.TrimSpace(string(schema)), ";\n") {
		s = strings.TrimRight(strings.TrimSpace(s), ";")
		p.statements = append(p.statements, s)
		if m := tableStart.FindStringSubmatch(s); m != nil {
			for _, c := range columnLine.FindAllStringSubmatch(s, -1) {
				p.tables[m[1]] = append(p.tables[m[1]], column{c[1], c[2], c[3] == "NULL"})
			}
		}
	}
	files, err := fs.Glob(practiceSQL, "procedures/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		script, err := fs.ReadFile(practiceSQL, file)
		if err != nil {
			t.Fatal(err)
		}
		p.statements = append(p.statements, string(script))
		p.procedures = append(p.procedures, strings.TrimSuffix(filepath.Base(file), ".sql"))
	}
	return p
}

// server is a server of package dbtest or of package servers.
type server interface {
	NewDatabase() string
	DSN(database string) string
}

// in gives a new database with the practice's tables, without rows, and its
// procedures. They are made, and called, in a session with this sql_mode, an expression.
func (p practice) in(t testing.TB, s server, mode string) *sql.DB {
	t.Helper()
	db := open(t, s.DSN(s.NewDatabase()))
	db.SetMaxOpenConns(1) // a mode belongs to a connection
	exec(t, db, "SET SESSION sql_mode = "+mode)
	p.create(t, db)
	return db
}

// inSandbox is in with the embedded server.
func (p practice) inSandbox(t testing.TB) *sql.DB {
	t.Helper()
	db := open(t, startSandbox(t, sandbox.Options{Scale: 0.01}).DSN())
	db.SetMaxOpenConns(1) // USE belongs to a connection
	exec(t, db, "CREATE DATABASE by_hand")
	exec(t, db, "USE by_hand")
	p.create(t, db)
	return db
}

func (p practice) create(t testing.TB, db *sql.DB) {
	t.Helper()
	for _, s := range p.statements {
		exec(t, db, s)
	}
}

func exec(t testing.TB, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%v in %.400s", err, statement)
	}
}

// insert makes an INSERT of a row: the values given as texts, null among them, and
// for other columns NULL where that may be, else 0, an empty text, or a day of 1999.
func (p practice) insert(t testing.TB, table string, values map[string]string) string {
	t.Helper()
	columns := p.tables[table]
	if columns == nil {
		t.Fatalf("schema.sql has no table %s", table)
	}
	var names, literals []string
	for _, c := range columns {
		names = append(names, c.name)
		v, given := values[c.name]
		switch {
		case given && v == null, !given && c.nullable:
			literals = append(literals, "NULL")
		case given:
			literals = append(literals, "'"+strings.ReplaceAll(v, "'", "''")+"'")
		case c.kind == "VARCHAR":
			literals = append(literals, "''")
		case strings.HasPrefix(c.kind, "DATE"):
			literals = append(literals, "'1999-01-01'")
		default:
			literals = append(literals, "0")
		}
	}
	for name := range values {
		if !slices.Contains(names, name) {
			t.Fatalf("table %s has no column %s", table, name)
		}
	}
	return "INSERT INTO " + table + " VALUES (" + strings.Join(literals, ", ") + ")"
}

// empty deletes all rows.
func (p practice) empty(t testing.TB, db *sql.DB) {
	t.Helper()
	for table := range p.tables {
		exec(t, db, "DELETE FROM "+table)
	}
}

// A fixture is rows, calls and what they answer, as text: blocks separated by blank
// lines. The first line of a block is the name of a table, or a CALL; the second
// names columns; the others are rows. Fields are separated by " | ", NULL is NULL, and
// lines that begin with # are comments. A CALL's columns may be a choice.
type fixture []block

type block struct {
	line    int
	head    string
	columns []string
	rows    [][]string
}

func readFixture(t testing.TB, name string) fixture {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out fixture
	fresh := true
	for i, line := range strings.Split(string(text), "\n") {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "#"):
		case line == "":
			fresh = true
		case fresh:
			out, fresh = append(out, block{line: i + 1, head: line}), false
		default:
			b := &out[len(out)-1]
			fields := strings.Split(line, "|")
			for j, f := range fields {
				if fields[j] = strings.TrimSpace(f); fields[j] == "NULL" {
					fields[j] = null
				}
			}
			if b.columns == nil {
				b.columns = fields
			} else if b.rows = append(b.rows, fields); len(fields) != len(b.columns) {
				t.Fatalf("%s:%d: %d fields for %d columns", name, i+1, len(fields), len(b.columns))
			}
		}
	}
	return out
}

var callPattern = regexp.MustCompile(`^CALL (\w+)\((.*)\)$`)

// ask executes a CALL as text or prepared, which is the binary protocol.
func ask(t testing.TB, db *sql.DB, call string, prepared bool) (result, error) {
	t.Helper()
	m := callPattern.FindStringSubmatch(call)
	if m == nil {
		t.Fatalf("%q is not CALL name(arguments)", call)
	}
	if !prepared || m[2] == "" {
		return answer(db, call)
	}
	var args []any
	for _, a := range strings.Split(m[2], ", ") {
		if a == "NULL" {
			args = append(args, nil)
		} else {
			args = append(args, strings.Trim(a, "'"))
		}
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")
	return answer(db, fmt.Sprintf("CALL %s(%s)", m[1], marks), args...)
}

// choose keeps some of the columns, in their order.
func (r result) choose(t testing.TB, columns []string) result {
	t.Helper()
	out := result{columns: columns}
	var at []int
	for _, c := range columns {
		i := slices.Index(r.columns, c)
		if i < 0 {
			t.Fatalf("column %s is not among %v", c, r.columns)
		}
		at = append(at, i)
	}
	for _, row := range r.rows {
		var kept []string
		for _, i := range at {
			kept = append(kept, row[i])
		}
		out.rows = append(out.rows, kept)
	}
	return out
}

func (r result) String() string {
	var b strings.Builder
	for _, row := range r.rows {
		fmt.Fprintln(&b, strings.ReplaceAll(strings.Join(row, " | "), null, "NULL"))
	}
	return b.String()
}
