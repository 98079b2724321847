package suite

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// valueTypes are the types that sources deliver, each as a column.
func valueTypes() []arrow.Field {
	field := func(t arrow.DataType, meta ...string) arrow.Field {
		f := arrow.Field{Name: "value", Type: t, Nullable: true}
		if len(meta) > 0 {
			f.Metadata = arrow.NewMetadata([]string{meta[0]}, []string{meta[1]})
		}
		return f
	}
	fields := []arrow.Field{
		field(arrow.BinaryTypes.String), field(arrow.Null), field(arrow.FixedWidthTypes.Boolean),
		field(arrow.PrimitiveTypes.Int8), field(arrow.PrimitiveTypes.Int16), field(arrow.PrimitiveTypes.Int32), field(arrow.PrimitiveTypes.Int64),
		field(arrow.PrimitiveTypes.Uint8), field(arrow.PrimitiveTypes.Uint16), field(arrow.PrimitiveTypes.Uint32), field(arrow.PrimitiveTypes.Uint64),
		field(arrow.PrimitiveTypes.Float32), field(arrow.PrimitiveTypes.Float64),
		field(&arrow.Decimal128Type{Precision: 10, Scale: 2}), field(&arrow.Decimal128Type{Precision: 38, Scale: 0}),
		field(&arrow.Decimal256Type{Precision: 65, Scale: 30}),
		field(arrow.FixedWidthTypes.Date32), field(arrow.FixedWidthTypes.Date64),
	}
	for _, unit := range []arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond} {
		fields = append(fields,
			field(&arrow.TimestampType{Unit: unit}, stage.MetaFraction, fmt.Sprint(min(3*int(unit), 6))),
			field(&arrow.DurationType{Unit: unit}))
	}
	return append(fields,
		field(&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, stage.MetaFraction, "6"),
		field(arrow.FixedWidthTypes.Time32s), field(arrow.FixedWidthTypes.Time32ms),
		field(arrow.FixedWidthTypes.Time64us), field(arrow.FixedWidthTypes.Time64ns),
		field(arrow.BinaryTypes.Binary), field(&arrow.FixedSizeBinaryType{ByteWidth: 5}),
		field(arrow.BinaryTypes.LargeString), field(arrow.BinaryTypes.LargeBinary),
		field(arrow.BinaryTypes.String, stage.MetaJSON, "true"),
	)
}

// typeName names a column's type in messages.
func typeName(f arrow.Field) string {
	if f.Metadata.FindKey(stage.MetaJSON) >= 0 {
		return "json"
	}
	return f.Type.String()
}

// pattern says which rows of a batch are null, in columns that may be.
type pattern string

const (
	someNulls pattern = "some nulls"
	noNulls   pattern = "no nulls"
	allNulls  pattern = "all nulls"
	alternate pattern = "every other null"
	lastNull  pattern = "the last null"
)

func (p pattern) null(row, rows int) bool {
	switch p {
	case allNulls:
		return true
	case alternate:
		return row%2 == 1
	case lastNull:
		return row == rows-1
	case someNulls:
		return row%5 == 3
	}
	return false
}

// batch describes a record batch.
type batch struct {
	rows  int
	nulls pattern
	// front is how many rows lie in the buffers before the batch's first one, and behind it.
	front int
	// long is the length of texts and binary values; 0 for various.
	long int
}

// mostFront is the largest batch.front: values are never those of a row before the first.
const mostFront = 16

// input is a stream of batches.
type input struct {
	fields  []arrow.Field
	batches []batch
}

func plainBatches() []batch {
	return []batch{{rows: 7, nulls: someNulls}, {rows: 64, nulls: someNulls}, {rows: 1, nulls: noNulls},
		{rows: 33, nulls: someNulls}}
}

// fields are the columns of an input whose "value" is v.
func (o Options) fields(v arrow.Field) []arrow.Field {
	has := func(name string) bool {
		return slices.ContainsFunc(o.Columns, func(f arrow.Field) bool { return f.Name == name })
	}
	var fields []arrow.Field
	if !has("id") {
		fields = append(fields, arrow.Field{Name: "id", Type: arrow.PrimitiveTypes.Int64})
	}
	fields = append(fields, o.Columns...)
	if !has(v.Name) {
		fields = append(fields, v)
	}
	return fields
}

func (o Options) input(batches ...batch) input {
	return input{o.fields(valueTypes()[0]), batches}
}

func (in input) schema() *arrow.Schema { return arrow.NewSchema(in.fields, nil) }

// record builds batch i, whose first row is first in the stream.
func (in input) record(mem memory.Allocator, schema *arrow.Schema, i int, first int64) arrow.Record {
	spec := in.batches[i]
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	total := spec.rows + 2*spec.front
	for c, f := range in.fields {
		for row := range total {
			if f.Nullable && spec.nulls.null(row-spec.front, spec.rows) {
				b.Field(c).AppendNull()
			} else {
				appendValue(b.Field(c), f, first+mostFront+int64(row-spec.front), spec.long)
			}
		}
	}
	rec := b.NewRecord()
	if spec.front == 0 {
		return rec
	}
	defer rec.Release()
	return rec.NewSlice(int64(spec.front), int64(spec.front+spec.rows))
}

var words = []string{"", "plain", "with \"quotes\", commas\r\nand lines", "Ünïcödé 漢字 🩺", "=1+1", " spaces ",
	"{\"a\":[1,2]}", "\x00\x1b\u2028"}

// appendValue appends the value of a row: usual ones, and now and then the least and the greatest that the type has a
// use for.
func appendValue(b array.Builder, f arrow.Field, row int64, long int) {
	edge := (row%9 + 9) % 9 // 0: least, 1: greatest
	number := func(lo, hi int64) int64 {
		switch edge {
		case 0:
			return lo
		case 1:
			return hi
		}
		return row
	}
	text := func() string {
		if long > 0 {
			return strings.Repeat(string(rune('a'+edge)), long)
		}
		if f.Metadata.FindKey(stage.MetaJSON) >= 0 {
			return fmt.Sprintf(`{"row": %d, "text": "ü"}`, row)
		}
		return words[(row%8+8)%8] + fmt.Sprint(row)
	}
	seconds := func(unit arrow.TimeUnit) int64 { return int64(1_000_000_000) / int64(unit.Multiplier()) }
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(row%3 == 0)
	case *array.Int8Builder:
		b.Append(int8(number(math.MinInt8, math.MaxInt8)))
	case *array.Int16Builder:
		b.Append(int16(number(math.MinInt16, math.MaxInt16)))
	case *array.Int32Builder:
		b.Append(int32(number(math.MinInt32, math.MaxInt32)))
	case *array.Int64Builder:
		if f.Name == "id" {
			b.Append(row)
			return
		}
		b.Append(number(math.MinInt64, math.MaxInt64))
	case *array.Uint8Builder:
		b.Append(uint8(number(0, math.MaxUint8)))
	case *array.Uint16Builder:
		b.Append(uint16(number(0, math.MaxUint16)))
	case *array.Uint32Builder:
		b.Append(uint32(number(0, math.MaxUint32)))
	case *array.Uint64Builder:
		b.Append(uint64(number(0, -1)))
	case *array.Float32Builder:
		switch edge {
		case 0:
			b.Append(-math.MaxFloat32)
		case 1:
			b.Append(math.SmallestNonzeroFloat32)
		default:
			b.Append(float32(row) / 8)
		}
	case *array.Float64Builder:
		switch edge {
		case 0:
			b.Append(-math.MaxFloat64)
		case 1:
			b.Append(math.SmallestNonzeroFloat64)
		default:
			b.Append(float64(row) / 8)
		}
	case *array.Decimal128Builder:
		t := f.Type.(*arrow.Decimal128Type)
		b.Append(decimal128.FromBigInt(digits(edge, row, t.Precision)))
	case *array.Decimal256Builder:
		t := f.Type.(*arrow.Decimal256Type)
		b.Append(decimal256.FromBigInt(digits(edge, row, t.Precision)))
	case *array.Date32Builder:
		b.Append(arrow.Date32(number(-141427, 2932896))) // 1582-10-15 and 9999-12-31
	case *array.Date64Builder:
		b.Append(arrow.Date64(number(-141427, 2932896) * 86_400_000))
	case *array.TimestampBuilder:
		unit := f.Type.(*arrow.TimestampType).Unit
		if unit == arrow.Nanosecond {
			// Whole microseconds between 1684 and 2255, as 64 bits hold no more.
			b.Append(arrow.Timestamp(number(-9_000_000_000_000_000, 9_000_000_000_000_000) * 1000))
			return
		}
		b.Append(arrow.Timestamp(number(-12_219_292_800*seconds(unit), 253_402_300_799*seconds(unit))))
	case *array.DurationBuilder:
		unit := f.Type.(*arrow.DurationType).Unit
		b.Append(arrow.Duration(number(-3_020_399*seconds(unit), 3_020_399*seconds(unit)))) // 838:59:59
	case *array.Time32Builder:
		b.Append(arrow.Time32(number(0, 86_400*seconds(f.Type.(*arrow.Time32Type).Unit)-1)))
	case *array.Time64Builder:
		b.Append(arrow.Time64(number(0, 86_400*seconds(f.Type.(*arrow.Time64Type).Unit)-1)))
	case *array.BinaryBuilder: // large ones too
		if long > 0 {
			b.Append([]byte(text()))
			return
		}
		b.Append([]byte(words[(row%8+8)%8] + "\xff\x00"))
	case *array.FixedSizeBinaryBuilder:
		value := make([]byte, f.Type.(*arrow.FixedSizeBinaryType).ByteWidth)
		for i := range value {
			value[i] = byte(row + int64(i))
		}
		b.Append(value)
	case *array.StringBuilder:
		b.Append(text())
	case *array.LargeStringBuilder:
		b.Append(text())
	default:
		// A column of the author's own, of a type that no source delivers.
		b.AppendEmptyValue()
	}
}

// digits is a number of at most precision digits.
func digits(edge, row int64, precision int32) *big.Int {
	most := new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil), big.NewInt(1))
	switch edge {
	case 0:
		return most.Neg(most)
	case 1:
		return most
	}
	return big.NewInt(row)
}
