package run_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// tablePlan is planOf with a sink of rows in the place of the encoder and the file.
func (s *setup) tablePlan(isolation plan.Isolation, source settings, filters ...string) *plan.Plan {
	p := s.planOf(isolation, source, filters...)
	n := len(p.Stages) - 2
	p.Stages = append(p.Stages[:n:n], plan.Stage{ID: "sink-rows", Kind: stage.KindSink, Plugin: pluginName, Name: "rows", FirstParty: true,
		In: stage.ShapeTable, Config: settings{"path": filepath.Join(s.dir, "out")}})
	var groups []plan.Group
	for _, g := range p.Groups {
		for len(g.Stages) > 0 && g.Stages[len(g.Stages)-1] > n {
			g.Stages = g.Stages[:len(g.Stages)-1]
		}
		if len(g.Stages) > 0 {
			groups = append(groups, g)
		}
	}
	p.Groups = groups
	return p
}

// callerTablePlan ends at a sink of rows of the caller's.
func (s *setup) callerTablePlan(isolation plan.Isolation, source settings, filters ...string) *plan.Plan {
	p := s.callerPlan(isolation, source, filters...)
	n := len(p.Stages) - 2 // the encoder, which goes
	p.Stages[n] = p.Stages[n+1]
	p.Stages[n].In = stage.ShapeTable
	p.Stages = p.Stages[:n+1]
	var groups []plan.Group
	for _, g := range p.Groups {
		var list []int
		for _, i := range g.Stages {
			if i < n {
				list = append(list, i)
			} else if i > n {
				list = append(list, n)
			}
		}
		if g.Stages = list; len(list) > 0 {
			groups = append(groups, g)
		}
	}
	p.Groups = groups
	return p
}

// TestTableSinkOfAPlugin: rows reach the sink in every isolation, with and without a recording, and the receipt counts
// those that were written; what the filter holds back until the end is among them.
func TestTableSinkOfAPlugin(t *testing.T) {
	for _, isolation := range isolations {
		for _, recorded := range []bool{false, true} {
			t.Run(fmt.Sprint(isolation, recorded), func(t *testing.T) {
				s := newSetup(t, host.Config{})
				var soFar run.Receipt
				options := run.Options{ID: "r1", BeforeCommit: func(_ context.Context, r *run.Receipt) error {
					if _, err := os.Stat(filepath.Join(s.dir, "out")); err == nil {
						t.Error("the output is visible before Commit")
					}
					soFar = *r
					return nil
				}}
				folder := filepath.Join(t.TempDir(), "rec")
				if recorded {
					options.Tap = record.New(folder)
				}
				receipt, err := run.Execute(t.Context(), s.host, s.tablePlan(isolation, settings{"rows": 20_000, "batch": 3000}, "later", "even"), options)
				if err != nil {
					t.Fatal(err)
				}
				if receipt.Rows != 10_000 || receipt.RowsRead != 20_000 || receipt.SHA256 != "" || receipt.Bytes != 0 || receipt.MediaType != "" ||
					receipt.Location != filepath.Join(s.dir, "out") || soFar.Rows != 10_000 || soFar.Bytes != 0 {
					t.Errorf("receipt: %+v, so far %+v", receipt, soFar)
				}
				content, err := os.ReadFile(filepath.Join(s.dir, "out"))
				if text := string(content); err != nil || !strings.HasPrefix(text, "int64\n2@0\n4@1\n8@2\n") || !strings.HasSuffix(text, "19992@9998\n19998@9999\n") ||
					strings.Count(text, "\n") != 10_001 {
					t.Errorf("%.100q … %v", text, err)
				}
				if recorded {
					kept, err := record.Read(folder)
					if err != nil {
						t.Fatal(err)
					}
					for _, b := range kept.Boundaries {
						if b.Shape != "" || !b.Complete { // the plan of this test does not say shapes of others
							t.Errorf("%+v", b)
						}
					}
				}
			})
		}
	}
}

// batches is a sink of rows of the caller's.
type batches struct {
	probe
	schema *arrow.Schema
	values []int64
}

func (b *batches) Open(ctx context.Context, table stage.Table) error {
	b.schema = table.Schema
	return b.call(ctx, "open "+table.RunID)
}

func (b *batches) Write(ctx context.Context, rows stage.Rows) error {
	if rows.First != int64(len(b.values)) {
		return fmt.Errorf("the batch begins at %d, but %d rows came", rows.First, len(b.values))
	}
	b.values = append(b.values, rows.Column(0).(*array.Int64).Int64Values()...)
	return b.call(ctx, "write")
}

// TestCallersTableSink: the caller may hand over a sink of rows, which is given batches with their types, in one order
// of calls in every isolation.
func TestCallersTableSink(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(string(isolation), func(t *testing.T) {
			noLeaks(t)
			s := newSetup(t, host.Config{})
			sink := &batches{}
			receipt, err := run.Execute(t.Context(), s.host, s.callerTablePlan(isolation, settings{"rows": 20_000, "batch": 3000}, "even"), run.Options{
				ID: "r1", Sink: sink,
				BeforeCommit: func(_ context.Context, r *run.Receipt) error {
					if r.Rows != 10_000 {
						t.Errorf("so far: %+v", r)
					}
					return sink.call(context.Background(), "gate")
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := sink.log(); got != "open r1 write gate commit" || len(sink.values) != 10_000 || sink.values[9_999] != 19_998 ||
				sink.schema.String() != "schema:\n  fields: 1\n    - n: type=int64" {
				t.Errorf("%s: %d rows of %v", got, len(sink.values), sink.schema)
			}
			if receipt.Rows != 10_000 || receipt.RowsRead != 20_000 || receipt.Location != "here" {
				t.Errorf("receipt: %+v", receipt)
			}
		})
	}
}

// TestCallersTableSinkFails: the caller finds its own error, and the sink is aborted once it was opened.
func TestCallersTableSinkFails(t *testing.T) {
	own := errors.New("the table is full")
	for _, isolation := range isolations {
		for method, calls := range map[string]string{"open r1": "open r1 abort", "write": "open r1 write abort", "commit": "open r1 write commit abort"} {
			t.Run(string(isolation)+" "+method, func(t *testing.T) {
				noLeaks(t)
				s := newSetup(t, host.Config{})
				sink := &batches{}
				sink.on = func(_ context.Context, m string) error {
					if m == method {
						return own
					}
					return nil
				}
				_, err := run.Execute(t.Context(), s.host, s.callerTablePlan(isolation, settings{"rows": 100}), run.Options{ID: "r1", Sink: sink})
				if !errors.Is(err, own) || !fault.Is(err, run.CodeSinkFailed) || sink.log() != calls {
					t.Errorf("%v after %s", err, sink.log())
				}
			})
		}
	}
}

// TestWrongSinkOfTheCaller: a sink of the other shape is refused before anything starts.
func TestWrongSinkOfTheCaller(t *testing.T) {
	s := newSetup(t, host.Config{})
	for name, c := range map[string]struct {
		plan *plan.Plan
		sink stage.Outcome
	}{
		"bytes for a table": {s.callerTablePlan(plan.IsolationNone, settings{}), &probe{}},
		"a table for bytes": {s.callerPlan(plan.IsolationNone, settings{}), &batches{}},
		"neither":           {s.callerPlan(plan.IsolationNone, settings{}), &struct{ stage.Outcome }{}},
	} {
		if _, err := run.Execute(t.Context(), s.host, c.plan, run.Options{ID: "r1", Sink: c.sink}); !fault.Is(err, run.CodeSink) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
