// Package octets reads the parts of an event of the binary log: numbers of so many bytes, numbers and texts with their lengths
// in front (MySQL protocol, "Basic Data Types"). What is not there is short, and nothing, so that an event is looked at for
// that once, at its end. It knows no event.
package octets

// Reader reads from the beginning of bytes, of which it makes no copies.
type Reader struct {
	// Rest is what was not read.
	Rest []byte
	// Short says that something was to be read that was not there. Everything behind it is nothing as well.
	Short bool
}

// fail ends the bytes.
func (r *Reader) fail() { r.Rest, r.Short = nil, true }

// Take reads n bytes. They cannot be appended to in place.
func (r *Reader) Take(n int) []byte {
	if r.Short || n < 0 || n > len(r.Rest) {
		r.fail()
		return nil
	}
	taken := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return taken
}

// Byte reads one.
func (r *Reader) Byte() int { return int(r.Integer(1)) }

// Integer reads a little-endian number of n bytes, at most eight.
func (r *Reader) Integer(n int) (v uint64) {
	for i, octet := range r.Take(n) {
		v |= uint64(octet) << (8 * i)
	}
	return v
}

// Packed reads a length-encoded integer.
func (r *Reader) Packed() uint64 {
	switch first := r.Integer(1); first {
	case 0xfb, 0xff:
		r.fail()
		return 0
	case 0xfc:
		return r.Integer(2)
	case 0xfd:
		return r.Integer(3)
	case 0xfe:
		return r.Integer(8)
	default:
		return first
	}
}

// Text reads a length-encoded string.
func (r *Reader) Text() []byte {
	n := r.Packed()
	if n > uint64(len(r.Rest)) {
		r.fail()
		return nil
	}
	return r.Take(int(n))
}
