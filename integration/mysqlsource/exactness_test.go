package mysqlsource

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/parquet-go/parquet-go"

	"github.com/cipherstream/cipherstream/integration/pages"
	"github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk"
)

var update = flag.Bool("update", false, "write docs/exactness.md anew")

// exactTypes are those of the page, each with a value that others get wrong.
var exactTypes = []struct {
	ddl, value string
	only       string // "mysql" or "mariadb"; empty is both
}{
	{ddl: "TINYINT", value: "-128"},
	{ddl: "TINYINT UNSIGNED", value: "255"},
	{ddl: "BOOL", value: "TRUE"},
	{ddl: "SMALLINT", value: "-32768"},
	{ddl: "SMALLINT UNSIGNED", value: "65535"},
	{ddl: "MEDIUMINT", value: "-8388608"},
	{ddl: "INT", value: "2147483647"},
	{ddl: "INT UNSIGNED", value: "4294967295"},
	{ddl: "BIGINT", value: "9007199254740993"},
	{ddl: "BIGINT UNSIGNED", value: "18446744073709551615"},
	{ddl: "YEAR", value: "2155"},
	{ddl: "BIT(1)", value: "b'1'"},
	{ddl: "BIT(9)", value: "b'100000001'"},
	{ddl: "DECIMAL(10,2)", value: "-0.10"},
	{ddl: "DECIMAL(38,10)", value: "9999999999999999999999999999.9999999999"},
	{ddl: "DECIMAL(65,30)", value: "0.000000000000000000000000000001"},
	{ddl: "FLOAT", value: "0.1"},
	{ddl: "DOUBLE", value: "0.30000000000000004"},
	{ddl: "DATE", value: "'0001-01-01'"},
	{ddl: "DATETIME", value: "'9999-12-31 23:59:59'"},
	{ddl: "DATETIME(6)", value: "'1969-12-31 23:59:59.000001'"},
	{ddl: "TIMESTAMP", value: "'2024-07-01 12:00:00'"},
	{ddl: "TIMESTAMP(6)", value: "'2024-07-01 12:00:00.100000'"},
	{ddl: "TIME", value: "'-838:59:59'"},
	{ddl: "TIME(6)", value: "'838:59:58.000001'"},
	{ddl: "CHAR(10)", value: "'žluť'"},
	{ddl: "VARCHAR(50)", value: "'a, \"b\" 🙂'"},
	{ddl: "VARCHAR(50) CHARACTER SET latin1", value: "'Müller €'"},
	{ddl: "TEXT", value: "'NULL'"},
	{ddl: "BINARY(3)", value: "x'00ff00'"},
	{ddl: "VARBINARY(50)", value: "x'00fffefb'"},
	{ddl: "BLOB", value: "x'fe'"},
	{ddl: "ENUM('small','größer')", value: "'größer'"},
	{ddl: "SET('a','b')", value: "'a,b'"},
	// MariaDB's is another name of LONGTEXT, and its protocol does not tell them apart.
	{ddl: "JSON", value: `'{"a": [1, 2.5]}'`, only: "mysql"},
	{ddl: "JSON", value: `'{"a": [1, 2.5]}'`, only: "mariadb"},
	{ddl: "POINT", value: "ST_GeomFromText('POINT(1 -2.5)')"},
	{ddl: "INET6", value: "'2001:db8::ff00:42:8329'", only: "mariadb"},
	{ddl: "UUID", value: "'123e4567-e89b-12d3-a456-426655440000'", only: "mariadb"},
}

// delivered is what comes out for a column.
type delivered struct{ arrow, ndjson, csv, parquet string }

const exactness = `# Exactness

What comes out for every type of MySQL and MariaDB, in each format. A value arrives as it is stored, or the run fails with a code that
says why; nothing is rounded, cut or replaced, unless a setting says so, and then the receipt counts it.

This table is what MySQL and MariaDB deliver, both the same where a row does not name one: a test reads these values from both.
The value is as SQL writes it. Arrow has the types of the stream between the stages. JSON has the texts of NDJSON, and binary values
are base64 there and in CSV. NULL is ` + "`null`" + ` in JSON, an empty field in CSV, and a null in Parquet and Arrow; an empty text is ` + "`\"\"`" + ` in CSV.

| MySQL | value | Arrow | NDJSON, JSON | CSV | Parquet |
|---|---|---|---|---|---|
`

const policies = `
## Where a policy decides

* Zero, partial and impossible dates (` + "`0000-00-00`, `2024-02-00`" + `): ` + "`zero_dates`" + ` of the source: ` + "`error`" + ` (default, ` + "`mysql.zero_date`" + `), ` + "`null`" + `, or ` + "`text`" + `.
* A TIMESTAMP is an instant. Text has the local time of ` + "`time_zone`" + ` of the source (here ` + "`+00:00`" + `); Parquet and Arrow have the instant in UTC.
  A local time that clocks showed twice is counted, or refused (` + "`encoder.doubled_hour`" + `).
* TIME is a duration, from -838:59:59 to 838:59:59. ` + "`durations: time`" + ` of the Parquet encoder makes it a time of day, where it is one.
* A DECIMAL has its own precision in Parquet and Arrow, up to 65 digits; many readers of Parquet take no more than 38.
* JSON is text, and with ` + "`json_columns: embed`" + ` a value inside of the row's own JSON.
* Text that is not valid in its character set fails (` + "`encoder.invalid_utf8`" + `), or with ` + "`invalid_utf8: replace`" + ` is replaced and counted.
* A FLOAT or DOUBLE is written with the fewest digits that give the same number again.
* Warnings of the server about the result, such as a text that GROUP_CONCAT has cut, fail the run (` + "`warnings`" + `, ` + "`mysql.warning`" + `).
`

// TestExactness: the page says what a real MySQL and a real MariaDB deliver for every type, in each format.
func TestExactness(t *testing.T) {
	rows := map[string]map[string]delivered{}
	eachServer(t, func(t *testing.T, db *servers.Server) {
		name := "mysql"
		if db.IsMariaDB() {
			name = "mariadb"
		}
		rows[name] = deliver(t, db, name)
	})
	var b bytes.Buffer
	b.WriteString(exactness)
	for _, s := range exactTypes {
		from := s.only
		if from == "" {
			from = "mysql"
			if rows["mysql"][s.ddl] != rows["mariadb"][s.ddl] {
				t.Errorf("%s is not the same: of MySQL %+v, of MariaDB %+v", s.ddl, rows["mysql"][s.ddl], rows["mariadb"][s.ddl])
			}
		}
		d := rows[from][s.ddl]
		if d == (delivered{}) {
			t.Fatalf("nothing was delivered for %s", s.ddl)
		}
		only := map[string]string{"mysql": " (MySQL)", "mariadb": " (MariaDB)"}[s.only]
		fmt.Fprintf(&b, "| `%s`%s |", pages.Cell(s.ddl), only)
		for _, text := range []string{s.value, d.arrow, d.ndjson, d.csv, d.parquet} {
			fmt.Fprintf(&b, " `%s` |", pages.Cell(text))
		}
		b.WriteString("\n")
	}
	b.WriteString(policies)
	if !t.Failed() {
		pages.Hold(t, "exactness.md", b.Bytes(), *update)
	}
}

// deliver makes a table with a column of every type, and reads its one row in each format with the program.
func deliver(t *testing.T, db *servers.Server, name string) map[string]delivered {
	t.Helper()
	var ddl, values, types []string
	for _, s := range exactTypes {
		if s.only == "" || s.only == name {
			ddl = append(ddl, fmt.Sprintf("c%d %s NULL", len(ddl), s.ddl))
			values, types = append(values, s.value), append(types, s.ddl)
		}
	}
	db.Exec("SET time_zone = '+00:00'; CREATE TABLE shown (" + strings.Join(ddl, ", ") + ") CHARACTER SET utf8mb4; INSERT INTO shown VALUES (" + strings.Join(values, ", ") + ");")
	cipherstream, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	read := func(format string) []byte {
		t.Helper()
		pipeline, output := filepath.Join(dir, format+".yaml"), filepath.Join(dir, "output."+format)
		text := fmt.Sprintf(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: shown}
spec:
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", query: "SELECT * FROM shown", time_zone: "+00:00"}}
    encoder: {use: %s}
    sink: {use: stream, with: {to: "${run.output}"}}
`, format)
		if err := os.WriteFile(pipeline, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run := exec.Command(cipherstream, "run", pipeline, "-o", output, "--progress", "none")
		run.Env = append(os.Environ(), "CIPHERSTREAM_DSN="+db.DSN(db.Database()))
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", format, err, out)
		}
		content, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}

	var object map[string]json.RawMessage
	if err := json.Unmarshal(read("ndjson"), &object); err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(bytes.NewReader(read("csv"))).ReadAll()
	if err != nil || len(table) != 2 {
		t.Fatalf("CSV: %v, %d lines", err, len(table))
	}
	content := read("parquet")
	file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := ipc.NewFileReader(bytes.NewReader(read("arrow")))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	all := map[string]delivered{}
	for i, ddl := range types {
		column := fmt.Sprintf("c%d", i)
		leaf, ok := file.Schema().Lookup(column)
		if !ok {
			t.Fatalf("Parquet has no column %s", column)
		}
		all[ddl] = delivered{
			arrow: sdk.TypeName(reader.Schema().Field(i)), ndjson: string(object[column]), csv: table[1][i], parquet: leaf.Node.Type().String(),
		}
	}
	return all
}
