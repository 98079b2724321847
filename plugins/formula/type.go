package formula

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
)

// Kind is a group of types that are computed with alike.
type Kind uint8

// The kinds.
const (
	Unknown   Kind = iota // a column of which nothing but the name is known, when a pipeline is only checked
	Null                  // null itself
	Bool                  // boolean
	Int                   // every integer but uint64
	Uint                  // uint64
	Float                 // float32 and float64
	Decimal               // decimal(precision,scale)
	Text                  // string
	Bytes                 // binary
	Date                  // date, in days
	Timestamp             // timestamp(N)
	Span                  // time(N): a time of day or a duration
)

// Type is the type of an expression, known before any row is read.
type Type struct {
	Kind Kind
	// Precision and Scale are those of a decimal.
	Precision, Scale int
	// Fraction is how many fractional second digits a timestamp or a time has, 0 to 9, and Zone the zone of a timestamp
	// that is an instant; empty is local time.
	Fraction int
	Zone     string
}

// String is the type as the columns of a pipeline name it.
func (t Type) String() string {
	switch t.Kind {
	case Null:
		return "null"
	case Bool:
		return "boolean"
	case Int:
		return "int64"
	case Uint:
		return "uint64"
	case Float:
		return "float64"
	case Decimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case Text:
		return "string"
	case Bytes:
		return "binary"
	case Date:
		return "date"
	case Timestamp, Span:
		name := "time"
		if t.Kind == Timestamp {
			name = "timestamp"
		}
		if t.Fraction > 0 {
			name += "(" + strconv.Itoa(t.Fraction) + ")"
		}
		if t.Zone != "" {
			name += " in " + t.Zone
		}
		return name
	}
	return "unknown"
}

func (t Type) unit() arrow.TimeUnit {
	return []arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond}[(t.Fraction+2)/3]
}

// perSecond is how many units of the type's values are a second.
func (t Type) perSecond() int64 { return parse.PerSecond(t.unit()) }

// Field is a column of the type.
func (t Type) Field(name string, nullable bool) arrow.Field {
	f := arrow.Field{Name: name, Nullable: nullable}
	switch t.Kind {
	case Unknown:
		return naming.UnknownField(name)
	case Null:
		f.Type = arrow.Null
	case Bool:
		f.Type = arrow.FixedWidthTypes.Boolean
	case Int:
		f.Type = arrow.PrimitiveTypes.Int64
	case Uint:
		f.Type = arrow.PrimitiveTypes.Uint64
	case Float:
		f.Type = arrow.PrimitiveTypes.Float64
	case Decimal:
		if t.Precision <= 38 {
			f.Type = &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
		} else {
			f.Type = &arrow.Decimal256Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
		}
	case Text:
		f.Type = arrow.BinaryTypes.String
	case Bytes:
		f.Type = arrow.BinaryTypes.Binary
	case Date:
		f.Type = arrow.FixedWidthTypes.Date32
	case Timestamp:
		f.Type = &arrow.TimestampType{Unit: t.unit(), TimeZone: t.Zone}
		f.Metadata = arrow.NewMetadata([]string{sdk.MetaFraction}, []string{strconv.Itoa(t.Fraction)})
	case Span:
		f.Type = &arrow.DurationType{Unit: t.unit()}
		f.Metadata = arrow.NewMetadata([]string{sdk.MetaFraction}, []string{strconv.Itoa(t.Fraction)})
	}
	return f
}

// typeOf is what a column is in expressions; false if they cannot read it.
func typeOf(f arrow.Field) (Type, bool) {
	if naming.Unknown(f) {
		return Type{}, true
	}
	fraction := func(u arrow.TimeUnit) int {
		if text, ok := f.Metadata.GetValue(sdk.MetaFraction); ok {
			// Fewer digits than the unit has; more than it holds would be another unit.
			if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 9 && (Type{Fraction: n}).unit() == u {
				return n
			}
		}
		return 3 * int(u)
	}
	switch t := f.Type.(type) {
	case *arrow.NullType:
		return Type{Kind: Null}, true
	case *arrow.BooleanType:
		return Type{Kind: Bool}, true
	case *arrow.Uint64Type:
		return Type{Kind: Uint}, true
	case *arrow.Float32Type, *arrow.Float64Type:
		return Type{Kind: Float}, true
	case arrow.DecimalType:
		p, s := int(t.GetPrecision()), int(t.GetScale())
		return Type{Kind: Decimal, Precision: p, Scale: s}, s >= 0 && s <= p && p <= parse.MaxPrecision
	case *arrow.StringType, *arrow.LargeStringType:
		return Type{Kind: Text}, true
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return Type{Kind: Bytes}, true
	case *arrow.Date32Type, *arrow.Date64Type:
		return Type{Kind: Date}, true
	case *arrow.TimestampType:
		return Type{Kind: Timestamp, Fraction: fraction(t.Unit), Zone: t.TimeZone}, true
	case *arrow.DurationType:
		return Type{Kind: Span, Fraction: fraction(t.Unit)}, true
	case *arrow.Time32Type:
		return Type{Kind: Span, Fraction: fraction(t.Unit)}, true
	case *arrow.Time64Type:
		return Type{Kind: Span, Fraction: fraction(t.Unit)}, true
	}
	return Type{Kind: Int}, arrow.IsInteger(f.Type.ID())
}

// class is a group of kinds whose values compare with each other.
type class uint8

const (
	classAny class = iota
	classNull
	classNumber
	classText
	classBool
	classBytes
	classTime
	classSpan
)

func (t Type) class() class {
	switch t.Kind {
	case Null:
		return classNull
	case Bool:
		return classBool
	case Int, Uint, Float, Decimal:
		return classNumber
	case Text:
		return classText
	case Bytes:
		return classBytes
	case Date, Timestamp:
		return classTime
	case Span:
		return classSpan
	}
	return classAny
}
