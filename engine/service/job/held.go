package job

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Held is a job that this process holds the lease of. Its methods may be called from several goroutines. It is a
// delivery.Job. A run that is not sure of its lease any more is ended before anybody else can have it: the lease is
// counted from the beginning of the call that has renewed it, by this process's own monotonic clock.
type Held struct {
	manager *Manager
	job     store.Job
	lease   store.Lease
	taken   time.Time // by the clock of this process, when the record's said job.StartedAt
	ctx     context.Context
	stop    context.CancelCauseFunc
	sink    *sink
	hurry   chan struct{} // renews at once
	over    chan struct{} // closed by End
	kept    chan struct{} // closed when nobody renews any more
	begun   *begun        // set by the attempt, before its run; nil where no state is kept

	mu       sync.Mutex // guards what follows
	lost     bool       // the lease
	renewed  time.Time
	expiry   *time.Timer
	progress store.Progress
	opened   bool
	expected int64 // rows, by the source
	past     store.Progress
	columns  []engine.Column
}

func newHeld(m *Manager, job store.Job, lease store.Lease, began time.Time) *Held {
	h := &Held{manager: m, job: job, lease: lease, taken: time.Now(), renewed: began, progress: job.Progress,
		hurry: make(chan struct{}, 1), over: make(chan struct{}), kept: make(chan struct{})}
	h.ctx, h.stop = context.WithCancelCause(context.Background())
	h.sink = &sink{held: h}
	h.mu.Lock()
	h.expiry = time.AfterFunc(store.LeaseTime-time.Since(began), h.lose)
	h.mu.Unlock()
	go h.keep()
	return h
}

// Job is the job as it was when it was taken.
func (h *Held) Job() store.Job { return h.job }

// Context ends when the run has to: the job was cancelled, its lease is lost, or the process stops. Its cause has the
// code.
func (h *Held) Context() context.Context { return h.ctx }

// Sink takes the output: an object in the customer's bucket, which nobody sees before Commit.
func (h *Held) Sink() engine.Sink { return h.sink }

// Event hears the events of the run.
func (h *Held) Event(event engine.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e := event.(type) {
	case engine.Opened:
		h.opened, h.expected, h.columns = true, e.EstimatedRows, slices.Clone(e.Columns)
	case engine.Progress:
		h.progress.Rows, h.progress.Bytes = max(h.progress.Rows, e.Rows), max(h.progress.Bytes, e.Bytes)
	}
}

// Gate is the run's gate: it asks the record whether the lease is still good, until that is known.
func (h *Held) Gate(ctx context.Context, _ *engine.Receipt) error {
	for {
		err := h.renew()
		if h.ctx.Err() != nil {
			return context.Cause(h.ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-time.After(renewAgain):
		case <-h.ctx.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// renewAgain is when a renewal is tried again of which it is not known whether it was made.
const renewAgain = time.Second

// keep renews the lease until the job has ended, or the lease is lost.
func (h *Held) keep() {
	defer close(h.kept)
	h.remember()
	timer := time.NewTimer(store.RenewEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-h.hurry:
		case <-h.over:
			return
		}
		every := store.RenewEvery
		if h.renew() != nil {
			every = renewAgain
		}
		if h.isLost() {
			return
		}
		timer.Reset(every)
	}
}

// remember asks what earlier runs of the procedure gave, where the source may not say how much there is.
func (h *Held) remember() {
	ctx, cancel := context.WithTimeout(h.ctx, renewAgain)
	defer cancel()
	past, err := h.manager.cfg.Record.PastRuns(ctx, h.job.Customer, h.job.Procedure)
	if err != nil {
		return // then there is no estimate
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past = past
}

// renewSoon renews without waiting for the time to come: the job was told to end.
func (h *Held) renewSoon() {
	select {
	case h.hurry <- struct{}{}:
	default:
	}
}

// renew renews the lease once, tells how far the job is, and learns whether it is to end.
func (h *Held) renew() error {
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	began := time.Now()
	renewal, err := h.manager.cfg.Record.RenewJob(ctx, h.lease, h.done())
	switch {
	case fault.Is(err, store.CodeLeaseLost):
		h.lose()
	case err == nil:
		h.extend(began)
		if told := h.manager.cfg.Progressed; told != nil {
			told(h.job.Customer, h.job.ID)
		}
		if renewal.Cancel {
			h.stop(fault.New(CodeCancelled, fault.Cancelled, "the job was cancelled"))
		}
	}
	return err
}

// extend counts the lease from the beginning of a call that has renewed it. One that was lost stays so.
func (h *Held) extend(began time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if began.After(h.renewed) && h.expiry.Stop() {
		h.renewed = began
		h.expiry.Reset(store.LeaseTime - time.Since(began))
	}
}

// lose ends the run of a job that somebody else may have by now.
func (h *Held) lose() {
	h.mu.Lock()
	h.lost = true
	h.expiry.Stop()
	h.mu.Unlock()
	h.stop(store.LostLease(h.lease))
}

func (h *Held) isLost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// done is how far the job is.
func (h *Held) done() store.Progress {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.progress
	switch {
	case p.EstimatedRows > 0 || !h.opened:
	case h.expected > 0:
		p.EstimatedRows = h.expected
	default:
		p.EstimatedRows = h.past.Rows
	}
	if p.EstimatedBytes == 0 && p.EstimatedRows > 0 && h.past.Rows > 0 {
		p.EstimatedBytes = int64(float64(p.EstimatedRows) / float64(h.past.Rows) * float64(h.past.Bytes))
	}
	return p
}

// clock is what the record's clock says, as far as this process can tell without asking.
func (h *Held) clock(at time.Time) time.Time { return h.job.StartedAt.Add(at.Sub(h.taken)) }
