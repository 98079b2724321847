package runner

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// watchdog notices a call of a computing stage that does not come back. Sources
// and sinks are not watched: a slow database or a slow reader is not a defect.
//
// Its clock counts only time in which this process ran: one that was stopped, frozen or
// starved of its cores has not been slow.
type watchdog struct {
	stages []built
	slots  []slot // one per stage and worker, row by row
	width  int
	limit  time.Duration
	ran    atomic.Int64 // the clock, in nanoseconds
	full   bool         // it was said that memory runs out
}

// slot holds when the call in it is overdue, by the watchdog's clock; 0 means no call.
type slot struct {
	overdue atomic.Int64
	_       [56]byte // a cache line each: workers write them all the time
}

func newWatchdog(stages []built, workers int, limit time.Duration) *watchdog {
	// One more than there are workers, for the goroutine that merges.
	width := workers + 1
	return &watchdog{stages: stages, slots: make([]slot, len(stages)*width), width: width,
		limit: min(limit, longestStall)}
}

// longestStall is what longer limits come to: somebody debugs a stage.
const longestStall = 365 * 24 * time.Hour

// slot returns the place of a worker's calls of a stage.
func (w *watchdog) slot(stage, worker int) *slot { return &w.slots[stage*w.width+worker] }

// largeBatch is the size, in bytes, up to which a batch has the limit as it is. A larger one,
// which a single large value makes, has as many times of it as it is larger.
const largeBatch = 4 * DefaultBatchBytes

// enter notes that a call begins that works on so many bytes.
func (w *watchdog) enter(s *slot, bytes int64) {
	s.overdue.Store(w.ran.Load() + int64(w.limit)*max(1, bytes/largeBatch))
}

func (s *slot) leave() { s.overdue.Store(0) }

// run calls fail when a call is overdue, and returns; it returns as well when ctx ends.
func (w *watchdog) run(ctx context.Context, fail func(error)) {
	every := max(min(w.limit/20, 250*time.Millisecond), time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now := time.Now()
			w.tick(now.Sub(last), every)
			last = now
			w.watchMemory(os.Stderr)
			if err := w.overdue(); err != nil {
				fail(err)
				return
			}
		}
	}
}

// watchMemory says once where the stages are when memory runs out: the host ends the process soon, and shows the last lines of its
// standard error. The runtime's own limit, from which on it collects whatever it costs, is three quarters of the process's.
func (w *watchdog) watchMemory(out io.Writer) {
	limit := debug.SetMemoryLimit(-1) // does not set it
	if w.full || limit == math.MaxInt64 {
		return
	}
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	used := int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
	if used < limit/10*11 {
		return
	}
	w.full = true
	for i := range w.slots {
		if w.slots[i].overdue.Load() != 0 {
			busy := w.stages[i/w.width]
			fmt.Fprintf(out, "%d MiB of memory are used, of at most %d; stage %s is running%s\n", used>>20, limit/3*4>>20, busy.ID, at(placeOfCall(busy.instance)))
		}
	}
}

// tick moves the clock by the time since the last tick. One is due every so often: in what
// goes much beyond that this process did not run.
func (w *watchdog) tick(since, every time.Duration) { w.ran.Add(int64(min(since, 2*every))) }

// overdue is the fault of a call that should have come back.
func (w *watchdog) overdue() error {
	ran := w.ran.Load()
	for i := range w.slots {
		if overdue := w.slots[i].overdue.Load(); overdue != 0 && ran > overdue {
			f := fault.New("plugin.stalled", fault.Plugin, "one call of the stage has taken more than %s%s", w.limit, at(placeOfCall(w.stages[i/w.width].instance))).
				WithHint("this is a defect of the stage, or a batch that is too much for it; limits.stall of the pipeline gives it longer")
			f.Stage = w.stages[i/w.width].ID
			return f
		}
	}
	return nil
}
