// Package memory is a store of objects in this process, for the tests of those who use one. It keeps the whole contract
// of sdk/object and nothing across a restart, and never limits what it holds.
package memory

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Bucket is a store in memory.
type Bucket struct {
	sign func(key string, request object.LinkRequest) (object.Link, error)

	mu      sync.Mutex
	objects map[string]stored
	uploads map[string]*upload // by ID
}

type stored struct {
	object.Info
	content []byte
}

// New returns an empty store, whose links sign makes; nil makes none.
func New(sign func(key string, request object.LinkRequest) (object.Link, error)) *Bucket {
	return &Bucket{sign: sign, objects: map[string]stored{}, uploads: map[string]*upload{}}
}

// Create begins an object.
func (b *Bucket) Create(ctx context.Context, key string, about object.About) (object.Upload, error) {
	if err := object.CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	u := &upload{Digest: object.NewDigest(), ctx: ctx, bucket: b, about: about,
		unfinished: object.Unfinished{Key: key, ID: rand.Text(), Began: time.Now()}}
	u.about.Metadata = maps.Clone(about.Metadata)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uploads[u.unfinished.ID] = u
	return u, nil
}

type upload struct {
	*object.Digest
	ctx        context.Context
	bucket     *Bucket
	about      object.About
	unfinished object.Unfinished
	content    []byte
}

func (u *upload) Unfinished() object.Unfinished { return u.unfinished }

func (u *upload) Write(p []byte) (int, error) {
	return u.Beside(p, func(p []byte) error {
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		u.content = append(u.content, p...)
		return nil
	})
}

func (u *upload) Commit(ctx context.Context) (object.Receipt, error) {
	if ctx.Err() != nil {
		return object.Receipt{}, context.Cause(ctx)
	}
	if u.ctx.Err() != nil {
		return object.Receipt{}, context.Cause(u.ctx)
	}
	b, key := u.bucket, u.unfinished.Key
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.uploads[u.unfinished.ID] == nil {
		return object.Receipt{}, fault.New("sink.upload", fault.Sink, "the upload of %q was ended by somebody else", key).WithRetry()
	}
	delete(b.uploads, u.unfinished.ID)
	b.objects[key] = stored{content: u.content, Info: object.Info{Key: key, Size: u.Size(), Modified: time.Now(), Version: u.unfinished.ID,
		ContentType: u.about.ContentType, Metadata: u.about.Metadata}}
	location := url.URL{Scheme: "memory", Path: "/" + key}
	return object.Receipt{Size: u.Size(), SHA256: u.SHA256(), Location: location.String()}, nil
}

func (u *upload) Abort(ctx context.Context) error { return u.bucket.AbortUpload(ctx, u.unfinished) }

// AbortUpload ends an upload.
func (b *Bucket) AbortUpload(_ context.Context, of object.Unfinished) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.uploads, of.ID)
	return nil
}

// find returns a copy of what is said of an object.
func (b *Bucket) find(ctx context.Context, key string) (stored, error) {
	if ctx.Err() != nil {
		return stored{}, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	found, ok := b.objects[key]
	if !ok {
		return found, object.Missing(key)
	}
	found.Metadata = maps.Clone(found.Metadata)
	return found, nil
}

// Open reads an object from an offset on.
func (b *Bucket) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, object.Info, error) {
	found, err := b.find(ctx, key)
	if err != nil {
		return nil, object.Info{}, err
	}
	if offset < 0 || offset > found.Size {
		return nil, object.Info{}, object.BadOffset(key, found.Size, offset)
	}
	return &reader{ctx, bytes.NewReader(found.content[offset:])}, found.Info, nil
}

type reader struct {
	ctx  context.Context
	rest *bytes.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.rest.Read(p)
}

func (r *reader) Close() error { return nil }

// Stat asks about an object.
func (b *Bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	found, err := b.find(ctx, key)
	return found.Info, err
}

// Link is what sign makes of it.
func (b *Bucket) Link(_ context.Context, key string, request object.LinkRequest) (object.Link, error) {
	if b.sign == nil {
		return object.Link{}, nil
	}
	return b.sign(key, request)
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	return nil
}

// List gives the objects of a prefix.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		b.mu.Lock()
		keys := slices.Sorted(maps.Keys(b.objects))
		b.mu.Unlock()
		for _, key := range keys {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			info, err := b.Stat(ctx, key)
			if fault.Is(err, object.CodeMissing) {
				continue
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// Uploads gives the uploads of a prefix.
func (b *Bucket) Uploads(ctx context.Context, prefix string) iter.Seq2[object.Unfinished, error] {
	return func(yield func(object.Unfinished, error) bool) {
		if ctx.Err() != nil {
			yield(object.Unfinished{}, context.Cause(ctx))
			return
		}
		b.mu.Lock()
		uploads := slices.Collect(maps.Values(b.uploads))
		b.mu.Unlock()
		for _, u := range uploads {
			if strings.HasPrefix(u.unfinished.Key, prefix) && !yield(u.unfinished, nil) {
				return
			}
		}
	}
}

// Close has nothing to give up.
func (b *Bucket) Close() error { return nil }
