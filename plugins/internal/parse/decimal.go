package parse

import (
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"

	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
)

// MaxPrecision is the most digits that a decimal column has.
const MaxPrecision = 76

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
	hi, lo := scaled.Int128(whole, fraction, scale, negative)
	return decimal128.New(int64(hi), lo), OK
}

// Decimal256 is Decimal128 for 256 bits and a precision of at most MaxPrecision.
func Decimal256(b []byte, precision, scale int) (decimal256.Num, Status) {
	whole, fraction, negative, status := digits(b, precision, scale)
	if status != OK {
		return decimal256.Num{}, status
	}
	w := scaled.Int256(whole, fraction, scale, negative)
	return decimal256.New(w[3], w[2], w[1], w[0]), OK
}
