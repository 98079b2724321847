package parquet

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"
	"unsafe"
)

// order is how the values of a column compare, for its minimum and maximum.
type order uint8

const (
	orderNone     order = iota
	orderBool           // BOOLEAN
	orderSigned         // INT32, INT64
	orderUnsigned       // the same, annotated as unsigned
	orderFloat          // FLOAT, DOUBLE
	orderBytes          // BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY, unsigned bytes from the left
	orderDecimal        // FIXED_LEN_BYTE_ARRAY, two's complement from the left
)

// maxBoundBytes is how many bytes of a long minimum or maximum are kept, as other
// writers have it.
const maxBoundBytes = 64

// bounds is the minimum and the maximum of a page or a column chunk.
type bounds struct {
	order        order
	width        int  // bytes of a PLAIN value, or 0
	text         bool // must be cut between characters
	seen         bool
	lo, hi       int64 // unsigned values with their top bit turned
	flo, fhi     float64
	bLo, bHi     []byte // their first bytes
	cutLo, cutHi bool   // there is more of them
	preLo, preHi uint64 // the first eight bytes of bLo and bHi
}

func (b *bounds) reset() {
	*b = bounds{order: b.order, width: b.width, text: b.text, bLo: b.bLo[:0], bHi: b.bHi[:0]}
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
	b.addRange(int64(lo), int64(hi))
}

// addRange takes a minimum and a maximum, in the form in which they are kept.
func (b *bounds) addRange(lo, hi int64) {
	if !b.seen {
		b.lo, b.hi, b.seen = lo, hi, true
		return
	}
	b.lo, b.hi = min(b.lo, lo), max(b.hi, hi)
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
func (b *bounds) prefix(v []byte) uint64 {
	var p uint64
	if len(v) >= 8 {
		p = binary.BigEndian.Uint64(v)
	} else {
		for i, c := range v {
			p |= uint64(c) << (56 - 8*i)
		}
	}
	if b.order == orderDecimal {
		p ^= 1 << 63
	}
	return p
}

// addBytes takes a value of a column of byte arrays or long decimals. cut says that
// there is more of it.
func (b *bounds) addBytes(v []byte, cut bool) {
	if b.order == orderNone {
		return
	}
	if len(v) > maxBoundBytes {
		v, cut = v[:maxBoundBytes], true
	}
	p := b.prefix(v)
	if !b.seen {
		b.seen = true
		b.bLo, b.bHi = append(b.bLo[:0], v...), append(b.bHi[:0], v...)
		b.preLo, b.preHi, b.cutLo, b.cutHi = p, p, cut, cut
		return
	}
	if p <= b.preLo {
		c := -1
		if p == b.preLo {
			c = bytes.Compare(v, b.bLo)
		}
		switch {
		case c < 0:
			b.bLo, b.preLo, b.cutLo = append(b.bLo[:0], v...), p, cut
		case c == 0:
			b.cutLo = b.cutLo && cut
		}
	}
	if p >= b.preHi {
		c := 1
		if p == b.preHi {
			c = bytes.Compare(v, b.bHi)
		}
		switch {
		case c > 0:
			b.bHi, b.preHi, b.cutHi = append(b.bHi[:0], v...), p, cut
		case c == 0:
			b.cutHi = b.cutHi || cut
		}
	}
}

// addPlain takes one value as a dictionary holds it.
func (b *bounds) addPlain(v []byte) {
	switch b.order {
	case orderBytes, orderDecimal:
		b.addBytes(v, false)
	case orderFloat:
		b.addFloat(b.float(v))
	case orderSigned, orderUnsigned:
		n := b.integer(v)
		b.addRange(n, n)
	}
}

// integer returns a PLAIN value in the form in which lo and hi are kept.
func (b *bounds) integer(v []byte) int64 {
	if b.width == 4 {
		n := int32(binary.LittleEndian.Uint32(v))
		if b.order == orderUnsigned {
			n ^= math.MinInt32
		}
		return int64(n)
	}
	n := int64(binary.LittleEndian.Uint64(v))
	if b.order == orderUnsigned {
		n ^= math.MinInt64
	}
	return n
}

func (b *bounds) float(v []byte) float64 {
	if b.width == 4 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(v))
}

// merge takes the bounds of another part of the same column.
func (b *bounds) merge(o *bounds) {
	if !o.seen {
		return
	}
	switch b.order {
	case orderBytes, orderDecimal:
		b.addBytes(o.bLo, o.cutLo)
		b.addBytes(o.bHi, o.cutHi)
	case orderFloat:
		b.addFloat(o.flo)
		b.addFloat(o.fhi)
	default:
		b.addRange(o.lo, o.hi)
	}
}

// compare compares two PLAIN values, as encoded returns them.
func (b *bounds) compare(x, y []byte) int {
	switch b.order {
	case orderBytes:
		return bytes.Compare(x, y)
	case orderDecimal:
		if p, q := b.prefix(x), b.prefix(y); p != q {
			return sign(p < q)
		}
		return bytes.Compare(x, y)
	case orderFloat:
		// Zeros of either sign are equal.
		if p, q := b.float(x), b.float(y); p != q {
			return sign(p < q)
		}
		return 0
	case orderBool:
		return int(x[0]) - int(y[0])
	}
	if p, q := b.integer(x), b.integer(y); p != q {
		return sign(p < q)
	}
	return 0
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// encoded is a minimum and a maximum in PLAIN form. They are nil if nothing is known.
type encoded struct {
	lo, hi           []byte
	loExact, hiExact bool
}

// encoded returns the bounds in PLAIN form.
func (b *bounds) encoded() encoded {
	if !b.seen {
		return encoded{}
	}
	put := func(v uint64) []byte {
		if b.width == 4 {
			return binary.LittleEndian.AppendUint32(nil, uint32(v))
		}
		return binary.LittleEndian.AppendUint64(nil, v)
	}
	switch b.order {
	case orderBool:
		return encoded{[]byte{byte(b.lo)}, []byte{byte(b.hi)}, true, true}
	case orderSigned:
		return encoded{put(uint64(b.lo)), put(uint64(b.hi)), true, true}
	case orderUnsigned:
		flip := uint64(1) << (8*b.width - 1)
		return encoded{put(uint64(b.lo) ^ flip), put(uint64(b.hi) ^ flip), true, true}
	case orderFloat:
		lo, hi := b.flo, b.fhi
		// Readers must find zeros of either sign.
		if lo == 0 {
			lo = math.Copysign(0, -1)
		}
		if hi == 0 {
			hi = 0
		}
		// There may be NaN beside them, so they are not called exact.
		if b.width == 4 {
			return encoded{lo: put(uint64(math.Float32bits(float32(lo)))),
				hi: put(uint64(math.Float32bits(float32(hi))))}
		}
		return encoded{lo: put(math.Float64bits(lo)), hi: put(math.Float64bits(hi))}
	case orderBytes, orderDecimal:
		e := encoded{append([]byte{}, b.bLo...), append([]byte{}, b.bHi...), !b.cutLo, !b.cutHi}
		if b.cutLo && b.text {
			e.lo = wholeCharacters(e.lo)
		}
		if b.cutHi {
			if e.hi = above(e.hi, b.text); e.hi == nil {
				return encoded{}
			}
		}
		return e
	}
	return encoded{}
}

// wholeCharacters cuts off the beginning of a character at the end of v.
func wholeCharacters(v []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(v); n++ {
		if c := v[len(v)-n]; utf8.RuneStart(c) {
			if !utf8.FullRune(v[len(v)-n:]) {
				return v[:len(v)-n]
			}
			break
		}
	}
	return v
}

// above returns a short value that is greater than all that begin with v, or nil if
// there is none. It is made of whole characters if v is text.
func above(v []byte, text bool) []byte {
	if !text {
		for n := len(v); n > 0; n-- {
			if v[n-1] < 0xFF {
				v[n-1]++
				return v[:n]
			}
		}
		return nil
	}
	for v = wholeCharacters(v); len(v) > 0; {
		r, n := utf8.DecodeLastRune(v)
		v = v[:len(v)-n]
		switch {
		case r == utf8.MaxRune:
			continue
		case r == 0xD7FF:
			r = 0xE000 // what lies between is no character
		default:
			r++
		}
		return utf8.AppendRune(v, r)
	}
	return nil
}
