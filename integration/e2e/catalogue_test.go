package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// The range of days that the catalogue's procedures are asked for, both inclusive.
const (
	fromDay = "2024-03-10"
	toDay   = "2024-03-12"
)

// catalogued is a procedure of the catalogue and the table behind it.
type catalogued struct {
	procedure, table, key string
	// business is the column of date_modifier All, which is a DATE.
	business string
}

var catalogue = []catalogued{
	{"appointments", "appointment", "appointment_id", "appointment_date"},
	{"patients", "patient", "patient_id", "new_patient_date"},
}

// renamed is what the procedures call some columns of the tables.
var renamed = map[string]string{"created_date": "ts_4_insert", "updated_date": "ts_4_update"}

// edgeRows adds copies of a row on the edges of the range, on one of its three
// dates, the others being far away. The two inside get even keys, from base on, and
// the two outside odd ones.
func edgeRows(db database, c catalogued, base int) {
	columns := strings.Fields(db.Query("SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '" + c.table + "' ORDER BY ordinal_position"))
	script := ""
	for i, date := range []string{c.business, "ts_4_insert", "ts_4_update"} {
		for j, moment := range []string{"'" + fromDay + " 00:00:00'", "'" + fromDay + " 00:00:00' - INTERVAL 1 SECOND",
			"'" + toDay + " 23:59:59'", "'" + toDay + " 23:59:59' + INTERVAL 1 SECOND"} {
			var list []string
			for _, column := range columns {
				switch column {
				case c.key:
					column = strconv.Itoa(base + 100*i + j)
				case date:
					column = "DATE(" + moment + ")"
					if date != c.business {
						column = moment
					}
				case c.business, "ts_4_insert", "ts_4_update":
					column = "'1999-01-01'"
				}
				list = append(list, column)
			}
			script += fmt.Sprintf("INSERT INTO %s SELECT %s FROM %[1]s ORDER BY %[3]s LIMIT 1;\n", c.table, strings.Join(list, ", "), c.key)
		}
	}
	db.Exec(script)
}

// TestCatalogue runs the procedures of the catalogue on a real server and compares
// with what the official client selects from the tables.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	readCatalogue(t, dbtest.MariaDB(t))
}

func readCatalogue(t *testing.T, db database) {
	t.Helper()
	w := newWorkspace(t, db.DSN(db.Database()))
	w.must("sandbox", "load", "--patients", "300", "--appointments", "6000")
	const base = 500_000_000
	for _, c := range catalogue {
		edgeRows(db, c, base)
		// What the table calls integers are numbers in JSON.
		integers := map[string]bool{}
		for _, name := range strings.Fields(db.Query("SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '" + c.table + "' AND data_type LIKE '%int'")) {
			integers[name] = true
		}
		// The columns and their order are what the client shows of the call.
		call := db.Client("--batch", db.Database(), "-e", fmt.Sprintf("CALL %s('%s', '%s', 'All')", c.procedure, fromDay, toDay))
		shown, err := call.Output()
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(string(shown), "\n")
		columns := strings.Split(header, "\t")
		var kinds []kind
		var expressions []string
		for _, column := range columns {
			if name := renamed[column]; name != "" {
				column = name
			}
			k := text
			if integers[column] {
				k = integer
			}
			kinds, expressions = append(kinds, k), append(expressions, k.expression(column))
		}
		for i, modifier := range []string{"All", "Created", "Updated"} {
			t.Run(c.procedure+"/"+modifier, func(t *testing.T) {
				w := newWorkspace(t, w.dsn)
				date := []string{c.business, "ts_4_insert", "ts_4_update"}[i]
				want := fromClient(t, db, expressions, fmt.Sprintf("%s WHERE DATE(%s) BETWEEN '%s' AND '%s' ORDER BY %s", c.table, date, fromDay, toDay, c.key))
				edges := 0
				for _, row := range want {
					if key, err := strconv.Atoi(row[0].text); err != nil {
						t.Fatal(err)
					} else if key >= base {
						edges++
					}
				}
				if edges != 2 {
					t.Fatalf("the client sees %d rows on the edges of the range, not 2", edges)
				}
				args := []string{"run", c.procedure, "-p", "from_date=" + fromDay, "-p", "to_date=" + toDay, "-p", "date_modifier=" + modifier}
				compareNDJSON(t, w.must(args...), columns, kinds, want)
				csv := w.must(append(args, "-f", "csv")...)
				compareCSV(t, csv, columns, kinds, want)

				w.must(append(args, "-f", "csv", "-c", "gzip", "-o", "rows.csv.gz")...)
				r, err := gzip.NewReader(bytes.NewReader(readFile(t, w.output("rows.csv.gz"))))
				if err != nil {
					t.Fatal(err)
				}
				if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, csv) {
					t.Errorf("gzip holds %d other bytes: %v", len(plain), err)
				}
			})
		}
	}
}

// TestWholeTable: a range without ends is the whole table.
func TestWholeTable(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	w.must("sandbox", "load", "--patients", "500", "--appointments", "20000")
	want := db.Query("SELECT appointment_id FROM appointment ORDER BY appointment_id")
	_, rows := fromPython(t, readNDJSON, w.must("run", "appointments"))
	var got strings.Builder
	for _, row := range rows {
		got.WriteString(row[0].text + "\n")
	}
	if got.String() != want {
		t.Errorf("%d rows, want %d, or in another order", len(rows), strings.Count(want, "\n"))
	}
}
