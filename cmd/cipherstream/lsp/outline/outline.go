// Package outline finds out how a text is meant that is about to be a document in YAML: keys, values and lists by their
// indentation and brackets, each with its place. It takes whatever comes, because a text is no YAML most of the time while
// it is typed: what is not closed ends where the lines go back, what cannot be understood is passed over. It never says
// what is wrong; engine/document does. Work and memory grow with the length of the text, and depth is bounded.
package outline

import (
	"strings"
)

// Kind is what a node is.
type Kind int

// The kinds of nodes.
const (
	Scalar Kind = iota // also the place of a value that is not there
	Map
	List
)

// Node is a value. Places are in bytes.
type Node struct {
	Kind Kind
	// Start and End are the value with its quotes or brackets; for a value that is not there, both are where it would be.
	Start, End int
	// Text is a scalar without its quotes. Escapes stay as they are.
	Text string
	// Quoted says that the scalar stands in quotes, Block that it is a block of lines after | or >.
	Quoted, Block bool
	// Flow says that the mapping or list is written in brackets.
	Flow bool
	// Column is where the keys or dashes of a mapping or list in lines stand, in bytes from 0.
	Column  int
	Entries []*Entry
	Items   []*Node
}

// Entry is a member of a mapping.
type Entry struct {
	Key              string
	KeyStart, KeyEnd int // with quotes
	Colon            bool
	Value            *Node // never nil
}

// Entry returns the first member of that key, or nil; of nil too.
func (n *Node) Entry(key string) *Entry {
	if n == nil {
		return nil
	}
	for _, e := range n.Entries {
		if e.Key == key && e.Colon {
			return e
		}
	}
	return nil
}

// Get returns the value of a key, or nil; of nil too.
func (n *Node) Get(key string) *Node {
	if e := n.Entry(key); e != nil {
		return e.Value
	}
	return nil
}

// Scalar is the text of a scalar, empty of anything else and of nil.
func (n *Node) Scalar() string {
	if n == nil || n.Kind != Scalar {
		return ""
	}
	return n.Text
}

const byteOrderMark = "\ufeff"

// maxDepth bounds how deep values are nested. What is deeper is passed over.
const maxDepth = 100

// Parse finds out how a text is meant. The node is never nil.
func Parse(text string) *Node {
	p := &parser{text: text, pos: len(text) - len(strings.TrimPrefix(text, byteOrderMark))}
	p.skipBlank()
	n := p.block(0, 0)
	for p.skipBlank(); p.pos < len(text); p.skipBlank() {
		// What does not belong to the value before, or is of another document.
		before := p.pos
		more := p.block(0, 0)
		if p.pos == before {
			p.nextLine()
		}
		if n.Kind == Map && more.Kind == Map && !n.Flow {
			n.Entries, n.End = append(n.Entries, more.Entries...), more.End
		}
	}
	return n
}

type parser struct {
	text string
	pos  int // always at something that is no blank, or at the end, when a block begins
	// lineFrom and lineTo are the line that pos was in when it was last looked for: a text may be one long line.
	lineFrom, lineTo int
}

// find finds the line of pos.
func (p *parser) find() {
	if p.lineFrom <= p.pos && p.pos <= p.lineTo && p.lineTo > 0 {
		return
	}
	p.lineFrom, p.lineTo = strings.LastIndexByte(p.text[:p.pos], '\n')+1, len(p.text)
	if p.lineFrom == 0 && strings.HasPrefix(p.text, byteOrderMark) {
		p.lineFrom = min(p.pos, len(byteOrderMark)) // which takes no column
	}
	if i := strings.IndexByte(p.text[p.pos:], '\n'); i >= 0 {
		p.lineTo = p.pos + i
	}
}

// column is how far pos is from the beginning of its line.
func (p *parser) column() int {
	p.find()
	return p.pos - p.lineFrom
}

// lineEnd is the end of the line of pos, without CR and LF.
func (p *parser) lineEnd() int {
	p.find()
	if p.lineTo > p.pos && p.text[p.lineTo-1] == '\r' {
		return p.lineTo - 1
	}
	return p.lineTo
}

// nextLine goes to the beginning of the next line.
func (p *parser) nextLine() {
	p.find()
	p.pos = min(p.lineTo+1, len(p.text))
}

// skipBlank goes to the next character that is neither blank nor in a comment.
func (p *parser) skipBlank() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\r', '\n':
			p.pos++
		case '#':
			p.nextLine()
		case '-':
			if p.column() != 0 || !strings.HasPrefix(p.text[p.pos:], "---") {
				return
			}
			p.nextLine()
		default:
			return
		}
	}
}

// dash reports whether an item of a list begins at pos.
func (p *parser) dash() bool {
	return p.pos < len(p.text) && p.text[p.pos] == '-' && (p.pos+1 == len(p.text) || strings.IndexByte(" \t\r\n", p.text[p.pos+1]) >= 0)
}

// key looks for a key at pos: its text, its end, and the place behind its colon.
func (p *parser) key(end int) (key string, keyEnd, after int, ok bool) {
	line := p.text[p.pos:end]
	if line == "" {
		return "", 0, 0, false
	}
	if quote := line[0]; quote == '"' || quote == '\'' {
		i := strings.IndexByte(line[1:], quote)
		if i < 0 {
			return "", 0, 0, false
		}
		rest := strings.TrimLeft(line[i+2:], " ")
		if !strings.HasPrefix(rest, ":") {
			return "", 0, 0, false
		}
		return line[1 : i+1], p.pos + i + 2, end - len(rest) + 1, true
	}
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '#' && i > 0 && line[i-1] == ' ':
			return "", 0, 0, false
		case line[i] == ':' && (i+1 == len(line) || line[i+1] == ' ' || line[i+1] == '\t'):
			name := strings.TrimRight(line[:i], " \t")
			return name, p.pos + len(name), p.pos + i + 1, true
		}
	}
	return "", 0, 0, false
}

// block reads the value that begins at pos, if that is at a column of at least least.
func (p *parser) block(least, depth int) *Node {
	n := &Node{Start: p.pos, End: p.pos}
	if p.pos >= len(p.text) || p.column() < least {
		return n
	}
	if depth > maxDepth {
		p.nextLine()
		p.skipBlank()
		return n
	}
	column := p.column()
	if p.dash() {
		p.list(n, column, depth)
		return n
	}
	return p.inline(least, column, depth)
}

// inline reads what begins at pos, which is not the beginning of a list: a mapping whose keys stand at a column, or else
// one value, which ends before a line that does not reach least.
func (p *parser) inline(least, column, depth int) *Node {
	end := p.lineEnd()
	_, _, _, isKey := p.key(end)
	if c := p.text[p.pos]; (c == '{' || c == '[') && depth <= maxDepth {
		return p.value(least-1, depth)
	}
	n := &Node{Start: p.pos, End: p.pos, Column: column}
	if !isKey && !p.keysFollow(column) {
		return p.value(least-1, depth)
	}
	p.mapping(n, column, depth)
	return n
}

// keysFollow reports whether the next line that is not blank has a key at the same column as pos, so that what stands at
// pos is about to become one.
func (p *parser) keysFollow(column int) bool {
	ahead := *p
	ahead.nextLine()
	ahead.skipBlank()
	if ahead.pos >= len(p.text) || ahead.column() != column {
		return false
	}
	_, _, _, isKey := ahead.key(ahead.lineEnd())
	return isKey
}

// list reads the items of a list whose dashes stand at a column.
func (p *parser) list(n *Node, column, depth int) {
	n.Kind, n.Column = List, column
	for p.pos < len(p.text) && p.column() >= column {
		if !p.dash() {
			if p.column() == column {
				return
			}
			// Between the dashes and what stands behind them: of the last item, when that has keys.
			if last := n.last(); last != nil && last.Kind == Map && !last.Flow {
				p.mapping(last, p.column(), depth+1)
			} else {
				p.block(column+1, depth+1)
			}
			n.End = p.contentEnd()
			p.skipBlank()
			continue
		}
		p.pos++
		start := p.pos
		end := p.lineEnd()
		rest := strings.TrimLeft(p.text[p.pos:end], " \t")
		var item *Node
		switch {
		case depth >= maxDepth:
			p.nextLine()
			p.skipBlank()
			continue
		case rest == "" || rest[0] == '#':
			place := min(start+1, end)
			p.nextLine()
			p.skipBlank()
			if p.pos < len(p.text) && p.column() > column {
				item = p.block(column+1, depth+1)
			} else {
				item = &Node{Start: place, End: place}
			}
		default:
			p.pos = end - len(rest)
			if p.dash() {
				item = &Node{Start: p.pos, End: p.pos}
				p.list(item, p.column(), depth+1)
			} else {
				item = p.inline(column+1, p.column(), depth+1)
			}
		}
		n.Items = append(n.Items, item)
		n.End = item.End
		p.skipBlank()
	}
}

func (n *Node) last() *Node {
	if len(n.Items) == 0 {
		return nil
	}
	return n.Items[len(n.Items)-1]
}

// contentEnd is the end of what was read before pos.
func (p *parser) contentEnd() int { return len(strings.TrimRight(p.text[:p.pos], " \t\r\n")) }

// mapping reads the entries of a mapping whose keys stand at a column. A line that is indented further than its value
// can be is taken as one of them.
func (p *parser) mapping(n *Node, column, depth int) {
	n.Kind = Map
	for p.pos < len(p.text) && p.column() >= column {
		end := p.lineEnd()
		if p.dash() {
			if p.column() == column {
				return
			}
			p.list(&Node{}, p.column(), depth+1)
			continue
		}
		key, keyEnd, after, isKey := p.key(end)
		if !isKey {
			word := p.text[p.pos:end]
			if i := strings.Index(word, " #"); i >= 0 {
				word = word[:i]
			}
			word = strings.TrimRight(word, " \t")
			place := p.pos + len(word)
			n.Entries = append(n.Entries, &Entry{Key: word, KeyStart: p.pos, KeyEnd: place, Value: &Node{Start: place, End: place}})
			n.End = place
			p.nextLine()
			p.skipBlank()
			continue
		}
		e := &Entry{Key: key, KeyStart: p.pos, KeyEnd: keyEnd, Colon: true}
		e.Value = p.of(after, end, column, depth)
		n.Entries = append(n.Entries, e)
		n.End = e.Value.End
		p.skipBlank()
	}
}

// of reads the value of a key that stands at a column, behind its colon.
func (p *parser) of(after, end, column, depth int) *Node {
	rest := strings.TrimLeft(p.text[after:end], " \t")
	// An anchor or a tag may stand before the value.
	for len(rest) > 0 && (rest[0] == '&' || rest[0] == '!') {
		_, behind, _ := strings.Cut(rest, " ")
		rest = strings.TrimLeft(behind, " \t")
	}
	if rest == "" || rest[0] == '#' {
		place := min(after+1, end)
		p.pos = after
		p.nextLine()
		p.skipBlank()
		if p.pos < len(p.text) && depth < maxDepth && (p.column() > column || p.column() == column && p.dash()) {
			return p.block(column, depth+1)
		}
		return &Node{Start: place, End: place}
	}
	p.pos = end - len(rest)
	return p.value(column, depth+1)
}

// value reads a value at pos that is no mapping or list in lines. What is not closed ends before a line that does not
// reach beyond a column.
func (p *parser) value(column, depth int) *Node {
	n := &Node{Start: p.pos}
	switch c := p.text[p.pos]; {
	case (c == '{' || c == '[') && depth <= maxDepth:
		p.flow(n, column, depth)
		n.End = p.pos
		// What is left of the line is of nobody.
		p.pos = p.lineEnd()
	case c == '|' || c == '>':
		p.literal(n, column)
	case c == '"' || c == '\'':
		end := p.quotedEnd(column)
		n.Quoted, n.End = true, end
		n.Text = unquote(p.text[n.Start:end])
		p.pos = end
		p.pos = p.lineEnd()
	default:
		p.plain(n, column)
	}
	return n
}

// unquote is a scalar without its quotes, the last of which may be missing.
func unquote(text string) string {
	quote := text[:1]
	return strings.TrimSuffix(text[1:], quote)
}

// plain reads a scalar without quotes, with the lines that belong to it.
func (p *parser) plain(n *Node, column int) {
	for {
		end := p.lineEnd()
		line := p.text[p.pos:end]
		comment := false
		if i := strings.Index(line, " #"); i >= 0 {
			line, comment = line[:i], true
		}
		n.End = p.pos + len(strings.TrimRight(line, " \t"))
		p.pos = end
		ahead := *p
		ahead.nextLine()
		ahead.skipBlank()
		if comment || ahead.pos >= len(p.text) || ahead.column() <= column || ahead.dash() {
			break
		}
		if _, _, _, isKey := ahead.key(ahead.lineEnd()); isKey {
			break
		}
		*p = ahead
	}
	n.Text = p.text[n.Start:n.End]
}

// literal reads a block of lines that are indented further than a column.
func (p *parser) literal(n *Node, column int) {
	n.Block = true
	n.End = p.lineEnd()
	p.pos = n.End
	for {
		ahead := *p
		ahead.nextLine()
		if ahead.pos >= len(p.text) {
			break
		}
		end := ahead.lineEnd()
		line := p.text[ahead.pos:end]
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if indent < len(line) {
			if indent <= column {
				break
			}
			n.End = end
		}
		p.pos = end
	}
	_, n.Text, _ = strings.Cut(p.text[n.Start:n.End], "\n")
}

// quotedEnd is the end of a quoted scalar at pos. One that is not closed ends with its line.
func (p *parser) quotedEnd(column int) int {
	quote := p.text[p.pos]
	for i := p.pos + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '\\' && quote == '"':
			i++
		case c == quote && quote == '\'' && i+1 < len(p.text) && p.text[i+1] == quote:
			i++
		case c == quote:
			return i + 1
		case c == '\n' && !p.goesOn(i+1, column):
			return p.lineEnd()
		}
	}
	return p.lineEnd()
}

// goesOn reports whether the line that begins at a place is blank, or indented further than a column.
func (p *parser) goesOn(at, column int) bool {
	rest := p.text[at:]
	indent := len(rest) - len(strings.TrimLeft(rest, " "))
	return indent > column || indent == len(rest) || rest[indent] == '\n' || rest[indent] == '\r'
}

// between goes over blanks, comments and ends of lines within brackets. It is false at the end of what they can hold.
func (p *parser) between(column int) bool {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == ' ' || c == '\t' || c == '\r':
			p.pos++
		case c == '#':
			p.pos = p.lineEnd()
		case c == '\n':
			closes := strings.TrimLeft(p.text[p.pos+1:], " ")
			if !p.goesOn(p.pos+1, column) && (closes == "" || closes[0] != '}' && closes[0] != ']') {
				return false
			}
			p.pos++
		default:
			return true
		}
	}
	return false
}

// flow reads a mapping or a list in brackets.
func (p *parser) flow(n *Node, column, depth int) {
	n.Flow, n.Kind = true, Map
	closing := byte('}')
	if p.text[p.pos] == '[' {
		n.Kind, closing = List, ']'
	}
	p.pos++
	for p.between(column) {
		switch c := p.text[p.pos]; {
		case c == closing:
			p.pos++
			return
		case c == ',':
			p.pos++
		case c == '}' || c == ']':
			return // of something around this
		case n.Kind == List:
			n.Items = append(n.Items, p.flowValue(column, depth))
		default:
			n.Entries = append(n.Entries, p.flowEntry(column, depth))
		}
	}
}

// flowEntry reads a member of a mapping in brackets.
func (p *parser) flowEntry(column, depth int) *Entry {
	e := &Entry{KeyStart: p.pos}
	if c := p.text[p.pos]; c == '"' || c == '\'' {
		e.KeyEnd = p.quotedEnd(column)
		e.Key = unquote(p.text[p.pos:e.KeyEnd])
	} else if c == '{' || c == '[' {
		e.Value = p.flowValue(column, depth) // no key of ours
		e.KeyEnd = e.KeyStart
		return e
	} else {
		e.KeyEnd = p.flowPlainEnd(true)
		e.Key = p.text[p.pos:e.KeyEnd]
	}
	p.pos = e.KeyEnd
	p.blanks()
	if p.pos >= len(p.text) || p.text[p.pos] != ':' {
		e.Value = &Node{Start: e.KeyEnd, End: e.KeyEnd}
		return e
	}
	p.pos++
	e.Colon = true
	place := p.pos
	p.blanks()
	if p.pos < len(p.text) && strings.IndexByte(",}]\r\n", p.text[p.pos]) < 0 {
		e.Value = p.flowValue(column, depth)
		return e
	}
	if place < p.pos {
		place++
	}
	e.Value = &Node{Start: place, End: place}
	return e
}

// blanks goes over blanks in a line.
func (p *parser) blanks() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
}

// flowValue reads a value within brackets.
func (p *parser) flowValue(column, depth int) *Node {
	n := &Node{Start: p.pos}
	switch c := p.text[p.pos]; {
	case (c == '{' || c == '[') && depth < maxDepth:
		p.flow(n, column, depth+1)
	case c == '"' || c == '\'':
		end := p.quotedEnd(column)
		n.Quoted, n.Text = true, unquote(p.text[n.Start:end])
		p.pos = end
	default:
		end := max(p.flowPlainEnd(false), p.pos+1)
		n.Text = p.text[n.Start:end]
		p.pos = end
	}
	n.End = p.pos
	return n
}

// flowPlainEnd is the end of a scalar without quotes within brackets; of a key, that is before its colon.
func (p *parser) flowPlainEnd(key bool) int {
	end := p.lineEnd()
	line := p.text[p.pos:end]
	reference := false
scan:
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '{' && i > 0 && line[i-1] == '$':
			reference = true // it must be in quotes, and is often not yet
		case c == '}' && reference:
			reference = false
		case c == ',' || c == ']' || c == '}':
			line = line[:i]
			break scan
		case c == '#' && i > 0 && line[i-1] == ' ':
			line = line[:i]
			break scan
		case key && c == ':' && (i+1 == len(line) || strings.IndexByte(" \t,]}", line[i+1]) >= 0):
			line = line[:i]
			break scan
		}
	}
	return p.pos + len(strings.TrimRight(line, " \t"))
}

// Step leads from a mapping or a list to a value in it.
type Step struct {
	In  *Node
	Key string
	// Index is the place in a list; -1 for a key.
	Index int
}

// Place is what stands at a place of a text.
type Place struct {
	// Steps lead from the root to Node.
	Steps []Step
	// Node is the value at the place; for a place among the entries of a mapping, that mapping.
	Node *Node
	// Entry is the entry of Node in whose key the place is; nil when it is in a value.
	Entry *Entry
}

// At finds what stands at a place, in bytes.
func (n *Node) At(offset int) Place {
	p := Place{Node: n}
next:
	for {
		for _, e := range p.Node.Entries {
			switch {
			case e.KeyStart <= offset && offset <= e.KeyEnd:
				p.Entry = e
				return p
			case e.Colon && e.KeyEnd < offset && offset <= e.Value.End:
				p.Steps = append(p.Steps, Step{p.Node, e.Key, -1})
				p.Node = e.Value
				continue next
			}
		}
		for i, item := range p.Node.Items {
			if item.Start <= offset && offset <= item.End {
				p.Steps = append(p.Steps, Step{p.Node, "", i})
				p.Node = item
				continue next
			}
		}
		return p
	}
}
