package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// claims takes so many jobs, and says which.
func (s *suite) claims(n int) (ids []string) {
	s.Helper()
	for range n {
		j, _ := s.claim()
		ids = append(ids, j.ID)
	}
	return ids
}

func (s *suite) claimNothing() {
	s.idle()
	s.create(order("a", "c"))
	s.claim()
	s.idle()
}

// fairShares: the customer with the fewest that run is next, and of those with as many the one served longest ago.
func (s *suite) fairShares() {
	for i := range 6 {
		s.create(order(fmt.Sprint("a", i), "c"))
	}
	s.create(order("b0", "d"))
	s.create(order("b1", "d"))
	s.equal(s.claims(8), []string{"a0", "b0", "a1", "b1", "a2", "a3", "a4", "a5"})
}

// fairInTurn: also when none of theirs runs.
func (s *suite) fairInTurn() {
	for i := range 3 {
		for _, customer := range []string{"c", "d", "e"} {
			s.create(order(fmt.Sprint(customer, i), customer))
		}
	}
	var got []string
	for range 9 {
		j, lease := s.claim()
		s.end(lease, store.JobCompleted)
		got = append(got, j.ID)
	}
	s.equal(got, []string{"c0", "d0", "e0", "c1", "d1", "e1", "c2", "d2", "e2"})
}

// fairToTheNew: a customer whose jobs run from the beginning has had its share.
func (s *suite) fairToTheNew() {
	held := order("held", "c")
	held.Holder = "api"
	s.create(held)
	s.create(order("a", "c"))
	s.create(order("b", "d"))
	s.equal(s.claims(2), []string{"b", "a"})
}

// fairToOne: whoever has one job waits for none of another's many.
func (s *suite) fairToOne() {
	const many, of = 1024, 16
	ctx := s.Context()
	var wg sync.WaitGroup
	for g := range of {
		wg.Go(func() {
			for i := range many / of {
				if _, _, _, err := s.store.CreateJob(ctx, order(fmt.Sprintf("%d-%d", g, i), "a")); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.claims(3)
	s.create(order("one", "z"))
	s.equal(s.claims(1), []string{"one"})
	queues, err := s.store.Queues(ctx)
	s.ok(err)
	s.equal([]int64{queues["appointments"].Queued, queues["appointments"].Running}, []int64{many - 3, 4})
}

// priorities order a customer's own jobs, and give it no more than its share.
func (s *suite) priorities() {
	for i, p := range []store.Priority{store.Normal, store.Low, store.High, store.Normal, store.High} {
		n := order(fmt.Sprint("a", i), "c")
		n.Job.Priority = p
		s.create(n)
	}
	low := order("b", "d")
	low.Job.Priority = store.Low
	s.create(low)
	s.equal(s.claims(6), []string{"a2", "b", "a4", "a0", "a3", "a1"})
}

// oldestFirst: one that was handed back is as old as it was.
func (s *suite) oldestFirst() {
	for i := range 4 {
		s.create(order(fmt.Sprint("z", 9-i), "c"))
	}
	_, lease := s.claim()
	s.equal(s.claims(1), []string{"z8"})
	s.end(lease, store.JobReturned)
	s.equal(s.claims(3), []string{"z9", "z7", "z6"})
}

// skip: what a worker cannot serve is left to others.
func (s *suite) skip() {
	ctx := s.Context()
	s.create(order("a", "c"))
	s.create(order("b", "d"))
	_, _, ok, err := s.store.ClaimJob(ctx, "worker", []string{"d", "c", "x"})
	s.ok(err)
	s.equal(ok, false)
	j, _, ok, err := s.store.ClaimJob(ctx, "worker", []string{"c"})
	s.ok(err)
	s.equal([]any{ok, j.ID}, []any{true, "b"})
	s.equal(s.claims(1), []string{"a"})
}

// disabledCustomers: their jobs wait until they are in service again; those that run go on.
func (s *suite) disabledCustomers() {
	ctx := s.Context()
	s.create(order("a", "c"))
	s.create(order("a2", "c"))
	_, lease := s.claim()
	s.ok(s.store.SetDisabled(ctx, "c", true, audited("off")))
	s.create(order("b", "d"))
	s.equal(s.claims(1), []string{"b"})
	s.idle()
	_, err := s.store.RenewJob(ctx, lease, store.Progress{})
	s.ok(err)
	s.end(lease, store.JobCompleted)
	s.idle()
	s.ok(s.store.SetDisabled(ctx, "c", false, audited("on")))
	s.equal(s.claims(1), []string{"a2"})
}

// delayedManyOfOne: jobs that wait for their time are in nobody's way.
func (s *suite) delayed() {
	ctx := s.Context()
	for i := range 5 {
		s.create(order(fmt.Sprint("a", i), "c"))
	}
	for range 4 {
		_, lease := s.claim()
		_, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobRetried, Delay: time.Minute})
		s.ok(err)
	}
	s.create(order("b", "d"))
	s.equal(s.claims(2), []string{"b", "a4"})
	s.idle()
	s.advance(time.Minute)
	s.equal(s.claims(4), []string{"a0", "a1", "a2", "a3"})
}

// claimedOnce: many workers at once take each job once.
func (s *suite) claimedOnce() {
	const jobs, workers = 96, 8
	for i := range jobs {
		s.create(order(fmt.Sprint(i), fmt.Sprint("c", i%7)))
	}
	ctx := context.WithoutCancel(s.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	took := map[string]string{}
	for w := range workers {
		wg.Go(func() {
			holder := fmt.Sprint("worker ", w)
			for {
				j, lease, ok, err := s.store.ClaimJob(ctx, holder, nil)
				if err != nil {
					s.Error(err)
				}
				if err != nil || !ok {
					return
				}
				mu.Lock()
				if other, twice := took[j.ID]; twice {
					s.Errorf("%s and %s have both taken %s", other, holder, j.ID)
				}
				took[j.ID] = holder
				mu.Unlock()
				if j.Holder != holder || lease.Holder != holder {
					s.Errorf("%s was given the job of %s", holder, j.Holder)
				}
				if _, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for s.leftClaims() { // where one passed over what another was about to take
		_, lease := s.claim()
		s.end(lease, store.JobCompleted)
		took[lease.Job] = lease.Holder
	}
	s.equal(len(took), jobs)
	events, err := s.store.Outbox(s.Context(), 0, 2*jobs)
	s.ok(err)
	s.equal(len(events), jobs)
}

// leftClaims: jobs wait.
func (s *suite) leftClaims() bool {
	s.Helper()
	queues, err := s.store.Queues(s.Context())
	s.ok(err)
	return queues["appointments"].Queued > 0
}
