package mysql

import (
	"math/bits"
	"sync"

	"github.com/apache/arrow/go/v15/arrow/memory"
)

const (
	smallestBuffer = 1 << 10
	// largestPooled is the size above which a buffer goes back at once: values of
	// many MiB are rare, and keeping their memory would cost more than it saves.
	largestPooled = 4 << 20
)

// pool is an allocator that keeps freed buffers for the next batch, so that a
// long run works in the memory of the few batches that are under way. A buffer is used
// again for its own size: those of fixed width and of offsets have one size in every batch,
// and for the others bufferSize has few. It is safe for concurrent use: batches are released elsewhere.
type pool struct {
	upstream memory.Allocator

	mu     sync.Mutex
	free   map[int][][]byte
	closed bool
}

func newPool(upstream memory.Allocator) *pool {
	return &pool{upstream: upstream, free: map[int][][]byte{}}
}

// bufferSize rounds the size of a buffer that may grow up to a power of two.
func bufferSize(n int) int {
	if n > largestPooled {
		return roundUp(n)
	}
	return max(smallestBuffer, 1<<bits.Len(uint(n-1)))
}

// roundUp rounds up to a multiple of 64, at which Arrow's buffers begin.
func roundUp(n int) int { return (n + 63) &^ 63 }

// Allocate returns a buffer of exactly size bytes; its capacity is the pool's.
// The content is arbitrary.
func (p *pool) Allocate(size int) []byte {
	class := max(smallestBuffer, roundUp(size))
	p.mu.Lock()
	if list := p.free[class]; len(list) > 0 {
		b := list[len(list)-1]
		p.free[class] = list[:len(list)-1]
		p.mu.Unlock()
		return b[:size]
	}
	p.mu.Unlock()
	return p.upstream.Allocate(class)[:size:class]
}

// Reallocate grows or shrinks a buffer and keeps its content.
func (p *pool) Reallocate(size int, b []byte) []byte {
	if size <= cap(b) {
		return b[:size]
	}
	grown := p.Allocate(size)
	copy(grown, b)
	p.Free(b)
	return grown
}

// Free takes a buffer back.
func (p *pool) Free(b []byte) {
	if cap(b) == 0 {
		return
	}
	b = b[:cap(b)]
	p.mu.Lock()
	if !p.closed && len(b) <= largestPooled {
		p.free[len(b)] = append(p.free[len(b)], b)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.upstream.Free(b)
}

// close gives everything back that is not in use; what is still in use follows
// when it is freed.
func (p *pool) close() {
	p.mu.Lock()
	free := p.free
	p.free, p.closed = nil, true
	p.mu.Unlock()
	for _, list := range free {
		for _, b := range list {
			p.upstream.Free(b)
		}
	}
}
