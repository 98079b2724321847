package runner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// heldBack is what count and later give: of n numbers first those that are no multiples of every, then those.
func heldBack(n, every int) (list []int) {
	for _, multiple := range []bool{false, true} {
		for v := range n {
			if (v%every == 0) == multiple {
				list = append(list, v)
			}
		}
	}
	return list
}

func lines(values []int) string {
	var b strings.Builder
	for i, v := range values {
		fmt.Fprintf(&b, "%d@%d\n", v, i)
	}
	return b.String()
}

// TestEnd: what a filter gives at the end comes behind all its batches, in order and exactly once, goes through the
// filters after it and their own ends, and is counted by whatever comes then, wherever the group is cut.
func TestEnd(t *testing.T) {
	t.Parallel()
	later := func(every, batch int) link {
		return link{stage.KindFilter, "later", map[string]any{"every": every, "batch": batch}}
	}
	even := link{stage.KindFilter, "even", nil}
	evens := func(list []int) (out []int) {
		for _, v := range list {
			if v%2 == 0 {
				out = append(out, v)
			}
		}
		return out
	}
	for _, c := range []struct {
		name    string
		rows    int
		filters []link
		want    []int
	}{
		{"one filter", 1000, []link{later(3, 7)}, heldBack(1000, 3)},
		{"a batch larger than all", 1000, []link{later(3, 1<<20)}, heldBack(1000, 3)},
		{"nothing is held back", 10, []link{later(1000, 7)}, append([]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, 0)},
		{"everything is", 100, []link{later(1, 9)}, heldBack(100, 1)},
		{"no batch", 0, []link{later(3, 7)}, nil},
		{"a filter behind", 1000, []link{later(3, 7), even}, evens(heldBack(1000, 3))},
		{"another that holds back", 30, []link{later(3, 2), later(2, 3)}, append(
			[]int{1, 5, 7, 11, 13, 17, 19, 23, 25, 29, 3, 9, 15, 21, 27},
			0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28)},
	} {
		for _, workers := range []int{1, 4} {
			for cut := range len(c.filters) + 2 {
				t.Run(fmt.Sprintf("%s, %d workers, cut %d", c.name, workers, cut), func(t *testing.T) {
					t.Parallel()
					source := link{stage.KindSource, "count", map[string]any{"rows": c.rows, "batch": 10}}
					for _, tail := range [][]link{{{stage.KindEncoder, "lines", nil}}, {{stage.KindSink, "rows", nil}}} {
						links := append(append([]link{source}, c.filters...), tail...)
						var cuts []int
						if cut > 0 {
							cuts = []int{cut}
						}
						got, results, err := runGroups(t, t.Context(), runner.Config{Workers: workers}, links, cuts...)
						if err != nil {
							t.Fatal(err)
						}
						if want := lines(c.want); strings.TrimPrefix(string(got), "int64\n") != want {
							t.Errorf("got\n%s, want\n%s", got, want)
						}
						ends, encoded := int64(0), int64(-1)
						for _, r := range results {
							for name, n := range r.Counters {
								if strings.HasSuffix(name, ".ends") {
									ends += n
								}
							}
							if r.Encodes {
								encoded = r.EncodedRows
							}
						}
						later := strings.Count(fmt.Sprint(c.filters), "later")
						if ends != int64(later) || encoded != int64(len(c.want)) {
							t.Errorf("End was called %d times, and %d rows were delivered", ends, encoded)
						}
					}
				})
			}
		}
	}
}

// TestNoEnd: a run that fails, wherever, has no End, or ends with what End says.
func TestNoEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		source map[string]any
		filter map[string]any
		code   string
		stage  string
		ends   int64
	}{
		{"the source fails", map[string]any{"break": "error", "at": 50}, nil, "count.broken", "count-0", 0},
		{"the source fails after its last row", map[string]any{"break": "late"}, nil, "count.late", "count-0", 0},
		{"End fails", nil, map[string]any{"fail": true}, "later.fail", "later-1", 1},
		{"End gives another schema", nil, map[string]any{"foreign": true}, "plugin.contract", "later-1", 1},
	} {
		for _, cut := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s, cut %d", c.name, cut), func(t *testing.T) {
				t.Parallel()
				var cuts []int
				if cut > 0 {
					cuts = []int{cut}
				}
				_, results, err := runGroups(t, t.Context(), runner.Config{Workers: 3}, []link{
					{stage.KindSource, "count", c.source}, {stage.KindFilter, "later", c.filter}, {stage.KindSink, "rows", nil},
				}, cuts...)
				if f := fault.From(err); f == nil || f.Code != c.code || f.Stage != c.stage {
					t.Errorf("%v", err)
				}
				var ends int64
				for _, r := range results {
					ends += r.Counters["later-1.ends"]
				}
				if ends != c.ends {
					t.Errorf("End was called %d times", ends)
				}
			})
		}
	}
}

// generous gives more rows at its end than it may.
type generous struct {
	last  arrow.Record
	keeps bool
}

func (*generous) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }
func (g *generous) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	if g.last == nil {
		in.Retain()
		g.last = in
	}
	in.Retain()
	return in, nil
}

func (g *generous) End(_ context.Context, emit func(arrow.Record) error) error {
	defer g.last.Release()
	none := g.last.NewSlice(0, 0)
	defer none.Release()
	if err := emit(none); err != nil || !g.keeps {
		return err
	}
	return emit(g.last)
}

// TestEndKeepsRows: a filter that declares that it keeps rows has none to give at the end, and may end all the same.
func TestEndKeepsRows(t *testing.T) {
	t.Parallel()
	for _, breaks := range []bool{false, true} {
		list := stages(t, []link{{stage.KindSource, "count", nil}, {stage.KindSink, "rows", map[string]any{"path": t.TempDir() + "/out"}}})
		generously := stage.DefineFilter(stage.About{Name: "generous", KeepsRows: true},
			func(struct{}, stage.Env) (stage.Filter, error) { return &generous{keeps: breaks}, nil })
		group, err := runner.Open(runner.Config{RunID: "r", Stages: []runner.Stage{list[0], {ID: "generous", Definition: generously}, list[1]}})
		if err != nil {
			t.Fatal(err)
		}
		err = group.Run(t.Context())
		if f := fault.From(err); breaks != (f != nil && f.Code == "plugin.contract" && f.Stage == "generous" && strings.Contains(f.Message, "10 more at the end")) {
			t.Errorf("%v", err)
		}
		if err := group.Abort(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestTableSink: rows arrive with their types and their place, a fault says the row of the stream, and a run that fails
// leaves nothing.
func TestTableSink(t *testing.T) {
	t.Parallel()
	for _, cuts := range [][]int{nil, {1}, {2}, {1, 2}} {
		links := []link{{stage.KindSource, "count", map[string]any{"rows": 10_000, "batch": 64}}, {stage.KindFilter, "even", nil}, {stage.KindSink, "rows", nil}}
		got, results, err := runGroups(t, t.Context(), runner.Config{Workers: 3}, links, cuts...)
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		for v := 0; v < 10_000; v += 2 {
			want = append(want, v)
		}
		if string(got) != "int64\n"+lines(want) {
			t.Errorf("got %d bytes", len(got))
		}
		last := results[len(results)-1]
		if !last.Encodes || last.EncodedRows != 5000 || last.Bytes != 0 || last.Media != (stage.Media{}) {
			t.Errorf("the account is %+v", last)
		}
		links[2].settings = map[string]any{"at": 4000}
		_, _, err = runGroups(t, t.Context(), runner.Config{Workers: 3}, links, cuts...)
		if f := fault.From(err); f == nil || f.Code != "rows.at" || f.Stage != "rows-2" || f.Message != "there it is, in row 2001" {
			t.Errorf("%v", err)
		}
	}
}

// TestShapesOfSinks: a sink that is given another shape than it takes fails, and writes nothing.
func TestShapesOfSinks(t *testing.T) {
	t.Parallel()
	for _, c := range [][]link{
		{{stage.KindSource, "count", nil}, {stage.KindEncoder, "lines", nil}, {stage.KindSink, "rows", nil}},
		{{stage.KindSource, "count", nil}, {stage.KindSink, "file", nil}},
	} {
		if _, _, err := runGroups(t, t.Context(), runner.Config{}, c); !fault.Is(err, runner.LinkProtocol) {
			t.Errorf("%v", err)
		}
	}
}
