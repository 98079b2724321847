package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// formatsOf are the encoders by the names of pipelines.
var formatsOf = []string{"ndjson", "json", "csv", "parquet", "arrow"}

// readTable holds a table in every format against the official client, and one protocol against the other.
func readTable(t *testing.T, s *servers.Server, w *workspace, columns []string, kinds []kind, from string) {
	t.Helper()
	var names, expressions []string
	for i, c := range columns {
		names, expressions = append(names, quotedName(c)), append(expressions, kinds[i].expression(quotedName(c)))
	}
	want := fromClient(t, s, expressions, from)
	query := "SELECT " + strings.Join(names, ", ") + " FROM " + from
	for _, format := range formatsOf {
		output := w.must("run", w.pipeline(settings{"query": query, "protocol": "binary"}, format), "--isolation", "none")
		holds(t, format, output, columns, kinds, want)
		if format == "ndjson" || format == "parquet" {
			pipeline := w.pipeline(settings{"query": query, "protocol": "text"}, format)
			if slices.Contains(kinds, float) { // the text protocol rounds it
				w.fails(w.run("run", pipeline, "--isolation", "none", "-o", w.output("rounded")), 1, "mysql.float")
				continue
			}
			again := w.must("run", pipeline, "--isolation", "none")
			if !bytes.Equal(again, output) {
				t.Errorf("%s: the text protocol gives %d other bytes than the binary one", format, len(again))
			}
		}
	}
	if slices.Contains(kinds, float) {
		columns, kinds = withoutFloat(columns, kinds)
		readTable(t, s, w, columns, kinds, from)
	}
}

// withoutFloat leaves out the columns that the text protocol rounds.
func withoutFloat(columns []string, kinds []kind) (names []string, rest []kind) {
	for i, k := range kinds {
		if k != float {
			names, rest = append(names, columns[i]), append(rest, k)
		}
	}
	return names, rest
}

func quotedName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// namesAndKinds are those of a table of loadEveryType.
func namesAndKinds(types []typed) (columns []string, kinds []kind) {
	columns, kinds = []string{"id"}, []kind{integer}
	for _, c := range types {
		columns, kinds = append(columns, c.name), append(kinds, c.kind)
	}
	return columns, kinds
}

func typesOf(t testing.TB, s *servers.Server) []typed {
	t.Helper()
	if s.IsMariaDB() {
		return everyType
	}
	return mysqlTypes(t, s)
}

// TestExtremeNulls reads a table of every type in every format: all its values, one row, a row of NULLs,
// no rows, nothing but NULLs, and rows whose NULLs are in another place in every column.
func TestExtremeNulls(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		types := typesOf(t, s)
		// Once is enough for long values.
		for i, c := range types {
			if c.name == "c_mediumtext" || c.name == "c_longtext" || c.name == "c_text" || strings.HasSuffix(c.name, "blob") || c.name == "c_native_json" {
				types = slices.Clone(types)
				types[i].values = c.values[len(c.values)-min(len(c.values), 2):]
			}
		}
		loadEveryType(t, s, types)
		columns, kinds := namesAndKinds(types)
		script := "CREATE TABLE pattern LIKE every_type;\n"
		for i := range 7 {
			script += fmt.Sprintf("INSERT INTO pattern SELECT %s FROM every_type WHERE id > 0;\n",
				strings.Join(append([]string{"id + " + strconv.Itoa(100*i)}, columns[1:]...), ", "))
		}
		for i, c := range columns[1:] {
			script += fmt.Sprintf("UPDATE pattern SET %s = NULL WHERE (id + %d) %% %d = 0;\n", c, i, 2+i%5)
		}
		script += "CREATE TABLE nothing LIKE every_type;\nINSERT INTO nothing (id) SELECT id FROM pattern;\n"
		s.Exec(script)
		w := newWorkspace(t, s.DSN(s.Database()))
		for _, c := range []struct{ name, from string }{
			{"every value", "every_type ORDER BY id"},
			{"one row", "every_type WHERE id = 1"},
			{"one row of NULLs", "every_type WHERE id = 0"},
			{"no rows", "every_type WHERE id < 0"},
			{"nothing but NULLs", "nothing ORDER BY id"},
			{"NULLs everywhere", "pattern ORDER BY id"},
		} {
			t.Run(c.name, func(t *testing.T) { readTable(t, s.For(t), w.with(t), columns, kinds, c.from) })
		}
	})
}

// TestExtremeDates is TestZeroDates on both servers, in every format and on every kind of date column.
func TestExtremeDates(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		s.Exec(`SET sql_mode = 'ALLOW_INVALID_DATES';
CREATE TABLE z (id INT NOT NULL PRIMARY KEY, d DATE, n DATE NOT NULL, t DATETIME NOT NULL, f DATETIME(6), m DATETIME(3), s TIMESTAMP(2) NULL);
INSERT INTO z VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'),
  (2, '2024-00-00', '2024-00-15', '2024-01-00 10:20:30', '2024-00-00 00:00:00.000001', '0000-12-00 23:59:59.999', NULL),
  (3, '2024-02-30', '2100-02-29', '2023-02-29 00:00:00', '2024-04-31 23:59:59.999999', '1900-02-29 00:00:00.001', '0000-00-00 00:00:00'),
  (4, NULL, '0000-01-01', '0000-12-31 23:59:59', NULL, NULL, NULL),
  (5, '2024-02-29', '9999-12-31', '2024-02-29 01:02:03', '9999-12-31 23:59:59.999999', '0001-01-01 00:00:00.001', '2038-01-19 03:14:07.99')`)
		const impossible = 3 // in the first rows every date is
		columns, kinds := []string{"id", "d", "n", "t", "f", "m", "s"}, []kind{integer, text, text, text, text, text, text}
		var expressions []string
		for i, c := range columns {
			expressions = append(expressions, kinds[i].expression(c))
		}
		verbatim := fromClient(t, s, expressions, "z ORDER BY id")
		nulled := make([][]value, len(verbatim))
		for i, row := range verbatim {
			nulled[i] = slices.Clone(row)
			for c := range row {
				if c > 0 && i < impossible {
					nulled[i][c] = value{null: true}
				}
			}
		}
		w := newWorkspace(t, s.DSN(s.Database()))
		for _, protocol := range []string{"binary", "text"} {
			source := func(policy, where string) settings {
				return settings{"query": "SELECT * FROM z " + where + " ORDER BY id", "protocol": protocol, "zero_dates": policy}
			}
			for _, format := range formatsOf {
				for policy, want := range map[string][][]value{"text": verbatim, "null": nulled} {
					output := w.must("run", w.pipeline(source(policy, ""), format), "--isolation", "none")
					holds(t, format, output, columns, kinds, want)
				}
				output := w.must("run", w.pipeline(source("error", "WHERE id > 3"), format), "--isolation", "none")
				holds(t, format, output, columns, kinds, verbatim[impossible:])
			}
			for id := 1; id <= impossible; id++ {
				for _, c := range columns[1:] {
					if verbatim[id-1][slices.Index(columns, c)].null {
						continue
					}
					one := settings{"query": fmt.Sprintf("SELECT %s FROM z WHERE id = %d", c, id), "protocol": protocol}
					w.fails(w.run("run", w.pipeline(one, "ndjson"), "-o", w.output("rows"), "--isolation", "none", "--progress", "none"), 1, "mysql.zero_date")
				}
			}
		}
	})
}
