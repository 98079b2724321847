package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a process that stands ready.
type fake struct {
	number  int
	ended   chan struct{}
	broken  bool // it is not current
	silent  bool // it does not answer
	closing sync.Once
	closed  chan struct{}
}

func (f *fake) done() <-chan struct{} { return f.ended }
func (f *fake) current() bool {
	select {
	case <-f.ended:
		return false
	default:
		return !f.broken
	}
}
func (f *fake) answer(ctx context.Context) error {
	if f.silent {
		<-ctx.Done()
	}
	return ctx.Err()
}
func (f *fake) drop() { f.closing.Do(func() { close(f.closed) }) }

// fakes starts fakes, each of which takes startTime.
type fakes struct {
	*pool
	mu      sync.Mutex
	all     []*fake
	plugins []string
	given   []*fake // to who asked, who closes them
	fails   bool
}

const (
	startTime = 2 * settleTime
	poolAge   = time.Hour
	always    = "own"
)

func newFakes(t *testing.T, size int) *fakes {
	f := &fakes{}
	f.pool = newPool(size, poolAge, always, f.begin)
	t.Cleanup(func() {
		f.close()
		for _, m := range f.all {
			select {
			case <-m.closed:
			default:
				if !slices.Contains(f.given, m) {
					t.Errorf("process %d is left", m.number)
				}
			}
		}
	})
	pass(time.Minute) // it is filled
	return f
}

func (f *fakes) begin(ctx context.Context, plugin string) (member, error) {
	select {
	case <-time.After(startTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plugins = append(f.plugins, plugin)
	if f.fails {
		return nil, errors.New("no")
	}
	m := &fake{number: len(f.all), ended: make(chan struct{}), closed: make(chan struct{})}
	f.all = append(f.all, m)
	return m, nil
}

// get takes as Host.Start does, and says which process it was; -1 is one of the caller's own.
func (f *fakes) get(t *testing.T, plugin string) int {
	if m, is := f.take(t.Context(), plugin).(*fake); is {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.given = append(f.given, m)
		return m.number
	}
	defer f.starting()()
	time.Sleep(startTime)
	return -1
}

// begun are the plugins whose start was tried, and nth is the process that came of one.
func (f *fakes) begun() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.plugins)
}

func (f *fakes) nth(i int) *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[i]
}

// fail makes all further starts fail, or not.
func (f *fakes) fail(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = yes
}

func (f *fakes) expect(t *testing.T, want PoolStats) {
	t.Helper()
	if got := f.count(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// pass lets time of the bubble pass, and what is due then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// inBubble runs a test in a synctest bubble, with a name.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}

// TestPoolBurst: of eight who come at once two find a process, the others start their own
// at once, and nothing is started beside them.
func TestPoolBurst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakes(t, 2)
		f.expect(t, PoolStats{Ready: 2, Started: 2})
		began := time.Now()
		var burst sync.WaitGroup
		for range 8 {
			burst.Go(func() { f.get(t, always) })
		}
		burst.Wait()
		if took := time.Since(began); took != startTime {
			t.Errorf("it took %v, and one start takes %v", took, startTime)
		}
		f.expect(t, PoolStats{Started: 2, Taken: 2, Own: 6})
		pass(settleTime - 1)
		f.expect(t, PoolStats{Started: 2, Taken: 2, Own: 6})
		pass(time.Second)
		f.expect(t, PoolStats{Ready: 2, Started: 4, Taken: 2, Own: 6})
	})
}

// TestPoolRefills: whoever takes one is followed by another, when all is quiet.
func TestPoolRefills(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakes(t, 2)
		if got := f.get(t, always); got != 0 {
			t.Errorf("it was given process %d", got)
		}
		pass(settleTime + startTime)
		synctest.Wait()
		f.expect(t, PoolStats{Ready: 2, Started: 3, Taken: 1})
	})
}

// TestPoolWithoutPause: requests that follow one another, with less than settleTime between them, find
// a process ready again and again. Until mostSettling after the first of them nothing is started beside them, as in a burst.
func TestPoolWithoutPause(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakes(t, 2)
		began := time.Now()
		request := func() {
			f.get(t, always)
			time.Sleep(settleTime / 4)
		}
		for time.Since(began) < mostSettling {
			request()
		}
		early := f.count()
		if early.Taken != 2 || early.Started != 2 || early.Own == 0 {
			t.Errorf("after %v: %+v", mostSettling, early)
		}
		const more = 40
		for range more {
			request()
		}
		// Of two requests one waits for its own start, meanwhile the pool makes one for the next.
		if late := f.count(); late.Taken-early.Taken < more*2/5 || late.Taken+late.Own != early.Taken+early.Own+more {
			t.Errorf("of %d more requests: %+v, before them %+v", more, late, early)
		}
	})
}

// TestPoolDead: what has died, stands still, does not answer, or would not be started so
// today is never given, and nobody waits long to hear so.
func TestPoolDead(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*fake)
		waits   time.Duration
		beside  int // processes that are started while somebody waits
	}{
		"died":         {func(m *fake) { close(m.ended) }, 0, 0},
		"stands still": {func(m *fake) { m.broken = true }, 0, 0},
		"is silent":    {func(m *fake) { m.silent = true }, answerTime, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := newFakes(t, 2)
				c.happens(f.nth(0))
				began := time.Now()
				if got := f.get(t, always); got != 1 {
					t.Errorf("it was given process %d", got)
				}
				if waited := time.Since(began); waited != c.waits {
					t.Errorf("it waited %v", waited)
				}
				<-f.nth(0).closed
				f.expect(t, PoolStats{Ready: c.beside, Started: 2 + c.beside, Taken: 1, Ended: 1})
				pass(time.Minute)
				f.expect(t, PoolStats{Ready: 2, Started: 4, Taken: 1, Ended: 1})
			})
		})
	}
}

// TestPoolOfTheDying: one that dies by itself is not started again and again, but when
// somebody asks.
func TestPoolOfTheDying(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakes(t, 1)
		close(f.nth(0).ended)
		pass(poolAge)
		f.expect(t, PoolStats{Started: 1, Ended: 1})
		if got := f.get(t, always); got != -1 {
			t.Errorf("it was given process %d", got)
		}
		f.fail(true)
		pass(poolAge)
		if n := len(f.begun()); n != 2 {
			t.Errorf("one that does not start was started %d times", n-1)
		}
		f.fail(false)
		f.get(t, always)
		pass(time.Second)
		if got := f.get(t, always); got != 1 {
			t.Errorf("it was given process %d", got)
		}
	})
}

// TestPoolAge: a process that has grown old is ended. One of this program is replaced, one
// of another plugin only when that was used since.
func TestPoolAge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const other = "other"
		f := newFakes(t, 1)
		if got := f.get(t, other); got != -1 {
			t.Errorf("a plugin that nobody had used gave process %d", got)
		}
		pass(poolAge / 2)
		if !slices.Equal(f.begun(), []string{always, other}) {
			t.Errorf("it started %v", f.begun())
		}
		if got := f.get(t, other); got != 1 {
			t.Errorf("it was given process %d", got)
		}
		pass(poolAge/2 + time.Second) // the first one is old
		<-f.nth(0).closed
		f.expect(t, PoolStats{Ready: 2, Started: 4, Taken: 1, Ended: 1, Own: 1})
		pass(poolAge) // the other, unused, is old as well, and the second of this program
		f.expect(t, PoolStats{Ready: 1, Started: 5, Taken: 1, Ended: 3, Own: 1})
		if last := f.begun()[len(f.begun())-1]; last != always {
			t.Errorf("%s was replaced, though nobody uses it", last)
		}
	})
}

// TestPoolClose: what is being started when the pool is closed is gone too.
func TestPoolClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakes(t, 2)
		f.get(t, always)
		pass(settleTime + startTime/2)
		f.close()
		f.close()
		if got := f.count(); got.Ready != 0 {
			t.Errorf("%d are ready after the end", got.Ready)
		}
		<-f.nth(1).closed
	})
}
