package row

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// The types of values in binary JSON (json_binary.h).
const (
	jsonSmallObject = 0x00
	jsonLargeObject = 0x01
	jsonSmallArray  = 0x02
	jsonLargeArray  = 0x03
	jsonLiteral     = 0x04
	jsonInt16       = 0x05
	jsonUint16      = 0x06
	jsonInt32       = 0x07
	jsonUint32      = 0x08
	jsonInt64       = 0x09
	jsonUint64      = 0x0a
	jsonDouble      = 0x0b
	jsonString      = 0x0c
	jsonOpaque      = 0x0f
)

// deepestJSON is how deep MySQL lets documents be nested (JSON_DOCUMENT_MAX_DEPTH).
const deepestJSON = 100

// jsonText writes one binary document as the text that the server gives for it.
type jsonText struct {
	out []byte
	// left is how many bytes values may still take. Those of a document lie beside each other, so that all of them take no
	// more than it has; a value that is pointed at many times would take more.
	left int
}

// appendJSON appends the text of a binary JSON document. It is false for what is none. An empty one is the null literal,
// which is what the server makes of it (a NULL that was forced into a NOT NULL column).
func appendJSON(out, document []byte) ([]byte, bool) {
	if len(document) == 0 {
		return append(out, "null"...), true
	}
	t := jsonText{out: out, left: len(document)}
	ok := t.value(document[0], document[1:], 1)
	return t.out, ok
}

// spend accounts for n bytes of the document.
func (t *jsonText) spend(n int) bool {
	t.left -= n
	return t.left >= 0
}

// value writes the value of a type that v begins with.
func (t *jsonText) value(kind byte, v []byte, depth int) bool {
	size := 0
	switch kind {
	case jsonSmallObject, jsonSmallArray:
		return t.container(v, kind == jsonSmallObject, 2, depth)
	case jsonLargeObject, jsonLargeArray:
		return t.container(v, kind == jsonLargeObject, 4, depth)
	case jsonString:
		text, n, ok := jsonBytes(v)
		if !ok || !t.spend(n) {
			return false
		}
		t.string(text)
		return true
	case jsonOpaque:
		if len(v) == 0 {
			return false
		}
		data, n, ok := jsonBytes(v[1:])
		return ok && t.spend(n+1) && t.opaque(v[0], data)
	case jsonLiteral:
		size = 1
	case jsonInt16, jsonUint16:
		size = 2
	case jsonInt32, jsonUint32:
		size = 4
	case jsonInt64, jsonUint64, jsonDouble:
		size = 8
	default:
		return false
	}
	return len(v) >= size && t.spend(size) && t.scalar(kind, v[:size])
}

// scalar writes a literal or a number.
func (t *jsonText) scalar(kind byte, v []byte) bool {
	switch kind {
	case jsonLiteral:
		if v[0] > 2 {
			return false
		}
		t.out = append(t.out, [...]string{"null", "true", "false"}[v[0]]...)
	case jsonInt16:
		t.out = strconv.AppendInt(t.out, int64(int16(binary.LittleEndian.Uint16(v))), 10)
	case jsonUint16:
		t.out = strconv.AppendUint(t.out, uint64(binary.LittleEndian.Uint16(v)), 10)
	case jsonInt32:
		t.out = strconv.AppendInt(t.out, int64(int32(binary.LittleEndian.Uint32(v))), 10)
	case jsonUint32:
		t.out = strconv.AppendUint(t.out, uint64(binary.LittleEndian.Uint32(v)), 10)
	case jsonInt64:
		t.out = strconv.AppendInt(t.out, int64(binary.LittleEndian.Uint64(v)), 10)
	case jsonUint64:
		t.out = strconv.AppendUint(t.out, binary.LittleEndian.Uint64(v), 10)
	case jsonDouble:
		f := math.Float64frombits(binary.LittleEndian.Uint64(v))
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return false
		}
		t.out = appendDouble(t.out, f)
	}
	return true
}

// container writes an object or an array, whose numbers have width bytes: count, size in bytes, an entry for each key
// (where it is, and how many bytes it has), an entry for each value (its type, and where it is, or itself where it fits).
func (t *jsonText) container(v []byte, object bool, width, depth int) bool {
	if depth > deepestJSON || len(v) < 2*width {
		return false
	}
	number := func(at int) int {
		if width == 2 {
			return int(binary.LittleEndian.Uint16(v[at:]))
		}
		return int(binary.LittleEndian.Uint32(v[at:]))
	}
	count, size := number(0), number(width)
	if size > len(v) || count > size {
		return false
	}
	v = v[:size]
	keys, keyEntry := 2*width, 0
	if object {
		keyEntry = width + 2
	}
	values, valueEntry := keys+count*keyEntry, 1+width
	head := values + count*valueEntry
	if head > size || !t.spend(head) {
		return false
	}
	t.out = append(t.out, "[{"[b2i(object)])
	for i := range count {
		if i > 0 {
			t.out = append(t.out, ", "...)
		}
		if object {
			at, n := number(keys+i*keyEntry), int(binary.LittleEndian.Uint16(v[keys+i*keyEntry+width:]))
			if at < head || at > size || n > size-at || !t.spend(n) {
				return false
			}
			t.string(v[at : at+n])
			t.out = append(t.out, ": "...)
		}
		entry := values + i*valueEntry
		kind := v[entry]
		inline := kind == jsonLiteral || kind == jsonInt16 || kind == jsonUint16 ||
			width == 4 && (kind == jsonInt32 || kind == jsonUint32)
		if inline {
			if !t.scalar(kind, v[entry+1:entry+1+width]) {
				return false
			}
			continue
		}
		at := number(entry + 1)
		if at < head || at > size || !t.value(kind, v[at:], depth+1) {
			return false
		}
	}
	t.out = append(t.out, "]}"[b2i(object)])
	return true
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// jsonBytes reads bytes with a length of 1 to 5 bytes in front, of 7 bits each, the lowest first.
func jsonBytes(v []byte) (data []byte, taken int, ok bool) {
	var n uint64
	for i := 0; i < 5 && i < len(v); i++ {
		n |= uint64(v[i]&0x7f) << (7 * i)
		if v[i]&0x80 == 0 {
			i++
			if n > uint64(len(v)-i) {
				return nil, 0, false
			}
			return v[i : i+int(n)], i + int(n), true
		}
	}
	return nil, 0, false
}

// string writes a text with what JSON must have escaped, as the server does: a control character that has no letter of its
// own as \u00 and two lower-case digits.
func (t *jsonText) string(text []byte) {
	const hex = "0123456789abcdef"
	t.out = append(t.out, '"')
	from := 0
	for i, c := range text {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		t.out = append(t.out, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			t.out = append(t.out, '\\', c)
		case '\b':
			t.out = append(t.out, `\b`...)
		case '\f':
			t.out = append(t.out, `\f`...)
		case '\n':
			t.out = append(t.out, `\n`...)
		case '\r':
			t.out = append(t.out, `\r`...)
		case '\t':
			t.out = append(t.out, `\t`...)
		default:
			t.out = append(t.out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	t.out = append(append(t.out, text[from:]...), '"')
}

// opaque writes a value of a type of SQL. Dates have all six digits of a fraction, whatever the column had that they came from.
func (t *jsonText) opaque(kind byte, v []byte) bool {
	switch kind {
	case typeNewDecimal:
		if len(v) < 2 {
			return false
		}
		precision, scale := int(v[0]), int(v[1])
		if size, ok := decimalSize(precision, scale); !ok || size != len(v)-2 {
			return false
		}
		var ok bool
		t.out, ok = appendDecimal(t.out, v[2:], precision, scale)
		return ok
	case typeDate, typeDatetime, typeTimestamp, typeTime:
		if len(v) != 8 {
			return false
		}
		packed := int64(binary.LittleEndian.Uint64(v))
		t.out = append(t.out, '"')
		if kind == typeTime {
			d, ok := packedDuration(packed)
			if !ok {
				return false
			}
			t.out = append(d.append(t.out, 6), '"')
			return true
		}
		m, ok := packedMoment(packed)
		if !ok {
			return false
		}
		t.out = m.appendDate(t.out)
		if kind != typeDate {
			t.out = m.appendTime(append(t.out, ' '), 6)
		}
		t.out = append(t.out, '"')
		return true
	}
	t.out = append(t.out, `"base64:type`...)
	t.out = strconv.AppendUint(t.out, uint64(kind), 10)
	t.out = append(t.out, ':')
	for len(v) > base64Line {
		t.out = append(base64.StdEncoding.AppendEncode(t.out, v[:base64Line]), `\n`...)
		v = v[base64Line:]
	}
	t.out = append(base64.StdEncoding.AppendEncode(t.out, v), '"')
	return true
}

// base64Line is how many bytes a line of the server's base64 has, whose ends are escaped as any in a text are.
const base64Line = 57

// mostDigitsBeforePoint is up to where the server writes a number without an exponent (MAX_DECPT_FOR_F_FORMAT, which is DBL_DIG).
const mostDigitsBeforePoint = 15

// appendDouble writes a DOUBLE as the server's my_gcvt does, and ".0" behind what would look like an integer.
func appendDouble(out []byte, f float64) []byte {
	var buffer [32]byte
	text := strconv.AppendFloat(buffer[:0], f, 'e', -1, 64) // -d.ddde±dd
	if text[0] == '-' {
		out, text = append(out, '-'), text[1:]
	}
	mark := len(text) - 1
	for text[mark] != 'e' {
		mark--
	}
	exponent, _ := strconv.Atoi(string(text[mark+1:]))
	digits := append(text[:1:1], text[min(2, mark):mark]...)
	if f == 0 {
		return append(out, "0.0"...)
	}
	point := exponent + 1 // the digits before it
	switch n := len(digits); {
	case point < 1-mostDigitsBeforePoint || point > mostDigitsBeforePoint && point >= n:
		out = append(out, digits[0])
		if n > 1 {
			out = append(append(out, '.'), digits[1:]...)
		}
		return strconv.AppendInt(append(out, 'e'), int64(exponent), 10)
	case point <= 0:
		out = append(out, "0."...)
		for range -point {
			out = append(out, '0')
		}
		return append(out, digits...)
	case point < n:
		return append(append(append(out, digits[:point]...), '.'), digits[point:]...)
	default:
		out = append(out, digits...)
		for range point - n {
			out = append(out, '0')
		}
		return append(out, ".0"...)
	}
}
