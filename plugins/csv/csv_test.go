package csv

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func encode(t testing.TB, settings string, record arrow.Record) string {
	t.Helper()
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), settings, sdk.Env{Count: func(string, int64) {}}), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Ends) > 0 && out.Ends[len(out.Ends)-1] != len(out.Data) {
		t.Errorf("the last record ends at %d of %d", out.Ends[len(out.Ends)-1], len(out.Data))
	}
	return string(out.Data)
}

func TestGolden(t *testing.T) {
	record := sample.Everything()
	defer record.Release()
	sample.Golden(t, "everything.csv", []byte(encode(t, `{}`, record)))
}

// TestPython holds the file against Python's csv, and its fields against what
// Python makes of them.
func TestPython(t *testing.T) {
	record := sample.Everything()
	defer record.Release()
	got := sample.Oracle(t, `
import sys, csv, io, base64
text = sys.stdin.buffer.read().decode("utf-8")
rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
assert len(rows) == 4, len(rows)
assert all(v == "" for v in rows[3].values())
print(ascii(rows[2]["utf8"]))
print(ascii(rows[0]["large_utf8"]), rows[1]["large_utf8"], rows[2]["json"].count("\n"))
print(rows[2]["uint64"], rows[0]["decimal_10_2"], float(rows[1]["float64"]) == -sys.float_info.max)
print(base64.b64decode(rows[2]["binary"], validate=True).hex())
`, []byte(encode(t, `{}`, record)))
	want := `'quote " back \\ comma , line\r\n tab\t nul\x00 \xfcn\xef \u6f22 \U0001f600 \u2028 <&> \x7f'
' padded' =1+2 2
18446744073709551615 -0.05 True
fffefdfc
`
	if string(got) != want {
		t.Errorf("Python read\n%swant\n%s", got, want)
	}
}

// texts returns a batch of the text columns a and b, with values in pairs; "NULL" is null.
func texts(values ...string) arrow.Record {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String}, {Name: "b", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i, v := range values {
		if f := b.Field(i % 2).(*array.StringBuilder); v == "NULL" {
			f.AppendNull()
		} else {
			f.Append(v)
		}
	}
	return b.NewRecord()
}

func TestFields(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		values         []string
		want           string
	}{
		{"null and empty", `{}`, []string{"NULL", "", "", "NULL"}, "a,b\r\n,\"\"\r\n\"\",\r\n"},
		{"only where needed", `{}`, []string{"a;b|c\td'", "a,b", "x\ny", "x\ry", `say "hi"`, `"`},
			"a,b\r\na;b|c\td',\"a,b\"\r\n\"x\ny\",\"x\ry\"\r\n\"say \"\"hi\"\"\",\"\"\"\"\r\n"},
		{"spaces", `{}`, []string{" a", "a ", "a b", " "}, "a,b\r\n\" a\",\"a \"\r\na b,\" \"\r\n"},
		{"beyond ASCII", `{}`, []string{"Müller", "漢,字"}, "a,b\r\nMüller,\"漢,字\"\r\n"},
		{"semicolon", `{"delimiter": "semicolon"}`, []string{"a;b", "a,b"}, "a;b\r\n\"a;b\";a,b\r\n"},
		{"tab", `{"delimiter": "tab"}`, []string{"a\tb", "a,b"}, "a\tb\r\n\"a\tb\"\ta,b\r\n"},
		{"pipe", `{"delimiter": "pipe", "line_end": "lf"}`, []string{"a|b", "x"}, "a|b\n\"a|b\"|x\n"},
		{"no header", `{"header": false}`, []string{"1", "2"}, "1,2\r\n"},
		{"formulas stay", `{}`, []string{"=1", "-2"}, "a,b\r\n=1,-2\r\n"},
		{"guard", `{"formula_guard": true, "header": false}`, []string{"=1", "+1", "-1", "@a", "\ta", "\ra", `=a,"b"`, "a=1", "", "NULL"},
			"'=1,'+1\r\n'-1,'@a\r\n'\ta,\"'\ra\"\r\n\"'=a,\"\"b\"\"\",a=1\r\n\"\",\r\n"},
		{"replace", `{"invalid_utf8": "replace"}`, []string{"\xff,", "a\xc3"}, "a,b\r\n\"\ufffd,\",a\ufffd\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			record := texts(c.values...)
			defer record.Release()
			if got := encode(t, c.settings, record); got != c.want {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestGuardLeavesNumbers(t *testing.T) {
	b := array.NewInt8Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]int8{-5, 0}, []bool{true, false})
	column := b.NewArray()
	record := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "=n", Type: arrow.PrimitiveTypes.Int8}}, nil), []arrow.Array{column}, 2)
	// A null alone on its line is "" lest the line be empty.
	if got, want := encode(t, `{"formula_guard": true}`, record), "'=n\r\n-5\r\n\"\"\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInvalidUTF8(t *testing.T) {
	record := texts("ok", "ok", "ok", "bad\xff")
	defer record.Release()
	_, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if !fault.Is(err, "encoder.invalid_utf8") || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), "row 2") {
		t.Errorf("got %v", err)
	}
}

func TestDuplicateNames(t *testing.T) {
	fields := []arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String}, {Name: "id", Type: arrow.BinaryTypes.String}}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	record := b.NewRecord()
	defer record.Release()
	if got := encode(t, `{}`, record); got != "id,id\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestAllocations(t *testing.T) {
	record := sample.Appointments(2000, 5)
	defer record.Release()
	e := sample.NewEncoder(t, Stage(), `{}`, sdk.Env{})
	out, err := sample.Encode(e, sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	allocations := testing.AllocsPerRun(20, func() {
		out.Reset()
		if err := e.Encode(context.Background(), sdk.Rows{Record: record}, &out); err != nil {
			t.Error(err)
		}
	})
	// A constant few for a batch, none for a row.
	if allocations > 2 {
		t.Errorf("%.0f allocations for a batch", allocations)
	}
}

// FuzzFields reads what was written with encoding/csv, which drops the CR of a
// CRLF inside quotes; so only LF line ends are compared whole.
func FuzzFields(f *testing.F) {
	f.Add("a", "b", uint8(0))
	f.Add(" =\"x\",\n", "\r;|\t漢 ", uint8(5))
	f.Fuzz(func(t *testing.T, a, b string, options uint8) {
		if a == "NULL" || b == "NULL" {
			return
		}
		record := texts(a, b, b, a)
		defer record.Release()
		delimiters := []string{"comma", "semicolon", "tab", "pipe"}
		settings := fmt.Sprintf(`{"delimiter": %q, "line_end": "lf", "invalid_utf8": "replace"}`, delimiters[options%4])
		reader := csv.NewReader(bytes.NewReader([]byte(encode(t, settings, record))))
		reader.Comma = []rune(",;\t|")[options%4]
		rows, err := reader.ReadAll()
		if err != nil || len(rows) != 3 {
			t.Fatalf("%q, %q: %d rows, %v", a, b, len(rows), err)
		}
		clean := func(s string) string { return strings.ReplaceAll(string([]rune(s)), "\r\n", "\n") }
		if rows[1][0] != clean(a) || rows[1][1] != clean(b) || rows[2][0] != clean(b) || rows[2][1] != clean(a) {
			t.Errorf("%q, %q read back as %q", a, b, rows)
		}
	})
}
