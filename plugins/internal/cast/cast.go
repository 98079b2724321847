// Package cast makes the values of one column those of another type: exactly, or it says which row cannot be. It owns what becomes
// what, and how; it never rounds, and never tells a value.
package cast

import (
	"bytes"
	"encoding/json"
	"math"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Cast converts one column. Most values go through their text, as the encoders
// spell it: that is exact, and the same everywhere. Floats never do, unless text
// is what is asked for, and bytes have none.
type Cast struct {
	from arrow.Field
	// To is the column that is made.
	To       arrow.Field
	typeName string
	column   format.Column
	convert  func(c *Cast, row int, from *format.Column, in arrow.Array, out *parse.Column, scratch []byte) parse.Status
}

// family is what decides whether and how a type becomes another.
type family uint8

const (
	familyNone family = iota
	familyBool
	familyInteger
	familyFloat
	familyDecimal
	familyDate
	familyTimestamp
	familyTime
	familyText
	familyBinary
)

func familyOf(t arrow.DataType) family {
	switch t.ID() {
	case arrow.BOOL:
		return familyBool
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		return familyInteger
	case arrow.FLOAT32, arrow.FLOAT64:
		return familyFloat
	case arrow.DECIMAL128, arrow.DECIMAL256:
		return familyDecimal
	case arrow.DATE32, arrow.DATE64:
		return familyDate
	case arrow.TIMESTAMP:
		return familyTimestamp
	case arrow.TIME32, arrow.TIME64, arrow.DURATION:
		return familyTime
	case arrow.STRING, arrow.LARGE_STRING:
		return familyText
	case arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY:
		return familyBinary
	}
	return familyNone
}

// New makes a cast, or says why there is none.
func New(from arrow.Field, typeName string) (c *Cast, problem string) {
	to, err := parse.Retype(from, typeName)
	if err != nil {
		return nil, err.Error()
	}
	c = &Cast{from: from, To: to, typeName: typeName}
	a, b := familyOf(from.Type), familyOf(to.Type)
	number := func(f family) bool { return f == familyInteger || f == familyDecimal }
	switch {
	case from.Type.ID() == arrow.NULL:
		c.convert = throughText // never called
	case a == familyNone:
	case b == familyText && typeName == "json":
		if a == familyText {
			c.convert = toJSON
		}
	case a == familyBinary && b == familyBinary, a == familyText && b == familyBinary, a == familyBinary && b == familyText:
		c.convert = moveBytes
	case a == b && a == familyFloat, a == familyFloat && b == familyInteger, a == familyInteger && b == familyFloat:
		c.convert = throughFloat
	case a == familyBool && b == familyInteger, a == familyInteger && b == familyBool:
		c.convert = throughBit
	case a == b, a == familyText, b == familyText, number(a) && number(b):
		c.convert = throughText
	case a == familyTimestamp && b == familyDate, a == familyDate && b == familyTimestamp:
		c.convert = throughText
	}
	if c.convert == nil {
		return nil, sdk.TypeName(from) + " does not become " + typeName
	}
	columns, err := format.ColumnsOf(arrow.NewSchema([]arrow.Field{from}, nil))
	if err != nil {
		return nil, fault.From(err).Message
	}
	c.column = columns[0]
	return c, ""
}

// Apply casts a column of a batch. The fault names the row, as fault.InRow.
func (c *Cast) Apply(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	out, _ := parse.NewColumn(mem, c.To) // there is one for every type that has a name
	defer out.Release()
	out.Reserve(in.Len())
	from := c.column
	from.Load(in)
	scratch := make([]byte, from.Max+len(midnight)+format.Slack)
	for row := range in.Len() {
		if from.IsNull(row) {
			out.AppendNull()
			continue
		}
		if status := c.convert(c, row, &from, in, out, scratch); status != parse.OK {
			return nil, fault.New("columns.cast_value", fault.Data, "column %q %s", c.from.Name, status.Problem(c.typeName)).InRow(row).
				WithHint("correct the value at the source, or cast to a type that holds all values of the column")
		}
	}
	return out.NewArray(), nil
}

var (
	midnight = []byte(" 00:00:00")
	zeros    = []byte("000000000")
)

func throughText(c *Cast, row int, from *format.Column, _ arrow.Array, out *parse.Column, scratch []byte) parse.Status {
	if from.Class == format.Text {
		data, start, end := from.Span(row)
		text := data[start:end]
		if out.Text && !utf8.Valid(text) {
			return parse.Malformed
		}
		return out.Append(text)
	}
	n := from.PutFixed(scratch, 0, row)
	if n < 0 {
		return parse.Inexact
	}
	text := scratch[:n]
	switch b := familyOf(c.To.Type); {
	case b == familyInteger:
		// A whole decimal has a point and zeros.
		if whole, fraction, ok := bytes.Cut(text, []byte(".")); ok {
			if len(bytes.Trim(fraction, "0")) > 0 {
				return parse.Inexact
			}
			text = whole
		}
		if status := out.Append(text); status != parse.Malformed {
			return status
		}
		return parse.Inexact // a minus sign, for an unsigned type
	case b == familyDate && familyOf(c.from.Type) == familyTimestamp:
		day, clock, _ := bytes.Cut(text, []byte(" "))
		clock, fraction, _ := bytes.Cut(clock, []byte("."))
		if !bytes.Equal(clock, midnight[1:]) || !bytes.HasPrefix(zeros, fraction) {
			return parse.Inexact
		}
		text = day
	}
	return out.Append(text)
}

func moveBytes(_ *Cast, row int, from *format.Column, _ arrow.Array, out *parse.Column, _ []byte) parse.Status {
	data, start, end := from.Span(row)
	if out.Text && !utf8.Valid(data[start:end]) {
		return parse.Malformed
	}
	out.AppendBytes(data[start:end])
	return parse.OK
}

func toJSON(_ *Cast, row int, from *format.Column, _ arrow.Array, out *parse.Column, _ []byte) parse.Status {
	data, start, end := from.Span(row)
	if !utf8.Valid(data[start:end]) || !json.Valid(data[start:end]) {
		return parse.Malformed
	}
	return out.Append(data[start:end])
}

func throughBit(_ *Cast, row int, from *format.Column, in arrow.Array, out *parse.Column, scratch []byte) parse.Status {
	if b, ok := in.(*array.Boolean); ok {
		if b.Value(row) {
			return out.Append([]byte("1"))
		}
		return out.Append([]byte("0"))
	}
	switch string(scratch[:from.PutFixed(scratch, 0, row)]) {
	case "0":
		return out.Append([]byte("false"))
	case "1":
		return out.Append([]byte("true"))
	}
	return parse.Inexact
}

// throughFloat converts floats and integers to one another. Both go through the
// text of the number in the target's kind, after it was proven to be the same.
func throughFloat(c *Cast, row int, from *format.Column, in arrow.Array, out *parse.Column,
	scratch []byte) parse.Status {
	var v float64
	switch a := in.(type) {
	case *array.Float32:
		v = float64(a.Value(row))
	case *array.Float64:
		v = a.Value(row)
	default:
		text := scratch[:from.PutFixed(scratch, 0, row)]
		var status parse.Status
		bits := c.To.Type.(arrow.FixedWidthDataType).BitWidth()
		if v, status = parse.Float(text, bits); status != parse.OK || !sameInteger(v, text) {
			return parse.Inexact
		}
		return out.AppendFloat(v)
	}
	if familyOf(c.To.Type) == familyFloat {
		return out.AppendFloat(v)
	}
	if v != math.Trunc(v) || math.Abs(v) > 1<<64 || v == 0 && math.Signbit(v) {
		return parse.Inexact
	}
	if v < 0 {
		if v < math.MinInt64 {
			return parse.Inexact
		}
		n := format.PutInt(scratch, 0, int64(v))
		if out.Append(scratch[:n]) != parse.OK {
			return parse.Inexact
		}
		return parse.OK
	}
	if v >= 1<<64 {
		return parse.Inexact
	}
	return out.Append(scratch[:format.PutUint(scratch, 0, uint64(v))])
}

// sameInteger reports whether a float is the integer that text spells.
func sameInteger(v float64, text []byte) bool {
	if n, status := parse.Int(text); status == parse.OK {
		return v < 1<<63 && int64(v) == n
	}
	n, _ := parse.Uint(text)
	return v < 1<<64 && uint64(v) == n
}
