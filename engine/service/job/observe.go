package job

import (
	"context"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Observer is told of attempts: for metrics and traces.
type Observer interface {
	// Run is called when an attempt of a job that was claimed begins. Of a run that was taken over the one knows that has
	// begun it.
	Run(ctx context.Context, job store.Job) RunObserver
	// Ended is called once of every attempt here, also of one that was taken over: with what has happened to the job, or
	// with OutcomeLost or OutcomeUnknown.
	Ended(job store.Job, outcome string, rows, bytes int64)
}

// RunObserver is told of one attempt. Its methods are called one at a time.
type RunObserver interface {
	// Traceparent is the trace context that the stages are given; empty for that of the order.
	Traceparent() string
	// Admitted is called when there is memory for the run, and Event with every event from then on.
	Admitted(plan *engine.Plan)
	Event(event engine.Event)
	// End is called when it is over, with the code that customers are told of, or none.
	End(code string)
}

// The outcomes of attempts that are no events of jobs.
const (
	// OutcomeLost: the lease was lost.
	OutcomeLost = "lost"
	// OutcomeUnknown: the record has not said whether it has taken the end.
	OutcomeUnknown = "unknown"
)

// nobody observes nothing.
type nobody struct{}

func (nobody) Run(context.Context, store.Job) RunObserver { return nobody{} }
func (nobody) Ended(store.Job, string, int64, int64)      {}
func (nobody) Traceparent() string                        { return "" }
func (nobody) Admitted(*engine.Plan)                      {}
func (nobody) Event(engine.Event)                         {}
func (nobody) End(string)                                 {}

// tellEnd tells how an attempt has ended.
func (h *Held) tellEnd(outcome string, receipt *engine.Receipt) {
	var rows, bytes int64
	if receipt != nil && outcome == string(store.JobCompleted) {
		rows, bytes = receipt.Rows, receipt.Bytes
	}
	h.manager.cfg.Observer.Ended(h.job, outcome, rows, bytes)
}
