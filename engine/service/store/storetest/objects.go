package storetest

import (
	"fmt"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// complete runs a job whose object expires at a time.
func (s *suite) complete(id string, expires time.Time) store.Job {
	s.Helper()
	n := order(id, "c")
	n.Holder = "worker"
	_, lease := s.create(n)
	j, err := s.store.EndJob(s.Context(), lease, store.Ending{
		Event: store.JobCompleted, Result: store.Result{Bucket: "main", ObjectKey: "key of " + id, ObjectExpires: expires},
	})
	s.ok(err)
	return j
}

func (s *suite) expired(before time.Time, most int) (ids []string) {
	s.Helper()
	all, err := s.store.ExpiredObjects(s.Context(), before, most)
	s.ok(err)
	for _, j := range all {
		s.equal(s.job(j.ID), j)
		ids = append(ids, j.ID)
	}
	return ids
}

// objectExpires: an object is to be removed after its last link, and not at it.
func (s *suite) objectExpires() {
	s.complete("a", after(time.Hour))
	s.complete("never", time.Time{})
	s.create(order("waits", "c"))
	s.equal(s.expired(after(time.Hour), 9), []string(nil))
	s.equal(s.expired(after(time.Hour+time.Microsecond), 9), []string{"a"})
	s.equal(s.expired(after(time.Hour+time.Microsecond), 9), []string{"a"}) // until it is gone
	s.ok(s.store.ObjectRemoved(s.Context(), "a"))
	s.equal(s.expired(after(1000*time.Hour), 9), []string(nil))
}

func (s *suite) expiredInOrder() {
	for i, hours := range []time.Duration{3, 1, 2, 1, 4} {
		s.complete(fmt.Sprint("a", i), after(hours*time.Hour))
	}
	s.equal(s.expired(after(4*time.Hour), 3), []string{"a1", "a3", "a2"})
	s.equal(s.expired(after(4*time.Hour), 9), []string{"a1", "a3", "a2", "a0"})
	s.equal(s.expired(after(4*time.Hour), 0), []string(nil))
	passing, err := s.store.ExpiredObjects(s.Context(), after(4*time.Hour), 9, "other", "main")
	s.ok(err)
	s.equal(len(passing), 0) // a bucket that is away keeps no other waiting
	passing, err = s.store.ExpiredObjects(s.Context(), after(4*time.Hour), 9, "other")
	s.ok(err)
	s.equal(len(passing), 4)
}

// extended: a link that was given later keeps the object, and an earlier one does not shorten it.
func (s *suite) extended() {
	ctx := s.Context()
	before := s.complete("a", after(time.Hour))
	s.ok(s.store.ExtendObject(ctx, "a", after(3*time.Hour), audited("link")))
	s.ok(s.store.ExtendObject(ctx, "a", after(2*time.Hour)))
	s.equal(s.expired(after(3*time.Hour), 9), []string(nil))
	s.equal(s.job("a"), before) // what was promised at the end stays
	s.equal(s.expired(after(3*time.Hour+time.Microsecond), 9), []string{"a"})
	s.equal(s.whats()[2:], []string{"link"})
}

// extendedTooLate: what is being removed, or is gone, or never was, has no link any more.
func (s *suite) extendedTooLate() {
	ctx := s.Context()
	s.complete("a", after(time.Hour))
	s.create(order("waits", "c"))
	n := order("runs", "c")
	n.Holder = "worker"
	_, lease := s.create(n)
	for _, id := range []string{"waits", "runs", "nothing"} {
		s.refused(s.store.ExtendObject(ctx, id, after(9*time.Hour), audited("x")), store.CodeUnknown)
	}
	s.end(lease, store.JobFailed)
	s.refused(s.store.ExtendObject(ctx, "runs", after(9*time.Hour), audited("x")), store.CodeUnknown)
	s.equal(s.expired(after(2*time.Hour), 9), []string{"a"})
	s.refused(s.store.ExtendObject(ctx, "a", after(9*time.Hour), audited("x")), store.CodeUnknown)
	s.ok(s.store.ObjectRemoved(ctx, "a"))
	s.refused(s.store.ExtendObject(ctx, "a", after(9*time.Hour), audited("x")), store.CodeUnknown)
	for _, what := range s.whats() {
		if what == "x" {
			s.Fatal("what was refused is in the audit")
		}
	}
}

func (s *suite) removed() {
	ctx := s.Context()
	s.complete("a", after(time.Hour))
	s.create(order("waits", "c"))
	for _, id := range []string{"waits", "nothing"} {
		s.refused(s.store.ObjectRemoved(ctx, id), store.CodeUnknown)
	}
	before := s.job("a")
	s.advance(time.Hour)
	s.ok(s.store.ObjectRemoved(ctx, "a"))
	want := before
	want.ObjectRemoved = s.now()
	s.equal(s.job("a"), want)
	s.advance(time.Hour)
	s.ok(s.store.ObjectRemoved(ctx, "a"))
	s.equal(s.job("a"), want)
	s.equal(s.whats()[3:], []string{"job.object_removed"})
}

func (s *suite) leftovers() {
	ctx := s.Context()
	left := func(before time.Time, most int) []store.Leftover {
		s.Helper()
		all, err := s.store.Leftovers(ctx, before, most)
		s.ok(err)
		return all
	}
	late := func() time.Time { return s.now().Add(time.Microsecond) }
	n := order("a", "c")
	n.Job.Bucket = "main"
	s.create(n)
	_, lease := s.claim()
	first := s.now()
	s.end(lease, store.JobReturned)
	s.advance(time.Minute)
	_, lease = s.claim()
	s.equal(len(left(late(), 9)), 0) // what is in the bucket may be of the run that goes on
	second := s.now()
	_, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobRetried, Result: store.Result{Bucket: "other"}})
	s.ok(err)
	s.equal(len(left(late(), 9)), 0)
	_, lease = s.claim()
	_, err = s.store.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted, Result: store.Result{Bucket: "main", ObjectKey: "k"}})
	s.ok(err)
	all := left(late(), 9)
	s.equal(len(all), 2)
	s.equal(all[0], store.Leftover{Seq: all[0].Seq, Job: "a", Customer: "c", Bucket: "main", Since: first, Keep: "k"})
	s.equal(all[1], store.Leftover{Seq: all[1].Seq, Job: "a", Customer: "c", Bucket: "other", Since: second, Keep: "k"})
	s.equal(left(late(), 1), all[:1])
	passing, err := s.store.Leftovers(ctx, late(), 1, "main", "away") // a bucket that is away keeps no other waiting
	s.ok(err)
	s.equal(passing, all[1:])
	s.equal(left(second, 9), all[:1]) // the run ended at that time, not before
	s.equal(len(left(first, 9)), 0)
	s.ok(s.store.LeftoverSwept(ctx, all[0].Seq))
	s.ok(s.store.LeftoverSwept(ctx, all[0].Seq))
	s.equal(left(late(), 9), all[1:])
	s.ok(s.store.LeftoverSwept(ctx, all[1].Seq))
	// Each is looked for once more: the store may have completed what it was told to by a run that is gone.
	s.equal(len(left(first.Add(store.LookAgain), 9)), 0)
	s.advance(store.LookAgain)
	again := left(late(), 9)
	s.equal(len(again), 2)
	s.equal(again[0], store.Leftover{Seq: again[0].Seq, Job: "a", Customer: "c", Bucket: "main", Since: first.Add(store.LookAgain), Keep: "k"})
	s.ok(s.store.LeftoverSwept(ctx, again[0].Seq))
	s.equal(left(late(), 9), again[1:])
}

// leftByLost: each way in which a run does not complete leaves something to look for.
func (s *suite) leftByLost() {
	ctx := s.Context()
	for _, event := range []store.JobEvent{store.JobFailed, store.JobCancelled} {
		s.create(order(string(event), "c"))
		_, lease := s.claim()
		s.end(lease, event)
	}
	s.create(order("lost", "c"))
	s.claim()
	s.advance(store.LeaseTime)
	s.recover()
	s.cancel("lost")
	all, err := s.store.Leftovers(ctx, s.now().Add(time.Hour), 9)
	s.ok(err)
	var got []string
	for _, l := range all {
		got = append(got, l.Job+l.Keep)
	}
	s.equal(got, []string{"failed", "cancelled", "lost"})
}

func (s *suite) pruneJobs() {
	ctx := s.Context()
	s.complete("there", after(time.Hour))
	s.complete("gone", after(time.Hour))
	s.ok(s.store.ObjectRemoved(ctx, "gone"))
	for _, id := range []string{"failed", "cancelled"} {
		n := order(id, "c")
		n.Holder = "worker"
		_, lease := s.create(n)
		s.end(lease, store.JobEvent(id))
	}
	s.create(order("waits", "c"))
	n := order("runs", "c")
	n.Holder = "worker"
	s.create(n)
	removed, err := s.store.PruneJobs(ctx, s.now())
	s.ok(err)
	s.equal(removed, int64(0)) // they ended at that time, not before
	s.advance(time.Hour)
	audit := len(s.whats())
	removed, err = s.store.PruneJobs(ctx, s.now())
	s.ok(err)
	s.equal(removed, int64(3))
	for _, id := range []string{"gone", "failed", "cancelled"} {
		_, err := s.store.Job(ctx, "c", id)
		s.refused(err, store.CodeUnknown)
		_, err = s.store.Transitions(ctx, "c", id, 0)
		s.refused(err, store.CodeUnknown)
	}
	ids, total := s.list(store.JobFilter{Customer: "c", Limit: 9, Sort: store.CreatedAsc})
	s.equal([]any{ids, total}, []any{[]string{"runs", "there", "waits"}, int64(3)})
	s.equal(len(s.path("there")), 2)
	events, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(len(events), 4) // what customers are still to be told of stays
	s.equal(len(s.whats()), audit)
	left, err := s.store.Leftovers(ctx, s.now().Add(time.Hour), 9)
	s.ok(err)
	s.equal(len(left), 2) // and so does what is to be looked for
	again, _ := s.create(order("gone", "c"))
	s.equal(s.path("gone"), []string{">queued 0"})
	s.equal(again.Transition, int64(1))
}

// pruneKeys: a key goes when it stands for nothing any more, and not earlier.
func (s *suite) pruneKeys() {
	ctx := s.Context()
	s.posted("a", idempotent("job", "1"), "a", false)
	s.reserved(idempotent("reserved", "1"), "")
	s.advance(store.ReservedFor - time.Second)
	_, err := s.store.PruneJobs(ctx, noon)
	s.ok(err)
	other := idempotent("reserved", "1")
	other.Request = "req_2"
	_, err = s.store.ReserveIdempotency(ctx, other)
	s.refused(err, store.CodeIdempotencyBusy)
	s.advance(time.Hour)
	_, err = s.store.PruneJobs(ctx, noon)
	s.ok(err)
	s.posted("b", idempotent("job", "1"), "a", true)
	s.reserved(other, "")
}
