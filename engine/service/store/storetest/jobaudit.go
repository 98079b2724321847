package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// jobAudit: every change of a job says who made it, from where, and at whose request.
func (s *suite) jobAudit() {
	ctx := s.Context()
	bob := store.Actor{Who: "service", From: "host-1", RequestID: "req_bob"}
	s.create(order("a", "c"))
	_, lease := s.claim()
	s.cancel("a")
	_, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobCancelled, ErrorCode: "TIME_LIMIT", By: bob})
	s.ok(err)
	s.create(order("b", "c"))
	s.claim()
	s.advance(store.LeaseTime)
	s.recover()
	rows, err := s.store.AuditOf(ctx, "c", time.Time{}, 99)
	s.ok(err)
	var got []string
	for _, a := range rows {
		s.equal(a.Details["procedure"], "appointments")
		got = append(got, fmt.Sprint(a.What, " ", a.RunID, " by ", a.Who, " ", a.From, " ", a.RequestID, " ", a.Outcome))
	}
	s.equal(got, []string{
		"job.created a by key:ann 192.0.2.1 req_ann ok",
		"job.claimed a by service local  ok",
		"job.cancel_asked a by key:ann 192.0.2.1 req_ann ok",
		"job.cancelled a by service host-1 req_bob TIME_LIMIT",
		"job.created b by key:ann 192.0.2.1 req_ann ok",
		"job.claimed b by service local  ok",
		"job.retried b by service local  WORKER_LOST",
	})
	s.equal(rows[len(rows)-1].At, s.now())
}

// jobAuditIsPart: what is refused, or changes nothing, leaves no audit row.
func (s *suite) jobAuditIsPart() {
	ctx := s.Context()
	s.posted("a", idempotent("k", "1"), "a", false)
	_, lease := s.claim()
	before := s.whats()
	for _, do := range []func(context.Context){
		func(context.Context) {
			_, _, _, err := s.store.CreateJob(ctx, order("a", "c"))
			s.refused(err, store.CodeExists)
		},
		func(context.Context) { s.posted("b", idempotent("k", "1"), "a", true) },
		func(context.Context) {
			_, _, err := s.post("b", idempotent("k", "2"))
			s.refused(err, store.CodeIdempotencyMismatch)
		},
		func(context.Context) { s.idle() },
		func(context.Context) { s.recover() },
		func(context.Context) { _, err := s.store.RenewJob(ctx, lease, store.Progress{Rows: 1}); s.ok(err) },
		func(context.Context) {
			_, err := s.store.EndJob(ctx, store.Lease{Job: "a"}, store.Ending{Event: store.JobFailed, By: ann})
			s.refused(err, store.CodeLeaseLost)
		},
		func(context.Context) {
			_, err := s.store.EndJob(ctx, lease, store.Ending{Event: store.JobClaimed, By: ann})
			s.refused(err, store.CodeIllegalEvent)
		},
		func(context.Context) {
			_, err := s.store.CancelJob(ctx, "d", "a", ann)
			s.refused(err, store.CodeUnknown)
		},
		func(context.Context) {
			s.refused(s.store.ExtendObject(ctx, "a", after(time.Hour), audited("x")), store.CodeUnknown)
		},
		func(context.Context) { s.refused(s.store.ObjectRemoved(ctx, "a"), store.CodeUnknown) },
	} {
		do(ctx)
		s.equal(s.whats(), before)
	}
	s.equal(len(s.path("a")), 2)
	events, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(len(events), 0)
}

// everyChangeIsThere: however many change jobs at once, the transitions of each are complete, and audit and outbox agree
// with them.
func (s *suite) everyChangeIsThere() {
	const jobs = 60
	for i := range jobs {
		s.create(order(fmt.Sprint("j", i), "c"))
	}
	done := make(chan struct{})
	ctx := context.WithoutCancel(s.Context())
	for w := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for n := 0; ; n++ {
				j, lease, ok, err := s.store.ClaimJob(ctx, fmt.Sprint("worker ", w), nil)
				if err != nil {
					s.Error(err)
				}
				if err != nil || !ok {
					return
				}
				if n%3 == 0 {
					if _, err := s.store.CancelJob(ctx, "c", j.ID, ann); err != nil {
						s.Error(err)
					}
				}
				event := []store.JobEvent{store.JobReturned, store.JobRetried, store.JobCompleted, store.JobFailed}[n%4]
				if _, err := s.store.EndJob(ctx, lease, store.Ending{Event: event}); err != nil {
					s.Error(err)
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
	for s.leftClaims() {
		_, lease := s.claim()
		s.end(lease, store.JobCompleted)
	}
	rows, err := s.store.AuditOf(ctx, "", time.Time{}, 10_000)
	s.ok(err)
	audited := map[string]int{}
	for _, a := range rows {
		if a.What != "job.cancel_asked" {
			audited[a.RunID]++
		}
	}
	events, err := s.store.Outbox(ctx, 0, 10_000)
	s.ok(err)
	told := map[string]string{}
	for _, o := range events {
		told[o.Job] += o.Event
	}
	for i := range jobs {
		j := s.job(fmt.Sprint("j", i))
		s.equal(j.Status.Ended(), true)
		s.equal(len(s.path(j.ID)), int(j.Transition))
		s.equal(audited[j.ID], int(j.Transition))
		s.equal(told[j.ID], "job."+string(j.Status))
	}
}
