package service

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/schedule"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Buckets are the places of objects, by their names in the settings.
type Buckets interface {
	job.Buckets
	// Use takes those of other settings, all of them or, with an error, none.
	Use(to *config.Settings) error
}

// newJobs makes the manager of a process's jobs, with so many workers.
func newJobs(cfg *Config, registry *customer.Registry, memory *admission.Controller, workers int, observer *jobObserver) (
	*job.Manager, error) {
	set := cfg.Settings
	return job.New(job.Config{
		Record: cfg.Record, Engine: cfg.Engine, Customers: registry, Buckets: cfg.Buckets, Memory: memory, Holder: holder(), Public: api.Public,
		Workers: workers, TimeLimits: timeLimits(set.Jobs), Isolation: cfg.Isolation, RunMemory: int64(set.Limits.RunMemory), Log: cfg.Log, Now: cfg.Now, Observer: observer, Progressed: observer.hooks.progressed,
		States:    schedule.NewStates(cfg.DataKey),
		Retention: job.Retention{Link: set.Jobs.Retention.Link, Grace: set.Jobs.Retention.Grace, Listed: set.Jobs.Retention.Jobs},
	})
}

// jobObserver tells metrics and traces of attempts.
type jobObserver struct {
	metrics *telemetry.Metrics
	traces  *telemetry.Traces
	hooks   *hooks
}

func (o *jobObserver) Run(ctx context.Context, j store.Job) job.RunObserver {
	return o.traces.Run(telemetry.Context(ctx, j.Trace), j.ID, j.Procedure)
}

func (o *jobObserver) Ended(j store.Job, outcome string, rows, bytes int64) {
	o.metrics.Run(j.Procedure, "job", outcome, rows, bytes)
	o.hooks.wake() // there may be something to tell
	if outcome == job.OutcomeLost {
		o.metrics.LeaseLost()
	}
}

// timeLimits are those of every class that jobs may be of; a pipeline of one's own may have none.
func timeLimits(j config.Jobs) map[string]time.Duration {
	limits := map[string]time.Duration{"": j.TimeLimit, "data": j.TimeLimit, "special": j.TimeLimit}
	for class, limit := range j.TimeLimits {
		limits[class] = limit
	}
	return limits
}

// holder names this process for whoever looks at who runs a job. No two processes have the same name.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%.100s:%d:%.8s", host, os.Getpid(), rand.Text())
}

// acceptance knows whether the record takes jobs: it writes something there from time to time, and takes it away again. A
// record that is away, full or read-only keeps jobs from being made, and streams go on.
type acceptance struct {
	record interface {
		ReserveIdempotency(ctx context.Context, key store.Idempotency) (job string, err error)
		ReleaseIdempotency(ctx context.Context, key store.Idempotency) error
	}
	holder string
	log    *slog.Logger

	mu     sync.Mutex
	failed error
}

// probeEvery is how often the record is tried, and probeTime how long it may take.
const (
	probeEvery = 5 * time.Second
	probeTime  = 4 * time.Second
)

func (a *acceptance) loop() *loop {
	return &loop{name: "record", every: probeEvery, do: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		a.note(ctx, a.probe(ctx))
		return nil // it is told once, and not at every turn
	}}
}

func (a *acceptance) probe(ctx context.Context) error {
	key := store.Idempotency{Customer: "-", Route: "probe", Key: a.holder, Request: a.holder}
	if _, err := a.record.ReserveIdempotency(ctx, key); err != nil {
		return err
	}
	return a.record.ReleaseIdempotency(ctx, key)
}

func (a *acceptance) note(ctx context.Context, err error) {
	a.mu.Lock()
	was := a.failed
	a.failed = err
	a.mu.Unlock()
	switch {
	case err != nil && was == nil:
		a.log.ErrorContext(ctx, "the record takes nothing: jobs are not accepted, streams go on", "err", err)
	case err == nil && was != nil:
		a.log.InfoContext(ctx, "the record takes changes again: jobs are accepted")
	}
}

// refused is the code of why no jobs are accepted; empty is that they are.
func (a *acceptance) refused() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed == nil {
		return ""
	}
	return fault.From(a.failed).Code
}

// jobGauges are what is asked for of jobs when metrics are read.
func jobGauges(m *telemetry.Metrics, cfg *Config, jobs *job.Manager, accepts *acceptance) {
	m.Gauge("jobs_held", "Jobs that this process runs.", func() float64 { return float64(jobs.Held()) })
	m.Gauge("jobs_accepted", "1 where the record takes jobs, 0 where it is away, full or read-only.", func() float64 {
		if accepts.refused() != "" {
			return 0
		}
		return 1
	})
	classes := map[string]string{}
	for _, name := range cfg.Engine.Names() {
		if doc, _ := cfg.Engine.Load(name); doc != nil {
			classes[name] = doc.Metadata.Class
		}
	}
	m.Queues(func(ctx context.Context) ([]telemetry.Queue, error) {
		queues, err := cfg.Record.Queues(ctx)
		if err != nil {
			return nil, err
		}
		now, err := cfg.Record.Clock(ctx) // its own: this machine's may be another
		if err != nil {
			return nil, err
		}
		var out []telemetry.Queue
		for procedure, q := range queues {
			one := telemetry.Queue{Procedure: procedure, Class: classes[procedure], Queued: q.Queued, Running: q.Running}
			if !q.Oldest.IsZero() {
				one.Oldest = max(0, now.Sub(q.Oldest))
			}
			out = append(out, one)
		}
		return out, nil
	})
}
