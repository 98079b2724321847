package run

import (
	"slices"
	"testing"

	"github.com/cipherstream/cipherstream/engine/plan"
)

// TestChanges: whatever the source left out or the server warned of is said in words, which
// the receipt holds and the terminal shows.
func TestChanges(t *testing.T) {
	r := &run{plan: &plan.Plan{Stages: []plan.Stage{{ID: "source", Config: map[string]any{"zero_dates": "null", "warnings": "count"}}}}}
	for _, c := range []struct {
		counter string
		n       int64
		want    []string
	}{
		{"source.warnings", 1, []string{"the server gave 1 warning (warnings: count)"}},
		{"source.warnings", 3, []string{"the server gave 3 warnings (warnings: count)"}},
		{"source.result_sets_dropped", 1, []string{"1 further result set was dropped (result_set)"}},
		{"source.result_sets_dropped", 2, []string{"2 further result sets were dropped (result_set)"}},
		{"source.out_parameters_dropped", 1, []string{"what 1 OUT parameter held was dropped (result_set: out delivers it)"}},
		{"source.out_parameters_dropped", 2, []string{"what 2 OUT parameters held was dropped (result_set: out delivers it)"}},
		{"source.columns_invisible", 2, []string{"2 invisible columns were left out (columns names those that are wanted)"}},
		{"source.zero_dates", 1, []string{"1 zero, partial or impossible date became NULL (zero_dates: null)"}},
		{"source.warnings", 0, nil},
		{"other.warnings", 3, nil},
	} {
		if got := r.changes(map[string]int64{c.counter: c.n}); !slices.Equal(got, c.want) {
			t.Errorf("%s=%d: %q, want %q", c.counter, c.n, got, c.want)
		}
	}
}
