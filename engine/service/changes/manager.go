package changes

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of what goes wrong with streams. Those of sources and of the record come beside them.
const (
	// CodeSettings: a setting of a stream cannot be; the detail "setting" names it.
	CodeSettings = "changes.settings"
	// CodeChannelEmpty: a channel is enabled that no table of the customer's pipeline belongs to.
	CodeChannelEmpty = "changes.channel_empty"
	// CodeChannelNew: a channel is enabled whose tables were not followed so far.
	CodeChannelNew = "changes.channel_new"
	// CodeChannelUnknown: a channel is named that there is none of.
	CodeChannelUnknown = "changes.channel_unknown"
	// CodeNoPipeline: the customer has no pipeline of a stream in this process.
	CodeNoPipeline = "changes.no_pipeline"
	// CodePipeline: that pipeline cannot be run with what is asked of it.
	CodePipeline = "changes.pipeline"
	// CodeEnding: the stream was disabled, and a process is still about to end its work.
	CodeEnding = "changes.ending"
	// CodeDocumentTooLarge: a document is longer than a request may be.
	CodeDocumentTooLarge = "changes.document_too_large"
	// CodeTable: what a source has delivered is no table of changes.
	CodeTable = "changes.table"
	// CodeAgain: a source has not delivered the documents that it was asked for.
	CodeAgain = "changes.again"
	// CodeSealed: a document that waits, or the secret of a stream, cannot be opened.
	CodeSealed = "changes.sealed"
	// CodeSourceEnded: a source that does not end has ended.
	CodeSourceEnded = "changes.source_ended"
)

// The channels, in their order.
const (
	Entities = "entities" // clinical data and configuration objects
	Logs     = "logs"     // entries of the practice's logs
)

// Channels are all of them.
var Channels = []string{Entities, Logs}

// Times of the loops, and of calls.
const (
	pollEvery = 500 * time.Millisecond
	// renewEvery is how often a lease is renewed: several times within store.StreamLeaseTime.
	renewEvery = store.StreamLeaseTime / 4
	// recordTimeout is how long a question to the record may take.
	recordTimeout = 5 * time.Second
)

// Limits bound what waits of one channel for its receiver. Where one of them is reached, reading pauses for all channels of
// the stream, which share one reader.
type Limits struct {
	// Documents is how many; the default is 100,000.
	Documents int64
	// Bytes is how much sealed text; the default is 256 MiB.
	Bytes int64
}

// Config is what a Manager is made of. Record, Sources, Key and Holder have to be given.
type Config struct {
	Record  Record
	Sources Sources
	// Key is that of the data directory: secrets, and documents that wait, are sealed under it.
	Key *datakey.Key
	// Holder names the process, with something random in it: host, process, digits.
	Holder string
	// Poster posts to receivers; the default reaches public addresses only.
	Poster Poster
	Limits Limits
	// Public, if set, says of an error what customers are told, where it is none of a stream's own codes: without it they are
	// told the code alone.
	Public func(error) (code, message, suggestion string)
	// Observer, if set, is told what is done.
	Observer Observer
	// Log receives what operators should know. Default nowhere.
	Log *slog.Logger
}

// Observer counts, for metrics. Its methods may be called by many goroutines at once.
type Observer interface {
	// Requested is called once of every request: code is empty of one whose answer was good, and documents are those that
	// the receiver has said to have by it.
	Requested(customer, channel, code string, documents int, took time.Duration)
	// Numbered is called when changes were written, with how many got a number.
	Numbered(customer string, documents int)
	// Lag is told from time to time of every stream that this process has: how many numbers a channel is behind, and since
	// when the first of them waits (zero where nothing waits, or it is not known).
	Lag(customer, channel string, sequences int64, since time.Time)
	// Failed is called when a stream stands, or is tried again, because of a fault.
	Failed(customer, code string)
}

type nobody struct{}

func (nobody) Requested(string, string, string, int, time.Duration) {}
func (nobody) Numbered(string, int)                                 {}
func (nobody) Lag(string, string, int64, time.Time)                 {}
func (nobody) Failed(string, string)                                {}

// Manager sets streams up, and runs those that are enabled: any number of processes may have one on the same record, and one
// of them has a stream at a time. It is safe for concurrent use.
type Manager struct {
	cfg  Config
	hint chan struct{}

	life  context.Context // ended by Stop
	end   context.CancelFunc
	start sync.Once
	loops sync.WaitGroup // and all that is held

	mu   sync.Mutex
	held map[string]*held // by customer
}

// New returns a manager, whose streams do not run before Start.
func New(cfg Config) (*Manager, error) {
	if cfg.Record == nil || cfg.Sources == nil || cfg.Key == nil || cfg.Holder == "" {
		return nil, errors.New("changes: Record, Sources, Key and Holder have to be given")
	}
	if cfg.Poster == nil {
		cfg.Poster = NewPoster(PosterConfig{})
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	cfg.Limits.Documents = cmp.Or(cfg.Limits.Documents, 100_000)
	cfg.Limits.Bytes = cmp.Or(cfg.Limits.Bytes, 256<<20)
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	m := &Manager{cfg: cfg, hint: make(chan struct{}, 1), held: map[string]*held{}}
	m.life, m.end = context.WithCancel(context.Background())
	return m, nil
}

// Start begins to take streams. A second call, and one behind Stop, do nothing.
func (m *Manager) Start() {
	m.start.Do(func() { m.loops.Go(m.claims) })
}

// Stop ends all streams that this process has and gives them back, so that others may have them at once. It returns when that
// is done, or when ctx ends: what runs then loses its leases by itself. It may be called again, and before Start.
func (m *Manager) Stop(ctx context.Context) {
	m.start.Do(func() {}) // it does not start any more
	m.end()
	stopped := make(chan struct{})
	go func() {
		m.loops.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
	}
}

// Wake says that something about streams has changed. It never waits.
func (m *Manager) Wake() { wake(m.hint) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// claims takes the streams that nobody has, again and again, and looks whether those that are held here are as they were.
func (m *Manager) claims() {
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	for failing := false; ; {
		err := m.claim()
		if err != nil && !failing && m.life.Err() == nil {
			m.cfg.Log.Warn("streams cannot be claimed, which is tried again", "err", err)
		}
		failing = err != nil
		select {
		case <-ticks.C:
		case <-m.hint:
		case <-m.life.Done():
			return
		}
	}
}

func (m *Manager) claim() error {
	ctx, cancel := context.WithTimeout(m.life, recordTimeout)
	defer cancel()
	all, err := m.cfg.Record.Streams(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, s := range all {
		if h := m.holding(s.Customer); h != nil {
			if h.seen(s); !m.here(ctx, s.Customer) {
				h.stop(nil) // another process may have it
			}
			continue
		}
		if s.Enabled && s.Fault == nil {
			failed = cmp.Or(failed, m.claimOne(s))
		}
	}
	return failed
}

// claimOne takes one stream, if it is free and its customer is served here.
func (m *Manager) claimOne(s store.Stream) error {
	ctx, cancel := context.WithTimeout(m.life, recordTimeout)
	defer cancel()
	if !m.here(ctx, s.Customer) {
		return nil
	}
	began := time.Now()
	lease, ok, err := m.cfg.Record.ClaimStream(ctx, s.Customer, m.cfg.Holder)
	if err != nil || !ok {
		if fault.Is(err, store.CodeUnknown) {
			return nil // it was removed since
		}
		return err
	}
	h := newHeld(m, s, lease, began)
	m.mu.Lock()
	m.held[s.Customer] = h
	m.mu.Unlock()
	m.loops.Go(func() {
		h.run()
		m.mu.Lock()
		delete(m.held, s.Customer)
		m.mu.Unlock()
		m.Wake()
	})
	return nil
}

// here reports whether a customer has a stream in this process.
func (m *Manager) here(ctx context.Context, customer string) bool {
	_, err := m.cfg.Sources.Source(ctx, customer, Order{})
	return !notHere(err)
}

func (m *Manager) holding(customer string) *held {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[customer]
}
