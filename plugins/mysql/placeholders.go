package mysql

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"
)

// Placeholder is a question mark of a statement, for which an argument is bound.
type Placeholder struct {
	// Column is what it is compared with, by its name alone; empty where the statement does not compare it with a column.
	Column string
	// Rows and Offset say that it is how many rows there are at most, or how many are passed over.
	Rows, Offset bool
	// From and To say that it is the least, or the greatest, of a range of the column's values, itself included or not.
	From, To bool
	// MySQL is the type that the server takes it for, in MySQL's words; empty where the server does not say.
	MySQL string
}

// Placeholders finds the question marks of a statement, in their order, those in strings, names and comments left out,
// and has the statement prepared, because some servers say then which types they take them for: nothing is executed.
// That a server does not prepare the statement is no error here.
func (s *Session) Placeholders(ctx context.Context, query string) ([]Placeholder, error) {
	list := placeholders(query, s.ses.mode)
	if len(list) == 0 {
		return nil, nil
	}
	if err := s.idle(); err != nil {
		return nil, err
	}
	defer s.ses.watch(ctx)()
	stmt, err := prepare(s.ses.c, query)
	if err == nil {
		err = s.ses.c.forget(stmt.id)
	}
	if isServerError(err) {
		return list, nil
	}
	if err != nil {
		return nil, s.failed(ctx, "preparing "+firstWord(query), err)
	}
	for i := range list {
		// A server that says nothing takes all of them for text.
		if i < len(stmt.parameters) && !slices.Contains([]byte{typeVarString, typeString, typeNull}, stmt.parameters[i].typ) {
			list[i].MySQL = sourceType(&stmt.parameters[i])
		}
	}
	return list, nil
}

// Calls reports whether a statement is a CALL.
func Calls(query string) bool { return firstWord(query) == "CALL" }

func placeholders(query string, mode sqlMode) (list []Placeholder) {
	all := sqlTokens(query, mode)
	for i := range all {
		if all[i].is("?") {
			list = append(list, placeholderAt(all[:i], i+1 < len(all) && all[i+1].is(",")))
		}
	}
	return list
}

// sqlToken is a word, a quoted name without its quotes, an operator, or one sign of a statement.
type sqlToken struct {
	text         string
	word, quoted bool
}

// is reports whether a token is one of some words or signs, which are in capitals.
func (t sqlToken) is(any ...string) bool {
	return !t.quoted && slices.Contains(any, strings.ToUpper(t.text))
}

// isName reports whether a token can be a column's name: a word that no comparison begins behind is none.
func (t sqlToken) isName() bool {
	return t.quoted || t.word && (t.text[0] < '0' || t.text[0] > '9') && !t.is("END", "NULL", "TRUE", "FALSE")
}

// sqlTokens takes a statement apart; spaces and comments are left out.
func sqlTokens(sql string, mode sqlMode) (list []sqlToken) {
	ofWord := func(c byte) bool {
		return c == '_' || c == '$' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= utf8.RuneSelf
	}
	run := func(pos int, of func(byte) bool) int {
		for pos < len(sql) && of(sql[pos]) {
			pos++
		}
		return pos
	}
	for pos := 0; pos < len(sql); {
		start, c := pos, sql[pos]
		switch {
		case c <= ' ':
			pos++
		case ofWord(c):
			pos = run(pos, ofWord)
			list = append(list, sqlToken{text: sql[start:pos], word: true})
		case strings.IndexByte("<>=!", c) >= 0:
			pos = run(pos, func(c byte) bool { return strings.IndexByte("<>=!", c) >= 0 })
			list = append(list, sqlToken{text: sql[start:pos]})
		default:
			pos = tokenEnd(sql, pos, mode)
			name := c == '`' || c == '"' && mode.ansiQuotes
			for name && pos < len(sql) && sql[pos] == c { // a doubled quote is one of the name
				pos = tokenEnd(sql, pos, mode)
			}
			switch text := sql[start:pos]; {
			case name:
				text = strings.TrimSuffix(text[1:], text[:1])
				list = append(list, sqlToken{text: strings.ReplaceAll(text, string([]byte{c, c}), string(c)), quoted: true})
			case len(text) == 1, c == '\'', c == '"':
				list = append(list, sqlToken{text: text})
			}
		}
	}
	return list
}

// placeholderAt is what the question mark behind some tokens is. Followed says that a comma stands behind it.
func placeholderAt(before []sqlToken, followed bool) (p Placeholder) {
	last := func(n int) sqlToken { // counted from 1, from the end
		if n > len(before) {
			return sqlToken{}
		}
		return before[len(before)-n]
	}
	drop := func(n int) { before = before[:max(0, len(before)-n)] }
	switch {
	case last(1).is("LIMIT") && !followed, last(1).is(",") && last(2).is("?") && last(3).is("LIMIT"):
		return Placeholder{Rows: true, MySQL: "bigint"}
	case last(1).is("OFFSET", "LIMIT"):
		return Placeholder{Offset: true, MySQL: "bigint"}
	case last(1).is("AND") && last(3).is("BETWEEN"):
		p.To = true
		drop(3)
	case last(1).is("BETWEEN"), last(1).is(">", ">="):
		p.From = true
		drop(1)
	case last(1).is("<", "<="):
		p.To = true
		drop(1)
	case last(1).is("=", "<>", "!=", "<=>", "LIKE"):
		drop(1)
	default:
		for last(1).is(",") && last(2).is("?") {
			drop(2)
		}
		if !last(1).is("(") || !last(2).is("IN") {
			return Placeholder{}
		}
		drop(2)
	}
	if last(1).is("NOT") {
		drop(1)
	}
	if !last(1).isName() {
		return Placeholder{}
	}
	p.Column = last(1).text
	return p
}
