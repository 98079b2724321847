package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// fromDriver reads the rows of a statement with go-sql-driver, which is not ours: the columns'
// names, how their values are compared, and the values as the server writes them in text.
func fromDriver(t testing.TB, s *servers.Server, statement string) (columns []string, kinds []kind, rows [][]value) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	session, err := s.Open(s.Database()).Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.ExecContext(ctx, "SET time_zone = '+00:00'"); err != nil {
		t.Fatal(err)
	}
	result, err := session.QueryContext(ctx, statement)
	if err != nil {
		t.Fatalf("%.200s: %v", statement, err)
	}
	defer result.Close()
	types, err := result.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range types {
		columns, kinds = append(columns, c.Name()), append(kinds, kindOf(t, c))
	}
	cells, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for result.Next() {
		if err := result.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := make([]value, len(cells))
		for i, cell := range cells {
			row[i] = value{null: cell == nil, text: string(cell)}
		}
		rows = append(rows, row)
	}
	// A procedure says at the very end that it failed.
	if err := result.Err(); err != nil {
		t.Fatalf("%.200s: %v", statement, err)
	}
	return columns, kinds, rows
}

// kindOf says how values of a column are compared. A type that is not here has no place in the
// tests that read with the driver.
func kindOf(t testing.TB, c *sql.ColumnType) kind {
	t.Helper()
	switch name := c.DatabaseTypeName(); strings.TrimPrefix(name, "UNSIGNED ") {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR":
		return integer
	case "DECIMAL", "DATE", "DATETIME", "TIMESTAMP", "TIME", "CHAR", "VARCHAR", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM", "SET":
		return text
	case "DOUBLE":
		return double
	case "BINARY", "VARBINARY", "BLOB":
		return binary
	default:
		t.Fatalf("column %s has type %s, which the oracle does not know", c.Name(), name)
		return kind{}
	}
}

// eachServer runs a test on MySQL and on MariaDB, both at once: most of the time is the
// starting of programs.
func eachServer(t *testing.T, test func(t *testing.T, s *servers.Server)) {
	for name, get := range map[string]func(testing.TB) *servers.Server{"MySQL": servers.MySQL, "MariaDB": servers.MariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, get(t))
		})
	}
}

// deliveriesOf is a workspace with a database of that server and a bucket.
func deliveriesOf(t testing.TB, s *servers.Server, store *servers.Store) *deliveries {
	t.Helper()
	d := &deliveries{newWorkspace(t, s.DSN(s.Database())), store}
	d.env = append(d.env, "AWS_ACCESS_KEY_ID="+store.AccessKey(), "AWS_SECRET_ACCESS_KEY="+store.SecretKey(),
		"CIPHERSTREAM_BUCKET="+store.URL(store.Bucket()))
	return d
}

// within gives the workspace of a subtest, whose deliveries go to the same bucket.
func (d *deliveries) within(t testing.TB) *deliveries {
	return &deliveries{d.workspace.with(t), d.store}
}

// literal writes a text as SQL. It is for the words of tests, which have neither quote nor backslash.
func literal(word string) string { return fmt.Sprintf("'%s'", word) }
