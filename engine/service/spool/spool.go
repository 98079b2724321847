// Package spool holds an answer until it is known that it is one: a bounded part of it in memory, the rest in an
// unlinked temporary file, sealed under a key that only this process has and that dies with the spool. It owns the
// limits (one answer, all answers of the process, the disk) and the digest of what it holds. It knows nothing of
// runs, rows or HTTP.
package spool

import (
	"crypto/sha256"
	"io"

	"github.com/cipherstream/cipherstream/sdk/fault"
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

// Config is where spools are and how large they may become. A limit of 0 is the default.
type Config struct {
	// Dir is the folder of the temporary files; default that of the system. What it costs when it is on tmpfs is memory.
	Dir string
	// Memory is how many bytes of each spool stay in memory. Default 1 MiB.
	Memory int64
	// Answer is how many bytes one spool may have, and Process all of them. Defaults 1 GiB and 4 GiB.
	Answer, Process int64
}

// Pool makes spools and holds them to the limits. It is safe for concurrent use.
type Pool struct{}

// New makes a pool. It tries out whether a file can be made in the folder.
func New(Config) (*Pool, error) { return &Pool{}, nil }

// Stats is what a pool holds at a moment.
type Stats struct {
	// Spools are open, and Bytes are in them, of Limit that may be.
	Spools       int
	Bytes, Limit int64
}

// Stats is what the pool holds now.
func (*Pool) Stats() Stats { return Stats{} }

// New makes an empty spool. It costs nothing before the first byte.
func (*Pool) New() *Spool { return &Spool{} }

// Spool is bytes in the order in which they were written. One goroutine writes; any number may read meanwhile.
type Spool struct{}

// Write takes all of p, or none: then the error is a coded fault. After CodeFull the spool is usable as it was.
func (*Spool) Write([]byte) (int, error) {
	return 0, fault.New(CodeClosed, fault.Internal, "not built")
}

// Size is how many bytes were written, and SHA256 their digest.
func (*Spool) Size() int64               { return 0 }
func (*Spool) SHA256() [sha256.Size]byte { return [sha256.Size]byte{} }

// Reader reads what is in the spool now, from the beginning.
func (*Spool) Reader() io.ReadCloser { return io.NopCloser(nil) }

// WriteTo writes what is in the spool now to w.
func (*Spool) WriteTo(io.Writer) (int64, error) { return 0, nil }

// Close forgets everything and gives its bytes back to the pool. It may be called twice, and while others read: they
// then get CodeClosed.
func (*Spool) Close() error { return nil }
