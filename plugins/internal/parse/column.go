package parse

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
	"github.com/cipherstream/cipherstream/sdk"
)

// Column builds the values of one column from their texts.
type Column struct {
	Field arrow.Field
	// Width is what a value takes at least, in bytes.
	Width int
	// Text is true for text, whose bytes are taken as they are: the caller checks
	// that they are UTF-8.
	Text bool

	builder array.Builder
	put     func(text []byte) Status
	size    func() int
	scratch []byte
}

// NewColumn prepares a column for a field. The second result is false when the
// type has no text that could be read.
func NewColumn(mem memory.Allocator, f arrow.Field) (*Column, bool) {
	c := &Column{Field: f, Width: arrow.Int32SizeBytes, size: func() int { return 0 }}
	if t, ok := f.Type.(arrow.FixedWidthDataType); ok {
		c.Width = t.Bytes()
	}
	// A column may declare fewer fractional digits than its unit holds.
	fraction := int64(1)
	if text, ok := f.Metadata.GetValue(sdk.MetaFraction); ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 9 {
			return nil, false
		}
		fraction = int64(scaled.Pow10[n])
	} else {
		fraction = 1e9
	}
	switch f.Type.ID() {
	case arrow.NULL, arrow.BOOL, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32,
		arrow.UINT64, arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL128, arrow.DECIMAL256, arrow.DATE32, arrow.DATE64,
		arrow.TIMESTAMP, arrow.DURATION, arrow.TIME32, arrow.TIME64, arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY:
		c.builder = array.NewBuilder(mem, f.Type)
	default:
		return nil, false
	}
	switch b := c.builder.(type) {
	case *array.NullBuilder:
		c.put = func([]byte) Status { return Malformed }
	case *array.BooleanBuilder:
		c.put = func(text []byte) Status {
			v, status := Bool(text)
			if status == OK {
				b.Append(v)
			}
			return status
		}
	case *array.Int8Builder:
		c.put = signed(b.Append)
	case *array.Int16Builder:
		c.put = signed(b.Append)
	case *array.Int32Builder:
		c.put = signed(b.Append)
	case *array.Int64Builder:
		c.put = signed(b.Append)
	case *array.Uint8Builder:
		c.put = unsigned(b.Append)
	case *array.Uint16Builder:
		c.put = unsigned(b.Append)
	case *array.Uint32Builder:
		c.put = unsigned(b.Append)
	case *array.Uint64Builder:
		c.put = unsigned(b.Append)
	case *array.Float32Builder:
		c.put = func(text []byte) Status {
			v, status := Float(text, 32)
			if status == OK {
				b.Append(float32(v))
			}
			return status
		}
	case *array.Float64Builder:
		c.put = func(text []byte) Status {
			v, status := Float(text, 64)
			if status == OK {
				b.Append(v)
			}
			return status
		}
	case *array.Decimal128Builder:
		t := f.Type.(*arrow.Decimal128Type)
		c.put = func(text []byte) Status {
			v, status := Decimal128(text, int(t.Precision), int(t.Scale))
			if status == OK {
				b.Append(v)
			}
			return status
		}
	case *array.Decimal256Builder:
		t := f.Type.(*arrow.Decimal256Type)
		c.put = func(text []byte) Status {
			v, status := Decimal256(text, int(t.Precision), int(t.Scale))
			if status == OK {
				b.Append(v)
			}
			return status
		}
	case *array.Date32Builder:
		c.put = func(text []byte) Status {
			v, status := Day(text)
			if status == OK && int64(int32(v)) != v {
				status = Inexact
			}
			if status == OK {
				b.Append(arrow.Date32(v))
			}
			return status
		}
	case *array.Date64Builder:
		c.put = func(text []byte) Status {
			v, status := Day(text)
			if status == OK {
				v, status = units(v*secondsPerDay, 0, 1000)
			}
			if status == OK {
				b.Append(arrow.Date64(v))
			}
			return status
		}
	case *array.TimestampBuilder:
		c.put = temporal(Timestamp, b.Append, f.Type.(*arrow.TimestampType).Unit, fraction)
	case *array.DurationBuilder:
		c.put = temporal(Duration, b.Append, f.Type.(*arrow.DurationType).Unit, fraction)
	case *array.Time64Builder:
		c.put = temporal(timeOfDay, b.Append, f.Type.(*arrow.Time64Type).Unit, fraction)
	case *array.Time32Builder:
		narrow := func(v int64) { b.Append(arrow.Time32(v)) }
		c.put = temporal(timeOfDay, narrow, f.Type.(*arrow.Time32Type).Unit, fraction)
	case *array.StringBuilder:
		c.Text = true
		c.bytes(b.BinaryBuilder)
	case *array.LargeStringBuilder:
		c.Text = true
		c.bytes(b.BinaryBuilder)
	case *array.BinaryBuilder:
		c.size = b.DataLen
		c.put = func(text []byte) Status {
			return c.base64(text, b)
		}
	}
	return c, true
}

func (c *Column) bytes(b *array.BinaryBuilder) {
	c.size = b.DataLen
	c.put = func(text []byte) Status {
		b.Append(text)
		return OK
	}
}

func (c *Column) base64(text []byte, b *array.BinaryBuilder) Status {
	// The decoder skips line breaks, which the encoders never write.
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return Malformed
	}
	decoded, err := base64.StdEncoding.Strict().AppendDecode(c.scratch[:0], text)
	if err != nil {
		return Malformed
	}
	c.scratch = decoded
	b.Append(decoded)
	return OK
}

func signed[T int8 | int16 | int32 | int64](push func(T)) func([]byte) Status {
	return func(text []byte) Status {
		v, status := Int(text)
		if status == OK && int64(T(v)) != v {
			status = Inexact
		}
		if status == OK {
			push(T(v))
		}
		return status
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](push func(T)) func([]byte) Status {
	return func(text []byte) Status {
		v, status := Uint(text)
		if status == OK && uint64(T(v)) != v {
			status = Inexact
		}
		if status == OK {
			push(T(v))
		}
		return status
	}
}

// temporal reads times in a unit, and refuses what has more fractional digits than
// 10^fraction's exponent.
func temporal[T ~int64](read func([]byte, int64) (int64, Status), push func(T), unit arrow.TimeUnit, fraction int64) func([]byte) Status {
	perSecond := PerSecond(unit)
	step := max(1, perSecond/fraction)
	return func(text []byte) Status {
		v, status := read(text, perSecond)
		if status == OK && v%step != 0 {
			status = Inexact
		}
		if status == OK {
			push(T(v))
		}
		return status
	}
}

// timeOfDay is Duration within a day.
func timeOfDay(text []byte, perSecond int64) (int64, Status) {
	v, status := Duration(text, perSecond)
	if status == OK && (v < 0 || v >= secondsPerDay*perSecond) {
		status = Inexact
	}
	return v, status
}

// Append reads a text and appends its value; unless the result is OK, nothing was
// appended.
func (c *Column) Append(text []byte) Status { return c.put(text) }

// AppendBytes appends the bytes of a binary value or a text as they are.
func (c *Column) AppendBytes(value []byte) {
	switch b := c.builder.(type) {
	case *array.BinaryBuilder:
		b.Append(value)
	case *array.StringBuilder:
		b.BinaryBuilder.Append(value)
	case *array.LargeStringBuilder:
		b.BinaryBuilder.Append(value)
	}
}

// AppendFloat appends a float if the column's type holds it exactly.
func (c *Column) AppendFloat(v float64) Status {
	switch b := c.builder.(type) {
	case *array.Float32Builder:
		if float64(float32(v)) != v && v == v {
			return Inexact
		}
		b.Append(float32(v))
	case *array.Float64Builder:
		b.Append(v)
	default:
		return Malformed
	}
	return OK
}

// AppendNull appends NULL.
func (c *Column) AppendNull() { c.builder.AppendNull() }

// Reserve makes room for more values.
func (c *Column) Reserve(rows int) { c.builder.Reserve(rows) }

// Size is the bytes of variable length that were appended since NewArray.
func (c *Column) Size() int { return c.size() }

// Len is the number of values since NewArray.
func (c *Column) Len() int { return c.builder.Len() }

// NewArray hands over the values so far and starts anew; the caller releases it.
func (c *Column) NewArray() arrow.Array { return c.builder.NewArray() }

// Release gives the memory of unfinished values back.
func (c *Column) Release() { c.builder.Release() }
