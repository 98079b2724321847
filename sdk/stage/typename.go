package stage

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
)

// TypeName is the name of a column's type in messages, receipts and events. It is the word that the columns of a
// pipeline use: int8 to int64, uint8 to uint64, float32, float64, boolean, string, binary, date, time(N), timestamp(N),
// json and decimal(precision,scale); a timestamp has its zone as well. Text is "string" whatever its Arrow layout.
// Types that no pipeline can declare are "untyped NULL", "time of day(N)" and, for nested ones, what Arrow calls them.
func TypeName(f arrow.Field) string {
	switch t := f.Type.(type) {
	case nil, *arrow.NullType:
		return "untyped NULL"
	case *arrow.BooleanType:
		return "boolean"
	case *arrow.StringType, *arrow.LargeStringType:
		if document, _ := f.Metadata.GetValue(MetaJSON); document == "true" {
			return "json"
		}
		return "string"
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return "binary"
	case *arrow.Date32Type:
		return "date"
	case arrow.DecimalType:
		return fmt.Sprintf("decimal(%d,%d)", t.GetPrecision(), t.GetScale())
	case *arrow.TimestampType:
		text := withDigits("timestamp", FractionDigits(f, t.Unit))
		if t.TimeZone != "" {
			text += " in " + t.TimeZone
		}
		return text
	case *arrow.DurationType:
		return withDigits("time", FractionDigits(f, t.Unit))
	case *arrow.Time32Type:
		return withDigits("time of day", FractionDigits(f, t.Unit))
	case *arrow.Time64Type:
		return withDigits("time of day", FractionDigits(f, t.Unit))
	case *arrow.Float16Type:
		return "float16"
	}
	// The integers and the floats are called the same.
	return f.Type.String()
}

func withDigits(name string, digits int) string {
	if digits == 0 {
		return name
	}
	return fmt.Sprintf("%s(%d)", name, digits)
}

// FractionDigits is the number of fractional second digits that a column declares (MetaFraction), or else that its unit
// has.
func FractionDigits(f arrow.Field, unit arrow.TimeUnit) int {
	if text, ok := f.Metadata.GetValue(MetaFraction); ok {
		if n, err := strconv.Atoi(text); err == nil {
			return n
		}
	}
	return 3 * int(unit) // from seconds, 0, to nanoseconds, 3
}
