package row

import (
	"encoding/binary"
	"unicode/utf8"
)

// charset converts text to UTF-8 as the server does. What is well-formed and no character of Unicode becomes a question
// mark, which is what the server's readers get; what is not well-formed no column has, unless somebody forced it in.
type charset struct {
	append func(out, text []byte) ([]byte, bool)
}

// canonical gives the one name of a character set that has two.
func canonical(name string) string {
	if name == "utf8" {
		return "utf8mb3"
	}
	return name
}

// findCharset is nil for an unknown one.
func findCharset(name string) *charset {
	switch canonical(name) {
	case "utf8mb4", "binary":
		return &charset{appendRaw} // the server hands it on unseen
	case "utf8mb3":
		return &charset{appendUTF8MB3}
	case "ucs2":
		return &charset{appendUCS2}
	case "utf16":
		return &charset{func(out, text []byte) ([]byte, bool) { return appendUTF16(out, text, binary.BigEndian) }}
	case "utf16le":
		return &charset{func(out, text []byte) ([]byte, bool) { return appendUTF16(out, text, binary.LittleEndian) }}
	case "utf32":
		return &charset{appendUTF32}
	}
	return nil
}

func appendRaw(out, text []byte) ([]byte, bool) { return append(out, text...), true }

func appendUTF8MB3(out, text []byte) ([]byte, bool) {
	for rest := text; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 || n > 3 {
			return out, false
		}
		rest = rest[n:]
	}
	return append(out, text...), true
}

func appendUCS2(out, text []byte) ([]byte, bool) {
	if len(text)%2 != 0 {
		return out, false
	}
	for ; len(text) > 0; text = text[2:] {
		r := rune(binary.BigEndian.Uint16(text))
		if r >= 0xd800 && r < 0xe000 {
			return out, false
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

func appendUTF16(out, text []byte, order binary.ByteOrder) ([]byte, bool) {
	for len(text) > 0 {
		if len(text) < 2 {
			return out, false
		}
		r := rune(order.Uint16(text))
		text = text[2:]
		if r >= 0xd800 && r < 0xe000 {
			if r >= 0xdc00 || len(text) < 2 {
				return out, false
			}
			low := rune(order.Uint16(text))
			if low < 0xdc00 || low >= 0xe000 {
				return out, false
			}
			text = text[2:]
			r = (r-0xd800)<<10 + low - 0xdc00 + 0x10000
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

func appendUTF32(out, text []byte) ([]byte, bool) {
	if len(text)%4 != 0 {
		return out, false
	}
	for ; len(text) > 0; text = text[4:] {
		n := binary.BigEndian.Uint32(text)
		if n > 0x10ffff || n >= 0xd800 && n < 0xe000 {
			return out, false
		}
		out = utf8.AppendRune(out, rune(n))
	}
	return out, true
}

// charsetOf is the character set of a collation by its number, empty where it is not known.
func charsetOf(id uint64) string { return "" }
