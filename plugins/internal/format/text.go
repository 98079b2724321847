package format

import (
	"encoding/binary"
	"unicode/utf8"
)

// Slack is how many bytes beyond the end of a text PutPlain may touch: it copies
// whole words.
const Slack = 8

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// Plain is a set of bytes that need no attention: ASCII without control
// characters, quotes and one further byte.
type Plain struct{ without uint64 }

// PlainWithout returns the set that lacks c, which is ASCII and not a space.
func PlainWithout(c byte) Plain { return Plain{ones * uint64(c)} }

// PlainJSON is what a JSON string holds as it is.
var PlainJSON = PlainWithout('\\')

// special looks at eight bytes; the result is not 0 if one of them is outside p.
//
// With every byte of x below 0x80, x-ones has a high bit if and only if x has a
// zero byte: a borrow starts nowhere else. Where a byte of w is not below 0x80, w
// itself has the high bit.
func (p Plain) special(w uint64) uint64 {
	return (w | (w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ p.without) - ones)) & highs
}

// PutPlain copies data[from:to] to b[n:] and returns the end and true if every byte
// of it is in p. Otherwise it returns n and false; what lies beyond b[n] is then
// undefined. b[n:] needs to-from+Slack bytes.
func PutPlain(b []byte, n int, data []byte, from, to int, p Plain) (int, bool) {
	i, end := from, n
	for ; i+8 <= to; i += 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		if p.special(w) != 0 {
			return n, false
		}
		binary.LittleEndian.PutUint64(b[end:], w)
		end += 8
	}
	rest := to - i
	if rest == 0 {
		return end, true
	}
	var w uint64
	if i+8 <= len(data) {
		w = binary.LittleEndian.Uint64(data[i:])
	} else {
		for k := rest - 1; k >= 0; k-- {
			w = w<<8 | uint64(data[i+k])
		}
	}
	// What lies beyond the text becomes spaces.
	keep := uint64(1)<<(8*rest) - 1
	w = w&keep | ones*' '&^keep
	if p.special(w) != 0 {
		return n, false
	}
	binary.LittleEndian.PutUint64(b[end:], w)
	return end + rest, true
}

// escapes holds what a JSON string writes for the bytes that cannot stand for
// themselves (RFC 8259, section 7).
var escapes = func() (e [256]string) {
	const hex = "0123456789abcdef"
	for i := range 0x20 {
		e[i] = `\u00` + string(hex[i>>4]) + string(hex[i&15])
	}
	e['\b'], e['\f'], e['\n'], e['\r'], e['\t'] = `\b`, `\f`, `\n`, `\r`, `\t`
	e['"'], e['\\'] = `\"`, `\\`
	return e
}()

// AppendJSON appends the inside of a JSON string that holds text, which must be
// valid UTF-8. Nothing is escaped that need not be.
func AppendJSON(dst, text []byte) []byte {
	start := 0
	for i := 0; i < len(text); {
		if i+8 <= len(text) {
			// Bytes beyond ASCII need nothing: hide their high bits. A hidden one may
			// look like a special byte, which costs time and nothing else.
			if PlainJSON.special(binary.LittleEndian.Uint64(text[i:])&^highs) == 0 {
				i += 8
				continue
			}
		}
		for stop := min(i+8, len(text)); i < stop; i++ {
			if e := escapes[text[i]]; e != "" {
				dst = append(dst, text[start:i]...)
				dst = append(dst, e...)
				start = i + 1
			}
		}
	}
	return append(dst, text[start:]...)
}

// AppendValid appends text with U+FFFD in place of every byte that is not part of
// valid UTF-8.
func AppendValid(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			dst = utf8.AppendRune(dst, utf8.RuneError)
		} else {
			dst = append(dst, text[:size]...)
		}
		text = text[size:]
	}
	return dst
}
