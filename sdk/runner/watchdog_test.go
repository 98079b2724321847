package runner

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestWatchdog: a call that does not come back is named soon after the limit. A larger
// batch has longer, and a stage that is debugged has all the time of the world.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		limit    time.Duration
		bytes    int64
		from, to time.Duration // when it is named; 0 is never
	}{
		{"default", DefaultStall, 4 << 20, 10 * time.Second, 11 * time.Second},
		{"a row of 64 MiB", DefaultStall, 64 << 20, 40 * time.Second, 41 * time.Second},
		{"set", time.Minute, 1, time.Minute, 66 * time.Second},
		{"debugged", math.MaxInt64, 1 << 30, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWatchdog([]built{{Stage: Stage{ID: "first"}}, {Stage: Stage{ID: "second"}}}, 2, c.limit)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began, named := time.Now(), time.Duration(0)
				w.enter(w.slot(1, 0), c.bytes)
				w.run(ctx, func(err error) {
					named = time.Since(began)
					if f := fault.From(err); f.Code != "plugin.stalled" || f.Stage != "second" {
						t.Errorf("%+v", f)
					}
				})
				if named < c.from || named > c.to {
					t.Errorf("named after %v", named)
				}
			})
		})
	}
}

// TestWatchdogOfStoppedProcess: time in which the process did not run is nobody's slowness.
func TestWatchdogOfStoppedProcess(t *testing.T) {
	t.Parallel()
	w := newWatchdog([]built{{Stage: Stage{ID: "only"}}}, 1, 10*time.Second)
	w.enter(w.slot(0, 0), 1)
	ran := w.ran.Load()
	// The clock as after a minute in which no tick came.
	if w.tick(time.Minute, 500*time.Millisecond); w.ran.Load()-ran != int64(time.Second) {
		t.Errorf("a minute without a tick counts %v", time.Duration(w.ran.Load()-ran))
	}
	if w.overdue() != nil {
		t.Error("the call is overdue after it")
	}
}
