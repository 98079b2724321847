// Package delivery brings the output of a run to whoever asked for it: as it comes (Direct), or when it is whole
// (Spooled), and decides on the way whether a request becomes a job. It owns that decision, the digest and the end of
// an answer: one that is not whole never looks whole. It does not know HTTP: a Response stands for it.
//
// # How a request becomes a job
//
// Nothing is read twice: the run begins, and its output fills a spool. When it outgrows the limits, Switch is asked for
// a sink, which is given everything that is in the spool and then what still comes, as if it had been the run's own
// from the beginning. From then on the run does not depend on the client any more.
package delivery

import (
	"context"
	"io"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CodeClientGone is the code of a client that does not take what it has asked for.
const CodeClientGone = "delivery.client_gone"

// Response is where an answer goes. Its methods are called one after another, but for Cut.
type Response interface {
	// Begin sends the status and the header. It is called once, before everything else, and not at all for a run that
	// fails before its first byte: whoever asked can then be told why.
	Begin(Head) (Body, error)
	// Finish ends an answer that is whole, with its trailers where the header did not have them.
	Finish(Tail) error
	// Cut ends an answer that is not whole so that nobody takes it for whole. After Begin it may be called at any time,
	// from another goroutine while the body is written, and more than once: it makes that write return soon. It is not
	// called any more when Run or Send has returned.
	Cut()
}

// Body is the body of a response. A client that takes nothing is waited for, as long as the Response has patience.
type Body interface {
	io.Writer
	// Flush sends what was written on its way.
	Flush() error
}

// Head is what is known of an answer before its first byte.
type Head struct {
	RunID string
	Media engine.Media
	// Length is how many bytes come, and Rows and SHA256 (hexadecimal, of the bytes as they are sent) what they are. An
	// answer that is sent as it comes has a Length of -1, and the others in its Tail.
	Length int64
	Rows   int64
	SHA256 string
}

// Tail is what is known of an answer when it is whole.
type Tail struct {
	Rows   int64
	SHA256 string
}

// Run runs a plan to its end: what (*engine.Engine).Run does, with everything that the run holds, such as memory, taken
// before and given back after.
type Run func(ctx context.Context, sink engine.Sink, options engine.RunOptions) (*engine.Receipt, error)

// location is what receipts say of the place of an answer.
const location = "response"

// gone codes the error of a client that does not take its answer. Its class is that of a cause: what else ends then is an
// echo of it.
func gone(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(CodeClientGone, fault.Sink, "the client did not take the answer to its end: %w", err)
}

// turn is a lock whose wait ends with a context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// cutAt cuts a response when ctx ends, until stop is called. Nothing is cut after that.
func cutAt(ctx context.Context, to Response) (stop func()) {
	done := make(chan struct{})
	stopped := context.AfterFunc(ctx, func() {
		defer close(done)
		to.Cut()
	})
	return func() {
		if !stopped() {
			<-done
		}
	}
}
