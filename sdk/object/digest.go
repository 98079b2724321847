package object

import (
	"crypto/sha256"
	"hash"
)

// Digest counts and hashes what an upload is given, for its Receipt.
type Digest struct {
	size int64
	hash hash.Hash
}

// NewDigest returns the digest of nothing yet.
func NewDigest() *Digest { return &Digest{hash: sha256.New()} }

// parallelHash is the size from which a second core is worth waking up to hash.
const parallelHash = 64 << 10

// Beside hashes p while write takes it, and returns what write does.
func (d *Digest) Beside(p []byte, write func(p []byte) error) (n int, err error) {
	d.size += int64(len(p))
	if len(p) < parallelHash {
		d.hash.Write(p)
		err = write(p)
	} else {
		hashed := make(chan struct{})
		go func() {
			d.hash.Write(p)
			close(hashed)
		}()
		err = write(p)
		<-hashed
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Size is how many bytes there were.
func (d *Digest) Size() int64 { return d.size }

// SHA256 is that of all of them.
func (d *Digest) SHA256() (sum [sha256.Size]byte) {
	d.hash.Sum(sum[:0])
	return sum
}
