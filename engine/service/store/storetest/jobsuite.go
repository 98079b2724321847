package storetest

import (
	"context"
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

// ordered: what was ordered is kept as it was given, and what is the record's is not taken from the order.
func (s *suite) ordered() {
	n := store.NewJob{By: ann, Job: store.Job{
		ID: "appointments_1_aa", Customer: "c", Procedure: "appointments", Type: "schedule", Priority: store.High,
		Reason: "rows", Request: []byte("{\"a\":\"\x00\"}"), Format: "csv", Compression: "zip", Encrypted: true,
		FromDate: "2026-01-01", ToDate: "2026-01-31", Modifier: "Updated", WebhookURL: "https://example.com/hook",
		RequestID: "req_1", KeyID: "key_1", From: "2001:db8::1", Trace: "00-ab-cd-01",
		Progress: store.Progress{EstimatedRows: 1 << 40, EstimatedBytes: 7}, Result: store.Result{Bucket: "main"},
	}}
	want := n.Job
	want.Status, want.Transition, want.CreatedAt, want.UpdatedAt = store.Queued, 1, s.now(), s.now()
	n.Job.Status, n.Job.Attempts, n.Job.Runs, n.Job.Transition, n.Job.Holder = store.Completed, 9, 9, 9, "x"
	n.Job.CreatedAt, n.Job.CompletedAt, n.Job.NotBefore, n.Job.CancelAsked = noon, noon, noon, noon
	n.Job.ErrorCode, n.Job.ObjectKey, n.Job.TotalRows, n.Job.Manifest = "x", "x", 9, []byte("x")
	made, _ := s.create(n)
	s.equal(made, want)
	s.equal(s.job(want.ID), want)
}

func (s *suite) createdTwice() {
	ctx := s.Context()
	first, _ := s.create(order("a", "c"))
	for _, customer := range []string{"c", "d"} {
		_, _, _, err := s.store.CreateJob(ctx, order("a", customer))
		s.refused(err, store.CodeExists)
	}
	s.equal(s.job("a"), first)
	s.equal(s.whats(), []string{"job.created"})
	s.equal(s.path("a"), []string{">queued 0"})
	s.claim()
	s.idle()
}

// createdHeld: a job that its maker runs from the beginning.
func (s *suite) createdHeld() {
	n := order("a", "c")
	n.Holder = "maker"
	made, lease := s.create(n)
	s.equal([]any{made.Status, made.Attempts, made.Runs, made.Holder, made.StartedAt},
		[]any{store.Running, 1, 1, "maker", s.now()})
	s.equal([]any{lease.Job, lease.Customer, lease.Holder, lease.Fence}, []any{"a", "c", "maker", int64(1)})
	s.idle()
	_, err := s.store.RenewJob(s.Context(), lease, store.Progress{})
	s.ok(err)
	s.end(lease, store.JobCompleted)
	s.equal(s.path("a"), []string{">running 1", "completed>completed 1"})
}

// illegal: what cannot become of a job that runs is refused, and its worker has it still.
func (s *suite) illegal() {
	ctx := s.Context()
	s.create(order("a", "c"))
	running, lease := s.claim()
	for _, event := range []store.JobEvent{"", store.JobClaimed, "x"} {
		_, err := s.store.EndJob(ctx, lease, store.Ending{Event: event})
		s.refused(err, store.CodeIllegalEvent)
	}
	s.equal(s.job("a"), running)
	s.equal(s.whats(), []string{"job.created", "job.claimed"})
	s.end(lease, store.JobFailed)
}

// endIsEnd: nothing follows an end, whichever it was.
func (s *suite) endIsEnd() {
	ctx := s.Context()
	for _, event := range []store.JobEvent{store.JobCompleted, store.JobFailed, store.JobCancelled} {
		id := string(event)
		s.create(order(id, "c"))
		_, lease := s.claim()
		ended := s.end(lease, event)
		s.equal(string(ended.Status), id)
		s.equal([]any{ended.Holder, ended.CompletedAt, ended.UpdatedAt}, []any{"", s.now(), s.now()})
		for _, next := range []store.JobEvent{
			store.JobClaimed, store.JobReturned, store.JobRetried, store.JobCompleted, store.JobFailed, store.JobCancelled,
		} {
			_, err := s.store.EndJob(ctx, lease, store.Ending{Event: next})
			s.refused(err, store.CodeLeaseLost)
		}
		_, err := s.store.RenewJob(ctx, lease, store.Progress{})
		s.refused(err, store.CodeLeaseLost)
		s.idle()
		s.advance(2 * store.LeaseTime)
		recovered, err := s.store.RecoverJobs(ctx)
		s.ok(err)
		s.equal(len(recovered), 0)
		s.equal(s.job(id), ended)
	}
}

func (s *suite) completed() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	s.advance(time.Second)
	result := store.Result{
		Bucket: "main", ObjectKey: "c/a_1.csv.gz", FileName: "a.csv.gz", MediaType: "text/csv", Size: 1 << 40, SHA256: "ab",
		TotalRows: 1 << 33, SealingKey: "0123456789abcdef", Manifest: []byte(`{"rows":1}`), DataAsOf: noon, PeakMemory: 1e9,
		CPUSeconds: 0.1, ObjectExpires: after(13 * time.Hour), ObjectRemoved: noon,
	}
	j, err := s.store.EndJob(s.Context(), lease, store.Ending{
		Event: store.JobCompleted, Result: result, Progress: store.Progress{Rows: 5, Bytes: 6}, ErrorCode: "x", Delay: time.Hour,
	})
	s.ok(err)
	result.DataAsOf, result.ObjectExpires, result.ObjectRemoved = kept(noon), kept(after(13*time.Hour)), time.Time{}
	s.equal(j.Result, result)
	s.equal(j.Progress, store.Progress{Rows: 1 << 33, Bytes: 6})
	s.equal([]any{j.ErrorCode, j.NotBefore, j.CompletedAt.Sub(j.StartedAt)}, []any{"", time.Time{}, time.Second})
	s.equal(s.job("a"), j)
}

func (s *suite) failed() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	j, err := s.store.EndJob(s.Context(), lease, store.Ending{
		Event: store.JobFailed, ErrorCode: "SOURCE_ERROR", ErrorMessage: "the table is gone", Suggestion: "look for it",
		Progress: store.Progress{Rows: 3, Bytes: 4}, Result: store.Result{ObjectKey: "half", Size: 9}, By: ann,
	})
	s.ok(err)
	s.equal([]any{j.ErrorCode, j.ErrorMessage, j.Suggestion, j.Rows, j.Bytes}, []any{"SOURCE_ERROR", "the table is gone", "look for it", int64(3), int64(4)})
	s.equal(j.Result, store.Result{}) // what did not complete has no object
	s.equal(s.job("a"), j)
	s.equal(s.path("a"), []string{">queued 0", "claimed>running 1", "failed>failed 1SOURCE_ERROR"})
}

func (s *suite) timeLimit() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	j, err := s.store.EndJob(s.Context(), lease, store.Ending{Event: store.JobCancelled, ErrorCode: "TIME_LIMIT", ErrorMessage: "m"})
	s.ok(err)
	s.equal([]any{j.Status, j.ErrorCode, j.CancelAsked}, []any{store.Cancelled, "TIME_LIMIT", time.Time{}})
	s.idle()
}

func (s *suite) progress() {
	ctx := s.Context()
	s.create(order("a", "c"))
	_, lease := s.claim()
	report := func(p store.Progress, want store.Progress) {
		s.Helper()
		_, err := s.store.RenewJob(ctx, lease, p)
		s.ok(err)
		s.equal(s.job("a").Progress, want)
	}
	report(store.Progress{Rows: 5, Bytes: 50, EstimatedRows: 10}, store.Progress{Rows: 5, Bytes: 50, EstimatedRows: 10})
	report(store.Progress{Rows: 4, Bytes: 60}, store.Progress{Rows: 5, Bytes: 60, EstimatedRows: 10})
	report(store.Progress{EstimatedRows: 8, EstimatedBytes: 9}, store.Progress{Rows: 5, Bytes: 60, EstimatedRows: 8, EstimatedBytes: 9})
	// The next run begins with nothing done, and is seen when it has come further.
	s.end(lease, store.JobReturned)
	var j store.Job
	j, lease = s.claim()
	s.equal(j.Progress, store.Progress{Rows: 5, Bytes: 60, EstimatedRows: 8, EstimatedBytes: 9})
	report(store.Progress{Rows: 1}, store.Progress{Rows: 5, Bytes: 60, EstimatedRows: 8, EstimatedBytes: 9})
	report(store.Progress{Rows: 6}, store.Progress{Rows: 6, Bytes: 60, EstimatedRows: 8, EstimatedBytes: 9})
}

// renewalIsNoChange: a job that is renewed has changed for nobody but its worker.
func (s *suite) renewalIsNoChange() {
	s.create(order("a", "c"))
	before, lease := s.claim()
	s.advance(time.Second)
	_, err := s.store.RenewJob(s.Context(), lease, store.Progress{})
	s.ok(err)
	s.equal(s.job("a"), before)
	s.equal(s.path("a"), []string{">queued 0", "claimed>running 1"})
}

// clockSetBack: the times of a job are in order, whatever the clock says.
func (s *suite) clockSetBack() {
	s.create(order("a", "c"))
	s.advance(-time.Hour)
	_, lease := s.claim()
	s.advance(-time.Hour)
	j := s.end(lease, store.JobCompleted)
	if j.StartedAt.Before(j.CreatedAt) || j.CompletedAt.Before(j.StartedAt) || j.UpdatedAt.Before(j.CompletedAt) {
		s.Fatalf("the times are not in order: %+v", j)
	}
	all, err := s.store.Transitions(s.Context(), "c", "a", 0)
	s.ok(err)
	for i := range all[1:] {
		s.equal(all[i+1].At.Before(all[i].At), false)
	}
}

func (s *suite) transitions() {
	ctx := s.Context()
	s.create(order("a", "c"))
	made := s.now()
	s.advance(time.Minute)
	_, lease := s.claim()
	_, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobRetried, ErrorCode: "SOURCE_ERROR"})
	s.ok(err)
	all, err := s.store.Transitions(ctx, "c", "a", 0)
	s.ok(err)
	want := []store.Transition{
		{Job: "a", Number: 1, To: store.Queued, At: made},
		{Job: "a", Number: 2, Event: store.JobClaimed, From: store.Queued, To: store.Running, At: s.now(), Attempt: 1},
		{Job: "a", Number: 3, Event: store.JobRetried, From: store.Running, To: store.Queued, At: s.now(), Attempt: 1, Code: "SOURCE_ERROR"},
	}
	s.equal(all, want)
	s.equal([]any{s.job("a").Transition, s.job("a").ErrorCode}, []any{int64(3), ""}) // it may come to a good end yet
	some, err := s.store.Transitions(ctx, "c", "a", 2)
	s.ok(err)
	s.equal(some, want[2:])
	none, err := s.store.Transitions(ctx, "c", "a", 3)
	s.ok(err)
	s.equal(len(none), 0)
	for _, c := range [][2]string{{"d", "a"}, {"c", "b"}} {
		_, err := s.store.Transitions(ctx, c[0], c[1], 0)
		s.refused(err, store.CodeUnknown)
		_, err = s.store.Job(ctx, c[0], c[1])
		s.refused(err, store.CodeUnknown)
	}
}

func (s *suite) pastRuns() {
	ctx := s.Context()
	gave := func(customer, procedure string, want store.Progress) {
		s.Helper()
		p, err := s.store.PastRuns(ctx, customer, procedure)
		s.ok(err)
		s.equal(p, want)
	}
	run := func(id string, event store.JobEvent, rows int64) {
		s.Helper()
		s.create(order(id, "c"))
		_, lease := s.claim()
		_, err := s.store.EndJob(ctx, lease, store.Ending{
			Event: event, Progress: store.Progress{Rows: rows, Bytes: rows * 10}, Result: store.Result{TotalRows: rows},
		})
		s.ok(err)
	}
	gave("c", "appointments", store.Progress{})
	run("a", store.JobFailed, 3)
	gave("c", "appointments", store.Progress{})
	run("b", store.JobCompleted, 5)
	run("x", store.JobCompleted, 4)
	run("y", store.JobFailed, 9)
	gave("c", "appointments", store.Progress{Rows: 4, Bytes: 40})
	gave("d", "appointments", store.Progress{})
	gave("c", "patients", store.Progress{})
	s.advance(time.Hour)
	_, err := s.store.PruneJobs(ctx, s.now())
	s.ok(err)
	gave("c", "appointments", store.Progress{Rows: 4, Bytes: 40})
}

func (s *suite) queues() {
	ctx := s.Context()
	queues := func() map[string]store.Queue {
		s.Helper()
		q, err := s.store.Queues(ctx)
		s.ok(err)
		return q
	}
	s.equal(queues(), map[string]store.Queue{})
	s.create(order("a", "c"))
	first := s.now()
	s.advance(time.Minute)
	second := s.now()
	s.create(order("b", "d"))
	n := order("p", "c")
	n.Job.Procedure = "patients"
	s.create(n)
	s.equal(queues(), map[string]store.Queue{"appointments": {Queued: 2, Oldest: first}, "patients": {Queued: 1, Oldest: second}})
	_, lease := s.claim()
	s.equal(queues(), map[string]store.Queue{"appointments": {Queued: 1, Running: 1, Oldest: second}, "patients": {Queued: 1, Oldest: second}})
	s.end(lease, store.JobCompleted)
	for range 2 {
		_, lease := s.claim()
		s.end(lease, store.JobFailed)
	}
	s.equal(queues(), map[string]store.Queue{})
}

func (s *suite) outbox() {
	ctx := s.Context()
	var want []string
	for i, event := range []store.JobEvent{store.JobCompleted, store.JobFailed, store.JobRetried, store.JobCancelled, store.JobReturned} {
		s.create(order(fmt.Sprint("a", i), "c"))
		_, lease := s.claim()
		j := s.end(lease, event)
		if j.Status.Ended() {
			want = append(want, fmt.Sprintf("job.%s c %s 3 %v", event, j.ID, s.now()))
		} else {
			_, err := s.store.CancelJob(ctx, "c", j.ID, ann)
			s.ok(err)
			want = append(want, fmt.Sprintf("job.cancelled c %s 4 %v", j.ID, s.now()))
		}
		s.advance(time.Second)
	}
	all, err := s.store.Outbox(ctx, 0, 100)
	s.ok(err)
	var got []string
	for i, o := range all {
		if i > 0 && o.Seq <= all[i-1].Seq {
			s.Fatalf("the events are not in order: %+v", all)
		}
		got = append(got, fmt.Sprintf("%s %s %s %d %v", o.Event, o.Customer, o.Job, o.Transition, o.At))
	}
	s.equal(got, want)
	some, err := s.store.Outbox(ctx, all[1].Seq, 2)
	s.ok(err)
	s.equal(some, all[2:4])
	none, err := s.store.Outbox(ctx, all[len(all)-1].Seq, 9)
	s.ok(err)
	s.equal(len(none), 0)
}

// jobText is kept as it is, whatever it holds.
func (s *suite) jobText() {
	ctx := s.Context()
	for _, hostile := range []string{"'; DROP TABLE jobs; --", "Zoë \u202e \U0001f9ea", "\n\t\"\\", "%s%d", "$1 ?1 :a"} {
		n := store.NewJob{Holder: hostile, Job: store.Job{
			ID: hostile, Customer: hostile, Procedure: hostile, WebhookURL: hostile, Request: []byte(hostile),
		}}
		made, lease := s.create(n)
		ended, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobFailed, ErrorCode: hostile, ErrorMessage: hostile})
		s.ok(err)
		s.equal([]string{made.ID, string(made.Request), ended.ErrorMessage}, []string{hostile, hostile, hostile})
		list, total, err := s.store.Jobs(ctx, store.JobFilter{Customer: hostile, Procedure: hostile, Limit: 9})
		s.ok(err)
		s.equal(total, int64(1))
		s.equal(list, []store.Job{ended})
	}
}

// jobCopies: what was given and what is returned belong to the caller.
func (s *suite) jobCopies() {
	ctx := s.Context()
	n := order("a", "c")
	n.Job.Request = []byte("{}")
	made, _ := s.create(n)
	n.Job.Request[0], made.Request[0] = 'x', 'x'
	taken, lease := s.claim()
	s.equal(string(taken.Request), "{}")
	taken.Request[0] = 'x'
	manifest := []byte("{}")
	ended, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted, Result: store.Result{Manifest: manifest}})
	s.ok(err)
	manifest[0], ended.Manifest[0] = 'x', 'x'
	for range 2 {
		j := s.job("a")
		s.equal([]string{string(j.Request), string(j.Manifest)}, []string{"{}", "{}"})
		j.Request[0], j.Manifest[0] = 'x', 'x'
		list, _, err := s.store.Jobs(ctx, store.JobFilter{Customer: "c", Limit: 1})
		s.ok(err)
		s.equal(string(list[0].Request), "{}")
		list[0].Request[0] = 'x'
	}
}

func (s *suite) jobsCancelled() {
	made, _ := s.create(order("a", "c"))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	for _, err := range s.everything(ctx) {
		if err != context.Canceled {
			s.Fatalf("expected the context's end, got %v", err)
		}
	}
	s.equal(s.job("a"), made)
	s.equal(s.whats(), []string{"job.created"})
}

func (s *suite) jobsClosed() {
	s.create(order("a", "c"))
	s.ok(s.store.Close())
	for _, err := range s.everything(s.Context()) {
		s.refused(err, store.CodeClosed)
	}
}

// everything is what each method of jobs says.
func (s *suite) everything(ctx context.Context) (errs []error) {
	says := func(err error) { errs = append(errs, err) }
	_, _, _, err := s.store.CreateJob(ctx, order("b", "c"))
	says(err)
	_, err = s.store.ReserveIdempotency(ctx, idempotent("k", "1"))
	says(err)
	says(s.store.ReleaseIdempotency(ctx, idempotent("k", "1")))
	_, _, _, err = s.store.ClaimJob(ctx, "worker", nil)
	says(err)
	_, err = s.store.RenewJob(ctx, store.Lease{Job: "a"}, store.Progress{})
	says(err)
	_, err = s.store.EndJob(ctx, store.Lease{Job: "a"}, store.Ending{Event: store.JobFailed})
	says(err)
	_, err = s.store.CancelJob(ctx, "c", "a", ann)
	says(err)
	_, err = s.store.RecoverJobs(ctx)
	says(err)
	_, err = s.store.Job(ctx, "c", "a")
	says(err)
	_, _, err = s.store.Jobs(ctx, store.JobFilter{Customer: "c", Limit: 1})
	says(err)
	_, err = s.store.Transitions(ctx, "c", "a", 0)
	says(err)
	_, err = s.store.PastRuns(ctx, "c", "p")
	says(err)
	says(s.store.ExtendObject(ctx, "a", noon))
	_, err = s.store.ExpiredObjects(ctx, noon, 1)
	says(err)
	says(s.store.ObjectRemoved(ctx, "a"))
	_, err = s.store.Leftovers(ctx, noon, 1)
	says(err)
	says(s.store.LeftoverSwept(ctx, 1))
	_, err = s.store.PruneJobs(ctx, noon)
	says(err)
	_, err = s.store.Outbox(ctx, 0, 1)
	says(err)
	_, err = s.store.Queues(ctx)
	says(err)
	_, err = s.store.Clock(ctx)
	says(err)
	return errs
}
