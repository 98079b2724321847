// Package values holds a table of values that exports get wrong, and judges what an export made of them: by kind of value,
// how many are right, silently changed, refused with an error, or gone with their row. What is right is what the official
// client shows; that a number, a time or bytes are written in another way is no difference.
//
// It owns the table, the readers of outputs, and the comparison. It never starts a program, and never talks to a server.
package values

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// class is how values of a kind are compared.
type class int

const (
	text class = iota
	number
	float
	double
	date
	datetime
	clock
	bits
	document
	bytes
)

// Kind is a column of the table: one sort of trap.
type Kind struct {
	Name, Column string
	definition   string
	class        class
	literals     []string // SQL, for one row after the other, over and over
}

// Kinds are all kinds, in the order of the columns.
var Kinds = []Kind{
	{"DECIMAL(65,30)", "c_decimal65", "DECIMAL(65,30)", number, []string{
		"99999999999999999999999999999999999.999999999999999999999999999999", "-99999999999999999999999999999999999.999999999999999999999999999999",
		"0.000000000000000000000000000001", "12345678901234567890.123456789012345678", "0", "NULL"}},
	{"DECIMAL(12,2)", "c_decimal", "DECIMAL(12,2)", number, []string{"0.10", "-0.01", "1234567890.99", "100.00", "4.35", "NULL"}},
	{"BIGINT UNSIGNED", "c_unsigned", "BIGINT UNSIGNED", number, []string{"18446744073709551615", "9223372036854775808", "9007199254740993", "0"}},
	{"BIGINT with NULL", "c_bigint", "BIGINT", number, []string{"9223372036854775807", "-9223372036854775808", "9007199254740993", "NULL", "1"}},
	{"TINYINT(1)", "c_tinyint", "TINYINT(1)", number, []string{"0", "1", "2", "-128", "127", "NULL"}},
	{"date", "c_date", "DATE", date, []string{"'2024-02-29'", "'1000-01-01'", "'9999-12-31'", "'1582-10-10'", "NULL"}},
	{"zero and partial date", "c_zero_date", "DATE", date, []string{"'0000-00-00'", "'2024-00-00'", "'2024-05-00'", "'2024-05-17'"}},
	{"DATETIME(6)", "c_datetime", "DATETIME(6)", datetime, []string{"'2024-05-17 12:34:56.123456'", "'9999-12-31 23:59:59.999999'",
		"'1000-01-01 00:00:00.000001'", "'2024-10-06 02:30:00'", "NULL"}},
	{"zero DATETIME", "c_zero_datetime", "DATETIME", datetime, []string{"'0000-00-00 00:00:00'", "'2024-05-17 12:34:56'"}},
	{"TIME of a day", "c_time", "TIME", clock, []string{"'00:00:00'", "'12:34:56'", "'23:59:59'", "NULL"}},
	{"TIME(6) to 838 hours", "c_long_time", "TIME(6)", clock, []string{"'838:59:59.999999'", "'-838:59:59.999999'", "'-00:00:00.000001'", "'24:00:00'", "'25:30:00.5'"}},
	{"BIT(64)", "c_bit", "BIT(64)", bits, []string{"b'1'", "b'1111111111111111111111111111111111111111111111111111111111111111'", "0", "0x6162636465666768"}},
	{"YEAR", "c_year", "YEAR", number, []string{"1901", "2155", "2024", "0", "NULL"}},
	{"JSON", "c_json", "JSON", document, []string{`'{"n": 12345678901234567890.123}'`, `'[1.10, "é", null]'`, `'"text"'`, `'null'`, "NULL"}},
	{"latin1 text", "c_latin1", "VARCHAR(40) CHARACTER SET latin1", text, []string{"'Zoë Müller'", "'naïve façade €'", "'plain'", "NULL"}},
	{"emoji", "c_emoji", "VARCHAR(40) CHARACTER SET utf8mb4", text, []string{"'😀 tooth 🦷'", "'👩‍⚕️'", "'漢字'", "'é'"}},
	{"NULL, empty and words", "c_empty", "VARCHAR(20)", text, []string{"NULL", "''", "'NULL'", "'null'", "'NaN'", `'\\N'`, "' '", "'0012'", "'true'"}},
	{"quotes and line ends", "c_quotes", "VARCHAR(80)", text, []string{`'a "b", c;\td'`, `'line\nnext\r\nlast\r'`, `'back\\slash \\n'`, `'=1+1'`, `'nul\0inside'`, "'\u2028'"}},
	{"BINARY(8)", "c_binary", "BINARY(8)", bytes, []string{"0x0001020304050607", "0xFFFEFDFCFBFAF9F8", "'ascii'", "NULL"}},
	{"BLOB", "c_blob", "BLOB", bytes, []string{"0xC328", "''", "0x00", "0x89504E470D0A1A0A", "NULL"}},
	{"FLOAT", "c_float", "FLOAT", float, []string{"1.1", "3.4028e38", "1e-30", "16777216", "0.333333343267441", "NULL"}},
	{"DOUBLE", "c_double", "DOUBLE", double, []string{"0.1", "1.7976931348623157e308", "2.2250738585072014e-308", "9007199254740993", "0.30000000000000004", "-0.0", "NULL"}},
	{"ENUM", "c_enum", "ENUM('small','größer','')", text, []string{"'small'", "'größer'", "''", "NULL"}},
	{"SET", "c_set", "SET('a','b','c d')", text, []string{"'a,c d'", "''", "'b'", "NULL"}},
	{"long text", "c_long", "LONGTEXT", text, []string{"REPEAT('long text é ', 8000)", "REPEAT('x', 65536)", "'short'"}},
}

// Rows is how many rows the table has; their ids are 1 to Rows.
const Rows = 300

// Schema are the statements that make a table and fill it.
func Schema(table string) string {
	var sql strings.Builder
	// Zero and partial dates are values that old tables hold; today's defaults would not let them in.
	fmt.Fprintf(&sql, "SET NAMES utf8mb4; SET sql_mode = '';\nCREATE TABLE %s (\n  id INT NOT NULL PRIMARY KEY", table)
	for _, k := range Kinds {
		fmt.Fprintf(&sql, ",\n  %s %s NULL", k.Column, k.definition)
	}
	sql.WriteString("\n) CHARACTER SET utf8mb4;\n")
	for id := 1; id <= Rows; id++ {
		fmt.Fprintf(&sql, "INSERT INTO %s VALUES (%d", table, id)
		for _, k := range Kinds {
			sql.WriteString(", " + k.literals[(id-1)%len(k.literals)])
		}
		sql.WriteString(");\n")
	}
	return sql.String()
}

// TruthQuery asks the official client for all values, in hexadecimal digits, so that nothing has to be escaped.
func TruthQuery(table string) string {
	var sql strings.Builder
	sql.WriteString("SET NAMES utf8mb4; SELECT id")
	for _, k := range Kinds {
		shown := "CAST(%s AS CHAR)"
		switch k.class {
		case text, document:
			shown = "CONVERT(%s USING utf8mb4)"
		case bytes:
			shown = "%s"
		case bits:
			shown = "CAST(CAST(%s AS UNSIGNED) AS CHAR)"
		case float:
			// What the client shows has six digits; the second is what is stored.
			shown = "CONCAT(CAST(%[1]s AS CHAR), ' ', CAST(CAST(%[1]s AS DOUBLE) AS CHAR))"
		}
		fmt.Fprintf(&sql, ", IF(%s IS NULL, 'N', CONCAT('V', HEX(%s)))", k.Column, fmt.Sprintf(shown, k.Column))
	}
	fmt.Fprintf(&sql, " FROM %s ORDER BY id", table)
	return sql.String()
}

// Table is what was read of the table, by id and column.
type Table map[int64]map[string]Cell

// Cell is one value as a reader sees it. Text is what it shows; of a value of JSON that is no string, its JSON.
type Cell struct {
	Null bool
	Text string
}

// Truth reads what the client answers to TruthQuery.
func Truth(answer string) (Table, error) {
	rows := Table{}
	for line := range strings.Lines(answer) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		id, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil || len(fields) != len(Kinds)+1 {
			return nil, fmt.Errorf("the client's line has %d fields and begins with %q", len(fields), fields[0])
		}
		row := map[string]Cell{}
		for i, k := range Kinds {
			shown, given := strings.CutPrefix(fields[i+1], "V")
			raw, err := hex.DecodeString(shown)
			switch {
			case fields[i+1] == "N":
				row[k.Column] = Cell{Null: true}
			case given && err == nil:
				row[k.Column] = Cell{Text: string(raw)}
			default:
				return nil, errors.New("the client's answer has a field that is not in hexadecimal digits")
			}
		}
		rows[id] = row
	}
	return rows, nil
}
