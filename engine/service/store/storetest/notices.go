package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// notices: a customer is told once in a time of what has a name, whoever tells it.
func (s *suite) notices() {
	ctx := s.Context()
	told := func(customer, name string) bool {
		s.Helper()
		put, err := s.store.PutNotice(ctx, store.OutboxEvent{Customer: customer, Event: store.EventRateLimit, Data: []byte(`{"policy":"` + name + `"}`)}, name, time.Hour)
		s.ok(err)
		return put
	}
	s.equal([]bool{told("c", "polling"), told("c", "polling"), told("c", "downloads"), told("d", "polling")}, []bool{true, false, true, true})
	s.advance(time.Hour - time.Microsecond)
	s.equal(told("c", "polling"), false)
	s.advance(time.Microsecond)
	s.equal([]bool{told("c", "polling"), told("c", "polling")}, []bool{true, false})
	var puts atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			put, err := s.store.PutNotice(ctx, store.OutboxEvent{Customer: "e", Event: store.EventRateLimit}, "polling", time.Hour)
			s.ok(err)
			if put {
				puts.Add(1)
			}
		})
	}
	all.Wait()
	s.equal(puts.Load(), int32(1))
	events, err := s.store.Outbox(ctx, 0, 100)
	s.ok(err)
	var got []string
	for _, e := range events {
		got = append(got, e.Customer+" "+e.Event+" "+string(e.Data))
	}
	s.equal(got, []string{`c api.rate_limit {"policy":"polling"}`, `c api.rate_limit {"policy":"downloads"}`, `d api.rate_limit {"policy":"polling"}`, `c api.rate_limit {"policy":"polling"}`, "e api.rate_limit "})
}
