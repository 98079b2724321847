package columns

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/plugins/ndjson"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// column returns a batch of one column x: NULL, the value, NULL.
func column(t *testing.T, mem memory.Allocator, typeName, text string) arrow.Record {
	t.Helper()
	f, err := parse.Retype(arrow.Field{Name: "x", Nullable: true}, typeName)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := parse.NewColumn(mem, f)
	defer c.Release()
	c.AppendNull()
	if status := c.Append([]byte(text)); status != parse.OK {
		t.Fatalf("%q is no %s", text, typeName)
	}
	c.AppendNull()
	a := c.NewArray()
	defer a.Release()
	return array.NewRecord(arrow.NewSchema([]arrow.Field{f}, nil), []arrow.Array{a}, 3)
}

func apply(t *testing.T, mem memory.Allocator, settings string, in arrow.Record) (arrow.Record, error) {
	t.Helper()
	made, err := Stage().Make([]byte(settings), sdk.Env{Memory: mem})
	if err != nil {
		return nil, err
	}
	filter := made.(sdk.Filter)
	schema, err := filter.Bind(in.Schema())
	if err != nil {
		return nil, err
	}
	out, err := filter.Apply(context.Background(), in)
	if err == nil && !out.Schema().Equal(schema) {
		t.Errorf("the batch has another schema than announced: %s", out.Schema())
	}
	return out, err
}

func TestCast(t *testing.T) {
	t.Parallel()
	const inexact, malformed, none = "inexact", "malformed", "none"
	for _, c := range []struct{ from, value, to, want string }{
		{"int64", "-5", "string", `"-5"`}, {"int64", "127", "int8", "127"}, {"int64", "128", "int8", inexact}, {"int8", "-1", "uint64", inexact},
		{"uint64", "18446744073709551615", "int64", inexact}, {"uint64", "18446744073709551615", "decimal(20,0)", `"18446744073709551615"`},
		{"uint64", "18446744073709551615", "decimal(21,2)", inexact}, {"int32", "7", "decimal(5,2)", `"7.00"`}, {"int32", "1000", "decimal(5,2)", inexact},
		{"int64", "9007199254740992", "float64", "9007199254740992"}, {"int64", "9007199254740993", "float64", inexact}, {"int32", "16777217", "float32", inexact},
		{"uint64", "18446744073709551615", "float64", inexact}, {"uint64", "9223372036854775808", "float64", "9223372036854776000"},
		{"int64", "9223372036854775807", "float64", inexact}, {"int64", "-9223372036854775808", "float64", "-9223372036854776000"},
		{"int64", "1", "boolean", "true"}, {"int64", "2", "boolean", inexact}, {"boolean", "true", "int8", "1"}, {"boolean", "false", "string", `"false"`},
		{"int64", "1", "date", none}, {"int64", "1", "binary", none}, {"int64", "1", "json", none},
		{"float64", "12", "int8", "12"}, {"float64", "12.5", "int8", inexact}, {"float64", "NaN", "int8", inexact}, {"float64", "-Infinity", "int64", inexact},
		{"float64", "-3", "uint8", inexact}, {"float64", "1e20", "uint64", inexact}, {"float64", "9223372036854775808", "int64", inexact},
		{"float64", "9223372036854775808", "uint64", "9223372036854775808"}, {"float64", "18446744073709551616", "uint64", inexact},
		{"float64", "-9223372036854775808", "int64", "-9223372036854775808"}, {"float64", "-0", "int64", inexact},
		{"float64", "0.1", "float32", inexact}, {"float64", "0.5", "float32", "0.5"}, {"float32", "0.1", "float64", "0.10000000149011612"},
		{"float64", "0.1", "string", `"0.1"`}, {"float64", "0.1", "decimal(5,2)", none}, {"decimal(5,2)", "0.10", "float64", none},
		{"decimal(10,2)", "-12.00", "int8", "-12"}, {"decimal(10,2)", "12.01", "int8", inexact}, {"decimal(10,2)", "1200.00", "int8", inexact},
		{"decimal(10,2)", "-12.00", "uint8", inexact}, {"decimal(10,2)", "12.30", "decimal(5,1)", `"12.3"`}, {"decimal(10,2)", "12.34", "decimal(5,1)", inexact},
		{"decimal(65,30)", "1.5", "decimal(38,2)", `"1.50"`}, {"decimal(10,2)", "12.30", "string", `"12.30"`},
		{"string", "12.30", "decimal(10,2)", `"12.30"`}, {"string", "12.345", "decimal(10,2)", inexact}, {"string", "a secret", "decimal(10,2)", malformed},
		{"string", "12", "int8", "12"}, {"string", "12.0", "int8", malformed}, {"string", " 12", "int8", malformed}, {"string", "true", "boolean", "true"},
		{"string", "2024-02-29", "date", `"2024-02-29"`}, {"string", "2023-02-29", "date", malformed}, {"string", "2024-02-29 01:02:03.5", "timestamp(1)", `"2024-02-29 01:02:03.5"`},
		{"string", "-01:00:00", "time", `"-01:00:00"`}, {"string", `{"a": 1}`, "json", `"{\"a\": 1}"`}, {"string", `{"a"}`, "json", malformed},
		{"json", `{"a": 1}`, "string", `"{\"a\": 1}"`}, {"string", "é", "binary", `"w6k="`}, {"binary", "w6k=", "string", `"é"`}, {"binary", "/w==", "string", malformed},
		{"binary", "w6k=", "int8", none}, {"string", "0.5", "float32", "0.5"},
		{"timestamp", "2024-02-29 00:00:00", "date", `"2024-02-29"`}, {"timestamp(6)", "2024-02-29 00:00:00.000001", "date", inexact},
		{"timestamp(6)", "2024-02-29 00:00:00", "date", `"2024-02-29"`}, {"timestamp", "2024-02-29 12:00:00", "date", inexact},
		{"date", "2024-02-29", "timestamp(3)", `"2024-02-29 00:00:00.000"`}, {"timestamp(6)", "2024-02-29 12:00:00.5", "timestamp(1)", `"2024-02-29 12:00:00.5"`},
		{"timestamp(6)", "2024-02-29 12:00:00.55", "timestamp(1)", inexact}, {"time(6)", "-12:00:00", "time", `"-12:00:00"`}, {"timestamp", "2024-02-29 12:00:00", "int64", none},
		{"time", "12:00:00", "string", `"12:00:00"`}, {"date", "2024-02-29", "string", `"2024-02-29"`}, {"date", "2024-02-29", "time", none},
		{"int8", "1", "int9", none}, {"string", "x", "string", `"x"`},
	} {
		t.Run(c.from+" "+c.value+" "+c.to, func(t *testing.T) {
			t.Parallel()
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer allocator.AssertSize(t, 0)
			in := column(t, allocator, c.from, c.value)
			defer in.Release()
			out, err := apply(t, allocator, fmt.Sprintf(`{"cast": {"x": %q}}`, c.to), in)
			switch c.want {
			case none:
				if !fault.Is(err, "columns.cast") || !strings.Contains(err.Error(), `"x"`) {
					t.Errorf("got %v", err)
				}
				return
			case inexact, malformed:
				words := map[string]string{inexact: "exactly", malformed: "something"}[c.want]
				if !fault.Is(err, "columns.cast_value") || !strings.Contains(err.Error(), words) || rowOf(err) != 1 || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer out.Release()
			encoded, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: out})
			if want := "{\"x\":null}\n{\"x\":" + c.want + "}\n{\"x\":null}\n"; err != nil || string(encoded.Data) != want {
				t.Errorf("got %s (%v), want %s", encoded.Data, err, want)
			}
		})
	}
}

func TestCastWithOthers(t *testing.T) {
	t.Parallel()
	in := record(memory.DefaultAllocator, "a", "b", "a")
	defer in.Release()
	out, err := apply(t, memory.DefaultAllocator, `{"include": ["b", "a#2"], "rename": {"a#2": "c"}, "cast": {"a#2": "string"}}`, in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if f := out.Schema().Field(1); f.Name != "c" || f.Type.ID() != arrow.STRING || out.Column(1).ValueStr(1) != "102" || out.Schema().Field(0).Type.ID() != arrow.INT64 {
		t.Errorf("got %s", out)
	}
	if source, _ := out.Schema().Field(1).Metadata.GetValue(sdk.MetaSourceType); source != "bigint" {
		t.Errorf("the source's type is %q", source)
	}
	for settings, code := range map[string]string{
		`{"cast": {"nothing": "int8"}}`: "columns.unknown", `{"cast": {"a": "int8"}}`: "columns.ambiguous", `{"exclude": ["b"], "cast": {"b": "int8"}}`: "columns.dropped",
	} {
		if _, err := apply(t, memory.DefaultAllocator, settings, in); !fault.Is(err, code) {
			t.Errorf("%s: got %v, want %s", settings, err, code)
		}
	}
}

func TestCastOfNothing(t *testing.T) {
	t.Parallel()
	in := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.Null, Nullable: true}}, nil), []arrow.Array{array.NewNull(2)}, 2)
	out, err := apply(t, memory.DefaultAllocator, `{"cast": {"x": "decimal(5,2)"}}`, in)
	if err != nil || out.Column(0).NullN() != 2 || out.Column(0).DataType().ID() != arrow.DECIMAL128 {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestCastIsReversible takes every column of a table to text and back.
func TestCastIsReversible(t *testing.T) {
	t.Parallel()
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer allocator.AssertSize(t, 0)
	in := sample.Appointments(500, 9)
	defer in.Release()
	to, back := map[string]string{}, map[string]string{}
	for _, f := range in.Schema().Fields() {
		to[f.Name] = "string"
		back[f.Name] = map[arrow.Type]string{arrow.INT64: "int64", arrow.INT32: "int32", arrow.INT8: "int8", arrow.STRING: "string",
			arrow.DATE32: "date", arrow.TIMESTAMP: "timestamp", arrow.DECIMAL128: "decimal(10,2)"}[f.Type.ID()]
	}
	sliced := in.NewSlice(13, 487) // offsets that no byte ends at
	defer sliced.Release()
	settings := func(cast map[string]string) string {
		b, _ := json.Marshal(map[string]any{"cast": cast})
		return string(b)
	}
	text, err := apply(t, allocator, settings(to), sliced)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Release()
	again, err := apply(t, allocator, settings(back), text)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	var encoded []string
	for _, r := range []arrow.Record{sliced, again} {
		out, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: r})
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, string(out.Data))
	}
	if encoded[0] != encoded[1] {
		t.Error("the rows changed on the way to text and back")
	}
}

func TestCastConcurrently(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(300, 2)
	defer in.Release()
	made, err := Stage().Make([]byte(`{"cast": {"amount": "string", "start_time": "timestamp(3)", "duration": "float64"}}`), sdk.Env{Memory: memory.DefaultAllocator})
	if err != nil {
		t.Fatal(err)
	}
	filter := made.(sdk.Filter)
	if _, err := filter.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	want, err := filter.Apply(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 10 {
				got, err := filter.Apply(context.Background(), in)
				if err != nil || !array.RecordEqual(got, want) {
					t.Errorf("another result than alone (%v)", err)
					return
				}
				got.Release()
			}
		})
	}
	group.Wait()
}

func BenchmarkCast(b *testing.B) {
	in := sample.Appointments(8192, 1)
	defer in.Release()
	for name, settings := range map[string]string{
		"int64 to string": `{"include": ["patient_id"], "cast": {"patient_id": "string"}}`, "int64 to int32": `{"include": ["patient_id"], "cast": {"patient_id": "int32"}}`,
		"decimal": `{"include": ["amount"], "cast": {"amount": "decimal(20,4)"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			made, err := Stage().Make([]byte(settings), sdk.Env{Memory: memory.DefaultAllocator})
			if err != nil {
				b.Fatal(err)
			}
			filter := made.(sdk.Filter)
			if _, err := filter.Bind(in.Schema()); err != nil {
				b.Fatal(err)
			}
			meter := sample.NewMeter(b)
			for b.Loop() {
				out, err := filter.Apply(context.Background(), in)
				if err != nil {
					b.Fatal(err)
				}
				out.Release()
				meter.Rows += in.NumRows()
				meter.Size += in.NumRows() * 8
			}
			meter.Report()
		})
	}
}

// rowOf is the row of the batch that a fault is about, from 0, or -1.
func rowOf(err error) int64 {
	row, _ := fault.From(err).Row()
	return row
}
