package changes

import (
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// held is a stream that this process has the lease of. It is read and sent until the lease is lost, the stream is disabled or
// has failed for good, or the process stops. A process that is not sure of its lease ends before anybody else can have it: the
// lease is counted from the beginning of the call that has renewed it, by this process's own clock.
type held struct {
	m        *Manager
	customer string
	lease    store.StreamLease
	ctx      context.Context
	stop     context.CancelCauseFunc
	book     *book
	changed  chan struct{}            // the stream is not set up as it was
	room     chan struct{}            // documents were acknowledged
	waits    map[string]chan struct{} // by channel: there are documents
	over     chan struct{}            // closed when nothing of it goes on any more

	mu     sync.Mutex
	expiry *time.Timer
	as     time.Time // UpdatedAt of the stream as it runs
	failed bool      // the stream stands, and is only sent
	lasts  map[string]Request
}

func newHeld(m *Manager, s store.Stream, lease store.StreamLease, began time.Time) *held {
	h := &held{m: m, customer: s.Customer, lease: lease, as: s.UpdatedAt, lasts: map[string]Request{},
		changed: make(chan struct{}, 1), room: make(chan struct{}, 1), waits: map[string]chan struct{}{}, over: make(chan struct{})}
	for _, channel := range Channels {
		h.waits[channel] = make(chan struct{}, 1)
	}
	h.ctx, h.stop = context.WithCancelCause(m.life)
	h.mu.Lock()
	h.expiry = time.AfterFunc(store.StreamLeaseTime-time.Since(began), h.lose)
	h.mu.Unlock()
	return h
}

// seen is told how the stream is set up now.
func (h *held) seen(s store.Stream) {
	h.mu.Lock()
	newer := s.UpdatedAt.After(h.as)
	h.mu.Unlock()
	switch {
	case !s.Enabled && newer:
		h.stop(nil)
	case newer:
		wake(h.changed)
	}
}

// run reads and sends the stream, to its end.
func (h *held) run() {
	defer close(h.over)
	var kept sync.WaitGroup
	kept.Go(h.keep)
	defer h.release()
	defer kept.Wait()
	defer h.stop(nil)
	defer func() {
		if v := recover(); v != nil {
			h.m.cfg.Log.Error("a stream panicked; it is taken anew", "customer", h.customer, "stack", string(debug.Stack()))
		}
	}()
	for pause := firstPause; h.ctx.Err() == nil; pause = min(2*pause, mostPause) {
		err := h.open()
		if err == nil {
			break
		}
		if fault.Is(err, store.CodeStreamLost) {
			h.lose()
			break
		}
		h.warn("the database of a stream cannot be opened, which is tried again", err)
		sleep(h.ctx, pause)
	}
	if h.book == nil {
		return
	}
	defer h.book.log.Close()
	for h.ctx.Err() == nil {
		s, err := h.current()
		if err != nil {
			h.warn("a stream cannot be looked at, which is tried again", err)
			sleep(h.ctx, firstPause)
			continue
		}
		if !s.Enabled || s.Fault != nil || !h.period(s) {
			return
		}
	}
}

// open opens the stream's database.
func (h *held) open() error {
	ctx, cancel := context.WithTimeout(h.ctx, logTimeout)
	defer cancel()
	log, err := h.m.cfg.Record.Log(ctx, h.customer)
	if err != nil {
		return err
	}
	b := &book{log: log, fence: h.lease.Fence}
	// From here on nobody writes who had the stream before, so that what is read now is what there is.
	state := store.StreamState{}
	if _, err = log.Append(ctx, b.fence, store.Append{}); err == nil {
		state, err = b.load(ctx)
	}
	if err != nil {
		_ = log.Close()
		return err
	}
	before := b.memo.Sent
	for _, c := range state.Channels {
		if state.Position == "" && c.Sequence > 0 {
			before = sent{Open: mostRequests} // nothing says what was sent
		}
	}
	b.limit = newLimit(mostRequests, before, time.Now())
	h.lasts = maps.Clone(b.memo.Last)
	if h.lasts == nil {
		h.lasts = map[string]Request{}
	}
	h.book = b
	return nil
}

func (h *held) current() (s store.Stream, err error) {
	err = asks(h.ctx, func(ctx context.Context) error {
		s, err = h.m.cfg.Record.Stream(ctx, h.customer)
		return err
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.as, h.failed = s.UpdatedAt, false
	return s, err
}

// period reads and sends a stream as it is set up now. It returns true when it is set up in another way, and false when there
// is no more to do.
func (h *held) period(s store.Stream) (again bool) {
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	secret, err := h.m.secret(s)
	if err != nil {
		h.fail(ctx, fault.From(err))
		return false
	}
	h.book.limit.set(s.RequestsPerMinute)
	state, _, _, err := h.book.state(ctx)
	if err != nil {
		h.warn("the state of a stream cannot be read, which is tried again", err)
		sleep(ctx, firstPause)
		return true
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var all sync.WaitGroup
		defer all.Wait()
		for _, channel := range s.Channels {
			out := &sender{held: h, stream: s, channel: channel, secret: config.NewSecret(secret.Reveal()), sealer: newSealer(h.m.cfg.Key, h.customer),
				wake: h.waits[channel], acknowledged: state.Channels[channel].Acknowledged}
			all.Go(func() { out.run(ctx) })
		}
		all.Go(func() { (&reader{held: h, stream: s, sealer: newSealer(h.m.cfg.Key, h.customer)}).run(ctx) })
		all.Go(func() { h.watch(ctx, s) })
	}()
	select {
	case <-ended:
		return false
	case <-h.changed:
		cancel()
		<-ended
		return true
	}
}

// lagEvery is how often it is told how far a stream is behind.
const lagEvery = 5 * time.Second

// watch tells from time to time how far the stream is behind, until it ends, or stands with nothing left to send.
func (h *held) watch(ctx context.Context, s store.Stream) {
	for ctx.Err() == nil {
		stands := h.stands()
		state, _, _, err := h.book.state(ctx)
		waiting := int64(0)
		for _, channel := range s.Channels {
			c := state.Channels[channel]
			waiting += c.Waiting
			if err == nil {
				h.m.cfg.Observer.Lag(h.customer, channel, c.Sequence-c.Acknowledged, c.OldestAt)
			}
		}
		if err == nil && stands && waiting == 0 {
			return
		}
		sleep(ctx, lagEvery)
	}
}

// fail notes that the stream does not go on by itself. What waits is sent yet.
func (h *held) fail(ctx context.Context, f *fault.Fault) {
	h.m.cfg.Observer.Failed(h.customer, f.Code)
	h.warn("a stream stands, until somebody enables it again", f)
	audit := store.Audit{At: time.Now(), Who: "service", What: "data_stream.failed", Customer: h.customer, From: h.m.cfg.Holder, Outcome: f.Code}
	for ctx.Err() == nil {
		err := asks(ctx, func(ctx context.Context) error {
			return h.m.cfg.Record.FailStream(ctx, h.lease, h.m.shown(f), audit)
		})
		if err == nil {
			break
		}
		if fault.Is(err, store.CodeStreamLost) {
			h.lose()
			return
		}
		sleep(ctx, firstPause)
	}
	h.mu.Lock()
	h.failed = true
	h.mu.Unlock()
	h.tellSenders()
}

// stands reports whether nothing is read any more.
func (h *held) stands() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

func (h *held) tellSenders() {
	for _, w := range h.waits {
		wake(w)
	}
}

// answered keeps the last request of a channel, and remember puts those of all channels into the memo.
func (h *held) answered(channel string, r Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.At = r.At.UTC().Truncate(time.Millisecond)
	h.lasts[channel] = r
}

func (h *held) remember(m *memo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m.Last = maps.Clone(h.lasts)
}

// keep renews the lease until the stream ends here.
func (h *held) keep() {
	for h.ctx.Err() == nil {
		sleep(h.ctx, renewEvery)
		if h.ctx.Err() != nil {
			return
		}
		for h.ctx.Err() == nil && h.renew() != nil {
			sleep(h.ctx, time.Second)
		}
	}
}

func (h *held) renew() error {
	ctx, cancel := context.WithTimeout(h.ctx, recordTimeout)
	defer cancel()
	began := time.Now()
	_, err := h.m.cfg.Record.RenewStream(ctx, h.lease)
	switch {
	case fault.Is(err, store.CodeStreamLost):
		h.lose()
	case err == nil:
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.expiry.Stop() {
			h.expiry.Reset(store.StreamLeaseTime - time.Since(began))
		}
	}
	return err
}

// lose ends a stream that somebody else may have by now, or that was disabled.
func (h *held) lose() {
	h.mu.Lock()
	h.expiry.Stop()
	h.mu.Unlock()
	h.stop(store.LostStream(h.lease))
}

// release gives the lease back, also where it seems to be lost: one that is another's by now is left alone.
func (h *held) release() {
	h.mu.Lock()
	h.expiry.Stop()
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	if err := h.m.cfg.Record.ReleaseStream(ctx, h.lease); err != nil {
		h.warn("a stream was not given back; its lease runs out", err)
	}
}

// warn tells operators of what should not be, without anything of what is stored.
func (h *held) warn(message string, err error, more ...any) {
	f := fault.From(err)
	attributes := []any{"customer", h.customer, "code", f.Code}
	if own(f) {
		attributes = append(attributes, "cause", f.Message)
	}
	h.m.cfg.Log.Warn(message, append(attributes, more...)...)
}

// own reports whether a fault is one of a stream's own, whose texts hold nothing of what customers store.
func own(f *fault.Fault) bool { return strings.HasPrefix(f.Code, "changes.") }

// mostText bounds the texts of faults that are kept, in bytes.
const mostText = 2 << 10

// shown is what is kept of a fault, and told to customers.
func (m *Manager) shown(f *fault.Fault) store.StreamFault {
	s := store.StreamFault{Code: f.Code, Message: f.Message, Hint: f.Hint, At: time.Now().UTC().Truncate(time.Millisecond)}
	switch {
	case own(f):
	case m.cfg.Public != nil:
		_, s.Message, s.Hint = m.cfg.Public(f)
	default:
		s.Message, s.Hint = "the stream has failed with "+f.Code, ""
	}
	s.Message, s.Hint = cut(s.Message), cut(s.Hint)
	return s
}

func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), mostText)], "")
}

// logTimeout is how long a change of a stream's own database may take.
const logTimeout = 30 * time.Second

// asks has the record asked something, in time.
func asks(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	return ask(ctx)
}

// await waits to be woken, at most for a time, and until ctx ends.
func await(ctx context.Context, woken <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-woken:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) { await(ctx, nil, d) }

// enabled reports whether a channel of a stream is.
func enabled(s store.Stream, channel string) bool { return slices.Contains(s.Channels, channel) }
