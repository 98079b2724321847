package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/python"
)

// database is a server's handle, of package dbtest or of package servers.
type database interface {
	// Database is the name of the test's database, and DSN the URL of one.
	Database() string
	DSN(database string) string
	// Exec and Query run statements with the official client in the test's database, and Client is
	// its command.
	Exec(sql string)
	Query(sql string) string
	Client(args ...string) *exec.Cmd
}

// kind says how a column's values are compared with what the official client prints.
type kind struct {
	// oracle is an expression for the value as text, or as bytes; %s is the column.
	oracle string
	// number: a number in JSON, and not a string. bits: compared as floating point.
	// binary: base64 on our side.
	number bool
	bits   int
	binary bool
}

var (
	text     = kind{oracle: "CAST(%s AS CHAR CHARACTER SET utf8mb4)"}
	integer  = kind{oracle: "CAST(%s AS CHAR CHARACTER SET utf8mb4)", number: true}
	zerofill = kind{oracle: "CAST(CAST(%s AS UNSIGNED) AS CHAR)", number: true}
	bit      = kind{oracle: "CAST(%s + 0 AS CHAR)", number: true}
	float    = kind{oracle: "CAST(%s AS CHAR)", number: true, bits: 32}
	double   = kind{oracle: "CAST(%s AS CHAR)", number: true, bits: 64}
	binary   = kind{oracle: "%s", binary: true}
	geometry = kind{oracle: "ST_AsWKB(%s)", binary: true}
)

// value is one value from an independent reader.
type value struct {
	null   bool
	number bool // written as a JSON number
	text   string
}

// expression makes the client print a value so that it cannot be misread: "-" for
// NULL, "+" and hexadecimal digits otherwise.
func (k kind) expression(column string) string {
	return fmt.Sprintf("IF(%s IS NULL, '-', CONCAT('+', HEX(%s)))", column, fmt.Sprintf(k.oracle, column))
}

// fromClient reads columns of a table with the official client.
func fromClient(t testing.TB, db database, expressions []string, from string) (rows [][]value) {
	t.Helper()
	out := db.Query("SET time_zone = '+00:00', NAMES utf8mb4; SELECT " + strings.Join(expressions, ", ") + " FROM " + from)
	for line := range strings.Lines(out) {
		rows = append(rows, values(t, strings.TrimSuffix(line, "\n")))
	}
	return rows
}

// values reads a line of values that are "-", or "+" or "n" and hexadecimal digits,
// with tabs between.
func values(t testing.TB, line string) (row []value) {
	t.Helper()
	for cell := range strings.SplitSeq(line, "\t") {
		if cell == "-" {
			row = append(row, value{null: true})
			continue
		}
		decoded, err := hex.DecodeString(cell[1:])
		if err != nil || cell[0] != '+' && cell[0] != 'n' {
			t.Fatalf("not a value: %.80q, %v", cell, err)
		}
		row = append(row, value{text: string(decoded), number: cell[0] == 'n'})
	}
	return row
}

// The Python programs print the names of the columns, then one line of values each
// row.
const (
	readNDJSON = `
import json, sys
class Number(str): pass
def no(name): raise ValueError(name + " is not JSON")
def show(v):
    if v is None: return "-"
    if isinstance(v, Number): return "n" + v.encode().hex()
    if isinstance(v, str): return "+" + v.encode("utf-8").hex()
    raise ValueError("unexpected " + repr(v))
text = sys.stdin.buffer.read()
assert text.endswith(b"\n"), "the last line has no end"
names = None
for line in text[:-1].split(b"\n"):
    row = json.loads(line.decode("utf-8"), parse_int=Number, parse_float=Number, parse_constant=no, object_pairs_hook=list)
    if names is None:
        names = [k for k, v in row]
        print("\t".join("+" + k.encode("utf-8").hex() for k in names))
    assert names == [k for k, v in row], "other names"
    print("\t".join(show(v) for k, v in row))
`
	readCSV = `
import csv, io, sys
csv.field_size_limit(1 << 30)
for row in csv.reader(io.TextIOWrapper(sys.stdin.buffer, "utf-8", newline=""), strict=True):
    print("\t".join("+" + v.encode("utf-8").hex() for v in row))
`
)

// fromPython reads output with Python's own reader of the format.
func fromPython(t testing.TB, script string, output []byte) (columns []string, rows [][]value) {
	t.Helper()
	for line := range strings.Lines(string(python.Script(t, script, output))) {
		row := values(t, strings.TrimSuffix(line, "\n"))
		if columns != nil {
			rows = append(rows, row)
			continue
		}
		for _, v := range row {
			columns = append(columns, v.text)
		}
	}
	return columns, rows
}

// nullsOfCSV says which fields of the records after the header are NULL: those that
// are empty and not quoted. Python's reader cannot tell.
func nullsOfCSV(t testing.TB, output []byte) (rows [][]bool) {
	t.Helper()
	var row []bool
	for at := 0; at < len(output); {
		begin := at
		if output[at] == '"' {
			for at++; output[at] != '"' || output[at+1] == '"'; at++ {
				if output[at] == '"' {
					at++
				}
			}
			at++
		} else {
			at += bytes.IndexAny(output[at:], ",\r\"")
		}
		row = append(row, at == begin)
		switch {
		case output[at] == ',':
			at++
		case bytes.HasPrefix(output[at:], []byte("\r\n")):
			at += 2
			rows, row = append(rows, row), nil
		default:
			t.Fatalf("a field ends with %q", output[at])
		}
	}
	if row != nil {
		t.Fatal("the last record has no end")
	}
	return rows[1:]
}

// problem says how a value differs from the client's; empty when it does not.
func (k kind) problem(got, want value) string {
	same := got.text == want.text
	switch {
	case got.null || want.null:
		same = got.null && want.null
	case k.binary:
		decoded, err := base64.StdEncoding.Strict().DecodeString(got.text)
		same = err == nil && string(decoded) == want.text
	case k.bits > 0:
		a, err1 := strconv.ParseFloat(got.text, k.bits)
		b, err2 := strconv.ParseFloat(want.text, k.bits)
		same = err1 == nil && err2 == nil && a == b
	}
	if same {
		return ""
	}
	return fmt.Sprintf("%.100q (null %v), the client says %.100q (null %v)", got.text, got.null, want.text, want.null)
}

// compareNDJSON holds output against the client's rows, value for value.
func compareNDJSON(t testing.TB, output []byte, columns []string, kinds []kind, want [][]value) {
	t.Helper()
	got, rows := fromPython(t, readNDJSON, output)
	if len(want) == 0 && len(output) == 0 {
		return
	}
	compare(t, "ndjson", got, rows, columns, kinds, want)
	for i, row := range rows {
		for c, v := range row {
			if !v.null && v.number != kinds[c].number {
				t.Errorf("ndjson, row %d, %s: a number: %v, want %v", i, columns[c], v.number, kinds[c].number)
			}
		}
	}
}

// compareCSV does the same.
func compareCSV(t testing.TB, output []byte, columns []string, kinds []kind, want [][]value) {
	t.Helper()
	got, rows := fromPython(t, readCSV, output)
	nulls := nullsOfCSV(t, output)
	if len(nulls) != len(rows) {
		t.Fatalf("csv: %d records, Python reads %d", len(nulls), len(rows))
	}
	for i, row := range rows {
		for c := range row {
			if row[c].null = nulls[i][c]; row[c].null && row[c].text != "" {
				t.Fatalf("csv: row %d is read in two ways", i)
			}
		}
	}
	compare(t, "csv", got, rows, columns, kinds, want)
}

func compare(t testing.TB, format string, got []string, rows [][]value, columns []string, kinds []kind, want [][]value) {
	t.Helper()
	if strings.Join(got, ",") != strings.Join(columns, ",") {
		t.Fatalf("%s: columns %v, want %v", format, got, columns)
	}
	if len(rows) != len(want) {
		t.Fatalf("%s: %d rows, the client has %d", format, len(rows), len(want))
	}
	problems := 0
	for i, row := range rows {
		if len(row) != len(columns) || len(want[i]) != len(columns) {
			t.Fatalf("%s: row %d has %d values, the client's %d", format, i, len(row), len(want[i]))
		}
		for c := range row {
			if p := kinds[c].problem(row[c], want[i][c]); p != "" {
				if problems++; problems <= 20 {
					t.Errorf("%s, row %d, %s: %s", format, i, columns[c], p)
				}
			}
		}
	}
	if problems > 20 {
		t.Errorf("%s: %d values differ", format, problems)
	}
}
