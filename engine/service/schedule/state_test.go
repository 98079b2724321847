package schedule

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"reflect"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func newStates(t *testing.T) *States {
	t.Helper()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	key, err := datakey.Parse(config.NewSecret(base64.StdEncoding.EncodeToString(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return NewStates(key)
}

// TestStates: a state comes back as it was, from its own place and under its own key, and nothing of it is seen.
func TestStates(t *testing.T) {
	t.Parallel()
	s := newStates(t)
	of := store.Schedule{ID: "sch", Customer: "c", State: store.ScheduleState{Epoch: "e"}}
	if state, err := s.Open(of); err != nil || !state.IsZero() {
		t.Errorf("%+v, %v", state, err)
	}
	want := engine.State{Version: engine.StateVersion, Pipeline: "changes", Source: "builtin/mysql", Cursor: "id",
		Type:   "integer",
		Inputs: map[string]string{"params.of": "Maria"}, Value: "42", Origin: "db:3306/practice", RunID: "r",
		SavedAt: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	var err error
	if of.State.Sealed, err = s.Seal("c", "sch", "e", &want); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(of.State.Sealed, []byte("Maria")) || bytes.Contains(of.State.Sealed, []byte("3306")) {
		t.Errorf("%q", of.State.Sealed)
	}
	if got, err := s.Open(of); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*store.Schedule){
		"another customer": func(o *store.Schedule) { o.Customer = "d" },
		"another schedule": func(o *store.Schedule) { o.ID = "other" },
		"another epoch":    func(o *store.Schedule) { o.State.Epoch = "f" },
		"altered":          func(o *store.Schedule) { o.State.Sealed = append([]byte{1}, o.State.Sealed...) },
	} {
		other := of
		change(&other)
		if _, err := s.Open(other); !fault.Is(err, datakey.CodeOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newStates(t).Open(of); !fault.Is(err, datakey.CodeOpen) {
		t.Errorf("another key: %v", err)
	}
	later := want
	later.Version++
	if of.State.Sealed, err = s.Seal("c", "sch", "e", &later); err != nil {
		t.Fatal(err)
	}
	if state, err := s.Open(of); !fault.Is(err, CodeState) || !state.IsZero() {
		t.Errorf("of a later version: %+v, %v", state, err)
	}
}

// TestEpochs: a schedule that is replaced goes on where it covers the same rows; one that covers others, or is made
// anew, begins in an epoch of its own; a job is of the one in which it was made.
func TestEpochs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "2026-03-01T02:00:00Z")
	s := w.process(w.record)
	made := w.put(s, nil)
	if made.State.Epoch == "" {
		t.Fatal("it has no epoch")
	}
	job, err := s.Run(t.Context(), made, by)
	if err != nil || job.Schedule != made.ID || job.StateEpoch != made.State.Epoch {
		t.Errorf("%+v, %v", job, err)
	}
	put := func(change func(*Spec)) store.Schedule {
		t.Helper()
		spec := SpecOf(w.schedule(made.ID))
		change(&spec)
		after, err := s.Put(t.Context(), made.ID, spec, by)
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	if same := put(func(s *Spec) { s.Cron = "0 4 * * *" }); same.State.Epoch != made.State.Epoch {
		t.Errorf("%+v", same.State)
	}
	if other := put(func(s *Spec) { s.Procedure = "patients" }); other.State.Epoch == made.State.Epoch ||
		other.State.Epoch == "" {
		t.Errorf("%+v", other.State)
	}
	before := w.schedule(made.ID)
	reset, err := s.Reset(t.Context(), before, by)
	if err != nil || reset.State.Epoch != before.State.Epoch || reset.State.Revision != before.State.Revision+1 {
		t.Errorf("%+v, %v", reset.State, err)
	}
	spec := SpecOf(reset)
	spec.Name = "kept"
	for range 2 {
		if err := s.Sync(t.Context(), []Spec{spec}); err != nil {
			t.Fatal(err)
		}
	}
	first := w.schedule(documentID(spec)).State.Epoch
	if err := s.Sync(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context(), []Spec{spec}); err != nil {
		t.Fatal(err)
	}
	if again := w.schedule(documentID(spec)).State.Epoch; first == "" || again == first {
		t.Errorf("%q and then %q", first, again)
	}
}
