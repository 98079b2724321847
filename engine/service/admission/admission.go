// Package admission says who may begin, and when: how many streams a customer has at once, how often a key may ask, and
// whose turn it is for the memory that all runs of the process share. It owns no run: whoever is admitted gives back
// what it has when its run is over.
//
// Memory is shared out in turn: of the customers that wait, the one that was served longest ago is next, with the
// request that it made first. Nobody overtakes, whatever fits: so a large request gets its memory too, and a customer
// with one request waits for no more than one of each other customer.
package admission

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of what is refused. Each but CodeTooLarge, which never passes, has the detail DetailRetryAfter.
const (
	// CodeStreamsBusy is the code of a customer that has as many streams as it may have at once.
	CodeStreamsBusy = "admission.streams_busy"
	// CodeLoaded is the code of a run that did not get its memory in time.
	CodeLoaded = "admission.loaded"
	// CodeTooLarge is the code of a run that needs more memory than there is for all.
	CodeTooLarge = "admission.too_large"
	// CodeRateLimited is the code of a key, or an address, that has made as many requests as it may.
	CodeRateLimited = "admission.rate_limited"
)

// DetailRetryAfter is the detail of a fault that says after how many whole seconds it may be tried again.
const DetailRetryAfter = "retry_after_seconds"

// Config is what a controller is made of.
type Config struct {
	Limits
	// Keys is of how many keys a policy knows at most what they have asked. Beyond that, the key that has not asked for
	// longest has its whole quota again. Default 65,536.
	Keys int
	// Now is the clock of the rates. Default time.Now.
	Now func() time.Time
}

// Limits are what there is to be shared. They may change while requests are admitted.
type Limits struct {
	// Memory is how many bytes all runs together may need; see (*engine.Engine).Memory. 0 is no limit.
	Memory int64
	// Streams is how many streams a customer may have at once, those that wait included. Default 10.
	Streams int
	// Rates are the quotas by policy. A policy that is not named, or whose rate is 0, has none.
	Rates map[Policy]Rate
	// MaxWait is how long a run waits for memory. Default 5 seconds.
	MaxWait time.Duration
}

// withDefaults are the limits with what is left out.
func (l Limits) withDefaults() Limits {
	l.Streams = cmp.Or(l.Streams, 10)
	l.MaxWait = cmp.Or(l.MaxWait, 5*time.Second)
	if l.Memory <= 0 {
		l.Memory = math.MaxInt64
	}
	return l
}

// Controller is safe for concurrent use.
type Controller struct {
	keys  int
	now   func() time.Time
	rates atomic.Pointer[map[Policy]*buckets] // the map is not changed

	mu        sync.Mutex // guards what follows
	limits    Limits
	customers map[string]*customer
	turn      []*customer // those that have somebody waiting; the first one is next
	used      int64
	running   int
	waiting   int
	pace      time.Duration // how long runs have taken of late
}

// customer is one that has streams.
type customer struct {
	streams int // those that wait included
	jobs    int // likewise
	queue   []*request
}

type request struct {
	memory  int64
	granted chan struct{} // closed when it has its memory, or was refused
	refused error         // set before granted is closed
	job     bool          // of Controller.mu once it has entered, as left is
	left    bool
}

// New makes a controller.
func New(cfg Config) *Controller {
	c := &Controller{keys: cmp.Or(cfg.Keys, 1<<16), now: cfg.Now, customers: map[string]*customer{}}
	if c.now == nil {
		c.now = time.Now
	}
	c.rates.Store(&map[Policy]*buckets{})
	c.Change(cfg.Limits)
	return c
}

// Change takes other limits into effect. What was admitted keeps what it has, and keys what they have asked; a request that waits
// for more memory than there is now for all is refused.
func (c *Controller) Change(to Limits) {
	to = to.withDefaults()
	c.mu.Lock()
	defer c.mu.Unlock()
	rates, now := map[Policy]*buckets{}, c.now()
	for policy, rate := range to.Rates {
		if rate.Quota <= 0 || rate.Window <= 0 {
			continue
		}
		switch b := (*c.rates.Load())[policy]; {
		case b == nil:
			rates[policy] = newBuckets(rate, c.keys)
		case b.rate == rate:
			rates[policy] = b
		default:
			rates[policy] = b.at(rate, now)
		}
	}
	c.rates.Store(&rates)
	c.limits = to
	for name, of := range c.customers {
		for _, r := range slices.Clone(of.queue) {
			if r.memory > to.Memory {
				r.refused = tooLarge(r.memory, to.Memory)
				c.remove(name, r)
				close(r.granted)
			}
		}
	}
	c.serve()
}

// Stream takes one of the customer's streams, of which it may have so many at once (0 is the default), and so many bytes of
// memory. Release gives both back and may be called more than once.
//
// A customer that has all its streams is refused at once. For memory Stream waits, MaxWait at most. When ctx ends first,
// its cause is the error, and nothing is taken.
func (c *Controller) Stream(ctx context.Context, name string, streams int, memory int64) (release func(), err error) {
	return c.admit(ctx, name, streams, &request{memory: memory})
}

// StreamOrJob is Stream of a run that may go on as a job: becomeJob frees its stream for another one, and leaves it its memory.
func (c *Controller) StreamOrJob(ctx context.Context, name string, streams int, memory int64) (release, becomeJob func(), err error) {
	r := &request{memory: memory}
	if release, err = c.admit(ctx, name, streams, r); err != nil {
		return nil, nil, err
	}
	return release, func() { c.becomeJob(name, r) }, nil
}

// Job takes so many bytes of memory for a job of the customer's, which is no stream of it and takes turns with them. It
// waits as long as ctx lasts. All else is as with Stream.
func (c *Controller) Job(ctx context.Context, name string, memory int64) (release func(), err error) {
	return c.admit(ctx, name, 0, &request{memory: memory, job: true})
}

// admit waits until a request has what it needs.
func (c *Controller) admit(ctx context.Context, name string, streams int, r *request) (release func(), err error) {
	r.memory = max(r.memory, 0)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	wait, err := c.enter(name, streams, r)
	if err != nil {
		return nil, err
	}
	var late <-chan time.Time
	if !r.job {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-r.granted:
	case <-ctx.Done():
		if !c.withdraw(name, r) && r.refused == nil {
			c.leave(name, r)
		}
		return nil, context.Cause(ctx)
	case <-late:
		if c.withdraw(name, r) {
			return nil, c.late(wait)
		}
	}
	if r.refused != nil {
		return nil, r.refused
	}
	began := c.now()
	var once sync.Once
	return func() {
		once.Do(func() {
			c.learn(r, c.now().Sub(began))
			c.leave(name, r)
		})
	}, nil
}

func tooLarge(memory, all int64) error {
	return fault.New(CodeTooLarge, fault.Usage, "a run needs %d MiB of memory, and all runs together may have %d MiB",
		mebibytes(memory), all>>20).WithHint("give all runs more, or this one less: a smaller limits.memory")
}

// mebibytes rounds up, so that what is too large looks so.
func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// enter takes a stream, unless it is for a job, and stands in line for the memory, which may be granted at once, and is
// waited for so long.
func (c *Controller) enter(name string, streams int, r *request) (wait time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.memory > c.limits.Memory {
		return 0, tooLarge(r.memory, c.limits.Memory)
	}
	streams = cmp.Or(streams, c.limits.Streams)
	of := c.customers[name]
	if of == nil {
		of = &customer{}
	}
	if !r.job && of.streams >= streams {
		return 0, c.retry(fault.New(CodeStreamsBusy, fault.Cancelled, "the customer has all of its %d streams", streams), streams)
	}
	c.customers[name] = of
	if r.job {
		of.jobs++
	} else {
		of.streams++
	}
	r.granted = make(chan struct{})
	of.queue = append(of.queue, r)
	if len(of.queue) == 1 {
		c.turn = append(c.turn, of)
	}
	c.waiting++
	c.serve()
	return c.limits.MaxWait, nil
}

// serve grants memory to those whose turn it is. The caller holds the lock.
func (c *Controller) serve() {
	for len(c.turn) > 0 {
		of := c.turn[0]
		r := of.queue[0]
		if r.memory > c.limits.Memory-c.used {
			return
		}
		c.used += r.memory
		c.waiting--
		if !r.job {
			c.running++
		}
		close(r.granted)
		of.queue = of.queue[1:]
		c.turn = c.turn[1:]
		if len(of.queue) > 0 {
			c.turn = append(c.turn, of)
		}
	}
}

// withdraw takes a request out of the line; false when it was granted.
func (c *Controller) withdraw(name string, r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.remove(name, r) {
		return false
	}
	c.serve() // those behind it may need less
	return true
}

// remove is withdraw without what follows. The caller holds the lock.
func (c *Controller) remove(name string, r *request) bool {
	of := c.customers[name]
	if of == nil || !remove(&of.queue, r) {
		return false
	}
	if len(of.queue) == 0 {
		remove(&c.turn, of)
	}
	c.waiting--
	c.drop(name, r)
	return true
}

// remove removes one element, if it is there.
func remove[T comparable](list *[]T, one T) bool {
	for i, other := range *list {
		if other == one {
			*list = append((*list)[:i:i], (*list)[i+1:]...)
			return true
		}
	}
	return false
}

// leave gives a stream, or a job's place, and its memory back.
func (c *Controller) leave(name string, r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.left = true
	c.used -= r.memory
	if !r.job {
		c.running--
	}
	c.drop(name, r)
	c.serve()
}

// becomeJob makes a stream that runs a job.
func (c *Controller) becomeJob(name string, r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.job || r.left {
		return
	}
	r.job = true
	c.running--
	of := c.customers[name]
	of.streams--
	of.jobs++
}

// drop takes a stream or a job from a customer, and forgets one that has none. The caller holds the lock.
func (c *Controller) drop(name string, r *request) {
	of := c.customers[name]
	if r.job {
		of.jobs--
	} else {
		of.streams--
	}
	if of.streams == 0 && of.jobs == 0 {
		delete(c.customers, name)
	}
}

// learn keeps how long streams take: the newest counts for an eighth.
func (c *Controller) learn(r *request, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.job {
		return
	}
	if c.pace == 0 {
		c.pace = took
	}
	c.pace += (took - c.pace) / 8
}

// late is the fault of a run that has waited as long as it may.
func (c *Controller) late(after time.Duration) *fault.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retry(fault.New(CodeLoaded, fault.Cancelled, "there was no memory for the run within %s", after), 1)
}

// retry says when it may be tried again: when one of so many runs is likely to be over, within half a minute. The caller
// holds the lock.
func (c *Controller) retry(f *fault.Fault, runs int) *fault.Fault {
	seconds := math.Ceil((c.pace / time.Duration(runs)).Seconds())
	return f.WithRetry().WithDetail(DetailRetryAfter, strconv.Itoa(int(min(max(seconds, 1), 30))))
}

// Loaded reports whether somebody waits for memory.
func (c *Controller) Loaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting > 0
}

// Stats is the state of a controller at a moment.
type Stats struct {
	// Memory is what there is, 0 without a limit, and Used what the runs have.
	Memory, Used int64
	// Streams have what they need, and Waiting wait for memory.
	Streams, Waiting int
	// Keys are those of which it is known what they have asked, of all policies.
	Keys int
}

// Stats is the state now.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	s := Stats{Memory: c.limits.Memory, Used: c.used, Streams: c.running, Waiting: c.waiting}
	c.mu.Unlock()
	if s.Memory == math.MaxInt64 {
		s.Memory = 0
	}
	for _, b := range *c.rates.Load() {
		s.Keys += b.len()
	}
	return s
}
