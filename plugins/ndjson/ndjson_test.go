package ndjson

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestGolden(t *testing.T) {
	record := sample.Everything()
	defer record.Release()
	for name, settings := range map[string]string{"text": `{}`, "embed": `{"json_columns": "embed"}`} {
		t.Run(name, func(t *testing.T) {
			out, err := sample.Encode(sample.NewEncoder(t, Stage(), settings, sdk.Env{}), sdk.Rows{Record: record})
			if err != nil {
				t.Fatal(err)
			}
			sample.Golden(t, name+".ndjson", out.Data)
			lines := bytes.SplitAfter(out.Data, []byte("\n"))
			if len(lines) != len(out.Ends)+1 {
				t.Fatalf("%d line feeds, %d records", len(lines)-1, len(out.Ends))
			}
			at := 0
			for i, end := range out.Ends {
				if at += len(lines[i]); at != end {
					t.Errorf("record %d ends at %d, its line at %d", i, end, at)
				}
			}
		})
	}
}

// TestPython reads the rows with an independent parser, which keeps decimals and
// 64-bit integers exact.
func TestPython(t *testing.T) {
	record := sample.Everything()
	defer record.Release()
	out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	got := sample.Oracle(t, `
import sys, json, base64
rows = [json.loads(line) for line in sys.stdin.buffer.read().decode("utf-8").split("\n") if line]
assert len(rows) == 4, len(rows)
assert all(v is None for v in rows[3].values())
print(rows[1]["uint64"], rows[2]["uint64"], rows[1]["int64"], rows[0]["uint64"])
print(rows[2]["decimal_65_30"], rows[0]["decimal_10_2"], rows[0]["decimal_38_4"])
print(rows[1]["float64"] == -sys.float_info.max, rows[2]["float64"] == 5e-324)
print(base64.b64decode(rows[2]["binary"], validate=True).hex(), base64.b64decode(rows[0]["fixed_binary"], validate=True).hex())
print(ascii(rows[2]["utf8"]))
print(ascii(json.loads(rows[2]["json"])))
`, out.Data)
	want := `0 18446744073709551615 -9223372036854775808 9007199254740993
` + strings.Repeat("9", 35) + "." + strings.Repeat("9", 30) + ` -0.05 148.4000
True True
fffefdfc 000000
'quote " back \\ comma , line\r\n tab\t nul\x00 \xfcn\xef \u6f22 \U0001f600 \u2028 <&> \x7f'
{'\xe4': 'x y'}
`
	if string(got) != want {
		t.Errorf("Python read\n%swant\n%s", got, want)
	}
}

func TestSlicedBatches(t *testing.T) {
	for _, record := range []arrow.Record{sample.Everything(), sample.Appointments(3000, 7)} {
		defer record.Release()
		whole, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
		if err != nil {
			t.Fatal(err)
		}
		var parts []sdk.Rows
		for from := int64(0); from < record.NumRows(); from += 3 {
			part := record.NewSlice(from, min(from+3, record.NumRows()))
			defer part.Release()
			parts = append(parts, sdk.Rows{Record: part}, sdk.Rows{Record: part.NewSlice(0, 0)})
		}
		pieces, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), parts...)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(whole.Data, pieces.Data) {
			t.Error("slices of a batch encode differently from the batch")
		}
	}
}

func TestInvalidUTF8(t *testing.T) {
	record := sample.Text("note", "good", "bad \xc3\x28 \xff", "ü")
	defer record.Release()
	e := sample.NewEncoder(t, Stage(), `{}`, sdk.Env{})
	if _, err := e.Bind(record.Schema()); err != nil {
		t.Fatal(err)
	}
	out := sdk.Output{Data: []byte("kept")}
	err := e.Encode(context.Background(), sdk.Rows{Record: record, First: 40}, &out)
	if !fault.Is(err, "encoder.invalid_utf8") || !strings.Contains(err.Error(), `"note"`) || !strings.Contains(err.Error(), "row 42") ||
		strings.Contains(err.Error(), "bad") {
		t.Errorf("got %v", err)
	}

	var counted int64
	e = sample.NewEncoder(t, Stage(), `{"invalid_utf8": "replace"}`, sdk.Env{Count: func(name string, n int64) {
		if name == "invalid_utf8" {
			counted += n
		}
	}})
	out, err = sample.Encode(e, sdk.Rows{Record: record})
	want := "{\"note\":\"good\"}\n{\"note\":\"bad \ufffd( \ufffd\"}\n{\"note\":\"ü\"}\n"
	if err != nil || string(out.Data) != want || counted != 1 {
		t.Errorf("got %s, counted %d, %v", out.Data, counted, err)
	}
}

func TestFaults(t *testing.T) {
	batch := func(t arrow.DataType, value string, names ...string) arrow.Record {
		var fields []arrow.Field
		for _, name := range names {
			fields = append(fields, arrow.Field{Name: name, Type: t, Metadata: arrow.NewMetadata(
				[]string{sdk.MetaJSON, sdk.MetaFraction}, []string{"true", "0"})})
		}
		b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
		defer b.Release()
		for _, f := range b.Fields() {
			if err := f.AppendValueFromString(value); err != nil {
				panic(err)
			}
		}
		return b.NewRecord()
	}
	for _, c := range []struct {
		name, settings, code string
		record               arrow.Record
	}{
		{"duplicate", `{}`, "encoder.duplicate_column", batch(arrow.BinaryTypes.String, "x", "id", "other", "id")},
		{"name", `{}`, "encoder.invalid_name", batch(arrow.BinaryTypes.String, "x", "\xff")},
		{"nan", `{}`, "encoder.not_a_number", batch(arrow.PrimitiveTypes.Float64, "NaN", "x")},
		{"infinity", `{}`, "encoder.not_a_number", batch(arrow.PrimitiveTypes.Float32, "-Inf", "x")},
		{"fraction", `{}`, "encoder.inexact_fraction", batch(arrow.FixedWidthTypes.Timestamp_us, "2024-01-01 00:00:00.5", "x")},
		{"no document", `{"json_columns": "embed"}`, "encoder.invalid_json", batch(arrow.BinaryTypes.String, "", "x")},
		{"two documents", `{"json_columns": "embed"}`, "encoder.invalid_json", batch(arrow.BinaryTypes.String, "1 2", "x")},
		{"bytes in a document", `{"json_columns": "embed"}`, "encoder.invalid_utf8", batch(arrow.BinaryTypes.String, "\"\xff\"", "x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer c.record.Release()
			_, err := sample.Encode(sample.NewEncoder(t, Stage(), c.settings, sdk.Env{}), sdk.Rows{Record: c.record})
			if !fault.Is(err, c.code) {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
	t.Run("schema", func(t *testing.T) {
		e := sample.NewEncoder(t, Stage(), `{}`, sdk.Env{})
		a, b := sample.Text("a", "x"), sample.Text("b", "x")
		if _, err := e.Bind(a.Schema()); err != nil {
			t.Fatal(err)
		}
		if err := e.Encode(context.Background(), sdk.Rows{Record: b}, &sdk.Output{}); !fault.Is(err, "encoder.schema_changed") {
			t.Errorf("got %v", err)
		}
	})
}

func TestNoColumnsAndLongNames(t *testing.T) {
	long := strings.Repeat("long name ", 20) + "\"ü\n"
	for _, c := range []struct {
		record arrow.Record
		want   string
	}{
		{array.NewRecord(arrow.NewSchema(nil, nil), nil, 2), "{}\n{}\n"},
		{sample.Text(long, "x"), "{\"" + strings.Repeat("long name ", 20) + "\\\"ü\\n\":\"x\"}\n"},
	} {
		out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: c.record})
		if err != nil || string(out.Data) != c.want {
			t.Errorf("got %s (%v), want %s", out.Data, err, c.want)
		}
	}
}

func TestConcurrent(t *testing.T) {
	record := sample.Appointments(500, 3)
	defer record.Release()
	e := sample.NewEncoder(t, Stage(), `{}`, sdk.Env{})
	want, err := sample.Encode(e, sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			var out sdk.Output
			for range 10 {
				out.Reset()
				if err := e.Encode(context.Background(), sdk.Rows{Record: record}, &out); err != nil || !bytes.Equal(out.Data, want.Data) {
					t.Errorf("another result than alone (%v)", err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestAllocations(t *testing.T) {
	for name, record := range map[string]arrow.Record{"appointments": sample.Appointments(2000, 5), "everything": sample.Everything()} {
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
			t.Errorf("%s: %.0f allocations for a batch", name, allocations)
		}
		record.Release()
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain", "key")
	f.Add("a\x00\"\\\n\xff漢", "k\"\u00e9")
	f.Fuzz(func(t *testing.T, value, key string) {
		record := sample.Text(key, value, "after")
		defer record.Release()
		out, err := sample.Encode(sample.NewEncoder(t, Stage(), `{"invalid_utf8": "replace"}`, sdk.Env{Count: func(string, int64) {}}), sdk.Rows{Record: record})
		if fault.Is(err, "encoder.invalid_name") {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSuffix(out.Data, []byte("\n")), []byte("\n"))
		if len(lines) != 2 {
			t.Fatalf("%d lines: %q", len(lines), out.Data)
		}
		var row map[string]string
		if err := json.Unmarshal(lines[0], &row); err != nil || row[key] != string([]rune(value)) {
			t.Errorf("%q reads back as %q (%v)", value, row, err)
		}
	})
}
