package host

import (
	"sync"
	"sync/atomic"
	"time"
)

// stopwatch calls a function once when a time has passed of which only that counts in which
// this process ran, and was ready to hear of its plugins. What a plugin said while the host
// was stopped (Ctrl-Z), frozen or starved still waits to be read, so that this is no silence.
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

// tick counts the time since the last tick. One is due every so often: in what goes much
// beyond that this process did not run.
func (s *stopwatch) tick(since, every time.Duration) time.Duration {
	if s.busy.Load() {
		return 0
	}
	return time.Duration(s.ran.Add(int64(min(since, 2*every))))
}

// reset begins from nothing again.
func (s *stopwatch) reset() { s.ran.Store(0) }

// during calls f, whose time does not count, and begins from nothing again.
func (s *stopwatch) during(f func()) {
	s.busy.Store(true)
	defer func() {
		s.reset()
		s.busy.Store(false)
	}()
	f()
}

func (s *stopwatch) stop() { s.once.Do(func() { close(s.done) }) }
