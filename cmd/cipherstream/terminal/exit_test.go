package terminal

import (
	"context"
	"os"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestExitCodes holds the contract for every class of fault.
func TestExitCodes(t *testing.T) {
	interruptedCtx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInterrupted)
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want int
	}{
		{t.Context(), nil, 0},
		{t.Context(), fault.New("x", fault.Source, "x"), 1},
		{t.Context(), fault.New("x", fault.Data, "x"), 1},
		{t.Context(), fault.New("x", fault.Sink, "x"), 1},
		{t.Context(), fault.New("x", fault.Plugin, "x"), 1},
		{t.Context(), fault.New("x", fault.Internal, "x"), 1},
		{t.Context(), fault.New("run.timeout", fault.Cancelled, "x"), 1},
		{t.Context(), os.ErrClosed, 1},
		{t.Context(), fault.New("x", fault.Usage, "x"), 2},
		{t.Context(), fault.New("x", fault.Connect, "x"), 3},
		{interruptedCtx, context.Canceled, 130},
		{interruptedCtx, fault.New("x", fault.Sink, "x"), 130},
		// What was done before the signal came is done.
		{interruptedCtx, nil, 0},
	} {
		if got := ExitCode(c.ctx, c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
