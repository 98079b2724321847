package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// streamSide is one of two records, with what it has given of streams.
type streamSide struct {
	Store
	advance func(time.Duration)
	leases  []store.StreamLease
	logs    map[string]store.StreamLog
}

// lease is one of those that were given, or none.
func (s *streamSide) lease(customer string, n int) store.StreamLease {
	if n >= len(s.leases) {
		return store.StreamLease{Customer: customer}
	}
	return s.leases[len(s.leases)-1-n]
}

// CompareStreams does a thousand random things of streams to two records, and fails where one says or holds something else
// than the other.
func CompareStreams(t *testing.T, random *rand.Rand, a, b Opened) {
	t.Helper()
	sides := [2]*streamSide{}
	for i, o := range []Opened{a, b} {
		sides[i] = &streamSide{Store: o.Store, advance: o.Advance, logs: map[string]store.StreamLog{}}
		t.Cleanup(func() {
			for _, log := range sides[i].logs {
				if err := log.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for step := range 1000 {
		what, do := chooseStream(t.Context(), random)
		if step%4 != 0 {
			what, do = chooseLog(t.Context(), random, step)
		}
		resultA, errA := do(sides[0])
		resultB, errB := do(sides[1])
		if codeA, codeB := code(errA), code(errB); codeA != codeB {
			t.Fatalf("step %d, %s: one says %q, the other %q (%v, %v)", step, what, codeA, codeB, errA, errB)
		}
		if saysA, saysB := fmt.Sprintf("%+v", resultA), fmt.Sprintf("%+v", resultB); saysA != saysB {
			t.Fatalf("step %d, %s: one says\n  %s\nthe other\n  %s", step, what, saysA, saysB)
		}
	}
}

// chooseStream makes up something to do with what is set up of streams.
func chooseStream(ctx context.Context, random *rand.Rand) (what string, do func(*streamSide) (any, error)) {
	customer, holder, n := fmt.Sprint("c", random.IntN(3)), fmt.Sprint("h", random.IntN(2)), random.IntN(5)
	audit := store.Audit{At: noon, What: fmt.Sprint("what", n), Customer: customer}
	put := live(customer)
	put.RecordsPerRequest, put.Channels, put.Enabled = n, put.Channels[:n%3], true
	// With its fault, which has no text of its own.
	said := func(one store.Stream) any {
		why := one.Fault
		one.Fault = nil
		return fmt.Sprintf("%+v %+v", one, why)
	}
	claimed := func(s *streamSide, l store.StreamLease, ok bool, err error) (any, error) {
		if ok {
			s.leases = append(s.leases, l)
		}
		return l, err
	}
	all := []struct {
		what string
		do   func(*streamSide) (any, error)
	}{
		{"PutStream", func(s *streamSide) (any, error) { one, err := s.PutStream(ctx, put, audit); return said(one), err }},
		{"SwitchStream", func(s *streamSide) (any, error) {
			one, err := s.SwitchStream(ctx, customer, n > 0, audit)
			return said(one), err
		}},
		{"Stream", func(s *streamSide) (any, error) { one, err := s.Stream(ctx, customer); return said(one), err }},
		{"Streams", func(s *streamSide) (any, error) {
			all, err := s.Streams(ctx)
			text := ""
			for _, one := range all {
				text += fmt.Sprint(said(one))
			}
			return text, err
		}},
		{"ClaimStream", func(s *streamSide) (any, error) {
			l, ok, err := s.ClaimStream(ctx, customer, holder)
			return claimed(s, l, ok, err)
		}},
		{"ClaimStream", func(s *streamSide) (any, error) {
			l, ok, err := s.ClaimStream(ctx, customer, holder)
			return claimed(s, l, ok, err)
		}},
		{"ClaimDisabled", func(s *streamSide) (any, error) {
			l, ok, err := s.ClaimDisabled(ctx, customer, holder)
			return claimed(s, l, ok, err)
		}},
		{"RenewStream", func(s *streamSide) (any, error) { return s.RenewStream(ctx, s.lease(customer, n)) }},
		{"ReleaseStream", func(s *streamSide) (any, error) { return nil, s.ReleaseStream(ctx, s.lease(customer, n)) }},
		{"FailStream", func(s *streamSide) (any, error) {
			return nil, s.FailStream(ctx, s.lease(customer, n), store.StreamFault{Code: "code", Message: holder}, audit)
		}},
		{"SetDisabled", func(s *streamSide) (any, error) { return nil, s.SetDisabled(ctx, customer, n == 0, audit) }},
		{"AuditOf", func(s *streamSide) (any, error) { return s.AuditOf(ctx, customer, time.Time{}, 1000) }},
		{"Clock", func(s *streamSide) (any, error) { s.advance(time.Duration(n) * 3 * time.Second); return s.Clock(ctx) }},
		{"Log", func(s *streamSide) (any, error) {
			log, err := s.Log(ctx, customer)
			if err != nil {
				return nil, err
			}
			if open := s.logs[customer]; open != nil {
				if err := open.Close(); err != nil {
					return nil, err
				}
			}
			s.logs[customer] = log
			return nil, nil
		}},
	}
	one := all[random.IntN(len(all))]
	return one.what, one.do
}

// chooseLog makes up something to do with the database of a stream.
func chooseLog(ctx context.Context, random *rand.Rand, step int) (what string, do func(*streamSide) (any, error)) {
	customer, channel, kind := fmt.Sprint("c", random.IntN(2)), []string{"entities", "logs"}[random.IntN(2)], fmt.Sprint("t", random.IntN(2))
	n, most := int64(random.IntN(120)), random.IntN(12)
	fence := int64(1 + step/250 - random.IntN(20)/19) // now and then that of a holder before
	a := store.Append{Position: []string{"", fmt.Sprint("position", n)}[most%2]}
	for range random.IntN(8) {
		text := fmt.Sprint("text", random.IntN(3))
		c := store.Change{
			Channel: []string{"entities", "logs"}[random.IntN(2)], Type: fmt.Sprint("t", random.IntN(2)), ID: fmt.Sprint(random.IntN(9)),
			Deleted: random.IntN(3) == 0, Again: random.IntN(3) == 0, Same: random.IntN(3) == 0, Sealed: []byte(text),
		}
		if c.Digest = sha256.Sum256([]byte(text)); random.IntN(2) == 0 {
			c.CommittedAt = noon.Add(time.Duration(n) * time.Minute)
		}
		a.Changes = append(a.Changes, c)
	}
	all := []struct {
		what string
		do   func(*streamSide, store.StreamLog) (any, error)
	}{
		{"Append", func(_ *streamSide, l store.StreamLog) (any, error) { return l.Append(ctx, fence, a) }},
		{"Append", func(_ *streamSide, l store.StreamLog) (any, error) { return l.Append(ctx, fence, a) }},
		{"State", func(_ *streamSide, l store.StreamLog) (any, error) { return l.State(ctx) }},
		{"Waiting", func(_ *streamSide, l store.StreamLog) (any, error) { return l.Waiting(ctx, channel, n-50, most, n) }},
		{"Acknowledge", func(_ *streamSide, l store.StreamLog) (any, error) { return nil, l.Acknowledge(ctx, fence, channel, n) }},
		{"Acknowledge the last", func(_ *streamSide, l store.StreamLog) (any, error) {
			state, err := l.State(ctx)
			if err != nil {
				return nil, err
			}
			return nil, l.Acknowledge(ctx, fence, channel, state.Channels[channel].Sequence)
		}},
		{"Documents", func(_ *streamSide, l store.StreamLog) (any, error) { return l.Documents(ctx, channel, kind, n, most) }},
		{"Above", func(_ *streamSide, l store.StreamLog) (any, error) { return l.Above(ctx, channel, n) }},
		{"Again", func(_ *streamSide, l store.StreamLog) (any, error) { return l.Again(ctx, channel, most) }},
		{"Reset", func(_ *streamSide, l store.StreamLog) (any, error) { return l.Reset(ctx, fence, channel, n, false) }},
		{"Reset anew", func(_ *streamSide, l store.StreamLog) (any, error) {
			return l.Reset(ctx, fence, channel, n%20*(n%2), true)
		}},
	}
	one := all[random.IntN(len(all))]
	if one.what == "Reset anew" && random.IntN(4) > 0 {
		one = all[0]
	}
	return one.what, func(s *streamSide) (any, error) {
		log := s.logs[customer]
		if log == nil {
			return nil, nil
		}
		return one.do(s, log)
	}
}
