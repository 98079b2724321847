package document

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// TestBadTests holds every file in testdata/tests against the diagnostics beside it.
func TestBadTests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/tests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		l := &Loader{}
		test, diags := l.Test(file)
		if !diags.HasErrors() || test != nil && !test.Invalid {
			t.Errorf("%s was accepted", file)
		}
		got := render(t, l, diags)
		want := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(text) {
			t.Errorf("--- got\n%s--- want\n%s", got, text)
		}
	}
	if test, diags := (&Loader{}).Test("testdata/tests/nothing.yaml"); test != nil || len(diags) != 1 || diags[0].Code != CodeNotFound {
		t.Errorf("a file that is not there: %+v", diags)
	}
}

func TestTest(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.test.yaml")
	if err := os.WriteFile(file, []byte(`apiVersion: cipherstream/v1
kind: Test
pipeline: ./a.yaml
cases:
  - name: one
    parameters: {day: 2024-01-31, n: 5, none: ~}
    customer: "7"
    secrets: {token: t}
    env: {A: b}
    columns: [{name: id, type: "timestamp(3)", nullable: false}]
    rows: [{id: 0.10000000000000000000000000000000001}, {}]
    expect: {rows: []}
  - name: two
    rows_file: rows.csv
    expect: {output: "x\r\n"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	test, diags := (&Loader{}).Test(file)
	if len(diags) > 0 || test.Invalid || test.File != file || test.Pipeline.Text != "./a.yaml" || len(test.Cases) != 2 {
		t.Fatalf("%+v, %v", test, diags)
	}
	one, two := test.Cases[0], test.Cases[1]
	if one.Name != "one" || one.Parameters["day"].Value != "2024-01-31" || one.Parameters["n"].Value != int64(5) || one.Parameters["none"].Value != nil ||
		one.Customer.Text != "7" || !reflect.DeepEqual(one.Secrets, map[string]string{"token": "t"}) || !reflect.DeepEqual(one.Env, map[string]string{"A": "b"}) ||
		len(one.Columns) != 1 || one.Columns[0].Type != (ColumnType{Name: "timestamp", Fraction: 3}) || one.Columns[0].Nullable ||
		len(one.Rows) != 2 || one.Rows[0].Get("id").Text != "0.10000000000000000000000000000000001" || one.RowsAt.Line != 11 ||
		one.Expect.Rows == nil || len(one.Expect.Rows) != 0 || one.At.Line != 5 {
		t.Errorf("%+v", one)
	}
	if two.Columns != nil || two.Rows != nil || two.RowsFile.Text != "rows.csv" || two.Expect.Output.Text != "x\r\n" || two.Expect.Rows != nil {
		t.Errorf("%+v", two)
	}
}

func TestColumnTypes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"timestamp": "timestamp", "timestamp(0)": "timestamp", "timestamp(9)": "timestamp(9)", "time(06)": "time(6)", "time": "time",
		"decimal(5, 2)": "decimal(5,2)", "timestamp(10)": "", "time()": "", "timestamp(-1)": "", "date(3)": "", "decimal(5)": "",
	} {
		got, err := ParseColumnType(text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

// FuzzTest: whatever a file holds, reading it ends, and every diagnostic points into
// the file.
func FuzzTest(f *testing.F) {
	for _, pattern := range []string{"testdata/tests/*.yaml", "../../pipelines/tests/*.yaml", "../../examples/pipelines/*.test.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(content))
		}
	}
	f.Fuzz(func(t *testing.T, content string) {
		var diags diag.List
		root := parse("f.yaml", []byte(content), &diags)
		if root == nil {
			if !diags.HasErrors() {
				t.Fatal("neither a test nor an error")
			}
			return
		}
		test := readTest("f.yaml", root, &diags)
		lines := diag.Lines([]byte(strings.TrimPrefix(content, "\ufeff")))
		for _, d := range diags {
			if d.Line > len(lines) || d.Line > 0 && d.Column > len([]rune(lines[d.Line-1]))+1 {
				t.Fatalf("%+v points outside of %d lines", d, len(lines))
			}
		}
		if diags.HasErrors() {
			return
		}
		if test.Pipeline == nil || len(test.Cases) == 0 {
			t.Fatalf("accepted without a pipeline or a case: %+v", test)
		}
		for _, c := range test.Cases {
			given := 0
			for _, set := range []bool{c.Expect.Output != nil, c.Expect.OutputFile != nil, c.Expect.Rows != nil, c.Expect.Error != nil} {
				if set {
					given++
				}
			}
			if given != 1 || (c.Rows == nil) == (c.RowsFile == nil) {
				t.Fatalf("accepted: %+v", c)
			}
		}
	})
}
