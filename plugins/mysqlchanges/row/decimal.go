package row

import "encoding/binary"

// A DECIMAL is stored as groups of nine digits of 4 bytes each, with a shorter group at the outer ends (decimal2bin): the
// first bit is turned, and all of a negative number's bits are.
const (
	digitsPerGroup = 9
	// mostDigits is what the server computes with. A column has at most 65, but JSON may say more, because there the digits
	// before the point are rounded up to whole groups.
	mostDigits = 9 * digitsPerGroup
	mostBytes  = mostDigits/digitsPerGroup*4 + 4
)

// groupBytes is how many bytes so many digits take.
var groupBytes = [digitsPerGroup + 1]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

// decimalSize is how many bytes a DECIMAL of that shape has.
func decimalSize(precision, scale int) (int, bool) {
	if precision < 1 || precision > mostDigits || scale > precision {
		return 0, false
	}
	whole := precision - scale
	return whole/digitsPerGroup*4 + groupBytes[whole%digitsPerGroup] + scale/digitsPerGroup*4 + groupBytes[scale%digitsPerGroup], true
}

// decimalDigits gives the digits of a DECIMAL of decimalSize bytes, as many as are declared, before and behind the point.
// They are appended to buffer. It is false where a group has a digit too many.
func decimalDigits(buffer, v []byte, precision, scale int) (whole, fraction []byte, negative, ok bool) {
	var turned [mostBytes]byte
	v = turned[:copy(turned[:], v)]
	v[0] ^= 0x80
	if negative = v[0]&0x80 != 0; negative {
		for i := range v {
			v[i] = ^v[i]
		}
	}
	start := len(buffer)
	group := func(digits int) {
		size := groupBytes[digits]
		var octets [4]byte
		copy(octets[4-size:], v[:size])
		v = v[size:]
		n := binary.BigEndian.Uint32(octets[:])
		buffer = append(buffer, "000000000"[:digits]...)
		for i := len(buffer) - 1; i >= len(buffer)-digits; i-- {
			buffer[i] = byte('0' + n%10)
			n /= 10
		}
		ok = ok && n == 0
	}
	ok = true
	integer := precision - scale
	group(integer % digitsPerGroup)
	for range integer / digitsPerGroup {
		group(digitsPerGroup)
	}
	for range scale / digitsPerGroup {
		group(digitsPerGroup)
	}
	group(scale % digitsPerGroup)
	return buffer[start : start+integer], buffer[start+integer:], negative, ok
}

// appendDecimal writes a DECIMAL as the server does, with all the digits of its scale.
func appendDecimal(out, v []byte, precision, scale int) ([]byte, bool) {
	var buffer [mostDigits]byte
	whole, fraction, negative, ok := decimalDigits(buffer[:0], v, precision, scale)
	if !ok {
		return out, false
	}
	for len(whole) > 1 && whole[0] == '0' {
		whole = whole[1:]
	}
	if negative {
		out = append(out, '-')
	}
	if len(whole) == 0 {
		out = append(out, '0')
	}
	out = append(out, whole...)
	if scale > 0 {
		out = append(append(out, '.'), fraction...)
	}
	return out, true
}
