package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

const (
	// mostColumns is what a table or a view may have. InnoDB's tables stop at 1,017, and the definition of a
	// table of MariaDB is too large before.
	mostColumns = 4096
	// innodbColumns is the most for a table of InnoDB.
	innodbColumns = 1017
)

// wideColumns are the definitions of columns number from to number to.
func wideColumns(from, to int) (ddl []string) {
	types := []string{"TINYINT", "INT UNSIGNED", "VARCHAR(5) CHARACTER SET latin1", "DATE", "DECIMAL(9,2)", "BIGINT", "VARBINARY(4)", "SMALLINT NOT NULL"}
	for i := from; i < to; i++ {
		ddl = append(ddl, fmt.Sprintf("c%d %s", i, types[i%len(types)]))
	}
	return ddl
}

// wideRows inserts rows of values that tell their place, with NULLs between.
func wideRows(table string, from, to, rows int) string {
	script := ""
	for row := range rows {
		var list []string
		for i := from; i < to; i++ {
			n := i*31 + row*7
			value := []string{fmt.Sprint(n%256 - 128), fmt.Sprint(n * 1000), literal(fmt.Sprint(n % 100000)), fmt.Sprintf("DATE'1970-01-01' + INTERVAL %d DAY", n),
				fmt.Sprintf("%d.%02d", n-60000, n%100), fmt.Sprint(-n * 1000003), fmt.Sprintf("x'%08x'", n), fmt.Sprint(row)}[i%8]
			if (i+row)%5 == 0 && i%8 != 7 {
				value = "NULL"
			}
			list = append(list, value)
		}
		script += "INSERT INTO " + table + " VALUES (" + strings.Join(list, ", ") + ");\n"
	}
	return script
}

// TestExtremeWidth reads 4,096 columns, from a view of two tables and from one table where the server lets one have them, by a
// query in every format, by a call and by custom_table. The driver says what is in them. InnoDB's widest table, and
// a result that is wider than any table, are read too.
func TestExtremeWidth(t *testing.T) {
	t.Parallel()
	const rows = 6
	eachServer(t, func(t *testing.T, s *servers.Server) {
		w := newWorkspace(t, s.DSN(s.Database()))
		create := func(table, engine string, from, to int) {
			s.Exec("CREATE TABLE " + table + " (" + strings.Join(wideColumns(from, to), ", ") + ") ENGINE=" + engine + ";\n" + wideRows(table, from, to, rows))
		}
		create("low", "MyISAM", 0, mostColumns/2)
		create("high", "MyISAM", mostColumns/2, mostColumns)
		create("inno", "InnoDB", 0, innodbColumns)
		s.Exec("CREATE VIEW wide AS SELECT * FROM low JOIN high ON c7 = c2055;\n" +
			"CREATE PROCEDURE all_of_it() SELECT * FROM wide ORDER BY c7")
		tables := map[string]int{"wide": mostColumns, "inno": innodbColumns}
		if !s.IsMariaDB() {
			create("one", "MyISAM", 0, mostColumns)
			tables["one"] = mostColumns
		}
		for table, width := range tables {
			// Every eighth column is the number of the row.
			query := "SELECT * FROM " + table + " ORDER BY c7"
			columns, kinds, want := fromDriver(t, s, query)
			if len(columns) != width || len(want) != rows {
				t.Fatalf("%s: the driver reads %d columns, %d rows", table, len(columns), len(want))
			}
			formats := formatsOf
			if table != "wide" {
				formats = []string{"ndjson", "parquet"}
			}
			for _, format := range formats {
				holds(t, format, w.must("run", w.pipeline(settings{"query": query}, format)), columns, kinds, want)
			}
		}
		query := w.must("run", w.pipeline(settings{"query": "SELECT * FROM wide ORDER BY c7"}, "ndjson"))
		call := w.must("run", w.pipeline(settings{"call": "all_of_it"}, "ndjson"), "--isolation", "stage")
		if !bytes.Equal(call, query) {
			t.Errorf("the call gives %d bytes, the query %d", len(call), len(query))
		}
		header, records := w.ask(w.custom("wide,inno", ""), "table_name=wide", "columns=c4095,c0,c2048")
		if len(records) != rows || strings.Join(header, " ") != "c4095 c0 c2048" {
			t.Errorf("custom_table: %v, %d rows", header, len(records))
		}
		if header, records = w.ask(w.custom("wide,inno", ""), "table_name=wide"); len(header) != mostColumns || len(records) != rows {
			t.Errorf("custom_table: %d columns, %d rows", len(header), len(records))
		}

		// A result has no such limit.
		var list []string
		want := "{"
		for i := range 3 * mostColumns {
			list = append(list, fmt.Sprintf("%d AS c%d", i, i))
			want += fmt.Sprintf(`"c%d":%d,`, i, i)
		}
		want = strings.TrimSuffix(want, ",") + "}\n"
		for _, protocol := range []string{"binary", "text"} {
			got := w.must("run", w.pipeline(settings{"query": "SELECT " + strings.Join(list, ", "), "protocol": protocol}, "ndjson"))
			if string(got) != want {
				t.Errorf("%d columns, %s protocol: %d bytes, want %d", 3*mostColumns, protocol, len(got), len(want))
			}
		}
	})
}
