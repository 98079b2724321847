package runner_test

import (
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
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
		kept  bool // only the last group drops rows
	}{
		{"behind the source", []link{source(map[string]any{"rows": endless}), first(25)}, 25, nil, false},
		{"at a batch's end", []link{source(map[string]any{"rows": endless}), first(30)}, 30, nil, false},
		{"no row", []link{source(map[string]any{"rows": endless}), first(0)}, 0, nil, false},
		{"more than there are", []link{source(map[string]any{"rows": 40}), first(50)}, 40, nil, false},
		{"all there are", []link{source(map[string]any{"rows": 40}), first(40)}, 40, nil, false},
		{"behind filters", []link{source(map[string]any{"rows": endless}), pass, pass, first(25), pass}, 25, nil, false},
		{"behind one that holds back", []link{source(map[string]any{"rows": endless}), {stage.KindFilter, "later", map[string]any{"every": 1000, "batch": 7}}, pass, first(0)}, 0, nil, false},
		{"twice", []link{source(map[string]any{"rows": endless}), first(35), pass, first(12)}, 12, nil, false},
		{"twice, the later one larger", []link{source(map[string]any{"rows": endless}), first(12), pass, first(35)}, 12, nil, false},
		{"an error behind", []link{source(map[string]any{"rows": endless, "break": "error", "at": 30}), pass, first(25)}, 25, nil, false},
		{"the source in another process", []link{source(map[string]any{"rows": endless}), pass, first(25)}, 25, []int{1}, true},
		{"the source and filters in others", []link{source(map[string]any{"rows": endless}), pass, pass, first(25)}, 25, []int{1, 2, 3}, true},
		{"the source in another process, no row", []link{source(map[string]any{"rows": endless}), first(0)}, 0, []int{1}, true},
		{"twice, in two processes", []link{source(map[string]any{"rows": endless}), first(35), pass, first(12)}, 12, []int{2}, false},
		{"held back in another process", []link{source(map[string]any{"rows": endless}), {stage.KindFilter, "later", map[string]any{"every": 1000, "batch": 7}}, pass, first(0)}, 0, []int{2, 3}, false},
		{"all there are, from another process", []link{source(map[string]any{"rows": 40}), first(40)}, 40, []int{1}, true},
		{"the end in another process", []link{source(map[string]any{"rows": endless}), pass, first(25), pass}, 25, []int{3}, false},
	} {
		for _, workers := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d workers", c.name, workers), func(t *testing.T) {
				t.Parallel()
				got, results, err := runGroups(t, t.Context(), runner.Config{Workers: workers, Stall: time.Minute}, append(c.links, link{stage.KindEncoder, "lines", nil}), c.cuts...)
				if err != nil {
					t.Fatal(err)
				}
				if want := lines(until(c.rows)); string(got) != want {
					t.Errorf("got %q, want %q", got, want)
				}
				// A filter that keeps rows is known by the rows of the groups around it.
				for i := range c.cuts {
					if c.kept && results[i].Rows != results[i+1].Rows {
						t.Errorf("group %d was given %d rows, and the next one %d", i, results[i].Rows, results[i+1].Rows)
					}
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

// TestOnlyFiltersFinish: a reader that says that it needs no more rows ends the source well where a filter is at the other end or
// behind it, and fails the run where there is none, which would end a few rows early and look whole.
func TestOnlyFiltersFinish(t *testing.T) {
	t.Parallel()
	for _, filtered := range []bool{true, false} {
		t.Run(fmt.Sprint(filtered), func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "only") // short: the path of a socket has 108 bytes at most
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			cfg := runner.Config{RunID: "run", Workers: 2, Output: filepath.Join(dir, "s"),
				Stages: stages(t, []link{{stage.KindSource, "count", map[string]any{"rows": math.MaxInt32}}})}
			cfg.OutputPeer.MayFinish = filtered
			l, err := net.Listen("unix", cfg.Output)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			read := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err == nil {
					defer conn.Close()
					_, err = conn.Write([]byte{255})
				}
				if err == nil {
					_, err = io.Copy(io.Discard, conn)
				}
				read <- err
			}()
			g, err := runner.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = g.Run(t.Context())
			if f := fault.From(err); filtered && err != nil || !filtered && (f == nil || f.Code != runner.LinkEarlyEnd) {
				t.Errorf("got %v", err)
			}
			if err != nil {
				if err := g.Abort(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if err := <-read; err != nil {
				t.Error(err)
			}
		})
	}
}
