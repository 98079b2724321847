package spool

import (
	"crypto/cipher"
	"errors"
	"io"
	"os"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// reader reads a spool up to the size that it had.
type reader struct {
	spool    *Spool
	at, size int64

	chunk int64  // of the file, which is in plain; -1 is none
	plain []byte // nil before the first one
}

func (r *reader) Read(p []byte) (int, error) {
	if r.spool == nil {
		return 0, closed()
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.at >= r.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.size-r.at)]
	n, err := r.read(p)
	r.at += int64(n)
	return n, err
}

// read copies to p what there is of the chunk at hand.
func (r *reader) read(p []byte) (int, error) {
	number, offset := r.at/chunkSize, r.at%chunkSize
	s := r.spool
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	head := int64(len(s.head))
	if number < head {
		defer s.mu.Unlock()
		return copy(p, s.head[number][offset:]), nil
	}
	if number >= head+s.sealed {
		defer s.mu.Unlock()
		return copy(p, s.tail[offset:]), nil
	}
	from, aead := s.file, s.aead
	s.mu.Unlock()
	if number -= head; number != r.chunk {
		if err := r.open(from, aead, number); err != nil {
			return 0, err
		}
	}
	return copy(p, r.plain[offset:]), nil
}

// open brings a chunk of the file into plain.
func (r *reader) open(from file, aead cipher.AEAD, number int64) error {
	r.chunk = -1
	if r.plain == nil {
		r.plain = r.spool.pool.buffer()
	}
	b := r.spool.pool.buffer()
	defer func() { r.spool.pool.recycle(b) }()
	b = b[:chunkSize+overhead]
	n, err := from.ReadAt(b, number*(chunkSize+overhead))
	switch {
	case errors.Is(err, os.ErrClosed):
		return closed()
	case errors.Is(err, io.EOF) && n < len(b):
		return corrupt("was cut")
	case err != nil && n < len(b):
		return fileFault("read", err)
	}
	if r.plain, err = aead.Open(r.plain[:0], nonceOf(number), b, nil); err != nil {
		r.plain = r.plain[:0]
		return corrupt("was changed")
	}
	r.chunk = number
	return nil
}

func corrupt(how string) error {
	return fault.New(CodeCorrupt, fault.Internal, "the temporary file of an answer %s by somebody else", how).
		WithHint("find out who writes to files of this process, or whether the disk is broken")
}

// Close forgets what was read.
func (r *reader) Close() error {
	if r.spool != nil {
		r.spool.pool.recycle(r.plain)
		r.spool, r.plain = nil, nil
	}
	return nil
}
