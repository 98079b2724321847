package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chain is stages as "kind/name" with their settings.
type link struct {
	kind     stage.Kind
	name     string
	settings map[string]any
}

func stages(t *testing.T, links []link) []runner.Stage {
	t.Helper()
	bundle := runnertest.Bundle("test")
	var list []runner.Stage
	for i, l := range links {
		d, ok := bundle.Find(l.kind, l.name)
		if !ok {
			t.Fatalf("no %s %s", l.kind, l.name)
		}
		settings, err := json.Marshal(l.settings)
		if err != nil {
			t.Fatal(err)
		}
		if l.settings == nil {
			settings = nil
		}
		list = append(list, runner.Stage{ID: fmt.Sprintf("%s-%d", l.name, i), Definition: d, Settings: settings})
	}
	return list
}

// runGroups runs the links cut into groups after the given indexes and returns
// what the sink wrote.
func runGroups(t *testing.T, ctx context.Context, cfg runner.Config, links []link,
	cuts ...int) ([]byte, []runner.Result, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "rt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "out")
	if links[len(links)-1].kind != stage.KindSink {
		links = append(links, link{kind: stage.KindSink, name: "file"})
	}
	sink := &links[len(links)-1]
	sink.settings = maps.Clone(sink.settings)
	if sink.settings == nil {
		sink.settings = map[string]any{}
	}
	sink.settings["path"] = path
	list := stages(t, links)
	var groups []*runner.Group
	start := 0
	for n, end := range append(cuts, len(list)) {
		c := cfg
		c.RunID = "run"
		c.Stages = list[start:end]
		if n > 0 {
			c.Input = filepath.Join(dir, fmt.Sprint("e", n))
		}
		if end < len(list) {
			c.Output = filepath.Join(dir, fmt.Sprint("e", n+1))
			c.OutputPeer.MayFinish = slices.ContainsFunc(list[end:], func(s runner.Stage) bool {
				return s.Definition.Kind == stage.KindFilter
			})
		}
		g, err := runner.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, g)
		start = end
	}
	errs := make(chan error, len(groups))
	for _, g := range groups {
		go func() { errs <- g.Run(ctx) }()
	}
	var failed error
	for range groups {
		if err := <-errs; err != nil && (failed == nil || fault.Is(failed, runner.UpstreamEnded) || fault.Is(failed, runner.DownstreamEnded)) {
			failed = err
		}
	}
	var results []runner.Result
	for _, g := range groups {
		results = append(results, g.Result())
	}
	last := groups[len(groups)-1]
	if failed != nil {
		for _, g := range groups {
			if err := g.Abort(context.Background()); err != nil {
				t.Errorf("abort: %v", err)
			}
		}
		left, _ := filepath.Glob(filepath.Join(dir, "*"))
		hidden, _ := filepath.Glob(filepath.Join(dir, ".*.partial"))
		for _, name := range append(left, hidden...) {
			t.Errorf("left behind: %s", filepath.Base(name))
		}
		return nil, results, failed
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the output is visible before Commit")
	}
	if _, err := last.Commit(context.Background()); err != nil {
		return nil, results, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content, results, nil
}

// expected is what the chain must give, computed plainly.
func expected(rows int, evenOnly, edges, indexed, bracketed bool) string {
	var b bytes.Buffer
	record := 0
	put := func(text string) {
		if indexed {
			fmt.Fprintf(&b, "%d:", record)
			record++
		}
		b.WriteString(text)
	}
	if edges {
		b.WriteString("begin\n")
	}
	n := 0
	for v := range rows {
		if evenOnly && v%2 != 0 {
			continue
		}
		put(fmt.Sprintf("%d@%d\n", v, n))
		n++
	}
	if edges {
		fmt.Fprintf(&b, "end %d\n", n)
	}
	if bracketed {
		return fmt.Sprintf("<%s>%d", b.String(), b.Len())
	}
	return b.String()
}

func TestOrderAndIndexes(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{0, 1, 9, 10, 11, 25_000} {
		for _, evenOnly := range []bool{false, true} {
			for _, indexed := range []bool{false, true} {
				for _, bracketed := range []bool{false, true} {
					edges := !indexed
					links := []link{{stage.KindSource, "count", map[string]any{"rows": rows, "batch": 7000}}, {stage.KindFilter, "pass", nil}}
					if evenOnly {
						links = append(links, link{stage.KindFilter, "even", nil})
					}
					links = append(links, link{stage.KindEncoder, "lines", map[string]any{"edges": edges}})
					if indexed {
						links = append(links, link{stage.KindEncryptor, "index", nil})
					}
					if bracketed {
						links = append(links, link{stage.KindCompressor, "bracket", nil})
					}
					want := expected(rows, evenOnly, edges, indexed, bracketed)
					var every []int
					for i := 1; i <= len(links); i++ {
						every = append(every, i)
					}
					for _, cuts := range [][]int{nil, {1}, {len(links)}, every} {
						name := fmt.Sprintf("%d/even=%t/index=%t/bracket=%t/%d groups", rows, evenOnly, indexed, bracketed, len(cuts)+1)
						t.Run(name, func(t *testing.T) {
							got, results, err := runGroups(t, context.Background(), runner.Config{Workers: 3}, links, cuts...)
							if err != nil {
								t.Fatal(err)
							}
							if string(got) != want {
								t.Fatalf("got %d bytes, want %d\n%.200s", len(got), len(want), got)
							}
							if results[0].Rows != int64(rows) {
								t.Errorf("rows read: %d", results[0].Rows)
							}
							encoded := int64(-1)
							for _, r := range results {
								if r.Encodes {
									encoded = r.EncodedRows
								}
							}
							if wantRows := int64(strings.Count(want, "@")); encoded != wantRows {
								t.Errorf("rows encoded: %d, want %d", encoded, wantRows)
							}
						})
					}
				}
			}
		}
	}
}

// A budget smaller than one batch must slow the run down, not stop it.
func TestTinyBudget(t *testing.T) {
	t.Parallel()
	links := []link{
		{stage.KindSource, "count", map[string]any{"rows": 5000, "batch": 500}},
		{stage.KindEncoder, "lines", map[string]any{"width": 20}},
		{stage.KindCompressor, "bracket", nil},
	}
	got, _, err := runGroups(t, context.Background(), runner.Config{BudgetBytes: 1, Workers: 4}, links, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(got, []byte("\n")); n != 5000 {
		t.Errorf("%d lines", n)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, code, stage string
		links             []link
	}{
		{"source error", "count.broken", "count-0", []link{{stage.KindSource, "count", map[string]any{"break": "error", "at": 50}}}},
		{"late source error", "count.late", "count-0", []link{{stage.KindSource, "count", map[string]any{"break": "late"}}}},
		{"panic", "plugin.panic", "count-0", []link{{stage.KindSource, "count", map[string]any{"break": "panic", "at": 20}}}},
	} {
		for _, cuts := range [][]int{nil, {1}, {len(c.links), len(c.links) + 1}} {
			t.Run(fmt.Sprintf("%s in %d groups", c.name, len(cuts)+1), func(t *testing.T) {
				links := append(append([]link{}, c.links...), link{stage.KindEncoder, "lines", nil})
				_, _, err := runGroups(t, context.Background(), runner.Config{}, links, cuts...)
				f := fault.From(err)
				if f == nil || f.Code != c.code || f.Stage != c.stage {
					t.Fatalf("got %v in stage %q, want %s in %q", err, f.Stage, c.code, c.stage)
				}
			})
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, cuts := range [][]int{nil, {1, 2}} {
		ctx, cancel := context.WithCancelCause(context.Background())
		reason := fault.New("test.cancel", fault.Cancelled, "enough")
		opened := make(chan struct{})
		cfg := runner.Config{Opened: func(*arrow.Schema, int64) { close(opened) }}
		go func() {
			<-opened
			cancel(reason)
		}()
		// So many rows that it would take very long.
		links := []link{{stage.KindSource, "count", map[string]any{"rows": 1 << 40}}, {stage.KindEncoder, "lines", nil}}
		_, _, err := runGroups(t, ctx, cfg, links, cuts...)
		if !errors.Is(err, reason) {
			t.Errorf("%d groups: got %v", len(cuts)+1, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	count := link{stage.KindSource, "count", nil}
	lines := link{stage.KindEncoder, "lines", nil}
	sink := link{stage.KindSink, "file", map[string]any{"path": "x"}}
	for _, c := range []struct {
		name   string
		links  []link
		output string
		want   string
	}{
		{"nothing", nil, "", "at least one stage"},
		{"no way out", []link{count, lines}, "", "does not fit"},
		{"two sources", []link{count, count, sink}, "", "in the middle"},
		{"unknown setting", []link{{stage.KindSource, "count", map[string]any{"rowz": 3}}, sink}, "", `unknown key "rowz"`},
		{"wrong type", []link{{stage.KindSource, "count", map[string]any{"rows": "three"}}, sink}, "", "expected a whole number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := runner.Open(runner.Config{Stages: stages(t, c.links), Output: c.output})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
