package run

import (
	"context"
	"slices"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// debugged reports whether a stage runs in a process that is attached. A debugger may stop it for any time.
func (r *run) debugged() bool {
	return slices.ContainsFunc(r.plan.Groups, func(g plan.Group) bool { return g.Attach })
}

// startProcess starts the process of a group, or waits until it is attached.
func (r *run) startProcess(ctx context.Context, h Host, planned plan.Group, stages []string,
	reach []host.Reach) (host.Process, error) {
	if !planned.Attach && (r.fresh || r.debugged()) {
		return h.StartOwn(ctx, planned.Plugin, reach...)
	}
	if !planned.Attach {
		return h.Start(ctx, planned.Plugin, reach...)
	}
	process, err := h.Attach(ctx, planned.Plugin, func(a host.Awaited) {
		r.emit(Awaiting{Stage: joined(stages), Plugin: a.Plugin, Environment: a.Environment, Program: a.Program, Args: a.Args,
			Interpreter: a.Interpreter})
	})
	if err != nil {
		return nil, err
	}
	offer, err := process.Describe(ctx)
	if err == nil && offer.Plugin != planned.Plugin {
		err = fault.New("plugin.name", fault.Usage, "the process that was attached is plugin %q; expected plugin %q",
			offer.Plugin, planned.Plugin)
	}
	if err != nil {
		process.Close()
		return nil, err
	}
	r.emit(Attached{Stage: joined(stages), Plugin: offer.Plugin, PID: process.PID()})
	return process, nil
}
