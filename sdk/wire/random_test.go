package wire

import (
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/float16"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// codeType is an extension type over text.
type codeType struct{ arrow.ExtensionBase }

type codeArray struct{ array.ExtensionArrayBase }

func newCodeType() *codeType {
	return &codeType{arrow.ExtensionBase{Storage: arrow.BinaryTypes.String}}
}

func (*codeType) ArrayType() reflect.Type { return reflect.TypeOf(codeArray{}) }
func (*codeType) ExtensionName() string   { return "wire.test.code" }
func (*codeType) Serialize() string       { return "v1" }
func (*codeType) String() string          { return "extension<wire.test.code>" }
func (*codeType) ExtensionEquals(o arrow.ExtensionType) bool {
	return o.ExtensionName() == "wire.test.code"
}
func (*codeType) Deserialize(storage arrow.DataType, param string) (arrow.ExtensionType, error) {
	if param != "v1" {
		return nil, fmt.Errorf("parameter %q", param)
	}
	return newCodeType(), nil
}

func registerCode(t testing.TB) {
	t.Helper()
	if err := arrow.RegisterExtensionType(newCodeType()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = arrow.UnregisterExtensionType("wire.test.code") })
}

// everyType is one field per supported type, and types nested in each other.
func everyType() []arrow.DataType {
	f := func(name string, dt arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: dt, Nullable: true}
	}
	text, number := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64
	return []arrow.DataType{
		arrow.Null, arrow.FixedWidthTypes.Boolean,
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
		arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64,
		arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns,
		arrow.FixedWidthTypes.Timestamp_s, &arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/Paris"},
		arrow.FixedWidthTypes.Duration_s, arrow.FixedWidthTypes.Duration_ms, arrow.FixedWidthTypes.Duration_us, arrow.FixedWidthTypes.Duration_ns,
		arrow.FixedWidthTypes.MonthInterval, arrow.FixedWidthTypes.DayTimeInterval, arrow.FixedWidthTypes.MonthDayNanoInterval,
		&arrow.Decimal128Type{Precision: 38, Scale: 30}, &arrow.Decimal128Type{Precision: 5, Scale: -2}, &arrow.Decimal256Type{Precision: 65, Scale: 30},
		&arrow.FixedSizeBinaryType{ByteWidth: 7}, &arrow.FixedSizeBinaryType{ByteWidth: 0},
		arrow.BinaryTypes.Binary, arrow.BinaryTypes.String, arrow.BinaryTypes.LargeBinary, arrow.BinaryTypes.LargeString,
		arrow.ListOf(number), arrow.ListOfNonNullable(text), arrow.LargeListOf(text), arrow.FixedSizeListOf(3, number), arrow.FixedSizeListOf(2, text),
		arrow.StructOf(f("a", number), f("b", text), f("c", arrow.FixedWidthTypes.Boolean)), arrow.StructOf(),
		arrow.MapOf(text, number),
		arrow.ListOf(arrow.StructOf(f("x", arrow.ListOf(text)), f("y", arrow.FixedSizeListOf(2, arrow.FixedWidthTypes.Boolean)))),
		arrow.StructOf(f("m", arrow.MapOf(number, arrow.ListOf(text))), f("d", &arrow.Decimal256Type{Precision: 76, Scale: 0})),
		arrow.LargeListOf(arrow.LargeListOf(arrow.BinaryTypes.LargeBinary)),
		newCodeType(), arrow.ListOf(newCodeType()),
	}
}

func schemaOf(types []arrow.DataType) *arrow.Schema {
	fields := make([]arrow.Field, len(types))
	for i, dt := range types {
		fields[i] = arrow.Field{Name: fmt.Sprintf("c%d", i), Type: dt, Nullable: true}
		if i%3 == 0 {
			fields[i].Metadata = arrow.NewMetadata([]string{"mysql.type", "empty"}, []string{dt.Name(), ""})
		}
	}
	md := arrow.NewMetadata([]string{"origin", "schéma"}, []string{"test", "\x00\xff"})
	return arrow.NewSchema(fields, &md)
}

func randomRecord(mem memory.Allocator, r *rand.Rand, schema *arrow.Schema, rows int, nullRate float64) arrow.Record {
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	for _, f := range b.Fields() {
		for range rows {
			appendRandom(f, r, nullRate)
		}
	}
	if schema.NumFields() == 0 {
		return array.NewRecord(schema, nil, int64(rows))
	}
	return b.NewRecord()
}

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, r.Intn(20))
	r.Read(b)
	return b
}

func appendRandom(b array.Builder, r *rand.Rand, nullRate float64) {
	if r.Float64() < nullRate {
		b.AppendNull()
		return
	}
	n := int64(r.Uint64())
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(n&1 == 0)
	case *array.Int8Builder:
		b.Append(int8(n))
	case *array.Int16Builder:
		b.Append(int16(n))
	case *array.Int32Builder:
		b.Append(int32(n))
	case *array.Int64Builder:
		b.Append(n)
	case *array.Uint8Builder:
		b.Append(uint8(n))
	case *array.Uint16Builder:
		b.Append(uint16(n))
	case *array.Uint32Builder:
		b.Append(uint32(n))
	case *array.Uint64Builder:
		b.Append(uint64(n))
	case *array.Float16Builder:
		b.Append(float16.New(float32(int8(n))))
	case *array.Float32Builder:
		b.Append(float32(r.NormFloat64()))
	case *array.Float64Builder:
		b.Append(r.NormFloat64())
	case *array.Date32Builder:
		b.Append(arrow.Date32(n))
	case *array.Date64Builder:
		b.Append(arrow.Date64(n))
	case *array.Time32Builder:
		b.Append(arrow.Time32(n))
	case *array.Time64Builder:
		b.Append(arrow.Time64(n))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(n))
	case *array.DurationBuilder:
		b.Append(arrow.Duration(n))
	case *array.MonthIntervalBuilder:
		b.Append(arrow.MonthInterval(n))
	case *array.DayTimeIntervalBuilder:
		b.Append(arrow.DayTimeInterval{Days: int32(n), Milliseconds: int32(n >> 32)})
	case *array.MonthDayNanoIntervalBuilder:
		b.Append(arrow.MonthDayNanoInterval{Months: int32(n), Days: int32(n >> 32), Nanoseconds: -n})
	case *array.Decimal128Builder:
		b.Append(decimal128.New(n, r.Uint64()))
	case *array.Decimal256Builder:
		b.Append(decimal256.New(uint64(n), r.Uint64(), r.Uint64(), r.Uint64()))
	case *array.FixedSizeBinaryBuilder:
		v := make([]byte, b.Type().(*arrow.FixedSizeBinaryType).ByteWidth)
		r.Read(v)
		b.Append(v)
	case *array.BinaryBuilder: // large binary too
		b.Append(randomBytes(r))
	case *array.StringBuilder:
		b.Append(fmt.Sprintf("é%x", randomBytes(r)))
	case *array.LargeStringBuilder:
		b.Append(fmt.Sprintf("é%x", randomBytes(r)))
	case *array.ListBuilder:
		b.Append(true)
		for range r.Intn(4) {
			appendRandom(b.ValueBuilder(), r, nullRate)
		}
	case *array.LargeListBuilder:
		b.Append(true)
		for range r.Intn(4) {
			appendRandom(b.ValueBuilder(), r, nullRate)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range b.Type().(*arrow.FixedSizeListType).Len() {
			appendRandom(b.ValueBuilder(), r, nullRate)
		}
	case *array.MapBuilder:
		b.Append(true)
		for range r.Intn(4) {
			appendRandom(b.KeyBuilder(), r, 0)
			appendRandom(b.ItemBuilder(), r, nullRate)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendRandom(b.FieldBuilder(i), r, nullRate)
		}
	case *array.ExtensionBuilder:
		appendRandom(b.StorageBuilder(), r, 0)
	default:
		panic(fmt.Sprintf("no random values for %T", b))
	}
}

// touch reads every value, so that an array that points outside its buffers fails.
func touch(a arrow.Array) (sum int) {
	add := func(b []byte) {
		for _, c := range b {
			sum += int(c)
		}
	}
	valid := func(f func(i int)) {
		for i := range a.Len() {
			if a.IsValid(i) {
				f(i)
			}
		}
	}
	switch a := a.(type) {
	case *array.Null:
	case *array.Boolean:
		valid(func(i int) {
			if a.Value(i) {
				sum++
			}
		})
	case *array.Binary:
		valid(func(i int) { add(a.Value(i)) })
	case *array.LargeBinary:
		valid(func(i int) { add(a.Value(i)) })
	case *array.String:
		valid(func(i int) { add([]byte(a.Value(i))) })
	case *array.LargeString:
		valid(func(i int) { add([]byte(a.Value(i))) })
	case *array.FixedSizeBinary:
		valid(func(i int) { add(a.Value(i)) })
	case *array.Struct:
		valid(func(int) {})
		for i := range a.NumField() {
			sum += touch(a.Field(i))
		}
	case array.ExtensionArray:
		sum += touch(a.Storage())
	case array.ListLike:
		valid(func(i int) {
			from, to := a.ValueOffsets(i)
			s := array.NewSlice(a.ListValues(), from, to)
			sum += s.Len()
			s.Release()
		})
		sum += touch(a.ListValues())
	default:
		valid(func(int) {})
		add(a.Data().Buffers()[1].Bytes())
	}
	return sum
}

// difference says how a record differs from what it should be; it may be called from any goroutine.
func difference(got, want arrow.Record) error {
	if got.NumRows() != want.NumRows() || got.NumCols() != want.NumCols() {
		return fmt.Errorf("%d×%d, want %d×%d", got.NumRows(), got.NumCols(), want.NumRows(), want.NumCols())
	}
	if !got.Schema().Equal(want.Schema()) || !got.Schema().Metadata().Equal(want.Schema().Metadata()) {
		return fmt.Errorf("schema\n%s\nwant\n%s", got.Schema(), want.Schema())
	}
	for i, g := range got.Columns() {
		w := want.Column(i)
		if g.NullN() != w.NullN() || !array.Equal(g, w) {
			return fmt.Errorf("column %s (%s):\n%v\nwant\n%v", want.ColumnName(i), g.DataType(), g, w)
		}
	}
	return nil
}

func sameRecord(t testing.TB, what string, got, want arrow.Record) {
	t.Helper()
	if err := difference(got, want); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
