package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// nightly is a schedule whose first tick is a minute from now.
func (s *suite) nightly(id string) store.Schedule {
	s.Helper()
	tick := s.now().Add(time.Minute).Truncate(time.Microsecond)
	return store.Schedule{
		ID: id, Customer: "c", Name: "nightly " + id, Procedure: "appointments", Request: []byte(`{"date_modifier":"Updated"}`),
		Cron: "30 2 * * *", Zone: "Europe/Berlin", Overlap: store.OverlapSkip, Missed: store.MissedOnce, Jitter: 10 * time.Second,
		Window: true, WindowFirst: 720 * time.Hour, WindowOverlap: 24 * time.Hour, Enabled: true,
		NextTick: tick, DueAt: tick.Add(3 * time.Second),
	}
}

func (s *suite) putSchedule(schedule store.Schedule) store.Schedule {
	s.Helper()
	after, err := s.store.PutSchedule(s.Context(), schedule, audited("schedule.put"))
	s.ok(err)
	s.equal(s.schedule(schedule.ID), after)
	return after
}

func (s *suite) schedule(id string) store.Schedule {
	s.Helper()
	got, err := s.store.Schedule(s.Context(), "c", id)
	s.ok(err)
	return got
}

func (s *suite) due() (ids []string) {
	s.Helper()
	due, err := s.store.DueSchedules(s.Context(), 9)
	s.ok(err)
	for _, one := range due {
		ids = append(ids, one.ID)
	}
	return ids
}

// decision is the one on the next tick of a schedule: it makes a job, and the one after is an hour later.
func decision(of store.Schedule, job string) store.Tick {
	n := order(job, of.Customer)
	n.Job.Type = "schedule"
	next := of.NextTick.Add(time.Hour)
	return store.Tick{Schedule: of, At: of.NextTick, Next: next, Due: next, Job: &n, Since: "2026-02-01", By: store.Actor{Who: "service", From: "local"}}
}

func (s *suite) tick(t store.Tick) (job store.Job, done bool) {
	s.Helper()
	job, done, err := s.store.Tick(s.Context(), t)
	s.ok(err)
	return job, done
}

func (s *suite) schedulesKept() {
	made := s.nightly("a")
	made.Document, made.LastJob, made.NextSince, made.LastOutcome = true, "x", "x", "x" // the last three are the record's
	after := s.putSchedule(made)
	want := made
	want.LastJob, want.NextSince, want.LastOutcome, want.Settled = "", "", "", true
	want.CreatedAt, want.UpdatedAt = s.now(), s.now()
	s.equal(after, want)
	list, err := s.store.Schedules(s.Context(), "c")
	s.ok(err)
	s.equal(list, []store.Schedule{want})
	list[0].Request[0] = 'x'
	s.equal(string(s.schedule("a").Request), string(made.Request))
	s.ok(s.store.DeleteSchedule(s.Context(), "c", "a", audited("schedule.delete")))
	_, err = s.store.Schedule(s.Context(), "c", "a")
	s.refused(err, store.CodeUnknown)
	s.refused(s.store.DeleteSchedule(s.Context(), "c", "a", audited("again")), store.CodeUnknown)
	s.equal(s.whats(), []string{"schedule.put", "schedule.delete"})
}

// scheduleNames: a name is one of a customer's.
func (s *suite) scheduleNames() {
	s.putSchedule(s.nightly("a"))
	other := s.nightly("b")
	other.Name = "nightly a"
	_, err := s.store.PutSchedule(s.Context(), other, audited("again"))
	s.refused(err, store.CodeExists)
	b := s.putSchedule(s.nightly("b"))
	b.Name = "nightly a"
	_, err = s.store.PutSchedule(s.Context(), b, audited("again"))
	s.refused(err, store.CodeExists)
	other.Customer = "d"
	other.ID = "c"
	_, err = s.store.PutSchedule(s.Context(), other, audited("theirs"))
	s.ok(err)
	all, err := s.store.Schedules(s.Context(), "")
	s.ok(err)
	s.equal(fmt.Sprint(all[0].ID, all[1].ID, all[2].ID), "abc")
}

func (s *suite) scheduleOfAnother() {
	made := s.putSchedule(s.nightly("a"))
	made.Customer = "d"
	_, err := s.store.PutSchedule(s.Context(), made, audited("x"))
	s.refused(err, store.CodeUnknown)
	_, err = s.store.Schedule(s.Context(), "d", "a")
	s.refused(err, store.CodeUnknown)
	s.refused(s.store.DeleteSchedule(s.Context(), "d", "a", audited("x")), store.CodeUnknown)
	_, _, err = s.store.Tick(s.Context(), decision(made, "j"))
	s.refused(err, store.CodeUnknown)
	list, err := s.store.Schedules(s.Context(), "d")
	s.ok(err)
	s.equal(len(list), 0)
}

func (s *suite) scheduleOfDocument() {
	made := s.nightly("a")
	made.Document = true
	made = s.putSchedule(made)
	made.Document = false
	_, err := s.store.PutSchedule(s.Context(), made, audited("x"))
	s.refused(err, store.CodeScheduleDocument)
	s.equal(s.schedule("a").Document, true)
}

// scheduleReplaced: a tick that was not decided on is not lost when something else of its schedule is changed.
func (s *suite) scheduleReplaced() {
	before := s.putSchedule(s.nightly("a"))
	changed := before
	changed.Missed, changed.NextTick, changed.DueAt = store.MissedSkip, before.NextTick.Add(time.Hour), before.NextTick.Add(time.Hour)
	after := s.putSchedule(changed)
	s.equal(after.NextTick, before.NextTick)
	s.equal(after.UpdatedAt.After(before.UpdatedAt), true)
	s.equal(after.CreatedAt, before.CreatedAt)
	changed.Cron = "0 3 * * *"
	s.equal(s.putSchedule(changed).NextTick, changed.NextTick)
	changed.Enabled, changed.NextTick, changed.DueAt = false, time.Time{}, time.Time{}
	s.equal(s.putSchedule(changed).NextTick, time.Time{})
}

// scheduleCovers: the window is kept where the same rows are covered, and begins anew where others are.
func (s *suite) scheduleCovers() {
	for i, c := range []struct {
		change func(*store.Schedule)
		kept   bool
	}{
		{func(to *store.Schedule) { to.Cron, to.Name = "0 4 * * *", "x" }, true},
		{func(to *store.Schedule) { to.Request = []byte(`{"output_format": "csv","date_modifier": "Updated"}`) }, true},
		{func(to *store.Schedule) { to.Request = []byte(`{"date_modifier":"Created"}`) }, false},
		{func(to *store.Schedule) { to.Procedure = "patients" }, false},
		{func(to *store.Schedule) { to.Window = false }, false},
	} {
		schedule := s.putSchedule(s.nightly(fmt.Sprint(i)))
		s.tick(decision(schedule, fmt.Sprint("j", i)))
		schedule = s.schedule(schedule.ID)
		s.equal(schedule.NextSince, "2026-02-01")
		c.change(&schedule)
		after := s.putSchedule(schedule)
		s.equal([]any{i, after.NextSince != "", after.Settled}, []any{i, c.kept, !c.kept})
	}
}

func (s *suite) schedulesDue() {
	a, b, off := s.nightly("a"), s.nightly("b"), s.nightly("off")
	b.DueAt = b.NextTick
	off.Enabled = false
	s.putSchedule(a)
	s.putSchedule(b)
	s.putSchedule(off)
	s.equal(len(s.due()), 0)
	s.advance(time.Minute)
	s.equal(strings.Join(s.due(), " "), "b")
	s.advance(3 * time.Second)
	s.equal(strings.Join(s.due(), " "), "b a")
	one, err := s.store.DueSchedules(s.Context(), 1)
	s.ok(err)
	s.equal(len(one), 1)
}

func (s *suite) schedulesDueDisabled() {
	s.putSchedule(s.nightly("a"))
	s.advance(time.Hour)
	s.ok(s.store.SetDisabled(s.Context(), "c", true, audited("")))
	s.equal(len(s.due()), 0)
	s.ok(s.store.SetDisabled(s.Context(), "c", false, audited("")))
	s.equal(len(s.due()), 1)
}

// schedulesClockAhead: what was decided on when the clock was wrong does not keep a schedule from ever being looked at.
func (s *suite) schedulesClockAhead() {
	made := s.putSchedule(s.nightly("a"))
	t := decision(made, "j")
	t.At = s.now().Add(store.ClockAhead + time.Hour)
	t.Next = t.At.Add(time.Hour)
	t.Due = t.Next
	s.tick(t)
	s.equal(strings.Join(s.due(), " "), "a")
	t.Schedule, t.Job, t.Outcome = s.schedule("a"), nil, store.OutcomeClock
	t.At, t.Next, t.Due = s.now(), s.now().Add(time.Hour), s.now().Add(time.Hour)
	_, done := s.tick(t)
	s.equal(done, true)
	s.equal(len(s.due()), 0)
}

func (s *suite) ticked() {
	made := s.putSchedule(s.nightly("a"))
	s.advance(2 * time.Minute)
	job, done := s.tick(decision(made, "j"))
	s.equal(done, true)
	s.equal(s.job("j"), job)
	s.equal([]any{job.Status, job.Type}, []any{store.Queued, "schedule"})
	after := s.schedule("a")
	want := made
	want.LastTick, want.LastJob, want.LastOutcome = made.NextTick, "j", store.OutcomeJob
	want.NextTick, want.DueAt = made.NextTick.Add(time.Hour), made.NextTick.Add(time.Hour)
	want.NextSince, want.Settled = "2026-02-01", false
	s.equal(after, want)
	s.equal(s.whats(), []string{"schedule.put", "schedule.tick", "job.created"})
	rows, err := s.store.AuditOf(s.Context(), "c", time.Time{}, 9)
	s.ok(err)
	for _, row := range rows {
		if row.What == "schedule.tick" {
			s.equal([]any{row.RunID, row.Outcome, row.Details["schedule"], row.Details["tick"]},
				[]any{"j", "ok", "a", made.NextTick.Format(time.RFC3339)})
		}
	}
	_, lease := s.claim()
	s.end(lease, store.JobCompleted)
}

// tickedOnce: of many that decide on a tick at once one does.
func (s *suite) tickedOnce() {
	made := s.putSchedule(s.nightly("a"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	decided := 0
	for i := range 16 {
		wg.Go(func() {
			job, done, err := s.store.Tick(s.Context(), decision(made, fmt.Sprint("j", i)))
			if err != nil || done != (job.ID != "") {
				s.Errorf("%v %q %v", done, job.ID, err)
			}
			if done {
				mu.Lock()
				decided++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.equal(decided, 1)
	_, total, err := s.store.Jobs(s.Context(), store.JobFilter{Customer: "c", Limit: 9})
	s.ok(err)
	s.equal(total, int64(1))
}

// tickOfAnotherMind: a decision on what a schedule was is none on what it is.
func (s *suite) tickOfAnotherMind() {
	read := s.putSchedule(s.nightly("a"))
	changed := read
	changed.Procedure = "patients"
	s.putSchedule(changed)
	_, done := s.tick(decision(read, "j"))
	s.equal(done, false)
	changed = s.schedule("a")
	changed.Enabled = false
	off := s.putSchedule(changed)
	_, done = s.tick(decision(off, "j"))
	s.equal(done, false)
	s.equal(s.schedule("a"), off)
}

func (s *suite) tickSkipped() {
	made := s.putSchedule(s.nightly("a"))
	t := decision(made, "")
	t.Job, t.Outcome = nil, store.OutcomeMissed
	job, done := s.tick(t)
	s.equal([]any{job.ID, done}, []any{"", true})
	after := s.schedule("a")
	s.equal([]any{after.LastOutcome, after.LastTick, after.NextSince, after.Settled}, []any{store.OutcomeMissed, made.NextTick, "", true})
	s.equal(s.whats(), []string{"schedule.put", "schedule.tick"})
}

func (s *suite) tickOverlaps() {
	s.putSchedule(s.nightly("a"))
	s.tick(decision(s.schedule("a"), "j1"))
	job, done := s.tick(decision(s.schedule("a"), "j2"))
	s.equal([]any{job.ID, done}, []any{"", true})
	after := s.schedule("a")
	s.equal([]any{after.LastOutcome, after.LastJob}, []any{store.OutcomeOverlap, "j1"})
	_, lease := s.claim()
	s.end(lease, store.JobFailed)
	job, _ = s.tick(decision(s.schedule("a"), "j3"))
	s.equal(job.ID, "j3")
}

func (s *suite) tickWaits() {
	queue := s.nightly("a")
	queue.Overlap = store.OverlapQueue
	s.putSchedule(queue)
	s.tick(decision(s.schedule("a"), "j1"))
	before := s.schedule("a")
	job, done := s.tick(decision(before, "j2"))
	s.equal([]any{job.ID, done}, []any{"", false})
	after := s.schedule("a")
	s.equal([]any{after.LastOutcome, after.NextTick, after.DueAt}, []any{store.OutcomeWaits, before.NextTick, s.now().Add(store.WaitsFor)})
	_, lease := s.claim()
	s.end(lease, store.JobFailed)
	job, done = s.tick(decision(s.schedule("a"), "j2"))
	s.equal([]any{job.ID, done}, []any{"j2", true})
}

// tickNow: an order to run at once leaves the ticks as they are, and makes no second job beside one.
func (s *suite) tickNow() {
	off := s.nightly("a")
	off.Enabled = false
	made := s.putSchedule(off)
	t := decision(made, "j")
	t.Now, t.By = true, ann
	job, done := s.tick(t)
	s.equal([]any{job.ID, done}, []any{"j", true})
	after := s.schedule("a")
	s.equal([]any{after.LastTick, after.NextTick, after.LastJob}, []any{time.Time{}, made.NextTick, "j"})
	t = decision(after, "j2")
	t.Now = true
	_, _, err := s.store.Tick(s.Context(), t)
	s.refused(err, store.CodeScheduleBusy)
	s.equal(s.whats(), []string{"schedule.put", "schedule.run", "job.created"})
}

// tickIsWhole: where its job cannot be made, a tick is not decided.
func (s *suite) tickIsWhole() {
	made := s.putSchedule(s.nightly("a"))
	s.create(order("j", "c"))
	_, _, err := s.store.Tick(s.Context(), decision(made, "j"))
	s.refused(err, store.CodeExists)
	s.equal(s.schedule("a"), made)
}

// completeUntil ends the job that waits, with a manifest.
func (s *suite) completeUntil(nextSince string) {
	s.Helper()
	_, lease := s.claim()
	_, err := s.store.EndJob(s.Context(), lease, store.Ending{Event: store.JobCompleted, By: ann,
		Result: store.Result{Bucket: "b", ObjectKey: "k", Manifest: []byte(`{"next_since":"` + nextSince + `"}`)}})
	s.ok(err)
}

func (s *suite) settle() int {
	s.Helper()
	n, err := s.store.SettleSchedules(s.Context(), 9)
	s.ok(err)
	return n
}

func (s *suite) settled() {
	s.putSchedule(s.nightly("a"))
	s.equal(s.settle(), 0)
	s.tick(decision(s.schedule("a"), "j"))
	s.equal(s.settle(), 0)
	s.completeUntil("2026-03-01")
	s.equal(s.settle(), 1)
	after := s.schedule("a")
	s.equal([]any{after.NextSince, after.Settled}, []any{"2026-03-01", true})
	s.equal(s.settle(), 0)
}

// settledFailed: a window stays where it was when its job has failed, the first one too.
func (s *suite) settledFailed() {
	s.putSchedule(s.nightly("a"))
	s.tick(decision(s.schedule("a"), "j"))
	_, lease := s.claim()
	s.end(lease, store.JobFailed)
	s.equal(s.settle(), 1)
	t := decision(s.schedule("a"), "j2")
	t.Since = "2026-02-15"
	s.tick(t)
	s.completeUntil("no day")
	s.equal(s.settle(), 1)
	s.equal(s.schedule("a").NextSince, "2026-02-01")
}

// settledBeforeTick: a decision that did not know how the job before has ended is made anew.
func (s *suite) settledBeforeTick() {
	s.putSchedule(s.nightly("a"))
	s.tick(decision(s.schedule("a"), "j"))
	read := s.schedule("a")
	s.completeUntil("2026-03-01")
	_, done := s.tick(decision(read, "j2"))
	s.equal(done, false)
	s.equal(s.schedule("a").NextSince, "2026-03-01")
	_, done = s.tick(decision(read, "j2"))
	s.equal(done, false)
	job, done := s.tick(decision(s.schedule("a"), "j2"))
	s.equal([]any{job.ID, done}, []any{"j2", true})
}

// settledForgotten: of a job that is listed no more nothing is known, and its schedule goes on.
func (s *suite) settledForgotten() {
	s.putSchedule(s.nightly("a"))
	s.tick(decision(s.schedule("a"), "j"))
	_, lease := s.claim()
	s.end(lease, store.JobFailed)
	s.advance(time.Hour)
	n, err := s.store.PruneJobs(s.Context(), s.now())
	s.ok(err)
	s.equal(n, int64(1))
	s.equal(s.settle(), 1)
	after := s.schedule("a")
	s.equal([]any{after.NextSince, after.Settled}, []any{"2026-02-01", true})
	if job, _, err := s.store.Tick(s.Context(), decision(after, "j2")); job.ID != "j2" {
		s.Errorf("%v, %v", job, fault.From(err).Code)
	}
}

// chooseSchedule makes up something to do with schedules.
func chooseSchedule(ctx context.Context, random *rand.Rand) (what string, do func(*side) (any, error)) {
	name := func(kind string, of int) string { return fmt.Sprint(kind, random.IntN(of)) }
	at := noon.Add(time.Duration(random.IntN(60*60)) * time.Second)
	id, customer, n := name("s", 4), name("c", 3), random.IntN(4)
	audit := store.Audit{At: at, What: name("what", 9), Customer: customer}
	put := store.Schedule{
		ID: id, Customer: customer, Name: name("n", 4), Document: n == 0, Procedure: name("p", 2), Request: []byte(`{"n":` + fmt.Sprint(n) + `}`),
		Cron: name("cron", 2), Zone: "UTC", Overlap: []store.Overlap{store.OverlapSkip, store.OverlapQueue}[n%2], Missed: store.MissedOnce,
		Window: n > 0, Enabled: n != 1, NextTick: at, DueAt: at.Add(time.Duration(n) * time.Second),
		State: store.ScheduleState{Epoch: name("epoch", 99)},
	}
	job, late := name("job", 20), random.IntN(40) == 0
	return [](func() (string, func(*side) (any, error))){
		func() (string, func(*side) (any, error)) {
			return "PutSchedule", func(s *side) (any, error) { return s.PutSchedule(ctx, put, audit) }
		},
		func() (string, func(*side) (any, error)) {
			return "DeleteSchedule", func(s *side) (any, error) { return nil, s.DeleteSchedule(ctx, customer, id, audit) }
		},
		func() (string, func(*side) (any, error)) {
			return "ResetSchedule", func(s *side) (any, error) { return s.ResetSchedule(ctx, customer, id, audit) }
		},
		func() (string, func(*side) (any, error)) {
			return "Schedules", func(s *side) (any, error) { return s.Schedules(ctx, "") }
		},
		func() (string, func(*side) (any, error)) {
			return "DueSchedules", func(s *side) (any, error) { return s.DueSchedules(ctx, n) }
		},
		func() (string, func(*side) (any, error)) {
			return "SettleSchedules", func(s *side) (any, error) { return s.SettleSchedules(ctx, 9) }
		},
		func() (string, func(*side) (any, error)) {
			return "Tick", func(s *side) (any, error) {
				read, err := s.Schedule(ctx, customer, id)
				if err != nil {
					return nil, err
				}
				t := decision(read, job)
				t.Now, t.Job.Job.Procedure = n == 3, read.Procedure
				if late {
					t.At = t.At.AddDate(0, 0, 3)
				}
				if n == 2 {
					t.Job, t.Outcome = nil, store.OutcomeMissed
				}
				made, done, err := s.Tick(ctx, t)
				return fmt.Sprintf("%+v %v", made, done), err
			}
		},
	}[random.IntN(7)]()
}
