package service

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestWorst: the exit code is that of the worst finding.
func TestWorst(t *testing.T) {
	t.Parallel()
	fine, warning := finding{Level: stage.LevelFine}, finding{Level: stage.LevelWarning}
	wrong := func(c fault.Class) finding { return finding{Level: stage.LevelWrong, Class: c} }
	for _, c := range []struct {
		found  []finding
		strict bool
		code   int
	}{
		{[]finding{fine, warning}, false, terminal.ExitDone}, {[]finding{fine, warning}, true, terminal.ExitFailed}, {[]finding{fine}, true, terminal.ExitDone},
		{[]finding{wrong(fault.Sink), warning}, false, terminal.ExitFailed}, {[]finding{wrong(fault.Sink), wrong(fault.Usage)}, false, terminal.ExitUsage},
		{[]finding{wrong(fault.Connect), wrong(fault.Usage), wrong(fault.Sink)}, false, terminal.ExitConnect},
	} {
		if code := terminal.ExitCode(t.Context(), worst(c.found, c.strict)); code != c.code {
			t.Errorf("%+v: %d", c.found, code)
		}
	}
}

// TestExamine: what takes too long is told as that, in its place, and keeps nothing else from being looked at.
func TestExamine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where nothing is slow but what waits
		found := examine(t.Context(), []check{
			{"one", "", func(ctx context.Context, r *findings) { <-ctx.Done() }},
			{"two", "", func(_ context.Context, r *findings) { r.fine("it is there") }},
		}, 20*time.Second)
		if len(found) != 2 || found[0].Area != "one" || found[0].Code != codeSlow || found[1].Level != stage.LevelFine {
			t.Errorf("%+v", found)
		}
	})
}
