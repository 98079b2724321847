package parquet

import (
	"bytes"
	"encoding/binary"
	"math"
	"unsafe"
)

// order is how the values of a column compare, for its minimum and maximum.
type order uint8

const (
	orderNone     order = iota
	orderSigned         // INT32, INT64
	orderUnsigned       // the same, annotated as unsigned
	orderFloat          // FLOAT, DOUBLE
	orderBytes          // BYTE_ARRAY, unsigned bytes from the left
	orderDecimal        // FIXED_LEN_BYTE_ARRAY, two's complement from the left
)

// maxBoundBytes is the longest minimum or maximum of a byte array that is kept. A
// cut one would have to be marked as inexact, which older readers do not see.
const maxBoundBytes = 64

// bounds is the minimum and the maximum of a column chunk.
type bounds struct {
	order        order
	seen         bool
	none         bool // nothing true can be said
	lo, hi       int64
	flo, fhi     float64
	bLo, bHi     []byte
	preLo, preHi uint64 // the first eight bytes of bLo and bHi
}

func (b *bounds) reset() {
	*b = bounds{order: b.order, bLo: b.bLo[:0], bHi: b.bHi[:0]}
}

type integer interface{ ~int32 | ~int64 }

// addIntegers takes values of an integer column.
func addIntegers[T integer](b *bounds, values []T) {
	if len(values) == 0 {
		return
	}
	// Unsigned values compare as signed ones with the top bit turned.
	var flip T
	if b.order == orderUnsigned {
		flip = T(1) << (8*unsafe.Sizeof(flip) - 1)
	}
	lo, hi := values[0]^flip, values[0]^flip
	for _, v := range values {
		lo, hi = min(lo, v^flip), max(hi, v^flip)
	}
	if !b.seen {
		b.lo, b.hi, b.seen = int64(lo), int64(hi), true
		return
	}
	b.lo, b.hi = min(b.lo, int64(lo)), max(b.hi, int64(hi))
}

// addFloat takes a value of a float column. NaN has no place in an order and is left out.
func (b *bounds) addFloat(v float64) {
	switch {
	case v != v:
	case !b.seen:
		b.flo, b.fhi, b.seen = v, v, true
	default:
		b.flo, b.fhi = min(b.flo, v), max(b.fhi, v)
	}
}

// prefix returns the first eight bytes as a number that compares as they do.
func prefix(v []byte) uint64 {
	if len(v) >= 8 {
		return binary.BigEndian.Uint64(v)
	}
	var p uint64
	for i, c := range v {
		p |= uint64(c) << (56 - 8*i)
	}
	return p
}

// addBytes takes a value of a column of byte arrays or long decimals.
func (b *bounds) addBytes(v []byte) {
	if b.none {
		return
	}
	p := prefix(v)
	if b.order == orderDecimal {
		p ^= 1 << 63
	}
	if !b.seen {
		b.seen = true
		b.bLo, b.bHi = append(b.bLo[:0], v...), append(b.bHi[:0], v...)
		b.preLo, b.preHi = p, p
		b.none = len(v) > maxBoundBytes
		return
	}
	if p <= b.preLo && (p < b.preLo || bytes.Compare(v, b.bLo) < 0) {
		b.none = b.none || len(v) > maxBoundBytes
		b.bLo, b.preLo = append(b.bLo[:0], v...), p
	}
	if p >= b.preHi && (p > b.preHi || bytes.Compare(v, b.bHi) > 0) {
		b.none = b.none || len(v) > maxBoundBytes
		b.bHi, b.preHi = append(b.bHi[:0], v...), p
	}
}

// encoded returns the bounds in PLAIN form for a value of size bytes, or nil.
func (b *bounds) encoded(size int) (lo, hi []byte) {
	if !b.seen || b.none {
		return nil, nil
	}
	put := func(v uint64) []byte {
		if size == 4 {
			return binary.LittleEndian.AppendUint32(nil, uint32(v))
		}
		return binary.LittleEndian.AppendUint64(nil, v)
	}
	switch b.order {
	case orderSigned:
		return put(uint64(b.lo)), put(uint64(b.hi))
	case orderUnsigned:
		flip := uint64(1) << (8*size - 1)
		return put(uint64(b.lo) ^ flip), put(uint64(b.hi) ^ flip)
	case orderFloat:
		lo, hi := b.flo, b.fhi
		// Readers must find zeros of either sign.
		if lo == 0 {
			lo = math.Copysign(0, -1)
		}
		if hi == 0 {
			hi = 0
		}
		if size == 4 {
			return put(uint64(math.Float32bits(float32(lo)))), put(uint64(math.Float32bits(float32(hi))))
		}
		return put(math.Float64bits(lo)), put(math.Float64bits(hi))
	case orderBytes, orderDecimal:
		return append([]byte{}, b.bLo...), append([]byte{}, b.bHi...)
	}
	return nil, nil
}
