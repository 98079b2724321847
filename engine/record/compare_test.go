package record

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// cursorOf reads a stream of JSON batches.
func cursorOf(t *testing.T, schema *arrow.Schema, cutOff bool, batches ...string) *cursor {
	t.Helper()
	var records []arrow.Record
	for _, text := range batches {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	stream := streamOf(t, false, schema, records...)
	if cutOff {
		stream = stream[:len(stream)-8]
	}
	reader, err := wire.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	return &cursor{reader: reader, partial: cutOff}
}

// told writes a difference as one text.
func told(d *Difference) string {
	if d == nil {
		return "same"
	}
	return d.Message + ": " + d.Recorded + " | " + d.Replayed
}

func schemaOf(fields ...arrow.Field) *arrow.Schema { return arrow.NewSchema(fields, nil) }

func column(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true}
}

func TestCompareRows(t *testing.T) {
	both := schemaOf(column("n", arrow.PrimitiveTypes.Int64), column("text", arrow.BinaryTypes.String))
	list := schemaOf(column("l", arrow.ListOf(arrow.PrimitiveTypes.Float64)))
	nested := schemaOf(column("s", arrow.StructOf(column("x", arrow.PrimitiveTypes.Float32), column("y", arrow.BinaryTypes.String))))
	for _, c := range []struct {
		name     string
		schema   *arrow.Schema
		cutOff   bool
		recorded []string
		replayed []string
		want     string
	}{
		{"nothing", both, false, nil, nil, "same"},
		{"other batches", both, false, []string{`[{"n":1},{"n":2}]`, `[]`, `[{"n":3}]`}, []string{`[{"n":1}]`, `[{"n":2},{"n":3}]`}, "same"},
		{"a value", both, false, []string{`[{"n":1},{"n":2,"text":"a"}]`}, []string{`[{"n":1}]`, `[{"n":2,"text":"a "}]`},
			`row 2 (counted from 1), column "text" differs: "a" | "a "`},
		{"a null", both, false, []string{`[{"n":1,"text":""}]`}, []string{`[{"n":1}]`}, `row 1 (counted from 1), column "text" differs: "" | NULL`},
		{"the first row of several", both, false, []string{`[{"n":1,"text":"a"},{"n":2,"text":"b"}]`}, []string{`[{"n":1,"text":"x"},{"n":9,"text":"b"}]`},
			`row 1 (counted from 1), column "text" differs: "a" | "x"`},
		{"the first column of several", both, false, []string{`[{"n":1,"text":"a"}]`}, []string{`[{"n":2,"text":"b"}]`}, `row 1 (counted from 1), column "n" differs: 1 | 2`},
		{"fewer", both, false, []string{`[{"n":1},{"n":2}]`}, []string{`[{"n":1}]`}, "only 1 rows come, and more were recorded: n 2, … | the end"},
		{"more", both, false, []string{`[{"n":1}]`}, []string{`[{"n":1},{"n":2}]`}, "more rows come than the 1 that were recorded: the end | n 2, …"},
		{"more than a recording that was cut off", both, true, []string{`[{"n":1}]`}, []string{`[{"n":1},{"n":2}]`}, "same"},
		{"other than a recording that was cut off", both, true, []string{`[{"n":1}]`}, []string{`[{"n":2}]`}, `row 1 (counted from 1), column "n" differs: 1 | 2`},
		{"lists", list, false, []string{`[{"l":[1,2]},{"l":[]},{"l":[3]}]`}, []string{`[{"l":[1,2]},{"l":[]},{"l":[4]}]`}, `row 3 (counted from 1), column "l" differs: [3] | [4]`},
		{"lists of other lengths", list, false, []string{`[{"l":[1]}]`}, []string{`[{"l":[1,1]}]`}, `row 1 (counted from 1), column "l" differs: [1] | [1,1]`},
		{"same lists", list, false, []string{`[{"l":[1]},{"l":null},{"l":[null,2]}]`}, []string{`[{"l":[1]}]`, `[{"l":null},{"l":[null,2]}]`}, "same"},
		{"structs", nested, false, []string{`[{"s":{"x":1,"y":"a"}}]`}, []string{`[{"s":{"x":1,"y":"b"}}]`},
			`row 1 (counted from 1), column "s" differs: {"x":1,"y":"a"} | {"x":1,"y":"b"}`},
	} {
		d, err := compare(cursorOf(t, c.schema, c.cutOff, c.recorded...), cursorOf(t, c.schema, false, c.replayed...), stage.ShapeTable)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := told(d); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestCompareFloats: NaN is what it is, and -0 is not 0.
func TestCompareFloats(t *testing.T) {
	schema := schemaOf(column("f", arrow.PrimitiveTypes.Float64))
	of := func(value float64) *cursor {
		b := array.NewFloat64Builder(memory.DefaultAllocator)
		defer b.Release()
		b.Append(value)
		rec := array.NewRecord(schema, []arrow.Array{b.NewArray()}, 1)
		reader, err := wire.NewReader(bytes.NewReader(streamOf(t, false, schema, rec)))
		if err != nil {
			t.Fatal(err)
		}
		return &cursor{reader: reader}
	}
	negative := math.Copysign(0, -1)
	for _, c := range []struct {
		a, b float64
		same bool
	}{{1, 1, true}, {math.NaN(), math.NaN(), true}, {0, negative, false}, {negative, negative, true}, {1, 2, false}} {
		if d, err := compare(of(c.a), of(c.b), stage.ShapeTable); err != nil || (d == nil) != c.same {
			t.Errorf("%v and %v: %s, %v", c.a, c.b, told(d), err)
		}
	}
}

func TestCompareBytes(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "bytes", Type: arrow.BinaryTypes.Binary}}, nil)
	of := func(cutOff bool, batches ...[]string) *cursor {
		var records []arrow.Record
		for _, values := range batches {
			b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
			b.AppendStringValues(values, nil)
			records = append(records, array.NewRecord(schema, []arrow.Array{b.NewArray()}, int64(len(values))))
		}
		stream := streamOf(t, false, schema, records...)
		if cutOff {
			stream = stream[:len(stream)-8]
		}
		reader, err := wire.NewReader(bytes.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		return &cursor{reader: reader, partial: cutOff}
	}
	type batches = [][]string
	for i, c := range []struct {
		recorded, replayed batches
		cutOff             bool
		want               string
	}{
		{nil, nil, false, "same"},
		{batches{{"hel", "lo"}, {""}, {" there"}}, batches{{"hello the"}, {"re"}}, false, "same"},
		{batches{{"hello"}}, batches{{"help"}}, false, `the bytes differ from byte 3 on (counted from 0): "lo" | "p"`},
		{batches{{"hello"}}, batches{{"hel"}}, false, `the bytes differ from byte 3 on (counted from 0): "lo" | the end`},
		{batches{{"hel"}}, batches{{"hello"}}, false, `the bytes differ from byte 3 on (counted from 0): the end | "lo"`},
		{batches{{"hel"}}, batches{{"hello"}}, true, "same"},
		{batches{{"hel"}}, batches{{"he"}}, true, `the bytes differ from byte 2 on (counted from 0): "l" | the end`},
		{batches{{"a\xff"}}, batches{{"a" + strings.Repeat("b", 40)}}, false,
			`the bytes differ from byte 1 on (counted from 0): 0xff | "` + strings.Repeat("b", 32) + `"…`},
	} {
		d, err := compare(of(c.cutOff, c.recorded...), of(false, c.replayed...), stage.ShapeBytes)
		if err != nil {
			t.Fatal(err)
		}
		if got := told(d); got != c.want {
			t.Errorf("%d:\n got %s\nwant %s", i, got, c.want)
		}
	}
}

func TestCompareSchemas(t *testing.T) {
	meta := func(v string) arrow.Metadata { return arrow.NewMetadata([]string{"k"}, []string{v}) }
	base := schemaOf(column("a", arrow.PrimitiveTypes.Int64))
	one, two := meta("1"), meta("2")
	for _, c := range []struct {
		a, b *arrow.Schema
		want string
	}{
		{base, base, "same"},
		{base, schemaOf(), "the number of columns differs: 1 | 0"},
		{base, schemaOf(column("b", arrow.PrimitiveTypes.Int64)), "the name of column 1 (counted from 1) differs: a | b"},
		{base, schemaOf(column("a", arrow.PrimitiveTypes.Int32)), "the type of column 1 (counted from 1) differs: int64 | int32"},
		{base, schemaOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64}), "the nullability of column 1 (counted from 1) differs: nullable | not null"},
		{base, schemaOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: one}),
			`the metadata of column 1 (counted from 1) differs: [] | ["k": "1"]`},
		{arrow.NewSchema(base.Fields(), &one), arrow.NewSchema(base.Fields(), &two), `the metadata of the stream differs: ["k": "1"] | ["k": "2"]`},
	} {
		if got := told(compareSchemas(c.a, c.b)); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}

func TestShownValue(t *testing.T) {
	long := strings.Repeat("ü", longestShown)
	for value, want := range map[string]string{
		"a\n": `"a\n"`, "": `""`, "\xff\x00": "0xff00", long: fmt.Sprintf("%q…", strings.Repeat("ü", longestShown/2)),
	} {
		if got := shownValue([]byte(value), false); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
