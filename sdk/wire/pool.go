package wire

import (
	"fmt"
	"math/bits"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// pool hands out body buffers and keeps released ones for the next bodies, up to a limit in bytes. Its methods may be
// called from any goroutine, because a record may be released anywhere.
type pool struct {
	limit int64
	trace bool

	mu      sync.Mutex
	out     int
	holders map[*block]struct{} // only with trace
	free    []*block            // oldest first
	kept    int64
}

// block is one body buffer. It implements memory.Allocator for the arrow buffer that is built on top of it: arrow calls
// Free at the last Release of the record, and the block returns to the pool.
type block struct {
	pool  *pool
	data  []byte // starts at a multiple of alignment
	since time.Time
	stack []uintptr

	memory *ReadMemory // that the block is a slot of; nil for one of the pool's own
	slot   int
}

// poison fills released buffers under WithHolderTrace.
const poison = 0xDB

func newPool(limit int64, trace bool) *pool {
	p := &pool{limit: limit, trace: trace}
	if trace {
		p.holders = make(map[*block]struct{})
	}
	return p
}

// get returns a block of at least n bytes. Its content is undefined.
func (p *pool) get(n int) *block {
	p.mu.Lock()
	b := p.reuse(n)
	p.mu.Unlock()
	if b == nil {
		b = &block{pool: p, data: alignedBytes(sizeClass(n))}
	}
	return p.lent(b)
}

// lent counts a block that is handed out.
func (p *pool) lent(b *block) *block {
	p.mu.Lock()
	p.out++
	p.mu.Unlock()
	if p.trace {
		pcs := make([]uintptr, 32)
		b.stack = pcs[:runtime.Callers(2, pcs)]
		b.since = time.Now()
		p.mu.Lock()
		p.holders[b] = struct{}{}
		p.mu.Unlock()
	}
	return b
}

// reuse takes the smallest free block that is large enough, and of those the one released last, which is warmest.
func (p *pool) reuse(n int) *block {
	best := -1
	for i, b := range p.free {
		if len(b.data) >= n && (best < 0 || len(b.data) <= len(p.free[best].data)) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	b := p.free[best]
	p.free = append(p.free[:best], p.free[best+1:]...)
	p.kept -= int64(len(b.data))
	return b
}

func (p *pool) put(b *block) {
	if b.memory != nil {
		// Not under the lock: the writer is told.
		defer b.memory.giveBack(b.slot)
	} else if p.trace {
		for i := range b.data {
			b.data[i] = poison
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out--
	delete(p.holders, b)
	b.stack = nil
	size := int64(len(b.data))
	if b.memory != nil || size > p.limit/2 {
		return
	}
	p.free = append(p.free, b)
	p.kept += size
	// The oldest go first: they are of the sizes that the stream no longer asks for.
	drop := 0
	for ; p.kept > p.limit; drop++ {
		p.kept -= int64(len(p.free[drop].data))
	}
	if drop > 0 {
		rest := copy(p.free, p.free[drop:])
		clear(p.free[rest:])
		p.free = p.free[:rest]
	}
}

func (p *pool) outstanding() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out
}

// Free implements memory.Allocator; arrow calls it at the last Release.
func (b *block) Free([]byte) { b.pool.put(b) }

// Allocate and Reallocate implement memory.Allocator. Arrow calls them to resize a buffer, and a buffer that was read
// is never resized.
func (b *block) Allocate(int) []byte { panic("wire: a buffer that was read cannot be resized") }

// Reallocate is like Allocate.
func (b *block) Reallocate(int, []byte) []byte { return b.Allocate(0) }

// sizeClass rounds up to a multiple of an eighth of the power of two below, so that bodies of about the same size share
// blocks and at most an eighth is wasted.
func sizeClass(n int) int {
	const page = 4096
	if n <= page {
		return page
	}
	step := max(page, 1<<(bits.Len(uint(n))-4))
	return (n + step - 1) / step * step
}

// alignedBytes allocates n zeroed bytes at a multiple of alignment. Go's large allocations start at a page anyway.
func alignedBytes(n int) []byte {
	b := make([]byte, n)
	if uintptr(unsafe.Pointer(&b[0]))%alignment == 0 {
		return b
	}
	b = make([]byte, n+alignment)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % alignment)
	return b[skip : skip+n : skip+n]
}

// Holder is a body buffer that was read and whose record has not been released yet.
type Holder struct {
	Since time.Time
	Bytes int
	// Stack is that of the Read call that returned the record, one frame a line.
	Stack string
}

func (p *pool) list() []Holder {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Holder
	for b := range p.holders {
		var s strings.Builder
		for frames := runtime.CallersFrames(b.stack); ; {
			f, more := frames.Next()
			fmt.Fprintf(&s, "%s %s:%d\n", f.Function, f.File, f.Line)
			if !more {
				break
			}
		}
		list = append(list, Holder{Since: b.since, Bytes: len(b.data), Stack: s.String()})
	}
	return list
}
