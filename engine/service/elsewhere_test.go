package service

import (
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestJobsElsewhere: a process without a place for results knows the jobs of others, so that their events are not lost, and
// leaves it to the others to give the results.
func TestJobsElsewhere(t *testing.T) {
	record := memory.New()
	made, _, _, err := record.CreateJob(t.Context(), store.NewJob{Job: store.Job{ID: "j", Customer: "clinic", Procedure: "patients", Request: []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	jobs := elsewhere{record}
	if j, err := jobs.Get(t.Context(), "clinic", "j"); err != nil || j.ID != made.ID {
		t.Errorf("%+v %v", j, err)
	}
	if _, err := jobs.Get(t.Context(), "other", "j"); !fault.Is(err, store.CodeUnknown) {
		t.Errorf("of another customer: %v", err)
	}
	if _, err := jobs.Link(t.Context(), made, store.Actor{}); !fault.Is(err, CodeElsewhere) {
		t.Errorf("a link: %v", err)
	}
}
