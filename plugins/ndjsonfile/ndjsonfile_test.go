package ndjsonfile

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
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

// settings returns settings in JSON, with columns as pairs of name and type.
func settings(path, more string, columns ...string) []byte {
	var list []map[string]string
	for i := 0; i < len(columns); i += 2 {
		list = append(list, map[string]string{"name": columns[i], "type": columns[i+1]})
	}
	quoted, _ := json.Marshal(map[string]any{"path": path, "columns": list})
	if more != "" {
		quoted = append(quoted[:len(quoted)-1], ", "+more+"}"...)
	}
	return quoted
}

// read runs the source to its end. The caller releases the batches.
func read(settings []byte, env sdk.Env) (batches []arrow.Record, err error) {
	made, err := Stage().Make(settings, env)
	if err != nil {
		return nil, err
	}
	source := made.(sdk.Source)
	defer func() { err = errors.Join(err, source.Close()) }()
	if _, err = source.Open(context.Background()); err != nil {
		return nil, err
	}
	for {
		record, err := source.Next(context.Background())
		if err == io.EOF {
			return batches, nil
		}
		if err != nil {
			return batches, err
		}
		batches = append(batches, record)
	}
}

// rows shows the values of all batches, NULL as <null>, and releases them.
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

func TestValues(t *testing.T) {
	t.Parallel()
	columns := []string{"n", "int64", "d", "decimal(20,4)", "s", "string", "b", "boolean", "f", "float64"}
	for _, c := range []struct {
		name, data string
		want       [][]string
	}{
		{"in order", `{"n":9007199254740993,"d":"148.5","s":"x","b":true,"f":1e3}`, [][]string{{"9007199254740993", "148.5", "x", "true", "1000"}}},
		{"in another order", `{"s":"x","n":-1,"f":0.5,"b":false,"d":12.5}`, [][]string{{"-1", "12.5", "x", "false", "0.5"}}},
		{"missing and null", `{"s":null}` + "\r\n{}\n", [][]string{{"<null>", "<null>", "<null>", "<null>", "<null>"}, {"<null>", "<null>", "<null>", "<null>", "<null>"}}},
		{"spaces", " { \"n\" : 1 , \"s\"\t:\"\" } \r\n", [][]string{{"1", "<null>", "", "<null>", "<null>"}}},
		{"escapes", `{"\u0073":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"}`, [][]string{{"<null>", "<null>", "\"\\/\b\f\n\r\té😀é", "<null>", "<null>"}}},
		{"byte order mark", "\ufeff{\"n\":0}", [][]string{{"0", "<null>", "<null>", "<null>", "<null>"}}},
		{"empty", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer allocator.AssertSize(t, 0)
			batches, err := read(settings(write(t, "x", []byte(c.data)), "", columns...), sdk.Env{Memory: allocator})
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
	columns := []string{"n", "int8", "d", "decimal(5,2)", "s", "string", "b", "boolean", "j", "json"}
	for _, c := range []struct {
		name, data, code string
		texts            []string
	}{
		{"unknown", `{"n":1}` + "\n" + `{"m":1}`, "file.unknown_column", []string{"line 2", "row 2:", "byte 2", `did you mean "n"`}},
		{"twice", `{"n":1,"n":1}`, "file.malformed", []string{`"n" comes twice`}},
		{"twice by an escape", `{"n":1,"\u006e":1}`, "file.malformed", []string{`"n" comes twice`}},
		{"blank", "{}\n\n{}", "file.malformed", []string{"line 2", "blank"}},
		{"array", "[]", "file.malformed", []string{"expected a JSON object"}},
		{"two objects", "{}{}", "file.malformed", []string{"byte 3", "follows"}},
		{"cut", `{"n":1`, "file.malformed", []string{"end of the object"}},
		{"trailing comma", `{"n":1,}`, "file.malformed", []string{"byte 8", "key"}},
		{"number in quotes", `{"n":"1"}`, "file.malformed", []string{`"n" takes a number`}},
		{"fraction", `{"n":1.0}`, "file.value", []string{`"n" holds something that is no int8`}},
		{"range", `{"n":128}`, "file.value", []string{"exactly"}},
		{"leading zero", `{"n":01}`, "file.malformed", []string{"zero"}},
		{"plus", `{"n":+1}`, "file.malformed", []string{`"n"`}},
		{"point", `{"d":1.}`, "file.malformed", []string{"point"}},
		{"exponent of a decimal", `{"d":1e2}`, "file.value", []string{`"d"`}},
		{"digits", `{"d":"1.234"}`, "file.value", []string{"exactly"}},
		{"text for a boolean", `{"b":"true"}`, "file.malformed", []string{"true or false"}},
		{"number for text", `{"s":5}`, "file.malformed", []string{`"s" takes a string`}},
		{"document", `{"j":{}}`, "file.malformed", []string{`"j" takes a string`}},
		{"UTF-8", "{\"s\":\"\xff\"}", "file.malformed", []string{"UTF-8"}},
		{"UTF-8 after an escape", "{\"s\":\"\\n\xff\"}", "file.malformed", []string{"UTF-8"}},
		{"control", "{\"s\":\"\t\"}", "file.malformed", []string{"control"}},
		{"surrogate", `{"s":"\ud83d"}`, "file.malformed", []string{"byte 7", "character"}},
		{"surrogates", `{"s":"\ud83d\ud83d"}`, "file.malformed", []string{"character"}},
		{"escape", `{"s":"\x"}`, "file.malformed", []string{"no such escape"}},
		{"open", `{"s":"x`, "file.malformed", []string{"not closed"}},
		{"open escape", `{"s":"x\`, "file.malformed", []string{"not closed"}},
		{"too long", `{"s":"` + strings.Repeat("x", 600_000) + `"}`, "file.record_too_large", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer allocator.AssertSize(t, 0)
			batches, err := read(settings(write(t, "x", []byte(c.data)), `"max_record": 1024`, columns...), sdk.Env{Memory: allocator})
			rows(batches)
			if !fault.Is(err, c.code) {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			for _, text := range c.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%s is not in %q", text, err)
				}
			}
		})
	}
	t.Run("null", func(t *testing.T) {
		t.Parallel()
		for _, data := range []string{`{"a":null}`, `{}`} {
			path := write(t, "x", []byte(data))
			s := fmt.Sprintf(`{"path": %q, "columns": [{"name": "a", "type": "int8", "nullable": false}]}`, path)
			if _, err := read([]byte(s), sdk.Env{Memory: memory.DefaultAllocator}); !fault.Is(err, "file.null") {
				t.Errorf("%s: got %v", data, err)
			}
		}
	})
	t.Run("no columns", func(t *testing.T) {
		t.Parallel()
		if _, err := Stage().Make([]byte(`{"path": "/x", "columns": []}`), sdk.Env{}); err == nil {
			t.Error("no columns are taken")
		}
	})
}

func TestEmbeddedDocuments(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 999) + strings.Repeat("]", 999)
	for _, c := range []struct {
		document, want string // want is empty for a fault
	}{
		{`{"a": [1, 2.50, null], "b":{}}`, `{"a": [1, 2.50, null], "b":{}}`}, {`"x\n"`, `"x\n"`}, {`[true,false , [ ]]`, `[true,false , [ ]]`}, {`-0.5e-7`, `-0.5e-7`},
		{deep, deep}, {"[[" + deep + "]]", ""}, {`{"a"}`, ""}, {`[1,]`, ""}, {`[1}`, ""}, {`tru`, ""}, {`{1:2}`, ""}, {``, ""},
	} {
		path := write(t, "x", []byte(`{"j":`+c.document+`}`))
		batches, err := read(settings(path, `"json_columns": "embed"`, "j", "json"), sdk.Env{Memory: memory.DefaultAllocator})
		if c.want == "" {
			if !fault.Is(err, "file.malformed") {
				t.Errorf("%s: got %v", c.document, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.document, err)
			continue
		}
		if got := rows(batches)[0][0]; got != c.want {
			t.Errorf("%s became %s", c.document, got)
		}
	}
}

// typeNames are the types that read what the encoders write of sample.Everything.
func typeNames(record arrow.Record) []string {
	other := map[string]string{
		"bool": "boolean", "decimal_10_2": "decimal(10,2)", "decimal_38_4": "decimal(38,4)", "decimal_38_0": "decimal(38,0)", "decimal_65_30": "decimal(65,30)",
		"date32": "date", "date64": "date", "datetime": "timestamp", "datetime_3": "timestamp(3)", "timestamp_s": "timestamp",
		"timestamp_ms": "timestamp(3)", "timestamp_us": "timestamp(6)", "timestamp_ns": "timestamp(9)", "time32": "time", "time64": "time(9)",
		"duration": "time(6)", "duration_s": "time", "utf8": "string", "large_utf8": "string", "large_binary": "binary", "fixed_binary": "binary", "null": "string",
	}
	var out []string
	for _, f := range record.Schema().Fields() {
		name := f.Name
		if t := other[name]; t != "" {
			name = t
		}
		out = append(out, f.Name, name)
	}
	return out
}

// TestRoundTrip reads what the encoder wrote, and encodes it again.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	record := sample.Everything()
	defer record.Release()
	for _, options := range []string{`"json_columns": "text"`, `"json_columns": "embed"`} {
		first, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), "{"+options+"}", sdk.Env{}), sdk.Rows{Record: record})
		if err != nil {
			t.Fatal(err)
		}
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		z.Write(first.Data)
		z.Close()
		for name, data := range map[string][]byte{"x.ndjson": first.Data, "x.ndjson.gz": zipped.Bytes()} {
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			batches, err := read(settings(write(t, name, data), options, typeNames(record)...), sdk.Env{Memory: allocator, BatchRows: 3})
			if err != nil {
				t.Fatal(err)
			}
			var parts []sdk.Rows
			for _, b := range batches {
				parts = append(parts, sdk.Rows{Record: b})
			}
			second, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), "{"+options+"}", sdk.Env{}), parts...)
			if err != nil || !bytes.Equal(first.Data, second.Data) {
				t.Errorf("%s (%v): encoded again it is\n%s\ninstead of\n%s", name, err, second.Data, first.Data)
			}
			rows(batches)
			allocator.AssertSize(t, 0)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	for _, pad := range []int{256<<10 - 12, 256<<10 - 10, 256<<10 - 9, 256<<10 - 8, 256 << 10, 1 << 20} {
		data := `{"s":"` + strings.Repeat("p", pad) + "\"}\n{\"s\":\"x\"}\n"
		batches, err := read(settings(write(t, "x", []byte(data)), "", "s", "string"), sdk.Env{Memory: memory.DefaultAllocator, BatchBytes: 1000})
		if err != nil {
			t.Fatal(pad, err)
		}
		if len(batches) != 2 {
			t.Errorf("%d batches, and one row was larger than a batch", len(batches))
		}
		if got := rows(batches); len(got) != 2 || len(got[0][0]) != pad || got[1][0] != "x" {
			t.Fatal(pad)
		}
	}
}

// FuzzObjects holds the reader against encoding/json, which replaces what is not
// valid UTF-8 or not a character, and keeps the last of equal keys; the rest must
// be the same.
func FuzzObjects(f *testing.F) {
	f.Add([]byte(`{"s":"a\u00e9\n","n":12,"j":{"a":[1,2]}}`))
	f.Add([]byte(` { "n" : -0 , "j":"\ud83d\ude00" } `))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.IndexByte(data, '\n') >= 0 {
			return
		}
		path := write(t, "x", data)
		batches, err := read(settings(path, `"json_columns": "embed"`, "s", "string", "n", "float64", "j", "json"), sdk.Env{Memory: memory.DefaultAllocator})
		defer func() {
			for _, b := range batches {
				b.Release()
			}
		}()
		data = bytes.TrimPrefix(data, []byte("\ufeff"))
		var want struct {
			S *string
			N *float64
			J json.RawMessage
		}
		wrong := json.Unmarshal(data, &want)
		if err != nil {
			var coded *fault.Fault
			if !errors.As(err, &coded) {
				t.Fatalf("an error without a code: %v", err)
			}
			if coded.Code != "file.malformed" || wrong != nil || !utf8.Valid(data) {
				return
			}
			if text := coded.Message; strings.Contains(text, "twice") || strings.Contains(text, "not a character") ||
				strings.Contains(text, "deeply") || strings.Contains(text, "object") {
				return
			}
			t.Fatalf("%q is refused: %v", data, err)
		}
		if len(data) == 0 {
			return
		}
		if wrong != nil {
			t.Fatalf("%q is taken, and is wrong: %v", data, wrong)
		}
		b := batches[0]
		if s := b.Column(0).(*array.String); s.IsNull(0) != (want.S == nil) || want.S != nil && s.Value(0) != *want.S {
			t.Fatalf("%q: s is %q", data, s)
		}
		if n := b.Column(1).(*array.Float64); n.IsNull(0) != (want.N == nil) || want.N != nil && n.Value(0) != *want.N {
			t.Fatalf("%q: n is %v", data, n)
		}
		if j := b.Column(2).(*array.String); !j.IsNull(0) && j.Value(0) != string(want.J) {
			t.Fatalf("%q: j is %q", data, j)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	record := sample.Appointments(20000, 1)
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(b, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		b.Fatal(err)
	}
	var columns []string
	for _, f := range record.Schema().Fields() {
		name := map[arrow.Type]string{arrow.STRING: "string", arrow.DATE32: "date", arrow.TIMESTAMP: "timestamp", arrow.DECIMAL128: "decimal(10,2)"}[f.Type.ID()]
		if name == "" {
			name = f.Type.Name()
		}
		columns = append(columns, f.Name, name)
	}
	s := settings(write(b, "x", out.Data), "", columns...)
	meter := sample.NewMeter(b)
	for b.Loop() {
		batches, err := read(s, sdk.Env{Memory: memory.DefaultAllocator})
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
}
