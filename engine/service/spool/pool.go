package spool

import (
	"cmp"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Config is where spools are and how large they may become. A limit of 0 is the default.
type Config struct {
	// Dir is the folder of the temporary files; default that of the system. Where that is a tmpfs, they are in memory.
	Dir string
	// Memory is how many bytes of each spool stay in memory, beside two chunks of 64 KiB. Default 1 MiB.
	Memory int64
	// Answer is how many bytes one spool may have, and Process all of them. Defaults 1 GiB and 4 GiB.
	Answer, Process int64
}

// Limits are those of a Config that may change while there are spools.
type Limits struct{ Memory, Answer, Process int64 }

// Pool makes spools and holds them to the limits. It is safe for concurrent use.
type Pool struct {
	dir     string
	limits  atomic.Pointer[Limits]
	create  func(dir string) (file, error)
	buffers sync.Pool // of *[chunkSize + overhead]byte, which hold nothing

	mu    sync.Mutex
	open  int
	taken int64
}

// file is what a spool needs of its file.
type file interface {
	io.WriterAt
	io.ReaderAt
	io.Closer
}

// New makes a pool. It tries out whether a file can be made in the folder.
func New(cfg Config) (*Pool, error) {
	cfg.Dir = cmp.Or(cfg.Dir, os.TempDir())
	p := &Pool{dir: cfg.Dir, create: unlinked}
	p.Change(Limits{cfg.Memory, cfg.Answer, cfg.Process})
	p.buffers.New = func() any { return new([chunkSize + overhead]byte) }
	f, err := p.create(p.dir)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, fileFault("make", err)
	}
	return p, nil
}

// Change takes other limits into effect, for what is written from now on; 0 is the default. Spools keep what is in them.
func (p *Pool) Change(to Limits) {
	to.Memory = cmp.Or(to.Memory, 1<<20)
	to.Answer = cmp.Or(to.Answer, 1<<30)
	to.Process = cmp.Or(to.Process, 4<<30)
	p.limits.Store(&to)
}

// Stats is what a pool holds at a moment.
type Stats struct {
	// Spools are open, and Bytes are in them, of Limit that may be.
	Spools       int
	Bytes, Limit int64
}

// Stats is what the pool holds now.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Spools: p.open, Bytes: p.taken, Limit: p.limits.Load().Process}
}

// New makes an empty spool. It has no file, and hardly any memory, before it needs them. Close it.
func (p *Pool) New() *Spool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	return &Spool{pool: p, digest: object.NewDigest()}
}

// take takes bytes of the process's limit.
func (p *Pool) take(bytes int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if all := p.limits.Load().Process; p.taken+bytes > all {
		return fault.New(CodeFull, fault.Sink, "all answers that wait together would be larger than %d MiB, which is all that they may have", all>>20).
			WithHint("try again later, or give them more").WithRetry()
	}
	p.taken += bytes
	return nil
}

// give gives back what a spool has that is closed.
func (p *Pool) give(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.taken -= bytes
}

// buffer is an empty one with room for a sealed chunk.
func (p *Pool) buffer() []byte { return p.buffers.Get().(*[chunkSize + overhead]byte)[:0] }

// recycle takes a buffer back, or nil, and forgets what was in it.
func (p *Pool) recycle(b []byte) {
	if b == nil {
		return
	}
	whole := (*[chunkSize + overhead]byte)(b[:chunkSize+overhead])
	clear(whole[:])
	p.buffers.Put(whole)
}

// removed makes a file, as others do that have no better way, and removes its name at once.
func removed(dir string) (file, error) {
	f, err := os.CreateTemp(dir, "cipherstream-*.spool") // its mode is 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
