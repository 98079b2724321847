// Package job runs orders that are not answered at once: it owns the workers, the right of one process at a time to run
// a job, what becomes of an object that a run has made, and how long it stays. What is to be remembered it asks of the
// record, whose states it never decides; bytes go to a bucket and are never seen here.
//
//	m, err := job.New(job.Config{Record: record, Engine: e, Customers: registry, Buckets: buckets, …})
//	m.Start()                                     // workers, recovery, sweeps
//	created, replayed, err := m.Create(ctx, order)   // waits for a worker, here or elsewhere
//	held, created, err := m.TakeOver(ctx, order)     // a run that goes on already, in this process
//	m.Stop(ctx)                                   // hands running jobs back
//
// # One object or none
//
// A job may be begun several times, and its worker may stand still for a minute and go on. Whoever runs it has a lease,
// which is renewed every five seconds and proved three times: before the commit at the run's gate, and behind it when
// the record writes the end; and a worker that could not renew for as long as a lease lasts ends its run by itself.
// Every taking writes to a key of its own, and the record names the one that counts. Who is refused behind the commit
// deletes what he has made; what nobody deletes, because he died, a sweep does.
package job

import (
	"context"
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Codes of what ends a run of a job, or keeps one from being begun.
const (
	// CodeCancelled: its customer, or an operator, has told it to end.
	CodeCancelled = "job.cancelled"
	// CodeStopping: the process is about to end; the job is handed back.
	CodeStopping = "job.stopping"
	// CodeNotServed: the process cannot run this customer's jobs; others may.
	CodeNotServed = "job.not_served"
	// CodeUnserved: no process has known the job's customer for UnservedTime.
	CodeUnserved = "job.unserved"
	// CodeInternal is the code of a defect.
	CodeInternal = "job.internal"
	// CodeScheduleReplaced: the schedule of the job keeps what the job would go on from no more.
	CodeScheduleReplaced = "job.schedule_replaced"
	// CodeNoObject: the job has no object, or none any more.
	CodeNoObject = "job.no_object"
	// CodeTimeLimit is the code with which the engine ends a run at its limit of time.
	CodeTimeLimit = "run.timeout"
)

// TypeExtract is the type of jobs that are ordered by a request.
const TypeExtract = "extract"

// Record is what is remembered of jobs. Package store says what the methods have to keep.
type Record interface {
	Orders
	Leases
	Objects
	// Schedule is the schedule of a customer: where it stands is where a job of it begins.
	Schedule(ctx context.Context, customer, id string) (store.Schedule, error)
	// Clock is the record's own: leases and expiries go by it.
	Clock(ctx context.Context) (time.Time, error)
}

// Orders are the jobs as those see them who have ordered them.
type Orders interface {
	CreateJob(ctx context.Context, order store.NewJob) (job store.Job, lease store.Lease, replayed bool, err error)
	CancelJob(ctx context.Context, customer, id string, by store.Actor) (store.Job, error)
	Job(ctx context.Context, customer, id string) (store.Job, error)
	Jobs(ctx context.Context, f store.JobFilter) (jobs []store.Job, total int64, err error)
	Transitions(ctx context.Context, customer, id string, after int64) ([]store.Transition, error)
	// PastRuns is what the last completed job of a procedure gave.
	PastRuns(ctx context.Context, customer, procedure string) (store.Progress, error)
	PruneJobs(ctx context.Context, before time.Time) (int64, error)
}

// Leases are the jobs as those see them who run them.
type Leases interface {
	ClaimJob(ctx context.Context, holder string, skip []string) (job store.Job, lease store.Lease, ok bool, err error)
	RenewJob(ctx context.Context, lease store.Lease, progress store.Progress) (store.Renewal, error)
	EndJob(ctx context.Context, lease store.Lease, ending store.Ending) (store.Job, error)
	RecoverJobs(ctx context.Context) ([]store.Job, error)
}

// Objects are what runs have left in buckets.
type Objects interface {
	ExtendObject(ctx context.Context, id string, until time.Time, audit ...store.Audit) error
	ExpiredObjects(ctx context.Context, before time.Time, most int, passing ...string) ([]store.Job, error)
	ObjectRemoved(ctx context.Context, id string) error
	Leftovers(ctx context.Context, before time.Time, most int, passing ...string) ([]store.Leftover, error)
	LeftoverSwept(ctx context.Context, seq int64) error
}

// Engine prepares and runs pipelines; *engine.Engine is one.
type Engine interface {
	Prepare(name string) (*engine.Prepared, diag.List)
	Memory(plan *engine.Plan) int64
	Run(ctx context.Context, plan *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error)
}

// Customers are those whose jobs this process can run; *customer.Registry knows them.
type Customers interface {
	// Serves gives a customer that is declared here and in service: customer.CodeUnknown of others, or CodeDisabled.
	Serves(ctx context.Context, id string) (*customer.Customer, error)
	// Sealing is the key with which the customer's deliveries are sealed now, for one run.
	Sealing(ctx context.Context, c *customer.Customer) (*customer.Sealing, error)
}

// Buckets are the places of objects, by the names that customer.Customer.Bucket has. What it returns stays open and is
// never closed here.
type Buckets interface {
	Bucket(ctx context.Context, name string) (object.Bucket, error)
}

// States opens and seals how far the jobs of schedules have come; *schedule.States does.
type States interface {
	// Open is the state of a schedule; the zero value where none of its jobs has kept one.
	Open(of store.Schedule) (engine.State, error)
	Seal(customer, schedule, epoch string, state *engine.State) ([]byte, error)
}

// Memory shares memory out among all runs of the process; *admission.Controller does.
type Memory interface {
	// Job waits for its turn, as long as ctx lasts.
	Job(ctx context.Context, customer string, memory int64) (release func(), err error)
}

// Config is what a manager is made of. Record, Engine, Customers, Buckets, Memory, Holder and Public have to be given.
type Config struct {
	Record    Record
	Engine    Engine
	Customers Customers
	Buckets   Buckets
	Memory    Memory
	// States are those of schedules whose pipelines keep state. Default no job keeps any.
	States States
	// Holder names the process, with something random in it: host, process, digits.
	Holder string
	// Public says of an error what customers are told: a code of the API, and a message and a suggestion without anything
	// of what is stored.
	Public func(error) (code, message, suggestion string)
	// Workers is how many jobs run here at once that were claimed. 0 claims none: only what is taken over runs.
	Workers int
	// TimeLimits are how long one attempt may take, by the class of the pipeline. Default DefaultTimeLimit.
	TimeLimits map[string]time.Duration
	Retention  Retention
	// Isolation spreads the stages of a run over processes. Default the engine's.
	Isolation engine.Isolation
	// RunMemory is the most that may be in flight in a run, in bytes. Default what its pipeline allows.
	RunMemory int64
	// Observer, if set, is told of attempts.
	Observer Observer
	// Progressed, if set, is called when the record has been told how far a job is. It must not wait.
	Progressed func(customer, job string)
	// Log receives what operators should know. Default nowhere.
	Log *slog.Logger
	// Now is the clock of what is compared with the record's, and never of a lease. Default time.Now.
	Now func() time.Time
}

// DefaultTimeLimit is how long one attempt may take where nothing else is said.
const DefaultTimeLimit = 180 * time.Second

// Retention is how long results stay.
type Retention struct {
	// Link is how long the object of a completed job can be had, and how long its links work at most. Default 12 hours.
	Link time.Duration
	// Grace is how long the object stays when the last link has ended. Default 1 hour.
	Grace time.Duration
	// Listed is how long an ended job is listed. Default 90 days.
	Listed time.Duration
}
