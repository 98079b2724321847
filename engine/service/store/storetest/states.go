package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// changes is a schedule of a pipeline that keeps state, none of whose jobs has run.
func (s *suite) changes(id string) store.Schedule {
	s.Helper()
	made := s.nightly(id)
	made.Window, made.WindowFirst, made.WindowOverlap = false, 0, 0
	made.State.Epoch = "epoch of " + id
	return s.putSchedule(made)
}

// scheduled makes a job of a schedule, and takes it.
func (s *suite) scheduled(schedule, job string) store.Lease {
	s.Helper()
	t := decision(s.schedule(schedule), job)
	t.Now, t.Since = true, "" // whatever the tick is, and without a window
	made, done := s.tick(t)
	s.equal([]any{made.ID, done}, []any{job, true})
	taken, lease := s.claim()
	s.equal(taken.ID, job)
	return lease
}

// reached is the end of a job that began with a revision of the state.
func reached(from int64, sealed string) store.Ending {
	return store.Ending{Event: store.JobCompleted, By: ann, Result: store.Result{Bucket: "b", ObjectKey: "k"},
		State: &store.NewState{From: from, Sealed: []byte(sealed)}}
}

func (s *suite) reach(l store.Lease, from int64, sealed string) store.Job {
	s.Helper()
	j, err := s.store.EndJob(s.Context(), l, reached(from, sealed))
	s.ok(err)
	return j
}

// became is what the audit says of the state at the end of a job.
func (s *suite) became(job string) (what string) {
	s.Helper()
	rows, err := s.store.AuditOf(s.Context(), "c", time.Time{}, 1000)
	s.ok(err)
	for _, row := range rows {
		if row.RunID == job && row.What == "job.completed" {
			what = row.Details["state"]
		}
	}
	return what
}

// stateKept: a job that completes leaves the state that the next one begins with.
func (s *suite) stateKept() {
	made := s.changes("a")
	s.equal(made.State, store.ScheduleState{Epoch: "epoch of a"})
	lease := s.scheduled("a", "j1")
	s.equal([]any{s.job("j1").Schedule, s.job("j1").StateEpoch}, []any{"a", "epoch of a"})
	ended := s.reach(lease, 0, "sealed 1")
	s.equal(s.became("j1"), "kept")
	want := store.ScheduleState{Epoch: "epoch of a", Revision: 1, Sealed: []byte("sealed 1"), Job: "j1",
		SavedAt: ended.CompletedAt}
	s.equal(s.schedule("a").State, want)
	got := s.schedule("a").State.Sealed
	got[0] = 'x'
	s.equal(s.schedule("a").State, want)
	list, err := s.store.Schedules(s.Context(), "c")
	s.ok(err)
	s.equal(list[0].State, want)

	s.advance(time.Hour)
	ended = s.reach(s.scheduled("a", "j2"), 1, "sealed 2")
	want = store.ScheduleState{Epoch: "epoch of a", Revision: 2, Sealed: []byte("sealed 2"), Job: "j2",
		SavedAt: ended.CompletedAt}
	s.equal(s.schedule("a").State, want)

	// Jobs are listed for a time, and the state stays.
	for _, job := range []string{"j1", "j2"} {
		s.ok(s.store.ObjectRemoved(s.Context(), job))
	}
	s.advance(time.Hour)
	n, err := s.store.PruneJobs(s.Context(), s.now())
	s.ok(err)
	s.equal(n, int64(2))
	s.settle()
	s.equal(s.schedule("a").State, want)
	s.equal(s.schedule("a").UpdatedAt, made.UpdatedAt)
}

// stateOfJobs: a job that does not complete leaves the state as it was, and one of no schedule has none.
func (s *suite) stateOfJobs() {
	s.changes("a")
	s.reach(s.scheduled("a", "j1"), 0, "sealed 1")
	want := s.schedule("a").State
	for i, event := range []store.JobEvent{store.JobFailed, store.JobCancelled} {
		e := reached(1, "of a run that did not complete")
		e.Event = event
		_, err := s.store.EndJob(s.Context(), s.scheduled("a", fmt.Sprint("e", i)), e)
		s.ok(err)
		s.equal(s.schedule("a").State, want)
	}
	// One that is tried again begins with what is there then.
	lease := s.scheduled("a", "j2")
	e := reached(1, "of a run that is tried again")
	e.Event = store.JobRetried
	_, err := s.store.EndJob(s.Context(), lease, e)
	s.ok(err)
	s.equal(s.schedule("a").State, want)
	_, again := s.claim()
	// Whoever was too late has no say.
	_, err = s.store.EndJob(s.Context(), lease, reached(1, "too late"))
	s.refused(err, store.CodeLeaseLost)
	s.equal(s.schedule("a").State, want)
	s.advance(store.LeaseTime)
	_, err = s.store.EndJob(s.Context(), again, reached(1, "later still"))
	s.refused(err, store.CodeLeaseLost)
	s.equal(s.schedule("a").State, want)
	_, err = s.store.RecoverJobs(s.Context())
	s.ok(err)
	_, again = s.claim()
	s.reach(again, 1, "sealed 2")
	s.equal(string(s.schedule("a").State.Sealed), "sealed 2")

	s.create(order("alone", "c"))
	_, lease = s.claim()
	s.reach(lease, 2, "of no schedule")
	s.equal(s.became("alone"), "")
	// A completed job that says nothing of it leaves it: it has read no row.
	s.end(s.scheduled("a", "j3"), store.JobCompleted)
	s.equal([]any{s.became("j3"), string(s.schedule("a").State.Sealed)}, []any{"", "sealed 2"})
}

// stateSuperseded: a state is replaced by a job that began with it, and by no other.
func (s *suite) stateSuperseded() {
	s.changes("a")
	first := s.scheduled("a", "j1")
	s.reach(first, 0, "sealed 1")
	lease := s.scheduled("a", "j2")
	s.reach(lease, 0, "of one that began with nothing")
	s.equal([]any{s.became("j2"), string(s.schedule("a").State.Sealed), s.schedule("a").State.Revision},
		[]any{"superseded", "sealed 1", int64(1)})

	// A schedule that is made anew, of the same name and identifier, is another one.
	lease = s.scheduled("a", "j3")
	s.ok(s.store.DeleteSchedule(s.Context(), "c", "a", audited("schedule.delete")))
	s.reach(lease, 1, "of a schedule that is gone")
	s.equal(s.became("j3"), "superseded")
	next := s.nightly("a")
	next.Window, next.State.Epoch = false, "another"
	s.putSchedule(next)
	lease = s.scheduled("a", "j4")
	s.ok(s.store.DeleteSchedule(s.Context(), "c", "a", audited("schedule.delete")))
	next.State.Epoch = "a third"
	s.putSchedule(next)
	s.reach(lease, 0, "of the one before")
	s.equal([]any{s.became("j4"), s.schedule("a").State}, []any{"superseded", store.ScheduleState{Epoch: "a third"}})
	// An identifier that another customer has now is another one, too.
	lease = s.scheduled("a", "j5")
	s.ok(s.store.DeleteSchedule(s.Context(), "c", "a", audited("schedule.delete")))
	next.Customer = "d"
	_, err := s.store.PutSchedule(s.Context(), next, audited("schedule.put"))
	s.ok(err)
	s.reach(lease, 0, "of another customer")
	theirs, err := s.store.Schedule(s.Context(), "d", "a")
	s.ok(err)
	s.equal(theirs.State, store.ScheduleState{Epoch: "a third"})
}

// stateOfOneJob: of jobs that began with the same state, and end at once, one replaces it.
func (s *suite) stateOfOneJob() {
	s.changes("a")
	var leases []store.Lease
	for i := range 8 {
		n := order(fmt.Sprint("j", i), "c")
		n.Job.Schedule, n.Job.StateEpoch, n.Holder = "a", "epoch of a", "worker"
		_, lease := s.create(n)
		leases = append(leases, lease)
	}
	var wg sync.WaitGroup
	for i, lease := range leases {
		wg.Go(func() {
			if _, err := s.store.EndJob(s.Context(), lease, reached(0, fmt.Sprint("sealed ", i))); err != nil {
				s.Errorf("%v", fault.From(err).Code)
			}
		})
	}
	wg.Wait()
	kept := 0
	for i := range leases {
		if s.became(fmt.Sprint("j", i)) == "kept" {
			kept++
			state := s.schedule("a").State
			s.equal([]any{state.Job, string(state.Sealed)}, []any{fmt.Sprint("j", i), fmt.Sprint("sealed ", i)})
		}
	}
	s.equal([]any{kept, s.schedule("a").State.Revision}, []any{1, int64(1)})
}

// stateCovers: a schedule that is replaced goes on where it covers the same rows, and has no second job meanwhile; it
// begins anew where it covers others, and then a job from before has no say.
func (s *suite) stateCovers() {
	for i, c := range []struct {
		change func(*store.Schedule)
		kept   bool
	}{
		{func(to *store.Schedule) { to.Cron, to.Name, to.Overlap = "0 4 * * *", "x", store.OverlapQueue }, true},
		{func(to *store.Schedule) { to.Request = []byte(`{"date_modifier":"Updated","compression":"gzip"}`) }, true},
		{func(to *store.Schedule) { to.Request = []byte(`{"date_modifier":"Updated","location":2}`) }, false},
		{func(to *store.Schedule) { to.Procedure = "patients" }, false},
	} {
		id := fmt.Sprint(i)
		s.changes(id)
		s.reach(s.scheduled(id, id+"1"), 0, "sealed 1")
		s.settle()
		before := s.schedule(id)
		lease := s.scheduled(id, id+"2")
		next := s.schedule(id)
		c.change(&next)
		next.State = store.ScheduleState{Epoch: "next"}
		after := s.putSchedule(next)
		t := decision(after, id+"3")
		t.Now = true
		if !c.kept {
			s.equal([]any{i, after.State, after.Settled}, []any{i, store.ScheduleState{Epoch: "next"}, true})
			s.reach(lease, 1, "sealed 2")
			s.equal(s.schedule(id).State, after.State)
			continue
		}
		s.equal([]any{i, after.State, after.Settled}, []any{i, before.State, false})
		_, _, err := s.store.Tick(s.Context(), t)
		s.refused(err, store.CodeScheduleBusy)
		s.reach(lease, 1, "sealed 2")
		s.equal(string(s.schedule(id).State.Sealed), "sealed 2")
	}
}

// scheduleReset: a schedule begins anew when it is told to, with its state and its window, whatever runs meanwhile.
func (s *suite) scheduleReset() {
	made := s.changes("a")
	s.reach(s.scheduled("a", "j1"), 0, "sealed 1")
	s.settle()
	lease := s.scheduled("a", "j2")
	before := s.schedule("a")
	after, err := s.store.ResetSchedule(s.Context(), "c", "a", audited("schedule.reset"))
	s.ok(err)
	want := before
	want.State = store.ScheduleState{Epoch: made.State.Epoch, Revision: 2}
	s.equal(after, want)
	s.equal(s.schedule("a"), want)
	s.reach(lease, 1, "sealed 2")
	s.equal([]any{s.became("j2"), s.schedule("a").State}, []any{"superseded", want.State})
	// The job after it is one of the same schedule.
	s.settle()
	s.reach(s.scheduled("a", "j3"), 2, "sealed 3")
	s.equal([]any{s.schedule("a").State.Revision, string(s.schedule("a").State.Sealed)}, []any{int64(3), "sealed 3"})

	s.putSchedule(s.nightly("w"))
	s.tick(decision(s.schedule("w"), "w1"))
	_, err = s.store.ResetSchedule(s.Context(), "c", "w", audited("schedule.reset"))
	s.ok(err)
	s.completeUntil("2026-03-01")
	s.settle()
	s.equal([]any{s.schedule("w").NextSince, s.schedule("w").Settled}, []any{"", true})
	s.tick(decision(s.schedule("w"), "w2"))
	s.equal(s.schedule("w").NextSince, "2026-02-01")

	_, err = s.store.ResetSchedule(s.Context(), "d", "a", audited("x"))
	s.refused(err, store.CodeUnknown)
	_, err = s.store.ResetSchedule(s.Context(), "c", "none", audited("x"))
	s.refused(err, store.CodeUnknown)
}
