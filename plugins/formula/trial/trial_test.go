package trial

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func lines(rows ...string) (list [][]byte) {
	for _, row := range rows {
		list = append(list, []byte(row))
	}
	return list
}

// TestGuess: the types hold every value that is there, and no more is assumed.
func TestGuess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rows []string
		want string
	}{
		{[]string{`{"a": 1, "b": "x", "c": true}`, `{"a": -9223372036854775808}`}, "[{a int64 false} {b string true} {c boolean true}]"},
		{[]string{`{"a": 12.50}`, `{"a": -0.075}`, `{"a": null}`}, "[{a decimal(5,3) true}]"},
		{[]string{`{"a": 18446744073709551615}`, `{"a": 0}`}, "[{a uint64 false}]"},
		{[]string{`{"a": 18446744073709551616}`, `{"a": -1}`}, "[{a decimal(20,0) false}]"},
		{[]string{`{"a": 0}`}, "[{a int64 false}]"}, {[]string{`{"a": 0.0}`}, "[{a decimal(1,1) false}]"},
		{[]string{`{"a": "2024-01-31"}`}, "[{a string false}]"},
		{[]string{`{}`}, "[]"}, {nil, "[]"},
		{[]string{`{"a": 1}`, `{"a": "1"}`}, "expression.row: column \"a\" is of several types: number, string"},
		{[]string{`{"a": 1e3}`}, `expression.row: row 1: column "a" has an exponent`},
		{[]string{`{"a": {}}`}, `expression.row: row 1: column "a" is an object`},
		{[]string{`{"a": null}`}, `expression.row: column "a" is NULL in every row`},
		{[]string{`{"a": ` + strings.Repeat("9", 77) + `}`}, "more than 76 digits"},
		{[]string{`[1]`}, "row 1: expected a JSON object"}, {[]string{`{}`, `{a: 1}`}, "row 2: it is no JSON at byte"},
		{[]string{`{"a": 1, "a": 2}`}, `the key "a" comes twice`}, {[]string{`{"a": 1} {}`}, "something follows the object"},
		{[]string{`{"a": 1`}, "row 1: "}, {[]string{``}, "row 1: "},
	} {
		columns, err := Guess(lines(c.rows...))
		if got := fmt.Sprint(columns); err == nil && got != c.want {
			t.Errorf("%s: got %s, want %s", c.rows, got, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.rows, err, c.want)
		}
	}
}

func TestParseColumns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a:int64, b : decimal(10,2) not null,c:timestamp(3) NOT  NULL": "[{a int64 true} {b decimal(10,2) false} {c timestamp(3) false}]",
		"its name:string": "[{its name string true}]", "a:decimal(10, 2)": "[{a decimal(10, 2) true}]",
		"a": "expected a column as NAME:TYPE", "a:int64,": "expected a column", ":x": "expected a column",
	} {
		columns, err := ParseColumns(text)
		got := fmt.Sprint(columns)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for _, columns := range [][]Column{{{Name: "a", Type: "number"}}, {{Name: "a", Type: "date"}, {Name: "a", Type: "date"}}} {
		if _, err := Schema(columns); !fault.Is(err, CodeColumns) {
			t.Errorf("%v: %v", columns, err)
		}
	}
}

// TestValues: what is typed is taken to the last digit, and what comes of it is spelled as the encoders do.
func TestValues(t *testing.T) {
	t.Parallel()
	const columns = "n:int64,d:decimal(30,10),s:string,b:binary,day:date,at:timestamp(3),c:time,f:float64,ok:boolean"
	rows := []string{
		`{"n": 1, "d": 12345678901234567890.0123456789, "s": "a\u00e9", "b": "AQI=", "day": "2024-02-29", "at": "2024-02-29 01:02:03.5", "c": "08:30:00", "f": 0.5, "ok": true}`,
		`{"d": "-0.5"}`,
	}
	parsed, err := ParseColumns(columns)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := Schema(parsed)
	if err != nil {
		t.Fatal(err)
	}
	in, err := Rows(schema, lines(rows...))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Release()
	for expression, want := range map[string]string{
		"n": "1|NULL", "n + 1": "2|expression.null in row 1", "d": "12345678901234567890.0123456789|-0.5000000000", "s": "aé|NULL", "b": "AQI=|NULL", "day": "2024-02-29|NULL",
		"at": "2024-02-29 01:02:03.500|NULL", "c": "08:30:00|NULL", "f": "0.5|NULL", "ok": "true|NULL", "null": "NULL|NULL", "n == null": "false|true",
	} {
		f, err := formula.Compile(expression, nil, schema)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		values, err := Values(f, in)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		var got []string
		for _, v := range values {
			switch {
			case v.Fault != nil:
				row, _ := v.Fault.Row()
				got = append(got, fmt.Sprintf("%s in row %d", v.Fault.Code, row))
			case v.Null:
				got = append(got, "NULL")
			default:
				got = append(got, v.Text)
			}
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s: got %s, want %s", expression, strings.Join(got, "|"), want)
		}
	}
	for row, want := range map[string]string{
		`{"n": "1"}`: `column "n" is int64, which stands without quotes`, `{"s": 1}`: `column "s" is string, which stands in quotes`,
		`{"n": 1.5}`: `column "n" holds something that is no int64`, `{"day": "2024-02-30"}`: "is no date", `{"m": 1}`: `there is no column "m"`,
		`{"d": 0.12345678901}`: "cannot hold exactly", `{"ok": "true"}`: "without quotes", `{"s": [1]}`: "in quotes",
	} {
		if _, err := Rows(schema, lines(row)); !fault.Is(err, CodeRow) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", row, err)
		}
	}
	parsed[0].Nullable = false
	strict, err := Schema(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Rows(strict, lines(`{}`)); err == nil || !strings.Contains(err.Error(), `column "n" is not null`) {
		t.Error(err)
	}
}

// FuzzRows takes anything for a row: it is a row, or a coded fault.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{`{"a": 1, "b": "x"}`, `{"a": 12.50, "b": null, "c": true}`, `{"a": 1e5}`, `{"a"`, `[]`, `{"a": {"b": []}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		columns, err := Guess([][]byte{row})
		if err != nil {
			if !fault.Is(err, CodeRow) {
				t.Fatal(err)
			}
			return
		}
		schema, err := Schema(columns)
		if err != nil {
			t.Fatal(err)
		}
		in, err := Rows(schema, [][]byte{row})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Release()
		for _, c := range columns {
			expression, err := formula.Compile(fmt.Sprintf("row[%q]", c.Name), nil, schema)
			if err != nil {
				continue // a name that has no text in an expression
			}
			if _, err := Values(expression, in); err != nil {
				t.Fatal(err)
			}
		}
	})
}
