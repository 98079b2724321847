package sqlite

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// TestTotals: what is counted ahead is what there is, whatever has happened to jobs, and for every filter.
func TestTotals(t *testing.T) {
	t.Parallel()
	ctx, first := t.Context(), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now := first
	s, err := Open(ctx, filepath.Join(t.TempDir(), "data"), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.passed = func(now time.Time) time.Duration { return now.Sub(first) }
	random := rand.New(rand.NewPCG(1, 2))
	events := []store.JobEvent{store.JobCompleted, store.JobFailed, store.JobCancelled, store.JobRetried, store.JobReturned, ""}
	for i := range 200 {
		now = now.Add(time.Hour)
		n := store.NewJob{Job: store.Job{ID: fmt.Sprint(i), Customer: fmt.Sprint("c", random.IntN(2)), Procedure: fmt.Sprint("p", random.IntN(2)), Type: "extract"}}
		if _, _, _, err := s.CreateJob(ctx, n); err != nil {
			t.Fatal(err)
		}
		_, lease, ok, err := s.ClaimJob(ctx, "w", nil)
		if event := events[random.IntN(len(events))]; ok && event != "" {
			_, err = s.EndJob(ctx, lease, store.Ending{Event: event})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.RecoverJobs(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.PruneJobs(ctx, first.Add(100*time.Hour)); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	day := func(n int) time.Time { return first.AddDate(0, 0, n) }
	found := int64(0)
	for _, days := range [][2]time.Time{{}, {day(3), day(5)}, {day(5), {}}, {{}, day(5)}, {day(8), day(8)}, {day(2).Add(time.Hour), day(5)}, {{}, day(5).Add(-time.Microsecond)}} {
		for _, status := range []store.Status{"", store.Queued, store.Running, store.Completed, store.Failed, store.Cancelled} {
			for _, procedure := range []string{"", "p0", "p1", "p2"} {
				f := store.JobFilter{Customer: "c1", Status: status, Procedure: procedure, From: days[0], To: days[1], Limit: 1000}
				list, total, err := s.Jobs(ctx, f)
				if err != nil || int64(len(list)) != total {
					t.Fatalf("%+v: %d in all, and %d in the list, %v", f, total, len(list), err)
				}
				found += total
			}
		}
	}
	if found == 0 {
		t.Error("there are no jobs")
	}
}
