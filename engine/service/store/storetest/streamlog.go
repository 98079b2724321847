package storetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// streamLog is the database of a stream that is set up.
func (s *suite) streamLog(customer string) store.StreamLog {
	s.Helper()
	if _, err := s.store.Stream(s.Context(), customer); err != nil {
		s.streaming(customer)
	}
	log, err := s.store.Log(s.Context(), customer)
	s.ok(err)
	s.Cleanup(func() { s.check(log.Close()) })
	return log
}

// wrote is a document of the channel entities.
func wrote(id, text string) store.Change {
	return store.Change{Channel: "entities", Type: "patient", ID: id, Digest: sha256.Sum256([]byte(text)), Sealed: []byte(text), CommittedAt: noon}
}

func deleted(id string) store.Change {
	return store.Change{Channel: "entities", Type: "patient", ID: id, Deleted: true, Sealed: []byte("gone")}
}

func (s *suite) append(log store.StreamLog, all ...store.Change) int {
	s.Helper()
	n, err := log.Append(s.Context(), 1, store.Append{Changes: all})
	s.ok(err)
	return n
}

// waits are the documents that wait, as text.
func (s *suite) waits(log store.StreamLog, channel string) (all []string) {
	s.Helper()
	waiting, err := log.Waiting(s.Context(), channel, 0, 1000, 1<<30)
	s.ok(err)
	for _, w := range waiting {
		all = append(all, fmt.Sprintf("%d %s %s %s", w.Sequence, w.Type, w.ID, w.Sealed))
	}
	return all
}

func (s *suite) channelState(log store.StreamLog, channel string) store.ChannelState {
	s.Helper()
	state, err := log.State(s.Context())
	s.ok(err)
	return state.Channels[channel]
}

// streamAppend: numbers, the index, what waits and the position are written together.
func (s *suite) streamAppend() {
	ctx := s.Context()
	log := s.streamLog("c")
	state, err := log.State(ctx)
	s.ok(err)
	s.equal(state, store.StreamState{Channels: map[string]store.ChannelState{}})

	other := wrote("a", "logged")
	other.Channel, other.CommittedAt = "logs", time.Time{}
	n, err := log.Append(ctx, 1, store.Append{Position: "p1", Changes: []store.Change{wrote("a", "one"), other, wrote("b", "two"), wrote("a", "three"), deleted("b")}})
	s.ok(err)
	s.equal(n, 5)
	s.equal(s.waits(log, "entities"), []string{"1 patient a one", "2 patient b two", "3 patient a three", "4 patient b gone"})
	waiting, err := log.Waiting(ctx, "entities", 2, 1, 1<<30)
	s.ok(err)
	s.equal(waiting, []store.Waiting{{Sequence: 3, Type: "patient", ID: "a", Sealed: []byte("three"), CommittedAt: kept(noon)}})
	waiting, err = log.Waiting(ctx, "entities", 3, 9, 1<<30)
	s.ok(err)
	s.equal(waiting, []store.Waiting{{Sequence: 4, Type: "patient", ID: "b", Deleted: true, Sealed: []byte("gone")}})
	state, err = log.State(ctx)
	s.ok(err)
	s.equal(state, store.StreamState{Position: "p1", Channels: map[string]store.ChannelState{
		"entities": {Sequence: 4, Waiting: 4, WaitingBytes: 15, OldestAt: kept(noon)},
		"logs":     {Sequence: 1, Waiting: 1, WaitingBytes: 6},
	}})
	// A position alone, and changes without one.
	_, err = log.Append(ctx, 1, store.Append{Position: "p2"})
	s.ok(err)
	s.equal(s.append(log, wrote("c", "four")), 1)
	state, err = log.State(ctx)
	s.ok(err)
	s.equal(state.Position, "p2")
	s.equal(state.Channels["entities"].Sequence, int64(5))
	// The same from another use of it, and nothing of another customer's.
	s.equal(s.waits(s.streamLog("c"), "logs"), []string{"1 patient a logged"})
	s.equal(s.waits(s.streamLog("d"), "logs"), []string(nil))
}

// streamDeletes: what was never numbered, or is deleted already, is not deleted.
func (s *suite) streamDeletes() {
	log := s.streamLog("c")
	again := deleted("a")
	again.Again = true
	s.equal(s.append(log, deleted("a"), again), 0)
	s.equal(s.append(log, wrote("a", "one"), deleted("a"), deleted("a")), 2)
	s.equal(s.append(log, deleted("a")), 0)
	s.equal(s.append(log, again), 1)
	s.equal(s.append(log, wrote("a", "one")), 1)
	s.equal(s.waits(log, "entities"), []string{"1 patient a one", "2 patient a gone", "3 patient a gone", "4 patient a one"})
	// A type is part of the name, and so is the channel.
	other := deleted("a")
	other.Type = "doctor"
	elsewhere := deleted("a")
	elsewhere.Channel = "logs"
	s.equal(s.append(log, other, elsewhere), 0)
}

// streamSame: a document that is as it was is skipped where that is asked for.
func (s *suite) streamSame() {
	log := s.streamLog("c")
	same, changed := wrote("a", "one"), wrote("a", "two")
	same.Same, changed.Same = true, true
	s.equal(s.append(log, same, same), 1)
	s.equal(s.append(log, wrote("a", "one")), 1)
	s.equal(s.append(log, same), 0)
	s.equal(s.append(log, changed, same, deleted("a"), same), 4)
	s.equal(s.channelState(log, "entities").Sequence, int64(6))
}

// streamNames: identifiers are what they are, and of any length.
func (s *suite) streamNames() {
	ctx := s.Context()
	log := s.streamLog("c")
	long := strings.Repeat("ü", 200)
	ids := []string{"", "a", "A", "a ", "ä", "a\u0308", "a\x00", `a\:b`, long, long + "x", long[:140], strings.Repeat("k", 200), strings.Repeat("k", 201)}
	var all []store.Change
	for _, id := range ids {
		all = append(all, wrote(id, "x"))
	}
	s.equal(s.append(log, all...), len(ids))
	same := all
	for i := range same {
		same[i].Same = true
	}
	s.equal(s.append(log, same...), 0)
	got, err := log.Documents(ctx, "entities", "patient", math.MaxInt64, 100)
	s.ok(err)
	s.equal(got, ids)
	waiting, err := log.Waiting(ctx, "entities", 0, 100, 1<<20)
	s.ok(err)
	for i, w := range waiting {
		s.equal(w.ID, ids[i])
	}
	for _, name := range []string{"", strings.Repeat("x", store.LongestName+1), "\xff"} {
		for _, set := range []func(*store.Change){func(c *store.Change) { c.Type = name }, func(c *store.Change) { c.Channel = name }} {
			bad := wrote("new", "x")
			set(&bad)
			_, err := log.Append(ctx, 1, store.Append{Position: "no", Changes: []store.Change{wrote("other", "x"), bad}})
			s.refused(err, store.CodeStreamDocument)
		}
	}
	_, err = log.Append(ctx, 1, store.Append{Changes: []store.Change{wrote("\xff", "x")}})
	s.refused(err, store.CodeStreamDocument)
	s.equal(s.channelState(log, "entities").Sequence, int64(len(ids)))
}

// streamFence: who has the stream no more writes nothing.
func (s *suite) streamFence() {
	ctx := s.Context()
	log, late := s.streamLog("c"), s.streamLog("c")
	one := store.Append{Position: "p", Changes: []store.Change{wrote("a", "one")}}
	_, err := log.Append(ctx, 3, one)
	s.ok(err)
	_, err = late.Append(ctx, 2, one)
	s.refused(err, store.CodeStreamLost)
	s.refused(late.Acknowledge(ctx, 2, "entities", 1), store.CodeStreamLost)
	_, err = late.Reset(ctx, 2, "entities", 0, true)
	s.refused(err, store.CodeStreamLost)
	s.ok(log.Acknowledge(ctx, 5, "entities", 0)) // changes nothing but the fence
	_, err = late.Append(ctx, 4, one)
	s.refused(err, store.CodeStreamLost)
	s.equal(s.waits(log, "entities"), []string{"1 patient a one"})
	_, err = log.Append(ctx, 5, one)
	s.ok(err)
	// A change that is refused does not count.
	s.refused(log.Acknowledge(ctx, 9, "entities", 99), store.CodeStreamSequence)
	_, err = log.Append(ctx, 5, one)
	s.ok(err)
}

// streamWaiting: what waits is taken in pieces of so many, or so many bytes.
func (s *suite) streamWaiting() {
	ctx := s.Context()
	log := s.streamLog("c")
	s.append(log, wrote("a", "12345"), wrote("b", "12345"), wrote("c", ""), wrote("d", strings.Repeat("x", 100)), wrote("e", "1"))
	for _, c := range []struct {
		after, size int64
		most        int
		want        string
	}{
		{0, 1 << 30, 9, "1 2 3 4 5"}, {0, 1 << 30, 2, "1 2"}, {0, 10, 9, "1 2 3"}, {0, 9, 9, "1"}, {0, 0, 9, "1"}, {0, -1, 9, "1"}, {2, 5, 9, "3"},
		{3, 5, 9, "4"}, {4, 5, 9, "5"}, {5, 5, 9, ""}, {99, 5, 9, ""}, {0, 100, 0, ""}, {-5, 10, 9, "1 2 3"}, {0, 110, 9, "1 2 3 4"},
	} {
		waiting, err := log.Waiting(ctx, "entities", c.after, c.most, c.size)
		s.ok(err)
		var got []string
		for _, w := range waiting {
			got = append(got, fmt.Sprint(w.Sequence))
		}
		if strings.Join(got, " ") != c.want {
			s.Errorf("%+v: %v", c, got)
		}
	}
	none, err := log.Waiting(ctx, "logs", 0, 9, 9)
	s.ok(err)
	s.equal(len(none), 0)
}

// streamAcknowledged: what the receiver has is removed, and a number that cannot be is refused.
func (s *suite) streamAcknowledged() {
	ctx := s.Context()
	log := s.streamLog("c")
	s.refused(log.Acknowledge(ctx, 1, "entities", 1), store.CodeStreamSequence)
	s.ok(log.Acknowledge(ctx, 1, "entities", 0))
	other := wrote("a", "logged")
	other.Channel = "logs"
	late := wrote("c", "three")
	late.CommittedAt = after(time.Hour)
	s.append(log, wrote("a", "one"), wrote("b", "two"), late, other)
	s.advance(time.Minute)
	s.ok(log.Acknowledge(ctx, 1, "entities", 2))
	want := store.ChannelState{
		Sequence: 3, Acknowledged: 2, AcknowledgedAt: kept(after(time.Minute)), Waiting: 1, WaitingBytes: 5, OldestAt: kept(after(time.Hour)),
	}
	s.equal(s.channelState(log, "entities"), want)
	s.equal(s.waits(log, "entities"), []string{"3 patient c three"})
	s.equal(s.waits(log, "logs"), []string{"1 patient a logged"})
	for _, wrong := range []int64{-1, 0, 1, 4} {
		s.refused(log.Acknowledge(ctx, 1, "entities", wrong), store.CodeStreamSequence)
	}
	s.advance(time.Minute)
	s.ok(log.Acknowledge(ctx, 1, "entities", 2)) // again
	s.equal(s.channelState(log, "entities"), want)
	s.ok(log.Acknowledge(ctx, 1, "entities", 3))
	s.equal(s.channelState(log, "entities"), store.ChannelState{Sequence: 3, Acknowledged: 3, AcknowledgedAt: kept(after(2 * time.Minute))})
	s.equal(s.append(log, wrote("d", "four")), 1)
	s.equal(s.waits(log, "entities"), []string{"4 patient d four"})
}

// streamDocuments: those of a type that are there, in the order of their numbers.
func (s *suite) streamDocuments() {
	ctx := s.Context()
	log := s.streamLog("c")
	other := wrote("x", "x")
	other.Type = "doctor"
	s.append(log, wrote("a", "1"), wrote("b", "1"), other, wrote("c", "1"), deleted("b"), wrote("a", "2"), wrote("d", "1"))
	ids, err := log.Documents(ctx, "entities", "patient", math.MaxInt64, 9)
	s.ok(err)
	s.equal(ids, []string{"c", "a", "d"})
	ids, err = log.Documents(ctx, "entities", "patient", 6, 9)
	s.ok(err)
	s.equal(ids, []string{"c", "a"})
	ids, err = log.Documents(ctx, "entities", "patient", 5, 9)
	s.ok(err)
	s.equal(ids, []string{"c"})
	ids, err = log.Documents(ctx, "entities", "patient", math.MaxInt64, 2)
	s.ok(err)
	s.equal(ids, []string{"c", "a"})
	ids, err = log.Documents(ctx, "logs", "patient", math.MaxInt64, 2)
	s.ok(err)
	s.equal(len(ids), 0)
	for above, want := range []int64{5, 5, 5, 4, 3, 2, 1, 0, 0} {
		n, err := log.Above(ctx, "entities", int64(above))
		s.ok(err)
		if n != want {
			s.Errorf("above %d: %d", above, n)
		}
	}
}

// left are the documents that a reset has left to read.
func (s *suite) left(log store.StreamLog, channel string, most int) (ids string) {
	s.Helper()
	all, err := log.Again(s.Context(), channel, most)
	s.ok(err)
	for _, d := range all {
		ids += d.Type[:1] + ":" + d.ID + " "
	}
	return strings.TrimSpace(ids)
}

// streamReset: what is above a number gets a new one, and nothing of it waits until then.
func (s *suite) streamReset() {
	ctx := s.Context()
	log := s.streamLog("c")
	other := wrote("x", "x")
	other.Type = "doctor"
	elsewhere := wrote("l", "logged")
	elsewhere.Channel = "logs"
	_, err := log.Append(ctx, 1, store.Append{Position: "p", Changes: []store.Change{
		wrote("a", "1"), wrote("b", "1"), other, wrote("c", "1"), deleted("b"), wrote("a", "2"), elsewhere,
	}})
	s.ok(err)
	s.equal(s.left(log, "entities", 9), "")
	s.ok(log.Acknowledge(ctx, 1, "entities", 1))
	for _, wrong := range []struct {
		above int64
		anew  bool
	}{{-1, false}, {1, true}} {
		_, err := log.Reset(ctx, 1, "entities", wrong.above, wrong.anew)
		s.refused(err, store.CodeStreamSequence)
	}
	// b was deleted by 5 and a written by 6; c has 4, and x has 3.
	n, err := log.Reset(ctx, 1, "entities", 3, false)
	s.ok(err)
	s.equal(n, int64(3))
	s.equal(s.waits(log, "entities"), []string{"2 patient b 1", "3 doctor x x"})
	s.equal(s.waits(log, "logs"), []string{"1 patient l logged"})
	state := s.channelState(log, "entities")
	s.equal([]int64{state.Sequence, state.Acknowledged, state.Waiting, state.WaitingBytes, state.ResetAbove, state.ResetUntil, state.Again},
		[]int64{6, 1, 2, 2, 3, 6, 3})
	s.equal(s.left(log, "entities", 9), "p:c p:b p:a")
	s.equal(s.left(log, "entities", 2), "p:c p:b")
	again := deleted("b")
	again.Again = true
	s.equal(s.append(log, again), 1)
	s.equal(s.left(log, "entities", 9), "p:c p:a")
	s.equal(s.channelState(log, "entities").Again, int64(2))
	// One that is skipped is left.
	same := wrote("c", "1")
	same.Same = true
	s.equal(s.append(log, same), 0)
	// Another reset while something is left, of a higher number: from the lower one on.
	n, err = log.Reset(ctx, 1, "entities", 6, false)
	s.ok(err)
	s.equal(n, int64(3))
	s.equal(s.left(log, "entities", 9), "p:c p:a p:b")
	s.equal(s.append(log, wrote("c", "1"), wrote("a", "3"), again), 3)
	s.equal(s.left(log, "entities", 9), "")
	state = s.channelState(log, "entities")
	s.equal([]int64{state.Sequence, state.ResetAbove, state.ResetUntil, state.Again}, []int64{10, 0, 0, 0})
	s.equal(s.waits(log, "entities"), []string{"2 patient b 1", "3 doctor x x", "8 patient c 1", "9 patient a 3", "10 patient b gone"})

	// Nothing above, and all of it anew.
	n, err = log.Reset(ctx, 1, "entities", 10, false)
	s.ok(err)
	s.equal(n, int64(0))
	s.equal(s.channelState(log, "entities"), state)
	whole, err := log.State(ctx)
	s.ok(err)
	s.equal(whole.Position, "p")
	n, err = log.Reset(ctx, 1, "entities", 0, true)
	s.ok(err)
	s.equal(n, int64(4))
	whole, err = log.State(ctx)
	s.ok(err)
	s.equal(whole.Position, "")
	s.equal(s.waits(log, "entities"), []string(nil))
	s.equal(s.left(log, "entities", 9), "d:x p:c p:a p:b")
	s.ok(log.Acknowledge(ctx, 1, "entities", 10)) // the receiver may have had them
	n, err = log.Reset(ctx, 1, "none", 0, false)
	s.ok(err)
	s.equal(n, int64(0))
}

// streamLarge: ten thousand changes, and documents that are large, in one piece.
func (s *suite) streamLarge() {
	ctx := s.Context()
	log := s.streamLog("c")
	const n = 10_000
	all := make([]store.Change, n)
	for i := range all {
		all[i] = wrote(fmt.Sprint(i%(n-1000)), "text")
		all[i].Type = []string{"patient", "doctor", "visit"}[i%3]
	}
	all[n/2].Sealed = bytes.Repeat([]byte{0, 255, '\''}, 1<<20)
	s.equal(s.append(log, all...), n)
	state := s.channelState(log, "entities")
	s.equal([]int64{state.Sequence, state.Waiting, state.WaitingBytes}, []int64{n, n, (n-1)*4 + 3<<20})
	waiting, err := log.Waiting(ctx, "entities", n/2-1, 3, 5<<20)
	s.ok(err)
	s.equal([]any{len(waiting), len(waiting[1].Sealed), bytes.Equal(waiting[1].Sealed, all[n/2].Sealed)}, []any{3, 3 << 20, true})
	again, err := log.Reset(ctx, 1, "entities", n/2, false)
	s.ok(err)
	documents, err := log.Again(ctx, "entities", changes.MostAgain)
	s.ok(err)
	s.equal(int64(len(documents)), again)
	s.ok(log.Acknowledge(ctx, 1, "entities", n/2))
	s.equal(s.channelState(log, "entities").Waiting, int64(0))
}

// streamAtOnce: who writes and who sends do so at once, and numbers are given once.
func (s *suite) streamAtOnce() {
	ctx := s.Context()
	const pieces, size = 20, 30
	var all sync.WaitGroup
	for writer := range 2 {
		log := s.streamLog("c")
		all.Go(func() {
			for piece := range pieces {
				var some []store.Change
				for i := range size {
					some = append(some, wrote(fmt.Sprint(writer, " ", piece, " ", i%20), "x"))
				}
				_, err := log.Append(ctx, 1, store.Append{Position: fmt.Sprint(writer, piece), Changes: some})
				s.check(err)
			}
		})
	}
	log := s.streamLog("c")
	all.Go(func() {
		for last := int64(0); last < 2*pieces*size; {
			waiting, err := log.Waiting(ctx, "entities", last, 100, 1<<20)
			s.check(err)
			if err != nil {
				return
			}
			for _, w := range waiting {
				if last++; w.Sequence != last {
					s.Errorf("%d came for %d", w.Sequence, last)
					return
				}
			}
			s.check(log.Acknowledge(ctx, 1, "entities", last))
		}
	})
	all.Wait()
	state := s.channelState(log, "entities")
	s.equal([]int64{state.Sequence, state.Acknowledged, state.Waiting, state.WaitingBytes}, []int64{2 * pieces * size, 2 * pieces * size, 0, 0})
}

// streamClosed: what is closed is closed, and what others have open is not.
func (s *suite) streamClosed() {
	ctx := s.Context()
	log, other := s.streamLog("c"), s.streamLog("c")
	s.ok(log.Close())
	s.ok(log.Close())
	_, err := log.Append(ctx, 1, store.Append{})
	s.refused(err, store.CodeClosed)
	_, err = log.State(ctx)
	s.refused(err, store.CodeClosed)
	s.equal(s.append(other, wrote("a", "one")), 1)
	s.ok(other.Close())
	s.equal(s.waits(s.streamLog("c"), "entities"), []string{"1 patient a one"})
	open := s.streamLog("c")
	s.ok(s.store.Close())
	_, err = open.State(ctx)
	s.refused(err, store.CodeClosed)
	_, err = s.store.Log(ctx, "c")
	s.refused(err, store.CodeClosed)
	_, err = s.store.Streams(ctx)
	s.refused(err, store.CodeClosed)
}
