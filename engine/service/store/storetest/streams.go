package storetest

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// live is a stream as a customer sets it up.
func live(customer string) store.Stream {
	return store.Stream{
		Customer: customer, URL: "https://receiver.test/stream", Secret: []byte{0, 1, 255}, Pins: []string{"cGlu", "b3RoZXI="}, Certificate: "-----BEGIN",
		OrganizationID: "org", RecordsPerRequest: 100, RequestsPerMinute: 60, Channels: []string{"entities", "logs"}, ContentEncoding: true,
	}
}

// streaming is an enabled stream.
func (s *suite) streaming(customer string) store.Stream {
	s.Helper()
	s.putStream(live(customer))
	return s.switchStream(customer, true)
}

func (s *suite) putStream(one store.Stream) store.Stream {
	s.Helper()
	after, err := s.store.PutStream(s.Context(), one, audited("stream.put"))
	s.ok(err)
	s.equal(s.stream(one.Customer), after)
	return after
}

func (s *suite) switchStream(customer string, enabled bool) store.Stream {
	s.Helper()
	after, err := s.store.SwitchStream(s.Context(), customer, enabled, audited("stream.switch"))
	s.ok(err)
	s.equal(s.stream(customer), after)
	return after
}

func (s *suite) stream(customer string) store.Stream {
	s.Helper()
	got, err := s.store.Stream(s.Context(), customer)
	s.ok(err)
	return got
}

func (s *suite) claimStream(customer, holder string) store.StreamLease {
	s.Helper()
	l, ok, err := s.store.ClaimStream(s.Context(), customer, holder)
	s.ok(err)
	if !ok {
		s.Fatalf("the stream of %s was not given to %s", customer, holder)
	}
	return l
}

func (s *suite) notClaimed(customer, holder string) {
	s.Helper()
	l, ok, err := s.store.ClaimStream(s.Context(), customer, holder)
	s.ok(err)
	if ok || l != (store.StreamLease{}) {
		s.Fatalf("the stream of %s was given to %s: %+v", customer, holder, l)
	}
}

func (s *suite) streams() {
	ctx := s.Context()
	_, err := s.store.Stream(ctx, "c")
	s.refused(err, store.CodeUnknown)
	_, err = s.store.SwitchStream(ctx, "c", true, audited("x"))
	s.refused(err, store.CodeUnknown)
	_, _, err = s.store.ClaimStream(ctx, "c", "a")
	s.refused(err, store.CodeUnknown)
	_, _, err = s.store.ClaimDisabled(ctx, "c", "a")
	s.refused(err, store.CodeUnknown)
	_, err = s.store.Log(ctx, "c")
	s.refused(err, store.CodeUnknown)

	given := live("c")
	given.Enabled, given.Fault, given.CreatedAt = true, &store.StreamFault{Code: "x"}, noon // the record's
	got := s.putStream(given)
	want := live("c")
	want.CreatedAt, want.UpdatedAt = kept(noon), kept(noon)
	s.equal(got, want)
	got.Secret[0], got.Pins[0], got.Channels[0] = 9, "x", "x"
	s.equal(s.stream("c"), want)

	enabled := s.switchStream("c", true)
	s.equal([]any{enabled.Enabled, enabled.UpdatedAt.After(want.UpdatedAt)}, []any{true, true})
	s.equal(s.switchStream("c", true), enabled)
	other := live("c")
	other.URL, other.Pins, other.Certificate, other.Channels, other.Secret = "https://other.test/", nil, "", []string{"logs"}, nil
	s.advance(time.Minute)
	got = s.putStream(other)
	want = other
	want.Enabled, want.CreatedAt, want.UpdatedAt = true, kept(noon), kept(after(time.Minute))
	s.equal(got, want)
	s.putStream(live("b"))
	all, err := s.store.Streams(ctx)
	s.ok(err)
	s.equal(all, []store.Stream{s.stream("b"), want})
	s.switchStream("c", false)
	s.equal(s.whats(), []string{"stream.put", "stream.switch", "stream.put", "stream.put", "stream.switch"})
}

// streamLeases: one has a stream at a time, and the fence grows with every holder.
func (s *suite) streamLeases() {
	ctx := s.Context()
	s.putStream(live("c"))
	s.notClaimed("c", "a") // it is disabled
	s.switchStream("c", true)
	first := s.claimStream("c", "a")
	s.equal(first, store.StreamLease{Customer: "c", Holder: "a", Fence: first.Fence, ExpiresAt: s.now().Add(store.StreamLeaseTime)})
	s.notClaimed("c", "b")
	s.advance(store.StreamLeaseTime / 2)
	renewed, err := s.store.RenewStream(ctx, first)
	s.ok(err)
	s.equal(renewed.ExpiresAt, s.now().Add(store.StreamLeaseTime))
	s.equal(renewed.Fence, first.Fence)
	s.advance(store.StreamLeaseTime - time.Microsecond)
	s.notClaimed("c", "b")
	s.advance(time.Microsecond)
	// It is over, and nobody has it: it is the first one's still.
	_, err = s.store.RenewStream(ctx, renewed)
	s.ok(err)
	s.advance(store.StreamLeaseTime)
	second := s.claimStream("c", "b")
	if second.Fence <= first.Fence {
		s.Fatalf("the fence was %d and is %d", first.Fence, second.Fence)
	}
	_, err = s.store.RenewStream(ctx, renewed)
	s.refused(err, store.CodeStreamLost)
	s.ok(s.store.ReleaseStream(ctx, first)) // changes nothing
	s.notClaimed("c", "a")
	third := s.claimStream("c", "b") // anew
	if third.Fence <= second.Fence {
		s.Fatalf("the fence was %d and is %d", second.Fence, third.Fence)
	}
	_, err = s.store.RenewStream(ctx, second)
	s.refused(err, store.CodeStreamLost)
	s.ok(s.store.ReleaseStream(ctx, third))
	_, err = s.store.RenewStream(ctx, third)
	s.refused(err, store.CodeStreamLost)
	fourth := s.claimStream("c", "a")
	if fourth.Fence <= third.Fence {
		s.Fatalf("the fence was %d and is %d", third.Fence, fourth.Fence)
	}
}

// streamDisabled: a stream that is disabled is lost, and is another's when it was let go.
func (s *suite) streamDisabled() {
	ctx := s.Context()
	s.streaming("c")
	lease := s.claimStream("c", "a")
	_, _, err := s.store.ClaimDisabled(ctx, "c", "b")
	s.refused(err, store.CodeStreamEnabled)
	s.switchStream("c", false)
	_, err = s.store.RenewStream(ctx, lease)
	s.refused(err, store.CodeStreamLost)
	s.refused(s.store.FailStream(ctx, lease, store.StreamFault{Code: "x"}, audited("x")), store.CodeStreamLost)
	s.notClaimed("c", "b")
	_, ok, err := s.store.ClaimDisabled(ctx, "c", "b")
	s.ok(err)
	s.equal(ok, false) // the first one may still write
	s.ok(s.store.ReleaseStream(ctx, lease))
	reset, ok, err := s.store.ClaimDisabled(ctx, "c", "b")
	s.ok(err)
	s.equal([]any{ok, reset.Fence > lease.Fence}, []any{true, true})
	s.switchStream("c", true)
	s.notClaimed("c", "a") // it is being reset
	s.ok(s.store.ReleaseStream(ctx, reset))
	s.claimStream("c", "a")
}

// streamFault: a stream with a fault stands until it is enabled again.
func (s *suite) streamFault() {
	ctx := s.Context()
	s.streaming("c")
	lease := s.claimStream("c", "a")
	other := lease
	other.Fence--
	why := store.StreamFault{Code: "changes.position_lost", Message: "the log was purged", Hint: "reset it", At: noon.Add(time.Hour)}
	s.refused(s.store.FailStream(ctx, other, why, audited("lost")), store.CodeStreamLost)
	s.equal(s.stream("c").Fault, (*store.StreamFault)(nil))
	s.advance(time.Second)
	s.ok(s.store.FailStream(ctx, lease, why, audited("stream.fault")))
	why.At = s.now()
	got := s.stream("c")
	s.equal([]any{got.Enabled, *got.Fault}, []any{true, why})
	s.ok(s.store.ReleaseStream(ctx, lease))
	s.notClaimed("c", "a")
	_, _, err := s.store.ClaimDisabled(ctx, "c", "a")
	s.refused(err, store.CodeStreamEnabled)
	s.equal(*s.putStream(live("c")).Fault, why) // settings do not end it
	enabled := s.switchStream("c", true)
	s.equal(enabled.Fault, (*store.StreamFault)(nil))
	lease = s.claimStream("c", "a")
	s.ok(s.store.FailStream(ctx, lease, why, audited("stream.fault")))
	s.ok(s.store.ReleaseStream(ctx, lease))
	s.equal(s.switchStream("c", false).Fault == nil, false) // one can see why it stood
	_, ok, err := s.store.ClaimDisabled(ctx, "c", "a")
	s.ok(err)
	s.equal(ok, true)
	s.equal(s.whats(), []string{"stream.put", "stream.switch", "stream.fault", "stream.put", "stream.switch", "stream.fault", "stream.switch"})
}

// streamOutOfService: the stream of a customer that is out of service is nobody's.
func (s *suite) streamOutOfService() {
	ctx := s.Context()
	s.streaming("c")
	lease := s.claimStream("c", "a")
	s.ok(s.store.SetDisabled(ctx, "c", true, audited("x")))
	_, err := s.store.RenewStream(ctx, lease)
	s.refused(err, store.CodeStreamLost)
	s.ok(s.store.ReleaseStream(ctx, lease))
	s.notClaimed("c", "a")
	s.ok(s.store.SetDisabled(ctx, "c", false, audited("x")))
	s.claimStream("c", "a")
}

// streamClaimedByMany: of many that ask at once, one has it.
func (s *suite) streamClaimedByMany() {
	s.streaming("c")
	var given atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			_, ok, err := s.store.ClaimStream(s.Context(), "c", "holder "+strconv.Itoa(i))
			s.check(err)
			if ok {
				given.Add(1)
			}
		})
	}
	all.Wait()
	s.equal(given.Load(), int32(1))
}

// check is ok for other goroutines than the test's.
func (s *suite) check(err error) {
	s.Helper()
	if err != nil {
		s.Error(err)
	}
}
