package run_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// ingest keeps rows and the position behind them together, as one transaction would, and fails at a number.
type ingest struct {
	probe
	rows     []int64 // that are lasting
	position string
	open     []int64 // behind the position
	failAt   int64
}

func (i *ingest) Open(ctx context.Context, table stage.Table) error { i.open = nil; return nil }

func (i *ingest) Write(_ context.Context, rows stage.Rows) error {
	for _, v := range rows.Column(0).(*array.Int64).Int64Values() {
		if v == i.failAt {
			return fmt.Errorf("the disk is full")
		}
		i.open = append(i.open, v)
	}
	if rows.Checkpoint != "" {
		i.rows, i.open, i.position = append(i.rows, i.open...), nil, rows.Checkpoint
	}
	return nil
}

// TestContinue: a sink of the caller's that keeps each position with the rows before it has every row once, when a run
// that failed is continued from there; in every isolation, behind filters, and with a tap between.
func TestContinue(t *testing.T) {
	for _, isolation := range isolations {
		for _, recorded := range []bool{false, true} {
			t.Run(fmt.Sprint(isolation, recorded), func(t *testing.T) {
				noLeaks(t)
				s := newSetup(t, host.Config{})
				sink := &ingest{failAt: 3000}
				options := run.Options{ID: "r1", Sink: sink}
				plan := func(from int) *plan.Plan {
					return s.callerTablePlan(isolation, settings{"rows": 5000, "batch": 7, "checkpoints": true, "from": from}, "even", "pass")
				}
				if _, err := run.Execute(t.Context(), s.host, plan(0), options); err == nil {
					t.Fatal("the first run should fail")
				}
				from, err := strconv.Atoi(sink.position)
				if err != nil || from > 3000 || from < 2900 {
					t.Fatalf("the first run ended at the position %q", sink.position)
				}
				sink.failAt = -1
				var events []run.Checkpoint
				options.Events = func(e run.Event) {
					switch e := e.(type) {
					case run.Checkpoint:
						events = append(events, e)
					case run.Ended:
						if len(events) == 0 || events[len(events)-1] != (run.Checkpoint{Position: "5000", Rows: int64(5000 - from)}) {
							t.Errorf("the last of %d events was not that of the end: %+v", len(events), events[max(0, len(events)-1):])
						}
					}
				}
				if recorded {
					options.Tap = record.New(filepath.Join(t.TempDir(), "rec"))
				}
				if _, err := run.Execute(t.Context(), s.host, plan(from), options); err != nil {
					t.Fatal(err)
				}
				if len(sink.rows) != 2500 || sink.position != "5000" || len(sink.open) != 0 {
					t.Fatalf("%d rows up to %q, and %d behind it", len(sink.rows), sink.position, len(sink.open))
				}
				for i, v := range sink.rows {
					if v != int64(2*i) {
						t.Fatalf("row %d is %d", i, v)
					}
				}
			})
		}
	}
}

// TestSlowCheckpoints: a function that is slow is told the newest position and not every one.
func TestSlowCheckpoints(t *testing.T) {
	noLeaks(t)
	s := newSetup(t, host.Config{})
	told := 0
	committing := make(chan struct{})
	_, err := run.Execute(t.Context(), s.host, s.callerTablePlan(plan.IsolationStage, settings{"rows": 200_000, "batch": 10, "checkpoints": true}), run.Options{
		ID: "r1", Sink: &ingest{failAt: -1},
		Events: func(e run.Event) {
			if _, is := e.(run.Started); is {
				<-committing
			}
			if _, is := e.(run.Checkpoint); is {
				told++
			}
		},
		BeforeCommit: func(context.Context, *run.Receipt) error { close(committing); return nil },
	})
	if err != nil || told != 1 {
		t.Errorf("%d positions were told: %v", told, err)
	}
}
