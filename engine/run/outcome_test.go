package run

import (
	"context"
	"errors"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// told is one thing that outcome is told, and what comes of it.
type told struct {
	what  happening
	err   error
	order order
	state state
	over  bool
}

// TestOutcome: every transition of a run with two groups before its sink, in every order that matters.
func TestOutcome(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, steps := range map[string][]told{
		"well": {
			{upstreamEnded, nil, wait, flowing, false}, {upstreamEnded, nil, wait, flowing, false},
			{sinkReady, nil, closeRun, closing, false}, {commitEnded, nil, wait, closed, false}, {sinkEnded, nil, wait, closed, true},
		},
		"the sink is ready first, and ends before its answer": {
			{sinkReady, nil, wait, flowing, false}, {upstreamEnded, nil, wait, flowing, false},
			{upstreamEnded, nil, closeRun, closing, false}, {sinkEnded, nil, wait, closing, false}, {commitEnded, nil, wait, closed, true},
		},
		"a group breaks": {
			{upstreamEnded, broken, cancelRest, failing, false}, {upstreamEnded, broken, wait, failing, false}, {sinkEnded, broken, wait, failing, true},
		},
		"the last group breaks when the sink has everything": {
			{upstreamEnded, nil, wait, flowing, false}, {sinkReady, nil, wait, flowing, false},
			{upstreamEnded, broken, cancelRest, failing, false}, {sinkEnded, broken, wait, failing, true},
		},
		"the sink breaks": {
			{sinkEnded, broken, cancelRest, failing, false}, {upstreamEnded, nil, wait, failing, false}, {upstreamEnded, nil, wait, failing, true},
		},
		"the sink is ready in vain": {
			{upstreamEnded, broken, cancelRest, failing, false}, {sinkReady, nil, wait, failing, false},
			{upstreamEnded, nil, wait, failing, false}, {sinkEnded, nil, wait, failing, true},
		},
		"the gate refuses, or the commit fails": {
			{upstreamEnded, nil, wait, flowing, false}, {upstreamEnded, nil, wait, flowing, false}, {sinkReady, nil, closeRun, closing, false},
			{commitEnded, broken, cancelRest, failing, false}, {sinkEnded, broken, wait, failing, true},
		},
		"the sink dies while it commits": {
			{upstreamEnded, nil, wait, flowing, false}, {upstreamEnded, nil, wait, flowing, false}, {sinkReady, nil, closeRun, closing, false},
			{sinkEnded, broken, cancelRest, failing, false}, {commitEnded, broken, wait, failing, true},
		},
		"the sink dies when it has committed": {
			{upstreamEnded, nil, wait, flowing, false}, {upstreamEnded, nil, wait, flowing, false}, {sinkReady, nil, closeRun, closing, false},
			{commitEnded, nil, wait, closed, false}, {sinkEnded, broken, wait, closed, true},
		},
		"the caller leaves while rows flow": {
			{callerLeft, nil, wait, failing, false}, {upstreamEnded, broken, wait, failing, false}, {sinkReady, nil, wait, failing, false},
			{upstreamEnded, nil, wait, failing, false}, {sinkEnded, broken, wait, failing, true},
		},
		"the caller leaves in the commit, which is waited for": {
			{upstreamEnded, nil, wait, flowing, false}, {upstreamEnded, nil, wait, flowing, false}, {sinkReady, nil, closeRun, closing, false},
			{callerLeft, nil, wait, closing, false}, {commitEnded, nil, wait, closed, false}, {sinkEnded, nil, wait, closed, true},
		},
		"the caller leaves after the commit": {
			{upstreamEnded, nil, wait, flowing, false}, {upstreamEnded, nil, wait, flowing, false}, {sinkReady, nil, closeRun, closing, false},
			{commitEnded, nil, wait, closed, false}, {callerLeft, nil, wait, closed, false}, {sinkEnded, nil, wait, closed, true},
		},
	} {
		o := outcome{state: flowing, upstream: 2}
		for i, s := range steps {
			if got := o.tell(s.what, s.err); got != s.order || o.state != s.state || o.over() != s.over {
				t.Errorf("%s: step %d, %s (%v): order %q, state %s, over %v; want %q, %s, %v", name, i, s.what, s.err, got, o.state, o.over(), s.order, s.state, s.over)
			}
		}
	}
	alone := outcome{state: flowing}
	if got := alone.tell(sinkReady, nil); got != closeRun {
		t.Errorf("a run of one group is not closed: %q", got)
	}
}

// TestCauseOf: of several faults, the one that is no echo of another.
func TestCauseOf(t *testing.T) {
	t.Parallel()
	own := fault.New("source.broken", fault.Source, "the server went away")
	late := fault.New("sink.failed", fault.Sink, "the disk is full")
	cancelled := fault.New("run.cancelled", fault.Cancelled, "the run was cancelled")
	up := fault.New(runner.UpstreamEnded, fault.Plugin, "the stage before went away")
	down := fault.New(runner.DownstreamEnded, fault.Plugin, "the stage behind went away")
	protocol := fault.New(runner.LinkProtocol, fault.Plugin, "no Arrow stream")
	left, leave := context.WithCancelCause(t.Context())
	leave(cancelled)
	for _, c := range []struct {
		name  string
		left  bool
		ended []error
		want  error
	}{
		{"nothing", false, []error{nil, nil}, nil},
		{"nothing, and the caller left too late", true, []error{nil, nil}, nil},
		{"one", false, []error{nil, own, nil}, own},
		{"its echoes before and behind", false, []error{down, own, up}, own},
		{"cancelled by it", false, []error{cancelled, cancelled, own}, own},
		{"two at once: the first on the way", false, []error{own, late}, own},
		{"a broken stream, and why", false, []error{own, protocol}, own},
		{"a broken stream alone", false, []error{down, protocol, cancelled}, protocol},
		{"only echoes: a neighbour rather than a cancel", false, []error{cancelled, up}, up},
		{"the caller left", true, []error{cancelled, up, down}, cancelled},
		{"the caller left, and something broke by itself", true, []error{cancelled, own}, own},
		{"the caller left in a broken stream", true, []error{protocol, cancelled}, protocol},
	} {
		ctx := t.Context()
		if c.left {
			ctx = left
		}
		if got := causeOf(ctx, c.ended); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
