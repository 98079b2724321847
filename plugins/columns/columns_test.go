package columns

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func record(allocator memory.Allocator, names ...string) arrow.Record {
	var fields []arrow.Field
	for _, name := range names {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64,
			Metadata: arrow.NewMetadata([]string{sdk.MetaSourceType}, []string{"bigint"})})
	}
	metadata := arrow.NewMetadata([]string{"origin"}, []string{"test"})
	b := array.NewRecordBuilder(allocator, arrow.NewSchema(fields, &metadata))
	defer b.Release()
	for i, f := range b.Fields() {
		f.(*array.Int64Builder).AppendValues([]int64{int64(i), int64(i) + 100}, nil)
	}
	return b.NewRecord()
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		in             []string
		want           []string
		values         []int64 // of the first row: the positions in the input
	}{
		{"all", `{}`, []string{"a", "b"}, []string{"a", "b"}, []int64{0, 1}},
		{"duplicates pass", `{}`, []string{"a", "a"}, []string{"a", "a"}, []int64{0, 1}},
		{"include orders", `{"include": ["c", "a"]}`, []string{"a", "b", "c"}, []string{"c", "a"}, []int64{2, 0}},
		{"exclude", `{"exclude": ["b"]}`, []string{"a", "b", "c"}, []string{"a", "c"}, []int64{0, 2}},
		{"rename", `{"rename": {"a": "x"}}`, []string{"a", "b"}, []string{"x", "b"}, []int64{0, 1}},
		{"swap", `{"rename": {"a": "b", "b": "a"}}`, []string{"a", "b"}, []string{"b", "a"}, []int64{0, 1}},
		{"to a dropped name", `{"exclude": ["b"], "rename": {"a": "b"}}`, []string{"a", "b"}, []string{"b"}, []int64{0}},
		{"ordinal", `{"rename": {"id#2": "other"}}`, []string{"id", "b", "id"}, []string{"id", "b", "other"}, []int64{0, 1, 2}},
		{"ordinal included", `{"include": ["id#2"]}`, []string{"id", "b", "id"}, []string{"id"}, []int64{2}},
		{"no ordinal", `{"include": ["id#1"]}`, []string{"id", "id#1"}, []string{"id#1"}, []int64{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			allocator := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer allocator.AssertSize(t, 0)
			in := record(allocator, c.in...)
			made, err := Stage().Make([]byte(c.settings), sdk.Env{})
			if err != nil {
				t.Fatal(err)
			}
			filter := made.(sdk.Filter)
			schema, err := filter.Bind(in.Schema())
			if err != nil {
				t.Fatal(err)
			}
			out, err := filter.Apply(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			// The result must outlive what it was made of.
			in.Release()
			defer out.Release()
			var names []string
			var values []int64
			for i, f := range out.Schema().Fields() {
				names = append(names, f.Name)
				values = append(values, out.Column(i).(*array.Int64).Value(0))
				if source, _ := f.Metadata.GetValue(sdk.MetaSourceType); source != "bigint" {
					t.Errorf("column %s lost its metadata", f.Name)
				}
			}
			if !slices.Equal(names, c.want) || !slices.Equal(values, c.values) || out.NumRows() != 2 {
				t.Errorf("got %q from %d, %d rows", names, values, out.NumRows())
			}
			if origin, _ := schema.Metadata().GetValue("origin"); !out.Schema().Equal(schema) || origin != "test" {
				t.Errorf("the schema is not the announced one: %s", schema)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name, settings, code string
		texts                []string
	}{
		{"unknown", `{"include": ["patient_di", "nothing_like_it"]}`, "columns.unknown",
			[]string{`did you mean "patient_id"`, `"nothing_like_it", and there is no such column`}},
		{"unknown exclude", `{"exclude": ["Name "]}`, "columns.unknown", []string{`"name"`}},
		{"unknown rename", `{"rename": {"nam": "x"}}`, "columns.unknown", []string{`"name"`}},
		{"no such ordinal", `{"include": ["id#3"]}`, "columns.unknown", []string{`"id#3"`}},
		{"ambiguous", `{"include": ["id"]}`, "columns.ambiguous", []string{`"id#1"`, `"id#2"`}},
		{"twice", `{"include": ["name", "name"]}`, "columns.repeated", []string{`"name"`}},
		{"both", `{"include": ["name"], "exclude": ["id"]}`, "columns.conflict", []string{"include", "exclude"}},
		{"dropped", `{"exclude": ["name"], "rename": {"name": "x"}}`, "columns.dropped", []string{`"name"`}},
		{"empty", `{"rename": {"name": ""}}`, "columns.empty_name", []string{`"name"`}},
		{"taken", `{"rename": {"name": "patient_id"}}`, "columns.duplicate", []string{`"name"`, `"patient_id"`}},
		{"taken later", `{"rename": {"patient_id": "name"}}`, "columns.duplicate", []string{`"name"`, `"patient_id"`}},
		{"none", `{"exclude": ["id#1", "id#2", "name", "patient_id"]}`, "columns.none", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := record(memory.DefaultAllocator, "id", "name", "patient_id", "id")
			defer in.Release()
			made, err := Stage().Make([]byte(c.settings), sdk.Env{})
			if err == nil {
				_, err = made.(sdk.Filter).Bind(in.Schema())
			}
			f := fault.From(err)
			if f == nil || f.Code != c.code || f.Class != fault.Usage {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			for _, text := range c.texts {
				if !strings.Contains(f.Message, text) {
					t.Errorf("%s is not in %q", text, f.Message)
				}
			}
		})
	}
}
