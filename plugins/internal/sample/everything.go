package sample

import (
	"math"
	"math/big"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
)

// Everything returns a batch with a column of every type that the text encoders
// know, and four rows: usual values, the least, the greatest, and nulls. The caller
// releases it.
func Everything() arrow.Record {
	meta := func(key, value string) arrow.Metadata { return arrow.NewMetadata([]string{key}, []string{value}) }
	parse := func(text string) *big.Int {
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			panic("sample: " + text)
		}
		return n
	}
	dec128 := func(text string) decimal128.Num { return decimal128.FromBigInt(parse(text)) }
	dec256 := func(text string) decimal256.Num { return decimal256.FromBigInt(parse(text)) }
	nines := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = '9'
		}
		return string(b)
	}

	var fields []arrow.Field
	var columns []arrow.Array
	add := func(name string, t arrow.DataType, m arrow.Metadata, fill func(array.Builder)) {
		b := array.NewBuilder(memory.DefaultAllocator, t)
		defer b.Release()
		fill(b)
		b.AppendNull()
		fields = append(fields, arrow.Field{Name: name, Type: t, Nullable: true, Metadata: m})
		columns = append(columns, b.NewArray())
	}
	none := arrow.Metadata{}
	add("null", arrow.Null, none, func(b array.Builder) { b.AppendNulls(3) })
	add("bool", arrow.FixedWidthTypes.Boolean, none, func(b array.Builder) {
		b.(*array.BooleanBuilder).AppendValues([]bool{true, false, true}, nil)
	})
	add("int8", arrow.PrimitiveTypes.Int8, none, func(b array.Builder) {
		b.(*array.Int8Builder).AppendValues([]int8{-7, math.MinInt8, math.MaxInt8}, nil)
	})
	add("int16", arrow.PrimitiveTypes.Int16, none, func(b array.Builder) {
		b.(*array.Int16Builder).AppendValues([]int16{1000, math.MinInt16, math.MaxInt16}, nil)
	})
	add("int32", arrow.PrimitiveTypes.Int32, none, func(b array.Builder) {
		b.(*array.Int32Builder).AppendValues([]int32{99, math.MinInt32, math.MaxInt32}, nil)
	})
	add("int64", arrow.PrimitiveTypes.Int64, none, func(b array.Builder) {
		b.(*array.Int64Builder).AppendValues([]int64{1000000, math.MinInt64, math.MaxInt64}, nil)
	})
	add("uint8", arrow.PrimitiveTypes.Uint8, none, func(b array.Builder) {
		b.(*array.Uint8Builder).AppendValues([]uint8{10, 0, math.MaxUint8}, nil)
	})
	add("uint16", arrow.PrimitiveTypes.Uint16, none, func(b array.Builder) {
		b.(*array.Uint16Builder).AppendValues([]uint16{999, 0, math.MaxUint16}, nil)
	})
	add("uint32", arrow.PrimitiveTypes.Uint32, none, func(b array.Builder) {
		b.(*array.Uint32Builder).AppendValues([]uint32{999999, 0, math.MaxUint32}, nil)
	})
	add("uint64", arrow.PrimitiveTypes.Uint64, none, func(b array.Builder) {
		b.(*array.Uint64Builder).AppendValues([]uint64{9007199254740993, 0, math.MaxUint64}, nil)
	})
	add("float32", arrow.PrimitiveTypes.Float32, none, func(b array.Builder) {
		b.(*array.Float32Builder).AppendValues([]float32{0.1, -math.MaxFloat32, math.SmallestNonzeroFloat32}, nil)
	})
	add("float64", arrow.PrimitiveTypes.Float64, none, func(b array.Builder) {
		b.(*array.Float64Builder).AppendValues([]float64{-1234.5, -math.MaxFloat64, math.SmallestNonzeroFloat64}, nil)
	})
	add("decimal_10_2", &arrow.Decimal128Type{Precision: 10, Scale: 2}, none, func(b array.Builder) {
		b.(*array.Decimal128Builder).AppendValues([]decimal128.Num{dec128("-5"), dec128("-9999999999"), dec128("9999999999")}, nil)
	})
	add("decimal_38_4", &arrow.Decimal128Type{Precision: 38, Scale: 4}, none, func(b array.Builder) {
		b.(*array.Decimal128Builder).AppendValues([]decimal128.Num{dec128("1484000"), dec128("-" + nines(38)), dec128(nines(38))}, nil)
	})
	add("decimal_38_0", &arrow.Decimal128Type{Precision: 38, Scale: 0}, none, func(b array.Builder) {
		b.(*array.Decimal128Builder).AppendValues([]decimal128.Num{dec128("0"), dec128("-" + nines(38)), dec128(nines(38))}, nil)
	})
	add("decimal_65_30", &arrow.Decimal256Type{Precision: 65, Scale: 30}, none, func(b array.Builder) {
		b.(*array.Decimal256Builder).AppendValues([]decimal256.Num{dec256("1"), dec256("-" + nines(65)), dec256(nines(65))}, nil)
	})
	add("date32", arrow.FixedWidthTypes.Date32, none, func(b array.Builder) {
		b.(*array.Date32Builder).AppendValues([]arrow.Date32{19782, -719528, 2932896}, nil)
	})
	add("date64", arrow.FixedWidthTypes.Date64, none, func(b array.Builder) {
		b.(*array.Date64Builder).AppendValues([]arrow.Date64{19782 * 86400000, -719528 * 86400000, 2932897 * 86400000},
			nil)
	})
	add("datetime", &arrow.TimestampType{Unit: arrow.Microsecond}, meta(sdk.MetaFraction, "0"), func(b array.Builder) {
		b.(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1709210096000000, -1000000, 253402300799000000}, nil)
	})
	add("datetime_3", &arrow.TimestampType{Unit: arrow.Microsecond}, meta(sdk.MetaFraction, "3"), func(b array.Builder) {
		b.(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1709210096050000, -1000, 253402300799999000}, nil)
	})
	add("timestamp_s", &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}, none, func(b array.Builder) {
		b.(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1709210096, math.MinInt64, math.MaxInt64}, nil)
	})
	add("timestamp_ms", arrow.FixedWidthTypes.Timestamp_ms, none, func(b array.Builder) {
		b.(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1709210096007, -1, 0}, nil)
	})
	add("timestamp_us", arrow.FixedWidthTypes.Timestamp_us, none, func(b array.Builder) {
		b.(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1709210096000007, -1, 0}, nil)
	})
	add("timestamp_ns", arrow.FixedWidthTypes.Timestamp_ns, none, func(b array.Builder) {
		b.(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1709210096000000007, math.MinInt64, math.MaxInt64},
			nil)
	})
	add("time32", arrow.FixedWidthTypes.Time32s, none, func(b array.Builder) {
		b.(*array.Time32Builder).AppendValues([]arrow.Time32{3661, 0, 86399}, nil)
	})
	add("time64", arrow.FixedWidthTypes.Time64ns, none, func(b array.Builder) {
		b.(*array.Time64Builder).AppendValues([]arrow.Time64{3661000000001, 0, 86399999999999}, nil)
	})
	add("duration", arrow.FixedWidthTypes.Duration_us, meta(sdk.MetaFraction, "6"), func(b array.Builder) {
		b.(*array.DurationBuilder).AppendValues([]arrow.Duration{-1500000, -3020399000000, 3020399000000}, nil)
	})
	add("duration_s", arrow.FixedWidthTypes.Duration_s, none, func(b array.Builder) {
		b.(*array.DurationBuilder).AppendValues([]arrow.Duration{61, math.MinInt64, math.MaxInt64}, nil)
	})
	add("utf8", arrow.BinaryTypes.String, none, func(b array.Builder) {
		b.(*array.StringBuilder).AppendValues([]string{"plain", "", "quote \" back \\ comma , line\r\n tab\t nul\x00 ünï 漢 😀 \u2028 <&> \x7f"}, nil)
	})
	add("large_utf8", arrow.BinaryTypes.LargeString, none, func(b array.Builder) {
		b.(*array.LargeStringBuilder).AppendValues([]string{" padded", "=1+2", "'quoted'"}, nil)
	})
	add("json", arrow.BinaryTypes.String, meta(sdk.MetaJSON, "true"), func(b array.Builder) {
		b.(*array.StringBuilder).AppendValues([]string{`{"a": [1, 2.50, null]}`, `"text"`, "{\n  \"ä\": \"x y\"\n}"}, nil)
	})
	add("binary", arrow.BinaryTypes.Binary, none, func(b array.Builder) {
		b.(*array.BinaryBuilder).AppendValues([][]byte{{0}, {}, {0xff, 0xfe, 0xfd, 0xfc}}, nil)
	})
	add("large_binary", arrow.BinaryTypes.LargeBinary, none, func(b array.Builder) {
		b.(*array.BinaryBuilder).AppendValues([][]byte{{1, 2}, {}, {1, 2, 3}}, nil)
	})
	add("fixed_binary", &arrow.FixedSizeBinaryType{ByteWidth: 3}, none, func(b array.Builder) {
		b.(*array.FixedSizeBinaryBuilder).AppendValues([][]byte{{0, 0, 0}, {0xff, 0xff, 0xff}, {1, 2, 3}}, nil)
	})
	record := array.NewRecord(arrow.NewSchema(fields, nil), columns, 4)
	for _, c := range columns {
		c.Release()
	}
	return record
}

// Text returns a batch of one text column. The caller releases it.
func Text(name string, values ...string) arrow.Record {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(values, nil)
	column := b.NewArray()
	defer column.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: name, Type: arrow.BinaryTypes.String}}, nil)
	return array.NewRecord(schema, []arrow.Array{column}, int64(len(values)))
}
