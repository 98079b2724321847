// Package webhook tells customers what has happened: it makes deliveries of the events in the record's outbox, and sends
// each of them, signed, to where the customer has asked for, until the receiver has it or there is no more use in trying.
// It owns the order of that and every byte that goes out; which delivery is next, and what an attempt comes to, the record
// says, and mail is handed to package mail. It never connects to an address that is not public, and never keeps or logs a
// link, a secret, or what a receiver has answered.
package webhook

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Record is what is asked of the record.
type Record interface {
	Webhook(ctx context.Context, customer string) (store.Webhook, error)
	Outbox(ctx context.Context, after int64, most int) ([]store.OutboxEvent, error)
	// Expand takes events out of the outbox and queues their deliveries. Events that are not there any more make none.
	Expand(ctx context.Context, expansions []store.Expansion) (made int, err error)
	PutProgress(ctx context.Context, d store.Delivery) error
	ClaimDeliveries(ctx context.Context, holder string) (claimed store.ClaimedDeliveries, ok bool, err error)
	EndAttempt(ctx context.Context, l store.DeliveryLease, o store.Outcome, retry store.Retry) ([]store.Delivery, error)
	// RecoverDeliveries has those wait again whose process is gone.
	RecoverDeliveries(ctx context.Context) (int, error)
}

// Secrets are what deliveries are signed with.
type Secrets interface {
	// Secrets are the texts of a customer; pending is empty where no rotation goes on.
	Secrets(ctx context.Context, customer string) (current, pending config.Secret, err error)
	// OpenHeaders opens the custom headers of an endpoint.
	OpenHeaders(customer string, sealed []byte) (map[string]string, error)
}

// Jobs are what most events are of.
type Jobs interface {
	// Get is one of a customer's; store.CodeUnknown where it is not known any more.
	Get(ctx context.Context, customer, id string) (store.Job, error)
	// Link signs a fresh link to the object of a job; job.CodeNoObject where there is none any more.
	Link(ctx context.Context, job store.Job, by store.Actor) (object.Link, error)
	// Progress is how far a job is, where that is known.
	Progress(job store.Job) (percent int, remaining time.Duration, known bool)
}

// Customers says who is written to.
type Customers interface {
	// Mail are the addresses of a customer, and the events that they are told of. None are those of one who is unknown.
	Mail(ctx context.Context, customer string) (addresses, events []string, err error)
}

// Poster posts to webhooks; *Sender does.
type Poster interface {
	Send(ctx context.Context, p Post) store.Outcome
}

// Mailer writes a delivery to its address; *mail.Sender does.
type Mailer interface {
	Send(ctx context.Context, d store.Delivery) store.Outcome
}

// Observer counts, for metrics. Its methods may be called by many goroutines at once.
type Observer interface {
	// Attempt is called once of every request or mail: its event is sdk/webhook.Batch for several.
	Attempt(channel, event, verdict string, took time.Duration)
	// DeliveryEnded is called of each delivery that was delivered, or given up after an attempt.
	DeliveryEnded(channel, event, state string)
}

type nobody struct{}

func (nobody) Attempt(string, string, string, time.Duration) {}
func (nobody) DeliveryEnded(string, string, string)          {}

// MostInFlight is how much a process sends at once.
const MostInFlight = 64

// Times of the loops, and of calls.
const (
	pollEvery    = 500 * time.Millisecond
	recoverEvery = 5 * time.Second
	recordTime   = 30 * time.Second
	// prepareTime bounds the making of a body: the look at the job, its link, the secrets. With the time of the request it
	// is less than the lease.
	prepareTime = 10 * time.Second
	// endTries and endPause are how often, and how far apart, the record is told what has become of an attempt.
	endTries = 5
	endPause = time.Second
	// expandTogether is how many events are expanded in one transaction.
	expandTogether = 100
)

// Config is what a Dispatcher needs.
type Config struct {
	Record    Record
	Secrets   Secrets
	Jobs      Jobs
	Customers Customers
	// Poster sends webhooks; the default is a Sender that reaches public addresses only.
	Poster Poster
	// Mail, if set, writes mail. Without it no mail is queued; what is queued already is dead, and can be sent again.
	Mail Mailer
	// Holder names this process in leases.
	Holder string
	Log    *slog.Logger
	// Now is the clock of what is sent; the default is time.Now.
	Now func() time.Time
	// Observer, if set, is told what is done.
	Observer Observer
}

// Dispatcher delivers. Any number of processes may have one on the same record: each delivery is sent by one of them.
type Dispatcher struct {
	cfg Config
	// events and claims wake the loops; a hint in each stays until it is taken.
	events, claims chan struct{}
	// slots bounds what is in flight.
	slots chan struct{}

	// looping ends with the loops, and sending with what is in flight: later, where there is time.
	looping, sending     context.Context
	endLoops, endSending context.CancelFunc
	startOnce            sync.Once
	loops, inFlight      sync.WaitGroup
	progressMu           sync.Mutex
	progressed           map[jobKey]struct{}
}

type jobKey struct{ customer, job string }

// New returns a dispatcher, which does nothing until it is started.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.Record == nil || cfg.Secrets == nil || cfg.Jobs == nil || cfg.Customers == nil || cfg.Holder == "" {
		return nil, errors.New("webhook: a record, secrets, jobs, customers and a holder are needed")
	}
	if cfg.Poster == nil {
		cfg.Poster = NewSender(SenderConfig{})
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	d := &Dispatcher{
		cfg: cfg, events: make(chan struct{}, 1), claims: make(chan struct{}, 1), slots: make(chan struct{}, MostInFlight),
		progressed: map[jobKey]struct{}{},
	}
	d.looping, d.endLoops = context.WithCancel(context.Background())
	d.sending, d.endSending = context.WithCancel(context.Background())
	return d, nil
}

// Start starts the loops. It may be called again, and does nothing then, or after Stop.
func (d *Dispatcher) Start() {
	d.startOnce.Do(func() {
		d.loop("outbox", pollEvery, d.events, d.expand)
		d.loop("deliveries", pollEvery, d.claims, d.claim)
		d.loop("lost deliveries", recoverEvery, nil, d.recover)
	})
}

// Stop ends the loops, waits for what is in flight until ctx ends, and breaks off what is left: other processes, or the next
// one, send it again when its lease is over. It may be called again, and before Start.
func (d *Dispatcher) Stop(ctx context.Context) {
	d.startOnce.Do(func() {}) // it does not start any more
	d.endLoops()
	d.loops.Wait()
	defer context.AfterFunc(ctx, d.endSending)()
	d.inFlight.Wait()
	d.endSending()
}

// Wake says that something was put into the outbox, or has become due. It never waits.
func (d *Dispatcher) Wake() {
	wake(d.events)
	wake(d.claims)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// loop does something again and again: after a time, and when it is woken.
func (d *Dispatcher) loop(name string, every time.Duration, woken <-chan struct{}, do func(context.Context) error) {
	d.loops.Go(func() {
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for d.looping.Err() == nil {
			if err := do(d.looping); err != nil && d.looping.Err() == nil {
				d.cfg.Log.WarnContext(d.looping, "what is done from time to time failed, and is tried again", "loop", name, "err", err)
			}
			select {
			case <-ticks.C:
			case <-woken:
			case <-d.looping.Done():
			}
		}
	})
}

// recover has deliveries wait again whose process is gone.
func (d *Dispatcher) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	n, err := d.cfg.Record.RecoverDeliveries(ctx)
	if n > 0 {
		d.cfg.Log.WarnContext(ctx, "deliveries whose process is gone are sent again", "deliveries", n)
		wake(d.claims)
	}
	return err
}
