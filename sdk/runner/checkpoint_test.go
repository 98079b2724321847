package runner_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestCheckpoints: a sink of rows finds each position of the source behind the rows that it covers and before all
// others, wherever the group is cut and whatever filters drop; behind a filter that holds rows back, at the end.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filters []string
		want    func(v int) bool // what is kept
		last    bool             // only the last position comes
	}{
		{nil, func(int) bool { return true }, false},
		{[]string{"pass"}, func(int) bool { return true }, false},
		{[]string{"even", "pass"}, func(v int) bool { return v%2 == 0 }, false},
		{[]string{"later"}, func(int) bool { return true }, true},
		{[]string{"even", "later", "pass"}, func(v int) bool { return v%2 == 0 }, true},
	} {
		for cut := range len(c.filters) + 2 {
			t.Run(fmt.Sprint(c.filters, cut), func(t *testing.T) {
				t.Parallel()
				links := []link{{stage.KindSource, "count", map[string]any{"rows": 1000, "batch": 1, "checkpoints": true}}}
				for _, f := range c.filters {
					links = append(links, link{stage.KindFilter, f, nil})
				}
				links = append(links, link{stage.KindSink, "rows", nil})
				var cuts []int
				if cut > 0 {
					cuts = []int{cut}
				}
				got, _, err := runGroups(t, t.Context(), runner.Config{Workers: 4}, links, cuts...)
				if err != nil {
					t.Fatal(err)
				}
				seen, positions := map[int]bool{}, 0
				for _, line := range strings.Split(strings.TrimSpace(string(got)), "\n")[1:] {
					position, is := strings.CutPrefix(line, "^")
					if !is {
						value, _, _ := strings.Cut(line, "@")
						v, _ := strconv.Atoi(value)
						seen[v] = true
						continue
					}
					positions++
					upTo, err := strconv.Atoi(position)
					if err != nil {
						t.Fatal(line)
					}
					for v := range 1000 {
						if seen[v] != (v < upTo && c.want(v)) {
							t.Fatalf("at the position %d the sink has %d: %t", upTo, v, seen[v])
						}
					}
				}
				want := 1000
				if c.last {
					want = 1
				}
				if positions != want {
					t.Errorf("%d positions came; want %d", positions, want)
				}
			})
		}
	}
}

// TestCheckpointBehindEncoder: what encodes is given the same batches, whether the source gives positions or not.
func TestCheckpointBehindEncoder(t *testing.T) {
	t.Parallel()
	var outputs []string
	for _, given := range []bool{false, true} {
		got, _, err := runGroups(t, t.Context(), runner.Config{}, []link{
			{stage.KindSource, "count", map[string]any{"rows": 5000, "batch": 2500, "checkpoints": given}},
			{stage.KindFilter, "later", nil}, {stage.KindEncoder, "lines", map[string]any{"edges": true}}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, string(got))
	}
	if outputs[0] != outputs[1] || len(outputs[0]) == 0 {
		t.Error("a checkpoint changed the output")
	}
}

// TestBadCheckpoint: a position that cannot be kept as text ends the run in the name of the source.
func TestBadCheckpoint(t *testing.T) {
	t.Parallel()
	for _, cuts := range [][]int{nil, {1}} {
		_, _, err := runGroups(t, t.Context(), runner.Config{}, []link{
			{stage.KindSource, "count", map[string]any{"bad_checkpoint": true}}, {stage.KindSink, "rows", nil}}, cuts...)
		if f := fault.From(err); f == nil || f.Code != "plugin.contract" || f.Stage != "count-0" || f.Message != "the source gave a checkpoint that is not UTF-8" {
			t.Errorf("%v", err)
		}
	}
}

// TestTakeCheckpoint: the newest position is told once, with the rows that came before it.
func TestTakeCheckpoint(t *testing.T) {
	t.Parallel()
	list := stages(t, []link{{stage.KindSource, "count", map[string]any{"rows": 95, "checkpoints": true}},
		{stage.KindSink, "rows", map[string]any{"path": t.TempDir() + "/out"}}})
	group, err := runner.Open(runner.Config{RunID: "r", Stages: list})
	if err != nil {
		t.Fatal(err)
	}
	if c, is := group.TakeCheckpoint(); is {
		t.Errorf("before the run there is %+v", c)
	}
	if err := group.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, is := group.TakeCheckpoint(); !is || c != (runner.Checkpoint{Position: "95", Rows: 95}) {
		t.Errorf("%+v, %t", c, is)
	}
	if c, is := group.TakeCheckpoint(); is {
		t.Errorf("a second time: %+v", c)
	}
	if err := group.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}
