package run

import (
	"context"
	"errors"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// outcome is the state of a run from its first byte to its end, as a state machine. Execute tells it what has happened,
// and it answers what has to be done next. It never waits and calls nothing.
//
//	flowing ──all before the sink have ended well, and the sink has everything──▶ closing ──committed──▶ closed
//	   └──────────────something failed, or the caller has enough──────────▶ failing ◀──not committed──┘
//
// The run is over (over) when everything that was started has ended, and nobody is committing.
type outcome struct {
	state state
	// upstream is how many groups before the sink, and relays, have not ended.
	upstream int
	// ready is true when the sink holds everything and waits for Commit; sinkEnded when its group has ended.
	ready, sinkEnded bool
	// committing is true from the order to close until its result.
	committing bool
}

type state string

const (
	flowing state = "flowing" // rows flow
	closing state = "closing" // everything has arrived, and whether it becomes visible is being decided
	closed  state = "closed"  // the output is visible
	failing state = "failing" // it will not become visible, and all groups are cancelled
)

// happening is something that outcome is told of.
type happening string

const (
	upstreamEnded happening = "upstream ended" // a group before the sink, or a relay
	sinkReady     happening = "sink ready"
	sinkEnded     happening = "sink ended" // its group
	commitEnded   happening = "commit ended"
	callerLeft    happening = "caller left" // the caller's context has ended
)

// order is what is to be done.
type order string

const (
	wait       order = ""
	closeRun   order = "close" // complete the recording, ask the gate, commit; then tell of commitEnded
	cancelRest order = "cancel"
)

// tell notes what has happened, and returns what to do. Err is the error with which a group or a relay has ended; a
// sink that ends before it was asked to commit always has one.
func (o *outcome) tell(what happening, err error) order {
	switch what {
	case upstreamEnded:
		o.upstream--
	case sinkReady:
		o.ready = true
	case sinkEnded:
		o.sinkEnded = true
	case commitEnded:
		o.committing = false
	}
	switch o.state {
	case flowing:
		switch {
		case what == callerLeft:
			o.state = failing // the groups are cancelled by the same context
		case err != nil:
			o.state = failing
			return cancelRest
		case o.upstream == 0 && o.ready:
			o.state, o.committing = closing, true
			return closeRun
		}
	case closing:
		switch {
		case what == commitEnded && err == nil:
			o.state = closed
		case err != nil:
			// A Commit that has begun is waited for.
			o.state = failing
			return cancelRest
		}
	case closed, failing:
	}
	return wait
}

// over reports whether everything has ended, so that nothing more will be told.
func (o *outcome) over() bool { return o.upstream == 0 && o.sinkEnded && !o.committing }

// How much a fault explains about the failure of a run, least first. A group that was cancelled, or whose neighbour has
// ended, fails because of another one's fault.
const (
	explainsNothing = iota
	explainsCancel
	explainsNeighbour
	explainsProtocol // of the group before, which may have a fault of its own
	explainsItself
)

// explains ranks a fault by what it explains.
func explains(err error) int {
	f := fault.From(err)
	switch {
	case f == nil:
		return explainsNothing
	case f.Code == runner.UpstreamEnded, f.Code == runner.DownstreamEnded:
		return explainsNeighbour
	case f.Class == fault.Cancelled:
		return explainsCancel
	case f.Code == runner.LinkProtocol:
		return explainsProtocol
	}
	return explainsItself
}

// causeOf picks the error that caused the failure of a run: of the errors of its parts, in the order from source to
// sink, the first of those that explain most. When the caller has ended the run, that is the cause, unless a part broke
// by itself.
func causeOf(ctx context.Context, ended []error) error {
	var best error
	most := explainsNothing
	for _, err := range ended {
		rank := explains(err)
		if echoes(ctx, err) {
			rank = explainsCancel
		}
		if rank > most {
			best, most = err, rank
		}
	}
	if best != nil && ctx.Err() != nil && most < explainsProtocol {
		return context.Cause(ctx)
	}
	return best
}

// echoes reports whether an error is only the reason for which a context has ended, without a code of its own.
func echoes(ctx context.Context, err error) bool {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || !errors.Is(err, cause) {
		return false
	}
	f := fault.From(err)
	return f.Code == "internal" || f.Code == codeTimeout || f.Code == codeCancelled
}

// Codes of runs that were ended from outside.
const (
	codeTimeout   = "run.timeout"   // by their time limit, or by a deadline of the caller
	codeCancelled = "run.cancelled" // by the caller
)

// coded wraps the reason for which the caller has ended its context in a fault with the code of a time-out or a cancel.
func coded(ctx context.Context, err error) error {
	if !echoes(ctx, err) {
		return err
	}
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		return fault.New(codeTimeout, fault.Cancelled, "the run did not end before its caller's deadline: %w", cause)
	case errors.Is(cause, context.Canceled):
		return cause
	}
	return fault.New(codeCancelled, fault.Cancelled, "the run was cancelled: %w", cause)
}
