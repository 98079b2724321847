// Package budget shares the memory of one process's runs among them. It owns who may have
// how much and in which order; it never measures what anybody uses, and never takes
// anything back (engine/host ends a process that uses too much).
package budget

import (
	"context"
	"sync"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CodeTooLarge is the code of a request for more than there is, whoever gives back what.
const CodeTooLarge = "budget.too_large"

// Budget is a number of bytes. It is safe for concurrent use.
type Budget struct {
	total int64

	mu    sync.Mutex
	free  int64
	queue []*request // the first one waits for bytes, the others for it
}

type request struct {
	bytes   int64
	granted chan struct{} // closed when it has them
}

// New makes a budget of so many bytes.
func New(total int64) *Budget { return &Budget{total: total, free: total} }

// Total is how many bytes there are, and Free how many nobody has.
func (b *Budget) Total() int64 { return b.total }

// Free is what nobody has. Those who wait may be about to have it.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free
}

// Acquire waits until there are so many bytes, and takes them. Whoever came first is served
// first, a large request too: nobody who came later overtakes it. Release gives the bytes
// back; it may be called more than once.
//
// More than the whole is refused at once, with CodeTooLarge. When ctx ends first, its cause
// is the error, and nothing is taken.
func (b *Budget) Acquire(ctx context.Context, bytes int64) (release func(), err error) {
	bytes = max(bytes, 0)
	if bytes > b.total {
		return nil, fault.New(CodeTooLarge, fault.Usage, "a run needs %d MiB of memory, and all runs together may have %d MiB", mebibytes(bytes), b.total>>20).
			WithHint("give all runs more, or this one less: a smaller limits.memory, or fewer processes")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r := &request{bytes: bytes, granted: make(chan struct{})}
	b.mu.Lock()
	b.queue = append(b.queue, r)
	b.serve()
	b.mu.Unlock()
	select {
	case <-r.granted:
	case <-ctx.Done():
		if b.withdraw(r) {
			return nil, context.Cause(ctx)
		}
		// It was served meanwhile.
		b.give(bytes)
		return nil, context.Cause(ctx)
	}
	var once sync.Once
	return func() { once.Do(func() { b.give(bytes) }) }, nil
}

// mebibytes rounds up, so that what is too large looks so.
func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// serve grants what there is to the first in the queue. The caller holds the lock.
func (b *Budget) serve() {
	for len(b.queue) > 0 && b.queue[0].bytes <= b.free {
		b.free -= b.queue[0].bytes
		close(b.queue[0].granted)
		b.queue = b.queue[1:]
	}
}

// withdraw takes a request out of the queue; false when it was granted.
func (b *Budget) withdraw(r *request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.queue {
		if other == r {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.serve() // those behind it may be smaller
			return true
		}
	}
	return false
}

func (b *Budget) give(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += bytes
	b.serve()
}
