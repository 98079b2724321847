package sqlite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// TestStatementsAreKept: what a record does again and again is compiled once, and what differs each time does not pile up.
func TestStatementsAreKept(t *testing.T) {
	t.Parallel()
	s := openHere(t)
	one := func(i int) {
		n := store.NewJob{Job: store.Job{ID: fmt.Sprint(i), Customer: "c", Procedure: "p", Type: "extract"}}
		if _, _, _, err := s.CreateJob(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		_, lease, ok, err := s.ClaimJob(t.Context(), "w", strings.Fields(strings.Repeat("x ", i)))
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		end := store.Ending{Event: store.JobCompleted, Result: store.Result{ObjectExpires: time.Now()}}
		if _, err := s.EndJob(t.Context(), lease, end); err != nil {
			t.Fatal(err)
		}
	}
	one(0)
	one(1)
	first := s.writer.conn.statements[`UPDATE shares SET queued = queued + ?, running = running + ? WHERE customer = ?`]
	for i := range mostPrepared + 10 {
		one(2 + i)
	}
	if first == nil || s.writer.conn.statements[`UPDATE shares SET queued = queued + ?, running = running + ? WHERE customer = ?`] != first {
		t.Error("a statement was compiled again")
	}
	if n := len(s.writer.conn.statements); n > mostPrepared {
		t.Errorf("%d statements are kept", n)
	}
}
