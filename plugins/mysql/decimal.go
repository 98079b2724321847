package mysql

import (
	"encoding/binary"
	"math/bits"
)

// decimalStatus says why a DECIMAL could not be taken.
type decimalStatus uint8

const (
	decimalOK decimalStatus = iota
	decimalMalformed
	decimalTooLong // more digits than the column's type has
)

// pow10 holds the powers of ten that fit 64 bits.
var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// decimalDigits splits the text of a DECIMAL, such as "-0012.50". It gives the
// digits before the point without leading zeros and the digits after it, both
// checked, cut to the scale when all that is cut is zeros.
func decimalDigits(b []byte, precision, scale int) (whole, fraction []byte, negative bool, status decimalStatus) {
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		negative = b[0] == '-'
		b = b[1:]
	}
	point := len(b)
	for i, c := range b {
		if c-'0' > 9 {
			if c != '.' || point != len(b) {
				return nil, nil, false, decimalMalformed
			}
			point = i
		}
	}
	whole = b[:point]
	if point < len(b) {
		fraction = b[point+1:]
	}
	if len(whole)+len(fraction) == 0 {
		return nil, nil, false, decimalMalformed
	}
	for len(whole) > 0 && whole[0] == '0' {
		whole = whole[1:]
	}
	for len(fraction) > scale {
		if fraction[len(fraction)-1] != '0' {
			return nil, nil, false, decimalTooLong
		}
		fraction = fraction[:len(fraction)-1]
	}
	if len(whole) > precision-scale {
		return nil, nil, false, decimalTooLong
	}
	return whole, fraction, negative, decimalOK
}

// putDecimal128 writes the text of a DECIMAL as a little-endian 128-bit integer,
// scaled by 10^scale. precision is at most 38, so the result fits.
func putDecimal128(dst []byte, b []byte, precision, scale int) decimalStatus {
	whole, fraction, negative, status := decimalDigits(b, precision, scale)
	if status != decimalOK {
		return status
	}
	var lo, hi uint64
	if len(whole)+scale <= 18 {
		for _, c := range whole {
			lo = lo*10 + uint64(c-'0')
		}
		for _, c := range fraction {
			lo = lo*10 + uint64(c-'0')
		}
		lo *= pow10[scale-len(fraction)]
	} else {
		var w [4]uint64
		accumulate(&w, whole, fraction, scale)
		lo, hi = w[0], w[1]
	}
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	binary.LittleEndian.PutUint64(dst, lo)
	binary.LittleEndian.PutUint64(dst[8:], hi)
	return decimalOK
}

// putDecimal256 is putDecimal128 for 256 bits and a precision of at most 76.
func putDecimal256(dst []byte, b []byte, precision, scale int) decimalStatus {
	whole, fraction, negative, status := decimalDigits(b, precision, scale)
	if status != decimalOK {
		return status
	}
	var w [4]uint64
	accumulate(&w, whole, fraction, scale)
	if negative {
		var borrow uint64
		for i := range w {
			w[i], borrow = bits.Sub64(0, w[i], borrow)
		}
	}
	for i, word := range w {
		binary.LittleEndian.PutUint64(dst[8*i:], word)
	}
	return decimalOK
}

// accumulate computes whole.fraction × 10^scale.
func accumulate(w *[4]uint64, whole, fraction []byte, scale int) {
	multiplyAdd(w, whole)
	multiplyAdd(w, fraction)
	for missing := scale - len(fraction); missing > 0; missing -= 19 {
		shift(w, pow10[min(missing, 19)], 0)
	}
}

// multiplyAdd appends decimal digits to w, 19 at a time.
func multiplyAdd(w *[4]uint64, digits []byte) {
	for len(digits) > 0 {
		n := min(len(digits), 19)
		var chunk uint64
		for _, c := range digits[:n] {
			chunk = chunk*10 + uint64(c-'0')
		}
		shift(w, pow10[n], chunk)
		digits = digits[n:]
	}
}

// shift computes w = w × factor + add.
func shift(w *[4]uint64, factor, add uint64) {
	carry := add
	for i := range w {
		hi, lo := bits.Mul64(w[i], factor)
		var c uint64
		lo, c = bits.Add64(lo, carry, 0)
		w[i], carry = lo, hi+c
	}
}
