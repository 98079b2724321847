package runner

import (
	"context"
	"sync"
)

// budget bounds the bytes in flight. One producer acquires; anyone releases.
// What is larger than the whole budget is let through alone, because the
// alternative is a run that never ends.
type budget struct {
	mu    sync.Mutex
	limit int64
	used  int64
	freed chan struct{} // holds a token after every release
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, freed: make(chan struct{}, 1)}
}

func (b *budget) acquire(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.limit {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		b.mu.Unlock()
		select {
		case <-b.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// adjust corrects an estimate once the real size is known; it never waits.
func (b *budget) adjust(delta int64) {
	b.mu.Lock()
	b.used += delta
	b.mu.Unlock()
	if delta < 0 {
		select {
		case b.freed <- struct{}{}:
		default:
		}
	}
}

func (b *budget) release(n int64) { b.adjust(-n) }
