package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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

// field makes a field of a type that a contract can name, or of an Arrow type.
func field(t testing.TB, name string, of any) arrow.Field {
	t.Helper()
	f := arrow.Field{Name: name, Nullable: true}
	switch of := of.(type) {
	case arrow.DataType:
		f.Type = of
		return f
	case string:
		f, err := parse.Retype(f, of)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	t.Fatalf("%v is no type", of)
	return f
}

// batch makes a batch of one column from texts; "NULL" is NULL.
func batch(t testing.TB, mem memory.Allocator, f arrow.Field, texts ...string) arrow.Record {
	t.Helper()
	c, ok := parse.NewColumn(mem, f)
	if !ok {
		t.Fatalf("no column of type %s", f.Type)
	}
	defer c.Release()
	for _, text := range texts {
		if text == "NULL" {
			c.AppendNull()
		} else if status := c.Append([]byte(text)); status != parse.OK {
			t.Fatalf("%q is no %s", text, f.Type)
		}
	}
	a := c.NewArray()
	defer a.Release()
	return array.NewRecord(arrow.NewSchema([]arrow.Field{f}, nil), []arrow.Array{a}, int64(len(texts)))
}

// bench is a filter with what it says about a stream.
type bench struct {
	sdk.Filter
	log    bytes.Buffer
	mu     sync.Mutex
	counts map[string]int64
}

func (b *bench) count(name string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[name] += n
}

// newBench makes a filter for a contract of columns written as "name type" or
// "name type not null".
func newBench(t testing.TB, mem memory.Allocator, policy string, columns ...string) *bench {
	t.Helper()
	settings := map[string]any{"policy": policy}
	var list []map[string]any
	for _, c := range columns {
		parts := strings.SplitN(c, " ", 3)
		list = append(list, map[string]any{"name": parts[0], "type": parts[1], "nullable": len(parts) == 2})
	}
	settings["columns"] = list
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{counts: map[string]int64{}}
	log := slog.New(slog.NewTextHandler(&b.log, nil))
	made, err := Stage().Make(text, sdk.Env{Memory: mem, Log: log, Count: b.count})
	if err != nil {
		t.Fatal(err)
	}
	b.Filter = made.(sdk.Filter)
	return b
}

// written is what the encoder of lines makes of a batch.
func written(t testing.TB, r arrow.Record) string {
	t.Helper()
	out, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: r})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Data)
}

// TestTypes holds what a source delivers against what a contract says: "same" goes
// on as it is, "widened" becomes the contract's type and is written as before, and
// the rest is what the message says.
func TestTypes(t *testing.T) {
	t.Parallel()
	us := &arrow.TimestampType{Unit: arrow.Microsecond}
	utc := func(unit arrow.TimeUnit, zone string) arrow.DataType {
		return &arrow.TimestampType{Unit: unit, TimeZone: zone}
	}
	withFraction := func(f arrow.DataType, n string) arrow.Field {
		return arrow.Field{Name: "x", Type: f, Nullable: true, Metadata: arrow.NewMetadata([]string{sdk.MetaFraction}, []string{n})}
	}
	const same, widened = "same", "widened"
	wide := "-" + strings.Repeat("9", 60) + ".50"
	for _, c := range []struct {
		delivered any
		says      string
		want      string
		values    []string
	}{
		{"int64", "int64", same, []string{"-9223372036854775808"}},
		{"int8", "int16", widened, []string{"-128", "127"}},
		{"int8", "int32", widened, []string{"-128", "127"}},
		{"int8", "int64", widened, []string{"-128", "127"}},
		{"int16", "int32", widened, []string{"-32768", "32767"}},
		{"int16", "int64", widened, []string{"-32768", "32767"}},
		{"int32", "int64", widened, []string{"-2147483648", "2147483647"}},
		{"uint8", "int16", widened, []string{"255", "0"}},
		{"uint8", "uint16", widened, []string{"255"}},
		{"uint8", "uint32", widened, []string{"255"}},
		{"uint16", "int32", widened, []string{"65535"}},
		{"uint16", "uint32", widened, []string{"65535"}},
		{"uint32", "int64", widened, []string{"4294967295"}},
		{"uint32", "uint64", widened, []string{"4294967295"}},
		{"int64", "int32", holdsMore, nil},
		{"uint64", "int64", holdsMore, nil},
		{"uint32", "int32", holdsMore, nil},
		{"int8", "uint8", holdsMore, nil},
		{"int8", "uint64", holdsMore, nil},
		{"int64", "uint64", holdsMore, nil},
		{"int64", "decimal(19,0)", otherType, nil},
		{"decimal(10,0)", "int64", otherType, nil},
		{"int8", "boolean", otherType, nil},
		{"boolean", "int8", otherType, nil},
		{"boolean", "boolean", same, []string{"true"}},
		{"int32", "float64", otherType, nil},
		{"float32", "float64", otherDigits, nil},
		{"float64", "float32", holdsMore, nil},
		{"float64", "float64", same, []string{"-0.1"}},
		{"float64", "decimal(10,2)", otherType, nil},
		{"decimal(10,2)", "decimal(10,2)", same, []string{"-0.10"}},
		{"decimal(9,2)", "decimal(10,2)", widened, []string{"-1234567.89", "0.01"}},
		{"decimal(9,2)", "decimal(65,2)", widened, []string{"-1234567.89", "1234567.89"}},
		{"decimal(40,2)", "decimal(65,2)", widened, []string{"-99999999999999999999999999999999999999.99"}},
		{&arrow.Decimal256Type{Precision: 10, Scale: 2}, "decimal(10,2)", same, []string{"-12345678.90"}},
		{&arrow.Decimal256Type{Precision: 9, Scale: 2}, "decimal(10,2)", widened, []string{"-1234567.90"}},
		{"decimal(62,2)", "decimal(62,2)", same, []string{wide}},
		{"decimal(11,2)", "decimal(10,2)", holdsMore, nil},
		{"decimal(10,3)", "decimal(10,2)", holdsMore, nil},
		{"decimal(9,1)", "decimal(9,2)", holdsMore, nil},
		{"decimal(9,1)", "decimal(10,2)", otherDigits, nil},
		{"decimal(10,2)", "string", otherType, nil},
		{"date", "date", same, []string{"2024-02-29"}},
		{"date", "timestamp", otherType, nil},
		{"timestamp", "date", otherType, nil},
		{arrow.FixedWidthTypes.Date64, "date", otherType, nil},
		{"timestamp", "timestamp", same, []string{"2024-02-29 23:59:59"}},
		{withFraction(us, "0"), "timestamp", same, []string{"2024-02-29 23:59:59"}},
		{"timestamp(3)", "timestamp(3)", same, []string{"1969-12-31 23:59:59.999"}},
		{us, "timestamp(6)", same, []string{"1969-12-31 23:59:59.999999"}},
		{"timestamp", "timestamp(3)", otherDigits, nil},
		{"timestamp(1)", "timestamp(3)", otherDigits, nil},
		{utc(arrow.Second, "UTC"), "timestamp", widened, []string{"2024-02-29 23:59:59"}},
		{utc(arrow.Nanosecond, "+00:00"), "timestamp(9)", widened, []string{"2024-02-29 23:59:59.000000001"}},
		{utc(arrow.Second, "Australia/Nowhere"), "timestamp", otherZone, nil},
		{"time", "time", same, []string{"-838:59:59"}},
		{"time(2)", "time", holdsMore, nil},
		{"time", "time(6)", otherDigits, nil},
		{arrow.FixedWidthTypes.Time32s, "time", widened, []string{"23:59:59"}},
		{arrow.FixedWidthTypes.Time32ms, "time(3)", widened, []string{"23:59:59.999"}},
		{arrow.FixedWidthTypes.Time64us, "time(6)", widened, []string{"00:00:00.000001"}},
		{arrow.FixedWidthTypes.Time64us, "time", holdsMore, nil},
		{"time", "timestamp", otherType, nil},
		{"string", "string", same, []string{"Łódź"}},
		{arrow.BinaryTypes.LargeString, "string", same, []string{"Łódź"}},
		{"string", "binary", otherType, nil},
		{"binary", "string", otherType, nil},
		{"binary", "binary", same, []string{"AQI="}},
		{"json", "json", same, []string{`{"a": 1}`}},
		{"json", "string", widened, []string{`{"a": 1}`}},
		{"string", "json", widened, []string{`{"a": 1}`, "null"}},
		{arrow.Null, "decimal(65,30)", widened, []string{}},
		{arrow.Null, "json", widened, []string{}},
		{arrow.Null, "boolean", widened, []string{}},
		{arrow.ListOf(arrow.PrimitiveTypes.Int8), "string", otherType, nil},
	} {
		f, ready := c.delivered.(arrow.Field)
		if !ready {
			f = field(t, "x", c.delivered)
		}
		name := fmt.Sprintf("%s for %s", f.Type, c.says)
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		b := newBench(t, mem, "fail", "x "+c.says)
		if c.values == nil {
			_, err := b.Bind(arrow.NewSchema([]arrow.Field{f}, nil))
			got := fault.From(err)
			if got == nil || got.Code != codeColumns || got.Class != fault.Source || got.Hint == "" {
				t.Errorf("%s: got %v", name, err)
				continue
			}
			for _, text := range []string{`"x"`, "the contract says " + c.says, "the source delivers " + describe(f), c.want} {
				if !strings.Contains(got.Message, text) {
					t.Errorf("%s: no %q in %s", name, text, got.Message)
				}
			}
			continue
		}
		// NULLs around, in a slice whose bits begin in the midst of a byte.
		whole := batch(t, mem, f, append([]string{"NULL", "NULL", "NULL"}, append(c.values, "NULL")...)...)
		in := whole.NewSlice(2, whole.NumRows())
		want := written(t, in)
		schema, err := b.Bind(in.Schema())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			whole.Release()
			in.Release()
			continue
		}
		out, err := b.Apply(context.Background(), in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		whole.Release()
		in.Release()
		if got := shapeOf(schema.Field(0)).String(); got != c.says || !out.Schema().Equal(schema) {
			t.Errorf("%s: the schema is %s, the batch's %s", name, got, out.Schema())
		}
		if got := written(t, out); got != want {
			t.Errorf("%s: written as\n%sinstead of\n%s", name, got, want)
		}
		if out.Column(0).NullN() != 2 {
			t.Errorf("%s: %d NULLs", name, out.Column(0).NullN())
		}
		if told := strings.Contains(b.log.String(), "x: "); told != (c.want == widened) {
			t.Errorf("%s: the log says %q", name, b.log.String())
		}
		out.Release()
		mem.AssertSize(t, 0)
	}
}

// TestTypesExhaustively takes every pair of types: what is accepted is written with
// the same bytes before and after, for the extremes of the type.
func TestTypesExhaustively(t *testing.T) {
	t.Parallel()
	extremes := map[string][]string{
		"int8": {"-128", "127"}, "int16": {"-32768", "32767"}, "int32": {"-2147483648", "2147483647"},
		"int64": {"-9223372036854775808", "9223372036854775807"}, "uint8": {"255"}, "uint16": {"65535"}, "uint32": {"4294967295"},
		"uint64": {"18446744073709551615"}, "float32": {"0.1"}, "float64": {"0.1"}, "boolean": {"true"}, "string": {"1"}, "json": {"1"},
		"binary": {"AQI="}, "date": {"2024-02-29"}, "time": {"-838:59:59"}, "time(3)": {"-838:59:59.999"},
		"timestamp": {"2024-02-29 23:59:59"}, "timestamp(4)": {"2024-02-29 23:59:59.9999"}, "decimal(5,2)": {"-999.99"}, "decimal(6,2)": {"9999.99"},
		"decimal(6,3)": {"999.999"}, "decimal(50,2)": {"-1" + strings.Repeat("0", 47) + ".01"},
	}
	accepted := 0
	for from, values := range extremes {
		for to := range extremes {
			in := batch(t, memory.DefaultAllocator, field(t, "x", from), values...)
			b := newBench(t, memory.DefaultAllocator, "fail", "x "+to)
			if _, err := b.Bind(in.Schema()); err != nil {
				if from == to || !fault.Is(err, codeColumns) {
					t.Errorf("%s for %s: %v", from, to, err)
				}
				continue
			}
			accepted++
			out, err := b.Apply(context.Background(), in)
			if err != nil {
				t.Fatalf("%s for %s: %v", from, to, err)
			}
			if got, want := written(t, out), written(t, in); got != want {
				t.Errorf("%s for %s: %s instead of %s", from, to, got, want)
			}
		}
	}
	// Every type itself, 16 of integers (int8 3, int16 2, int32 1, uint8 6, uint16 4,
	// uint32 2), text and JSON, three of decimals, and timestamp(4) for timestamp.
	if want := len(extremes) + 18 + 2 + 3 + 1; accepted != want {
		t.Errorf("%d pairs were accepted, not %d", accepted, want)
	}
}

// TestTimestampTakesAnyFraction: a contract that says timestamp says nothing of its
// fraction; one with a number does.
func TestTimestampTakesAnyFraction(t *testing.T) {
	for _, c := range []struct {
		delivered, contract string
		becomes             string // or the problem
		value               string
	}{
		{"timestamp(0)", "timestamp", "timestamp", "2024-02-29 23:59:59"},
		{"timestamp(1)", "timestamp", "timestamp(1)", "2024-02-29 23:59:59.9"},
		{"timestamp(3)", "timestamp", "timestamp(3)", "2024-02-29 23:59:59.120"},
		{"timestamp(6)", "timestamp", "timestamp(6)", "1969-12-31 23:59:59.000001"},
		{"timestamp(3)", "timestamp(0)", holdsMore, ""},
		{"timestamp(3)", "timestamp(6)", otherDigits, ""},
		{"time(3)", "timestamp", otherType, ""},
		{"time(3)", "time", holdsMore, ""},
	} {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		b := newBench(t, mem, "fail", "x "+c.contract)
		f := field(t, "x", c.delivered)
		if c.value == "" {
			if _, err := b.Bind(arrow.NewSchema([]arrow.Field{f}, nil)); !fault.Is(err, codeColumns) || !strings.Contains(err.Error(), c.becomes) {
				t.Errorf("%s for %s: %v, want %s", c.delivered, c.contract, err, c.becomes)
			}
			continue
		}
		in := batch(t, mem, f, c.value, "NULL")
		schema, err := b.Bind(in.Schema())
		if err != nil {
			t.Fatalf("%s for %s: %v", c.delivered, c.contract, err)
		}
		out, err := b.Apply(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := shapeOf(schema.Field(0)).String(); got != c.becomes || written(t, out) != written(t, in) {
			t.Errorf("%s for %s: became %s, written as %s", c.delivered, c.contract, got, written(t, out))
		}
		in.Release()
		out.Release()
		mem.AssertSize(t, 0)
	}
}

func integers64(names ...string) *arrow.Schema {
	var fields []arrow.Field
	for _, name := range names {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true,
			Metadata: arrow.NewMetadata([]string{sdk.MetaSourceType}, []string{"bigint"})})
	}
	return arrow.NewSchema(fields, nil)
}

// TestColumns: all differences are told in one message, with both sides.
func TestColumns(t *testing.T) {
	t.Parallel()
	b := newBench(t, memory.DefaultAllocator, "fail", "patient_id int32", "surname string not null", "b int64", "first_name string")
	_, err := b.Bind(integers64("b", "patientid", "patient_id", "firstname", "b"))
	f := fault.From(err)
	want := `the columns are not those of the contract: ` +
		`column "patient_id": the contract says int32, the source delivers int64 (bigint), which holds more; ` +
		`column "surname" is missing: the contract says string, the source delivers no such column; ` +
		`column "first_name" is missing: the contract says string, the source delivers no such column; did you mean "firstname"?; ` +
		`column "patientid" is not in the contract: the source delivers int64 (bigint); ` +
		`column "firstname" is not in the contract: the source delivers int64 (bigint); ` +
		`column "b" is not in the contract: the source delivers int64 (bigint)`
	if f == nil || f.Code != codeColumns || f.Message != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprint("c", i))
	}
	_, err = newBench(t, memory.DefaultAllocator, "fail", "a int64").Bind(integers64(many...))
	if f := fault.From(err); f == nil || !strings.HasSuffix(f.Message, "; and 4901 more") || len(f.Message) > 20000 {
		t.Errorf("got %d bytes, %.300s", len(f.Message), f.Message)
	}
}

func fill(t *testing.T, schema *arrow.Schema, valid ...bool) arrow.Record {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i, f := range b.Fields() {
		for row, v := range valid {
			f.(*array.Int64Builder).AppendValues([]int64{int64(10*i + row)}, []bool{v})
		}
	}
	return b.NewRecord()
}

// TestOrder: the contract's order is the customer's, and what it says about NULL.
func TestOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, memory.DefaultAllocator, "fail", "a int64 not null", "b int64", "c int64")
	in := fill(t, integers64("c", "a", "b"), true)
	defer in.Release()
	schema, err := b.Bind(in.Schema())
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.Apply(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if got := written(t, out); got != `{"a":10,"b":20,"c":0}`+"\n" {
		t.Error(got)
	}
	if schema.Field(0).Nullable || !schema.Field(1).Nullable || schema.Field(0).HasMetadata() || b.log.Len() > 0 {
		t.Errorf("%s\n%s", schema, b.log.String())
	}
	if _, err := b.Apply(context.Background(), out); !fault.Is(err, "contract.schema_changed") {
		t.Errorf("a batch of another schema: %v", err)
	}
}

func TestNull(t *testing.T) {
	t.Parallel()
	in := fill(t, integers64("a", "b", "c"), true, true, false, true, false)
	defer in.Release()
	columns := []string{"a int64 not null", "b int64", "c int64 not null"}
	b := newBench(t, memory.DefaultAllocator, "fail", columns...)
	if _, err := b.Bind(in.Schema()); err != nil {
		t.Fatalf("a source that declares columns nullable is no drift: %v", err)
	}
	_, err := b.Apply(context.Background(), in)
	want := `column "a": the contract says not null, the source delivers NULL; ` +
		`column "c": the contract says not null, the source delivers NULL`
	if f := fault.From(err); f == nil || f.Code != codeNull || f.Class != fault.Data || f.Message != want || rowOf(err) != 2 {
		t.Errorf("got %v, want %s", err, want)
	}

	b = newBench(t, memory.DefaultAllocator, "warn", columns...)
	schema, err := b.Bind(in.Schema())
	if err != nil {
		t.Fatal(err)
	}
	if !schema.Field(0).Nullable {
		t.Error("a column with NULLs is declared to have none")
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			out, err := b.Apply(context.Background(), in)
			if err != nil {
				t.Error(err)
				return
			}
			out.Release()
		})
	}
	wait.Wait()
	if len(b.counts) != 2 || b.counts["drift_nulls.a"] != 8 || b.counts["drift_nulls.c"] != 8 || strings.Count(b.log.String(), "level=WARN") != 2 {
		t.Errorf("%v\n%s", b.counts, b.log.String())
	}
}

// TestWarn: nothing is dropped, and what can follow the contract does.
func TestWarn(t *testing.T) {
	t.Parallel()
	in := fill(t, integers64("x", "c", "narrow", "a"), true)
	defer in.Release()
	b := newBench(t, memory.DefaultAllocator, "warn", "a int64", "missing string", "narrow int8", "c int64")
	schema, err := b.Bind(in.Schema())
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.Apply(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	if got := written(t, out); got != `{"a":30,"narrow":20,"c":10,"x":0}`+"\n" || !out.Schema().Equal(schema) {
		t.Error(got)
	}
	for _, text := range []string{"level=WARN", `\"narrow\": the contract says int8, the source delivers int64 (bigint)`, `\"missing\" is missing`, `\"x\" is not in the contract`} {
		if !strings.Contains(b.log.String(), text) {
			t.Errorf("no %s in %s", text, b.log.String())
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	in := batch(t, memory.DefaultAllocator, field(t, "x", "string"), "{}", "NULL", "{", "1")
	defer in.Release()
	b := newBench(t, memory.DefaultAllocator, "fail", "x json")
	if _, err := b.Bind(in.Schema()); err != nil {
		t.Fatal(err)
	}
	_, err := b.Apply(context.Background(), in)
	if f := fault.From(err); f == nil || f.Code != codeJSON || rowOf(err) != 2 || !strings.Contains(f.Message, `"x"`) {
		t.Errorf("got %v", err)
	}
	b = newBench(t, memory.DefaultAllocator, "warn", "x json")
	schema, err := b.Bind(in.Schema())
	if err != nil || shapeOf(schema.Field(0)).name != "string" || !strings.Contains(b.log.String(), "may hold text that is no JSON") {
		t.Fatalf("%v, %s\n%s", err, schema, b.log.String())
	}
	if out, err := b.Apply(context.Background(), in); err != nil || out != in {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for settings, text := range map[string]string{
		`{}`:              "columns",
		`{"columns": []}`: "columns",
		`{"columns": [{"name": "a", "type": "in64"}, {"name": "b", "type": "decimal"}]}`:   `column "a": no column type is called "in64"; did you mean "int64"?; column "b": expected decimal`,
		`{"columns": [{"name": "a", "type": "int8"}, {"name": "a", "type": "int8"}]}`:      `column "a": the name is used twice`,
		`{"columns": [{"name": "a", "type": "int8"}], "policy": "ignore"}`:                 "policy",
		`{"columns": [{"name": "a", "type": "int8", "description": "Key of the thing."}]}`: "description",
	} {
		if _, err := Stage().Make([]byte(settings), sdk.Env{}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want something with %s", settings, err, text)
		}
	}
}

// BenchmarkContract is 28 columns in batches of 8,192 rows: as expected, with
// columns that are declared nullable where the contract says otherwise, in another order,
// and with all 19 integer columns to be widened.
func BenchmarkContract(b *testing.B) {
	in := sample.Appointments(8192, 1)
	defer in.Release()
	contract := func(change func(i int, f arrow.Field, s shape) string) []string {
		var columns []string
		for i, f := range in.Schema().Fields() {
			columns = append(columns, f.Name+" "+change(i, f, shapeOf(f)))
		}
		return columns
	}
	text := func(f arrow.Field, s shape) string {
		if f.Nullable {
			return s.String()
		}
		return s.String() + " not null"
	}
	plain := contract(func(_ int, f arrow.Field, s shape) string { return text(f, s) })
	nullable := contract(func(_ int, f arrow.Field, s shape) string { return s.String() })
	reordered := append(append([]string{}, plain[14:]...), plain[:14]...)
	wider := contract(func(_ int, f arrow.Field, s shape) string {
		if _, ok := integers[s.name]; ok {
			s.name = "int64"
		}
		return text(f, s)
	})
	for _, c := range []struct {
		name    string
		columns []string
	}{{"same", plain}, {"nullable", nullable}, {"reordered", reordered}, {"widened", wider}} {
		b.Run(c.name, func(b *testing.B) {
			f := newBench(b, memory.DefaultAllocator, "fail", c.columns...)
			if _, err := f.Bind(in.Schema()); err != nil {
				b.Fatal(err)
			}
			meter := sample.NewMeter(b)
			for b.Loop() {
				out, err := f.Apply(context.Background(), in)
				if err != nil {
					b.Fatal(err)
				}
				out.Release()
				meter.Rows += in.NumRows()
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
