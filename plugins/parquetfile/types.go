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
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// plan turns the schema of a file into columns.
func plan(m *fileMeta) (*arrow.Schema, []*column, error) {
	if len(m.schema) == 0 {
		return nil, nil, corrupt("the file has no schema")
	}
	hints := arrowHints(m.arrow)
	var fields []arrow.Field
	var columns []*column
	for i, e := range m.schema[1:] {
		if !utf8.ValidString(e.name) {
			return nil, nil, corrupt("the name of column %d is not valid UTF-8: %q", i+1, shorten(e.name))
		}
		if !e.leaf || e.repetition == format.Repeated {
			return nil, nil, unsupported("column %q is nested; only flat columns are read", shorten(e.name)).
				WithHint("flatten the column where the file is written")
		}
		c := &column{name: e.name, physical: e.physical, optional: e.repetition == format.Optional}
		field, err := c.plan(e, hints[e.name])
		if err != nil {
			return nil, nil, err
		}
		fields, columns = append(fields, field), append(columns, c)
	}
	if int(m.schema[0].children) != len(columns) {
		return nil, nil, corrupt("the schema announces %d columns and has %d", m.schema[0].children, len(columns))
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
func arrowHints(encoded []byte) map[string]arrow.Field {
	hints := map[string]arrow.Field{}
	message := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(message, encoded)
	if err != nil || n == 0 {
		return hints
	}
	r, err := wire.NewReader(bytes.NewReader(message[:n]))
	if err != nil {
		return hints
	}
	for _, f := range r.Schema().Fields() {
		if _, twice := hints[f.Name]; !twice {
			hints[f.Name] = f
		}
	}
	return hints
}

// plan chooses the Arrow type of a column.
func (c *column) plan(e element, hint arrow.Field) (arrow.Field, error) {
	f := arrow.Field{Name: e.name, Nullable: c.optional, Metadata: hint.Metadata}
	refuse := func(why string) (arrow.Field, error) {
		return f, unsupported("column %q has a type that is not read: %s", shorten(e.name), why).
			WithHint("leave the column out, or convert it where the file is written")
	}
	l := e.logical
	switch e.physical {
	case format.Boolean:
		c.kind, f.Type = kindBool, arrow.FixedWidthTypes.Boolean
	case format.Int32, format.Int64, format.Float, format.Double:
		c.width = 4
		if e.physical == format.Int64 || e.physical == format.Double {
			c.width = 8
		}
	case format.FixedLenByteArray:
		if e.length < 1 || e.length > 1<<20 {
			return refuse(fmt.Sprintf("values of %d bytes", e.length))
		}
		c.width = int(e.length)
		c.kind, c.out, f.Type = kindCopy, c.width, &arrow.FixedSizeBinaryType{ByteWidth: c.width}
	case format.ByteArray:
		c.kind, f.Type = kindBytes, arrow.BinaryTypes.Binary
	case format.Int96:
		return refuse("INT96, a deprecated form of timestamps")
	default:
		return f, corrupt("column %q has the physical type %d, which does not exist", shorten(e.name), e.physical)
	}
	copied := func(t arrow.FixedWidthDataType) { c.kind, c.out, f.Type = kindCopy, c.width, t }
	switch {
	case l.id == logicalUnknown:
		c.kind, f.Type = kindNull, arrow.Null
	case l.id == logicalDecimal:
		return c.planDecimal(f, l, hint)
	case e.physical == format.Int32:
		switch l.id {
		case logicalNone:
			copied(&arrow.Int32Type{})
		case logicalInteger:
			switch {
			case l.bits == 32 && l.signed:
				copied(&arrow.Int32Type{})
			case l.bits == 32:
				copied(&arrow.Uint32Type{})
			case l.bits == 16 && l.signed:
				c.kind, c.out, f.Type = kindInt16, 2, arrow.PrimitiveTypes.Int16
			case l.bits == 16:
				c.kind, c.out, f.Type = kindUint16, 2, arrow.PrimitiveTypes.Uint16
			case l.bits == 8 && l.signed:
				c.kind, c.out, f.Type = kindInt8, 1, arrow.PrimitiveTypes.Int8
			case l.bits == 8:
				c.kind, c.out, f.Type = kindUint8, 1, arrow.PrimitiveTypes.Uint8
			default:
				return refuse(fmt.Sprintf("INT32 for integers of %d bits", l.bits))
			}
		case logicalDate:
			copied(&arrow.Date32Type{})
		case logicalTime:
			if l.unit != unitMillis {
				return refuse("INT32 for a time that is not in milliseconds")
			}
			copied(&arrow.Time32Type{Unit: arrow.Millisecond})
		default:
			return refuse(fmt.Sprintf("INT32 with the logical type %d", l.id))
		}
	case e.physical == format.Int64:
		switch l.id {
		case logicalNone:
			copied(&arrow.Int64Type{})
			if d, ok := hint.Type.(*arrow.DurationType); ok {
				copied(d)
			}
		case logicalInteger:
			if l.bits != 64 {
				return refuse(fmt.Sprintf("INT64 for integers of %d bits", l.bits))
			}
			if copied(&arrow.Int64Type{}); !l.signed {
				copied(&arrow.Uint64Type{})
			}
		case logicalTimestamp:
			unit, ok := units[l.unit]
			if !ok {
				return refuse("a timestamp in an unknown unit")
			}
			t := &arrow.TimestampType{Unit: unit}
			if l.instant {
				t.TimeZone = "UTC"
				if h, ok := hint.Type.(*arrow.TimestampType); ok && h.TimeZone != "" {
					t.TimeZone = h.TimeZone
				}
			}
			copied(t)
		case logicalTime:
			unit, ok := units[l.unit]
			if !ok || unit == arrow.Millisecond {
				return refuse("INT64 for a time that is not in micro- or nanoseconds")
			}
			copied(&arrow.Time64Type{Unit: unit})
		default:
			return refuse(fmt.Sprintf("INT64 with the logical type %d", l.id))
		}
	case e.physical == format.Float && l.id == logicalNone:
		copied(&arrow.Float32Type{})
	case e.physical == format.Double && l.id == logicalNone:
		copied(&arrow.Float64Type{})
	case e.physical == format.Boolean && l.id == logicalNone:
	case e.physical == format.FixedLenByteArray && (l.id == logicalNone || l.id == logicalUUID && c.width == 16):
	case e.physical == format.ByteArray:
		switch l.id {
		case logicalNone, logicalBSON:
		case logicalString, logicalEnum:
			f.Type = arrow.BinaryTypes.String
		case logicalJSON:
			f.Type = arrow.BinaryTypes.String
			f.Metadata = with(f.Metadata, sdk.MetaJSON, "true")
		default:
			return refuse(fmt.Sprintf("BYTE_ARRAY with the logical type %d", l.id))
		}
	default:
		return refuse(fmt.Sprintf("%s with the logical type %d", e.physical, l.id))
	}
	c.typ = f.Type
	return f, nil
}

var units = map[int16]arrow.TimeUnit{unitMillis: arrow.Millisecond, unitMicros: arrow.Microsecond, unitNanos: arrow.Nanosecond}

// with returns metadata that has key set to value.
func with(m arrow.Metadata, key, value string) arrow.Metadata {
	all := m.ToMap()
	all[key] = value
	return arrow.MetadataFrom(all)
}

func (c *column) planDecimal(f arrow.Field, l logical, hint arrow.Field) (arrow.Field, error) {
	if l.precision < 1 || l.precision > 76 || l.scale < 0 || l.scale > l.precision {
		return f, unsupported("column %q is a decimal of %d digits with %d behind the point; up to 76 are read", shorten(f.Name), l.precision, l.scale).
			WithHint("leave the column out, or convert it where the file is written")
	}
	c.precision = l.precision
	switch c.physical {
	case format.Int32, format.Int64, format.FixedLenByteArray:
	case format.ByteArray:
	default:
		return f, unsupported("column %q is a decimal in %s", shorten(f.Name), c.physical)
	}
	c.kind, c.out = kindDecimal128, 16
	t := arrow.DataType(&arrow.Decimal128Type{Precision: l.precision, Scale: l.scale})
	if wide := (&arrow.Decimal256Type{Precision: l.precision, Scale: l.scale}); l.precision > 38 || hint.Type != nil && arrow.TypeEqual(hint.Type, wide) {
		c.kind, c.out, t = kindDecimal256, 32, wide
	}
	f.Type, c.typ = t, t
	return f, nil
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

// outOfType is the fault for a value that its column's type cannot hold: the one with that
// index among the values of the page that are taken, which leave nulls out.
func (c *column) outOfType(value int) error {
	row := c.source.before + c.row
	for i := 0; ; i++ {
		if c.page.present(i) {
			if value--; value < 0 {
				return fault.New(codeCorrupt, fault.Source, "a value does not fit %s, in row %d", c.typ, row+int64(i)+1)
			}
		}
	}
}
