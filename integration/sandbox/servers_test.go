//go:build gms_pure_go

// Package sandbox_test holds the embedded sandbox and a real MariaDB server
// against each other: the same SQL, the same data, the same answers. It owns no
// data of its own but the few rows that were checked by hand.
package sandbox_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/engine/sandbox/embedded"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/go-sql-driver/mysql"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var practiceSQL = os.DirFS("../../pipelines/sql")

// open connects to a mysql:// URL.
func open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	if err := c.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		t.Fatal(err)
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

func startSandbox(t testing.TB, o sandbox.Options) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{SQL: practiceSQL, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// result is what a CALL answered: column names and types, and rows as text.
type result struct {
	columns []string
	types   []string
	rows    [][]string
}

// null stands for NULL among texts.
const null = "\x00NULL"

// call executes CALL procedure(from, to, modifier): prepared, so over the binary
// protocol, or as text.
func call(t testing.TB, db *sql.DB, prepared bool, procedure string, from, to, modifier any) result {
	t.Helper()
	query, args := "CALL "+procedure+"(?, ?, ?)", []any{from, to, modifier}
	if !prepared {
		query, args = "CALL "+procedure+"("+literal(from)+", "+literal(to)+", "+literal(modifier)+")", nil
	}
	r, err := answer(db, query, args...)
	if err != nil {
		t.Fatalf("%s %v: %v", query, args, err)
	}
	return r
}

// answer executes a query. NULL in a column that the server declares NOT NULL is an
// error, as it is to the mysql source.
func answer(db *sql.DB, query string, args ...any) (r result, err error) {
	rows, err := db.Query(query, args...)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	if r.columns, err = rows.Columns(); err != nil {
		return r, err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return r, err
	}
	for _, c := range types {
		r.types = append(r.types, c.DatabaseTypeName())
	}
	values := make([]sql.NullString, len(r.columns))
	targets := make([]any, len(values))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return r, err
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = null
			if v.Valid {
				row[i] = v.String
			} else if nullable, known := types[i].Nullable(); known && !nullable {
				return r, fmt.Errorf("column %s is NULL in row %d, though the server declares it NOT NULL", r.columns[i], len(r.rows)+1)
			}
		}
		r.rows = append(r.rows, row)
	}
	return r, rows.Err()
}

func literal(v any) string {
	if v == nil {
		return "NULL"
	}
	return "'" + v.(string) + "'"
}

func (r result) equal(other result) bool {
	return slices.Equal(r.columns, other.columns) && slices.EqualFunc(r.rows, other.rows, slices.Equal[[]string])
}
