package decrypt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// input is the delivery as it is read: counted, and with a receipt hashed.
type input struct {
	ctx   context.Context
	src   io.Reader
	bytes int64
	hash  hash.Hash
	// failed is why reading ended, other than by the end.
	failed error
}

func newHash() hash.Hash { return sha256.New() }

func (in *input) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		in.failed = context.Cause(in.ctx)
		return 0, err
	}
	n, err := in.src.Read(p)
	in.bytes += int64(n)
	if in.hash != nil {
		in.hash.Write(p[:n])
	}
	if err != nil && err != io.EOF {
		in.failed = fault.New(codeRead, fault.Source, "reading failed after %d bytes: %w", in.bytes, err)
		var coded *fault.Fault
		if errors.As(err, &coded) {
			in.failed = err
		}
	}
	return n, err
}

// cause returns why reading failed, of which err is the echo, or err.
func (in *input) cause(err error) error {
	if in.failed != nil {
		return in.failed
	}
	return err
}

// sum is the digest of what was read, in lower-case hexadecimal.
func (in *input) sum() string { return hex.EncodeToString(in.hash.Sum(nil)) }
