package mysql

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"SELECT 1":                            "",
		"SELECT '?', \"?\", `?` /* ? */ -- ?": "",
		"SELECT ? AS x":                       "-",
		"SELECT a FROM t WHERE day >= ?":      "day from",
		"SELECT a FROM t WHERE t.day > ? AND day<? OR x = ?":                              "day from, day to, x",
		"SELECT a FROM t WHERE day NOT BETWEEN ? AND ? AND state LIKE ?":                  "day from, day to, state",
		"SELECT a FROM t WHERE `a ``b` IN (?, ?,?) AND c not in (?)":                      "a `b, a `b, a `b, c",
		"SELECT a FROM t WHERE `d`.`` <=> ? AND größe != ? AND `?` <> ?":                  "-, größe, ?",
		"SELECT a FROM t WHERE ? IS NULL OR f(day) = ? OR 1 = ? OR d = DATE(?) OR (?, 1)": "-, -, -, -, -",
		"SELECT a FROM t WHERE CASE WHEN a THEN b END = ? LIMIT ? OFFSET ?":               "-, rows, offset",
		"SELECT a FROM t LIMIT ?,?":                                                       "offset, rows",
		"?":                                                                               "-",
		"= ?":                                                                             "-",
		"AND ?":                                                                           "-",
		", ?":                                                                             "-",
		"IN (?":                                                                           "-",
		"BETWEEN ? AND ?":                                                                 "-, -",
		"`?":                                                                              "",
	} {
		if got := told(placeholders(query, sqlMode{})); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	const ansi = `SELECT a FROM t WHERE "a""b" = ? AND c = '\' AND d > ? AND e = '?'`
	if got := told(placeholders(ansi, sqlMode{noBackslashEscapes: true, ansiQuotes: true})); got != `a"b, d from` {
		t.Errorf("with the quotes of standard SQL: %q", got)
	}
}

// told writes placeholders as the tests do.
func told(list []Placeholder) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = cmp.Or(p.Column, "-")
		switch {
		case p.Rows:
			texts[i] = "rows"
		case p.Offset:
			texts[i] = "offset"
		case p.From:
			texts[i] += " from"
		case p.To:
			texts[i] += " to"
		}
	}
	return strings.Join(texts, ", ")
}

// FuzzPlaceholders: there are as many as question marks that are replaced where a server cannot prepare a statement.
func FuzzPlaceholders(f *testing.F) {
	for _, query := range []string{"SELECT a FROM t WHERE day BETWEEN ? AND ? AND b IN (?, ?)", "'?' \"?\" `?` -- ?\n?", "`a```=?", "# ?", "/* ? */ ?", "?"} {
		f.Add(query, false)
		f.Add(query, true)
	}
	f.Fuzz(func(t *testing.T, query string, ansi bool) {
		mode := sqlMode{ansiQuotes: ansi}
		if strings.Contains(query, "/*!") || strings.Contains(query, "/*M!") {
			return
		}
		list := placeholders(query, mode)
		if _, err := inline(query, make([]any, len(list)), mode); err != nil {
			t.Error(fmt.Errorf("%q: %w", query, err))
		}
	})
}
