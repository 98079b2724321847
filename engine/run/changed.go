package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// changes says in plain words what arrived otherwise than it is stored, or than the pipeline promises it, or
// did not arrive, by the counters of the run.
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
				list = append(list, fmt.Sprintf("%d %s written in local time %s in an hour that clocks showed twice", n, plural(n, "timestamp"), lies(n)))
			case counter == "warnings":
				list = append(list, fmt.Sprintf("the server gave %d %s (warnings: %v)", n, plural(n, "warning"), s.Config["warnings"]))
			case counter == "result_sets_dropped":
				list = append(list, fmt.Sprintf("%d further result %s dropped (result_set)", n, sets(n)))
			case counter == "out_parameters_dropped":
				list = append(list, fmt.Sprintf("what %d OUT %s dropped (result_set: out delivers it)", n, holds(n)))
			case counter == "columns_invisible":
				list = append(list, fmt.Sprintf("%d invisible %s left out (columns names those that are wanted)", n, leftOut(n)))
			case nulls:
				list = append(list, fmt.Sprintf("%d %s NULL in column %q, which the contract says never is (drift: warn)", n, verb(n), column))
			}
		}
	}
	return list
}

func plural(n int64, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}

func sets(n int64) string {
	if n == 1 {
		return "set was"
	}
	return "sets were"
}

func holds(n int64) string {
	if n == 1 {
		return "parameter held was"
	}
	return "parameters held was"
}

func leftOut(n int64) string {
	if n == 1 {
		return "column was"
	}
	return "columns were"
}

func lies(n int64) string {
	if n == 1 {
		return "lies"
	}
	return "lie"
}

func verb(n int64) string {
	if n == 1 {
		return "row is"
	}
	return "rows are"
}
