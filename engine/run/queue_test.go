package run_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
)

// TestSlowEvents: a function that holds an event until the run is about to be committed holds up neither the run nor
// what the plugin says, which would be ended for its silence.
func TestSlowEvents(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(string(isolation), func(t *testing.T) {
			noLeaks(t)
			s := newSetup(t, host.Config{Silence: 2 * time.Second})
			committing := make(chan struct{})
			var seen []string
			var last int64
			receipt, err := run.Execute(t.Context(), s.host, s.planOf(isolation, settings{"rows": 300_000, "batch": 100}), run.Options{
				ID: "r1",
				Events: func(e run.Event) {
					if len(seen) == 0 {
						<-committing
					}
					seen = append(seen, fmt.Sprintf("%T", e))
					if p, ok := e.(run.Progress); ok {
						if p.Rows < last {
							t.Errorf("progress fell from %d to %d rows", last, p.Rows)
						}
						last = p.Rows
					}
				},
				BeforeCommit: func(context.Context, *run.Receipt) error { close(committing); return nil },
			})
			if err != nil || receipt.Rows != 300_000 || last != 300_000 {
				t.Fatalf("%+v, %v, %d rows at last", receipt, err, last)
			}
			if n := len(seen); n < 4 || seen[0] != "run.Started" || seen[n-1] != "run.Ended" {
				t.Errorf("events: %v", seen)
			}
		})
	}
}

// TestManyLogs: lines that nobody takes are dropped and counted, and the order holds.
func TestManyLogs(t *testing.T) {
	noLeaks(t)
	s := newSetup(t, host.Config{})
	ended := make(chan struct{})
	logs, lost := 0, ""
	var final run.Event
	receipt, err := run.Execute(t.Context(), s.host, s.planOf(plan.IsolationGroup, settings{"break": "flood", "at": 30, "rows": 500}), run.Options{
		ID: "r1",
		Events: func(e run.Event) {
			final = e
			if l, ok := e.(run.Log); ok {
				if logs++; logs == 1 {
					<-ended
				}
				if l.Attributes["lines"] != "" {
					lost = l.Attributes["lines"]
				}
			}
		},
		BeforeCommit: func(context.Context, *run.Receipt) error { close(ended); return nil },
	})
	if err != nil || receipt.Rows != 500 {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if _, is := final.(run.Ended); !is {
		t.Errorf("the last event is %T", final)
	}
	if logs > 2100 || logs > 1026 && lost == "" {
		t.Errorf("%d lines, %q counted as lost", logs, lost)
	}
}
