package row

import (
	"bytes"
	"compress/flate"
	"embed"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"unicode/utf8"
)

// charset converts text to UTF-8 as the server does. What is well-formed and no character of Unicode becomes a question
// mark, which is what the server's readers get; what is not well-formed no column has, unless somebody forced it in.
type charset struct {
	append func(out, text []byte) ([]byte, bool)
}

// findCharset is nil for an unknown one.
func findCharset(name string) *charset {
	switch name {
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
	if t := loadTable(name); t != nil {
		return &charset{t.append}
	}
	return nil
}

// tables has a file for each character set that is not one of Unicode, as MySQL's server has it: compressed, for each
// code the character (16 bits, little-endian), 0 where the code is none, and a question mark where Unicode has no such
// character. First come the codes of one byte, then, where there are such, those of two by both bytes, those of three by
// the last two, and those of four of GB 18030 by their order. TestServers makes them with -update, from MySQL.
//
//go:embed charsets/*.bin
var tables embed.FS

const tableExtension = ".bin"

// table is a character set of bytes.
type table struct {
	one, two, three, four []uint16
}

const (
	// leadOfThree begins a code of three bytes of EUC-JP.
	leadOfThree = 0x8f
	// fours is how many codes of four bytes GB 18030 has for characters of 16 bits. Behind firstBeyond, as the order of such
	// codes goes, stand all others in their order.
	fours       = 39420
	firstBeyond = (0x90 - 0x81) * 12600
)

var loaded = struct {
	sync.Mutex
	tables map[string]*table
}{tables: map[string]*table{}}

// loadTable is nil where there is none.
func loadTable(name string) *table {
	loaded.Lock()
	defer loaded.Unlock()
	if t := loaded.tables[name]; t != nil {
		return t
	}
	packed, err := tables.ReadFile("charsets/" + name + tableExtension)
	if err != nil {
		return nil
	}
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		return nil
	}
	t := &table{}
	for _, part := range []struct {
		into *[]uint16
		size int
	}{{&t.one, 1 << 8}, {&t.two, 1 << 16}, {&t.three, 1 << 16}, {&t.four, fours}} {
		if len(plain) == 0 {
			break
		}
		if part.into == &t.three && len(plain) == 2*fours { // GB 18030 has none of three
			continue
		}
		for i := range part.size {
			*part.into = append(*part.into, binary.LittleEndian.Uint16(plain[2*i:]))
		}
		plain = plain[2*part.size:]
	}
	loaded.tables[name] = t
	return t
}

func (t *table) append(out, text []byte) ([]byte, bool) {
	out = slices.Grow(out, len(text))
	for len(text) > 0 {
		r, n := t.decode(text)
		if n == 0 {
			return out, false
		}
		out, text = utf8.AppendRune(out, r), text[n:]
	}
	return out, true
}

// decode reads a character, and says how many bytes it has: 0 where the text is not well-formed.
func (t *table) decode(text []byte) (r rune, size int) {
	if c := t.one[text[0]]; c != 0 || text[0] == 0 {
		return rune(c), 1
	}
	if t.two == nil || len(text) < 2 {
		return 0, 0
	}
	if c := t.two[int(text[0])<<8|int(text[1])]; c != 0 {
		return rune(c), 2
	}
	switch {
	case t.three != nil && len(text) >= 3 && text[0] == leadOfThree:
		if c := t.three[int(text[1])<<8|int(text[2])]; c != 0 {
			return rune(c), 3
		}
	case t.four != nil && len(text) >= 4:
		n, ok := orderOfFour(text)
		switch {
		case !ok:
		case n < fours:
			if c := t.four[n]; c != 0 {
				return rune(c), 4
			}
		case n >= firstBeyond && n-firstBeyond <= utf8.MaxRune-0x10000:
			return rune(0x10000 + n - firstBeyond), 4
		default:
			return '?', 4
		}
	}
	return 0, 0
}

// orderOfFour is the place of a code of four bytes of GB 18030 among all such.
func orderOfFour(b []byte) (int, bool) {
	if b[0] < 0x81 || b[0] > 0xfe || b[1] < 0x30 || b[1] > 0x39 || b[2] < 0x81 || b[2] > 0xfe || b[3] < 0x30 || b[3] > 0x39 {
		return 0, false
	}
	return ((int(b[0]-0x81)*10+int(b[1]-0x30))*126+int(b[2]-0x81))*10 + int(b[3]-0x30), true
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
