package diag

import (
	"fmt"
	"slices"
	"strings"
)

// longestName bounds the names that Nearest compares: the work grows with the
// product of the lengths, and nobody mistypes a longer one by a letter or two.
const longestName = 64

// synonyms are words that others use for ours.
var synonyms = map[string]string{"jsonl": "ndjson", "jsonlines": "ndjson", "gz": "gzip", "zst": "zstd", "pq": "parquet", "feather": "arrow"}

// Nearest returns the candidates that name was probably meant to be: those at
// the smallest Damerau-Levenshtein distance (letters inserted, left out,
// changed, or neighbours swapped; case is ignored), if that is at most a third
// of the name's length. It returns at
// most three, sorted, and never name itself.
func Nearest(name string, candidates []string) []string {
	if synonym := synonyms[strings.ToLower(name)]; slices.Contains(candidates, synonym) {
		return []string{synonym}
	}
	a := []rune(strings.ToLower(name))
	if len(a) == 0 || len(a) > longestName {
		return nil
	}
	best := max(1, len(a)/3)
	if len(a) == 1 {
		best = 0 // any letter is one change away from any other
	}
	var near []string
	for _, c := range candidates {
		b := []rune(strings.ToLower(c))
		if c == name || len(b) == 0 || len(b) > longestName {
			continue
		}
		d := distance(a, b)
		if d < best {
			best, near = d, nil
		}
		if d == best && !slices.Contains(near, c) {
			near = append(near, c)
		}
	}
	slices.Sort(near)
	return near[:min(3, len(near))]
}

// distance is the optimal string alignment form of the Damerau-Levenshtein
// distance: a pair of letters is swapped at most once.
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// shortList is how many candidates are worth naming when none is near.
const shortList = 12

func suggestion(near, candidates []string) string {
	quoted := make([]string, len(near))
	for i, n := range near {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	switch {
	case len(near) > 0:
		return "did you mean " + strings.Join(quoted, " or ") + "?"
	case len(candidates) == 0 || len(candidates) > shortList:
		return ""
	case len(candidates) == 1:
		return fmt.Sprintf("only %q is known here", candidates[0])
	}
	return "known here: " + strings.Join(candidates, ", ")
}
