package csvfile

import (
	"bytes"
	"compress/gzip"
	"context"
	stdcsv "encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/klauspost/compress/zstd"

	"github.com/cipherstream/cipherstream/plugins/csv"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/internal/textfile"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// settings returns settings in JSON: those given, and the path.
func settings(path, more string) []byte {
	if more != "" {
		more = ", " + more
	}
	quoted, _ := json.Marshal(path)
	return fmt.Appendf(nil, `{"path": %s%s}`, quoted, more)
}

// read runs the source to its end. The caller releases the batches.
func read(settings []byte, env sdk.Env) (schema *arrow.Schema, batches []arrow.Record, err error) {
	made, err := Stage().Make(settings, env)
	if err != nil {
		return nil, nil, err
	}
	source := made.(sdk.Source)
	defer func() { err = errors.Join(err, source.Close()) }()
	if schema, err = source.Open(context.Background()); err != nil {
		return nil, nil, err
	}
	for {
		record, err := source.Next(context.Background())
		if err == io.EOF {
			_, again := source.Next(context.Background())
			if again != io.EOF {
				return schema, batches, fmt.Errorf("after the end came %v", again)
			}
			return schema, batches, nil
		}
		if err != nil {
			return schema, batches, err
		}
		batches = append(batches, record)
	}
}

// rows shows the values of all batches, NULL as <null>.
func rows(batches []arrow.Record) [][]string {
	var out [][]string
	for _, b := range batches {
		for row := range int(b.NumRows()) {
			var values []string
			for _, c := range b.Columns() {
				if c.IsNull(row) {
					values = append(values, "<null>")
				} else {
					values = append(values, c.ValueStr(row))
				}
			}
			out = append(out, values)
		}
		b.Release()
	}
	return out
}

func columns(types ...string) string {
	var out []string
	for i, t := range types {
		out = append(out, fmt.Sprintf(`{"name": "c%d", "type": %q}`, i, t))
	}
	return `"columns": [` + strings.Join(out, ", ") + `]`
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, data, settings string
		want                 [][]string
	}{
		{"null and empty", "a,b\r\n,\"\"\r\n\"\",\r\n", "", [][]string{{"<null>", ""}, {"", "<null>"}}},
		{"LF, and none at the end", "a,b\n1,2\n3,4", "", [][]string{{"1", "2"}, {"3", "4"}}},
		{"ends in a separator", "a,b\n1,", "", [][]string{{"1", "<null>"}}},
		{"quotes", "a,b\n\"x,\"\"y\"\"\",\"\"\"\"\n\"line\r\nbreak\",\"é\"\n", "", [][]string{{`x,"y"`, `"`}, {"line\r\nbreak", "é"}}},
		{"quoted at the end", "a,b\n1,\"2\"", "", [][]string{{"1", "2"}}},
		{"byte order mark", "\ufeffa\nx\n", "", [][]string{{"x"}}},
		{"semicolon", "a;b\n1,5;2\n", `"delimiter": "semicolon"`, [][]string{{"1,5", "2"}}},
		{"tab", "a\tb\n1\t\n", `"delimiter": "tab"`, [][]string{{"1", "<null>"}}},
		{"no rows", "a,b\r\n", "", nil},
		{"no rows, no line end", "a,b", "", nil},
		{"no header", "1,x\n", `"header": false, ` + columns("int8", "string"), [][]string{{"1", "x"}}},
		{"empty without header", "", `"header": false, ` + columns("int8"), nil},
		{"declared in another order", "c1,c0\nx,1\n", columns("int8", "string"), [][]string{{"1", "x"}}},
		{"one column", "c0\n\"\"\n5\n\n7\n", columns("int8"), [][]string{{"<null>"}, {"5"}, {"<null>"}, {"7"}}},
		{"one text column", "c0\n\"\"\n\nx\n", columns("string"), [][]string{{""}, {"<null>"}, {"x"}}},
		{"two of a name", "a,a\n1,2\n", "", [][]string{{"1", "2"}}},
		{"NUL", "a\nx\x00y\n", "", [][]string{{"x\x00y"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer allocator.AssertSize(t, 0)
			_, batches, err := read(settings(write(t, "x.csv", []byte(c.data)), c.settings), sdk.Env{Memory: allocator})
			if err != nil {
				t.Fatal(err)
			}
			if got := rows(batches); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	typed := columns("int8", "decimal(5,2)", "string")
	for _, c := range []struct {
		name, data, settings, code string
		texts                      []string
	}{
		{"too few fields", "a,b\n1,2\n3\n", "", "file.malformed", []string{"line 3", "row 2:", "1 fields; expected 2"}},
		{"too many fields", "a,b\n\"x\ny\",2\n1,2,3\n", "", "file.malformed", []string{"line 4", "row 2:", "3 fields"}},
		{"blank line", "a,b\n1,2\n\n", "", "file.malformed", []string{"line 3", "blank"}},
		{"bare quote", "a,b\nx\"y,2\n", "", "file.malformed", []string{"line 2", "quote"}},
		{"after a quote", "a,b\n\"x\"y,2\n", "", "file.malformed", []string{"line 2", "follows the quote"}},
		{"open quote", "a,b\n1,2\n3,\"x\ny\n", "", "file.malformed", []string{"line 3", "never closed"}},
		{"carriage return", "a,b\n1\r,2\n", "", "file.malformed", []string{"line 2", "carriage return"}},
		{"carriage return at the end", "a,b\n1,2\r", "", "file.malformed", []string{"line 2", "carriage return"}},
		{"empty", "", "", "file.header", []string{"empty"}},
		{"broken header", "a,\"b\n", "", "file.header", []string{"line 1", "never closed"}},
		{"lacks", "c0,c1\n", typed, "file.header", []string{`lacks the column "c2"`}},
		{"undeclared", "c0,c1,c2,C3\n", typed, "file.header", []string{`"C3", which is not declared`}},
		{"twice", "c0,c1,c2,c2\n", typed, "file.header", []string{`two columns "c2"`}},
		{"value", "c0,c1,c2\n1,1.5,x\n1,secret,x\n", typed, "file.value", []string{"line 3", "row 2:", `"c1" holds something that is no decimal(5,2)`}},
		{"range", "c0,c1,c2\n128,1.5,x\n", typed, "file.value", []string{`"c0"`, "int8 cannot hold exactly"}},
		{"digits", "c0,c1,c2\n1,1.555,x\n", typed, "file.value", []string{`"c1"`, "exactly"}},
		{"utf-8", "c0,c1,c2\n1,1.5,\xff\n", typed, "file.invalid_utf8", []string{`"c2"`, "line 2"}},
		{"null", "c\n\"\"\n", `"columns": [{"name": "c", "type": "int8", "nullable": false}]`, "file.null", []string{`"c"`, "line 2"}},
		{"no names", "x\n", `"header": false`, "file.columns", nil},
		{"types", "x\n", columns("int9", "nothing"), "file.columns", []string{`did you mean "int8"`, `"nothing"`}},
		{"same names", "x\n", `"columns": [{"name": "c", "type": "int8"}, {"name": "c", "type": "int8"}]`, "file.columns", []string{`"c"`}},
		{"too long", "a\n" + strings.Repeat("x", 600_000) + "\n", `"max_record": 1024`, "file.record_too_large", []string{"1KiB"}},
		{"not gzip", "a_header_of_some_length\n1\n", `"compression": "gzip"`, "file.corrupt", nil},
		{"not zstd", "a_header_of_some_length\n1\n", `"compression": "zstd"`, "file.corrupt", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer allocator.AssertSize(t, 0)
			_, batches, err := read(settings(write(t, "x.csv", []byte(c.data)), c.settings), sdk.Env{Memory: allocator})
			rows(batches)
			if !fault.Is(err, c.code) {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			for _, text := range c.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%s is not in %q", text, err)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the value is in %q", err)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, code := range map[string]string{
		"x.csv": "file.relative_path", filepath.Join(dir, "missing"): "file.not_found", dir: "file.not_a_file", "/dev/null": "file.not_a_file",
	} {
		if _, _, err := read(settings(path, ""), sdk.Env{Memory: memory.DefaultAllocator}); !fault.Is(err, code) {
			t.Errorf("%s: got %v, want %s", path, err, code)
		}
	}
}

// typeNames are the types that read what the encoders write of sample.Everything.
func typeNames(record arrow.Record) []textfile.Column {
	other := map[string]string{
		"bool": "boolean", "decimal_10_2": "decimal(10,2)", "decimal_38_4": "decimal(38,4)", "decimal_38_0": "decimal(38,0)", "decimal_65_30": "decimal(65,30)",
		"date32": "date", "date64": "date", "datetime": "timestamp", "datetime_3": "timestamp(3)", "timestamp_s": "timestamp",
		"timestamp_ms": "timestamp(3)", "timestamp_us": "timestamp(6)", "timestamp_ns": "timestamp(9)", "time32": "time", "time64": "time(9)",
		"duration": "time(6)", "duration_s": "time", "utf8": "string", "large_utf8": "string", "large_binary": "binary", "fixed_binary": "binary", "null": "string",
	}
	var out []textfile.Column
	for _, f := range record.Schema().Fields() {
		name := f.Name
		if t := other[name]; t != "" {
			name = t
		}
		out = append(out, textfile.Column{Name: f.Name, Type: name})
	}
	return out
}

// TestRoundTrip reads what the encoder wrote, and encodes it again.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	record := sample.Everything()
	defer record.Release()
	for _, delimiter := range []string{"comma", "tab"} {
		options := fmt.Sprintf(`{"delimiter": %q}`, delimiter)
		first, err := sample.Encode(sample.NewEncoder(t, csv.Stage(), options, sdk.Env{}), sdk.Rows{Record: record})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, c := range typeNames(record) {
			list = append(list, fmt.Sprintf(`{"name": %q, "type": %q}`, c.Name, c.Type))
		}
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		z.Write(first.Data[:100])
		z.Close()
		z.Reset(&zipped) // a file of two members
		z.Write(first.Data[100:])
		z.Close()
		zw, _ := zstd.NewWriter(nil)
		for name, data := range map[string][]byte{"x.csv": first.Data, "x.csv.gz": zipped.Bytes(), "x.zst": zw.EncodeAll(first.Data, nil)} {
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			schema, batches, err := read(settings(write(t, name, data), `"columns": [`+strings.Join(list, ", ")+`], "delimiter": "`+delimiter+`"`),
				sdk.Env{Memory: allocator, BatchRows: 3})
			if err != nil {
				t.Fatal(err)
			}
			if len(batches) != 2 || batches[0].NumRows() != 3 || !batches[0].Schema().Equal(schema) {
				t.Errorf("%s: %d batches", name, len(batches))
			}
			var parts []sdk.Rows
			for _, b := range batches {
				parts = append(parts, sdk.Rows{Record: b})
			}
			second, err := sample.Encode(sample.NewEncoder(t, csv.Stage(), options, sdk.Env{}), parts...)
			if err != nil || !bytes.Equal(first.Data, second.Data) {
				t.Errorf("%s (%v): encoded again it is\n%s\ninstead of\n%s", name, err, second.Data, first.Data)
			}
			rows(batches)
			allocator.AssertSize(t, 0)
		}
		// A cut file must not look like a short one.
		cut := write(t, "cut.csv.gz", zipped.Bytes()[:zipped.Len()-20])
		_, batches, err := read(settings(cut, ""), sdk.Env{Memory: memory.DefaultAllocator})
		rows(batches)
		if !fault.Is(err, "file.truncated") {
			t.Errorf("a cut file: %v", err)
		}
	}
}

// TestWindow puts line ends, quotes and separators at every place of the window's edge.
func TestWindow(t *testing.T) {
	t.Parallel()
	tail := "\"q\"\"uote\r\n\",\"x\"\r\n,\r\n\"\",y\r\n"
	for pad := 256<<10 - 40; pad < 256<<10+2; pad++ {
		data := "a,b\r\n" + strings.Repeat("p", pad) + ",1\r\n" + tail
		_, batches, err := read(settings(write(t, "x.csv", []byte(data)), ""), sdk.Env{Memory: memory.DefaultAllocator})
		if err != nil {
			t.Fatal(pad, err)
		}
		got := rows(batches)
		want := [][]string{{"q\"uote\r\n", "x"}, {"<null>", "<null>"}, {"", "y"}}
		if len(got) != 4 || len(got[0][0]) != pad || !slices.EqualFunc(got[1:], want, slices.Equal) {
			t.Fatalf("%d: got %q", pad, got[1:])
		}
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	path := write(t, "x.csv", []byte("a\n"+strings.Repeat("value\n", 200_000)))
	made, err := Stage().Make(settings(path, ""), sdk.Env{Memory: memory.DefaultAllocator})
	if err != nil {
		t.Fatal(err)
	}
	source := made.(sdk.Source)
	defer source.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	if _, err := source.Open(ctx); err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	cancel(why)
	for {
		record, err := source.Next(ctx)
		if err != nil {
			if err != why {
				t.Errorf("got %v", err)
			}
			return
		}
		record.Release()
	}
}

// FuzzRecords holds the reader against encoding/csv. That one skips blank lines,
// makes LF of CRLF within quotes, takes quotes after white space differently, and
// a lone carriage return as text; the rest must be the same.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("a,b\r\n1,\"x\"\"y\"\r\n"), uint8(0))
	f.Add([]byte("a;b\n;\"\"\n\"\n\";\n"), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, option uint8) {
		delimiter := []string{"comma", "semicolon", "tab", "pipe"}[option%4]
		path := write(t, "x.csv", data)
		_, batches, err := read(settings(path, `"delimiter": "`+delimiter+`"`), sdk.Env{Memory: memory.DefaultAllocator})
		got := rows(batches)
		reader := stdcsv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
		reader.Comma = []rune(",;\t|")[option%4]
		want, wrong := reader.ReadAll()
		blank := strings.Contains("\n"+strings.ReplaceAll(string(data), "\r\n", "\n")+"x", "\n\n")
		if err != nil {
			var coded *fault.Fault
			if !errors.As(err, &coded) {
				t.Fatalf("an error without a code: %v", err)
			}
			if wrong == nil && coded.Code == "file.malformed" && bytes.IndexByte(data, '\r') < 0 && !blank {
				t.Fatalf("%q is refused: %v", data, err)
			}
			return
		}
		if wrong != nil {
			t.Fatalf("%q is taken, and is wrong: %v", data, wrong)
		}
		if blank {
			return
		}
		for i := range want {
			if i == 0 {
				continue
			}
			if i > len(got) {
				t.Fatalf("%q: %d rows, want %d", data, len(got), len(want)-1)
			}
			for j := range want[i] {
				value := strings.ReplaceAll(got[i-1][j], "\r\n", "\n")
				if value == "<null>" {
					value = ""
				}
				if value != want[i][j] && want[i][j] != "<null>" {
					t.Fatalf("%q: row %d is %q, want %q", data, i, got[i-1], want[i])
				}
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	record := sample.Appointments(20000, 1)
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(b, csv.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		b.Fatal(err)
	}
	var list []string
	for _, f := range record.Schema().Fields() {
		name := map[arrow.Type]string{arrow.STRING: "string", arrow.DATE32: "date", arrow.TIMESTAMP: "timestamp", arrow.DECIMAL128: "decimal(10,2)"}[f.Type.ID()]
		if name == "" {
			name = f.Type.Name()
		}
		list = append(list, fmt.Sprintf(`{"name": %q, "type": %q}`, f.Name, name))
	}
	for name, more := range map[string]string{"typed": `"columns": [` + strings.Join(list, ", ") + `]`, "text": ""} {
		b.Run(name, func(b *testing.B) {
			s := settings(write(b, "x.csv", out.Data), more)
			meter := sample.NewMeter(b)
			for b.Loop() {
				_, batches, err := read(s, sdk.Env{Memory: memory.DefaultAllocator})
				if err != nil {
					b.Fatal(err)
				}
				for _, batch := range batches {
					meter.Rows += batch.NumRows()
					batch.Release()
				}
				meter.Size += int64(len(out.Data))
			}
			meter.Report()
		})
	}
}
