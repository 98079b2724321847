package pipeline

import (
	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/statefile"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// noState is the value of --state-file that reads every row, and keeps no state.
const noState = "none"

// stateFlag adds --state-file.
func (r *request) stateFlag(c *cobra.Command) {
	c.Flags().StringVar(&r.stateFile, "state-file", "",
		"keep in `FILE` how far a pipeline with state has come, and go on from there; "+noState+" reads every row and keeps nothing")
	_ = c.MarkFlagFilename("state-file") // the flag exists
}

// readState gives a request the state of the file, which is only looked at.
func (r *request) readState(into *engine.Inputs) error {
	if r.stateFile == "" || r.stateFile == noState {
		return nil
	}
	state, err := statefile.Read(r.stateFile)
	into.State = &state
	return err
}

// requireState refuses to run a pipeline with state that nobody says where to keep.
func (r *request) requireState(p *engine.Document) error {
	if p.State == nil || r.stateFile != "" {
		return nil
	}
	return terminal.UsageFault("pipeline %q keeps state, and nothing says where", p.Metadata.Name).
		WithHint("give --state-file FILE, which need not exist yet; --state-file %s reads every row and keeps nothing", noState)
}

// keptState is the state of a run: a file that is its own until it ends, or nil.
type keptState struct{ file *statefile.File }

// keepState takes the file of a request's state.
func (r *request) keepState(p *prepared) (k keptState, err error) {
	if p.request.State == nil {
		return k, nil
	}
	if k.file, err = statefile.Open(r.stateFile); err != nil {
		return k, err
	}
	// It may have changed since it was looked at.
	state := k.file.State()
	p.request.State = &state
	return k, nil
}

// save keeps how far a run has come whose output has been committed.
func (k keptState) save(p *engine.Plan, receipt *engine.Receipt) error {
	if k.file == nil {
		return nil
	}
	next, err := p.NextState(receipt.Facts, receipt.FinishedAt)
	if err == nil && next != nil {
		err = k.file.Save(next)
	}
	if err != nil {
		f := fault.From(err)
		return fault.New(f.Code, fault.Sink,
			"the output is whole, but how far it has come could not be kept, and the next run reads these rows again: %s", f.Message)
	}
	return nil
}

func (k keptState) close() {
	if k.file != nil {
		k.file.Close()
	}
}
