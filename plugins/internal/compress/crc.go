package compress

// The CRC-32 of RFC 1952 is the remainder of the text, taken as a polynomial over
// GF(2), modulo p. Here the bit 31 of a word is the coefficient of x^0.
const polynomial = 0xedb88320

// one is the polynomial 1.
const one = 1 << 31

// multiply returns a*b modulo the polynomial.
func multiply(a, b uint32) uint32 {
	var product uint32
	for bit := uint32(one); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		// b times x.
		carry := -(b & 1)
		b = b>>1 ^ polynomial&carry
	}
	return product
}

// squares[k] is x^(2^k) modulo the polynomial.
var squares = func() (s [64]uint32) {
	s[0] = one >> 1
	for k := 1; k < len(s); k++ {
		s[k] = multiply(s[k-1], s[k-1])
	}
	return s
}()

// combine returns the checksum of a text of which first is the checksum of the
// beginning and second that of the rest, which has length bytes.
func combine(first, second uint32, length int64) uint32 {
	// Shift the first by 8*length bits.
	shift := uint32(one)
	for k, n := 3, uint64(length); n != 0; k, n = k+1, n>>1 {
		if n&1 != 0 {
			shift = multiply(squares[k], shift)
		}
	}
	return multiply(shift, first) ^ second
}
