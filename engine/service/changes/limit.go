package changes

import (
	"context"
	"slices"
	"sync"
	"time"
)

// minute is what the limit of requests is about, with what two clocks may differ in that time, and timers be early.
const minute = time.Minute + 50*time.Millisecond

// limit keeps the requests of a stream, those of all its channels together, within a number in any sliding minute, as who
// receives them measures it. A request arrives between its beginning and its end, nobody here knows when: so one begins only a
// minute after the end of the one so many before it. Requests are spread over the minute, because a stream that sends all it
// may in the first seconds of one stands still for the rest of it.
//
// What a process before this one has sent counts as well; it stands in the record (memo).
type limit struct {
	turn chan struct{} // in the order of who waits

	mu      sync.Mutex
	most    int
	begun   time.Time // the latest one
	ended   []time.Time
	open    int
	changed chan struct{}
}

// newLimit takes what was sent before. Requests of which it is not known when they ended have ended now.
func newLimit(most int, before sent, now time.Time) *limit {
	l := &limit{turn: make(chan struct{}, 1), most: most, changed: make(chan struct{}, 1)}
	for _, s := range before.Ended {
		at := time.Unix(s[0], 0)
		if at.After(now) {
			at = now
		}
		l.ended = append(l.ended, slices.Repeat([]time.Time{at}, int(s[1]))...)
	}
	l.ended = append(l.ended, slices.Repeat([]time.Time{now}, before.Open)...)
	slices.SortFunc(l.ended, time.Time.Compare)
	return l
}

// set changes the limit.
func (l *limit) set(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
}

// begin waits until a request may be made. Where it returns without an error, end has to be called.
func (l *limit) begin(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	for {
		wait, ok := l.take(time.Now())
		if ok {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.changed: // a request has ended
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// take begins a request, or says after what time to ask again.
func (l *limit) take(now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(now)
	if pace := l.begun.Add(time.Minute / time.Duration(l.most)).Sub(now); pace > 0 {
		return pace, false
	}
	over := len(l.ended) + l.open - l.most
	switch {
	case over < 0:
		l.open++
		l.begun = now
		return 0, true
	case over < len(l.ended):
		return l.ended[over].Add(minute).Sub(now), false
	}
	return minute, false // until one ends
}

// end notes that a request has ended, whatever came of it.
func (l *limit) end() {
	l.mu.Lock()
	l.open--
	l.ended = append(l.ended, time.Now())
	l.mu.Unlock()
	wake(l.changed)
}

func (l *limit) forget(now time.Time) {
	l.ended = slices.DeleteFunc(l.ended, func(at time.Time) bool { return now.Sub(at) >= minute })
}

// sent is what is kept of the requests of the last minute: how many ended by each second of Unix time, and how many have not.
type sent struct {
	Ended [][2]int64 `json:"ended,omitempty"`
	Open  int        `json:"open,omitempty"`
}

// sent is what stands now.
func (l *limit) sent() sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(time.Now())
	s := sent{Open: l.open}
	for _, at := range l.ended {
		second := at.Unix() + 1
		if n := len(s.Ended); n > 0 && s.Ended[n-1][0] == second {
			s.Ended[n-1][1]++
			continue
		}
		s.Ended = append(s.Ended, [2]int64{second, 1})
	}
	return s
}
