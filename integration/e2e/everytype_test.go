package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

var isolations = []string{"none", "group", "stage"}

// typed is a column and the values that are put into it, as SQL.
type typed struct {
	name, ddl string
	kind      kind
	values    []string
}

// everyType is a table with every type and its edge values, as SQL. Every column
// also gets a NULL. Values of FLOAT have at most the six digits that the text
// protocol carries.
var everyType = []typed{
	{"c_tinyint", "TINYINT", integer, []string{"-128", "127", "0", "-1"}},
	{"c_tinyint_u", "TINYINT UNSIGNED", integer, []string{"0", "255", "128"}},
	{"c_bool", "BOOL", integer, []string{"TRUE", "FALSE"}},
	{"c_smallint", "SMALLINT", integer, []string{"-32768", "32767"}},
	{"c_smallint_u", "SMALLINT UNSIGNED", integer, []string{"0", "65535"}},
	{"c_mediumint", "MEDIUMINT", integer, []string{"-8388608", "8388607", "-1"}},
	{"c_mediumint_u", "MEDIUMINT UNSIGNED", integer, []string{"0", "16777215"}},
	{"c_int", "INT", integer, []string{"-2147483648", "2147483647"}},
	{"c_int_u", "INT UNSIGNED", integer, []string{"0", "4294967295"}},
	{"c_bigint", "BIGINT", integer, []string{"-9223372036854775808", "9223372036854775807", "-9007199254740993", "0"}},
	{"c_bigint_u", "BIGINT UNSIGNED", integer, []string{"0", "18446744073709551615", "9223372036854775808", "9007199254740993"}},
	{"c_zerofill", "INT(8) UNSIGNED ZEROFILL", zerofill, []string{"0", "42"}},
	{"c_decimal_10_2", "DECIMAL(10,2)", text, []string{"-99999999.99", "99999999.99", "0.01", "-0.01", "0"}},
	{"c_decimal_10_4_u", "DECIMAL(10,4) UNSIGNED", text, []string{"999999.9999", "0.0001", "148.4"}},
	{"c_decimal_18", "DECIMAL(18,0)", text, []string{"999999999999999999", "-999999999999999999"}},
	{"c_decimal_19_1", "DECIMAL(19,1)", text, []string{"999999999999999999.9", "-999999999999999999.9"}},
	{"c_decimal_38_10", "DECIMAL(38,10)", text, []string{"9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "0.0000000001"}},
	{"c_decimal_38_38", "DECIMAL(38,38)", text, []string{"0." + strings.Repeat("9", 38), "-0." + strings.Repeat("0", 37) + "1"}},
	{"c_decimal_39", "DECIMAL(39,0)", text, []string{strings.Repeat("9", 39), "-1" + strings.Repeat("0", 38)}},
	{"c_decimal_65_30", "DECIMAL(65,30)", text, []string{strings.Repeat("9", 35) + "." + strings.Repeat("9", 30),
		"-" + strings.Repeat("9", 35) + "." + strings.Repeat("9", 30), "0." + strings.Repeat("0", 29) + "1", "-0." + strings.Repeat("0", 29) + "1"}},
	{"c_decimal_65", "DECIMAL(65,0)", text, []string{strings.Repeat("9", 65), "-" + strings.Repeat("9", 65), "0"}},
	{"c_float", "FLOAT", float, []string{"1.5", "-0.25", "3.40282e38", "1.17549e-38", "0.1", "131072", "-0e0"}},
	{"c_double", "DOUBLE", double, []string{"1.7976931348623157e308", "2.2250738585072014e-308", "-0.1", "123456789.123456", "0.30000000000000004", "1e21", "5e-324"}},
	{"c_date", "DATE", text, []string{"'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'1970-01-01'", "'1969-12-31'", "'0001-01-01'", "'1900-02-28'"}},
	{"c_datetime", "DATETIME", text, []string{"'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'2024-02-29 12:34:56'", "'1969-12-31 23:59:59'"}},
	{"c_datetime_1", "DATETIME(1)", text, []string{"'2024-02-29 12:34:56.7'", "'1969-12-31 23:59:59.9'", "'2024-01-01 00:00:00.0'"}},
	{"c_datetime_2", "DATETIME(2)", text, []string{"'2024-02-29 12:34:56.78'", "'0001-01-01 00:00:00.01'"}},
	{"c_datetime_3", "DATETIME(3)", text, []string{"'2024-02-29 12:34:56.789'", "'1969-12-31 23:59:59.999'"}},
	{"c_datetime_4", "DATETIME(4)", text, []string{"'2024-02-29 12:34:56.7891'"}},
	{"c_datetime_5", "DATETIME(5)", text, []string{"'2024-02-29 12:34:56.78912'", "'1969-12-31 23:59:59.00001'"}},
	{"c_datetime_6", "DATETIME(6)", text, []string{"'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00.000001'", "'2024-01-01 00:00:00'"}},
	{"c_timestamp", "TIMESTAMP NULL", text, []string{"'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-07-01 12:00:00'"}},
	{"c_timestamp_6", "TIMESTAMP(6) NULL", text, []string{"'2024-07-01 12:00:00.123456'", "'2038-01-19 03:14:07.999999'", "'1970-01-01 00:00:01.000001'"}},
	{"c_time", "TIME", text, []string{"'838:59:59'", "'-838:59:59'", "'00:00:00'", "'-00:00:01'", "'23:59:59'", "'24:00:00'", "'100:00:00'"}},
	{"c_time_2", "TIME(2)", text, []string{"'838:59:59.99'", "'-00:00:00.01'", "'-100:00:00.50'"}},
	{"c_time_6", "TIME(6)", text, []string{"'838:59:59.999999'", "'-838:59:59.999999'", "'-00:00:00.000001'"}},
	{"c_year", "YEAR", integer, []string{"1901", "2155", "2024"}},
	{"c_bit_1", "BIT(1)", bit, []string{"b'0'", "b'1'"}},
	{"c_bit_9", "BIT(9)", bit, []string{"b'100000001'", "b'1'"}},
	{"c_bit_64", "BIT(64)", bit, []string{"0xffffffffffffffff", "0x8000000000000001"}},
	{"c_char", "CHAR(10)", text, []string{"''", "'ab c'", "'žluťoučký'", "'日本語🙂'"}},
	{"c_latin1", "VARCHAR(50) CHARACTER SET latin1", text, []string{"'Müller'", "'£½ÿ€'", "''"}},
	{"c_utf8mb4", "VARCHAR(300) CHARACTER SET utf8mb4", text, []string{"'🙂 null \\\\N'", "'quote '' and \"'", "REPEAT('x', 300)", "'NULL'", "'null'",
		"' space before'", "'space after '", "'a,b;c|d'", "'tab\\tcr\\rlf\\ncrlf\\r\\n'", "CHAR(0,1,8,12,27,31,127 USING utf8mb4)", "'=1+1'", "'\\\\'",
		"CONCAT('a', CHAR(0xE280A8 USING utf8mb4), CHAR(0xEFBBBF USING utf8mb4), '</script>')", "''"}},
	{"c_utf16", "VARCHAR(20) CHARACTER SET utf16", text, []string{"'🙂é'", "''"}},
	{"c_ucs2", "VARCHAR(20) CHARACTER SET ucs2", text, []string{"'žé'"}},
	{"c_sjis", "VARCHAR(20) CHARACTER SET sjis", text, []string{"'日本'"}},
	{"c_tinytext", "TINYTEXT", text, []string{"''", "REPEAT('y', 255)"}},
	{"c_text", "TEXT", text, []string{"REPEAT('a', 251)", "REPEAT('b', 250)", "REPEAT('c', 65535)", "''"}},
	{"c_mediumtext", "MEDIUMTEXT", text, []string{"REPEAT('m', 65536)", "REPEAT('\\n', 100)"}},
	{"c_longtext", "LONGTEXT", text, []string{"REPEAT('é', 100000)", "''"}},
	{"c_binary", "BINARY(5)", binary, []string{"'a'", "x'00ff00ff00'"}},
	{"c_varbinary", "VARBINARY(50)", binary, []string{"''", "x'00fffefb'", "'abc'"}},
	{"c_tinyblob", "TINYBLOB", binary, []string{"x'fe'", "''"}},
	{"c_blob", "BLOB", binary, []string{"REPEAT(x'00', 300)", "''"}},
	{"c_mediumblob", "MEDIUMBLOB", binary, []string{"REPEAT(x'fb', 70000)"}},
	{"c_longblob", "LONGBLOB", binary, []string{"REPEAT(x'ff', 17001)"}},
	{"c_enum", "ENUM('small','größer','')", text, []string{"'small'", "'größer'", "''"}},
	{"c_set", "SET('a','b','ç')", text, []string{"''", "'a'", "'a,b,ç'"}},
	{"c_json", "JSON", text, []string{`'{"a": [1, 2.50, "é\\n"]}'`, "'null'", "'[]'", `'"text"'`}},
	{"c_inet6", "INET6", text, []string{"'::'", "'2001:db8::ff00:42:8329'"}},
	{"c_uuid", "UUID", text, []string{"'123e4567-e89b-12d3-a456-426655440000'"}},
	{"c_geometry", "GEOMETRY", geometry, []string{"ST_GeomFromText('POINT(1 -2.5)')", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326)",
		"ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')"}},
	{"c_point", "POINT", geometry, []string{"ST_GeomFromText('POINT(0 0)')"}},
}

// loadEveryType makes the table and the procedure every_type, and returns what the
// official client reads from it.
func loadEveryType(t *testing.T, db database, types []typed) (columns []string, kinds []kind, want [][]value) {
	t.Helper()
	rows := 0
	ddl, columns, kinds := []string{"id INT NOT NULL PRIMARY KEY"}, []string{"id"}, []kind{integer}
	for _, c := range types {
		rows = max(rows, len(c.values))
		ddl = append(ddl, c.name+" "+c.ddl)
		columns, kinds = append(columns, c.name), append(kinds, c.kind)
	}
	script := "SET time_zone = '+00:00';\nCREATE TABLE every_type (" + strings.Join(ddl, ", ") + ") CHARACTER SET utf8mb4;\nINSERT INTO every_type (id) VALUES (0);\n"
	for row := range rows {
		list := []string{strconv.Itoa(row + 1)}
		for _, c := range types {
			list = append(list, c.values[row%len(c.values)])
		}
		script += "INSERT INTO every_type VALUES (" + strings.Join(list, ", ") + ");\n"
	}
	script += "CREATE PROCEDURE every_type() SELECT * FROM every_type ORDER BY id;\n"
	db.Exec(script)
	var expressions []string
	for i, c := range columns {
		expressions = append(expressions, kinds[i].expression(c))
	}
	want = fromClient(t, db, expressions, "every_type ORDER BY id")
	if len(want) != rows+1 {
		t.Fatalf("the client reads %d rows, not %d", len(want), rows+1)
	}
	return columns, kinds, want
}

// TestEveryType reads a table with every type in every way there is, and holds the
// result against the official client, value for value.
func TestEveryType(t *testing.T) { readEveryType(t, dbtest.MariaDB(t), everyType) }

func readEveryType(t *testing.T, db database, types []typed) {
	t.Helper()
	columns, kinds, want := loadEveryType(t, db, types)
	// The session's zone is ours to choose, whatever the server's own is, which is why no other test may run meanwhile.
	db.Exec("SET GLOBAL time_zone = '+09:30'")
	t.Cleanup(func() { db.Exec("SET GLOBAL time_zone = '+00:00'") })

	w := newWorkspace(t, db.DSN(db.Database()))
	first := map[string][]byte{}
	for _, source := range []settings{
		{"query": "SELECT * FROM every_type ORDER BY id", "protocol": "binary", "time_zone": "+00:00"},
		{"call": "every_type", "time_zone": "+00:00"},
	} {
		for _, encoder := range []string{"ndjson", "csv"} {
			pipeline := w.pipeline(source, encoder)
			for _, isolation := range isolations {
				got := w.must("run", pipeline, "--isolation", isolation)
				if first[encoder] == nil {
					first[encoder] = got
				}
				if !bytes.Equal(got, first[encoder]) {
					t.Errorf("%v to %s, isolation %s: other bytes than the first time", source, encoder, isolation)
				}
			}
		}
	}
	compareNDJSON(t, first["ndjson"], columns, kinds, want)
	compareCSV(t, first["csv"], columns, kinds, want)

	// By text, all but FLOAT, which it rounds.
	textColumns, textKinds := withoutFloat(columns, kinds)
	var expressions []string
	for i, c := range textColumns {
		expressions = append(expressions, textKinds[i].expression(c))
	}
	want = fromClient(t, db, expressions, "every_type ORDER BY id")
	byText := settings{"query": "SELECT " + strings.Join(textColumns, ", ") + " FROM every_type ORDER BY id", "protocol": "text", "time_zone": "+00:00"}
	for _, isolation := range isolations {
		compareNDJSON(t, w.must("run", w.pipeline(byText, "ndjson"), "--isolation", isolation), textColumns, textKinds, want)
		compareCSV(t, w.must("run", w.pipeline(byText, "csv"), "--isolation", isolation), textColumns, textKinds, want)
	}
}

// TestExactFloat: the binary protocol carries what the text protocol rounds.
func TestExactFloat(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	db.Exec("CREATE TABLE f (f FLOAT, d DOUBLE); INSERT INTO f VALUES (1/3, 1/3), (16777217, 2/3), (1e10/3, 1e300/3), (-1e-40, -1e-310)")
	// As DOUBLE the client prints every digit of a FLOAT.
	want := fromClient(t, db, []string{double.expression("CAST(f AS DOUBLE)"), double.expression("d")}, "f ORDER BY d")
	w := newWorkspace(t, db.SocketDSN(db.Database()))
	out := w.must("run", w.pipeline(settings{"query": "SELECT f, d FROM f ORDER BY d", "protocol": "binary"}, "ndjson"))
	compareNDJSON(t, out, []string{"f", "d"}, []kind{float, double}, want)
}

// TestZeroDates holds the three policies against the client.
func TestZeroDates(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	db.Exec(`SET sql_mode = 'ALLOW_INVALID_DATES';
CREATE TABLE z (id INT NOT NULL, d DATE, t DATETIME NOT NULL, f DATETIME(6), s TIMESTAMP(2) NULL);
INSERT INTO z VALUES (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'),
  (2, '2024-00-00', '2024-01-00 10:20:30', '0000-01-01 00:00:00.000001', NULL),
  (3, '2024-02-30', '2023-02-29 00:00:00', '2024-04-31 23:59:59.999999', '2024-02-29 00:00:00.25'),
  (4, '2024-02-29', '2024-02-29 01:02:03', NULL, '2024-02-29 01:02:03')`)
	columns, kinds := []string{"id", "d", "t", "f", "s"}, []kind{integer, text, text, text, text}
	var expressions []string
	for i, c := range columns {
		expressions = append(expressions, kinds[i].expression(c))
	}
	verbatim := fromClient(t, db, expressions, "z ORDER BY id")
	nulled := make([][]value, len(verbatim))
	for i, row := range verbatim {
		nulled[i] = slices.Clone(row)
		for c, v := range row {
			// The year 0 has days.
			if c > 0 && i < 3 && v.text != "2024-02-29 00:00:00.25" && v.text != "0000-01-01 00:00:00.000001" {
				nulled[i][c] = value{null: true}
			}
		}
	}
	w := newWorkspace(t, db.DSN(db.Database()))
	for _, protocol := range []string{"binary", "text"} {
		for policy, want := range map[string][][]value{"text": verbatim, "null": nulled} {
			source := settings{"query": "SELECT * FROM z ORDER BY id", "protocol": protocol, "zero_dates": policy}
			compareNDJSON(t, w.must("run", w.pipeline(source, "ndjson")), columns, kinds, want)
			compareCSV(t, w.must("run", w.pipeline(source, "csv")), columns, kinds, want)
		}
		r := w.run("run", w.pipeline(settings{"query": "SELECT * FROM z ORDER BY id", "protocol": protocol}, "ndjson"), "-o", w.output("rows"))
		w.fails(r, 1, "mysql.zero_date")
	}
}

// TestEmptyResult: no rows are no failure, and a header is still a header.
func TestEmptyResult(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	for encoder, want := range map[string]string{"ndjson": "", "csv": "a,b\r\n"} {
		for _, isolation := range isolations {
			source := w.pipeline(settings{"query": "SELECT 1 AS a, 'x' AS b FROM DUAL WHERE 1 = 0"}, encoder)
			if got := w.must("run", source, "--isolation", isolation); string(got) != want {
				t.Errorf("%s, %s: %q", encoder, isolation, got)
			}
		}
	}
}

// TestManyRows: across batches, workers and processes the rows stay whole and in order.
func TestManyRows(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	const rows = 100_000
	var ndjson, csv bytes.Buffer
	csv.WriteString("n,sparse,wide\r\n")
	for i := 1; i <= rows; i++ {
		sparse, quoted, wide := "", "null", strings.Repeat("w", i%300)
		if i%3 == 0 {
			sparse = strconv.Itoa(i * 3)
			quoted = sparse
		}
		fmt.Fprintf(&ndjson, "{\"n\":%d,\"sparse\":%s,\"wide\":\"%s\"}\n", i, quoted, wide)
		if wide == "" {
			wide = `""`
		}
		fmt.Fprintf(&csv, "%d,%s,%s\r\n", i, sparse, wide)
	}
	for encoder, want := range map[string][]byte{"ndjson": ndjson.Bytes(), "csv": csv.Bytes()} {
		pipeline := w.pipeline(settings{"query": fmt.Sprintf("SELECT seq AS n, IF(seq %% 3 = 0, seq * 3, NULL) AS sparse, REPEAT('w', seq %% 300) AS wide FROM seq_1_to_%d", rows)}, encoder)
		for _, isolation := range isolations {
			if got := w.must("run", pipeline, "--isolation", isolation); !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %d bytes, want %d", encoder, isolation, len(got), len(want))
			}
		}
	}
}
