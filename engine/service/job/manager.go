package job

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Manager runs jobs and looks after their objects. It is safe for concurrent use.
type Manager struct{ cfg Config }

// New makes a manager that does nothing by itself before Start.
func New(cfg Config) (*Manager, error) {
	if cfg.Record == nil || cfg.Engine == nil || cfg.Customers == nil || cfg.Buckets == nil || cfg.Memory == nil || cfg.Holder == "" || cfg.Public == nil {
		return nil, errors.New("job: Record, Engine, Customers, Buckets, Memory, Holder and Public have to be given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Manager{cfg}, nil
}

var errTodo = fault.New(CodeInternal, fault.Internal, "not built yet")

// Start begins to claim jobs, to recover those whose workers are gone, and to remove what is not needed. It is called once.
// Ctx gives values only: Stop ends what Start has begun.
func (m *Manager) Start(ctx context.Context) {}

// Stop takes no more jobs, ends those that run here and hands them back. It returns when they have ended, or when ctx has;
// what runs then loses its leases by itself. It may be called twice, and before Start.
func (m *Manager) Stop(ctx context.Context) {}

// Create makes a job that waits for a worker.
func (m *Manager) Create(ctx context.Context, order store.NewJob) (job store.Job, replayed bool, err error) {
	return job, false, errTodo
}

// TakeOver makes a job of a run that goes on already: this process holds it from the beginning, whether it takes other jobs
// or not. Order has the identifier of the run. Held is nil where the order came before: job is that one then.
func (m *Manager) TakeOver(ctx context.Context, order store.NewJob) (held *Held, job store.Job, err error) {
	return nil, job, errTodo
}

// Get is a job of a customer.
func (m *Manager) Get(ctx context.Context, customer, id string) (store.Job, error) {
	return m.cfg.Record.Job(ctx, customer, id)
}

// List lists jobs of a customer.
func (m *Manager) List(ctx context.Context, f store.JobFilter) (jobs []store.Job, total int64, err error) {
	return m.cfg.Record.Jobs(ctx, f)
}

// Transitions are the changes of a job's state after the one with a number.
func (m *Manager) Transitions(ctx context.Context, customer, id string, after int64) ([]store.Transition, error) {
	return m.cfg.Record.Transitions(ctx, customer, id, after)
}

// Cancel tells a job to end. One that waits has ended when Cancel returns; one that runs ends within seconds.
func (m *Manager) Cancel(ctx context.Context, customer, id string, by store.Actor) (store.Job, error) {
	return m.cfg.Record.CancelJob(ctx, customer, id, by)
}

// Wait returns a job when its last transition has a number greater than after, at once where it has, and as it is when ctx
// ends: that is no error.
func (m *Manager) Wait(ctx context.Context, customer, id string, after int64) (store.Job, error) {
	return m.cfg.Record.Job(ctx, customer, id)
}

// TimeLimit is how long one attempt of a pipeline of a class may take. A run that may be taken over has it from its start.
func (m *Manager) TimeLimit(class string) time.Duration {
	if limit := m.cfg.TimeLimits[class]; limit > 0 {
		return limit
	}
	return DefaultTimeLimit
}

// Link signs a fresh link to the object of a completed job, and writes down who asked for it. Its end is the true one: of the
// link, of the credentials that sign it, or of the object. A bucket that signs none gives the zero Link; CodeNoObject where
// there is no object, or none any more.
func (m *Manager) Link(ctx context.Context, job store.Job, by store.Actor) (object.Link, error) {
	return object.Link{}, errTodo
}

// Open reads the object of a completed job from an offset on. It stays while it is read. CodeNoObject where there is none, or
// none any more; object.CodeOffset of an offset behind its end.
func (m *Manager) Open(ctx context.Context, job store.Job, offset int64, by store.Actor) (io.ReadCloser, object.Info, error) {
	return nil, object.Info{}, errTodo
}

// Progress is how far a job is: percent of the rows that are expected, and how long the rest will take, if it is running.
// Percent never falls and is 100 of completed jobs only; known is false where nobody can say how many rows there will be.
// Remaining is 0 where it is not known.
func (m *Manager) Progress(job store.Job) (percent int, remaining time.Duration, known bool) {
	return 0, 0, false
}

// Held is a job that this process holds the lease of. Its methods may be called from several goroutines. It is a delivery.Job.
type Held struct{}

// Job is the job as it was when it was taken.
func (h *Held) Job() store.Job { return store.Job{} }

// Context ends when the run has to: the job was cancelled, its lease is lost, or the process stops. Its cause has the code.
func (h *Held) Context() context.Context { return context.Background() }

// Sink takes the output: an object in the customer's bucket, which nobody sees before Commit.
func (h *Held) Sink() engine.Sink { return nil }

// Event hears the events of the run.
func (h *Held) Event(event engine.Event) {}

// Gate is the run's gate: it asks the record whether the lease is still good.
func (h *Held) Gate(ctx context.Context, soFar *engine.Receipt) error { return errTodo }

// End writes down what has become of the job, and returns when that is known, or when it cannot be known any more. It is called
// once, when the run has returned.
func (h *Held) End(ctx context.Context, receipt *engine.Receipt, err error) {}
