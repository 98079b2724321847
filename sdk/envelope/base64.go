package envelope

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// Base64 costs more than AES where a processor helps with the latter alone. Here it goes by
// vectors (base64_amd64.s), elsewhere by pairs of letters, which 12 bits choose; and back by
// tables for each of four letters.

// alphabet is that of RFC 4648, section 4.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// pairs holds the two letters of 12 bits, the first in the low byte.
var pairs = func() (t [1 << 12]uint16) {
	for i := range t {
		t[i] = uint16(alphabet[i>>6]) | uint16(alphabet[i&63])<<8
	}
	return t
}()

// notLetter is set in what letters has for a byte that is no letter.
const notLetter = 1 << 24

// letters[k] holds the bits that a letter stands for at place k of four.
var letters = func() (t [4][256]uint32) {
	for k := range t {
		for c := range t[k] {
			t[k][c] = notLetter
		}
		for i := range len(alphabet) {
			t[k][alphabet[i]] = uint32(i) << (18 - 6*k)
		}
	}
	return t
}()

// appendBase64 appends src in standard base64 with padding.
func appendBase64(dst, src []byte) []byte {
	at, n := len(dst), (len(src)+2)/3*4
	dst = slices.Grow(dst, n)[:at+n]
	putPairs(putVectors(dst[at:], src))
	return dst
}

// putPairs writes src in standard base64 with padding to out, which has exactly the room for it.
func putPairs(out, src []byte) {
	// Four groups at a time are checked for room once.
	for len(src) >= 26 && len(out) >= 32 {
		s, o := (*[26]byte)(src), (*[32]byte)(out)
		putLetters(o[:8], s[:8])
		putLetters(o[8:16], s[6:14])
		putLetters(o[16:24], s[12:20])
		putLetters(o[24:], s[18:])
		src, out = src[24:], out[32:]
	}
	for len(src) >= 8 && len(out) >= 8 {
		putLetters(out, src)
		src, out = src[6:], out[8:]
	}
	base64.StdEncoding.Encode(out, src)
}

// putLetters writes eight letters. Eight bytes are read, six are used.
func putLetters(out, src []byte) {
	v := binary.BigEndian.Uint64(src)
	binary.LittleEndian.PutUint64(out, uint64(pairs[v>>52])|uint64(pairs[v>>40&0xfff])<<16|
		uint64(pairs[v>>28&0xfff])<<32|uint64(pairs[v>>16&0xfff])<<48)
}

// appendDecoded appends what text stands for. It is false when text is not standard
// base64 with padding, in its one canonical form.
func appendDecoded(dst, text []byte) ([]byte, bool) {
	if len(text)%4 != 0 {
		return dst, false
	}
	at := len(dst)
	dst = slices.Grow(dst, len(text)/4*3)[:at+len(text)/4*3]
	out := dst[at:]
	bad := uint32(0)
	// The last four letters may hold padding. Eight bytes are written, six of them count.
	for len(text) > 8 && len(out) >= 8 {
		a := letters[0][text[0]] | letters[1][text[1]] | letters[2][text[2]] | letters[3][text[3]]
		b := letters[0][text[4]] | letters[1][text[5]] | letters[2][text[6]] | letters[3][text[7]]
		bad |= a | b
		binary.BigEndian.PutUint64(out, uint64(a)<<40|uint64(b&(notLetter-1))<<16)
		text, out = text[8:], out[6:]
	}
	if bad&notLetter != 0 {
		return dst[:at], false
	}
	rest := 0
	for len(text) > 0 {
		// One group at a time: a decoded group of nothing would be line ends, which the
		// library leaves out.
		n, err := base64.StdEncoding.Strict().Decode(out[rest:], text[:4])
		if err != nil || n == 0 || n < 3 && len(text) > 4 {
			return dst[:at], false
		}
		rest, text = rest+n, text[4:]
	}
	return dst[:len(dst)-len(out)+rest], true
}
