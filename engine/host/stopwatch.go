package host

import (
	"sync"
	"sync/atomic"
	"time"
)

// stopwatch calls a function once, after a time in which this process ran and could read what its plugins say. Time in
// which the host was stopped (Ctrl-Z), frozen or starved does not count: what a plugin said then is still unread, so
// the plugin was not silent.
type stopwatch struct {
	ran  atomic.Int64 // nanoseconds since the last reset
	busy atomic.Bool
	once sync.Once
	done chan struct{}
}

// startStopwatch starts one that calls expired after limit. The caller stops it.
func startStopwatch(limit time.Duration, expired func()) *stopwatch {
	s := &stopwatch{done: make(chan struct{})}
	go func() {
		every := max(limit/20, time.Millisecond)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		last := time.Now()
		for {
			select {
			case <-s.done:
				return
			case <-ticker.C:
				now := time.Now()
				since := now.Sub(last)
				last = now
				if s.tick(since, every) > limit {
					expired()
					return
				}
			}
		}
	}()
	return s
}

// tick returns how much of the time since the last tick counts. A tick is due after every; when it comes much later,
// this process did not run in between.
func (s *stopwatch) tick(since, every time.Duration) time.Duration {
	if s.busy.Load() {
		return 0
	}
	return time.Duration(s.ran.Add(int64(min(since, 2*every))))
}

// reset starts from zero again.
func (s *stopwatch) reset() { s.ran.Store(0) }

// during calls f. The time of f does not count, and after it the stopwatch starts from zero.
func (s *stopwatch) during(f func()) {
	s.busy.Store(true)
	defer func() {
		s.reset()
		s.busy.Store(false)
	}()
	f()
}

func (s *stopwatch) stop() { s.once.Do(func() { close(s.done) }) }
