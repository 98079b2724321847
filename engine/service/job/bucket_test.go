package job

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/object/objecttest"
)

// bucket is a store in memory, of which calls can be made to wait or to fail.
type bucket struct {
	signs bool // links

	mu sync.Mutex
	// on is called before something is done; its error is that of the call, and nothing is done then.
	on      func(call, key string) error
	objects map[string]stored
	uploads map[string]*upload // by ID
}

type stored struct {
	object.Info
	content []byte
}

func newBucket() *bucket { return &bucket{objects: map[string]stored{}, uploads: map[string]*upload{}} }

func TestBucket(t *testing.T) {
	t.Parallel()
	objecttest.Run(t, objecttest.Harness{New: func(*testing.T) object.Bucket { return newBucket() }})
}

func (b *bucket) call(name, key string) error {
	b.mu.Lock()
	on := b.on
	b.mu.Unlock()
	if on != nil {
		return on(name, key)
	}
	return nil
}

// set changes what is called before something is done.
func (b *bucket) set(on func(call, key string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = on
}

// keys are those of the objects, and begun those of the uploads.
func (b *bucket) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}

func (b *bucket) begun() (keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.uploads {
		keys = append(keys, u.of.Key)
	}
	return keys
}

func (b *bucket) content(key string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.objects[key].content
}

func (b *bucket) Create(ctx context.Context, key string, about object.About) (object.Upload, error) {
	if err := object.CheckKey(key); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := b.call("create", key); err != nil {
		return nil, err
	}
	about.Metadata = maps.Clone(about.Metadata)
	u := &upload{Digest: object.NewDigest(), ctx: ctx, bucket: b, about: about, of: object.Unfinished{Key: key, ID: rand.Text(), Began: time.Now()}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uploads[u.of.ID] = u
	return u, nil
}

type upload struct {
	*object.Digest
	ctx     context.Context
	bucket  *bucket
	about   object.About
	of      object.Unfinished
	content []byte
	failed  error
}

func (u *upload) Unfinished() object.Unfinished { return u.of }

func (u *upload) Write(p []byte) (int, error) {
	return u.Beside(p, func(p []byte) error {
		if u.failed = u.bucket.call("write", u.of.Key); u.failed == nil && u.ctx.Err() != nil {
			u.failed = context.Cause(u.ctx)
		}
		u.content = append(u.content, p...)
		return u.failed
	})
}

func (u *upload) Commit(ctx context.Context) (object.Receipt, error) {
	if ctx.Err() != nil {
		return object.Receipt{}, context.Cause(ctx)
	}
	if u.failed != nil {
		return object.Receipt{}, u.failed
	}
	if err := u.bucket.call("commit", u.of.Key); err != nil {
		return object.Receipt{}, err
	}
	b := u.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.uploads[u.of.ID] == nil {
		return object.Receipt{}, fault.New("sink.upload", fault.Sink, "the upload was ended by somebody else").WithRetry()
	}
	delete(b.uploads, u.of.ID)
	b.objects[u.of.Key] = stored{content: u.content, Info: object.Info{Key: u.of.Key, Size: u.Size(), Modified: time.Now(), Version: u.of.ID,
		ContentType: u.about.ContentType, Metadata: u.about.Metadata}}
	return object.Receipt{Size: u.Size(), SHA256: u.SHA256(), Location: "memory://b/" + escaped(u.of.Key)}, nil
}

// escaped is how a key stands in a URL.
func escaped(key string) string {
	return strings.NewReplacer(" ", "%20", "é", "%C3%A9", "%", "%25").Replace(key)
}

func (u *upload) Abort(ctx context.Context) error { return u.bucket.AbortUpload(ctx, u.of) }

func (b *bucket) AbortUpload(_ context.Context, of object.Unfinished) error {
	if err := b.call("abort", of.Key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.uploads, of.ID)
	return nil
}

func (b *bucket) find(ctx context.Context, key string) (stored, error) {
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

func (b *bucket) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, object.Info, error) {
	found, err := b.find(ctx, key)
	if err != nil {
		return nil, object.Info{}, err
	}
	if offset < 0 || offset > found.Size {
		return nil, object.Info{}, object.BadOffset(key, found.Size, offset)
	}
	return io.NopCloser(bytes.NewReader(found.content[offset:])), found.Info, nil
}

func (b *bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	found, err := b.find(ctx, key)
	return found.Info, err
}

// Link gives one that ends as it was asked for.
func (b *bucket) Link(_ context.Context, key string, request object.LinkRequest) (object.Link, error) {
	if !b.signs {
		return object.Link{}, nil
	}
	expires := time.Now().Add(request.TTL)
	if !request.Until.IsZero() && request.Until.Before(expires) {
		expires = request.Until
	}
	return object.Link{URL: "https://bucket.example/" + key, Expires: expires}, nil
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := b.call("delete", key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	return nil
}

func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		for _, key := range b.keys() {
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

func (b *bucket) Uploads(ctx context.Context, prefix string) iter.Seq2[object.Unfinished, error] {
	return func(yield func(object.Unfinished, error) bool) {
		if ctx.Err() != nil {
			yield(object.Unfinished{}, context.Cause(ctx))
			return
		}
		b.mu.Lock()
		uploads := slices.Collect(maps.Values(b.uploads))
		b.mu.Unlock()
		for _, u := range uploads {
			if strings.HasPrefix(u.of.Key, prefix) && !yield(u.of, nil) {
				return
			}
		}
	}
}

func (b *bucket) Close() error { return nil }
