// Package sealed is a bucket whose objects lie encrypted in another bucket, such as a folder. It owns the form of what lies
// there, and never knows what the other bucket is, or where the key comes from.
//
// An object is the eight bytes "CSOBJ1\r\n", 32 random bytes, and the content in pieces of 64 KiB, the last of which may be
// shorter, and is empty only when the content is. Each piece is encrypted with AES-256-GCM, its 16-byte tag behind it, under
// a key of the object's own: HKDF-SHA256 (RFC 5869) of the bucket's key, with the random bytes as salt and the object's key in
// info. The nonce is the number of the piece in eleven bytes, and a byte that is 1 for the last one (STREAM, Hoang and others,
// 2015). So a piece that was altered, moved, left out or put behind does not open, nor does an object under another's name;
// and reading begins at any piece.
//
// Names, media types and metadata are not encrypted, and links cannot be signed: who follows one would get what lies there.
package sealed

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// CodeSealed is the code of an object that does not open: what lies in the bucket was altered, cut off, or sealed under another key.
const CodeSealed = "object.sealed"

const (
	magic    = "CSOBJ1\r\n"
	saltSize = 32
	header   = len(magic) + saltSize
	piece    = 64 << 10
	tag      = 16
	// keySize is that of the bucket's key.
	keySize = 32
)

// Bucket is a bucket of encrypted objects.
type Bucket struct {
	inner object.Bucket
	key   []byte
}

// New encrypts what goes into a bucket, which it closes, under a key of 32 bytes.
func New(inner object.Bucket, key []byte) (*Bucket, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("sealed: the key has %d bytes and needs %d", len(key), keySize)
	}
	return &Bucket{inner, key}, nil
}

// aead is the cipher of an object.
func (b *Bucket) aead(key string, salt []byte) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, b.key, salt, "cipherstream object v1 "+key, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is that of a piece.
func nonce(n int64, last bool) []byte {
	out := make([]byte, 12)
	binary.BigEndian.PutUint64(out[3:], uint64(n))
	if last {
		out[11] = 1
	}
	return out
}

// contentSize is how much content lies in so many bytes; false when that cannot be.
func contentSize(stored int64) (size int64, ok bool) {
	body := stored - int64(header)
	pieces := (body + piece + tag - 1) / (piece + tag)
	size = body - pieces*tag
	return size, body >= tag && (pieces == 1 || size > (pieces-1)*piece)
}

// shown is what is said of an object, with the size of its content.
func shown(info object.Info) object.Info {
	if size, ok := contentSize(info.Size); ok {
		info.Size = size
	}
	return info
}

// Create begins an object.
func (b *Bucket) Create(ctx context.Context, key string, about object.About) (object.Upload, error) {
	inner, err := b.inner.Create(ctx, key, about)
	if err != nil {
		return nil, err
	}
	u := &upload{Upload: inner, ctx: ctx, digest: object.NewDigest(), buffer: make([]byte, 0, piece+tag)}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	if u.aead, err = b.aead(key, salt); err == nil {
		_, err = inner.Write(append([]byte(magic), salt...))
	}
	if err != nil {
		return nil, errors.Join(err, inner.Abort(context.WithoutCancel(ctx)))
	}
	return u, nil
}

// upload is an object on its way. Its last piece waits in the buffer until it is known whether it is that.
type upload struct {
	object.Upload
	ctx    context.Context
	aead   cipher.AEAD
	digest *object.Digest
	buffer []byte
	pieces int64
	ended  bool // Commit or Abort was called
}

func (u *upload) Write(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.digest.Beside(p, func(p []byte) error {
		for len(p) > 0 {
			if len(u.buffer) == piece {
				if err := u.seal(false); err != nil {
					return err
				}
			}
			n := min(piece-len(u.buffer), len(p))
			u.buffer, p = append(u.buffer, p[:n]...), p[n:]
		}
		return nil
	})
}

func (u *upload) seal(last bool) error {
	_, err := u.Upload.Write(u.aead.Seal(u.buffer[:0], nonce(u.pieces, last), u.buffer, nil))
	u.pieces++
	u.buffer = u.buffer[:0]
	return err
}

func (u *upload) Commit(ctx context.Context) (object.Receipt, error) {
	if !u.ended {
		u.ended = true
		if err := u.seal(true); err != nil {
			return object.Receipt{}, err
		}
	}
	receipt, err := u.Upload.Commit(ctx)
	if err != nil {
		return object.Receipt{}, err
	}
	receipt.Size, receipt.SHA256 = u.digest.Size(), u.digest.SHA256()
	return receipt, nil
}

func (u *upload) Abort(ctx context.Context) error {
	u.ended = true
	return u.Upload.Abort(ctx)
}

// Open reads the content of an object from an offset on.
func (b *Bucket) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, object.Info, error) {
	in, info, err := b.inner.Open(ctx, key, 0)
	if err != nil {
		return nil, object.Info{}, err
	}
	r, err := b.open(ctx, in, info, offset)
	if err != nil {
		return nil, object.Info{}, errors.Join(err, in.Close())
	}
	return r, shown(info), nil
}

func (b *Bucket) open(ctx context.Context, in io.ReadCloser, info object.Info, offset int64) (*reader, error) {
	size, ok := contentSize(info.Size)
	if !ok {
		return nil, unsealed(info.Key)
	}
	if offset < 0 || offset > size {
		return nil, object.BadOffset(info.Key, size, offset)
	}
	head := make([]byte, header)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, unsealed(info.Key)
	}
	aead, err := b.aead(info.Key, head[len(magic):])
	if err != nil {
		return nil, err
	}
	r := &reader{in: in, aead: aead, key: info.Key, piece: offset / piece, last: max(0, size-1) / piece, buffer: make([]byte, piece+tag)}
	if r.piece > r.last { // the end of whole pieces: the last one is opened all the same, so that one that is not whole is told
		r.piece = r.last
	}
	skip := offset - r.piece*piece
	if r.piece > 0 {
		// Another reader of the same object: it must still be that one.
		again, now, err := b.inner.Open(ctx, info.Key, int64(header)+r.piece*(piece+tag))
		if err != nil {
			return nil, err
		}
		if now.Version != info.Version {
			return nil, errors.Join(fault.New(CodeSealed, fault.Sink, "object %q was replaced while it was opened", info.Key).WithRetry(), again.Close())
		}
		if err := in.Close(); err != nil {
			return nil, errors.Join(err, again.Close())
		}
		r.in = again
	}
	if err := r.next(); err != nil {
		if r.in != in {
			err = errors.Join(err, r.in.Close())
		}
		return nil, err
	}
	r.content = r.content[skip:]
	return r, nil
}

// reader reads content, piece by piece.
type reader struct {
	in          io.ReadCloser
	aead        cipher.AEAD
	key         string
	piece, last int64 // the next piece, and the last one
	buffer      []byte
	content     []byte // of the piece that was opened, as far as it was not read
}

// next opens the next piece.
func (r *reader) next() error {
	last := r.piece == r.last
	n, err := io.ReadFull(r.in, r.buffer)
	if err != nil && !(last && errors.Is(err, io.ErrUnexpectedEOF)) {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = unopened(r.key, r.piece)
		}
		return err
	}
	if r.content, err = r.aead.Open(r.buffer[:0], nonce(r.piece, last), r.buffer[:n], nil); err != nil {
		return unopened(r.key, r.piece)
	}
	r.piece++
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.content) == 0 {
		if r.piece > r.last {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.content)
	r.content = r.content[n:]
	return n, nil
}

func (r *reader) Close() error { return r.in.Close() }

func unsealed(key string) error {
	return fault.New(CodeSealed, fault.Sink, "object %q was not written here: it is not encrypted as this bucket's objects are", key)
}

func unopened(key string, n int64) error {
	return fault.New(CodeSealed, fault.Sink, "object %q does not open at its piece %d: it was altered, or encrypted under another key", key, n).
		WithHint("if the data key was replaced, put the old one back; otherwise deliver the object again")
}

// Link signs none: see the package's comment.
func (b *Bucket) Link(context.Context, string, object.LinkRequest) (object.Link, error) {
	return object.Link{}, nil
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error { return b.inner.Delete(ctx, key) }

// List gives the objects of a prefix.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		for info, err := range b.inner.List(ctx, prefix) {
			if !yield(shown(info), err) {
				return
			}
		}
	}
}

// Stat asks about an object.
func (b *Bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	info, err := b.inner.Stat(ctx, key)
	return shown(info), err
}

// Uploads gives what was begun and has not ended.
func (b *Bucket) Uploads(ctx context.Context, prefix string) iter.Seq2[object.Unfinished, error] {
	return b.inner.Uploads(ctx, prefix)
}

// AbortUpload ends an upload of another process.
func (b *Bucket) AbortUpload(ctx context.Context, of object.Unfinished) error {
	return b.inner.AbortUpload(ctx, of)
}

// Close closes the other bucket.
func (b *Bucket) Close() error { return b.inner.Close() }
