package datastream

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

// history is what was seen of a stream: by the recorder between service and receiver, in the receiver's copy and in the
// database. It holds what no fault may break; see faults.
type history struct {
	Organization string
	// MostDocuments is how many a request may have, and MostRequests how many may come in any minute.
	MostDocuments, MostRequests int
	// Exchanges are the requests, in the order in which they came.
	Exchanges []exchange
	// Resets are when a channel's documents were asked for again: what waited then is not sent any more.
	Resets []reset
	// Records are when the record's server was killed. What was not acknowledged then may be numbered anew, above all numbers that
	// anybody can have come to, where the one that answers is not known to be the same: above the time in microseconds.
	Records []span
	// Copy is what the receiver has in the end, and Wanted what the database has.
	Copy   map[key]kept
	Wanted map[key]string
}

// exchange is a request that came, and what became of it.
type exchange struct {
	// From is when it came, and Until when it was answered, or its sender was gone.
	From, Until           time.Time
	Channel, Organization string
	Documents             []sent
	// Form is what is wrong with its form; empty is nothing.
	Form string
	// Answered is the number that a right answer had, which may not have come to the sender; -1 is none.
	Answered int64
}

// sent is a document of a request.
type sent struct {
	Number   int64
	Type, ID string
	Deleted  bool
	Content  [sha256.Size]byte
}

// reset is one of a channel: somewhere between From and Until, when the stream was disabled.
type reset struct {
	From, Until time.Time
	Channel     string
}

// span is a time.
type span struct{ From, Until time.Time }

// minute is what a minute is at least where requests come in. How long one is on its way is not always the same.
const minute = 59 * time.Second

// faults are the ways in which a history breaks what is promised; none are good.
func (h *history) faults() (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	channels := map[string]*seen{}
	for i, e := range h.Exchanges {
		if e.Form != "" {
			say("request %d: %s", i, e.Form)
		}
		if e.Organization != h.Organization {
			say("request %d is of the organization %q", i, e.Organization)
		}
		if n := len(e.Documents); n == 0 || n > h.MostDocuments {
			say("request %d has %d documents, of at most %d", i, n, h.MostDocuments)
		}
		if first := i - h.MostRequests; first >= 0 && e.From.Sub(h.Exchanges[first].From) < minute {
			say("request %d comes %v after request %d: %d in a minute, of at most %d", i, e.From.Sub(h.Exchanges[first].From), first, h.MostRequests+1, h.MostRequests)
		}
		s := channels[e.Channel]
		if s == nil {
			s = &seen{numbers: map[int64]sent{}, latest: map[key]int64{}}
			channels[e.Channel] = s
		}
		for _, r := range h.Resets {
			if r.Channel == e.Channel && r.From.Before(e.From) && s.from.Before(r.Until) {
				s.pending = nil
			}
		}
		s.floor = 0
		for _, r := range h.Records {
			if r.From.Before(e.From) && s.from.Before(r.Until) {
				s.floor = r.From.UnixMicro()
			}
		}
		for _, fault := range s.take(e) {
			say("request %d: %s", i, fault)
		}
	}
	h.end(channels, say)
	return list
}

// seen is what came of a channel so far.
type seen struct {
	numbers      map[int64]sent
	last         int64 // the highest number
	latest       map[key]int64
	acknowledged int64
	// pending are the numbers that came and were not acknowledged, ascending.
	pending []int64
	// from is when the request before came, and until when it ended.
	from, until time.Time
	// floor is above what the request may have new numbers of documents that were not acknowledged; 0 is that it may not.
	floor int64
}

// take adds a request.
func (s *seen) take(e exchange) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if e.From.Before(s.until) {
		say("%s has it while the one before is not answered", e.Channel)
	}
	s.from, s.until = e.From, e.Until
	before, known := int64(0), s.last
	for _, d := range e.Documents {
		if d.Number <= before {
			say("%s %d stands behind %d", e.Channel, d.Number, before)
		}
		before = d.Number
		first, is := s.numbers[d.Number]
		switch {
		case is && first != d:
			say("%s %d is %s, and was %s", e.Channel, d.Number, d, first)
		case !is && d.Number <= known:
			say("%s %d is new, and %d has come", e.Channel, d.Number, known)
		case !is:
			s.numbers[d.Number] = d
			s.last = max(s.last, d.Number)
			s.latest[key{e.Channel, d.Type, d.ID}] = d.Number
			s.pending = append(s.pending, d.Number)
		}
	}
	if len(e.Documents) == 0 {
		return list
	}
	s.pending = slices.DeleteFunc(s.pending, func(n int64) bool { return n <= s.acknowledged })
	first := e.Documents[0].Number
	if s.floor > 0 && first > s.floor {
		s.pending = slices.DeleteFunc(s.pending, func(n int64) bool { return n < first })
	}
	if len(s.pending) > 0 && s.pending[0] < first {
		say("%s %d was not acknowledged, and is passed over for %d", e.Channel, s.pending[0], first)
	}
	s.acknowledged = max(s.acknowledged, e.Answered)
	return list
}

// String is a document for messages.
func (d sent) String() string {
	if d.Deleted {
		return fmt.Sprintf("%s %s deleted", d.Type, d.ID)
	}
	return fmt.Sprintf("%s %s %x", d.Type, d.ID, d.Content[:4])
}

// end holds the copy against the database, and against what was sent.
func (h *history) end(channels map[string]*seen, say func(string, ...any)) {
	most := 20 // of a kind; there are many where something is wrong
	few := func(format string, args ...any) {
		if most--; most >= 0 {
			say(format, args...)
		}
	}
	for k, want := range h.Wanted {
		switch got, is := h.Copy[k]; {
		case !is || got.Deleted:
			few("%s %s %s is in the database, and not in the copy", k.Channel, k.Type, k.ID)
		case got.Document != want:
			few("%s %s %s is %.300s in the copy, and %.300s in the database", k.Channel, k.Type, k.ID, got.Document, want)
		}
	}
	for k, got := range h.Copy {
		if _, is := h.Wanted[k]; !is && !got.Deleted {
			few("%s %s %s is in the copy, and not in the database", k.Channel, k.Type, k.ID)
		}
		if s := channels[k.Channel]; s == nil || s.latest[k] != got.Number {
			few("%s %s %s has the number %d in the copy, and was last sent with another", k.Channel, k.Type, k.ID, got.Number)
		}
	}
	if most < 0 {
		say("and %d more", -most)
	}
}
