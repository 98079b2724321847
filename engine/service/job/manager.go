package job

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Manager runs jobs and looks after their objects. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	binder  binding.Binder
	waiters waiters
	hint    chan struct{}   // there may be a job to be claimed
	life    context.Context // ended by Stop
	end     context.CancelFunc
	cut     chan struct{} // closed when Stop waits no longer
	told    atomic.Pointer[reading]
	loops   sync.WaitGroup

	mu        sync.Mutex // guards what follows
	started   bool
	stopping  bool
	stopped   chan struct{} // closed when everything has ended; nil before Stop
	held      map[*Held]bool
	letting   *sync.Cond // when one was let go
	pipelines map[string]*engine.Prepared
	skipped   map[string]*skip
}

// New makes a manager that does nothing by itself before Start.
func New(cfg Config) (*Manager, error) {
	if cfg.Record == nil || cfg.Engine == nil || cfg.Customers == nil || cfg.Buckets == nil || cfg.Memory == nil ||
		cfg.Holder == "" || cfg.Public == nil {
		return nil, errors.New("job: Record, Engine, Customers, Buckets, Memory, Holder and Public have to be given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	cfg.Retention.Link = cmp.Or(cfg.Retention.Link, 12*time.Hour)
	cfg.Retention.Grace = cmp.Or(cfg.Retention.Grace, time.Hour)
	cfg.Retention.Listed = cmp.Or(cfg.Retention.Listed, 90*24*time.Hour)
	m := &Manager{
		cfg: cfg,
		binder: binding.Binder{Engine: cfg.Engine, Sealer: cfg.Customers, Log: cfg.Log,
			Isolation: cfg.Isolation, RunMemory: cfg.RunMemory},
		hint: make(chan struct{}, 1), cut: make(chan struct{}),
		held: map[*Held]bool{}, pipelines: map[string]*engine.Prepared{}, skipped: map[string]*skip{},
	}
	m.letting = sync.NewCond(&m.mu)
	m.life, m.end = context.WithCancel(context.Background())
	return m, nil
}

// How often the record is looked at.
const (
	pollEvery    = 500 * time.Millisecond // for jobs, and for changes that somebody waits for
	recoverEvery = 2 * time.Second
	sweepEvery   = 30 * time.Second
	pruneEvery   = time.Hour
)

// recordTimeout is how long one call of the record may take. It is shorter than a lease, so that more than one fits in.
const recordTimeout = 5 * time.Second

// Start begins to claim jobs, to recover those whose workers are gone, and to remove what is not needed any more. A
// second call, and one behind Stop, do nothing.
func (m *Manager) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.stopping {
		return
	}
	m.started = true
	if m.cfg.Workers > 0 {
		m.loops.Go(m.work)
	}
	m.loop("recovery of jobs", recoverEvery, m.recover)
	m.loop("sweep of leftovers", sweepEvery, m.sweep)
	m.loop("removal of expired objects", sweepEvery, m.expire)
	m.loop("removal of old jobs", pruneEvery, m.prune)
}

// loop does something at once and from time to time, until Stop. A failure is logged when it begins, and is tried
// again.
func (m *Manager) loop(name string, every time.Duration, do func(context.Context) error) {
	m.loops.Go(func() {
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for failing := false; ; {
			err := do(m.life)
			if err != nil && !failing && m.life.Err() == nil {
				m.cfg.Log.Warn("what is done for jobs from time to time failed, and is tried again", "loop", name, "err", err)
			}
			failing = err != nil
			select {
			case <-ticks.C:
			case <-m.life.Done():
				return
			}
		}
	})
}

// Stop takes no more jobs, ends those that run here and hands them back. It returns when they have ended, or when ctx
// has: what runs then loses its leases by itself. It may be called twice, and before Start.
func (m *Manager) Stop(ctx context.Context) {
	m.mu.Lock()
	if !m.stopping {
		m.stopping, m.stopped = true, make(chan struct{})
		m.end()
		for h := range m.held {
			h.stop(stopping())
		}
		go func() {
			defer close(m.stopped)
			m.loops.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			for len(m.held) > 0 {
				m.letting.Wait()
			}
		}()
	}
	stopped := m.stopped
	m.mu.Unlock()
	select {
	case <-stopped:
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		select {
		case <-m.cut:
		default:
			close(m.cut)
		}
	}
}

func stopping() error {
	return fault.New(CodeStopping, fault.Cancelled, "the process that runs the job is about to end").WithRetry()
}

// Held is how many jobs this process holds.
func (m *Manager) Held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

// Create makes a job that waits for a worker. Where the order came before, replayed is true, and the job is that one.
func (m *Manager) Create(ctx context.Context, order store.NewJob) (job store.Job, replayed bool, err error) {
	order.Holder = ""
	if err := m.complete(ctx, &order.Job); err != nil {
		return job, false, err
	}
	job, _, replayed, err = m.cfg.Record.CreateJob(ctx, order)
	if err == nil {
		m.changed(job.ID)
	}
	return job, replayed, err
}

// complete says of an order what the customer's declaration says.
func (m *Manager) complete(ctx context.Context, order *store.Job) error {
	if order.Type == "" {
		order.Type = TypeExtract
	}
	if order.Bucket != "" {
		return nil
	}
	c, err := m.cfg.Customers.Serves(ctx, order.Customer)
	if err == nil {
		order.Bucket = c.Bucket
	}
	return err
}

// TakeOver makes a job of a run that goes on already: this process holds it from the beginning, whether it takes other
// jobs or not. Order has the identifier of the run. Held is nil where the order came before: job is that one then.
// Whoever gets a Held has to call its End.
//
// The end of ctx does not end it: it has to be known whether there is a job.
func (m *Manager) TakeOver(ctx context.Context, order store.NewJob) (held *Held, job store.Job, err error) {
	if m.life.Err() != nil {
		return nil, job, stopping()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*recordTimeout)
	defer cancel()
	order.Holder = m.cfg.Holder
	if err := m.complete(ctx, &order.Job); err != nil {
		return nil, job, err
	}
	began := time.Now()
	job, lease, replayed, err := m.cfg.Record.CreateJob(ctx, order)
	if err != nil || replayed {
		return nil, job, err
	}
	return m.hold(job, lease, began), job, nil
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
	job, err := m.cfg.Record.CancelJob(ctx, customer, id, by)
	if err != nil {
		return job, err
	}
	m.changed(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	for h := range m.held {
		if h.job.ID == id {
			h.renewSoon()
		}
	}
	return job, nil
}

// TimeLimit is how long one attempt of a pipeline of a class may take. A run that may be taken over has it from its
// start.
func (m *Manager) TimeLimit(class string) time.Duration {
	if limit := m.cfg.TimeLimits[class]; limit > 0 {
		return limit
	}
	return DefaultTimeLimit
}

// recover ends the runs whose leases are over.
func (m *Manager) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*recordTimeout)
	defer cancel()
	recovered, err := m.cfg.Record.RecoverJobs(ctx)
	for _, job := range recovered {
		m.cfg.Log.WarnContext(ctx, "the worker of a job is gone", "job", job.ID, "customer", job.Customer,
			"attempt", job.Attempts, "now", job.Status)
		m.changed(job.ID)
	}
	return err
}

// changed tells who waits for a job, or for one to run, in this process.
func (m *Manager) changed(id string) {
	m.waiters.wake(id)
	select {
	case m.hint <- struct{}{}:
	default:
	}
}
