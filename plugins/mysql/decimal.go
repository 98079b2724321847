package mysql

import (
	"encoding/binary"

	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
)

// decimalStatus says why a DECIMAL could not be taken.
type decimalStatus uint8

const (
	decimalOK decimalStatus = iota
	decimalMalformed
	decimalTooLong // more digits than the column's type has
)

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
	hi, lo := scaled.Int128(whole, fraction, scale, negative)
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
	for i, word := range scaled.Int256(whole, fraction, scale, negative) {
		binary.LittleEndian.PutUint64(dst[8*i:], word)
	}
	return decimalOK
}
