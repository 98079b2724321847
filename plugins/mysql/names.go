package mysql

import (
	"slices"
	"strconv"
	"strings"
)

// longestName is the most characters that a name has in MySQL and MariaDB.
const longestName = 64

// quoteName quotes a name, so that it can be nothing but a name in a statement.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func quoteNames(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quoteName(name)
	}
	return strings.Join(quoted, ", ")
}

// shown quotes something of a request for a message: in one line, printable, short.
func shown(text string) string {
	if runes := []rune(text); len(runes) > longestName {
		return strconv.QuoteToGraphic(string(runes[:longestName])) + "…"
	}
	return strconv.QuoteToGraphic(text)
}

// lower folds the letters A to Z only: what looks like a letter, such as the
// Kelvin sign, is none.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// sameName compares names; fold says that their case does not matter.
func sameName(a, b string, fold bool) bool { return a == b || fold && lower(a) == lower(b) }

// allowList is a list of patterns of names.
type allowList []string

// parseAllowList reads patterns with commas between.
func parseAllowList(text string) (list allowList) {
	for pattern := range strings.SplitSeq(text, ",") {
		if pattern = strings.TrimSpace(pattern); pattern != "" {
			list = append(list, pattern)
		}
	}
	return list
}

// allows reports whether a pattern fits all of name.
func (l allowList) allows(name string, fold bool) bool {
	return slices.ContainsFunc(l, func(pattern string) bool {
		if fold {
			return fits(lower(pattern), lower(name))
		}
		return fits(pattern, name)
	})
}

// fits reports whether name is pattern, where * in pattern stands for any
// characters, or none.
func fits(pattern, name string) bool {
	pieces := strings.Split(pattern, "*")
	last := len(pieces) - 1
	rest, ok := strings.CutPrefix(name, pieces[0])
	if !ok || last == 0 {
		return ok && rest == ""
	}
	for _, piece := range pieces[1:last] {
		// The first place is as good as any: what follows has the most room.
		i := strings.Index(rest, piece)
		if i < 0 {
			return false
		}
		rest = rest[i+len(piece):]
	}
	return strings.HasSuffix(rest, pieces[last])
}

// similar collects the names that are most like one that was not found.
type similar struct {
	wanted []rune
	best   []string // nearest first
	apart  []int
}

// mostSimilar is how many names are suggested.
const mostSimilar = 3

func similarTo(name string) *similar { return &similar{wanted: []rune(lower(name))} }

// offer considers a name.
func (s *similar) offer(name string) {
	limit := min(len(s.wanted)/3+1, 4)
	candidate := []rune(lower(name))
	if len(s.wanted) > longestName || len(candidate)-len(s.wanted) > limit || len(s.wanted)-len(candidate) > limit {
		return
	}
	n := distance(s.wanted, candidate)
	if n > limit || n >= len(s.wanted) {
		return
	}
	at, _ := slices.BinarySearch(s.apart, n+1)
	s.apart = slices.Insert(s.apart, at, n)
	s.best = slices.Insert(s.best, at, name)
	if len(s.best) > mostSimilar {
		s.apart, s.best = s.apart[:mostSimilar], s.best[:mostSimilar]
	}
}

// hint suggests the names, or gives what to say without any.
func (s *similar) hint(otherwise string) string {
	if len(s.best) == 0 {
		return otherwise
	}
	quoted := make([]string, len(s.best))
	for i, name := range s.best {
		quoted[i] = shown(name)
	}
	return "did you mean " + strings.Join(quoted, " or ") + "?"
}

// distance is the Levenshtein distance.
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
