// Package format turns Arrow values into text: integers, floats, decimals, dates,
// times, base64, and the strings of JSON and CSV. The text encoders share it, so
// that a value reads the same in every format. It owns how a value is spelled and
// which column types can be; it never decides about keys, separators, quotes or
// null, and never rounds: a value is written exactly or not at all.
//
// Functions named Put write at b[n:] and return the new end; the caller makes
// room first, once for a row. They allocate nothing.
package format

import (
	"encoding/base64"
	"math"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
)

// Class says how an encoder handles a column.
type Class uint8

// The classes.
const (
	// Null has no values.
	Null Class = iota
	// Number is integers and booleans: PutFixed gives what JSON takes as it is.
	Number
	// Float is Number, but for NaN and the infinities; see Column.Finite.
	Float
	// Quoted is decimals, dates and times: PutFixed gives what JSON takes in quotes.
	Quoted
	// Text is UTF-8 of any length: Column.Span.
	Text
	// Binary is bytes of any length: Column.Span.
	Binary
)

// kind is the layout of a column's values.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInt8
	kindInt16
	kindInt32
	kindInt64
	kindUint8
	kindUint16
	kindUint32
	kindUint64
	kindFloat32
	kindFloat64
	kindDecimal128
	kindDecimal256
	kindDate32
	kindDate64
	kindTimestamp
	kindTime32
	kindTime64 // durations too
	kindText
	kindLargeText
	kindFixedBinary
)

// Column formats the values of one column. It is made once from the schema;
// Load points it at a batch. A Column serves one goroutine; copy it for another
// before the first Load.
type Column struct {
	// Name is the column's name.
	Name string
	// Class says which of the methods below apply.
	Class Class
	// JSON is true for text that the source declares to be JSON documents.
	JSON bool
	// Max is the most bytes that PutFixed touches at b[n:].
	Max int

	kind  kind
	scale int
	width int
	time  timeFormat

	// Of the loaded batch. One of the slices is set; index 0 is the first row.
	valid []byte // bitmap of the rows that are not null, or nil if all are
	first int    // bit of row 0 in valid, and in data for booleans
	i8    []int8
	i16   []int16
	i32   []int32 // offsets of text and binary, too
	i64   []int64
	u64   []uint64
	u32   []uint32
	u16   []uint16
	f32   []float32
	f64   []float64
	d128  []decimal128.Num
	d256  []decimal256.Num
	data  []byte // text, binary, bytes, booleans
}

// Load points the column at the values of a, which has the type of its field and stays
// alive until Unload.
func (c *Column) Load(a arrow.Array) {
	c.Unload()
	n := a.Len()
	if n == 0 || c.kind == kindNull {
		return
	}
	data := a.Data()
	offset := data.Offset()
	c.first = offset
	if a.NullN() > 0 {
		c.valid = a.NullBitmapBytes()
	}
	buffer := func(i int) []byte {
		if b := data.Buffers()[i]; b != nil {
			return b.Bytes()
		}
		return nil
	}
	values := buffer(1)
	switch c.kind {
	case kindBool:
		c.data = values
	case kindInt8:
		c.i8 = arrow.Int8Traits.CastFromBytes(values)[offset : offset+n]
	case kindInt16:
		c.i16 = arrow.Int16Traits.CastFromBytes(values)[offset : offset+n]
	case kindInt32, kindDate32, kindTime32:
		c.i32 = arrow.Int32Traits.CastFromBytes(values)[offset : offset+n]
	case kindInt64, kindDate64, kindTimestamp, kindTime64:
		c.i64 = arrow.Int64Traits.CastFromBytes(values)[offset : offset+n]
	case kindUint8:
		c.data = values[offset : offset+n]
	case kindUint16:
		c.u16 = arrow.Uint16Traits.CastFromBytes(values)[offset : offset+n]
	case kindUint32:
		c.u32 = arrow.Uint32Traits.CastFromBytes(values)[offset : offset+n]
	case kindUint64:
		c.u64 = arrow.Uint64Traits.CastFromBytes(values)[offset : offset+n]
	case kindFloat32:
		c.f32 = arrow.Float32Traits.CastFromBytes(values)[offset : offset+n]
	case kindFloat64:
		c.f64 = arrow.Float64Traits.CastFromBytes(values)[offset : offset+n]
	case kindDecimal128:
		c.d128 = a.(*array.Decimal128).Values()
	case kindDecimal256:
		c.d256 = a.(*array.Decimal256).Values()
	case kindText:
		c.i32 = arrow.Int32Traits.CastFromBytes(values)[offset : offset+n+1]
		c.data = buffer(2)
	case kindLargeText:
		c.i64 = arrow.Int64Traits.CastFromBytes(values)[offset : offset+n+1]
		c.data = buffer(2)
	case kindFixedBinary:
		c.data = values[offset*c.width : (offset+n)*c.width]
	}
}

// Unload forgets the batch.
func (c *Column) Unload() {
	c.valid, c.first = nil, 0
	c.i8, c.i16, c.i32, c.i64 = nil, nil, nil, nil
	c.u16, c.u32, c.u64, c.f32, c.f64 = nil, nil, nil, nil, nil
	c.d128, c.d256, c.data = nil, nil, nil
}

// IsNull reports whether the row has no value.
func (c *Column) IsNull(row int) bool {
	if c.valid == nil {
		return c.kind == kindNull
	}
	bit := uint(c.first + row)
	return c.valid[bit>>3]>>(bit&7)&1 == 0
}

// Span returns the bytes of which a text or binary value is data[from:to].
func (c *Column) Span(row int) (data []byte, from, to int) {
	switch c.kind {
	case kindText:
		return c.data, int(c.i32[row]), int(c.i32[row+1])
	case kindLargeText:
		return c.data, int(c.i64[row]), int(c.i64[row+1])
	}
	return c.data, row * c.width, (row + 1) * c.width
}

// Finite reports whether a float is a number.
func (c *Column) Finite(row int) bool {
	v := c.float(row)
	return v-v == 0
}

func (c *Column) float(row int) float64 {
	if c.kind == kindFloat32 {
		return float64(c.f32[row])
	}
	return c.f64[row]
}

// Spell is the text of a value that is not NULL: of text and binary its bytes, of any other what PutFixed writes into
// scratch, which has room for Max and Slack. It is false where PutFixed writes nothing.
func (c *Column) Spell(scratch []byte, row int) ([]byte, bool) {
	if c.Class == Text || c.Class == Binary {
		data, from, to := c.Span(row)
		return data[from:to], true
	}
	n := c.PutFixed(scratch, 0, row)
	if n < 0 {
		return nil, false
	}
	return scratch[:n], true
}

// PutFixed writes a number, a boolean, a decimal, a date or a time. It returns -1
// for a time whose fraction has more digits than the column declares.
func (c *Column) PutFixed(b []byte, n, row int) int {
	switch c.kind {
	case kindInt8:
		v := c.i8[row]
		if v >= 0 {
			return putLeft(b, n, uint32(v))
		}
		return PutInt(b, n, int64(v))
	case kindInt16:
		return PutInt(b, n, int64(c.i16[row]))
	case kindInt32:
		return PutInt(b, n, int64(c.i32[row]))
	case kindInt64:
		return PutInt(b, n, c.i64[row])
	case kindUint8:
		return putLeft(b, n, uint32(c.data[row]))
	case kindUint16:
		return PutUint(b, n, uint64(c.u16[row]))
	case kindUint32:
		return PutUint(b, n, uint64(c.u32[row]))
	case kindUint64:
		return PutUint(b, n, c.u64[row])
	case kindDate32:
		return c.time.putDate(b, n, int64(c.i32[row]))
	case kindTimestamp:
		return c.time.putTimestamp(b, n, c.i64[row])
	case kindDecimal128:
		return PutDecimal128(b, n, c.d128[row], c.scale)
	case kindDecimal256:
		return PutDecimal256(b, n, c.d256[row], c.scale)
	case kindDate64:
		ms := c.i64[row]
		day := ms / (secondsPerDay * 1000)
		if ms%(secondsPerDay*1000) < 0 {
			day--
		}
		return c.time.putDate(b, n, day)
	case kindTime32:
		return c.time.putDuration(b, n, int64(c.i32[row]))
	case kindTime64:
		return c.time.putDuration(b, n, c.i64[row])
	case kindBool:
		bit := uint(c.first + row)
		if c.data[bit>>3]>>(bit&7)&1 == 1 {
			return n + copy(b[n:], "true")
		}
		return n + copy(b[n:], "false")
	case kindFloat32:
		return putFloat(b, n, float64(c.f32[row]), 32)
	case kindFloat64:
		return putFloat(b, n, c.f64[row], 64)
	}
	return n
}

// MaxFloat is the most bytes that a float takes.
const MaxFloat = 32

// putFloat writes the shortest text that reads back as the same float, as
// ECMAScript does; NaN, Infinity and -Infinity for the rest.
func putFloat(b []byte, n int, v float64, bits int) int {
	switch magnitude := math.Abs(v); {
	case v != v:
		return n + copy(b[n:], "NaN")
	case v > math.MaxFloat64:
		return n + copy(b[n:], "Infinity")
	case v < -math.MaxFloat64:
		return n + copy(b[n:], "-Infinity")
	case magnitude != 0 && (magnitude < 1e-6 || magnitude >= 1e21):
		return n + len(strconv.AppendFloat(b[n:n:n+MaxFloat], v, 'e', -1, bits))
	}
	return n + len(strconv.AppendFloat(b[n:n:n+MaxFloat], v, 'f', -1, bits))
}

// Base64Len is the length of n bytes in base64.
func Base64Len(n int) int { return base64.StdEncoding.EncodedLen(n) }

// PutBase64 writes data in standard base64 with padding (RFC 4648, section 4).
func PutBase64(b []byte, n int, data []byte) int {
	end := n + Base64Len(len(data))
	base64.StdEncoding.Encode(b[n:end], data)
	return end
}
