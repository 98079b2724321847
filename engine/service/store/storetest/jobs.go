package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// JobStore is the part of a record that jobs have.
type JobStore interface {
	Store

	CreateJob(ctx context.Context, n store.NewJob) (job store.Job, lease store.Lease, replayed bool, err error)
	ReserveIdempotency(ctx context.Context, i store.Idempotency) (job string, err error)
	ReleaseIdempotency(ctx context.Context, i store.Idempotency) error
	ClaimJob(ctx context.Context, holder string, skip []string) (job store.Job, lease store.Lease, ok bool, err error)
	RenewJob(ctx context.Context, l store.Lease, p store.Progress) (store.Renewal, error)
	EndJob(ctx context.Context, l store.Lease, e store.Ending) (store.Job, error)
	CancelJob(ctx context.Context, customer, id string, by store.Actor) (store.Job, error)
	RecoverJobs(ctx context.Context) ([]store.Job, error)

	Job(ctx context.Context, customer, id string) (store.Job, error)
	Jobs(ctx context.Context, f store.JobFilter) (jobs []store.Job, total int64, err error)
	Transitions(ctx context.Context, customer, id string, after int64) ([]store.Transition, error)
	PastRuns(ctx context.Context, customer, procedure string) (store.Progress, error)

	ExtendObject(ctx context.Context, id string, until time.Time, audit ...store.Audit) error
	ExpiredObjects(ctx context.Context, before time.Time, most int) ([]store.Job, error)
	ObjectRemoved(ctx context.Context, id string) error
	Leftovers(ctx context.Context, before time.Time, most int) ([]store.Leftover, error)
	LeftoverSwept(ctx context.Context, seq int64) error
	PruneJobs(ctx context.Context, before time.Time) (int64, error)

	Outbox(ctx context.Context, after int64, most int) ([]store.OutboxEvent, error)
	Queues(ctx context.Context) (map[string]store.Queue, error)
	Clock(ctx context.Context) (time.Time, error)
}

// Opened is an empty record, and its clock.
type Opened struct {
	Store JobStore
	// Advance has the record's clock go on.
	Advance func(time.Duration)
}

// RunJobs runs the suite of jobs on empty records, which open gives and closes when the test ends.
func RunJobs(t *testing.T, open func(t *testing.T) Opened) {
	for name, test := range map[string]func(*jobSuite){
		"Life":          (*jobSuite).life,
		"LeaseIsLost":   (*jobSuite).leaseIsLost,
		"LeaseIsKept":   (*jobSuite).leaseIsKept,
		"FairShares":    (*jobSuite).fairShares,
		"Idempotency":   (*jobSuite).idempotency,
		"CancelRunning": (*jobSuite).cancelRunning,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			test(&jobSuite{suite: suite{T: t, store: o.Store}, jobs: o.Store, advance: o.Advance})
		})
	}
}
