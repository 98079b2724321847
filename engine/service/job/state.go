package job

import (
	"context"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// begun is the state that an attempt has begun with, of a schedule whose pipeline keeps one.
type begun struct {
	state    engine.State
	revision int64
	plan     *engine.Plan
}

// begin reads where an attempt begins: at what the record has now, whenever the job was made.
func (m *Manager) begin(h *Held) (*begun, error) {
	ctx, cancel := context.WithTimeout(h.ctx, recordTimeout)
	defer cancel()
	of, err := m.cfg.Record.Schedule(ctx, h.job.Customer, h.job.Schedule)
	switch {
	case fault.Is(err, store.CodeUnknown), err == nil && of.State.Epoch != h.job.StateEpoch:
		return nil, fault.New(CodeScheduleReplaced, fault.Usage,
			"the schedule of the job was deleted, or orders other rows since").
			WithHint("let the schedule make another job")
	case err != nil:
		return nil, fault.New(fault.From(err).Code, fault.Internal,
			"it is not known where the job begins: %w", err).WithRetry()
	}
	state, err := m.cfg.States.Open(of)
	if err != nil {
		return nil, err
	}
	return &begun{state: state, revision: of.State.Revision}, nil
}

// newState is how far a run has come whose object is committed; nil leaves what the record has. A state that cannot be
// kept does not undo the job: the next one delivers its rows again.
func (h *Held) newState(receipt *engine.Receipt) *store.NewState {
	if h.begun == nil {
		return nil
	}
	next, err := h.begun.plan.NextState(receipt.Facts, receipt.FinishedAt)
	if err == nil && next == nil {
		return nil // no row was read
	}
	var sealed []byte
	if err == nil {
		sealed, err = h.manager.cfg.States.Seal(h.job.Customer, h.job.Schedule, h.job.StateEpoch, next)
	}
	if err != nil {
		h.log("how far a job has come could not be kept, and the next one delivers its rows again", fault.From(err).Code)
		return nil
	}
	return &store.NewState{From: h.begun.revision, Sealed: sealed}
}
