package format

import (
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"

	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
)

// MaxScale bounds the scale of a decimal column, either way: no decimal256 has
// more digits.
const MaxScale = 76

// MaxDecimal is the most bytes that PutDecimal128 and PutDecimal256 write: a sign,
// a point, 78 digits, as many zeros as the scale asks for, and one byte that is
// copied along.
const MaxDecimal = 2 + 78 + MaxScale + 1

// PutDecimal128 writes v / 10^scale at b[n:] in fixed-point notation with exactly
// scale digits after the point, and returns the end. A negative scale appends
// zeros instead. -MaxScale <= scale <= MaxScale.
func PutDecimal128(b []byte, n int, v decimal128.Num, scale int) int {
	lo, hi := v.LowBits(), uint64(v.HighBits())
	if int64(hi) < 0 {
		b[n] = '-'
		n++
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	if hi == 0 && uint(scale) < uint(len(scaled.Pow10)) {
		return putScaled(b, n, lo, scale)
	}
	return putWide(b, n, [4]uint64{lo, hi}, scale)
}

// PutDecimal256 is PutDecimal128 for 256 bits.
func PutDecimal256(b []byte, n int, v decimal256.Num, scale int) int {
	words := v.Array()
	if int64(words[3]) < 0 {
		b[n] = '-'
		n++
		var borrow uint64
		for i := range words {
			words[i], borrow = bits.Sub64(0, words[i], borrow)
		}
	}
	return putWide(b, n, words, scale)
}

// putScaled handles what nearly every decimal is: one word, scale below 20.
func putScaled(b []byte, n int, v uint64, scale int) int {
	if scale == 0 {
		return PutUint(b, n, v)
	}
	whole := v / scaled.Pow10[scale]
	n = PutUint(b, n, whole)
	b[n] = '.'
	putPadded(b, n+1, v-whole*scaled.Pow10[scale], scale)
	return n + 1 + scale
}

// putWide writes a magnitude of four words, the lowest first.
func putWide(b []byte, n int, words [4]uint64, scale int) int {
	// Split into groups of 19 digits, the lowest first; 2^256 has 78 digits.
	const group, groupDigits = 1e19, 19
	var text [5 * groupDigits]byte
	start := len(text)
	for words != ([4]uint64{}) {
		var rest uint64
		for i := 3; i >= 0; i-- {
			words[i], rest = bits.Div64(rest, words[i], group)
		}
		start -= groupDigits
		putPadded(text[:], start, rest, groupDigits)
	}
	for start < len(text) && text[start] == '0' {
		start++
	}
	figures := text[start:]

	if whole := len(figures) - scale; whole > 0 && len(figures) > 0 {
		if scale <= 0 {
			n += copy(b[n:], figures)
			return putZeros(b, n, -scale)
		}
		n += copy(b[n:], figures[:whole])
		b[n] = '.'
		return n + 1 + copy(b[n+1:], figures[whole:])
	}
	b[n] = '0'
	n++
	if scale <= 0 {
		return n
	}
	b[n] = '.'
	n = putZeros(b, n+1, scale-len(figures))
	return n + copy(b[n:], figures)
}

func putZeros(b []byte, n, count int) int {
	for range count {
		b[n] = '0'
		n++
	}
	return n
}
