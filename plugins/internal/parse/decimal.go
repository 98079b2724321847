package parse

import (
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
)

// MaxPrecision is the most digits that a decimal column has.
const MaxPrecision = 76

var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// digits splits a fixed-point number such as "-0012.50" into the digits before
// the point without leading zeros, and those after it, cut to the scale when all
// that is cut is zeros.
func digits(b []byte, precision, scale int) (whole, fraction []byte, negative bool, status Status) {
	if len(b) > 0 && b[0] == '-' {
		negative, b = true, b[1:]
	}
	point := len(b)
	for i, c := range b {
		if c-'0' > 9 {
			if c != '.' || point != len(b) || i == 0 || i == len(b)-1 {
				return nil, nil, false, Malformed
			}
			point = i
		}
	}
	if len(b) == 0 {
		return nil, nil, false, Malformed
	}
	whole = b[:point]
	if point < len(b) {
		fraction = b[point+1:]
	}
	for len(whole) > 0 && whole[0] == '0' {
		whole = whole[1:]
	}
	for len(fraction) > max(scale, 0) {
		if fraction[len(fraction)-1] != '0' {
			return nil, nil, false, Inexact
		}
		fraction = fraction[:len(fraction)-1]
	}
	// A negative scale counts zeros before the point.
	for dropped := scale; dropped < 0 && len(whole) > 0; dropped++ {
		if whole[len(whole)-1] != '0' {
			return nil, nil, false, Inexact
		}
		whole = whole[:len(whole)-1]
	}
	if len(whole) > precision-max(scale, 0) {
		return nil, nil, false, Inexact
	}
	return whole, fraction, negative, OK
}

// Decimal128 reads a number in fixed-point notation as an integer scaled by
// 10^scale. precision is at most 38.
func Decimal128(b []byte, precision, scale int) (decimal128.Num, Status) {
	whole, fraction, negative, status := digits(b, precision, scale)
	if status != OK {
		return decimal128.Num{}, status
	}
	var lo, hi uint64
	if len(whole)+max(scale, 0) <= 18 {
		for _, c := range whole {
			lo = lo*10 + uint64(c-'0')
		}
		for _, c := range fraction {
			lo = lo*10 + uint64(c-'0')
		}
		lo *= pow10[max(scale, 0)-len(fraction)]
	} else {
		w := accumulate(whole, fraction, scale)
		lo, hi = w[0], w[1]
	}
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return decimal128.New(int64(hi), lo), OK
}

// Decimal256 is Decimal128 for 256 bits and a precision of at most MaxPrecision.
func Decimal256(b []byte, precision, scale int) (decimal256.Num, Status) {
	whole, fraction, negative, status := digits(b, precision, scale)
	if status != OK {
		return decimal256.Num{}, status
	}
	w := accumulate(whole, fraction, scale)
	if negative {
		var borrow uint64
		for i := range w {
			w[i], borrow = bits.Sub64(0, w[i], borrow)
		}
	}
	return decimal256.New(w[3], w[2], w[1], w[0]), OK
}

// accumulate computes whole.fraction × 10^scale, the lowest word first.
func accumulate(whole, fraction []byte, scale int) (w [4]uint64) {
	for _, digits := range [][]byte{whole, fraction} {
		for len(digits) > 0 {
			n := min(len(digits), 19)
			var chunk uint64
			for _, c := range digits[:n] {
				chunk = chunk*10 + uint64(c-'0')
			}
			shift(&w, pow10[n], chunk)
			digits = digits[n:]
		}
	}
	for missing := scale - len(fraction); missing > 0; missing -= 19 {
		shift(&w, pow10[min(missing, 19)], 0)
	}
	return w
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
