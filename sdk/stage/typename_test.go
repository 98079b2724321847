package stage_test

import (
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestTypeName: a column's type has one name, whatever it is in memory.
func TestTypeName(t *testing.T) {
	t.Parallel()
	meta := func(key, value string) arrow.Metadata { return arrow.NewMetadata([]string{key}, []string{value}) }
	for _, c := range []struct {
		field arrow.Field
		want  string
	}{
		{arrow.Field{Type: arrow.PrimitiveTypes.Int8}, "int8"},
		{arrow.Field{Type: arrow.PrimitiveTypes.Uint64}, "uint64"},
		{arrow.Field{Type: arrow.PrimitiveTypes.Float64}, "float64"},
		{arrow.Field{Type: arrow.FixedWidthTypes.Float16}, "float16"},
		{arrow.Field{Type: arrow.FixedWidthTypes.Boolean}, "boolean"},
		{arrow.Field{Type: arrow.BinaryTypes.String}, "string"},
		{arrow.Field{Type: arrow.BinaryTypes.LargeString}, "string"},
		{arrow.Field{Type: arrow.BinaryTypes.String, Metadata: meta(stage.MetaJSON, "true")}, "json"},
		{arrow.Field{Type: arrow.BinaryTypes.LargeBinary}, "binary"},
		{arrow.Field{Type: &arrow.FixedSizeBinaryType{ByteWidth: 16}}, "binary"},
		{arrow.Field{Type: arrow.FixedWidthTypes.Date32}, "date"},
		{arrow.Field{Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}}, "decimal(10,2)"},
		{arrow.Field{Type: &arrow.Decimal256Type{Precision: 65, Scale: 30}}, "decimal(65,30)"},
		{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Second}}, "timestamp"},
		{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Nanosecond}}, "timestamp(9)"},
		{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Metadata: meta(stage.MetaFraction, "4")}, "timestamp(4)"},
		{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "Australia/Sydney"}}, "timestamp(3) in Australia/Sydney"},
		{arrow.Field{Type: arrow.FixedWidthTypes.Duration_us, Metadata: meta(stage.MetaFraction, "0")}, "time"},
		{arrow.Field{Type: arrow.FixedWidthTypes.Time64us}, "time of day(6)"},
		{arrow.Field{Type: arrow.Null}, "untyped NULL"},
		{arrow.Field{Type: arrow.ListOf(arrow.PrimitiveTypes.Int32)}, "list<item: int32, nullable>"},
	} {
		if got := stage.TypeName(c.field); got != c.want {
			t.Errorf("%s: %q, want %q", c.field.Type, got, c.want)
		}
	}
}
