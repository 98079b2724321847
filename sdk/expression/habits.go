// Package expression says what people who know SQL need to hear about CEL. It owns the
// hints for habits of SQL in an expression; it never evaluates one.
package expression

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// habit is something that SQL writes.
type habit struct {
	sql  *regexp.Regexp
	hint string
	// cel is what CEL writes in the same place; empty where that is more than another word.
	cel string
}

// habits are compiled when somebody needs a hint: every process of a plugin has them.
var habits = sync.OnceValue(func() []habit {
	return []habit{
		{regexp.MustCompile(`(?is)\bCASE\b.*\bWHEN\b`), "write condition ? value : other for CASE WHEN", ""},
		{regexp.MustCompile(`(?is)\bCAST\s*\(.*\bAS\b`), "write string(x), int(x), decimal(x, precision, scale), date(x) or timestamp(x) for CAST", ""},
		{regexp.MustCompile(`(?i)\bINTERVAL\b`), "write addDays(d, n), addMonths(d, n) or addYears(d, n) for INTERVAL", ""},
		{regexp.MustCompile(`(?i)\bIS\s+NOT\s+NULL\b`), "write != null for IS NOT NULL", "!= null"},
		{regexp.MustCompile(`(?i)\bIS\s+NULL\b`), "write == null for IS NULL", "== null"},
		{regexp.MustCompile(`\bNULL\b`), "write null in lower case", "null"},
		{regexp.MustCompile(`<>`), "write != for <>", "!="},
		{regexp.MustCompile(`(?i)\bNOT\s+LIKE\b|\bLIKE\b`), "write x.startsWith('a'), x.endsWith('a'), x.contains('a') or x.matches('^a.*b$') for LIKE", ""},
		{regexp.MustCompile(`(?is)\bBETWEEN\b(?:.*?\bAND\b)?`), "write x >= a && x <= b for BETWEEN", ""},
		{regexp.MustCompile(`(?i)\bNOT\s+IN\s*\(`), "write !(x in ['a', 'b']) for NOT IN", ""},
		{regexp.MustCompile(`(?i)\bIN\s*\(`), "write x in ['a', 'b'] for IN", ""},
		{regexp.MustCompile(`(?i)\bAND\b`), "write && for AND", "&&"},
		{regexp.MustCompile(`(?i)\bOR\b`), "write || for OR", "||"},
		{regexp.MustCompile(`(?i)\bNOT\b`), "write ! for NOT", ""},
		{regexp.MustCompile(`(?i)[\w)\s]\bDIV\b`), "write / for DIV, which cuts the rest off for integers", ""},
		{regexp.MustCompile(`(?i)[\w)\s]\bMOD\b[^(]`), "write % for MOD", ""},
		{regexp.MustCompile("`"), "write a column's name as it is, or row[\"its name\"], without backquotes", ""},
		{regexp.MustCompile(`\bTRUE\b`), "write true and false in lower case", "true"},
		{regexp.MustCompile(`\bFALSE\b`), "write true and false in lower case", "false"},
		{regexp.MustCompile(`(^|[^=!<>])=([^=]|$)`), "write == for =, as in id == 4", "$1==$2"},
	}
})

var (
	// quoted is text in an expression; names in row["…"] are in it too.
	quoted = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`'(\\.|[^'\\])*'|"(\\.|[^"\\])*"`) })
	// doubled is how SQL writes a quote inside of a text.
	doubled = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`'\w[^'\\]*''[^'\\]*\w'`) })
)

// Hint says how CEL writes what an expression that is wrong writes as SQL does. It is empty
// when nothing in it looks like SQL.
func Hint(text string) string {
	var hints []string
	if doubled().MatchString(text) {
		hints = append(hints, `write \' for a quote inside of text: 'O\'Brien'`)
	}
	bare := quoted().ReplaceAllString(text, "''")
	for _, h := range habits() {
		if h.sql.MatchString(bare) {
			if !slices.Contains(hints, h.hint) {
				hints = append(hints, h.hint)
			}
			// What was said about is not said about again in its parts.
			bare = h.sql.ReplaceAllString(bare, "$1 $2")
		}
	}
	return strings.Join(hints, "; ")
}
