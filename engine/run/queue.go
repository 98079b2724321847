package run

import (
	"log/slog"
	"slices"
	"strconv"
	"sync"
)

// queue calls the caller's function with the events, in order and in a goroutine of its own, so that a slow function
// delays neither the plugins nor the run. Of progress and of checkpoints only the newest waits. Of log lines at most
// maxQueuedLogs wait; more are dropped and counted. All other events are kept, and are few.
type queue struct {
	deliver func(Event) // nil drops everything
	ended   chan struct{}

	mu      sync.Mutex
	more    sync.Cond
	waiting []Event
	logs    int // of those that wait
	lost    int
	closed  bool
}

// maxQueuedLogs is how many log lines wait at most.
const maxQueuedLogs = 1024

// newQueue starts the goroutine, which close ends.
func newQueue(deliver func(Event)) *queue {
	q := &queue{deliver: deliver, ended: make(chan struct{})}
	q.more.L = &q.mu
	if deliver == nil {
		close(q.ended)
	} else {
		go q.run()
	}
	return q
}

// put adds an event. It never waits.
func (q *queue) put(e Event) {
	if q.deliver == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch e.(type) {
	case Progress:
		overtake[Progress](q)
	case Checkpoint:
		overtake[Checkpoint](q)
	case Log:
		if q.logs >= maxQueuedLogs {
			q.lost++
			return
		}
		q.logs++
	}
	q.waiting = append(q.waiting, e)
	q.more.Signal()
}

// overtake drops the waiting event of a type, if only progress and checkpoints were added after it: a newer one
// replaces it.
func overtake[E Progress | Checkpoint](q *queue) {
	for i := len(q.waiting) - 1; i >= 0; i-- {
		switch q.waiting[i].(type) {
		case E:
			q.waiting = slices.Delete(q.waiting, i, i+1)
			return
		case Progress, Checkpoint:
		default:
			return
		}
	}
}

// close waits until all events are delivered, and ends the goroutine. No event may be added after it.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.more.Signal()
	q.mu.Unlock()
	<-q.ended
}

func (q *queue) run() {
	defer close(q.ended)
	for {
		e, ok := q.next()
		if !ok {
			return
		}
		q.deliver(e)
	}
}

// next waits for an event. Where log lines were dropped it gives, behind those that were kept, a line that counts them.
func (q *queue) next() (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.more.Wait()
	}
	if len(q.waiting) == 0 {
		return nil, false
	}
	if q.logs == 0 && q.lost > 0 {
		line := Log{Level: int(slog.LevelWarn), Message: "log lines were dropped, because whoever receives them is slow",
			Attributes: map[string]string{"lines": strconv.Itoa(q.lost)}}
		q.lost = 0
		return line, true
	}
	e := q.waiting[0]
	if _, is := e.(Log); is {
		q.logs--
	}
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	return e, true
}
