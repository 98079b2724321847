package host

import (
	"context"
	"slices"
	"sync"
	"time"
)

// settleTime is how long after the last request for a process the pool waits before it starts one. In a burst of
// requests the pool so takes no processor time from the runs.
const settleTime = 100 * time.Millisecond

// mostSettling is how long the pool lacks processes at most before it starts some beside requests that follow one another
// without a pause. Each of those it finds none for would start a process anyway, so that the pool's are no more work than
// their own; and without a bound a pool that has been emptied once would stay empty for as long as requests come.
const mostSettling = 5 * settleTime

// answerTime is how long a process that stood ready may take to answer before it is handed out. One that takes longer
// is ended, and the run starts a new one.
const answerTime = time.Second

// PoolStats says what became of the processes that are started in advance, since the host
// was made.
type PoolStats struct {
	// Ready is how many stand ready now.
	Ready int
	// Started is how many were started in advance, Taken how many of them were given to a
	// run, and Ended how many were not: they died, stood still, grew too old, or their
	// plugin was changed.
	Started, Taken, Ended int
	// Own is how many starts a caller made for himself, because none stood ready.
	Own int
}

// member is a process that stands ready.
type member interface {
	// done is closed when it has ended.
	done() <-chan struct{}
	// current reports, without a call to the process, whether it is alive and would be started in the same way today:
	// its program and its grants have not changed.
	current() bool
	// answer calls the process, and fails when it does not answer.
	answer(ctx context.Context) error
	// drop ends the process, which no run has used, and returns when it is gone.
	drop()
}

// pool keeps processes that were started in advance. A caller never waits for it: when none is ready it starts a
// process itself.
//
// The pool starts one process at a time, and only while no caller starts one and settleTime has passed since the last
// request, or when it has lacked processes for mostSettling. A process that died is replaced after the next take only,
// so that a plugin that always dies is not started in a loop.
type pool struct {
	size  int           // of each plugin
	age   time.Duration // at which a process is ended
	start func(ctx context.Context, plugin string) (member, error)

	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup // starting, waiting for ends, and ending

	mu     sync.Mutex
	kept   []string             // plugins of which processes are kept, in the order of their first use
	used   map[string]time.Time // of each, its last take
	ready  map[string][]*idle   // the oldest first
	failed map[string]bool      // plugins of which a process died or did not start; not tried again before the next take
	always string               // the plugin that is kept although nobody uses it
	asked  time.Time            // when the last of them had one
	busy   int                  // callers who look for a process, or start their own
	lacks  time.Time            // since when the filler has had something to fill
	filler bool                 // somebody fills
	closed bool
	stats  PoolStats
}

// idle is a member that stands ready, and a signal for when it does no more.
type idle struct {
	member
	plugin string
	left   chan struct{} // closed when it has left the pool
}

// newPool makes a pool that begins to start processes of one plugin.
func newPool(size int, age time.Duration, always string, start func(context.Context, string) (member, error)) *pool {
	p := &pool{size: size, age: age, start: start, always: always, kept: []string{always},
		used: map[string]time.Time{}, ready: map[string][]*idle{}, failed: map[string]bool{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill()
	return p
}

// take returns a process of a plugin that lives and answers; nil when none stands ready.
// From now on the plugin is one of which processes are kept.
func (p *pool) take(ctx context.Context, plugin string) member {
	defer p.occupy()()
	for {
		i := p.pop(plugin)
		if i == nil {
			return nil
		}
		fit := isFit(ctx, i)
		p.mu.Lock()
		if fit {
			p.stats.Taken++
			p.mu.Unlock()
			return i.member
		}
		p.end(i)
		p.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// isFit reports whether a process that stood ready may be handed out.
func isFit(ctx context.Context, m member) bool {
	if !m.current() {
		return false
	}
	answering, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return m.answer(answering) == nil
}

// pop takes the oldest process of a plugin out of the pool.
func (p *pool) pop(plugin string) *idle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.kept, plugin) {
		p.kept = append(p.kept, plugin)
	}
	p.used[plugin] = time.Now()
	delete(p.failed, plugin)
	defer p.fill()
	list := p.ready[plugin]
	if len(list) == 0 {
		return nil
	}
	p.ready[plugin] = list[1:]
	close(list[0].left)
	return list[0]
}

// starting notes that a caller starts a process itself. Until it calls done the pool starts none.
func (p *pool) starting() (done func()) {
	p.mu.Lock()
	p.stats.Own++
	p.mu.Unlock()
	return p.occupy()
}

// occupy keeps the pool from starting anything until free is called.
func (p *pool) occupy() (free func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.busy--
		p.asked = time.Now()
	}
}

// fill starts a goroutine that starts what is missing, unless there is one. The caller holds the lock.
func (p *pool) fill() {
	if p.filler || p.closed || p.short() == "" {
		return
	}
	p.filler, p.lacks = true, time.Now()
	p.work.Go(p.filling)
}

// short returns a plugin of which too few processes are ready, or "" when there is none. The caller holds the lock.
func (p *pool) short() string {
	for _, plugin := range p.kept {
		if len(p.ready[plugin]) < p.size && !p.failed[plugin] {
			return plugin
		}
	}
	return ""
}

// filling starts one process after the other until none is missing.
func (p *pool) filling() {
	for {
		p.mu.Lock()
		plugin := p.short()
		if plugin == "" || p.closed {
			p.filler = false
			p.mu.Unlock()
			return
		}
		quiet := settleTime - time.Since(p.asked)
		if p.busy > 0 {
			quiet = settleTime
		}
		quiet = min(quiet, mostSettling-time.Since(p.lacks))
		p.mu.Unlock()
		if quiet > 0 {
			select {
			case <-time.After(quiet):
			case <-p.ctx.Done():
			}
			continue
		}
		m, err := p.start(p.ctx, plugin)
		p.mu.Lock()
		switch {
		case err != nil:
			p.failed[plugin] = true // whoever needs one hears why
		case p.closed:
			p.mu.Unlock()
			m.drop()
			continue
		default:
			i := &idle{member: m, plugin: plugin, left: make(chan struct{})}
			p.ready[plugin] = append(p.ready[plugin], i)
			p.stats.Started++
			p.work.Go(func() { p.watch(i) })
		}
		p.mu.Unlock()
	}
}

// watch ends a process that dies while it stands ready, or grows too old.
func (p *pool) watch(i *idle) {
	old := time.NewTimer(p.age)
	defer old.Stop()
	died := false
	select {
	case <-i.left:
		return
	case <-p.ctx.Done():
		return // close ends it
	case <-i.done():
		died = true
	case <-old.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.Index(p.ready[i.plugin], i)
	if at < 0 || p.closed {
		return
	}
	p.ready[i.plugin] = slices.Delete(p.ready[i.plugin], at, at+1)
	if died {
		p.failed[i.plugin] = true
	} else if i.plugin != p.always && time.Since(p.used[i.plugin]) >= p.age {
		p.kept = slices.DeleteFunc(p.kept, func(plugin string) bool { return plugin == i.plugin })
	}
	p.end(i)
	p.fill()
}

// end ends a process that is not handed out, without waiting for it. The caller holds the lock.
func (p *pool) end(i *idle) {
	p.stats.Ended++
	p.work.Go(i.drop)
}

// close ends all that stand ready, and returns when they are gone.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.stop()
	for plugin, list := range p.ready {
		for _, i := range list {
			p.end(i)
		}
		delete(p.ready, plugin)
	}
	p.mu.Unlock()
	p.work.Wait()
}

// count is what became of the processes so far.
func (p *pool) count() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	for _, list := range p.ready {
		s.Ready += len(list)
	}
	return s
}
