package pipelinetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
)

// The cases of test files run in the tests of the command, with the real stages.

func TestCompareText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 200)
	for _, c := range []struct{ want, got, failure string }{
		{"", "", ""},
		{"a\nb\n", "a\nb\n", ""},
		{"a\nb\n", "a\nc\n", "2 line 2 of the output differs|b|c"},
		{"a\nb\n", "a\n", "2 the output ends before line 2|b|"},
		{"a\n", "a\nb\n", "2 the output goes on in line 2, where its end was expected||b"},
		{"", "b\n", "1 the output goes on in line 1, where its end was expected||b"},
		{"a\n", "", "1 the output ends before line 1|a|"},
		{"a\n", "a", `1 line 1 of the output differs in its line end|"a"|"a" (without a line end)`},
		{"a\n", "a\r\n", `1 line 1 of the output differs in its line end|"a"|"a\r"`},
		{"a\n", "a \n", `1 line 1 of the output differs|"a"|"a "`},
		{"a\tb\n", "a b\n", `1 line 1 of the output differs|"a\tb"|"a b"`},
		{"\n", "a\n", `1 line 1 of the output differs|""|"a"`},
		{`{"a":"x"}` + "\n", `{"a":"\\"}` + "\n", `1 line 1 of the output differs|{"a":"x"}|{"a":"\\"}`},
		{"山\n", "岩\n", "1 line 1 of the output differs|山|岩"},
		{long + "x" + long + "\n", long + "y\n",
			"1 line 1 of the output differs|…" + strings.Repeat("ä", 40) + "x" + strings.Repeat("ä", 79) + "…|…" + strings.Repeat("ä", 40) + "y"},
		{"\x1f\x8b\xff\x00", "\x1f\x8b\xff\x01\x02", "0 the output differs at byte 3 (counted from 0)|00… of 4 bytes|0102… of 5 bytes"},
		{"\xff", "", "0 the output differs at byte 0 (counted from 0)|ff… of 1 bytes|the end, after 0 bytes"},
	} {
		got := ""
		if f := compareText([]byte(c.want), []byte(c.got)); f != nil {
			got = fmt.Sprintf("%d %s|%s|%s", f.Line, f.Message, f.Expected, f.Got)
		}
		if got != c.failure {
			t.Errorf("%q, %q:\ngot  %s\nwant %s", c.want, c.got, got, c.failure)
		}
	}
}

// FuzzCompareText: texts are told apart exactly when they differ, and both sides of a
// difference differ.
func FuzzCompareText(f *testing.F) {
	f.Add("a\nb\n", "a\nb")
	f.Add("a\r\n", "a\n")
	f.Add("\xff", "ä")
	f.Add("ä", "å")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := compareText([]byte(a), []byte(b))
		if (got == nil) != (a == b) {
			t.Fatalf("%q, %q: %+v", a, b, got)
		}
		if got == nil {
			return
		}
		if got.Message == "" || got.Expected == got.Got || !utf8.ValidString(got.Expected+got.Got) || len(got.Expected) > 2000 || len(got.Got) > 2000 {
			t.Fatalf("%q, %q: %+v", a, b, got)
		}
	})
}

// rowsOf reads rows as they stand in a test file.
func rowsOf(t *testing.T, rows string) []*document.Node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.yaml")
	text := "apiVersion: cipherstream/v1\nkind: Test\npipeline: p\ncases: [{name: a, expect: {error: x}, rows: " + rows + "}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	test, diags := (&document.Loader{}).Test(file)
	if diags.HasErrors() {
		t.Fatalf("%+v", diags)
	}
	return test.Cases[0].Rows
}

func TestEncodeRows(t *testing.T) {
	t.Parallel()
	got := string(encodeRows(rowsOf(t, `[{a: 18446744073709551615, "b\n": 0.10000000000000000000000000000000000001, c: -5., d: .5, e: "<é>\t\"", f: true, g: ~, h: 007, i: 1e400}, {}]`)))
	want := `{"a":18446744073709551615,"b\n":0.10000000000000000000000000000000000001,"c":-5.0,"d":0.5,"e":"<é>\t\"","f":true,"g":null,"h":"007","i":1e400}` + "\n{}\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	for line := range strings.Lines(got) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestCompareRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ want, got, failure string }{
		{`[]`, "", ""},
		{`[{a: 1, b: x, c: true, d: ~}]`, `{"b":"x","a":1,"c":true,"d":null,"e":null}` + "\n", ""},
		{`[{a: 18446744073709551616, b: "0.10"}]`, `{"a":18446744073709551616,"b":"0.10"}` + "\n", ""},
		{`[{a: '{"x":1}', b: "\u00e9"}]`, `{"a":{"x":1},"b":"\u00e9"}` + "\n", ""},
		{`[{}]`, "", "0 the output has another number of rows|1|0"},
		{`[]`, "{}\n{}\n", "0 the output has another number of rows|0|2"},
		{`[{a: 1}]`, `{"a":"1"}` + "\n", `1 row 1 (counted from 1), column "a" differs|1|"1"`},
		{`[{a: "1"}]`, `{"a":1}` + "\n", `1 row 1 (counted from 1), column "a" differs|"1"|1`},
		{`[{a: 0.1}]`, `{"a":0.10}` + "\n", `1 row 1 (counted from 1), column "a" differs|0.1|0.10`},
		{`[{a: ~}]`, `{"a":"null"}` + "\n", `1 row 1 (counted from 1), column "a" differs|null|"null"`},
		{`[{a: "null"}]`, `{"a":null}` + "\n", `1 row 1 (counted from 1), column "a" differs|"null"|null`},
		{`[{}, {a: 1}]`, "{}\n{}\n", `2 row 2 (counted from 1), column "a" differs|1|no such key`},
		{`[{}]`, `{"z":1,"b":2}` + "\n", `1 row 1 (counted from 1), column "b" differs|null|2`},
		{`[{}]`, "{}\n[]\n", "2 line 2 of the output is no JSON object: json: cannot unmarshal array into Go value of type map[string]json.RawMessage||[]"},
	} {
		got := ""
		if f := compareRows(rowsOf(t, c.want), []byte(c.got)); f != nil {
			got = fmt.Sprintf("%d %s|%s|%s", f.Line, f.Message, f.Expected, f.Got)
		}
		if got != c.failure {
			t.Errorf("%s, %q:\ngot  %s\nwant %s", c.want, c.got, got, c.failure)
		}
	}
}

// TestCheckRow: values that no number of conversions would make right are found in
// the file.
func TestCheckRow(t *testing.T) {
	t.Parallel()
	var columns []document.Column
	for _, text := range []string{"int8", "float64", "decimal(5,2)", "boolean", "string", "date", "json"} {
		typ, err := document.ParseColumnType(text)
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, document.Column{Name: typ.Name, Type: typ})
	}
	for row, want := range map[string]string{
		`{int8: 1, float64: 0.5, decimal: 1.50, boolean: true, string: x, date: 2024-01-31, json: "{}"}`: "",
		`{int8: ~, float64: ~, decimal: "1.50", boolean: ~, string: ~, date: ~}`:                         "",
		`{int8: "1"}`:      `column "int8" is int8 and takes a number, not text`,
		`{string: 5}`:      `column "string" is string and takes text, not a number`,
		`{boolean: 1}`:     `column "boolean" is boolean and takes a boolean, not a number`,
		`{date: true}`:     `column "date" is date and takes text, not a boolean`,
		`{decimal: false}`: `column "decimal" is decimal(5,2) and takes a number, not a boolean`,
		`{strin: x}`:       `the rows have no column "strin"`,
	} {
		var diags diag.List
		checkRow(rowsOf(t, "["+row+"]")[0], columns, &diags)
		got := ""
		for _, d := range diags {
			got += d.Message
			if d.Line == 0 {
				t.Errorf("%s: no place", row)
			}
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", row, got, want)
		}
	}
}
