package lsp

import (
	"sort"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// The encodings of positions. Every client knows UTF-16.
const (
	utf16Encoding = "utf-16"
	utf8Encoding  = "utf-8"
)

const byteOrderMark = "\ufeff"

// text is what a file holds. It does not change.
type text struct {
	content  string
	lines    []int // where each line begins, in bytes
	encoding string
}

func newText(content, encoding string) *text {
	t := &text{content: content, lines: []int{0}, encoding: encoding}
	for i := 0; i < len(content); i++ {
		switch {
		case content[i] == '\r' && i+1 < len(content) && content[i+1] == '\n':
		case content[i] == '\r' || content[i] == '\n':
			t.lines = append(t.lines, i+1)
		}
	}
	return t
}

// line is a line without its end.
func (t *text) line(i int) string {
	end := len(t.content)
	if i+1 < len(t.lines) {
		end = t.lines[i+1]
	}
	return strings.TrimRight(t.content[t.lines[i]:end], "\r\n")
}

// units is how many code units a character has.
func (t *text) units(c rune, size int) int {
	if t.encoding == utf8Encoding {
		return size
	}
	return max(1, utf16.RuneLen(c))
}

// offset is the place of a position, in bytes. One behind the end of a line or of the text is that end, as the protocol has it.
func (t *text) offset(p Position) int {
	switch {
	case p.Line < 0:
		return 0
	case p.Line >= len(t.lines):
		return len(t.content)
	}
	line, at := t.line(p.Line), 0
	for units := 0; at < len(line); {
		c, size := utf8.DecodeRuneInString(line[at:])
		if units += t.units(c, size); units > p.Character {
			break
		}
		at += size
	}
	return t.lines[p.Line] + at
}

// position is the position of a place in bytes.
func (t *text) position(offset int) Position {
	offset = min(max(offset, 0), len(t.content))
	line := sort.SearchInts(t.lines, offset+1) - 1
	units := 0
	for _, c := range t.content[t.lines[line]:offset] {
		units += t.units(c, utf8.RuneLen(c))
	}
	return Position{line, units}
}

// span is the range between two places in bytes.
func (t *text) span(start, end int) Range { return Range{t.position(start), t.position(end)} }

// edited is the text with a part of it replaced.
func (t *text) edited(r Range, by string) *text {
	start, end := t.offset(r.Start), t.offset(r.End)
	return newText(t.content[:start]+by+t.content[max(start, end):], t.encoding)
}

// place is the range of bytes of a diagnostic's position. One whose end is not known reaches to the end of its word, and
// that of a whole file is the first line.
func (t *text) place(p diag.Position) (start, end int) {
	if p.Line == 0 {
		return 0, len(t.line(0))
	}
	starts := diag.LineStarts(t.content)
	if strings.HasPrefix(t.content, byteOrderMark) {
		starts[0] = len(byteOrderMark) // which no position counts
	}
	if p.Line > len(starts) {
		return len(t.content), len(t.content)
	}
	rest := t.content[starts[p.Line-1]:]
	if p.Line < len(starts) {
		rest = t.content[starts[p.Line-1]:starts[p.Line]]
	}
	rest = strings.TrimRight(rest, "\r\n\u0085\u2028\u2029")
	bytes := func(column int) int {
		at := 0
		for n := 1; n < column && at < len(rest); n++ {
			_, size := utf8.DecodeRuneInString(rest[at:])
			at += size
		}
		return at
	}
	if p.Column == 0 {
		return starts[p.Line-1] + len(rest) - len(strings.TrimLeft(rest, " ")), starts[p.Line-1] + len(rest)
	}
	start, end = bytes(p.Column), bytes(p.EndColumn)
	if p.EndColumn <= p.Column {
		end = start + len(rest[start:])
		if i := strings.IndexAny(rest[start:], " \t:,{}[]"); i >= 0 {
			end = start + max(1, i)
		}
	}
	return starts[p.Line-1] + start, starts[p.Line-1] + end
}
