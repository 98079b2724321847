package mask

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
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

const secret = "0123456789abcdef0123456789abcdef"

// column returns a batch of one column x with these values and NULL.
func column(t testing.TB, mem memory.Allocator, typeName string, values ...string) arrow.Record {
	t.Helper()
	f, err := parse.Retype(arrow.Field{Name: "x", Metadata: arrow.NewMetadata([]string{sdk.MetaSourceType}, []string{"its type"})}, typeName)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := parse.NewColumn(mem, f)
	defer c.Release()
	for _, v := range values {
		if c.Append([]byte(v)) != parse.OK {
			t.Fatalf("%q is no %s", v, typeName)
		}
	}
	c.AppendNull()
	a := c.NewArray()
	defer a.Release()
	return array.NewRecord(arrow.NewSchema([]arrow.Field{f}, nil), []arrow.Array{a}, int64(a.Len()))
}

func apply(t testing.TB, mem memory.Allocator, settings string, in arrow.Record) (arrow.Record, error) {
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

func encode(t testing.TB, record arrow.Record) string {
	t.Helper()
	out, err := sample.Encode(sample.NewEncoder(t, ndjson.Stage(), `{}`, sdk.Env{}), sdk.Rows{Record: record})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Data)
}

func TestActions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, typeName string
		values         []string
		action         string
		want           []string // of the values, then of NULL
	}{
		{"null", "decimal(10,2)", []string{"1.5"}, `"action": "null"`, []string{"null", "null"}},
		{"null of text", "string", []string{"x"}, `"action": "null"`, []string{"null", "null"}},
		{"constant text", "string", []string{"x"}, `"action": "constant", "value": "gone"`, []string{`"gone"`, `"gone"`}},
		{"constant number", "int8", []string{"5"}, `"action": "constant", "value": -1`, []string{"-1", "-1"}},
		{"constant decimal", "decimal(10,2)", []string{"5"}, `"action": "constant", "value": 12345678.9`, []string{`"12345678.90"`, `"12345678.90"`}},
		{"constant date", "date", []string{"2024-05-06"}, `"action": "constant", "value": "1900-01-01"`, []string{`"1900-01-01"`, `"1900-01-01"`}},
		{"constant boolean", "boolean", []string{"true"}, `"action": "constant", "value": false`, []string{"false", "false"}},
		{"keep", "string", []string{"0123456789", "12345", "1234", "1", "", "äöüßé漢"}, `"action": "keep_last"`,
			[]string{`"******6789"`, `"*2345"`, `"****"`, `"*"`, `""`, `"**üßé漢"`, "null"}},
		{"keep one", "string", []string{"ab", "😀😀"}, `"action": "keep_last", "keep": 1`, []string{`"*b"`, `"*😀"`, "null"}},
		{"month of a date", "date", []string{"2024-02-29", "2024-02-01", "2024-03-01", "1969-12-31", "0000-01-31"}, `"action": "month"`,
			[]string{`"2024-02-01"`, `"2024-02-01"`, `"2024-03-01"`, `"1969-12-01"`, `"0000-01-01"`, "null"}},
		{"year of a date", "date", []string{"2024-02-29", "2023-12-31", "1900-03-01"}, `"action": "year"`, []string{`"2024-01-01"`, `"2023-01-01"`, `"1900-01-01"`, "null"}},
		{"month of a timestamp", "timestamp(6)", []string{"2024-02-29 23:59:59.999999", "1969-12-31 23:59:59.999999"}, `"action": "month"`,
			[]string{`"2024-02-01 00:00:00.000000"`, `"1969-12-01 00:00:00.000000"`, "null"}},
		{"year of a timestamp", "timestamp(9)", []string{"2024-02-29 23:59:59"}, `"action": "year"`, []string{`"2024-01-01 00:00:00.000000000"`, "null"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer allocator.AssertSize(t, 0)
			in := column(t, allocator, c.typeName, c.values...)
			out, err := apply(t, allocator, `{"columns": {"x": {`+c.action+`}}}`, in)
			if err != nil {
				t.Fatal(err)
			}
			// The result must outlive what it was made of.
			in.Release()
			defer out.Release()
			var want string
			for _, v := range c.want {
				want += `{"x":` + v + "}\n"
			}
			if got := encode(t, out); got != want {
				t.Errorf("got %swant %s", got, want)
			}
			if kept, _ := out.Schema().Field(0).Metadata.GetValue(sdk.MetaSourceType); kept != "its type" {
				t.Errorf("the metadata is %v", out.Schema().Field(0).Metadata)
			}
		})
	}
}

// TestPseudonyms compares with Python's hmac, for every type.
func TestPseudonyms(t *testing.T) {
	t.Parallel()
	cases := []struct{ typeName, value string }{
		{"int8", "42"}, {"int64", "42"}, {"uint64", "18446744073709551615"}, {"string", "42"}, {"string", ""}, {"string", "Zoë"},
		{"decimal(10,2)", "42.00"}, {"date", "2024-02-29"}, {"timestamp(3)", "2024-02-29 01:02:03.500"}, {"boolean", "true"}, {"time", "-01:00:00"}, {"float64", "0.1"},
	}
	var values []string
	for _, c := range cases {
		values = append(values, c.value)
	}
	input, _ := json.Marshal(values)
	var want [][2]string
	if err := json.Unmarshal(sample.Oracle(t, `
import sys, hmac, base64, json
digests = [hmac.new(b"`+secret+`", v.encode(), "sha256").digest() for v in json.load(sys.stdin.buffer)]
json.dump([(d.hex(), base64.urlsafe_b64encode(d).decode().rstrip("=")) for d in digests], sys.stdout)
`, input), &want); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		in := column(t, memory.DefaultAllocator, c.typeName, c.value)
		for j, encoding := range []string{"hex", "base64url"} {
			out, err := apply(t, memory.DefaultAllocator, fmt.Sprintf(`{"columns": {"x": {"action": "hmac", "encoding": %q}}, "secret": %q}`, encoding, secret), in)
			if err != nil {
				t.Fatal(err)
			}
			if a := out.Column(0).(*array.String); a.Value(0) != want[i][j] || !a.IsNull(1) {
				t.Errorf("%s %s: got %s, want %s", c.typeName, c.value, a, want[i][j])
			}
			f := out.Schema().Field(0)
			if _, ok := f.Metadata.GetValue(sdk.MetaFraction); ok || f.Type.ID() != arrow.STRING {
				t.Errorf("%s: the field is %s", c.typeName, f)
			}
			out.Release()
		}
		in.Release()
	}
}

func TestBinaryPseudonymsAreOfTheBytes(t *testing.T) {
	t.Parallel()
	settings := `{"columns": {"x": {"action": "hmac"}}, "secret": "` + secret + `"}`
	text := column(t, memory.DefaultAllocator, "string", "é")
	binary := column(t, memory.DefaultAllocator, "binary", "w6k=")
	a, err1 := apply(t, memory.DefaultAllocator, settings, text)
	b, err2 := apply(t, memory.DefaultAllocator, settings, binary)
	if err1 != nil || err2 != nil || encode(t, a) != encode(t, b) {
		t.Error("the same bytes have different pseudonyms")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String},
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8)}}
	schema := arrow.NewSchema(fields, nil)
	for _, c := range []struct {
		name, settings, code string
		texts                []string
	}{
		{"unknown", `{"columns": {"nam": {"action": "null"}}}`, "mask.unknown_column", []string{`"nam"`, `did you mean "name"`}},
		{"ambiguous", `{"columns": {"id": {"action": "null"}}}`, "mask.ambiguous", []string{`"id#2"`}},
		{"twice", `{"columns": {"name": {"action": "null"}, "name#1": {"action": "null"}}}`, "mask.repeated", []string{`"name"`}},
		{"keep of a number", `{"columns": {"id#1": {"action": "keep_last"}}}`, "mask.unfit_action", []string{`"id#1" is int64`, "keep_last"}},
		{"month of text", `{"columns": {"name": {"action": "month"}}}`, "mask.unfit_action", []string{`"name" is string`, "month"}},
		{"hmac of a list", `{"columns": {"list": {"action": "hmac"}}, "secret": "` + secret + `"}`, "mask.unfit_action", []string{`"list"`, "hmac"}},
		{"constant of a list", `{"columns": {"list": {"action": "constant", "value": 1}}}`, "mask.unfit_action", []string{`"list"`, "constant"}},
		{"no value", `{"columns": {"name": {"action": "constant"}}}`, "mask.unfit_action", []string{"needs a value"}},
		{"wrong value", `{"columns": {"id#2": {"action": "constant", "value": "hidden"}}}`, "mask.unfit_action", []string{`"id#2"`, "no value of that type"}},
		{"fraction", `{"columns": {"id#2": {"action": "constant", "value": 1.5}}}`, "mask.unfit_action", nil},
		{"all at once", `{"columns": {"x": {"action": "null"}, "y": {"action": "null"}}}`, "mask.unknown_column", []string{`"x"`, `"y"`}},
		{"no secret", `{"columns": {"name": {"action": "hmac"}}}`, "mask.secret", []string{"16 bytes"}},
		{"short secret", `{"columns": {"name": {"action": "hmac"}}, "secret": "tooshort"}`, "mask.secret", []string{"not 8"}},
		{"unknown action", `{"columns": {"name": {"action": "hash"}}}`, "internal", []string{"columns.name.action"}},
		{"unknown key", `{"columns": {"name": {"action": "null", "keeps": 1}}}`, "internal", []string{"columns.name.keeps"}},
		{"no columns", `{"columns": {}}`, "internal", []string{"columns"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			made, err := Stage().Make([]byte(c.settings), sdk.Env{})
			if err == nil {
				_, err = made.(sdk.Filter).Bind(schema)
			}
			f := fault.From(err)
			if f == nil || f.Code != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			for _, text := range c.texts {
				if !strings.Contains(f.Message, text) {
					t.Errorf("%s is not in %q", text, f.Message)
				}
			}
			if strings.Contains(f.Message, "tooshort") || strings.Contains(f.Message, "hidden") {
				t.Errorf("the message tells a value: %s", f.Message)
			}
		})
	}
}

func TestTooEarly(t *testing.T) {
	t.Parallel()
	b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Nanosecond})
	b.AppendValues([]arrow.Timestamp{math.MaxInt64, math.MinInt64}, nil)
	a := b.NewArray()
	in := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "x", Type: a.DataType()}}, nil), []arrow.Array{a}, 2)
	if _, err := apply(t, memory.DefaultAllocator, `{"columns": {"x": {"action": "month"}}}`, in); !fault.Is(err, "mask.out_of_range") || rowOf(err) != 1 {
		t.Errorf("got %v", err)
	}
}

// TestSlices masks parts of a batch, at offsets that no byte ends at, and wants
// the same as of the whole; other columns must be untouched.
func TestSlices(t *testing.T) {
	t.Parallel()
	allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer allocator.AssertSize(t, 0)
	in := sample.Appointments(400, 3)
	defer in.Release()
	settings := `{"secret": "` + secret + `", "columns": {"patient_id": {"action": "hmac"}, "type_name": {"action": "keep_last"}, "amount": {"action": "hmac", "encoding": "base64url"},
		"arrival_time": {"action": "month"}, "appointment_date": {"action": "year"}, "room_id": {"action": "null"}, "status": {"action": "constant", "value": "-"}}}`
	whole, err := apply(t, allocator, settings, in)
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Release()
	var parts strings.Builder
	for from := int64(0); from < 400; from += 37 {
		part := in.NewSlice(from, min(from+37, 400))
		out, err := apply(t, allocator, settings, part)
		if err != nil {
			t.Fatal(err)
		}
		parts.WriteString(encode(t, out))
		out.Release()
		part.Release()
	}
	if parts.String() != encode(t, whole) {
		t.Error("the parts are masked otherwise than the whole")
	}
	var first map[string]any
	decoder := json.NewDecoder(strings.NewReader(encode(t, whole)))
	if err := decoder.Decode(&first); err != nil || first["room_id"] != nil || first["status"] != "-" {
		t.Errorf("got %v", first)
	}
	masked := []string{"patient_id", "type_name", "amount", "arrival_time", "appointment_date", "room_id", "status"}
	for i, f := range in.Schema().Fields() {
		if !slices.Contains(masked, f.Name) && whole.Column(i) != in.Column(i) {
			t.Errorf("%s was copied", f.Name)
		}
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	in := sample.Appointments(300, 2)
	defer in.Release()
	made, err := Stage().Make([]byte(`{"columns": {"patient_id": {"action": "hmac"}, "status": {"action": "keep_last"}}, "secret": "`+secret+`"}`), sdk.Env{Memory: memory.DefaultAllocator})
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

func BenchmarkApply(b *testing.B) {
	in := sample.Appointments(8192, 1)
	defer in.Release()
	for name, columns := range map[string]string{
		"hmac": `"patient_id": {"action": "hmac"}`, "keep_last": `"status": {"action": "keep_last"}`, "month": `"appointment_date": {"action": "month"}`,
		"constant": `"status": {"action": "constant", "value": "-"}`, "null": `"status": {"action": "null"}`,
	} {
		b.Run(name, func(b *testing.B) {
			made, err := Stage().Make([]byte(`{"columns": {`+columns+`}, "secret": "`+secret+`"}`), sdk.Env{Memory: memory.DefaultAllocator})
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
