// Package expression says what people who know SQL need to hear about CEL. It owns the
// hints for habits of SQL in an expression; it never evaluates one.
package expression

import (
	"regexp"
	"strings"
)

// habits are what SQL writes, and what CEL writes instead.
var habits = []struct {
	sql *regexp.Regexp
	cel string
}{
	{regexp.MustCompile(`(?i)\bIS\s+NOT\s+NULL\b`), "write != null for IS NOT NULL"},
	{regexp.MustCompile(`(?i)\bIS\s+NULL\b`), "write == null for IS NULL"},
	{regexp.MustCompile(`\bNULL\b`), "write null in lower case"},
	{regexp.MustCompile(`<>`), "write != for <>"},
	{regexp.MustCompile(`(?i)\bNOT\s+LIKE\b|\bLIKE\b`), "write x.startsWith('a'), x.endsWith('a'), x.contains('a') or x.matches('^a.*b$') for LIKE"},
	{regexp.MustCompile(`(?i)\bBETWEEN\b`), "write x >= a && x <= b for BETWEEN"},
	{regexp.MustCompile(`(?i)\bNOT\s+IN\s*\(`), "write !(x in ['a', 'b']) for NOT IN"},
	{regexp.MustCompile(`(?i)\bIN\s*\(`), "write x in ['a', 'b'] for IN"},
	{regexp.MustCompile(`(?i)\bAND\b`), "write && for AND"},
	{regexp.MustCompile(`(?i)\bOR\b`), "write || for OR"},
	{regexp.MustCompile(`(?i)\bNOT\b`), "write ! for NOT"},
	{regexp.MustCompile(`\b(TRUE|FALSE)\b`), "write true and false in lower case"},
	{regexp.MustCompile(`(^|[^=!<>])=([^=]|$)`), "write == for =, as in id == 4"},
}

// quoted is text in an expression; names in row["…"] are in it too.
var quoted = regexp.MustCompile(`'(\\.|[^'\\])*'|"(\\.|[^"\\])*"`)

// Hint says how CEL writes what an expression that is wrong writes as SQL does. It is empty
// when nothing in it looks like SQL.
func Hint(text string) string {
	bare := quoted.ReplaceAllString(text, "''")
	var hints []string
	for _, h := range habits {
		if h.sql.MatchString(bare) {
			hints = append(hints, h.cel)
			// What was said about is not said about again in its parts.
			bare = h.sql.ReplaceAllString(bare, "$1 $2")
		}
	}
	return strings.Join(hints, "; ")
}
