package host

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// announced are the announcements of one process that it has not released, by their numbers. An announcement is handed
// only to another process of the same plugin with the same grants, so a hostile plugin gains nothing by what it
// announces. What is checked here is that it does not fill the host's memory and disk with announcements.
type announced struct{ open map[int64]bool }

// check notes announcements and releases, and returns a fault for those that the protocol does not allow.
func (a *announced) check(plugin string, e *pb.Event) *fault.Fault {
	if released := e.GetReleased(); released != nil {
		delete(a.open, released.Id)
		return nil
	}
	of := e.GetAnnounced()
	if of == nil {
		return nil
	}
	r := of.GetResource()
	switch {
	case a.open[of.Id]:
		return fault.New("plugin.contract", fault.Plugin, "plugin %q announced two things with the number %d", plugin,
			of.Id)
	case len(a.open) >= stage.MostResources:
		return fault.New("plugin.contract", fault.Plugin, "plugin %q announced more than %d things without a release",
			plugin, stage.MostResources)
	case len(r.GetName()) > stage.LongestResourceText, len(r.GetRemedy()) > stage.LongestResourceText, len(r.GetState()) > stage.LongestResourceState,
		len(of.Stage) > stage.LongestResourceText:
		return fault.New("plugin.contract", fault.Plugin, "plugin %q announced something in %d, %d and %d bytes; expected at most %d, %d and %d", plugin,
			len(r.GetName()), len(r.GetRemedy()), len(r.GetState()), stage.LongestResourceText, stage.LongestResourceText, stage.LongestResourceState)
	}
	if a.open == nil {
		a.open = map[int64]bool{}
	}
	a.open[of.Id] = true
	return nil
}

func (l *local) Undo(ctx context.Context, req *pb.UndoRequest, _ []string) ([]error, error) {
	return outcomes(l.session.Undo(ctx, req), req, "this process")
}

func (r *remote) Undo(ctx context.Context, req *pb.UndoRequest, secrets []string) ([]error, error) {
	r.log.redact(secrets)
	req.Dir = r.dir
	resp, err := r.rpc.Undo(ctx, req)
	if status.Code(err) == codes.Unimplemented {
		return nil, fault.New(stage.CodeCannotUndo, fault.Plugin, "plugin %q announces what it cannot undo", r.plugin)
	}
	if err != nil {
		return nil, r.broken(ctx, err)
	}
	return outcomes(resp, req, r.plugin)
}

// outcomes returns an error for each resource of the request, nil for what is gone, and fails when the answer has
// another number of them.
func outcomes(resp *pb.UndoResponse, req *pb.UndoRequest, plugin string) (errs []error, err error) {
	if len(resp.Outcomes) != len(req.Resources) {
		return nil, fault.New("plugin.contract", fault.Plugin, "plugin %q says what became of %d things, expected %d", plugin, len(resp.Outcomes), len(req.Resources))
	}
	for _, o := range resp.Outcomes {
		var err error
		if f := control.FaultFromProto(o.GetFault()); f != nil {
			err = f
		}
		errs = append(errs, err)
	}
	return errs, nil
}

func (d *discreet) Undo(ctx context.Context, req *pb.UndoRequest, secrets []string) ([]error, error) {
	redaction := NewRedaction(secrets)
	errs, err := d.Process.Undo(ctx, req, secrets)
	for i := range errs {
		errs[i] = redaction.Fault(errs[i])
	}
	return errs, redaction.Fault(err)
}
