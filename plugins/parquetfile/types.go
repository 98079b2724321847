package parquetfile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// mapColumns turns the schema of a file into columns.
func mapColumns(m *fileMetaData) (*arrow.Schema, []*column, error) {
	if len(m.Schema) == 0 {
		return nil, nil, corrupt("the file has no schema")
	}
	if len(m.Schema) > maxColumns {
		return nil, nil, corrupt("the schema has more than %d columns", maxColumns)
	}
	hints := arrowHints(m.KeyValues)
	var fields []arrow.Field
	var columns []*column
	for i := range m.Schema[1:] {
		e := &m.Schema[i+1]
		if !utf8.ValidString(e.Name) {
			return nil, nil, corrupt("the name of column %d is not valid UTF-8: %q", i+1, shorten(e.Name))
		}
		if !e.Type.Valid || e.Repetition == format.Repeated {
			return nil, nil, unsupported("column %q is nested; only flat columns are read", shorten(e.Name)).
				WithHint("flatten the column where the file is written")
		}
		c := &column{name: e.Name, physical: e.Type.V, optional: e.Repetition == format.Optional}
		field, err := c.mapField(e, hints[e.Name])
		if err != nil {
			return nil, nil, err
		}
		fields, columns = append(fields, field), append(columns, c)
	}
	if int(m.Schema[0].Children) != len(columns) {
		return nil, nil, corrupt("the schema announces %d columns and has %d", m.Schema[0].Children, len(columns))
	}
	if len(columns) == 0 {
		return nil, nil, unsupported("the file has no columns")
	}
	return arrow.NewSchema(fields, nil), columns, nil
}

// shorten keeps a message short, whatever a file calls its columns.
func shorten(name string) string {
	if len(name) <= 80 {
		return name
	}
	return strings.ToValidUTF8(name[:80], "") + "…"
}

// arrowHints returns the fields of the Arrow schema that the file may carry. It is a hint: what
// is wrong with it is ignored, because the file's own schema says all that is needed.
func arrowHints(settings []keyValue) map[string]arrow.Field {
	hints := map[string]arrow.Field{}
	for _, kv := range settings {
		if kv.Key != "ARROW:schema" {
			continue
		}
		message, err := base64.StdEncoding.DecodeString(kv.Value)
		if err != nil {
			return hints
		}
		r, err := wire.NewReader(bytes.NewReader(message))
		if err != nil {
			return hints
		}
		for _, f := range r.Schema().Fields() {
			if _, twice := hints[f.Name]; !twice {
				hints[f.Name] = f
			}
		}
	}
	return hints
}

// stored is how values of a physical type with an annotation become Arrow's.
type stored struct {
	kind kind
	typ  arrow.DataType
}

// arrowTypes has the types of a fixed form, by physical type and annotation. Decimals, nulls and
// byte arrays of one length are mapped by themselves.
var arrowTypes = map[format.Type]map[string]stored{
	format.Boolean: {"": {kindBool, arrow.FixedWidthTypes.Boolean}},
	format.Int32: {
		"":        {kindCopy, arrow.PrimitiveTypes.Int32},
		"int32":   {kindCopy, arrow.PrimitiveTypes.Int32},
		"uint32":  {kindCopy, arrow.PrimitiveTypes.Uint32},
		"int16":   {kindInt16, arrow.PrimitiveTypes.Int16},
		"uint16":  {kindUint16, arrow.PrimitiveTypes.Uint16},
		"int8":    {kindInt8, arrow.PrimitiveTypes.Int8},
		"uint8":   {kindUint8, arrow.PrimitiveTypes.Uint8},
		"date":    {kindCopy, arrow.FixedWidthTypes.Date32},
		"time_ms": {kindCopy, arrow.FixedWidthTypes.Time32ms},
	},
	format.Int64: {
		"":             {kindCopy, arrow.PrimitiveTypes.Int64},
		"int64":        {kindCopy, arrow.PrimitiveTypes.Int64},
		"uint64":       {kindCopy, arrow.PrimitiveTypes.Uint64},
		"time_us":      {kindCopy, arrow.FixedWidthTypes.Time64us},
		"time_ns":      {kindCopy, arrow.FixedWidthTypes.Time64ns},
		"timestamp_ms": {kindCopy, &arrow.TimestampType{Unit: arrow.Millisecond}},
		"timestamp_us": {kindCopy, &arrow.TimestampType{Unit: arrow.Microsecond}},
		"timestamp_ns": {kindCopy, &arrow.TimestampType{Unit: arrow.Nanosecond}},
	},
	format.Float:  {"": {kindCopy, arrow.PrimitiveTypes.Float32}},
	format.Double: {"": {kindCopy, arrow.PrimitiveTypes.Float64}},
	format.ByteArray: {
		"":       {kindBytes, arrow.BinaryTypes.Binary},
		"bson":   {kindBytes, arrow.BinaryTypes.Binary},
		"string": {kindBytes, arrow.BinaryTypes.String},
		"enum":   {kindBytes, arrow.BinaryTypes.String},
		"json":   {kindBytes, arrow.BinaryTypes.String},
	},
}

// widths has the bytes of a PLAIN value, where all have as many.
var widths = map[format.Type]int{format.Int32: 4, format.Float: 4, format.Int64: 8, format.Double: 8}

// mapField chooses the Arrow type of a column.
func (c *column) mapField(e *schemaElement, hint arrow.Field) (arrow.Field, error) {
	f := arrow.Field{Name: e.Name, Nullable: c.optional, Metadata: hint.Metadata}
	refuse := func(why string, args ...any) (arrow.Field, error) {
		return f, unsupported("column %q has a type that is not read: %s", shorten(e.Name), fmt.Sprintf(why, args...)).
			WithHint("leave the column out, or convert it where the file is written")
	}
	if c.physical < format.Boolean || c.physical > format.FixedLenByteArray {
		return f, corrupt("column %q has the physical type %d, which does not exist", shorten(e.Name), c.physical)
	}
	c.width = widths[c.physical]
	switch c.physical {
	case format.Int96:
		return refuse("INT96, a deprecated form of timestamps")
	case format.FixedLenByteArray:
		if e.Length < 1 || e.Length > 1<<20 {
			return refuse("values of %d bytes", e.Length)
		}
		c.width = int(e.Length)
	}
	a := e.annotation()
	switch {
	case a.name == "null":
		c.kind, c.typ = kindNull, arrow.Null
	case a.name == "decimal":
		if err := c.mapDecimal(a, hint); err != nil {
			return f, err
		}
	case c.physical == format.FixedLenByteArray && (a.name == "" || a.name == "uuid" && c.width == 16):
		c.kind, c.typ = kindCopy, &arrow.FixedSizeBinaryType{ByteWidth: c.width}
	default:
		s, ok := arrowTypes[c.physical][a.name]
		if !ok {
			return refuse("%s annotated as %s", c.physical, a.name)
		}
		c.kind, c.typ = s.kind, s.typ
	}
	// What Parquet has no word for, the Arrow schema in the file may say.
	switch t := c.typ.(type) {
	case *arrow.Int64Type:
		if d, ok := hint.Type.(*arrow.DurationType); ok && a.name == "" {
			c.typ = d
		}
	case *arrow.TimestampType:
		if !a.instant {
			break
		}
		zoned := &arrow.TimestampType{Unit: t.Unit, TimeZone: "UTC"}
		if h, ok := hint.Type.(*arrow.TimestampType); ok && h.TimeZone != "" {
			zoned.TimeZone = h.TimeZone
		}
		c.typ = zoned
	}
	if a.name == "json" {
		f.Metadata = with(f.Metadata, sdk.MetaJSON, "true")
	}
	if t, ok := c.typ.(arrow.FixedWidthDataType); ok && c.kind != kindBool {
		c.out = t.Bytes()
	}
	f.Type = c.typ
	return f, nil
}

// with returns metadata that has key set to value.
func with(m arrow.Metadata, key, value string) arrow.Metadata {
	all := m.ToMap()
	all[key] = value
	return arrow.MetadataFrom(all)
}

func (c *column) mapDecimal(a annotation, hint arrow.Field) error {
	if a.precision < 1 || a.precision > 76 || a.scale < 0 || a.scale > a.precision {
		return unsupported("column %q is a decimal of %d digits with %d behind the point; up to 76 are read",
			shorten(c.name), a.precision, a.scale).
			WithHint("leave the column out, or convert it where the file is written")
	}
	switch c.physical {
	case format.Int32, format.Int64, format.FixedLenByteArray, format.ByteArray:
	default:
		return unsupported("column %q is a decimal in %s", shorten(c.name), c.physical)
	}
	c.kind, c.typ, c.precision = kindDecimal128, &arrow.Decimal128Type{Precision: a.precision, Scale: a.scale}, a.precision
	wide := &arrow.Decimal256Type{Precision: a.precision, Scale: a.scale}
	if a.precision > 38 || hint.Type != nil && arrow.TypeEqual(hint.Type, wide) {
		c.kind, c.typ = kindDecimal256, wide
	}
	return nil
}

// kind says how a column's values become Arrow's.
type kind uint8

const (
	kindNull kind = iota
	kindBool      // bits
	kindCopy      // the same bytes
	kindInt8      // from INT32, and the next three too
	kindInt16
	kindUint8
	kindUint16
	kindDecimal128
	kindDecimal256
	kindBytes // of any length
)
