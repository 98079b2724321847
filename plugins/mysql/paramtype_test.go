package mysql

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestParamTypes(t *testing.T) {
	for text, want := range map[string]paramType{
		"int(10) unsigned":             {name: "int", sizes: []int{10}, unsigned: true},
		"int unsigned":                 {name: "int", unsigned: true},
		"BIGINT":                       {name: "bigint"},
		"decimal(12, 4) zerofill":      {name: "decimal", sizes: []int{12, 4}},
		"datetime(6)":                  {name: "datetime", sizes: []int{6}},
		"double":                       {name: "double"},
		"varchar(30)":                  {name: "varchar", sizes: []int{30}},
		"enum('a','It''s','c,d','')":   {name: "enum", members: []string{"a", "It's", "c,d", ""}},
		"ENUM('Unsigned') unsigned":    {name: "enum", unsigned: true, members: []string{"Unsigned"}},
		"set('x')":                     {name: "set", members: []string{"x"}},
		"enum('a":                      {name: "enum"},
		"varchar(9) /*M! COMPRESSED*/": {name: "varchar", sizes: []int{9}},
		"":                             {},
	} {
		got := parseParamType(text)
		if got.name != want.name || got.unsigned != want.unsigned || len(got.sizes)+len(want.sizes) > 0 && !reflect.DeepEqual(got.sizes, want.sizes) || !reflect.DeepEqual(got.members, want.members) {
			if text == "enum('a" { // the name may be lost, a member must not be made up
				continue
			}
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestArgumentsOfEveryType(t *testing.T) {
	n := func(text string) json.Number { return json.Number(text) }
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		typ   string
		value any
		want  any // nil: it is refused
	}{
		{"tinyint(4)", n("-128"), int64(-128)}, {"tinyint(4)", n("-129"), nil}, {"tinyint(4)", n("128"), nil}, {"tinyint(3) unsigned", n("255"), int64(255)},
		{"tinyint(3) unsigned", n("-1"), nil}, {"tinyint(1)", true, int64(1)}, {"tinyint(1)", false, int64(0)}, {"smallint", n("32768"), nil}, {"mediumint", n("8388607"), int64(8388607)},
		{"mediumint", n("8388608"), nil}, {"int(11)", n("-2147483648"), int64(-2147483648)}, {"int(11)", n("2147483648"), nil}, {"int(11)", n("1.0"), nil}, {"int(11)", n("1e3"), nil},
		{"int(11)", "5", nil}, {"int(11)", n("-0"), int64(0)}, {"bigint(20)", n("-9223372036854775808"), int64(-1 << 63)}, {"bigint(20)", n("9223372036854775808"), nil},
		{"bigint(20) unsigned", n("18446744073709551615"), uint64(1<<64 - 1)}, {"bigint(20) unsigned", n("18446744073709551616"), nil}, {"bigint(20) unsigned", n("-1"), nil},
		{"year(4)", n("1901"), int64(1901)}, {"year(4)", n("0"), int64(0)}, {"year(4)", n("1900"), nil}, {"year(4)", n("2156"), nil}, {"year(4)", true, nil},
		{"bit(1)", true, int64(1)}, {"bit(1)", n("2"), nil}, {"bit(64)", n("18446744073709551615"), uint64(1<<64 - 1)}, {"bit(8)", n("-1"), nil},
		{"decimal(5,2)", n("-123.45"), decimalArg("-123.45")}, {"decimal(5,2)", n("123.4500"), decimalArg("123.4500")}, {"decimal(5,2)", n("123.456"), nil}, {"decimal(5,2)", n("1234"), nil},
		{"decimal(5,2)", n("1e2"), nil}, {"decimal(5,2)", "1.5", nil}, {"decimal(5,2)", true, nil}, {"decimal(10,0)", n("1.0"), decimalArg("1.0")}, {"decimal(3,3)", n("0.125"), decimalArg("0.125")},
		{"decimal(3,3)", n("1"), nil}, {"decimal(5,2) unsigned", n("-1"), nil}, {"decimal(5,2) unsigned", n("-0.0"), decimalArg("-0.0")}, {"decimal(65,30)", n("0.000000000000000000000000000001"), decimalArg("0.000000000000000000000000000001")},
		{"double", n("1e308"), 1e308}, {"double", n("1e309"), nil}, {"double", n("7"), 7.0}, {"float", n("1e39"), nil}, {"float unsigned", n("-1"), nil}, {"double", "1", nil},
		{"varchar(3)", "é🙂x", "é🙂x"}, {"varchar(3)", "abcd", nil}, {"varchar(3)", n("1"), nil}, {"varchar(3)", true, nil}, {"char(1)", "xy", nil}, {"char(0)", "", ""},
		{"text", "it's", "it's"}, {"tinytext", long, nil}, {"longtext", long, long}, {"json", `{"a":1}`, `{"a":1}`},
		{"enum('a','B')", "B", "B"}, {"enum('a','B')", "b", nil}, {"enum('a')", n("1"), nil}, {"set('x','y')", "y,x", "y,x"}, {"set('x','y')", "", ""}, {"set('x','y')", "x,z", nil},
		{"varbinary(3)", "/wD+", bytesArg("\xff\x00\xfe")}, {"varbinary(2)", "/wD+", nil}, {"blob", "not base64", nil}, {"blob", "", bytesArg("")}, {"blob", n("1"), nil}, {"longblob", "AA==", bytesArg("\x00")},
		{"date", "2024-02-29", "2024-02-29"}, {"date", "2023-02-29", nil}, {"date", "2024-1-1", nil}, {"date", "0000-00-00", nil}, {"date", "2024-02-29 00:00:00", nil}, {"date", n("20240229"), nil},
		{"datetime", "2024-02-29", "2024-02-29"}, {"datetime", "2024-02-29 23:59:59", "2024-02-29 23:59:59"}, {"datetime", "2024-02-29 24:00:00", nil}, {"datetime", "2024-02-29 23:59:59.5", nil},
		{"datetime(3)", "2024-02-29 23:59:59.5000", "2024-02-29 23:59:59.5000"}, {"datetime(3)", "2024-02-29 23:59:59.0005", nil}, {"datetime", "2024-02-29T23:59:59", nil},
		{"timestamp", "1970-01-01", "1970-01-01"}, {"timestamp", "1970-02-30", nil}, {"timestamp", "1970-01-01 00:00:01", "1970-01-01 00:00:01"}, {"timestamp", "2038-01-19 13:14:07", "2038-01-19 13:14:07"}, {"timestamp", "2038-01-19 03:14:07", "2038-01-19 03:14:07"},
		{"time", "-838:59:59", "-838:59:59"}, {"time", "839:00:00", nil}, {"time", "10:00", nil}, {"time(2)", "10:00:00.25", "10:00:00.25"}, {"time", "10:00:00.25", nil}, {"time", n("1"), nil},
		{"uuid", "123E4567-e89b-12d3-a456-426614174000", "123E4567-e89b-12d3-a456-426614174000"}, {"uuid", "x", nil}, {"inet4", "1.2.3.4", "1.2.3.4"}, {"inet4", "::1", nil}, {"inet6", "::1", "::1"}, {"inet6", "fe80::1%eth0", nil}, {"inet6", true, nil},
		{"point", "POINT(1 1)", nil}, {"", "x", nil},
	} {
		typ := parseParamType(c.typ)
		got, problem := typ.bind(c.value)
		if (problem == "") != (c.want != nil) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %T %.20v: %T %.20v %q, want %T %.20v", c.typ, c.value, c.value, got, got, problem, c.want, c.want)
		}
		if text, ok := c.value.(string); ok && len(text) > 3 && c.typ != "timestamp" && strings.Contains(problem, text) {
			t.Errorf("%s: the message repeats the value: %s", c.typ, problem)
		}
		if got, problem := typ.bind(nil); got != nil || (problem != "") != (c.typ == "" || c.typ == "point") {
			t.Errorf("%s: NULL is %v, %q", c.typ, got, problem)
		}
	}
}

func TestParseArguments(t *testing.T) {
	good := "[\"it's \\\" \\u00e9 \\ud83d\\ude42 \\\\ud800 \\u0000\", -1.50, 1e3, true, null]\n"
	got, err := parseArguments(good)
	if want := []any{"it's \" é 🙂 \\ud800 \x00", json.Number("-1.50"), json.Number("1e3"), true, nil}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", " ", "null", "1", `"a"`, `{"a":1}`, "[1", "[1,]", "[1] 2", "[[1]]", `[{"a":1}]`, `[1, "\ud800"]`, `["\ud83dx"]`, `["\ude42"]`, `["\ud83d\u0041"]`,
		"[\"\xff\"]", "2024-01-01, x", "[1];", "[NaN]", "[01]", strings.Repeat("[", 1<<16)} {
		_, err := parseArguments(text)
		if f := wantFault(t, err, codeArgument); f.Class != fault.Usage || f.Details["parameter"] != "arguments" || !strings.Contains(f.Hint, "JSON array") {
			t.Errorf("%.20q: %+v", text, f)
		}
	}
}

// FuzzArgument: any argument for any type is bound or refused with words, and what is
// bound goes into a packet and into a text.
func FuzzArgument(f *testing.F) {
	for _, typ := range []string{"int(10) unsigned", "decimal(12,4)", "varchar(9)", "enum('a','It''s')", "datetime(3)", "time", "bit(64)", "varbinary(9)", "float", "inet6", "year(4)"} {
		f.Add(typ, `["2024-02-29 10:11:12.5", -1.50, "It's", true, null, 18446744073709551615, "-838:59:59.1", "AA=="]`)
	}
	f.Fuzz(func(t *testing.T, typ, arguments string) {
		values, err := parseArguments(arguments)
		if err != nil {
			return
		}
		p := parseParamType(typ)
		for _, value := range values {
			bound, problem := p.bind(value)
			if problem != "" {
				if bound != nil {
					t.Fatalf("refused, and bound: %v", bound)
				}
				continue
			}
			if code, _ := appendArgument(nil, bound); (code == typeNull) != (value == nil) {
				t.Fatalf("%v is bound as %#x", value, code)
			}
			sql, err := inline("?", []any{bound}, sqlMode{})
			if err != nil || sql[0] == '\'' && tokenEnd(sql, 0, sqlMode{}) != len(sql) {
				t.Fatalf("%q, %v", sql, err)
			}
		}
	})
}
