package host

import (
	"context"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Process serves one group of a run: Open, Start, Commit for a sink's group,
// Close. Start may run at the same time as Commit.
type Process interface {
	// Plugin is the plugin's name; PID its process, or 0 when it has none of its own.
	Plugin() string
	PID() int
	// Describe says what the plugin offers.
	Describe(ctx context.Context) (Offer, error)
	// Check says what is wrong with one stage, without running it. It may be called any number of times, before Open.
	// Secrets are taken out of what it finds.
	Check(ctx context.Context, req *pb.CheckRequest, secrets []string) (*pb.CheckResponse, error)
	// Open builds the group. Secrets are texts that are blanked out in everything that the process says from then on.
	Open(ctx context.Context, req *pb.OpenRequest, secrets []string) error
	// Start runs the group and calls handle with its events, up to and including Finished. It returns the failure of
	// the group or of the process; before that, handle may get an event that has an account and no kind: what the group
	// had done. When ctx ends the group is cancelled, and killed if it does not end within the grace period.
	Start(ctx context.Context, handle func(*pb.Event)) error
	// Commit makes the sink's output visible.
	Commit(ctx context.Context) (stage.Receipt, error)
	// Undo ends what another process of the plugin had announced, in place of Open. The outcomes are in the order of
	// the request's resources. Secrets are taken out of them.
	Undo(ctx context.Context, req *pb.UndoRequest, secrets []string) ([]error, error)
	// Close ends the process and removes its directory. It may be called twice.
	Close()
}

// local runs a group in this process.
type local struct {
	session *control.Session
	offer   Offer
}

func (l *local) Plugin() string { return "this process" }
func (l *local) PID() int       { return 0 }

func (l *local) Describe(context.Context) (Offer, error) { return l.offer, nil }

func (l *local) Open(ctx context.Context, req *pb.OpenRequest, _ []string) error {
	return l.session.Open(ctx, req)
}

func (l *local) Start(outer context.Context, handle func(*pb.Event)) error {
	// The stages see that ctx has ended and not why, as they would in a process of their own: the cause is the host's.
	ctx, cancel := context.WithCancel(context.WithoutCancel(outer))
	defer cancel()
	defer context.AfterFunc(outer, cancel)()
	var failure *fault.Fault
	err := l.session.Start(ctx, func(e *pb.Event) error {
		if f := e.GetFault(); f != nil {
			failure = control.FaultFromProto(f)
			if e.Account != nil {
				handle(&pb.Event{Account: e.Account})
			}
			return nil
		}
		handle(e)
		if a := e.GetAnnounced(); a != nil {
			l.session.Acknowledge(a.Id)
		}
		return nil
	})
	if err == nil && failure != nil {
		return failure
	}
	return err
}

func (l *local) Commit(ctx context.Context) (stage.Receipt, error) { return l.session.Commit(ctx) }

func (l *local) Close() { l.session.Cancel() }
