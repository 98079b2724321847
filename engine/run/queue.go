package run

import (
	"log/slog"
	"slices"
	"strconv"
	"sync"
)

// queue hands events to the caller's function in a goroutine of its own, in order, so that a slow one holds nothing up:
// neither what a plugin says nor the run. It grows with what must be heard; progress and checkpoints are coalesced, only the newest
// of each waits, and beyond maxQueuedLogs log lines are dropped and counted.
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

// maxQueuedLogs is how many log lines wait for a function that is slow.
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

// put never waits.
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

// overtake drops an event of a sort of which one waits at the end, behind which nothing came but what is coalesced too.
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

// close delivers what waits and ends the goroutine. No event may come afterwards.
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

// next waits for an event. Where lines were dropped, one that counts them comes after those that waited.
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
