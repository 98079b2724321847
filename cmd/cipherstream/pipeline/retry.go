package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// mostRetries bounds --retries.
const mostRetries = 100

// The pause before an attempt is a random time between the half of a bound and the bound, which doubles from one to the next:
// whoever failed together does not come back together.
const (
	firstPause = time.Second
	mostPause  = 30 * time.Second
)

// pause is how long to wait when so many attempts have failed.
func pause(failed int) time.Duration {
	bound := min(mostPause, firstPause<<min(failed-1, 10))
	return bound/2 + rand.N(bound/2)
}

// validateRetries finds what --retries cannot be given with.
func (f *runFlags) validateRetries() error {
	switch {
	case f.retries < 0 || f.retries > mostRetries:
		return terminal.UsageFault("--retries is a number from 0 to %d, not %d", mostRetries, f.retries)
	case f.retries > 0 && (len(f.attach) > 0 || f.record != ""):
		return terminal.UsageFault("--attach and --record look into one run, and --retries may make several").WithHint("leave --retries out")
	}
	return nil
}

// repeat makes attempts until one succeeds, one fails for good, or as many as may be have failed. Attempt says whether there
// may be another one after it.
func repeat(ctx context.Context, retries int, report *terminal.Reporter, attempt func() (again bool, err error)) error {
	for failed := 1; ; failed++ {
		again, err := attempt()
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case failed > retries || !again:
			return attempts(err, failed)
		}
		wait := pause(failed)
		f := fault.From(err)
		report.Logger().Warn("the run failed and is tried again", "attempt", fmt.Sprintf("%d of %d", failed, retries+1),
			"code", f.Code, "reason", f.Message, "in", wait.Round(100*time.Millisecond).String())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// attempts says how many there were, if there was more than one.
func attempts(err error, failed int) error {
	if failed == 1 {
		return err
	}
	return detailed(err, "attempts", fmt.Sprint(failed))
}

// seen is the fault of a run that is not tried again, because what it has written to standard output cannot be taken back.
func seen(err error) error {
	f := detailed(err, "not_retried", "standard output has bytes of this run already")
	f.Hint = strings.TrimPrefix(f.Hint+"; it was not tried again, because standard output has bytes of it already: with -o FILE or --job it would be", "; ")
	return f
}

// detailed is the fault of err with one detail more.
func detailed(err error, name, value string) *fault.Fault {
	f := *fault.From(err)
	details := map[string]string{name: value}
	for k, v := range f.Details {
		details[k] = v
	}
	f.Details = details
	return &f
}

// watched is standard output as a sink, which remembers whether anything was written.
type watched struct {
	engine.Sink
	wrote bool
}

func (w *watched) Write(ctx context.Context, p []byte) error {
	w.wrote = w.wrote || len(p) > 0
	return w.Sink.Write(ctx, p)
}

// Streams is true of standard output.
func (*watched) Streams() bool { return true }
