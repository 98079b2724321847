package storetest

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

var ann = store.Actor{Who: "key:ann", From: "192.0.2.1", RequestID: "req_ann"}

// order is a job that is to be made.
func order(id, customer string) store.NewJob {
	return store.NewJob{By: ann, Job: store.Job{
		ID: id, Customer: customer, Procedure: "appointments", Type: "extract", Reason: "requested",
		Request: []byte(`{"mode":"job"}`), Format: "ndjson",
	}}
}

func (s *suite) create(n store.NewJob) (store.Job, store.Lease) {
	s.Helper()
	j, lease, replayed, err := s.store.CreateJob(s.Context(), n)
	s.ok(err)
	s.equal(replayed, false)
	return j, lease
}

// claim takes the next job, which there has to be.
func (s *suite) claim() (store.Job, store.Lease) {
	s.Helper()
	j, lease, ok, err := s.store.ClaimJob(s.Context(), "worker", nil)
	s.ok(err)
	if !ok {
		s.Fatal("there is no job to take")
	}
	return j, lease
}

// idle: there is no job to take.
func (s *suite) idle() {
	s.Helper()
	j, _, ok, err := s.store.ClaimJob(s.Context(), "worker", nil)
	s.ok(err)
	if ok {
		s.Fatalf("the job %s was taken", j.ID)
	}
}

func (s *suite) end(l store.Lease, event store.JobEvent) store.Job {
	s.Helper()
	j, err := s.store.EndJob(s.Context(), l, store.Ending{Event: event, By: ann})
	s.ok(err)
	return j
}

func (s *suite) job(id string) store.Job {
	s.Helper()
	j, err := s.store.Job(s.Context(), "c", id)
	s.ok(err)
	return j
}

func (s *suite) now() time.Time {
	s.Helper()
	now, err := s.store.Clock(s.Context())
	s.ok(err)
	return now
}

// path is what has happened to a job, as text.
func (s *suite) path(id string) (path []string) {
	s.Helper()
	all, err := s.store.Transitions(s.Context(), "c", id, 0)
	s.ok(err)
	for i, t := range all {
		s.equal(t.Number, int64(i+1))
		path = append(path, fmt.Sprintf("%s>%s %d%s", t.Event, t.To, t.Attempt, t.Code))
	}
	return path
}

func (s *suite) life() {
	ctx := s.Context()
	made, lease := s.create(order("a", "c"))
	s.equal(lease, store.Lease{})
	s.equal([]any{made.Status, made.Transition, made.Attempts, made.Runs}, []any{store.Queued, int64(1), 0, 0})
	s.equal(made.CreatedAt.After(s.now()), false)
	s.equal(s.job("a"), made)
	taken, lease := s.claim()
	s.equal([]any{taken.Status, taken.Transition, taken.Attempts, taken.Runs, taken.Holder},
		[]any{store.Running, int64(2), 1, 1, "worker"})
	s.idle()
	result := store.Result{Bucket: "b", ObjectKey: "k", FileName: "a.ndjson", TotalRows: 7, Size: 9, Manifest: []byte("{}")}
	done, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted, Result: result, By: ann})
	s.ok(err)
	s.equal(done.Result, result)
	s.equal(done.Status, store.Completed)
	s.equal(s.job("a"), done)
	s.equal(s.path("a"), []string{">queued 0", "claimed>running 1", "completed>completed 1"})
	s.equal(s.whats(), []string{"job.created", "job.claimed", "job.completed"})
	events, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(len(events), 1)
	s.equal([]any{events[0].Event, events[0].Transition, events[0].Job}, []any{"job.completed", int64(3), "a"})
	_, err = s.store.EndJob(ctx, lease, store.Ending{Event: store.JobFailed})
	s.refused(err, store.CodeLeaseLost)
}

func (s *suite) leaseIsLost() {
	ctx := s.Context()
	s.create(order("a", "c"))
	for attempt := range store.MostAttempts {
		_, lease := s.claim()
		s.advance(store.LeaseTime)
		_, err := s.store.RenewJob(ctx, lease, store.Progress{})
		s.refused(err, store.CodeLeaseLost)
		recovered, err := s.store.RecoverJobs(ctx)
		s.ok(err)
		s.equal(len(recovered), 1)
		s.equal(recovered[0].Attempts, attempt+1)
		_, err = s.store.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted})
		s.refused(err, store.CodeLeaseLost)
	}
	s.equal([]any{s.job("a").Status, s.job("a").ErrorCode}, []any{store.Failed, store.WorkerLost})
	s.idle()
}

func (s *suite) leaseIsKept() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	for range 10 {
		s.advance(store.LeaseTime / 2)
		_, err := s.store.RenewJob(s.Context(), lease, store.Progress{})
		s.ok(err)
	}
	recovered, err := s.store.RecoverJobs(s.Context())
	s.ok(err)
	s.equal(len(recovered), 0)
	s.end(lease, store.JobCompleted)
}

func (s *suite) fairShares() {
	for i := range 6 {
		s.create(order(fmt.Sprint("a", i), "c"))
	}
	s.create(order("b0", "d"))
	s.create(order("b1", "d"))
	var got []string
	for range 8 {
		j, _ := s.claim()
		got = append(got, j.ID)
	}
	s.equal(got, []string{"a0", "b0", "a1", "b1", "a2", "a3", "a4", "a5"})
}

func (s *suite) idempotency() {
	ctx := s.Context()
	n := order("a", "c")
	n.Idempotency = &store.Idempotency{Customer: "c", Route: "r", Key: "k", Body: sha256.Sum256([]byte("1")), Request: "req_1"}
	first, _ := s.create(n)
	n.Job.ID = "b"
	again, _, replayed, err := s.store.CreateJob(ctx, n)
	s.ok(err)
	s.equal(replayed, true)
	s.equal(again, first)
	n.Idempotency.Body[0]++
	_, _, _, err = s.store.CreateJob(ctx, n)
	s.refused(err, store.CodeIdempotencyMismatch)
}

func (s *suite) cancelRunning() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	asked, err := s.store.CancelJob(s.Context(), "c", "a", ann)
	s.ok(err)
	s.equal(asked.Status, store.Running)
	s.equal(asked.CancelAsked.IsZero(), false)
	renewal, err := s.store.RenewJob(s.Context(), lease, store.Progress{})
	s.ok(err)
	s.equal(renewal.Cancel, true)
	s.equal(s.end(lease, store.JobReturned).Status, store.Cancelled)
	_, err = s.store.CancelJob(s.Context(), "c", "a", ann)
	s.ok(err)
}
