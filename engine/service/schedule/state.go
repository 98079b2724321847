package schedule

import (
	"encoding/json"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CodeState is the code of a state in the record that is none.
const CodeState = "schedule.state"

// statePurpose is what the data directory's key seals states for.
const statePurpose = "schedule state"

// States are how far the jobs of schedules have come, as the record has them: sealed, because the values of parameters,
// of a row and the address of a database are in them.
type States struct{ key *datakey.Key }

// NewStates are those under the key of a data directory.
func NewStates(key *datakey.Key) *States { return &States{key} }

// Seal seals the state of a schedule of a customer, of an epoch.
func (s *States) Seal(customer, schedule, epoch string, state *engine.State) ([]byte, error) {
	text, err := json.Marshal(state)
	if err != nil {
		return nil, fault.New(CodeState, fault.Internal, "a state cannot be written: %w", err)
	}
	return s.key.Seal(statePurpose, place(customer, schedule, epoch), text), nil
}

// Open is the state of a schedule; the zero value where none of its jobs has kept one.
func (s *States) Open(of store.Schedule) (state engine.State, err error) {
	if len(of.State.Sealed) == 0 {
		return state, nil
	}
	text, err := s.key.Open(statePurpose, place(of.Customer, of.ID, of.State.Epoch), of.State.Sealed)
	if err != nil {
		return state, err
	}
	// The error of either may quote a value.
	if json.Unmarshal(text, &state) != nil || state.IsZero() || state.Check() != nil {
		return engine.State{}, fault.New(CodeState, fault.Internal,
			"the record has no state that this program reads for the schedule %q", of.ID).
			WithHint("reset the schedule: its next job reads every row")
	}
	return state, nil
}

// place binds a state to whose it is. Neither a customer's id nor an epoch has a slash in it.
func place(customer, schedule, epoch string) string { return customer + "/" + schedule + "/" + epoch }
