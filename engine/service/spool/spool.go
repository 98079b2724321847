// Package spool holds an answer until it is known that it is one: a bounded part of it in memory, the rest in an
// unlinked temporary file, sealed under a key that only this process has and that dies with the spool. It owns the
// limits (one answer, all answers of the process, the disk) and the digest of what it holds. It knows nothing of
// runs, rows or HTTP.
//
// # What is on the disk
//
// The bytes are cut into chunks of 64 KiB. The first ones stay in memory, and so does the last one while it is not full;
// those between them are in the file, each sealed by AES-256-GCM with its number as the nonce. A chunk is written once, and every
// spool has a key of its own, so that no nonce is used twice. A file that was cut, or in which a byte or the order of
// chunks has changed, is an error when it is read, and never other bytes.
package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Codes of what goes wrong in a spool.
const (
	// CodeFull is the code of more bytes than an answer, or all answers of the process together, may have.
	CodeFull = "spool.full"
	// CodeDiskFull is the code of a file system that has no room for the file.
	CodeDiskFull = "spool.disk_full"
	// CodeIO is the code of a file that could not be made, written or read.
	CodeIO = "spool.io"
	// CodeCorrupt is the code of a file that does not hold any more what was written to it.
	CodeCorrupt = "spool.corrupt"
	// CodeClosed is the code of the use of a spool after Close.
	CodeClosed = "spool.closed"
)

// chunkSize is what is sealed in one piece, and overhead what that adds: the tag.
const (
	chunkSize = 64 << 10
	overhead  = 16
)

// Spool is bytes in the order in which they were written. One goroutine writes; any number may read meanwhile.
type Spool struct {
	pool *Pool

	mu     sync.Mutex // guards what follows
	digest *object.Digest
	size   int64
	head   [][]byte // full chunks in memory
	file   file     // nil before the first chunk that has no room in memory
	aead   cipher.AEAD
	sealed int64  // chunks in the file
	tail   []byte // the last chunk, not full; nil before its first byte
	taken  int64  // of the pool's limit
	failed error  // of the file: what it holds is not known
	closed bool
}

// Write takes all of p, or none: then the error is a coded fault. After CodeFull the spool is as it was before. After any
// other error it is lost: nothing can be written to it or read from it.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return 0, err
	}
	if limit := s.pool.limits.Load().Answer; s.size+int64(len(p)) > limit {
		return 0, fault.New(CodeFull, fault.Sink, "the answer is larger than %d MiB, which is all that one may have", limit>>20).
			WithHint("ask for less, or without a spool")
	}
	if err := s.pool.take(int64(len(p))); err != nil {
		return 0, err
	}
	s.taken += int64(len(p))
	n, err := s.digest.Beside(p, s.store)
	if err != nil {
		s.failed = err
		return 0, err
	}
	s.size += int64(n)
	return n, nil
}

// usable refuses what is closed or lost. The caller holds the lock.
func (s *Spool) usable() error {
	if s.closed {
		return closed()
	}
	return s.failed
}

func closed() error {
	return fault.New(CodeClosed, fault.Internal, "the spool was closed")
}

// store cuts p into chunks.
func (s *Spool) store(p []byte) error {
	for len(p) > 0 {
		if s.tail == nil {
			s.tail = s.pool.buffer()
		}
		n := min(chunkSize-len(s.tail), len(p))
		s.tail = append(s.tail, p[:n]...)
		p = p[n:]
		if len(s.tail) < chunkSize {
			continue
		}
		if s.file == nil && int64(len(s.head)+1)*chunkSize <= s.pool.limits.Load().Memory {
			s.head = append(s.head, s.tail)
			s.tail = nil
			continue
		}
		if err := s.seal(); err != nil {
			return err
		}
	}
	return nil
}

// seal moves the tail, which is full, to the file.
func (s *Spool) seal() error {
	if s.file == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	b := s.pool.buffer()
	defer func() { s.pool.recycle(b) }()
	b = s.aead.Seal(b, nonceOf(s.sealed), s.tail, nil)
	if _, err := s.file.WriteAt(b, s.sealed*(chunkSize+overhead)); err != nil {
		return fileFault("write", err)
	}
	s.sealed++
	clear(s.tail)
	s.tail = s.tail[:0]
	return nil
}

// begin makes the key and the file.
func (s *Spool) begin() error {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return fault.New(CodeIO, fault.Internal, "the spool's cipher: %w", err)
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return fault.New(CodeIO, fault.Internal, "the spool's cipher: %w", err)
	}
	if s.file, err = s.pool.create(s.pool.dir); err != nil {
		return fileFault("make", err)
	}
	return nil
}

// nonceOf is the nonce of a chunk of the file.
func nonceOf(chunk int64) []byte {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], uint64(chunk))
	return nonce[:]
}

// fileFault codes an error of the file. The path, which is nobody's business, is left out.
func fileFault(do string, err error) *fault.Fault {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(CodeDiskFull, fault.Sink, "there is no room for the temporary file of an answer: %w", err).
			WithHint("make room in the folder of the spools, or lower what all of them may have").WithRetry()
	}
	return fault.New(CodeIO, fault.Sink, "could not %s the temporary file of an answer: %w", do, err).
		WithHint("look at the disk and the rights of the folder of the spools").WithRetry()
}

// Size is how many bytes were written.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// SHA256 is the digest of all bytes so far.
func (s *Spool) SHA256() [sha256.Size]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digest.SHA256()
}

// Close forgets everything and gives its bytes back to the pool. It may be called twice, and while others read: they
// then get CodeClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, b := range s.head {
		s.pool.recycle(b)
	}
	s.pool.recycle(s.tail)
	s.head, s.tail, s.aead = nil, nil, nil
	s.pool.give(s.taken)
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil {
		return fileFault("close", err)
	}
	return nil
}

// Reader reads what is in the spool now, from the beginning. Close it.
func (s *Spool) Reader() io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &reader{spool: s, size: s.size, chunk: -1}
}

// WriteTo writes what is in the spool now to w, in pieces of a chunk.
func (s *Spool) WriteTo(w io.Writer) (written int64, err error) {
	r := s.Reader()
	defer r.Close()
	b := s.pool.buffer()
	defer s.pool.recycle(b)
	b = b[:chunkSize]
	for {
		n, err := r.Read(b)
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err = w.Write(b[:n])
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
}
