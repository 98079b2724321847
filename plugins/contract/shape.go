package contract

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// shape is a column's type in the words of a contract. How values lie in memory is
// no part of it: text with long offsets is text, and a decimal of 256 bits with ten
// digits is decimal(10,…).
type shape struct {
	name string
	// digits and scale are those of a decimal; scale is the fractional second
	// digits of a timestamp or a time as well.
	digits, scale int32
	// zone is that of a timestamp.
	zone string
	// text is the type as people read it.
	text string
}

// Types that a source may deliver and no contract can name.
const (
	untypedNull = "untyped NULL"
	timeOfDay   = "time of day"
)

// integers are the ranges of the integer types: value bits, and whether there is a
// sign.
var integers = map[string]struct {
	bits   int
	signed bool
}{
	"int8": {7, true}, "int16": {15, true}, "int32": {31, true}, "int64": {63, true},
	"uint8": {8, false}, "uint16": {16, false}, "uint32": {32, false}, "uint64": {64, false},
}

// shapeOf reads a field's type.
func shapeOf(f arrow.Field) shape {
	s := measure(f)
	s.text = sdk.TypeName(f)
	return s
}

// measure reads all of it but its text.
func measure(f arrow.Field) shape {
	switch t := f.Type.(type) {
	case *arrow.BooleanType:
		return shape{name: "boolean"}
	case *arrow.StringType, *arrow.LargeStringType:
		if document, _ := f.Metadata.GetValue(sdk.MetaJSON); document == "true" {
			return shape{name: "json"}
		}
		return shape{name: "string"}
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return shape{name: "binary"}
	case *arrow.Date32Type:
		return shape{name: "date"}
	case *arrow.Decimal128Type:
		return shape{name: "decimal", digits: t.Precision, scale: t.Scale}
	case *arrow.Decimal256Type:
		return shape{name: "decimal", digits: t.Precision, scale: t.Scale}
	case *arrow.TimestampType:
		return shape{name: "timestamp", scale: fraction(f, t.Unit), zone: t.TimeZone}
	case *arrow.DurationType:
		return shape{name: "time", scale: fraction(f, t.Unit)}
	case *arrow.Time32Type:
		return shape{name: timeOfDay, scale: fraction(f, t.Unit)}
	case *arrow.Time64Type:
		return shape{name: timeOfDay, scale: fraction(f, t.Unit)}
	case *arrow.NullType:
		return shape{name: untypedNull}
	}
	// The integers and the floats are called the same.
	return shape{name: f.Type.String()}
}

// fraction is the number of fractional second digits.
func fraction(f arrow.Field, unit arrow.TimeUnit) int32 { return int32(stage.FractionDigits(f, unit)) }

// String writes the type as in a contract.
func (s shape) String() string { return s.text }

// describe names a delivered type, and what the source itself calls it where that
// says more.
func describe(f arrow.Field) string {
	text := sdk.TypeName(f)
	if source, _ := f.Metadata.GetValue(sdk.MetaSourceType); source != "" && source != text {
		text += " (" + source + ")"
	}
	return text
}

// What is wrong with a type.
const (
	otherType   = "which is another type"
	holdsMore   = "which holds more"
	otherDigits = "whose values are written with other digits"
	otherZone   = "which has a time zone that nobody knows"
)

// compare says why values of one type are not, without any change to how they are
// written, values of another. Empty means that they are.
func compare(from, to shape) string {
	if from == to {
		return ""
	}
	a, fromInteger := integers[from.name]
	b, toInteger := integers[to.name]
	switch {
	case from.name == untypedNull:
		return ""
	case fromInteger && toInteger:
		if a.bits > b.bits || a.signed && !b.signed {
			return holdsMore
		}
		return ""
	case from.name == "float64" && to.name == "float32":
		return holdsMore
	case from.name == "float32" && to.name == "float64":
		return otherDigits
	case from.name == "json" && to.name == "string", from.name == "string" && to.name == "json":
		return ""
	case from.name != to.name && !(from.name == timeOfDay && to.name == "time"):
		return otherType
	case from.name == "decimal":
		return compareDecimal(from, to)
	case from.scale > to.scale:
		return holdsMore
	case from.scale < to.scale:
		return otherDigits
	case from.zone != to.zone && !isUTC(from.zone) && !knownZone(from.zone):
		return otherZone
	}
	return ""
}

func compareDecimal(from, to shape) string {
	switch {
	case from.scale > to.scale || from.digits-from.scale > to.digits-to.scale:
		return holdsMore
	case from.scale < to.scale:
		return otherDigits
	}
	return ""
}

// isUTC reports whether a zone's wall clock is that of the instants as they are
// stored and written.
func isUTC(zone string) bool {
	return zone == "UTC" || zone == "Etc/UTC" || zone == "+00:00" || zone == "Z"
}

// knownZone reports whether encoders can write the local times of a zone, as a contract's timestamps are.
func knownZone(name string) bool {
	_, known := zone.Load(name)
	return known
}

func joined(list []string) string { return strings.Join(list, "; ") }

// list shortens what a log line says.
func list(items []string) string {
	if len(items) > maxListed {
		items = append(items[:maxListed:maxListed], fmt.Sprintf("and %d more", len(items)-maxListed))
	}
	return joined(items)
}
