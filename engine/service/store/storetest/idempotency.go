package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// idempotent is a key of the request req_1.
func idempotent(key, body string) store.Idempotency {
	return store.Idempotency{Customer: "c", Route: "appointments", Key: key, Body: sha256.Sum256([]byte(body)), Request: "req_1"}
}

// post orders a job with a key, and returns its id.
func (s *suite) post(id string, i store.Idempotency) (job string, replayed bool, err error) {
	n := order(id, "c")
	n.Idempotency = &i
	j, lease, replayed, err := s.store.CreateJob(s.Context(), n)
	s.equal(lease, store.Lease{})
	return j.ID, replayed, err
}

func (s *suite) posted(id string, i store.Idempotency, wantID string, wantReplayed bool) {
	s.Helper()
	got, replayed, err := s.post(id, i)
	s.ok(err)
	s.equal([]any{got, replayed}, []any{wantID, wantReplayed})
}

func (s *suite) reserved(i store.Idempotency, want string) {
	s.Helper()
	job, err := s.store.ReserveIdempotency(s.Context(), i)
	s.ok(err)
	s.equal(job, want)
}

func (s *suite) idempotency() {
	s.posted("a", idempotent("k", "1"), "a", false)
	first := s.job("a")
	again := idempotent("k", "1")
	again.Request = "req_2"
	s.posted("b", again, "a", true)
	s.reserved(again, "a")
	s.equal(s.job("a"), first)
	_, err := s.store.Job(s.Context(), "c", "b")
	s.refused(err, store.CodeUnknown)
	_, _, err = s.post("b", idempotent("k", "2"))
	s.refused(err, store.CodeIdempotencyMismatch)
	_, err = s.store.ReserveIdempotency(s.Context(), idempotent("k", "2"))
	s.refused(err, store.CodeIdempotencyMismatch)
	s.equal(s.whats(), []string{"job.created"})
}

// idempotentApart: a key is one of a customer and a route.
func (s *suite) idempotentApart() {
	s.posted("a", idempotent("k", "1"), "a", false)
	for i, change := range []func(*store.Idempotency){
		func(i *store.Idempotency) { i.Customer = "d" },
		func(i *store.Idempotency) { i.Route = "patients" },
		func(i *store.Idempotency) { i.Key = "K" }, // capitals are others
		func(i *store.Idempotency) { i.Key = "k " },
	} {
		other := idempotent("k", "2")
		change(&other)
		n := order(fmt.Sprint("b", i), other.Customer)
		n.Idempotency = &other
		s.create(n)
	}
}

// idempotentHeld: a repeated order does not get the right to run the job.
func (s *suite) idempotentHeld() {
	n := order("a", "c")
	i := idempotent("k", "1")
	n.Idempotency, n.Holder = &i, "api"
	s.create(n)
	n.Job.ID = "b"
	j, lease, replayed, err := s.store.CreateJob(s.Context(), n)
	s.ok(err)
	s.equal([]any{j.ID, lease, replayed}, []any{"a", store.Lease{}, true})
}

// idempotentEnded: what is given back is the job as it is.
func (s *suite) idempotentEnded() {
	i := idempotent("k", "1")
	s.posted("a", i, "a", false)
	_, lease := s.claim()
	ended := s.end(lease, store.JobFailed)
	n := order("b", "c")
	n.Idempotency = &i
	j, _, replayed, err := s.store.CreateJob(s.Context(), n)
	s.ok(err)
	s.equal(replayed, true)
	s.equal(j, ended)
}

// reservation: while a request may become a job, others with its key are told to wait.
func (s *suite) reservation() {
	ours, theirs := idempotent("k", "1"), idempotent("k", "1")
	theirs.Request = "req_2"
	s.reserved(ours, "")
	s.reserved(ours, "")
	_, err := s.store.ReserveIdempotency(s.Context(), theirs)
	s.refused(err, store.CodeIdempotencyBusy)
	_, _, err = s.post("b", theirs)
	s.refused(err, store.CodeIdempotencyBusy)
	_, err = s.store.ReserveIdempotency(s.Context(), idempotent("k", "2"))
	s.refused(err, store.CodeIdempotencyMismatch)
	s.posted("a", ours, "a", false)
	s.posted("b", theirs, "a", true)
}

// released: a request that was answered with rows leaves the key as it was; only its own request lets it go, and not
// when there is a job.
func (s *suite) released() {
	ours, theirs := idempotent("k", "1"), idempotent("k", "2")
	theirs.Request = "req_2"
	s.reserved(ours, "")
	s.ok(s.store.ReleaseIdempotency(s.Context(), theirs))
	_, _, err := s.post("b", theirs)
	s.refused(err, store.CodeIdempotencyMismatch)
	s.ok(s.store.ReleaseIdempotency(s.Context(), ours))
	s.ok(s.store.ReleaseIdempotency(s.Context(), ours))
	s.posted("b", theirs, "b", false)
	s.ok(s.store.ReleaseIdempotency(s.Context(), theirs))
	s.posted("c", theirs, "b", true)
}

// reservationEnds: a process that is gone keeps a key no longer than ReservedFor.
func (s *suite) reservationEnds() {
	ours, theirs := idempotent("k", "1"), idempotent("k", "2")
	theirs.Request = "req_2"
	s.reserved(ours, "")
	s.advance(store.ReservedFor - time.Second)
	_, err := s.store.ReserveIdempotency(s.Context(), theirs)
	s.refused(err, store.CodeIdempotencyMismatch)
	s.advance(time.Second)
	s.reserved(theirs, "")
	_, _, err = s.post("a", ours)
	s.refused(err, store.CodeIdempotencyMismatch)
	s.posted("b", theirs, "b", false)
}

// idempotencyEnds: after 24 hours a key is a new one.
func (s *suite) idempotencyEnds() {
	i := idempotent("k", "1")
	s.reserved(i, "")
	s.advance(store.ReservedFor / 2)
	s.posted("a", i, "a", false)
	s.advance(store.IdempotencyAge - time.Second)
	s.posted("b", i, "a", true)
	s.advance(time.Second)
	s.posted("b", idempotent("k", "2"), "b", false)
	s.posted("x", idempotent("k", "2"), "b", true)
}

// idempotentRefused: an order that made no job leaves no key.
func (s *suite) idempotentRefused() {
	s.create(order("a", "c"))
	_, _, err := s.post("a", idempotent("k", "1"))
	s.refused(err, store.CodeExists)
	other := idempotent("k", "2")
	other.Request = "req_2"
	s.posted("b", other, "b", false)
}

// thousandEqual: many equal orders at once make one job.
func (s *suite) thousandEqual() {
	const all, of = 1000, 50
	ctx := context.WithoutCancel(s.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	var made, replayed int
	ids := map[string]bool{}
	for g := range of {
		wg.Go(func() {
			for k := range all / of {
				n := order(fmt.Sprintf("%d-%d", g, k), "c")
				i := idempotent("k", "1")
				i.Request = n.Job.ID
				n.Idempotency = &i
				j, _, again, err := s.store.CreateJob(ctx, n)
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				ids[j.ID] = true
				if again {
					replayed++
				} else {
					made++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.equal([]int{made, replayed, len(ids)}, []int{1, all - 1, 1})
	_, total, err := s.store.Jobs(s.Context(), store.JobFilter{Customer: "c", Limit: 9})
	s.ok(err)
	s.equal(total, int64(1))
	s.equal(s.whats(), []string{"job.created"})
}
