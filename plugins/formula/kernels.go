package formula

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

type numeric interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// compareConstant puts the rows into out whose value compares with c. The loops
// are written out, one for each operation, so that nothing branches inside.
func compareConstant[T numeric](values []T, c T, op operation, out []uint64) {
	for i := range out {
		block := values[i*64 : min(i*64+64, len(values))]
		var w uint64
		switch op {
		case equal:
			for j, v := range block {
				w |= one(v == c) << j
			}
		case less:
			for j, v := range block {
				w |= one(v < c) << j
			}
		case lessEqual:
			for j, v := range block {
				w |= one(v <= c) << j
			}
		case greater:
			for j, v := range block {
				w |= one(v > c) << j
			}
		case greaterEqual:
			for j, v := range block {
				w |= one(v >= c) << j
			}
		}
		out[i] = w
	}
}

// comparePairs is compareConstant for two columns.
func comparePairs[T numeric](x, y []T, op operation, out []uint64) {
	if op == greater || op == greaterEqual {
		x, y, op = y, x, op.mirror()
	}
	for i := range out {
		p := x[i*64 : min(i*64+64, len(x))]
		q := y[i*64:][:len(p)]
		var w uint64
		switch op {
		case equal:
			for j, v := range p {
				w |= one(v == q[j]) << j
			}
		case less:
			for j, v := range p {
				w |= one(v < q[j]) << j
			}
		case lessEqual:
			for j, v := range p {
				w |= one(v <= q[j]) << j
			}
		}
		out[i] = w
	}
}

// eachRow puts the rows into out for which holds does.
func eachRow(out []uint64, rows int, holds func(i int) bool) {
	for i := range out {
		var w uint64
		for j := i * 64; j < min(i*64+64, rows); j++ {
			w |= one(holds(j)) << (j & 63)
		}
		out[i] = w
	}
}

// byteColumn is a column of text or binary.
type byteColumn struct {
	short []int32
	long  []int64
	data  []byte
	width int
}

func bytesOf(a arrow.Array) byteColumn {
	data := a.Data()
	bytes := func(i int) []byte {
		if b := data.Buffers()[i]; b != nil {
			return b.Bytes()
		}
		return nil
	}
	if a.Len() == 0 {
		return byteColumn{}
	}
	switch t := a.DataType().(type) {
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		return byteColumn{long: arrow.Int64Traits.CastFromBytes(bytes(1))[data.Offset():], data: bytes(2)}
	case *arrow.FixedSizeBinaryType:
		return byteColumn{width: t.ByteWidth, data: bytes(1)[data.Offset()*t.ByteWidth:]}
	}
	return byteColumn{short: arrow.Int32Traits.CastFromBytes(bytes(1))[data.Offset():], data: bytes(2)}
}

func (c *byteColumn) at(i int) []byte {
	switch {
	case c.short != nil:
		return c.data[c.short[i]:c.short[i+1]]
	case c.long != nil:
		return c.data[c.long[i]:c.long[i+1]]
	}
	return c.data[i*c.width : (i+1)*c.width]
}

// integers returns a column of whole numbers as 64-bit ones; slot is which of the
// two scratch columns may be used.
func (b *batch) integers(a arrow.Array, slot int) ([]int64, bool) {
	scratch := &b.scratch[slot]
	switch a := a.(type) {
	case *array.Int64:
		return a.Int64Values(), true
	case *array.Timestamp:
		return arrow.Int64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(a.TimestampValues())), true
	case *array.Date64:
		return arrow.Int64Traits.CastFromBytes(arrow.Date64Traits.CastToBytes(a.Date64Values())), true
	case *array.Time64:
		return arrow.Int64Traits.CastFromBytes(arrow.Time64Traits.CastToBytes(a.Time64Values())), true
	case *array.Duration:
		return arrow.Int64Traits.CastFromBytes(arrow.DurationTraits.CastToBytes(a.DurationValues())), true
	case *array.Int8:
		return widen(a.Int8Values(), scratch), true
	case *array.Int16:
		return widen(a.Int16Values(), scratch), true
	case *array.Int32:
		return widen(a.Int32Values(), scratch), true
	case *array.Uint8:
		return widen(a.Uint8Values(), scratch), true
	case *array.Uint16:
		return widen(a.Uint16Values(), scratch), true
	case *array.Uint32:
		return widen(a.Uint32Values(), scratch), true
	case *array.Date32:
		return widen(a.Date32Values(), scratch), true
	case *array.Time32:
		return widen(a.Time32Values(), scratch), true
	}
	return nil, false
}

func widen[T ~int8 | ~int16 | ~int32 | ~uint8 | ~uint16 | ~uint32](values []T, scratch *[]int64) []int64 {
	out := (*scratch)[:0]
	for _, v := range values {
		out = append(out, int64(v))
	}
	*scratch = out
	return out
}

// widen returns a column of floats as 64-bit ones.
func (b *batch) widen(a *array.Float32) []float64 {
	b.float = b.float[:0]
	for _, v := range a.Float32Values() {
		b.float = append(b.float, float64(v))
	}
	return b.float
}
