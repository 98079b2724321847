package format

import "encoding/binary"

// pairs holds the two digits of every number below 100.
var pairs = func() (p [100][2]byte) {
	for i := range p {
		p[i] = [2]byte{'0' + byte(i/10), '0' + byte(i%10)}
	}
	return p
}()

// left and padded hold the digits of every number below 1000 in their low three
// bytes, the first digit lowest: without leading zeros and with them. The high
// byte of left is the number of digits.
var left, padded = func() (l, p [1000]uint32) {
	for i := range l {
		a, b, c := uint32('0'+i/100), uint32('0'+i/10%10), uint32('0'+i%10)
		p[i] = a | b<<8 | c<<16
		switch {
		case i < 10:
			l[i] = c | 1<<24
		case i < 100:
			l[i] = b | c<<8 | 2<<24
		default:
			l[i] = p[i] | 3<<24
		}
	}
	return l, p
}()

// MaxInt is the most bytes that PutInt and PutUint touch: 20, and one that is
// copied along.
const MaxInt = 21

// PutInt writes v in decimal at b[n:] and returns the end.
func PutInt(b []byte, n int, v int64) int {
	u := uint64(v)
	if v < 0 {
		b[n] = '-'
		n++
		u = -u
	}
	return PutUint(b, n, u)
}

// PutUint writes v in decimal at b[n:] and returns the end. Three digits at a time
// leave few branches for a processor to guess wrong.
func PutUint(b []byte, n int, v uint64) int {
	if v < 1000 {
		return putLeft(b, n, uint32(v))
	}
	if v < 1_000_000 {
		w := uint32(v)
		n = putLeft(b, n, w/1000)
		binary.LittleEndian.PutUint32(b[n:], padded[w%1000])
		return n + 3
	}
	high := v / 1_000_000
	w := uint32(v - high*1_000_000)
	n = PutUint(b, n, high)
	binary.LittleEndian.PutUint32(b[n:], padded[w/1000])
	binary.LittleEndian.PutUint32(b[n+3:], padded[w%1000])
	return n + 6
}

// putLeft writes a number below 1000.
func putLeft(b []byte, n int, v uint32) int {
	e := left[v]
	binary.LittleEndian.PutUint32(b[n:], e)
	return n + int(e>>24)
}

// putPadded writes the last width digits of v at b[n:n+width], with leading zeros.
func putPadded(b []byte, n int, v uint64, width int) {
	end := n + width
	// 32-bit division is cheaper, and most numbers are small.
	for v > 1<<32-1 && end-n >= 2 {
		q := v / 100
		end -= 2
		*(*[2]byte)(b[end:]) = pairs[v-q*100]
		v = q
	}
	w := uint32(v)
	for end-n >= 2 {
		q := w / 100
		end -= 2
		*(*[2]byte)(b[end:]) = pairs[w-q*100]
		w = q
	}
	if end > n {
		b[n] = '0' + byte(w%10)
	}
}

// put2 writes the two digits of v, which is below 100.
func put2(b []byte, n int, v uint32) { *(*[2]byte)(b[n:]) = pairs[v] }
