package ndjsonfile

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// parser walks through the JSON of one line.
type parser struct {
	b  []byte
	at int
	// problem says what is wrong where the caller cannot know.
	problem string
}

// space skips white space (RFC 8259, section 2).
func (p *parser) space() {
	for p.at < len(p.b) {
		switch p.b[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// next takes c, with white space before it.
func (p *parser) next(c byte) bool {
	p.space()
	if p.at < len(p.b) && p.b[p.at] == c {
		p.at++
		return true
	}
	return false
}

// end reports whether nothing but white space is left.
func (p *parser) end() bool {
	p.space()
	return p.at == len(p.b)
}

func (p *parser) literal(text string) bool {
	if bytes.HasPrefix(p.b[p.at:], []byte(text)) {
		p.at += len(text)
		return true
	}
	return false
}

func (p *parser) fail(problem string) bool {
	p.problem = problem
	return false
}

// text takes a string and returns it without escapes, in the input or in scratch.
func (p *parser) text(scratch *[]byte) ([]byte, bool) {
	if p.at == len(p.b) || p.b[p.at] != '"' {
		return nil, false
	}
	from := p.at + 1
	ascii := byte(0)
	for i := from; i < len(p.b); i++ {
		switch c := p.b[i]; {
		case c == '"':
			p.at = i + 1
			if ascii >= utf8.RuneSelf && !utf8.Valid(p.b[from:i]) {
				return nil, p.fail("the string is not valid UTF-8")
			}
			return p.b[from:i], true
		case c == '\\':
			return p.escaped(scratch, from, i)
		case c < ' ':
			p.at = i
			return nil, p.fail("a control character stands in a string, where it must be escaped")
		default:
			ascii |= c
		}
	}
	return nil, p.fail("the string is not closed")
}

// escaped goes on with a string whose first escape is at i.
func (p *parser) escaped(scratch *[]byte, from, i int) ([]byte, bool) {
	out := append((*scratch)[:0], p.b[from:i]...)
	defer func() { *scratch = out[:0] }()
	for i < len(p.b) {
		c := p.b[i]
		switch {
		case c == '"':
			p.at = i + 1
			// Escapes give valid UTF-8, so this is about what stood in the input.
			if !utf8.Valid(out) {
				return nil, p.fail("the string is not valid UTF-8")
			}
			return out, true
		case c < ' ':
			p.at = i
			return nil, p.fail("a control character stands in a string, where it must be escaped")
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		p.at = i
		if i+1 == len(p.b) {
			break
		}
		switch e := p.b[i+1]; e {
		case '"', '\\', '/':
			out = append(out, e)
			i += 2
		case 'b', 'f', 'n', 'r', 't':
			out = append(out, controls[e])
			i += 2
		case 'u':
			r, ok := hex4(p.b, i+2)
			i += 6
			if ok && utf16.IsSurrogate(r) {
				var low rune
				if ok = i+1 < len(p.b) && p.b[i] == '\\' && p.b[i+1] == 'u'; ok {
					low, ok = hex4(p.b, i+2)
				}
				r = utf16.DecodeRune(r, low)
				ok = ok && r != utf8.RuneError
				i += 6
			}
			if !ok {
				return nil, p.fail("an escape \\u is not a character")
			}
			out = utf8.AppendRune(out, r)
		default:
			return nil, p.fail("JSON has no such escape")
		}
	}
	return nil, p.fail("the string is not closed")
}

// controls are what the escapes with a letter stand for.
var controls = [256]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func hex4(b []byte, at int) (rune, bool) {
	if at+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[at : at+4] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c-'a' <= 5:
			r = r<<4 | rune(c-'a'+10)
		case c-'A' <= 5:
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// number takes a number and returns its text.
func (p *parser) number() ([]byte, bool) {
	from, i := p.at, p.at
	digits := func() bool {
		start := i
		for i < len(p.b) && p.b[i]-'0' <= 9 {
			i++
		}
		return i > start
	}
	if i < len(p.b) && p.b[i] == '-' {
		i++
	}
	whole := i
	if !digits() {
		return nil, false
	}
	if p.b[whole] == '0' && i > whole+1 {
		return nil, p.fail("a number begins with a superfluous zero")
	}
	if i < len(p.b) && p.b[i] == '.' {
		i++
		if !digits() {
			return nil, p.fail("no digit follows the point of a number")
		}
	}
	if i < len(p.b) && (p.b[i] == 'e' || p.b[i] == 'E') {
		i++
		if i < len(p.b) && (p.b[i] == '+' || p.b[i] == '-') {
			i++
		}
		if !digits() {
			return nil, p.fail("no digit follows the exponent of a number")
		}
	}
	p.at = i
	return p.b[from:i], true
}

// maxDepth bounds how deep an embedded document may be nested.
const maxDepth = 1000

// value takes any value, and leaves it as it is.
func (p *parser) value(depth int) bool {
	p.space()
	if p.at == len(p.b) {
		return false
	}
	switch c := p.b[p.at]; c {
	case '{', '[':
		if depth == maxDepth {
			return p.fail("the document is nested too deeply")
		}
		closes := c + 2 // in ASCII, for both
		p.at++
		if p.next(closes) {
			return true
		}
		var scratch []byte
		for {
			if c == '{' {
				p.space()
				if _, ok := p.text(&scratch); !ok || !p.next(':') {
					return false
				}
			}
			if !p.value(depth + 1) {
				return false
			}
			if p.next(',') {
				continue
			}
			return p.next(closes)
		}
	case '"':
		var scratch []byte
		_, ok := p.text(&scratch)
		return ok
	case 't':
		return p.literal("true")
	case 'f':
		return p.literal("false")
	case 'n':
		return p.literal("null")
	}
	_, ok := p.number()
	return ok
}
