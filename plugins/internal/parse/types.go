package parse

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/sdk"
)

// TypeNames are the column types that a user can write: those of a pipeline's
// contract. Decimal needs a precision and a scale; timestamp and time take the
// number of fractional second digits, which is 0 without.
var TypeNames = []string{"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
	"boolean", "string", "binary", "date", "time", "timestamp", "json", "decimal"}

// TypeDoc says what the types are, for the documentation of a stage.
const TypeDoc = `Types are int8 to int64, uint8 to uint64, float32, float64, boolean, string, binary, date, time,
time(N), timestamp, timestamp(N), json and decimal(precision,scale). N is the number of fractional second
digits, 0 to 9 and 0 when it is left out.`

var plainTypes = map[string]arrow.DataType{
	"int8": arrow.PrimitiveTypes.Int8, "int16": arrow.PrimitiveTypes.Int16,
	"int32": arrow.PrimitiveTypes.Int32, "int64": arrow.PrimitiveTypes.Int64,
	"uint8": arrow.PrimitiveTypes.Uint8, "uint16": arrow.PrimitiveTypes.Uint16,
	"uint32": arrow.PrimitiveTypes.Uint32, "uint64": arrow.PrimitiveTypes.Uint64,
	"float32": arrow.PrimitiveTypes.Float32, "float64": arrow.PrimitiveTypes.Float64,
	"boolean": arrow.FixedWidthTypes.Boolean, "string": arrow.BinaryTypes.String, "json": arrow.BinaryTypes.String,
	"binary": arrow.BinaryTypes.Binary, "date": arrow.FixedWidthTypes.Date32,
}

var parameterised = regexp.MustCompile(`^(decimal|time|timestamp)\(([0-9]{1,2})(?:, ?([0-9]{1,2}))?\)$`)

// Type reads the name of a column type. It returns the Arrow type, and the field
// metadata that belongs to it.
func Type(name string) (arrow.DataType, map[string]string, error) {
	if t, ok := plainTypes[name]; ok {
		if name == "json" {
			return t, map[string]string{sdk.MetaJSON: "true"}, nil
		}
		return t, nil, nil
	}
	if name == "time" || name == "timestamp" {
		name += "(0)"
	}
	m := parameterised.FindStringSubmatch(name)
	if m == nil {
		if len(name) >= 7 && name[:7] == "decimal" {
			return nil, nil, fmt.Errorf("expected decimal(precision,scale), such as decimal(10,2), not %q", name)
		}
		return nil, nil, fmt.Errorf("no column type is called %q%s", name, naming.DidYouMean(name, TypeNames))
	}
	first, _ := strconv.Atoi(m[2])
	second, _ := strconv.Atoi(m[3])
	if m[1] == "decimal" {
		switch {
		case m[3] == "" || first < 1 || first > MaxPrecision || second > first:
			return nil, nil, fmt.Errorf("expected decimal(precision,scale) with a precision from 1 to %d and a scale up to it, not %q", MaxPrecision, name)
		case first <= 38:
			return &arrow.Decimal128Type{Precision: int32(first), Scale: int32(second)}, nil, nil
		}
		return &arrow.Decimal256Type{Precision: int32(first), Scale: int32(second)}, nil, nil
	}
	if m[3] != "" || first > 9 {
		return nil, nil, fmt.Errorf("expected %s(N) with 0 to 9 fractional digits, not %q", m[1], name)
	}
	unit := []arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond}[(first+2)/3]
	meta := map[string]string{sdk.MetaFraction: strconv.Itoa(first)}
	if m[1] == "time" {
		return &arrow.DurationType{Unit: unit}, meta, nil
	}
	return &arrow.TimestampType{Unit: unit}, meta, nil
}

// Retype returns the field with the type of that name; metadata that says more
// about the old type is dropped.
func Retype(f arrow.Field, typeName string) (arrow.Field, error) {
	t, added, err := Type(typeName)
	if err != nil {
		return f, err
	}
	f.Type = t
	f.Metadata = Describe(f.Metadata, added)
	return f, nil
}

// Describe replaces the metadata that says more about a field's type.
func Describe(old arrow.Metadata, added map[string]string) arrow.Metadata {
	all := old.ToMap()
	delete(all, sdk.MetaFraction)
	delete(all, sdk.MetaJSON)
	delete(all, sdk.MetaUnknown)
	delete(all, sdk.MetaClocks)
	delete(all, sdk.MetaLocalTime)
	for k, v := range added {
		all[k] = v
	}
	if len(all) == 0 {
		return arrow.Metadata{}
	}
	return arrow.MetadataFrom(all)
}

// PerSecond is the number of units in a second.
func PerSecond(u arrow.TimeUnit) int64 {
	return []int64{1, 1e3, 1e6, 1e9}[slices.Index([]arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond}, u)]
}
