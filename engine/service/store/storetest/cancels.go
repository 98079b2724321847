package storetest

import (
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

func (s *suite) cancel(id string) store.Job {
	s.Helper()
	j, err := s.store.CancelJob(s.Context(), "c", id, ann)
	s.ok(err)
	return j
}

func (s *suite) cancelQueued() {
	s.create(order("a", "c"))
	j := s.cancel("a")
	s.equal([]any{j.Status, j.CancelAsked, j.CompletedAt, j.ErrorCode}, []any{store.Cancelled, s.now(), s.now(), ""})
	s.equal(s.job("a"), j)
	s.idle()
	s.equal(s.path("a"), []string{">queued 0", "cancelled>cancelled 0"})
	left, err := s.store.Leftovers(s.Context(), s.now().Add(time.Hour), 9)
	s.ok(err)
	s.equal(len(left), 0) // it never ran
}

// cancelRunning: its worker hears of it, and whatever it says but that it is done, the job is cancelled.
func (s *suite) cancelRunning() {
	for event, want := range map[store.JobEvent]store.Status{
		store.JobCancelled: store.Cancelled, store.JobReturned: store.Cancelled, store.JobRetried: store.Cancelled,
		store.JobCompleted: store.Completed, store.JobFailed: store.Failed,
	} {
		id := string(event)
		s.create(order(id, "c"))
		_, lease := s.claim()
		renewal, err := s.store.RenewJob(s.Context(), lease, store.Progress{})
		s.ok(err)
		s.equal(renewal.Cancel, false)
		asked := s.cancel(id)
		s.equal([]any{asked.Status, asked.CancelAsked, asked.Transition}, []any{store.Running, s.now(), int64(2)})
		s.equal(s.job(id), asked)
		renewal, err = s.store.RenewJob(s.Context(), lease, store.Progress{})
		s.ok(err)
		s.equal(renewal.Cancel, true)
		s.equal(s.end(lease, event).Status, want)
	}
}

// cancelTwice: a second time changes nothing, and is not in the audit.
func (s *suite) cancelTwice() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	asked := s.cancel("a")
	s.advance(time.Second)
	s.equal(s.cancel("a"), asked)
	ended := s.end(lease, store.JobCancelled)
	s.equal(s.cancel("a"), ended)
	s.equal(s.whats(), []string{"job.created", "job.claimed", "job.cancel_asked", "job.cancelled"})
}

func (s *suite) cancelEnded() {
	for _, event := range []store.JobEvent{store.JobCompleted, store.JobFailed} {
		id := string(event)
		s.create(order(id, "c"))
		_, lease := s.claim()
		ended := s.end(lease, event)
		j, err := s.store.CancelJob(s.Context(), "c", id, ann)
		s.refused(err, store.CodeJobEnded)
		s.equal(j, ended)
		s.equal(s.job(id), ended)
	}
}

func (s *suite) cancelUnknown() {
	made, _ := s.create(order("a", "c"))
	for _, c := range [][2]string{{"d", "a"}, {"c", "b"}, {"", "a"}} {
		_, err := s.store.CancelJob(s.Context(), c[0], c[1], ann)
		s.refused(err, store.CodeUnknown)
	}
	s.equal(s.job("a"), made)
	s.equal(s.whats(), []string{"job.created"})
}

// cancelWaiting: one that waits for its next attempt is cancelled at once.
func (s *suite) cancelWaiting() {
	s.create(order("a", "c"))
	_, lease := s.claim()
	_, err := s.store.EndJob(s.Context(), lease, store.Ending{Event: store.JobRetried, Delay: time.Hour})
	s.ok(err)
	j := s.cancel("a")
	s.equal([]any{j.Status, j.NotBefore}, []any{store.Cancelled, time.Time{}})
	s.advance(2 * time.Hour)
	s.idle()
}
