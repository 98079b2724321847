package store_test

import (
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// TestNext holds the whole table of states and events.
func TestNext(t *testing.T) {
	t.Parallel()
	type pair struct {
		from  store.Status
		event store.JobEvent
	}
	want := map[pair]store.Status{
		{store.Queued, store.JobClaimed}:    store.Running,
		{store.Queued, store.JobCancelled}:  store.Cancelled,
		{store.Running, store.JobReturned}:  store.Queued,
		{store.Running, store.JobRetried}:   store.Queued,
		{store.Running, store.JobCompleted}: store.Completed,
		{store.Running, store.JobFailed}:    store.Failed,
		{store.Running, store.JobCancelled}: store.Cancelled,
	}
	for _, from := range []store.Status{"", store.Queued, store.Running, store.Completed, store.Failed, store.Cancelled, "x"} {
		for _, event := range []store.JobEvent{
			"", store.JobClaimed, store.JobReturned, store.JobRetried, store.JobCompleted, store.JobFailed, store.JobCancelled, "x",
		} {
			expected, can := want[pair{from, event}]
			if !can {
				expected = from
			}
			if to, ok := store.Next(from, event); to != expected || ok != can {
				t.Errorf("%q and %q: got %q, %v; want %q, %v", from, event, to, ok, expected, can)
			}
			if _, ok := store.Next(from, event); ok && from.Ended() {
				t.Errorf("%s follows the end %s", event, from)
			}
		}
	}
}
