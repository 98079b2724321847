package runner_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

func until(n int) (list []int) {
	for v := range n {
		list = append(list, v)
	}
	return list
}

// TestFinished: a filter that needs no more rows ends a source that would go on for hours, and the run ends well with the
// rows that it gave, whatever would have failed behind them, wherever the group is cut.
func TestFinished(t *testing.T) {
	t.Parallel()
	source := func(settings map[string]any) link { return link{stage.KindSource, "count", settings} }
	first := func(rows int) link { return link{stage.KindFilter, "first", map[string]any{"rows": rows}} }
	pass, even := link{stage.KindFilter, "pass", nil}, link{stage.KindFilter, "even", nil}
	const endless = 1 << 40
	for _, c := range []struct {
		name  string
		links []link
		rows  int
		cuts  []int
	}{
		{"behind the source", []link{source(map[string]any{"rows": endless}), first(25)}, 25, nil},
		{"at a batch's end", []link{source(map[string]any{"rows": endless}), first(30)}, 30, nil},
		{"no row", []link{source(map[string]any{"rows": endless}), first(0)}, 0, nil},
		{"more than there are", []link{source(map[string]any{"rows": 40}), first(50)}, 40, nil},
		{"all there are", []link{source(map[string]any{"rows": 40}), first(40)}, 40, nil},
		{"behind filters", []link{source(map[string]any{"rows": endless}), pass, pass, first(25), pass}, 25, nil},
		{"behind one that holds back", []link{source(map[string]any{"rows": endless}), {stage.KindFilter, "later", map[string]any{"every": 1000, "batch": 7}}, pass, first(0)}, 0, nil},
		{"twice", []link{source(map[string]any{"rows": endless}), first(35), pass, first(12)}, 12, nil},
		{"twice, the later one larger", []link{source(map[string]any{"rows": endless}), first(12), pass, first(35)}, 12, nil},
		{"an error behind", []link{source(map[string]any{"rows": endless, "break": "error", "at": 30}), pass, first(25)}, 25, nil},
		{"the source in another process", []link{source(map[string]any{"rows": 5000}), pass, first(25)}, 25, []int{1}},
		{"the end in another process", []link{source(map[string]any{"rows": endless}), pass, first(25), pass}, 25, []int{3}},
	} {
		for _, workers := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d workers", c.name, workers), func(t *testing.T) {
				t.Parallel()
				got, _, err := runGroups(t, t.Context(), runner.Config{Workers: workers, Stall: time.Minute}, append(c.links, link{stage.KindEncoder, "lines", nil}), c.cuts...)
				if err != nil {
					t.Fatal(err)
				}
				if want := lines(until(c.rows)); string(got) != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
	// What fails before the filter has enough fails the run.
	for _, links := range [][]link{
		{source(map[string]any{"rows": endless, "break": "error", "at": 20}), pass, first(25)},
		{source(map[string]any{"rows": endless, "break": "error", "at": 20}), pass, even, first(25)},
		{source(map[string]any{"rows": 20, "break": "late"}), first(25)},
	} {
		_, _, err := runGroups(t, t.Context(), runner.Config{Workers: 4}, append(links, link{stage.KindEncoder, "lines", nil}))
		if f := fault.From(err); f == nil || f.Class != fault.Source {
			t.Errorf("%v: got %v", links, err)
		}
	}
}
