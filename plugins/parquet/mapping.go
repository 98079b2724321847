package parquet

import (
	"fmt"
	"math/big"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// kind separates the columns that are handled apart.
type kind uint8

const (
	kindValue kind = iota
	kindNull       // no values at all
)

// mapping is what is decided about a column before the first batch.
type mapping struct {
	name     string
	optional bool
	kind     kind
	physical format.Type
	// width is the bytes of a PLAIN value; 0 for BYTE_ARRAY and BOOLEAN.
	width   int
	text    bool // must be UTF-8
	order   order
	element format.SchemaElement
	put     putFunc
	size    func(*span) int // of byte arrays, or nil
	// described is the type in Parquet, for messages.
	described string
}

// mapColumns decides how the columns of a schema are stored. The schema it returns is that
// of the values as they are stored, for Arrow's readers.
func mapColumns(in *arrow.Schema, durations string) (*arrow.Schema, []*column, error) {
	if in.NumFields() == 0 {
		return nil, nil, fault.New("encoder.no_columns", fault.Usage, "the rows have no columns; a Parquet file needs one")
	}
	seen := map[string]int{}
	fields := make([]arrow.Field, in.NumFields())
	columns := make([]*column, in.NumFields())
	var first *fault.Fault
	for i, f := range in.Fields() {
		if other, ok := seen[f.Name]; ok {
			return nil, nil, fault.New("encoder.duplicate_column", fault.Usage,
				"columns %d and %d are both named %q; Parquet needs distinct names", other+1, i+1, f.Name).
				WithHint("rename one of them with the columns filter: rename: {%q: NEW_NAME}", f.Name+"#2")
		}
		seen[f.Name] = i
		if !utf8.ValidString(f.Name) {
			return nil, nil, fault.New("encoder.invalid_name", fault.Data, "the name of column %d is not valid UTF-8: %q", i+1, f.Name).
				WithHint("rename it in the query")
		}
		c := &column{}
		stored, problem := c.mapField(f, durations)
		switch {
		case problem == nil:
		case first == nil:
			first = problem
		default:
			first.Message += "; " + problem.Message
		}
		fields[i], columns[i] = stored, c
	}
	if first != nil {
		return nil, nil, first.WithHint("leave the column out with the columns filter, or convert it at the source")
	}
	metadata := in.Metadata()
	return arrow.NewSchema(fields, &metadata), columns, nil
}

// mapField decides about one column.
func (c *column) mapField(f arrow.Field, durations string) (arrow.Field, *fault.Fault) {
	c.name, c.optional = f.Name, f.Nullable
	repetition := format.Required
	if f.Nullable {
		repetition = format.Optional
	}
	var logical format.LogicalTypeValue
	converted := deprecated.ConvertedType(-1)
	integer := func(bits int8, signed bool, as deprecated.ConvertedType) {
		logical, converted = &format.IntType{BitWidth: bits, IsSigned: signed}, as
		if c.order = orderSigned; !signed {
			c.order = orderUnsigned
		}
	}
	fixed := func(t format.Type, o order, p putFunc) {
		c.physical, c.put, c.order = t, p, o
		switch t {
		case format.Int32, format.Float:
			c.width = 4
		case format.Int64, format.Double:
			c.width = 8
		}
	}
	switch t := f.Type.(type) {
	case *arrow.NullType:
		c.kind, c.optional, repetition = kindNull, true, format.Optional
		fixed(format.Int32, orderNone, nil)
		logical = &format.NullType{}
	case *arrow.BooleanType:
		fixed(format.Boolean, orderBool, putBool)
		c.never = true
	case *arrow.Int8Type:
		fixed(format.Int32, orderSigned, widen[int8])
		integer(8, true, deprecated.Int8)
	case *arrow.Int16Type:
		fixed(format.Int32, orderSigned, widen[int16])
		integer(16, true, deprecated.Int16)
	case *arrow.Int32Type:
		fixed(format.Int32, orderSigned, put32)
	case *arrow.Int64Type:
		fixed(format.Int64, orderSigned, put64)
	case *arrow.Uint8Type:
		fixed(format.Int32, orderUnsigned, widen[uint8])
		integer(8, false, deprecated.Uint8)
	case *arrow.Uint16Type:
		fixed(format.Int32, orderUnsigned, widen[uint16])
		integer(16, false, deprecated.Uint16)
	case *arrow.Uint32Type:
		fixed(format.Int32, orderUnsigned, put32)
		integer(32, false, deprecated.Uint32)
	case *arrow.Uint64Type:
		fixed(format.Int64, orderUnsigned, put64)
		integer(64, false, deprecated.Uint64)
	case *arrow.Float32Type:
		fixed(format.Float, orderFloat, put32)
	case *arrow.Float64Type:
		fixed(format.Double, orderFloat, put64)
	case *arrow.Decimal128Type:
		if problem := c.mapDecimal(f, t.Precision, t.Scale, 38); problem != nil {
			return f, problem
		}
		logical, converted = &format.DecimalType{Precision: t.Precision, Scale: t.Scale}, deprecated.Decimal
	case *arrow.Decimal256Type:
		if problem := c.mapDecimal(f, t.Precision, t.Scale, 76); problem != nil {
			return f, problem
		}
		logical, converted = &format.DecimalType{Precision: t.Precision, Scale: t.Scale}, deprecated.Decimal
	case *arrow.Date32Type:
		fixed(format.Int32, orderSigned, put32)
		logical, converted = &format.DateType{}, deprecated.Date
	case *arrow.Date64Type:
		fixed(format.Int32, orderSigned, putDate64)
		logical, converted = &format.DateType{}, deprecated.Date
		f.Type = arrow.FixedWidthTypes.Date32
	case *arrow.TimestampType:
		fixed(format.Int64, orderSigned, put64)
		unit := t.Unit
		if unit == arrow.Second {
			c.put, unit = multiply64(1000), arrow.Millisecond
			f.Type = &arrow.TimestampType{Unit: unit, TimeZone: t.TimeZone}
		}
		instant := t.TimeZone != ""
		logical = &format.TimestampType{IsAdjustedToUTC: instant, Unit: timeUnit(unit)}
		// The older annotation means instants.
		switch {
		case instant && unit == arrow.Millisecond:
			converted = deprecated.TimestampMillis
		case instant && unit == arrow.Microsecond:
			converted = deprecated.TimestampMicros
		}
	case *arrow.Time32Type:
		fixed(format.Int32, orderSigned, put32)
		if t.Unit == arrow.Second {
			c.put = multiply32(1000)
			f.Type = arrow.FixedWidthTypes.Time32ms
		}
		logical = &format.TimeType{Unit: timeUnit(arrow.Millisecond)}
	case *arrow.Time64Type:
		fixed(format.Int64, orderSigned, put64)
		logical = &format.TimeType{Unit: timeUnit(t.Unit)}
	case *arrow.DurationType:
		factor, unit, day := int64(1), t.Unit, int64(86400*1_000_000)
		switch t.Unit {
		case arrow.Second:
			factor, unit = 1_000_000, arrow.Microsecond
		case arrow.Millisecond:
			factor, unit = 1000, arrow.Microsecond
		case arrow.Nanosecond:
			day *= 1000
		}
		fixed(format.Int64, orderSigned, multiply64(factor))
		f.Type = &arrow.DurationType{Unit: unit}
		if durations == durationsTime {
			c.put, f.Type = timeOfDay(factor, day), &arrow.Time64Type{Unit: unit}
			logical = &format.TimeType{Unit: timeUnit(unit)}
		}
	case *arrow.StringType, *arrow.LargeStringType:
		c.physical, c.order, c.text = format.ByteArray, orderBytes, true
		c.put, c.size = putVariable[int32], sizeOf[int32]
		if t.ID() == arrow.LARGE_STRING {
			c.put, c.size = putVariable[int64], sizeOf[int64]
		}
		logical, converted = &format.StringType{}, deprecated.UTF8
		if document, _ := f.Metadata.GetValue(sdk.MetaJSON); document == "true" {
			logical, converted = &format.JsonType{}, deprecated.Json
		}
	case *arrow.BinaryType:
		c.physical, c.order = format.ByteArray, orderBytes
		c.put, c.size = putVariable[int32], sizeOf[int32]
	case *arrow.LargeBinaryType:
		c.physical, c.order = format.ByteArray, orderBytes
		c.put, c.size = putVariable[int64], sizeOf[int64]
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth < 1 {
			return f, unsupported(f, "Parquet has no values of that length")
		}
		c.physical, c.order, c.put, c.width = format.FixedLenByteArray, orderBytes, putFixedBinary, t.ByteWidth
		if t.ByteWidth > maxBoundBytes {
			// A cut bound would not be a value of the type.
			c.order = orderNone
		}
		c.size = func(s *span) int { return s.n * t.ByteWidth }
	default:
		return f, unsupported(f, "Parquet files of this stage hold flat columns alone")
	}
	c.element = format.SchemaElement{
		Type:           thrift.New(c.physical),
		RepetitionType: thrift.New(repetition),
		Name:           f.Name,
		LogicalType:    format.LogicalType{Value: logical},
	}
	if converted >= 0 {
		c.element.ConvertedType = thrift.New(converted)
	}
	if c.physical == format.FixedLenByteArray {
		c.element.TypeLength = thrift.New(int32(c.width))
	}
	c.described = c.physical.String()
	if logical != nil {
		c.described = fmt.Sprintf("%s in %s", logical, c.physical)
	}
	if d, ok := logical.(*format.DecimalType); ok {
		// Older readers look here.
		c.element.Precision, c.element.Scale = thrift.New(d.Precision), thrift.New(d.Scale)
	}
	return f, nil
}

// mapDecimal chooses the smallest type that holds the precision
// (https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#decimal).
func (c *column) mapDecimal(f arrow.Field, precision, scale, most int32) *fault.Fault {
	if precision < 1 || precision > most || scale < 0 || scale > precision {
		return unsupported(f, fmt.Sprintf("a Parquet decimal has 1 to %d digits, of which none to all stand behind the point", most))
	}
	wide := most > 38
	switch {
	case precision <= 18:
		c.physical, c.width = format.Int64, 8
		if precision <= 9 {
			c.physical, c.width = format.Int32, 4
		}
		c.order = orderSigned
		if c.put = putShortDecimal[decimal128.Num](precision); wide {
			c.put = putShortDecimal[decimal256.Num](precision)
		}
	default:
		c.physical, c.width, c.order = format.FixedLenByteArray, decimalBytes(precision), orderDecimal
		if wide {
			c.put = putDecimal256(precision)
		} else {
			c.put = putDecimal128(precision)
		}
	}
	return nil
}

// decimalBytes is the size in which a decimal is stored whose digits 64 bits do not hold: the
// least that holds them. Beyond 38 digits it is a multiple of eight: of other sizes above 16 bytes
// DuckDB before 2.0 reads another number.
func decimalBytes(precision int32) int {
	largest := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	n := largest.Sub(largest, big.NewInt(1)).BitLen()/8 + 1
	if precision > 38 {
		n = (n + 7) / 8 * 8
	}
	return n
}

func timeUnit(u arrow.TimeUnit) format.TimeUnit {
	switch u {
	case arrow.Millisecond:
		return format.TimeUnit{Value: &format.MilliSeconds{}}
	case arrow.Microsecond:
		return format.TimeUnit{Value: &format.MicroSeconds{}}
	}
	return format.TimeUnit{Value: &format.NanoSeconds{}}
}
