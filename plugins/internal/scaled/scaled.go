// Package scaled makes the integers that Arrow keeps decimals as: the digits of a number in fixed-point notation, times
// ten to the power of the column's scale, in 128 or 256 bits.
//
// It owns the arithmetic. What a number may look like, and whether its digits fit the column, its callers check first,
// each by the rules of its own format (plugins/internal/parse, plugins/mysql).
package scaled

import "math/bits"

// Pow10 holds the powers of ten that fit 64 bits.
var Pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// Int128 returns whole.fraction × 10^scale in two's complement. Both are digits and nothing else; the fraction has at
// most max(scale, 0) of them, and all together are at most 38.
func Int128(whole, fraction []byte, scale int, negative bool) (hi, lo uint64) {
	if scale = max(scale, 0); len(whole)+scale <= 18 {
		for _, c := range whole {
			lo = lo*10 + uint64(c-'0')
		}
		for _, c := range fraction {
			lo = lo*10 + uint64(c-'0')
		}
		lo *= Pow10[scale-len(fraction)]
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
	return hi, lo
}

// Int256 is Int128 for 256 bits, the lowest word first, and at most 76 digits.
func Int256(whole, fraction []byte, scale int, negative bool) (w [4]uint64) {
	accumulate(&w, whole, fraction, scale)
	if negative {
		var borrow uint64
		for i := range w {
			w[i], borrow = bits.Sub64(0, w[i], borrow)
		}
	}
	return w
}

func accumulate(w *[4]uint64, whole, fraction []byte, scale int) {
	multiplyAdd(w, whole)
	multiplyAdd(w, fraction)
	for missing := scale - len(fraction); missing > 0; missing -= 19 {
		shift(w, Pow10[min(missing, 19)], 0)
	}
}

// multiplyAdd appends digits to w, 19 at a time.
func multiplyAdd(w *[4]uint64, digits []byte) {
	for len(digits) > 0 {
		n := min(len(digits), 19)
		var chunk uint64
		for _, c := range digits[:n] {
			chunk = chunk*10 + uint64(c-'0')
		}
		shift(w, Pow10[n], chunk)
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
