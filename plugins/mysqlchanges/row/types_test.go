package row

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// typeCase is a column, and literals for it. Every column also gets a NULL.
type typeCase struct {
	name, ddl string
	values    []string
	only      string // mysql or mariadb; empty is both
}

var typeCases = []typeCase{
	{"ti", "TINYINT", []string{"-128", "127", "0", "-1"}, ""},
	{"tiu", "TINYINT UNSIGNED", []string{"0", "255", "128"}, ""},
	{"flag", "BOOL", []string{"TRUE", "FALSE"}, ""},
	{"si", "SMALLINT", []string{"-32768", "32767", "-1"}, ""},
	{"siu", "SMALLINT UNSIGNED", []string{"0", "65535"}, ""},
	{"mi", "MEDIUMINT", []string{"-8388608", "8388607", "-1"}, ""},
	{"miu", "MEDIUMINT UNSIGNED", []string{"0", "16777215"}, ""},
	{"i", "INT", []string{"-2147483648", "2147483647"}, ""},
	{"iu", "INT UNSIGNED", []string{"0", "4294967295"}, ""},
	{"bi", "BIGINT", []string{"-9223372036854775808", "9223372036854775807"}, ""},
	{"biu", "BIGINT UNSIGNED", []string{"0", "18446744073709551615", "9223372036854775808"}, ""},
	{"zf", "INT(8) UNSIGNED ZEROFILL", []string{"0", "42"}, ""},
	{"y", "YEAR", []string{"1901", "2155", "2024", "0"}, ""},
	{"d1", "DECIMAL(1,0)", []string{"-9", "9", "0"}, ""},
	{"d10", "DECIMAL(10,2)", []string{"-99999999.99", "99999999.99", "0.01", "-0.01", "0", "-0.00"}, ""},
	{"d10u", "DECIMAL(10,4) UNSIGNED", []string{"999999.9999", "0.0001"}, ""},
	{"d18", "DECIMAL(18,0)", []string{"999999999999999999", "-999999999999999999"}, ""},
	{"d18s", "DECIMAL(18,9)", []string{"999999999.999999999", "-1.000000001"}, ""},
	{"d19", "DECIMAL(19,1)", []string{"999999999999999999.9", "-999999999999999999.9"}, ""},
	{"d20", "DECIMAL(20,20)", []string{"0.12345678901234567890", "-0.00000000000000000001"}, ""},
	{"d38", "DECIMAL(38,10)", []string{"9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "0.0000000001"}, ""},
	{"d38s", "DECIMAL(38,38)", []string{"0." + strings.Repeat("9", 38), "-0." + strings.Repeat("0", 37) + "1"}, "mariadb"},
	{"d65", "DECIMAL(65,30)", []string{strings.Repeat("9", 35) + "." + strings.Repeat("9", 30), "-" + strings.Repeat("9", 35) + "." + strings.Repeat("9", 30), "0." + strings.Repeat("0", 29) + "1"}, ""},
	{"d65i", "DECIMAL(65,0)", []string{strings.Repeat("9", 65), "-" + strings.Repeat("9", 65), "0"}, ""},
	{"f", "FLOAT", []string{"1.5", "-0.25", "3.40282e38", "1.17549e-38", "0.1", "-0e0"}, ""},
	{"f72", "FLOAT(7,2)", []string{"1.55", "-0.25"}, ""},
	{"dbl", "DOUBLE", []string{"1.7976931348623157e308", "2.2250738585072014e-308", "-0.1", "123456789.123456", "4.9e-324", "-0e0"}, ""},
	{"da", "DATE", []string{"'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'1970-01-01'", "'1969-12-31'", "'0001-01-01'"}, ""},
	{"dt", "DATETIME", []string{"'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'2024-02-29 12:34:56'", "'1969-12-31 23:59:59'"}, ""},
	{"dt1", "DATETIME(1)", []string{"'2024-02-29 12:34:56.7'", "'1969-12-31 23:59:59.9'", "'2024-01-01 00:00:00.0'"}, ""},
	{"dt2", "DATETIME(2)", []string{"'2024-02-29 12:34:56.78'", "'1969-12-31 23:59:59.01'"}, ""},
	{"dt3", "DATETIME(3)", []string{"'2024-02-29 12:34:56.789'", "'1969-12-31 23:59:59.999'"}, ""},
	{"dt4", "DATETIME(4)", []string{"'2024-02-29 12:34:56.7891'"}, ""},
	{"dt5", "DATETIME(5)", []string{"'2024-02-29 12:34:56.78901'"}, ""},
	{"dt6", "DATETIME(6)", []string{"'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00.000001'", "'2024-01-01 00:00:00'"}, ""},
	{"ts", "TIMESTAMP NULL", []string{"'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-07-01 12:00:00'"}, ""},
	{"ts1", "TIMESTAMP(1) NULL", []string{"'1970-01-01 00:00:01.9'", "'2024-07-01 12:00:00.1'"}, ""},
	{"ts3", "TIMESTAMP(3) NULL", []string{"'1970-01-01 00:00:01.999'", "'2024-07-01 12:00:00.001'"}, ""},
	{"ts6", "TIMESTAMP(6) NULL", []string{"'2024-07-01 12:00:00.123456'", "'2038-01-19 03:14:07.999999'"}, ""},
	{"tm", "TIME", []string{"'838:59:59'", "'-838:59:59'", "'00:00:00'", "'-00:00:01'", "'23:59:59'", "'24:00:00'"}, ""},
	{"tm1", "TIME(1)", []string{"'838:59:58.9'", "'-00:00:00.1'", "'-100:00:00.5'", "'-00:00:01.0'"}, ""},
	{"tm2", "TIME(2)", []string{"'838:59:58.99'", "'-00:00:00.01'", "'-100:00:00.50'"}, ""},
	{"tm3", "TIME(3)", []string{"'838:59:58.999'", "'-00:00:00.001'", "'-100:00:00.500'"}, ""},
	{"tm4", "TIME(4)", []string{"'838:59:58.9999'", "'-00:00:00.0001'", "'-100:00:00.5'", "'-1:00:00'"}, ""},
	{"tm6", "TIME(6)", []string{"'838:59:58.999999'", "'-838:59:58.999999'", "'-00:00:00.000001'", "'00:00:00'"}, ""},
	{"bit1", "BIT(1)", []string{"b'0'", "b'1'"}, ""},
	{"bit8", "BIT(8)", []string{"b'10000001'"}, ""},
	{"bit9", "BIT(9)", []string{"b'100000001'", "b'1'"}, ""},
	{"bit63", "BIT(63)", []string{"0x7fffffffffffffff", "1"}, ""},
	{"bit64", "BIT(64)", []string{"0xffffffffffffffff", "0x8000000000000001"}, ""},
	{"ch", "CHAR(10)", []string{"''", "'ab c'", "'ab   '", "'žluťoučký'", "'日本語🙂'"}, ""},
	{"ch255", "CHAR(255)", []string{"REPEAT('🙂', 255)", "'a'", "''"}, ""},
	{"chl", "CHAR(200) CHARACTER SET latin1", []string{"REPEAT('ü', 200)", "'a'", "''"}, ""},
	{"ch2", "CHAR(20) CHARACTER SET ucs2", []string{"'é'", "' a '", "''"}, ""},
	{"vcl", "VARCHAR(50) CHARACTER SET latin1", []string{"'Müller'", "'£½ÿ'", "''", "'a  '"}, ""},
	{"vcu", "VARCHAR(200) CHARACTER SET utf8mb4", []string{"'🙂 null \\\\N'", "'quote '' and \"'", "REPEAT('x', 200)", "'NULL'"}, ""},
	{"vc3", "VARCHAR(20) CHARACTER SET utf8mb3", []string{"'žluťoučký'", "'ab  '", "'日本語'"}, ""},
	{"vcw", "VARCHAR(20) CHARACTER SET utf16", []string{"'🙂é'"}, ""},
	{"vcwl", "VARCHAR(20) CHARACTER SET utf16le", []string{"'🙂é'"}, ""},
	{"vcw4", "VARCHAR(20) CHARACTER SET utf32", []string{"'🙂é'"}, ""},
	{"tt", "TINYTEXT", []string{"''", "REPEAT('y', 255)"}, ""},
	{"tx", "TEXT", []string{"REPEAT('a', 251)", "REPEAT('b', 250)", "REPEAT('c', 65535)"}, ""},
	{"mt", "MEDIUMTEXT", []string{"REPEAT('m', 65536)"}, ""},
	{"lt", "LONGTEXT", []string{"REPEAT('é', 100000)"}, ""},
	{"bn", "BINARY(5)", []string{"'a'", "x'00ff00ff00'", "x'0000000000'", "''", "'a    '"}, ""},
	{"bn255", "BINARY(255)", []string{"'a'", "REPEAT('x', 255)"}, ""},
	{"vb", "VARBINARY(50)", []string{"''", "x'00fffefb'", "x'6100000000'", "'a  '"}, ""},
	{"vb300", "VARBINARY(300)", []string{"''", "REPEAT(x'00', 300)"}, ""},
	{"tb", "TINYBLOB", []string{"x'fe'", "''"}, ""},
	{"bl", "BLOB", []string{"REPEAT(x'00', 300)"}, ""},
	{"mb", "MEDIUMBLOB", []string{"REPEAT(x'fb', 70000)"}, ""},
	{"lb", "LONGBLOB", []string{"REPEAT(x'ff', 17000)"}, ""},
	{"en", "ENUM('small','größer','','it''s','b\\\\s','nl\\n','c,d')", []string{"'small'", "'größer'", "''", "'it''s'", "'b\\\\s'", "'nl\\n'", "'no such'", "7"}, ""},
	{"enl", "ENUM('ä','ö') CHARACTER SET latin1", []string{"'ä'", "'ö'"}, ""},
	{"en300", "ENUM(" + manyLabels(300) + ")", []string{"'v1'", "'v256'", "'v300'"}, ""},
	{"st", "SET('a','b','ç')", []string{"''", "'a'", "'a,b,ç'", "'b,ç'"}, ""},
	{"st64", "SET(" + manyLabels(64) + ")", []string{"''", "'v64'", "'v1,v33,v64'"}, ""},
	{"js", "JSON", []string{`'{"a": [1, 2.50, "é"]}'`, "'null'"}, ""},
	{"geo", "GEOMETRY", []string{"ST_GeomFromText('POINT(1 -2.5)')", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326)", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')"}, ""},
	{"pt", "POINT", []string{"ST_GeomFromText('POINT(1 -2.5)')"}, ""},
	{"mpg", "MULTIPOLYGON", []string{"ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')"}, ""},
	{"gen", "INT AS (id + 1) STORED", []string{"DEFAULT"}, ""},
	{"genv", "VARCHAR(20) AS (CONCAT('n', id)) VIRTUAL", []string{"DEFAULT"}, ""},
	{"i6", "INET6", []string{"'::'", "'::1'", "'fe80::1:0:0:1'", "'2001:db8::'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'1:0:0:2:0:0:0:3'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'::ffff'", "'::2:3'", "'1:0:2:3:4:5:6:7'", "'64:ff9b::1.2.3.4'", "'1::'"}, "mariadb"},
	{"i4", "INET4", []string{"'0.0.0.0'", "'1.2.3.4'", "'255.255.255.255'", "'10.0.0.0'"}, "mariadb"},
	{"uu", "UUID", []string{"'01234567-89ab-cdef-0123-456789abcdef'", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'6ccd780c-baba-1026-9564-5b8c656024db'", "'01890a5d-ac96-774b-bcce-b302099a8057'", "'f47ac10b-58cc-4372-a567-0e02b2c3d479'", "'f47ac10b-58cc-4372-0567-0e02b2c3d400'"}, "mariadb"},
	{"vcc", "VARCHAR(1000) COMPRESSED", []string{"'short'", "REPEAT('long ', 150)", "''"}, "mariadb"},
	{"txc", "LONGTEXT COMPRESSED CHARACTER SET latin1", []string{"'ü'", "REPEAT('lüng ', 30000)", "''"}, "mariadb"},
	{"blc", "BLOB COMPRESSED", []string{"x'00'", "REPEAT(x'0001', 3000)", "''"}, "mariadb"},
	{"lastti", "TINYINT UNSIGNED", []string{"7"}, ""},
}

func manyLabels(n int) string {
	var labels []string
	for i := range n {
		labels = append(labels, "'v"+strconv.Itoa(i+1)+"'")
	}
	return strings.Join(labels, ",")
}

// casesFor makes a table of the cases, and statements that fill it.
func casesFor(db logged, table string) (ddl, inserts string) {
	var columns, names []string
	var cases []typeCase
	most := 0
	for _, c := range typeCases {
		if c.only == "" || (c.only == "mariadb") == db.mariaDB {
			columns = append(columns, c.name+" "+c.ddl)
			names = append(names, c.name)
			cases = append(cases, c)
			most = max(most, len(c.values))
		}
	}
	ddl = "CREATE TABLE " + table + " (id INT NOT NULL PRIMARY KEY, " + strings.Join(columns, ", ") + ");\n"
	inserts = "INSERT INTO " + table + " (id) VALUES (0);\n"
	var rows [][]string
	for n := range most {
		row := []string{strconv.Itoa(n + 1)}
		for _, c := range cases {
			row = append(row, c.values[n%len(c.values)])
		}
		rows = append(rows, row)
	}
	return ddl, inserts + "INSERT INTO " + table + " (id, " + strings.Join(names, ", ") + ") VALUES " + values(rows) + ";\n"
}

func testTypes(t *testing.T, db logged) {
	for i, metadata := range []string{"FULL", "MINIMAL"} {
		db.Exec("SET GLOBAL binlog_row_metadata = " + metadata)
		table := "everything" + strconv.Itoa(i)
		ddl, inserts := casesFor(db, table)
		db.Exec(ddl)
		db.sameAsSelected(t, table, "SET time_zone = '+00:00';"+inserts, settings{"time_zone": "+10:00"}, Options{})
		db.changedAsSelected(t, table, "UPDATE "+table+" SET id = id + 1000 ORDER BY id", settings{"time_zone": "+10:00"}, Options{})
	}
}

// testDates: zero, partial and impossible dates follow zero_dates.
func testDates(t *testing.T, db logged) {
	db.Exec("CREATE TABLE dates (id INT NOT NULL PRIMARY KEY, da DATE NOT NULL, dt DATETIME NOT NULL, dt3 DATETIME(3), ts TIMESTAMP NULL, ts6 TIMESTAMP(6) NULL, tm TIME(1))")
	// MySQL and MariaDB before 10.11 want other names for what lets impossible dates in.
	list := db.images(t, "dates", "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'; INSERT INTO dates VALUES "+
		"(1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00.000', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '00:00:00'),"+
		"(2, '2024-00-00', '2024-00-15 01:02:03', '2024-12-00 23:59:59.999', '2024-07-01 12:00:00', '2024-07-01 12:00:00.000001', NULL),"+
		"(3, '2024-02-31', '2023-02-29 00:00:00', '0000-01-01 00:00:00', '1970-01-01 00:00:01', '2038-01-19 03:14:07.999999', '-1:00:00.5'),"+
		"(4, '0000-12-31', '0000-02-29 00:00:00', '9999-12-31 23:59:59.999', NULL, NULL, NULL)")
	for _, zero := range []string{zeroNull, zeroText} {
		for _, name := range []string{"+10:00", "+00:00", "-05:30"} {
			schema, batches := db.selected(t, "dates", settings{"zero_dates": zero, "time_zone": name})
			d := decoder(t, db.columns(t, "dates"), schema, Options{MariaDB: db.mariaDB, ZeroDates: zero, Zone: loadZone(name)})
			same(t, decode(t, d, list), batches)
			if n := d.ZeroDates(); n < 10 || d.ZeroDates() != 0 {
				t.Errorf("%s: %d zero dates", zero, n)
			}
		}
	}
	schema, _ := db.selected(t, "dates", settings{"zero_dates": zeroNull})
	d := decoder(t, db.columns(t, "dates"), schema, Options{})
	if err := d.Table(list[0].table); err != nil {
		t.Fatal(err)
	}
	_, err := d.Row(list[0].data, list[0].present)
	wantFault(t, err, CodeZeroDate)
	if d.Rows() != 0 {
		t.Errorf("%d rows are there after a fault", d.Rows())
	}
}

// testInstants: a TIMESTAMP is an instant, in a zone whose clocks change too, and local text where dates are text.
func testInstants(t *testing.T, db logged) {
	var rows [][]string
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 2000 {
		second := 1 + r.Int64N(1<<31-1)
		if i < 200 {
			second = 1712419200 - 7200 + int64(i)*60 // the doubled hour of 2024 in Sydney
		}
		micro := r.IntN(1e6)
		rows = append(rows, []string{strconv.Itoa(i), fmt.Sprintf("FROM_UNIXTIME(%d)", second), fmt.Sprintf("FROM_UNIXTIME(%d.%06d)", second, micro)})
	}
	db.Exec("CREATE TABLE instants (id INT NOT NULL PRIMARY KEY, ts TIMESTAMP NULL, ts6 TIMESTAMP(6) NULL)")
	list := db.images(t, "instants", "SET time_zone = '+00:00'; INSERT INTO instants VALUES "+values(rows))
	with, o := settings{"time_zone": "server"}, Options{MariaDB: db.mariaDB}
	schema, batches := db.selected(t, "instants", with)
	same(t, decode(t, decoder(t, db.columns(t, "instants"), schema, o), list), batches)
	// With a zone whose clocks change, of which servers for tests have no table: the schema that the source gives then.
	fields := append([]arrow.Field{}, schema.Fields()...)
	for i := 1; i < 3; i++ {
		unit := fields[i].Type.(*arrow.TimestampType).Unit
		fields[i].Type = &arrow.TimestampType{Unit: unit, TimeZone: "Australia/Sydney"}
	}
	got := decode(t, decoder(t, db.columns(t, "instants"), arrow.NewSchema(fields, nil), o), list)
	for row := range rows {
		if a, b := got.Column(2).(*array.Timestamp).Value(row), batches[0].Column(2).(*array.Timestamp).Value(row); a != b {
			t.Fatalf("row %d is %d, want %d", row, a, b)
		}
	}
	// Text is local time.
	for i := 1; i < 3; i++ {
		fields[i].Type = arrow.BinaryTypes.String
	}
	o.ZeroDates, o.Zone = zeroText, loadZone("Australia/Sydney")
	got = decode(t, decoder(t, db.columns(t, "instants"), arrow.NewSchema(fields, nil), o), list)
	sydney, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		t.Fatal(err)
	}
	for row := range rows {
		want := batches[0].Column(2).(*array.Timestamp).Value(row).ToTime(arrow.Microsecond).In(sydney).Format("2006-01-02 15:04:05.000000")
		if text := got.Column(2).(*array.String).Value(row); text != want {
			t.Fatalf("row %d is %s, want %s", row, text, want)
		}
	}
	_, err = NewDecoder(db.columns(t, "instants"), []int{0, 1, 2}, arrow.NewSchema(fields, nil), Options{ZeroDates: zeroText})
	wantFault(t, err, CodeColumn)
}

// testGeometry: with ewkb too; and VECTOR, where the server has it.
func testGeometry(t *testing.T, db logged) {
	db.Exec("CREATE TABLE shapes (id INT NOT NULL PRIMARY KEY, g GEOMETRY)")
	for i, geometry := range []string{"wkb", "ewkb"} {
		db.Exec("TRUNCATE TABLE shapes")
		db.sameAsSelected(t, "shapes", fmt.Sprintf("INSERT INTO shapes VALUES (%d, ST_GeomFromText('POINT(1 -2.5)', 4326)), (%d, ST_GeomFromText('LINESTRING(1 2, 3 4)')), (%d, NULL)", 3*i, 3*i+1, 3*i+2),
			settings{"geometry": geometry}, Options{Geometry: geometry})
	}
	if version := db.Query("SELECT VERSION()"); strings.HasPrefix(version, "10.") {
		return
	}
	text := "STRING_TO_VECTOR"
	if db.mariaDB {
		text = "VEC_FromText"
	}
	db.Exec("CREATE TABLE vectors (id INT NOT NULL PRIMARY KEY, v VECTOR(3))")
	db.sameAsSelected(t, "vectors", "INSERT INTO vectors VALUES (1, "+text+"('[1.5, -2, 3e10]')), (2, "+text+"('[0, 0, 0]')), (3, NULL)", nil, Options{})
}

// testOldFormats: dates as they were stored before MySQL 5.6, which MariaDB still can, with fractions of its own.
func testOldFormats(t *testing.T, db logged) {
	db.Exec("SET GLOBAL mysql56_temporal_format = OFF")
	defer db.Exec("SET GLOBAL mysql56_temporal_format = ON")
	var columns []string
	var cases []typeCase
	for _, c := range typeCases {
		if strings.HasPrefix(c.ddl, "TIME") || strings.HasPrefix(c.ddl, "DATE") {
			columns, cases = append(columns, c.name+" "+c.ddl), append(cases, c)
		}
	}
	db.Exec("CREATE TABLE oldformats (id INT NOT NULL PRIMARY KEY, " + strings.Join(columns, ", ") + ")")
	var rows [][]string
	for n := range 6 {
		row := []string{strconv.Itoa(n)}
		for _, c := range cases {
			row = append(row, c.values[n%len(c.values)])
		}
		rows = append(rows, row)
	}
	db.sameAsSelected(t, "oldformats", "SET time_zone = '+00:00'; INSERT INTO oldformats VALUES "+values(rows), nil, Options{})
}

// testLabels: labels come from the log where it has them, and are never guessed.
func testLabels(t *testing.T, db logged) {
	db.Exec("SET GLOBAL binlog_row_metadata = FULL")
	db.Exec("CREATE TABLE labels (id INT NOT NULL PRIMARY KEY, e ENUM('a','🙂','x?','it''s \\\\') , s SET('🙂','ü','?') CHARACTER SET utf16, l ENUM('ü','?') CHARACTER SET latin1)")
	insert := func(id int) string {
		return fmt.Sprintf("INSERT INTO labels VALUES (%d, '🙂', '🙂,?', 'ü'), (%d, 'x?', 'ü', '?'), (%d, 'it''s \\\\', '', NULL)", id, id+1, id+2)
	}
	db.sameAsSelected(t, "labels", insert(1), nil, Options{})
	db.Exec("SET GLOBAL binlog_row_metadata = MINIMAL; DELETE FROM labels")
	list := db.images(t, "labels", insert(4))
	schema, _ := db.selected(t, "labels", nil)
	wantFault(t, decoder(t, db.columns(t, "labels"), schema, Options{}).Table(list[0].table), CodeColumn)
	// Of a column that is not wanted it does not matter, nor of one whose characters the catalogue can show.
	columns := db.columns(t, "labels")
	d, err := NewDecoder(columns, []int{0, 3}, arrow.NewSchema([]arrow.Field{schema.Field(0), schema.Field(3)}, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, d, list).Column(1).(*array.String); got.Value(0) != "ü" || got.Value(1) != "?" || !got.IsNull(2) {
		t.Errorf("labels are %v", got)
	}
}

// testAltered: a table that is another one than the catalogue said is refused, by what the log says of it.
func testAltered(t *testing.T, db logged) {
	for i, c := range []struct{ alter, metadata string }{
		{"ADD COLUMN more INT", "MINIMAL"}, {"DROP COLUMN n", "MINIMAL"}, {"MODIFY n BIGINT", "MINIMAL"}, {"MODIFY n INT UNSIGNED", "MINIMAL"},
		{"MODIFY d DECIMAL(12,3)", "MINIMAL"}, {"MODIFY dt DATETIME(3)", "MINIMAL"}, {"MODIFY b BIT(10)", "MINIMAL"},
		{"MODIFY v VARCHAR(20) CHARACTER SET latin1", "MINIMAL"}, {"MODIFY e ENUM('a','b','c')", "FULL"}, {"MODIFY e ENUM('b','a')", "FULL"},
		{"MODIFY e SET('a','b')", "MINIMAL"}, {"MODIFY v VARBINARY(20)", "MINIMAL"}, {"CHANGE n m INT", "FULL"}, {"MODIFY e ENUM('a','b') CHARACTER SET latin1", "FULL"},
	} {
		db.Exec("SET GLOBAL binlog_row_metadata = " + c.metadata)
		table := "altered" + strconv.Itoa(i)
		db.Exec("CREATE TABLE " + table + " (id INT NOT NULL PRIMARY KEY, n INT, d DECIMAL(10,2), dt DATETIME, v VARCHAR(20), e ENUM('a','b'), b BIT(9))")
		columns := db.columns(t, table)
		schema, _ := db.selected(t, table, nil)
		list := db.images(t, table, "ALTER TABLE "+table+" "+c.alter+"; INSERT INTO "+table+" (id) VALUES (1)")
		err := decoder(t, columns, schema, Options{MariaDB: db.mariaDB}).Table(list[0].table)
		if err == nil {
			t.Errorf("%s: nothing was seen", c.alter)
			continue
		}
		wantFault(t, err, CodeTable)
	}
}
