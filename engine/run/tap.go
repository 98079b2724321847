package run

import (
	"context"
	"net"
	"time"

	"github.com/cipherstream/cipherstream/engine/link"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// Tap is connected between every two groups of a run and passes on the bytes between them: a recording for instance.
type Tap interface {
	// Begin is called before anything is started.
	Begin(p *plan.Plan, id string, at time.Time) error
	// Relay copies the stream of boundary n, counted from 1, from the group before it to the group after it, and closes
	// both connections when one ends. It is called once for each boundary, concurrently. An error ends the run. An
	// error about a broken stream (runner.LinkProtocol) counts only if the group that reads the stream does not report
	// it.
	Relay(ctx context.Context, n int, from, to *net.UnixConn) error
	// Complete is called before the commit, when every relay has ended without an error. An error refuses the commit.
	Complete() error
	// End is called last, if Begin has succeeded, with the error of the run, or nil.
	End(err error)
}

// relay is the tap at one boundary.
type relay struct {
	tap      Tap
	boundary int
	listener *net.UnixListener
	// before and after are who connects here, and who listens at the other socket.
	before, after peer.Expected
	err           error
}

func (r *relay) close() {
	if r.listener != nil {
		r.listener.Close()
	}
}

// run accepts and dials the two connections of the boundary and has the tap relay the stream. When it ends early both
// connections are closed, as if the two groups were connected directly.
func (r *relay) run(ctx context.Context, dir string) {
	r.err = r.join(ctx, link.Socket(dir, r.boundary))
}

func (r *relay) join(ctx context.Context, target string) error {
	from, err := peer.Accept(ctx, r.listener, r.before, nil)
	if err != nil {
		return nil // the run has ended
	}
	defer from.Close()
	defer context.AfterFunc(ctx, func() { from.Close() })()
	to, err := link.Dial(ctx, target, r.after)
	if to == nil {
		return err
	}
	defer to.Close()
	defer context.AfterFunc(ctx, func() { to.Close() })()
	return r.tap.Relay(ctx, r.boundary, from, to)
}

// fatal is the error by which a relay ends the run. An error about a broken stream is left to the group that reads the
// stream.
func (r *relay) fatal() error {
	if fault.Is(r.err, runner.LinkProtocol) {
		return nil
	}
	return r.err
}

// completeTap completes the tap before the commit.
func (r *run) completeTap() error {
	if r.opts.Tap == nil {
		return nil
	}
	for _, relay := range r.relays {
		if relay.err != nil {
			return relay.err
		}
	}
	return r.opts.Tap.Complete()
}
