package wire

import "github.com/apache/arrow/go/v15/arrow"

// Members of the union Type in Schema.fbs.
const (
	typeNull = iota + 1
	typeInt
	typeFloatingPoint
	typeBinary
	typeUtf8
	typeBool
	typeDecimal
	typeDate
	typeTime
	typeTimestamp
	typeInterval
	typeList
	typeStruct
	typeUnion
	typeFixedSizeBinary
	typeFixedSizeList
	typeMap
	typeDuration
	typeLargeBinary
	typeLargeUtf8
	typeLargeList
	typeRunEndEncoded
	typeBinaryView
	typeUtf8View
	typeListView
	typeLargeListView
)

// plainTypes are the types without parameters.
var plainTypes = map[uint8]arrow.DataType{
	typeNull:        arrow.Null,
	typeBool:        arrow.FixedWidthTypes.Boolean,
	typeBinary:      arrow.BinaryTypes.Binary,
	typeUtf8:        arrow.BinaryTypes.String,
	typeLargeBinary: arrow.BinaryTypes.LargeBinary,
	typeLargeUtf8:   arrow.BinaryTypes.LargeString,
}

// unsupportedTypes are named in the error that refuses them.
var unsupportedTypes = map[uint8]string{
	typeUnion:         "union",
	typeRunEndEncoded: "run-end encoded",
	typeBinaryView:    "binary view",
	typeUtf8View:      "utf8 view",
	typeListView:      "list view",
	typeLargeListView: "large list view",
}

// Types with one parameter out of a list, by its value.
var (
	signedInts   = map[int32]arrow.DataType{8: arrow.PrimitiveTypes.Int8, 16: arrow.PrimitiveTypes.Int16, 32: arrow.PrimitiveTypes.Int32, 64: arrow.PrimitiveTypes.Int64}
	unsignedInts = map[int32]arrow.DataType{8: arrow.PrimitiveTypes.Uint8, 16: arrow.PrimitiveTypes.Uint16, 32: arrow.PrimitiveTypes.Uint32, 64: arrow.PrimitiveTypes.Uint64}
	floats       = []arrow.DataType{arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64}
	dates        = []arrow.DataType{arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64}
	intervals    = []arrow.DataType{arrow.FixedWidthTypes.MonthInterval, arrow.FixedWidthTypes.DayTimeInterval, arrow.FixedWidthTypes.MonthDayNanoInterval}
	durations    = []arrow.DataType{arrow.FixedWidthTypes.Duration_s, arrow.FixedWidthTypes.Duration_ms, arrow.FixedWidthTypes.Duration_us, arrow.FixedWidthTypes.Duration_ns}
	times        = map[int32][]arrow.DataType{
		32: {arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms, nil, nil},
		64: {nil, nil, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns},
	}
)

// parseType builds the type of a field from its table in the message. Ranges that layoutOf checks are not checked here.
// The defaults of absent slots are those of Schema.fbs.
func (p *schemaParser) parseType(kind uint8, t table, children []arrow.Field) (arrow.DataType, error) {
	if dt, ok := plainTypes[kind]; ok {
		return dt, nil
	}
	if name, ok := unsupportedTypes[kind]; ok {
		return nil, unsupported("a column has type %s; cast it to a plain type before it is sent", name)
	}
	switch kind {
	case typeInt:
		widths := unsignedInts
		if t.bool(1) {
			widths = signedInts
		}
		return known(widths[t.int32(0, 0)], "integer width %d", t.int32(0, 0))
	case typeFloatingPoint:
		return choose(floats, t.int16(0, 0), "floating-point precision")
	case typeDecimal:
		precision, scale := t.int32(0, 0), t.int32(1, 0)
		switch width := t.int32(2, 128); width {
		case 128:
			return &arrow.Decimal128Type{Precision: precision, Scale: scale}, nil
		case 256:
			return &arrow.Decimal256Type{Precision: precision, Scale: scale}, nil
		default:
			return nil, malformed("decimal width %d", width)
		}
	case typeDate:
		return choose(dates, t.int16(0, 1), "date unit")
	case typeTime:
		width := t.int32(1, 32)
		if times[width] == nil {
			return nil, malformed("time width %d", width)
		}
		return choose(times[width], t.int16(0, 1), "time unit")
	case typeTimestamp:
		unit := t.int16(0, 0)
		if unit < 0 || unit > int16(arrow.Nanosecond) {
			return nil, malformed("timestamp unit %d", unit)
		}
		return &arrow.TimestampType{Unit: arrow.TimeUnit(unit), TimeZone: p.string(t.bytes(1))}, nil
	case typeInterval:
		return choose(intervals, t.int16(0, 0), "interval unit")
	case typeDuration:
		return choose(durations, t.int16(0, 1), "duration unit")
	case typeFixedSizeBinary:
		return &arrow.FixedSizeBinaryType{ByteWidth: int(t.int32(0, 0))}, nil
	case typeStruct:
		return arrow.StructOf(children...), nil
	case typeList, typeLargeList, typeFixedSizeList, typeMap:
		if len(children) != 1 {
			return nil, malformed("a list or map has %d child fields; expected 1", len(children))
		}
		return parseList(kind, t, children[0])
	}
	return nil, malformed("type number %d is not defined", kind)
}

func parseList(kind uint8, t table, item arrow.Field) (arrow.DataType, error) {
	switch kind {
	case typeList:
		return arrow.ListOfField(item), nil
	case typeLargeList:
		return arrow.LargeListOfField(item), nil
	case typeFixedSizeList:
		n := t.int32(0, 0)
		if n < 1 {
			return nil, malformed("fixed-size list of %d values; expected at least 1", n)
		}
		return arrow.FixedSizeListOfField(n, item), nil
	}
	entries, ok := item.Type.(*arrow.StructType)
	if !ok || item.Nullable || entries.NumFields() != 2 || entries.Field(0).Nullable {
		return nil, malformed("the child of a map must be a non-nullable struct of a non-nullable key and a value")
	}
	// Go's map type always calls the two fields "key" and "value"; the format gives no meaning to their names.
	k, v := entries.Field(0), entries.Field(1)
	dt := arrow.MapOfWithMetadata(k.Type, k.Metadata, v.Type, v.Metadata)
	dt.SetItemNullable(v.Nullable)
	dt.KeysSorted = t.bool(0)
	return dt, nil
}

func choose(from []arrow.DataType, i int16, what string) (arrow.DataType, error) {
	if i < 0 || int(i) >= len(from) {
		return nil, malformed("%s %d is not defined", what, i)
	}
	return known(from[i], what+" %d", i)
}

func known(dt arrow.DataType, format string, v any) (arrow.DataType, error) {
	if dt == nil {
		return nil, malformed(format+" is not defined here", v)
	}
	return dt, nil
}
