// Package schedule orders jobs again and again: it knows when a schedule has a tick, what becomes of one that is late
// or whose job before still runs, and from which day on the next job reads. What is to be remembered it asks of the
// record, which decides each tick once among all processes; what a job is made of it asks of those who answer requests.
//
//	s, err := schedule.New(schedule.Config{Record: record, Orders: orders, Customers: registry})
//	err = s.Sync(ctx, documents)   // the schedules of documents
//	s.Start()                      // makes a job of every tick, as any other process with this record would
//	s.Stop()
package schedule

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of what is wrong with a schedule.
const (
	// CodeCron: the expression cannot be read, or never happens.
	CodeCron = "schedule.cron"
	// CodeZone: there is no such time zone.
	CodeZone = "schedule.time_zone"
	// CodeWindow: the window and the request do not go together.
	CodeWindow = "schedule.window"
	// CodeNoBucket: the customer has no bucket, and so no jobs.
	CodeNoBucket = "schedule.no_bucket"
)

// JobType is the type of the jobs that schedules make.
const JobType = "schedule"

// Record is what is remembered of schedules. Package store says what the methods have to keep.
type Record interface {
	Schedules(ctx context.Context, customer string) ([]store.Schedule, error)
	Schedule(ctx context.Context, customer, id string) (store.Schedule, error)
	PutSchedule(ctx context.Context, s store.Schedule, audit store.Audit) (store.Schedule, error)
	DeleteSchedule(ctx context.Context, customer, id string, audit store.Audit) error
	ResetSchedule(ctx context.Context, customer, id string, audit store.Audit) (store.Schedule, error)
	DueSchedules(ctx context.Context, most int) ([]store.Schedule, error)
	SettleSchedules(ctx context.Context, most int) (int, error)
	Tick(ctx context.Context, t store.Tick) (job store.Job, done bool, err error)
	// Clock is the record's own: ticks go by it.
	Clock(ctx context.Context) (time.Time, error)
}

// Orders reads what is ordered, by the rules of a request; *api.Orders does.
type Orders interface {
	// Order is a request for a job of a procedure as a job that is to be made, without who orders it. Its error says all
	// that is wrong.
	Order(customer, procedure string, request []byte) (store.Job, error)
}

// Customers are those whose schedules this process can tick; *customer.Registry knows them.
type Customers interface {
	// Serves gives a customer that is declared here and in service: customer.CodeUnknown of others.
	Serves(ctx context.Context, id string) (*customer.Customer, error)
}

// Observer is told what becomes of ticks: for metrics.
type Observer interface {
	// Ticked is called by the process that has decided, with an outcome of package store, of what is refused without the
	// code. Missed is how many ticks had passed at which nobody looked, and that made no job of their own.
	Ticked(outcome string, missed int)
}

// Config is what a scheduler is made of. Record, Orders and Customers have to be given.
type Config struct {
	Record    Record
	Orders    Orders
	Customers Customers
	// Public says of an error what customers are told: a code. Default the error's own.
	Public func(error) (code, message, suggestion string)
	// Observer, if set, is told of ticks.
	Observer Observer
	// Log receives what operators should know. Default nowhere.
	Log *slog.Logger
}

// Scheduler keeps schedules, and makes jobs of their ticks. It is safe for concurrent use.
type Scheduler struct {
	cfg   Config
	life  context.Context // ended by Stop
	end   context.CancelFunc
	start sync.Once
	loop  sync.WaitGroup

	mu    sync.Mutex
	crons map[[2]string]*Cron // by expression and zone
}

// New makes a scheduler that does nothing by itself before Start.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Record == nil || cfg.Orders == nil || cfg.Customers == nil {
		return nil, errors.New("schedule: Record, Orders and Customers have to be given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if cfg.Public == nil {
		cfg.Public = func(err error) (string, string, string) { return fault.From(err).Code, "", "" }
	}
	s := &Scheduler{cfg: cfg, crons: map[[2]string]*Cron{}}
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

// nobody observes nothing.
type nobody struct{}

func (nobody) Ticked(string, int) {}

// Times of the loop.
const (
	turnEvery   = time.Second
	settleEvery = 15 * time.Second
	turnTime    = 30 * time.Second
)

// Start begins to look at ticks. A second call, and one behind Stop, do nothing.
func (s *Scheduler) Start() {
	s.start.Do(func() {
		if s.life.Err() == nil {
			s.loop.Go(s.run)
		}
	})
}

// Stop returns when no tick is being decided on. It may be called twice, and before Start.
func (s *Scheduler) Stop() {
	s.end()
	s.loop.Wait()
}

func (s *Scheduler) run() {
	ticks := time.NewTicker(turnEvery)
	defer ticks.Stop()
	for failing, turns := false, 0; ; turns++ {
		ctx, cancel := context.WithTimeout(s.life, turnTime)
		err := s.turn(ctx, turns%int(settleEvery/turnEvery) == 0)
		cancel()
		if err != nil && !failing && s.life.Err() == nil {
			s.cfg.Log.Warn("the ticks of schedules were not looked at, which is tried again", "err", err)
		}
		failing = err != nil
		select {
		case <-ticks.C:
		case <-s.life.Done():
			return
		}
	}
}

// together is how many schedules are looked at in one turn.
const together = 100

// turn looks at what is due. Settle notes first how jobs have ended that nobody has asked about.
func (s *Scheduler) turn(ctx context.Context, settle bool) error {
	if settle {
		if _, err := s.cfg.Record.SettleSchedules(ctx, together); err != nil {
			return err
		}
	}
	due, err := s.cfg.Record.DueSchedules(ctx, together)
	if err != nil || len(due) == 0 {
		return err
	}
	now, err := s.cfg.Record.Clock(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, one := range due {
		if err := s.decide(ctx, one, now); err != nil && !fault.Is(err, store.CodeUnknown) { // it may be deleted by now
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// cron is the expression of a schedule, which was checked when it was put.
func (s *Scheduler) cron(of store.Schedule) (*Cron, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{of.Cron, of.Zone}
	if c := s.crons[key]; c != nil {
		return c, nil
	}
	c, err := ParseCron(of.Cron, of.Zone)
	if err == nil {
		s.crons[key] = c
	}
	return c, err
}
