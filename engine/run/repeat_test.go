package run_test

import (
	"context"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestRepeatable: what may go away by itself may be run again, and what may be visible already, or has left something,
// may not.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	lost := func() *fault.Fault { return fault.New("x.lost", fault.Source, "lost").WithRetry() }
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"none":          {nil, false},
		"for good":      {fault.New("x.wrong", fault.Source, "wrong"), false},
		"lost":          {lost(), true},
		"left":          {lost().WithDetail(run.DetailLeft, "/out/.x.partial"), false},
		"commit":        {lost().WithDetail(host.DetailCommit, "unknown"), false},
		"cancelled":     {context.Canceled, false},
		"other details": {lost().WithDetail("errno", "2013"), true},
	} {
		if got := run.Repeatable(c.err); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestLostCommitIsNotRepeatable: a process that was killed by others in the midst of Commit may have made the output
// visible.
func TestLostCommitIsNotRepeatable(t *testing.T) {
	s := newSetup(t, host.Config{})
	h := runtest.NewInMemory(t, testBundle(pluginName))
	h.Change = func(p host.Process) host.Process {
		return &scripted{Process: p, commit: func(context.Context, host.Process) (stage.Receipt, error) {
			return stage.Receipt{}, fault.New("plugin.exited", fault.Plugin, "killed").WithRetry().WithDetail(host.DetailCommit, "unknown")
		}}
	}
	_, err := run.Execute(t.Context(), h, s.planOf(plan.IsolationStage, settings{"rows": 10}), run.Options{ID: "r1"})
	if f := fault.From(err); f == nil || f.Code != "plugin.exited" || run.Repeatable(err) {
		t.Errorf("%v", err)
	}
}
