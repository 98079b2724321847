package suite

import (
	"crypto/sha256"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// poison is what memory holds once it may no longer be read.
const poison = 0xDB

// guard is an allocator that knows what was not given back, and overwrites what was, so that whoever reads it later
// sees something else than before.
type guard struct {
	mu     sync.Mutex
	live   map[*byte]int
	bytes  int
	double bool
}

func newGuard() *guard { return &guard{live: map[*byte]int{}} }

// Allocate implements memory.Allocator.
func (g *guard) Allocate(size int) []byte {
	// One byte more, so that an empty buffer has an address too.
	b := memory.DefaultAllocator.Allocate(size + 1)[:size]
	g.mu.Lock()
	defer g.mu.Unlock()
	g.live[&b[:1:1][0]] = size
	g.bytes += size
	return b
}

// Reallocate implements memory.Allocator.
func (g *guard) Reallocate(size int, b []byte) []byte {
	if b != nil && len(b) == size {
		return b
	}
	n := g.Allocate(size)
	copy(n, b)
	g.Free(b)
	return n
}

// Free implements memory.Allocator.
func (g *guard) Free(b []byte) {
	if cap(b) == 0 {
		return // it is none of ours
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := &b[:1:1][0]
	size, ok := g.live[key]
	if !ok {
		g.double = true
		return
	}
	delete(g.live, key)
	g.bytes -= size
	fill(b[:size])
}

func fill(b []byte) {
	for i := range b {
		b[i] = poison
	}
}

// held is what was not given back.
func (g *guard) held() (buffers, bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.live), g.bytes
}

// seal remembers what a record holds.
type seal struct {
	rec     arrow.Record
	columns int64
	rows    int64
	buffers []*memory.Buffer
	sum     [sha256.Size]byte
}

func sealOf(rec arrow.Record) *seal {
	s := &seal{rec: rec, columns: rec.NumCols(), rows: rec.NumRows()}
	for _, c := range rec.Columns() {
		s.collect(c.Data())
	}
	for _, b := range s.buffers {
		b.Retain()
	}
	s.sum = s.digest()
	return s
}

func (s *seal) collect(d arrow.ArrayData) {
	for _, b := range d.Buffers() {
		if b != nil {
			s.buffers = append(s.buffers, b)
		}
	}
	for _, c := range d.Children() {
		s.collect(c)
	}
}

func (s *seal) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, b := range s.buffers {
		h.Write(b.Bytes())
	}
	h.Sum(sum[:0])
	return sum
}

// open says what has happened to the record, and lets its memory go.
func (s *seal) open() string {
	defer func() {
		for _, b := range s.buffers {
			b.Release()
		}
	}()
	switch {
	case s.columns > 0 && s.rec.NumCols() != s.columns:
		return "the stage released a batch that it only borrows"
	case s.digest() != s.sum:
		return "the stage wrote into the buffers of a batch that it only borrows"
	}
	return ""
}
