package runner

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// watchdog notices a call of a computing stage that does not come back. Sources
// and sinks are not watched: a slow database or a slow reader is not a defect.
type watchdog struct {
	stages []built
	slots  []slot // one per stage and worker, row by row
	width  int
}

// slot holds when the call in it began, in Unix nanoseconds; 0 means no call.
type slot struct {
	began atomic.Int64
	_     [56]byte // a cache line each: workers write them all the time
}

func newWatchdog(stages []built, workers int) *watchdog {
	// One more than there are workers, for the goroutine that merges.
	width := workers + 1
	return &watchdog{stages: stages, slots: make([]slot, len(stages)*width), width: width}
}

// slot returns the place of a worker's calls of a stage.
func (w *watchdog) slot(stage, worker int) *slot { return &w.slots[stage*w.width+worker] }

func (s *slot) enter() { s.began.Store(time.Now().UnixNano()) }
func (s *slot) leave() { s.began.Store(0) }

func (w *watchdog) run(ctx context.Context, limit time.Duration, fail func(error)) {
	ticker := time.NewTicker(max(limit/8, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for i := range w.slots {
				began := w.slots[i].began.Load()
				if began != 0 && now.UnixNano()-began > int64(limit) {
					f := fault.New("plugin.stalled", fault.Plugin, "one call of the stage has taken more than %s", limit).
						WithHint("this is a defect of the stage, or a batch that is too much for it")
					f.Stage = w.stages[i/w.width].ID
					fail(f)
					return
				}
			}
		}
	}
}
