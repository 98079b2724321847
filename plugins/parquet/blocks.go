package parquet

import "sync"

// blockPool keeps the memory of column chunks for the next ones.
type blockPool struct {
	mu    sync.Mutex
	free  [][]byte
	size  int // of one block, in bytes
	limit int // how many bytes are kept
}

func (p *blockPool) get() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, 0, p.size)
}

func (p *blockPool) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free)*p.size < p.limit {
		p.free = append(p.free, b[:0])
	}
}

// blocks is a queue of bytes in blocks of one size.
type blocks struct {
	pool *blockPool
	list [][]byte
	size int64
}

func (b *blocks) write(p []byte) {
	b.size += int64(len(p))
	for len(p) > 0 {
		last := len(b.list) - 1
		if last < 0 || len(b.list[last]) == cap(b.list[last]) {
			b.list = append(b.list, b.pool.get())
			last++
		}
		to := b.list[last]
		n := copy(to[len(to):cap(to)], p)
		b.list[last] = to[:len(to)+n]
		p = p[n:]
	}
}

// take moves everything of other to the end of b.
func (b *blocks) take(other *blocks) {
	b.list = append(b.list, other.list...)
	b.size += other.size
	clear(other.list)
	other.list, other.size = other.list[:0], 0
}

// pop removes the first block; the caller gives it back to the pool.
func (b *blocks) pop() []byte {
	first := b.list[0]
	b.list[0] = nil
	b.list = b.list[1:]
	b.size -= int64(len(first))
	return first
}
