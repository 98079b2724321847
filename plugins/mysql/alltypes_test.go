package mysql

import (
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	driver "github.com/go-sql-driver/mysql"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk"
)

// typeCase is a column of the table with every type.
type typeCase struct {
	column   string
	ddl      string
	arrow    string
	source   string   // metadata: the type's name
	values   []string // SQL literals; every column also gets a NULL
	asText   string   // expression for oracles that print text; %s is the column. Default: the column itself.
	isBinary bool     // compare in hexadecimal
}

var typeCases = []typeCase{
	{column: "ti", ddl: "TINYINT", arrow: "int8", source: "tinyint", values: []string{"-128", "127", "0", "-1"}},
	{column: "tiu", ddl: "TINYINT UNSIGNED", arrow: "uint8", source: "tinyint unsigned", values: []string{"0", "255", "128"}},
	{column: "flag", ddl: "BOOL", arrow: "int8", source: "tinyint(1)", values: []string{"TRUE", "FALSE"}},
	{column: "si", ddl: "SMALLINT", arrow: "int16", source: "smallint", values: []string{"-32768", "32767"}},
	{column: "siu", ddl: "SMALLINT UNSIGNED", arrow: "uint16", source: "smallint unsigned", values: []string{"0", "65535"}},
	{column: "mi", ddl: "MEDIUMINT", arrow: "int32", source: "mediumint", values: []string{"-8388608", "8388607", "-1"}},
	{column: "miu", ddl: "MEDIUMINT UNSIGNED", arrow: "uint32", source: "mediumint unsigned", values: []string{"0", "16777215"}},
	{column: "i", ddl: "INT", arrow: "int32", source: "int", values: []string{"-2147483648", "2147483647"}},
	{column: "iu", ddl: "INT UNSIGNED", arrow: "uint32", source: "int unsigned", values: []string{"0", "4294967295"}},
	{column: "bi", ddl: "BIGINT", arrow: "int64", source: "bigint", values: []string{"-9223372036854775808", "9223372036854775807"}},
	{column: "biu", ddl: "BIGINT UNSIGNED", arrow: "uint64", source: "bigint unsigned", values: []string{"0", "18446744073709551615", "9223372036854775808"}},
	{column: "zf", ddl: "INT(8) UNSIGNED ZEROFILL", arrow: "uint32", source: "int unsigned zerofill", values: []string{"0", "42"}, asText: "CAST(%s AS UNSIGNED)"},
	{column: "d10", ddl: "DECIMAL(10,2)", arrow: "decimal(10, 2)", source: "decimal(10,2)", values: []string{"-99999999.99", "99999999.99", "0.01", "-0.01", "0"}},
	{column: "d10u", ddl: "DECIMAL(10,4) UNSIGNED", arrow: "decimal(10, 4)", source: "decimal(10,4) unsigned", values: []string{"999999.9999", "0.0001"}},
	{column: "d18", ddl: "DECIMAL(18,0)", arrow: "decimal(18, 0)", source: "decimal(18,0)", values: []string{"999999999999999999", "-999999999999999999"}},
	{column: "d19", ddl: "DECIMAL(19,1)", arrow: "decimal(19, 1)", source: "decimal(19,1)", values: []string{"999999999999999999.9", "-999999999999999999.9"}},
	{column: "d38", ddl: "DECIMAL(38,10)", arrow: "decimal(38, 10)", source: "decimal(38,10)", values: []string{"9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "0.0000000001"}},
	{column: "d38s", ddl: "DECIMAL(38,38)", arrow: "decimal(38, 38)", source: "decimal(38,38)", values: []string{"0." + strings.Repeat("9", 38), "-0." + strings.Repeat("0", 37) + "1"}},
	{column: "d65", ddl: "DECIMAL(65,30)", arrow: "decimal256(65, 30)", source: "decimal(65,30)", values: []string{strings.Repeat("9", 35) + "." + strings.Repeat("9", 30), "-" + strings.Repeat("9", 35) + "." + strings.Repeat("9", 30), "0." + strings.Repeat("0", 29) + "1"}},
	{column: "d65i", ddl: "DECIMAL(65,0)", arrow: "decimal256(65, 0)", source: "decimal(65,0)", values: []string{strings.Repeat("9", 65), "-" + strings.Repeat("9", 65), "0"}},
	{column: "f", ddl: "FLOAT", arrow: "float32", source: "float", values: []string{"1.5", "-0.25", "3.40282e38", "1.17549e-38"}},
	{column: "dbl", ddl: "DOUBLE", arrow: "float64", source: "double", values: []string{"1.7976931348623157e308", "2.2250738585072014e-308", "-0.1", "123456789.123456"}},
	{column: "da", ddl: "DATE", arrow: "date32", source: "date", values: []string{"'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'1970-01-01'", "'1969-12-31'", "'0001-01-01'"}},
	{column: "dt", ddl: "DATETIME", arrow: "timestamp[s]", source: "datetime", values: []string{"'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'2024-02-29 12:34:56'", "'1969-12-31 23:59:59'"}},
	{column: "dt1", ddl: "DATETIME(1)", arrow: "timestamp[ms]", source: "datetime(1)", values: []string{"'2024-02-29 12:34:56.7'", "'1969-12-31 23:59:59.9'", "'2024-01-01 00:00:00.0'"}},
	{column: "dt3", ddl: "DATETIME(3)", arrow: "timestamp[ms]", source: "datetime(3)", values: []string{"'2024-02-29 12:34:56.789'", "'1969-12-31 23:59:59.999'"}},
	{column: "dt4", ddl: "DATETIME(4)", arrow: "timestamp[us]", source: "datetime(4)", values: []string{"'2024-02-29 12:34:56.7891'"}},
	{column: "dt6", ddl: "DATETIME(6)", arrow: "timestamp[us]", source: "datetime(6)", values: []string{"'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00.000001'", "'2024-01-01 00:00:00'"}},
	{column: "ts", ddl: "TIMESTAMP NULL", arrow: "timestamp[s, tz=UTC]", source: "timestamp", values: []string{"'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"}},
	{column: "ts6", ddl: "TIMESTAMP(6) NULL", arrow: "timestamp[us, tz=UTC]", source: "timestamp(6)", values: []string{"'2024-07-01 12:00:00.123456'", "'2038-01-19 03:14:07.999999'"}},
	{column: "tm", ddl: "TIME", arrow: "duration[s]", source: "time", values: []string{"'838:59:59'", "'-838:59:59'", "'00:00:00'", "'-00:00:01'", "'23:59:59'", "'24:00:00'"}},
	{column: "tm2", ddl: "TIME(2)", arrow: "duration[ms]", source: "time(2)", values: []string{"'838:59:59.99'", "'-00:00:00.01'", "'-100:00:00.50'"}},
	{column: "tm6", ddl: "TIME(6)", arrow: "duration[us]", source: "time(6)", values: []string{"'838:59:59.999999'", "'-838:59:59.999999'", "'-00:00:00.000001'"}},
	{column: "y", ddl: "YEAR", arrow: "uint16", source: "year", values: []string{"1901", "2155", "2024"}},
	{column: "bit1", ddl: "BIT(1)", arrow: "uint64", source: "bit(1)", values: []string{"b'0'", "b'1'"}, asText: "%s+0"},
	{column: "bit9", ddl: "BIT(9)", arrow: "uint64", source: "bit(9)", values: []string{"b'100000001'", "b'1'"}, asText: "%s+0"},
	{column: "bit64", ddl: "BIT(64)", arrow: "uint64", source: "bit(64)", values: []string{"0xffffffffffffffff", "0x8000000000000001"}, asText: "%s+0"},
	{column: "ch", ddl: "CHAR(10)", arrow: "utf8", source: "char(10)", values: []string{"''", "'ab c'", "'žluťoučký'", "'日本語🙂'"}},
	{column: "vcl", ddl: "VARCHAR(50) CHARACTER SET latin1", arrow: "utf8", source: "varchar(50)", values: []string{"'Müller'", "'£½ÿ'", "''"}},
	{column: "vcu", ddl: "VARCHAR(200) CHARACTER SET utf8mb4", arrow: "utf8", source: "varchar(200)", values: []string{"'🙂 null \\\\N'", "'quote '' and \"'", "REPEAT('x', 200)", "'NULL'"}},
	{column: "vcw", ddl: "VARCHAR(20) CHARACTER SET utf16", arrow: "utf8", source: "varchar(20)", values: []string{"'🙂é'"}},
	{column: "tt", ddl: "TINYTEXT", arrow: "utf8", source: "tinytext", values: []string{"''", "REPEAT('y', 255)"}},
	{column: "tx", ddl: "TEXT", arrow: "utf8", source: "text", values: []string{"REPEAT('a', 251)", "REPEAT('b', 250)", "REPEAT('c', 65535)"}},
	{column: "mt", ddl: "MEDIUMTEXT", arrow: "utf8", source: "mediumtext", values: []string{"REPEAT('m', 65536)"}},
	{column: "lt", ddl: "LONGTEXT", arrow: "utf8", source: "longtext", values: []string{"REPEAT('é', 100000)"}},
	{column: "bn", ddl: "BINARY(5)", arrow: "binary", source: "binary(5)", values: []string{"'a'", "x'00ff00ff00'"}, isBinary: true},
	{column: "vb", ddl: "VARBINARY(50)", arrow: "binary", source: "varbinary(50)", values: []string{"''", "x'00fffefb'"}, isBinary: true},
	{column: "tb", ddl: "TINYBLOB", arrow: "binary", source: "tinyblob", values: []string{"x'fe'", "''"}, isBinary: true},
	{column: "bl", ddl: "BLOB", arrow: "binary", source: "blob", values: []string{"REPEAT(x'00', 300)"}, isBinary: true},
	{column: "mb", ddl: "MEDIUMBLOB", arrow: "binary", source: "mediumblob", values: []string{"REPEAT(x'fb', 70000)"}, isBinary: true},
	{column: "lb", ddl: "LONGBLOB", arrow: "binary", source: "longblob", values: []string{"REPEAT(x'ff', 17000)"}, isBinary: true},
	{column: "en", ddl: "ENUM('small','größer','')", arrow: "utf8", source: "enum", values: []string{"'small'", "'größer'", "''"}},
	{column: "st", ddl: "SET('a','b','ç')", arrow: "utf8", source: "set", values: []string{"''", "'a'", "'a,b,ç'"}},
	{column: "js", ddl: "JSON", arrow: "utf8", source: "longtext", values: []string{`'{"a": [1, 2.50, "é"]}'`, "'null'"}},
	{column: "geo", ddl: "GEOMETRY", arrow: "binary", source: "geometry", values: []string{"ST_GeomFromText('POINT(1 -2.5)')", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326)"}, asText: "ST_AsWKB(%s)", isBinary: true},
}

// loadAllTypes creates the table "alltypes": row 1 is all NULL, and the values of
// each column stand in rows 2 and up, repeated.
func loadAllTypes(t testing.TB, db *dbtest.Server) (rows int) {
	t.Helper()
	for _, c := range typeCases {
		rows = max(rows, len(c.values))
	}
	var ddl, names []string
	for _, c := range typeCases {
		ddl = append(ddl, c.column+" "+c.ddl)
		names = append(names, c.column)
	}
	script := "CREATE TABLE alltypes (id INT NOT NULL PRIMARY KEY, " + strings.Join(ddl, ", ") + ");\nINSERT INTO alltypes (id) VALUES (0);\n"
	for row := range rows {
		values := []string{strconv.Itoa(row + 1)}
		for _, c := range typeCases {
			values = append(values, c.values[row%len(c.values)])
		}
		script += "INSERT INTO alltypes (id, " + strings.Join(names, ",") + ") VALUES (" + strings.Join(values, ",") + ");\n"
	}
	db.Exec(script)
	return rows + 1
}

func TestEveryTypeAgainstOracles(t *testing.T) {
	db := dbtest.MariaDB(t)
	rows := loadAllTypes(t, db)
	const query = "SELECT * FROM alltypes ORDER BY id"
	official := fromClient(t, db)
	database := fromDatabaseSQL(t, db)
	for _, protocol := range []string{"binary", "text"} {
		t.Run(protocol, func(t *testing.T) {
			query := query
			if protocol == "text" { // which rounds FLOAT
				_, err := readAll(t, settings{"url": db.DSN(db.Database()), "query": query, "protocol": protocol})
				wantFault(t, err, codeFloat)
				query = "SELECT id"
				for _, c := range typeCases {
					if query += ", " + c.column; c.ddl == "FLOAT" {
						query = strings.TrimSuffix(query, c.column) + "NULL AS " + c.column
					}
				}
				query += " FROM alltypes ORDER BY id"
			}
			got := mustRead(t, settings{"url": db.DSN(db.Database()), "query": query, "protocol": protocol})
			if len(got.rows) != rows {
				t.Fatalf("%d rows, want %d", len(got.rows), rows)
			}
			for i, c := range typeCases {
				if protocol == "text" && c.ddl == "FLOAT" {
					continue
				}
				field := got.schema.Field(i + 1)
				if field.Name != c.column || typeText(field.Type) != c.arrow || !field.Nullable {
					t.Errorf("column %d is %v, want %s %s, nullable", i+1, field, c.column, c.arrow)
				}
				if source, _ := field.Metadata.GetValue(sdk.MetaSourceType); source != c.source {
					t.Errorf("%s: source type %q, want %q", c.column, source, c.source)
				}
				for row := range rows {
					value := got.rows[row][i+1]
					for oracle, want := range map[string]string{"mariadb": official[row][i+1], "database/sql": database[row][i+1]} {
						if !sameValue(field.Type, value, want) {
							t.Errorf("%s, row %d (%s): %.80q, %s says %.80q", c.column, row, c.ddl, value, oracle, want)
						}
					}
				}
			}
			if id := got.schema.Field(0); id.Nullable {
				t.Error("a NOT NULL column is nullable")
			}
		})
	}
}

func typeText(t arrow.DataType) string {
	if d, ok := t.(*arrow.Decimal128Type); ok {
		return fmt.Sprintf("decimal(%d, %d)", d.Precision, d.Scale)
	}
	return t.String()
}

// sameValue compares texts, and floats as numbers.
func sameValue(t arrow.DataType, a, b string) bool {
	if bits := map[arrow.Type]int{arrow.FLOAT32: 32, arrow.FLOAT64: 64}[t.ID()]; bits != 0 && a != "NULL" && b != "NULL" {
		x, err1 := strconv.ParseFloat(a, bits)
		y, err2 := strconv.ParseFloat(b, bits)
		return err1 == nil && err2 == nil && x == y
	}
	return a == b
}

// fromClient reads the table with the official client, over the text protocol.
func fromClient(t *testing.T, db *dbtest.Server) (rows [][]string) {
	t.Helper()
	list := []string{"id"}
	for _, c := range typeCases {
		text := c.column
		if c.asText != "" {
			text = fmt.Sprintf(c.asText, c.column)
		}
		if c.isBinary {
			text = "HEX(" + text + ")"
		}
		list = append(list, text)
	}
	unescape := strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\0`, "\x00", `\\`, `\`)
	out := db.Query("SET time_zone = '+00:00'; SELECT " + strings.Join(list, ", ") + " FROM alltypes ORDER BY id")
	for _, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		cells := strings.Split(line, "\t")
		for i := range cells {
			cells[i] = unescape.Replace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// fromDatabaseSQL reads the table with go-sql-driver, over the binary protocol.
func fromDatabaseSQL(t *testing.T, db *dbtest.Server) (rows [][]string) {
	t.Helper()
	config := driver.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = "root", db.Password(), "tcp", fmt.Sprintf("127.0.0.1:%d", db.Port()), db.Database()
	config.Params = map[string]string{"time_zone": "'+00:00'"}
	pool, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	result, err := pool.Query("SELECT * FROM alltypes WHERE id >= ? ORDER BY id", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	for result.Next() {
		raw := make([]sql.RawBytes, len(typeCases)+1)
		into := make([]any, len(raw))
		for i := range raw {
			into[i] = &raw[i]
		}
		if err := result.Scan(into...); err != nil {
			t.Fatal(err)
		}
		cells := make([]string, len(raw))
		for i, v := range raw {
			switch {
			case v == nil:
				cells[i] = "NULL"
			case i > 0 && typeCases[i-1].column == "geo":
				cells[i] = strings.ToUpper(fmt.Sprintf("%x", []byte(v[4:])))
			case i > 0 && typeCases[i-1].isBinary:
				cells[i] = strings.ToUpper(fmt.Sprintf("%x", []byte(v)))
			case i > 0 && strings.HasPrefix(typeCases[i-1].ddl, "BIT"):
				var n uint64
				for _, b := range v {
					n = n<<8 | uint64(b)
				}
				cells[i] = strconv.FormatUint(n, 10)
			default:
				cells[i] = string(v)
			}
		}
		rows = append(rows, slices.Clone(cells))
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
