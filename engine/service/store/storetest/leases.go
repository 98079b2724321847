package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

func (s *suite) recover() (ids []string) {
	s.Helper()
	recovered, err := s.store.RecoverJobs(s.Context())
	s.ok(err)
	for _, j := range recovered {
		ids = append(ids, fmt.Sprint(j.ID, " ", j.Status))
	}
	return ids
}

// lost: a lease is refused, and what it asked for is not made.
func (s *suite) lost(l store.Lease) {
	s.Helper()
	before := s.job("a")
	_, err := s.store.RenewJob(s.Context(), l, store.Progress{Rows: 99})
	s.refused(err, store.CodeLeaseLost)
	for _, event := range []store.JobEvent{store.JobCompleted, store.JobFailed, store.JobRetried, store.JobReturned, store.JobCancelled} {
		_, err := s.store.EndJob(s.Context(), l, store.Ending{Event: event, Result: store.Result{ObjectKey: "k"}})
		s.refused(err, store.CodeLeaseLost)
	}
	s.equal(s.job("a"), before)
}

// leaseIsLost: a worker that does not renew has lost its job, and the last attempt's is lost for good.
func (s *suite) leaseIsLost() {
	s.create(order("a", "c"))
	for attempt := range store.MostAttempts {
		j, lease := s.claim()
		s.equal(j.Attempts, attempt+1)
		s.advance(store.LeaseTime)
		s.lost(lease) // though nobody has noticed yet
		status := store.Queued
		if attempt+1 == store.MostAttempts {
			status = store.Failed
		}
		s.equal(s.recover(), []string{fmt.Sprint("a ", status)})
		s.lost(lease)
		s.equal(s.recover(), []string(nil))
	}
	j := s.job("a")
	s.equal([]any{j.Status, j.ErrorCode, j.Attempts, j.Holder}, []any{store.Failed, store.WorkerLost, store.MostAttempts, ""})
	if j.ErrorMessage == "" || j.Suggestion == "" {
		s.Fatalf("nothing is said of why it failed: %+v", j)
	}
	s.idle()
	s.equal(s.path("a"), []string{
		">queued 0", "claimed>running 1", "retried>queued 1WORKER_LOST", "claimed>running 2", "retried>queued 2WORKER_LOST",
		"claimed>running 3", "failed>failed 3WORKER_LOST",
	})
}

func (s *suite) leaseIsKept() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	for range 10 {
		s.advance(store.LeaseTime - time.Millisecond)
		s.equal(s.recover(), []string(nil))
		_, err := s.store.RenewJob(s.Context(), lease, store.Progress{})
		s.ok(err)
	}
	s.advance(store.LeaseTime - time.Millisecond)
	s.end(lease, store.JobCompleted)
}

// leaseOfAnother: each part of a lease counts.
func (s *suite) leaseOfAnother() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	for _, change := range []func(*store.Lease){
		func(l *store.Lease) { l.Holder = "another" },
		func(l *store.Lease) { l.Holder = "" },
		func(l *store.Lease) { l.Fence++ },
		func(l *store.Lease) { l.Fence-- },
		func(l *store.Lease) { l.Server += "x" }, // the number came again, from another server
		func(l *store.Lease) { l.Server = "" },
		func(l *store.Lease) { l.Customer = "d" },
		func(l *store.Lease) { l.Job = "b" },
		func(l *store.Lease) { *l = store.Lease{} },
	} {
		other := lease
		change(&other)
		s.lost(other)
	}
	if lease.Server == "" {
		s.Fatal("a lease has no server")
	}
	s.end(lease, store.JobCompleted)
}

// fences: each taking has a higher number, and only the last one counts.
func (s *suite) fences() {
	s.create(order("a", "c"))
	var leases []store.Lease
	for i := range 5 {
		j, lease := s.claim()
		s.equal([]any{j.Runs, j.Attempts}, []any{i + 1, 1})
		if i > 0 && lease.Fence <= leases[i-1].Fence {
			s.Fatalf("the fence %d comes after %d", lease.Fence, leases[i-1].Fence)
		}
		leases = append(leases, lease)
		for _, old := range leases[:i] {
			s.lost(old)
		}
		s.end(lease, store.JobReturned)
		s.lost(lease)
	}
}

// returned: what is handed back does not count as an attempt.
func (s *suite) returned() {
	s.create(order("a", "c"))
	for range 2 * store.MostAttempts {
		_, lease := s.claim()
		j := s.end(lease, store.JobReturned)
		s.equal([]any{j.Status, j.Attempts, j.Holder, j.NotBefore}, []any{store.Queued, 0, "", time.Time{}})
	}
	for range store.MostAttempts {
		s.claim()
		s.advance(store.LeaseTime)
		s.recover()
	}
	s.equal([]any{s.job("a").Status, s.job("a").Runs}, []any{store.Failed, 3 * store.MostAttempts})
}

// retried: the last attempt is not tried again, whatever its worker says.
func (s *suite) retried() {
	s.create(order("a", "c"))
	for attempt := 1; ; attempt++ {
		_, lease := s.claim()
		j, err := s.store.EndJob(s.Context(), lease, store.Ending{Event: store.JobRetried, ErrorCode: "SOURCE_ERROR", ErrorMessage: "m"})
		s.ok(err)
		if attempt < store.MostAttempts {
			s.equal([]any{j.Status, j.Attempts, j.ErrorCode}, []any{store.Queued, attempt, ""})
			continue
		}
		s.equal([]any{j.Status, j.Attempts, j.ErrorCode, j.ErrorMessage}, []any{store.Failed, store.MostAttempts, "SOURCE_ERROR", "m"})
		break
	}
	s.equal(s.path("a")[6], "failed>failed 3SOURCE_ERROR")
	events, err := s.store.Outbox(s.Context(), 0, 9)
	s.ok(err)
	s.equal(len(events), 1)
}

func (s *suite) notBefore() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	j, err := s.store.EndJob(s.Context(), lease, store.Ending{Event: store.JobRetried, Delay: time.Minute})
	s.ok(err)
	s.equal(j.NotBefore, s.now().Add(time.Minute))
	s.create(order("b", "c"))
	other, _ := s.claim() // nobody waits for one that waits
	s.equal(other.ID, "b")
	s.advance(time.Minute - time.Microsecond)
	s.idle()
	s.advance(time.Microsecond)
	j, _ = s.claim()
	s.equal([]any{j.ID, j.NotBefore}, []any{"a", time.Time{}})
}

// recoveredAtOnce: a job whose worker is gone does not wait.
func (s *suite) recoveredAtOnce() {
	s.create(order("a", "c"))
	_, first := s.claim()
	s.advance(store.LeaseTime)
	s.equal(s.recover(), []string{"a queued"})
	s.equal(s.job("a").NotBefore, time.Time{})
	_, second := s.claim()
	s.lost(first)
	s.end(second, store.JobCompleted)
}

func (s *suite) recoveredCancelled() {
	s.create(order("a", "c"))
	s.claim()
	_, err := s.store.CancelJob(s.Context(), "c", "a", ann)
	s.ok(err)
	s.advance(store.LeaseTime)
	s.equal(s.recover(), []string{"a cancelled"})
	s.equal(s.job("a").ErrorCode, "")
	s.idle()
	events, err := s.store.Outbox(s.Context(), 0, 9)
	s.ok(err)
	s.equal(events[0].Event, "job.cancelled")
}

// recoveredLost: of those that run, only those whose leases are over.
func (s *suite) recoveredLost() {
	s.create(order("a", "c"))
	s.create(order("b", "c"))
	s.create(order("waits", "c"))
	s.claim()
	_, b := s.claim()
	s.advance(store.LeaseTime - time.Second)
	_, err := s.store.RenewJob(s.Context(), b, store.Progress{})
	s.ok(err)
	s.advance(time.Second)
	s.equal(s.recover(), []string{"a queued"})
	s.equal(s.job("b").Status, store.Running)
}

// recoveredMany: all of them, however many there are, each once, in the order in which they were made.
func (s *suite) recoveredMany() {
	const many = 230
	var want []string
	for i := range many {
		n := order(fmt.Sprintf("a%03d", i), "c")
		n.Holder = "worker"
		s.create(n)
		want = append(want, n.Job.ID+" queued")
	}
	s.advance(store.LeaseTime)
	s.equal(s.recover(), want)
	s.equal(s.recover(), []string(nil))
}

// recoveredAtOnceByMany: two that look at the same time recover each job once.
func (s *suite) recoveredByMany() {
	const many = 60
	for i := range many {
		n := order(fmt.Sprint("a", i), "c")
		n.Holder = "worker"
		s.create(n)
	}
	s.advance(store.LeaseTime)
	ctx := context.WithoutCancel(s.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	times := map[string]int{}
	for range 4 {
		wg.Go(func() {
			recovered, err := s.store.RecoverJobs(ctx)
			if err != nil {
				s.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, j := range recovered {
				times[j.ID]++
			}
		})
	}
	wg.Wait()
	s.recover() // what one passed over because another had it
	for id, n := range times {
		if n != 1 {
			s.Fatalf("%s was recovered %d times", id, n)
		}
	}
	for i := range many {
		s.equal(s.job(fmt.Sprint("a", i)).Transition, int64(2))
	}
}
