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

// announced are the announcements of one process that it has not released. What a process announces goes back to a process
// of the same plugin with the same grants, and to nobody else, so that a hostile one reaches nothing with it that it did
// not reach before; here it is only kept from filling the host's memory and disk.
type announced struct{ open map[int64]bool }

// check holds an event against the bounds of the protocol.
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
		return fault.New("plugin.contract", fault.Plugin, "plugin %q announced two things with the number %d", plugin, of.Id)
	case len(a.open) >= stage.MostResources:
		return fault.New("plugin.contract", fault.Plugin, "plugin %q announced more than %d things without a release", plugin, stage.MostResources)
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

// outcomes holds an answer against what was asked.
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
