package sqlite

import (
	"os"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestClockIsSet: leases and delays go by the time that passes, not by what the machine's clock is set to.
func TestClockIsSet(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), openHere(t)
	var passed time.Duration
	s.passed = func(time.Time) time.Duration { return passed }
	claim := func() store.Lease {
		t.Helper()
		_, lease, ok, err := s.ClaimJob(ctx, "worker", nil)
		if err != nil || !ok {
			t.Fatalf("there is no job: %v", err)
		}
		return lease
	}
	for _, id := range []string{"a", "b"} {
		if _, _, _, err := s.CreateJob(ctx, store.NewJob{Job: store.Job{ID: id, Customer: id, Procedure: "p"}}); err != nil {
			t.Fatal(err)
		}
	}
	lease := claim()
	if _, err := s.EndJob(ctx, claim(), store.Ending{Event: store.JobRetried, Delay: time.Minute}); err != nil {
		t.Fatal(err)
	}
	passed = store.LeaseTime - time.Second
	for _, day := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		s.now = func() time.Time { return time.Now().Add(day) }
		if recovered, err := s.RecoverJobs(ctx); err != nil || len(recovered) > 0 {
			t.Errorf("the clock was set by %v, and recovered were %v, %v", day, recovered, err)
		}
		if j, _, ok, err := s.ClaimJob(ctx, "worker", nil); err != nil || ok {
			t.Errorf("the clock was set by %v, and %s is taken, which waits: %v", day, j.ID, err)
		}
	}
	if _, err := s.RenewJob(ctx, lease, store.Progress{}); err != nil {
		t.Errorf("a lease was lost to the clock: %v", err)
	}
	passed += store.LeaseTime
	if _, err := s.RenewJob(ctx, lease, store.Progress{}); !fault.Is(err, store.CodeLeaseLost) {
		t.Errorf("expected %s, got %v", store.CodeLeaseLost, err)
	}
	if recovered, err := s.RecoverJobs(ctx); err != nil || len(recovered) != 1 {
		t.Errorf("recovered were %v, %v", recovered, err)
	}
	passed += time.Minute
	claim()
	claim()
}

// TestReadOnly: what cannot be written is refused and can be read, and when it can be written again it goes on.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), openHere(t)
	order := store.NewJob{Job: store.Job{ID: "a", Customer: "c", Procedure: "p"}}
	made, _, _, err := s.CreateJob(ctx, order)
	if err != nil {
		t.Fatal(err)
	}
	// SQLite says the same of a file system that was mounted read-only.
	set := func(to string) {
		t.Helper()
		if _, err := s.writer.conn.ExecContext(ctx, "PRAGMA query_only = "+to); err != nil {
			t.Fatal(err)
		}
	}
	set("1")
	order.Job.ID = "b"
	for range 2 {
		if _, _, _, err := s.CreateJob(ctx, order); !fault.Is(err, store.CodeReadOnly) || !fault.From(err).Retryable {
			t.Fatalf("expected %s, got %v", store.CodeReadOnly, err)
		}
	}
	if j, err := s.Job(ctx, "c", "a"); err != nil || j.UpdatedAt != made.UpdatedAt {
		t.Errorf("what is there cannot be read: %+v, %v", j, err)
	}
	set("0")
	if _, _, _, err := s.CreateJob(ctx, order); err != nil {
		t.Error(err)
	}
}

// TestAway: nothing is acknowledged that nobody finds again, when the record is taken away from under its service.
func TestAway(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), openHere(t)
	order := store.NewJob{Job: store.Job{ID: "a", Customer: "c", Procedure: "p"}}
	if _, _, _, err := s.CreateJob(ctx, order); err != nil {
		t.Fatal(err)
	}
	order.Job.ID = "b"
	refused := func() {
		t.Helper()
		if _, _, _, err := s.CreateJob(ctx, order); !fault.Is(err, store.CodeAway) || !fault.From(err).Retryable {
			t.Fatalf("expected %s, got %v", store.CodeAway, err)
		}
		if _, err := s.Job(ctx, "c", "a"); err != nil {
			t.Errorf("what is there cannot be read: %v", err)
		}
	}
	file := s.dir.file(fileName)
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	refused()
	if err := os.WriteFile(file, []byte("another"), privateMode); err != nil { // one in its place is not the record
		t.Fatal(err)
	}
	refused()
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.CreateJob(ctx, order); err != nil {
		t.Error(err)
	}
}
