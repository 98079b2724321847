package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// changes lists in plain words, from the counters of the run, which values in the output differ from what is stored or
// from what the pipeline's columns say, and what is missing in it.
func (r *run) changes(counters map[string]int64) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		n := counters[name]
		if n == 0 {
			continue
		}
		for i := range r.plan.Stages {
			s := &r.plan.Stages[i]
			counter, ok := strings.CutPrefix(name, s.ID+".")
			column, nulls := strings.CutPrefix(counter, "drift_nulls.")
			switch {
			case !ok:
			case counter == "zero_dates" && s.Config["zero_dates"] == "null":
				list = append(list, fmt.Sprintf("%d zero, partial or impossible %s became NULL (zero_dates: null)", n, plural(n, "date")))
			case counter == "zero_dates":
				list = append(list, fmt.Sprintf("%d zero, partial or impossible %s came as text (zero_dates: text)", n, plural(n, "date")))
			case counter == "doubled_hours":
				list = append(list, fmt.Sprintf("%d %s written in local time %s in an hour that clocks showed twice", n, plural(n, "timestamp"), either(n, "lies", "lie")))
			case counter == "warnings":
				list = append(list, fmt.Sprintf("the server gave %d %s (warnings: %v)", n, plural(n, "warning"), s.Config["warnings"]))
			case counter == "result_sets_dropped":
				list = append(list, fmt.Sprintf("%d further result %s dropped (result_set)", n, either(n, "set was", "sets were")))
			case counter == "out_parameters_dropped":
				list = append(list, fmt.Sprintf("what %d OUT %s dropped (result_set: out delivers it)", n, either(n, "parameter held was", "parameters held was")))
			case counter == "columns_invisible":
				list = append(list, fmt.Sprintf("%d invisible %s left out (columns names those that are wanted)", n, either(n, "column was", "columns were")))
			case nulls:
				list = append(list, fmt.Sprintf("%d %s NULL in column %q, which the contract says never is (drift: warn)", n, either(n, "row is", "rows are"), column))
			}
		}
	}
	return list
}

// either returns one for a count of one, and more for any other.
func either(n int64, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// plural returns a word, with an s unless n is one.
func plural(n int64, what string) string { return either(n, what, what+"s") }
