package statement

import (
	"strings"
	"unicode/utf8"
)

// token is a word, a name in quotation marks, a text, or another sign.
type token struct {
	kind kind
	text string
}

type kind byte

const (
	word   kind = iota + 1 // not quoted: a word of SQL, a name or a number
	name                   // in backticks
	text                   // in quotation marks: a text, or a name where double ones mean that
	sign                   // one character
	broken                 // something that has no end
)

func (t token) is(s string) bool { return t.kind == sign && t.text == s }

// scan takes a statement apart. Comments are left out, but for those that servers execute.
func scan(sql string) (tokens []token) {
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
		case c == '#', strings.HasPrefix(sql[i:], "--") && (i+2 == len(sql) || sql[i+2] <= ' '):
			end := strings.IndexByte(sql[i:], '\n')
			if end < 0 {
				return tokens
			}
			i += end
		case strings.HasPrefix(sql[i:], "/*!"), strings.HasPrefix(sql[i:], "/*M!"):
			i += strings.IndexByte(sql[i:], '!') + 1
			for i < len(sql) && sql[i] >= '0' && sql[i] <= '9' {
				i++
			}
		case strings.HasPrefix(sql[i:], "*/"):
			i += 2
		case strings.HasPrefix(sql[i:], "/*"):
			end := strings.Index(sql[i+2:], "*/")
			if end < 0 {
				return append(tokens, token{kind: broken})
			}
			i += 2 + end + 2
		case c == '`' || c == '\'' || c == '"':
			t, next := quoted(sql, i)
			tokens = append(tokens, t)
			i = next
		case inWord(c):
			start := i
			for i < len(sql) && inWord(sql[i]) {
				i++
			}
			tokens = append(tokens, token{word, sql[start:i]})
		default:
			tokens = append(tokens, token{sign, sql[i : i+1]})
			i++
		}
	}
	return tokens
}

func inWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= utf8.RuneSelf
}

// quoted reads from a quotation mark to the one that ends it.
func quoted(sql string, at int) (t token, next int) {
	mark := sql[at]
	t.kind = text
	if mark == '`' {
		t.kind = name
	}
	var b strings.Builder
	for i := at + 1; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == mark && i+1 < len(sql) && sql[i+1] == mark:
			b.WriteByte(mark)
			i++
		case c == mark:
			t.text = b.String()
			return t, i + 1
		case c == '\\' && mark != '`' && i+1 < len(sql):
			i++
			b.WriteByte(sql[i])
		default:
			b.WriteByte(c)
		}
	}
	return token{kind: broken}, len(sql)
}

// parser reads tokens.
type parser struct {
	tokens   []token
	at       int
	database string
	tables   Tables
}

func (p *parser) end() bool {
	return p.at == len(p.tokens) || p.at == len(p.tokens)-1 && p.tokens[p.at].is(";")
}

func (p *parser) skip() { p.at = min(p.at+1, len(p.tokens)) }

// word reads a word, in upper case, or another sign; "" is neither.
func (p *parser) word() string {
	if p.end() || p.tokens[p.at].kind != word && p.tokens[p.at].kind != sign {
		return ""
	}
	p.at++
	return strings.ToUpper(p.tokens[p.at-1].text)
}

// take reads a word if it is that one.
func (p *parser) take(w string) bool {
	if p.end() || p.tokens[p.at].kind != word || !strings.EqualFold(p.tokens[p.at].text, w) {
		return false
	}
	p.at++
	return true
}

func (p *parser) oneOf(words ...string) bool {
	for _, w := range words {
		if p.take(w) {
			return true
		}
	}
	return false
}

func (p *parser) punctuation(s string) bool {
	if p.end() || !p.tokens[p.at].is(s) {
		return false
	}
	p.at++
	return true
}

// part reads a name, or a part of one.
func (p *parser) part() (string, bool) {
	if p.end() || p.tokens[p.at].kind == sign || p.tokens[p.at].kind == broken {
		return "", false
	}
	p.at++
	return p.tokens[p.at-1].text, true
}

// name reads the name of a table.
func (p *parser) name() (database, table string, ok bool) {
	first, ok := p.part()
	if !ok || !p.punctuation(".") {
		return p.database, first, ok
	}
	table, ok = p.part()
	return first, table, ok
}
