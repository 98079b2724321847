package job

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// linesFormat is the format whose lines are sealed one by one.
const linesFormat = "ndjson"

// work claims jobs while there are fewer than may run, until Stop.
func (m *Manager) work() {
	slots := make(chan struct{}, m.cfg.Workers)
	for failing := false; ; {
		select {
		case slots <- struct{}{}:
		case <-m.life.Done():
			return
		}
		h, err := m.claim()
		if h != nil {
			go func() {
				defer func() { <-slots }()
				m.run(h)
			}()
			continue
		}
		<-slots
		if err != nil && !failing {
			m.cfg.Log.Warn("no job can be claimed, which is tried again", "err", err)
		}
		failing = err != nil
		select {
		case <-m.hint:
		case <-time.After(pollEvery):
		case <-m.life.Done():
			return
		}
	}
}

// claim takes the next job, if there is one. It is not broken off when the process stops: a job that was claimed
// without anybody's knowing it would have lost an attempt.
func (m *Manager) claim() (*Held, error) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	began := time.Now()
	job, lease, ok, err := m.cfg.Record.ClaimJob(ctx, m.cfg.Holder, m.skips(began))
	if err != nil || !ok {
		return nil, err
	}
	m.waiters.wake(job.ID)
	return m.hold(job, lease, began), nil
}

// run runs a job that was claimed.
func (m *Manager) run(h *Held) {
	receipt, err := m.attempt(h)
	switch f := fault.From(err); {
	case f == nil:
		m.serves(h.job.Customer)
	case f.Code == CodeNotServed:
		m.skip(h.job.Customer, notServedSkip)
	case f.Class == fault.Connect && f.Retryable:
		m.skip(h.job.Customer, awaySkip)
	}
	h.End(h.ctx, receipt, err)
}

// attempt is a run of a job, to its end.
func (m *Manager) attempt(h *Held) (receipt *engine.Receipt, err error) {
	defer func() {
		if v := recover(); v != nil {
			m.cfg.Log.Error("a job panicked", "job", h.job.ID, "stack", string(debug.Stack()))
			err = fault.New(CodeInternal, fault.Internal, "the job panicked with %T", v)
		}
	}()
	observed := m.cfg.Observer.Run(h.ctx, h.job)
	defer func() {
		code := ""
		if err != nil {
			code, _, _ = m.cfg.Public(err)
		}
		observed.End(code)
	}()
	bound, err := m.bind(h, cmp.Or(observed.Traceparent(), h.job.Trace))
	if err != nil {
		return nil, err
	}
	defer bound.Close(h.ctx)
	release, err := m.cfg.Memory.Job(h.ctx, h.job.Customer, m.cfg.Engine.Memory(bound.Plan))
	if err != nil {
		return nil, err
	}
	defer release()
	observed.Admitted(bound.Plan)
	events := func(event engine.Event) {
		observed.Event(event)
		h.Event(event)
	}
	return bound.Run(h.ctx, h.Sink(), engine.RunOptions{Events: events, BeforeCommit: h.Gate})
}

// bind makes a run of a job's order.
func (m *Manager) bind(h *Held, traceparent string) (*binding.Bound, error) {
	c, err := m.cfg.Customers.Serves(h.ctx, h.job.Customer)
	if err != nil {
		return nil, m.notServed(h, err)
	}
	pipeline, err := m.pipeline(h.job.Procedure)
	if err != nil {
		return nil, err
	}
	given, err := binding.Parameters(pipeline, h.job.Request)
	if err != nil {
		return nil, err
	}
	order := binding.Order{Pipeline: pipeline, Customer: c, Parameters: given,
		Sealed: h.job.Encrypted, Lines: h.job.Format == linesFormat, RunID: h.job.ID, StartedAt: m.cfg.Now(),
		Timeout: m.TimeLimit(pipeline.Document().Metadata.Class), RequestID: h.job.RequestID, Traceparent: traceparent}
	if pipeline.Document().State == nil || h.job.Schedule == "" || m.cfg.States == nil {
		return m.binder.Bind(h.ctx, order)
	}
	begun, err := m.begin(h)
	if err != nil {
		return nil, err
	}
	order.State = &begun.state
	bound, err := m.binder.Bind(h.ctx, order)
	if err == nil {
		begun.plan = bound.Plan
		h.begun = begun
	}
	return bound, err
}

// UnservedTime is how long a job waits for a process that knows its customer. One of a customer that is out of service waits
// until that one is in service again, and is not claimed at all.
const UnservedTime = 24 * time.Hour

// notServed is what becomes of a job of a customer that this process does not know: others may, who may have a longer
// document, or a newer one. Where nobody has for UnservedTime, it is not going to be run.
func (m *Manager) notServed(h *Held, err error) error {
	if fault.Is(err, customer.CodeUnknown) && h.clock(time.Now()).Sub(h.job.CreatedAt) >= UnservedTime && !m.servedElsewhere(h) {
		return unserved()
	}
	return fault.New(CodeNotServed, fault.Usage, "the customer is not served by this process: %w", err)
}

func unserved() error {
	return fault.New(CodeUnserved, fault.Usage, "no process has known the customer for %v", UnservedTime).
		WithHint("declare the customer, and order the job again")
}

// servedElsewhere reports whether another process runs jobs of this customer, or has ended one of late. Where that cannot be
// known, it may be.
func (m *Manager) servedElsewhere(h *Held) bool {
	ctx, cancel := context.WithTimeout(h.ctx, recordTimeout)
	defer cancel()
	code, _, _ := m.cfg.Public(unserved())
	for _, status := range []store.Status{store.Running, store.Completed, store.Failed} {
		last, _, err := m.cfg.Record.Jobs(ctx, store.JobFilter{Customer: h.job.Customer, Status: status, Sort: store.UpdatedDesc, Limit: 2})
		if err != nil {
			return true
		}
		for _, j := range last {
			late := h.clock(time.Now()).Sub(j.UpdatedAt) < UnservedTime
			if j.ID != h.job.ID && j.ErrorCode != code && late {
				return true
			}
		}
	}
	return false
}

// pipeline is a procedure's, which is prepared once.
func (m *Manager) pipeline(name string) (*engine.Prepared, error) {
	m.mu.Lock()
	prepared := m.pipelines[name]
	m.mu.Unlock()
	if prepared != nil {
		return prepared, nil
	}
	prepared, diags := m.cfg.Engine.Prepare(name)
	if prepared == nil {
		return nil, errors.Join(
			fault.New(CodeInternal, fault.Internal, "the procedure %q cannot be run here", name), diags.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pipelines[name] = prepared
	return prepared, nil
}

// hold keeps a job that was taken, in a call that had begun at a time, until its End.
func (m *Manager) hold(job store.Job, lease store.Lease, began time.Time) *Held {
	h := newHeld(m, job, lease, began)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[h] = true
	if m.stopping {
		h.stop(stopping())
	}
	return h
}

// letGo ends that.
func (m *Manager) letGo(h *Held) {
	m.changed(h.job.ID)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, h)
	m.letting.Broadcast()
}

// How long a customer's jobs are left to others, or to later, the first time; each time behind that is twice as long.
const (
	notServedSkip = 10 * time.Second
	awaySkip      = 5 * time.Second
	longestSkip   = 10 * time.Minute
)

// skip is a customer whose jobs are not claimed for a while: this process does not know it, or its database is away.
type skip struct {
	until time.Time
	time  time.Duration
}

func (m *Manager) skip(who string, first time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.skipped[who]
	if s == nil {
		s = &skip{time: first / 2}
		m.skipped[who] = s
	}
	s.time = min(max(2*s.time, first), longestSkip)
	s.until = time.Now().Add(s.time)
}

// serves says that a customer's jobs can be run.
func (m *Manager) serves(who string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.skipped, who)
}

// skips are the customers whose jobs are not claimed now.
func (m *Manager) skips(now time.Time) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, s := range m.skipped {
		if now.Before(s.until) {
			names = append(names, name)
		}
	}
	return names
}

// backoff is how long a job waits before it is begun again, by how often it was: 5 and 30 seconds, half more or less,
// so that those that failed together do not come together. A database that is started anew may be back by then.
func backoff(attempts int) time.Duration {
	base := 5 * time.Second
	if attempts > 1 {
		base = 30 * time.Second
	}
	return base/2 + rand.N(base)
}
