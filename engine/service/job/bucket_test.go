package job

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/object/memory"
	"github.com/cipherstream/cipherstream/sdk/object/objecttest"
)

// bucket is a store in memory, of which calls can be made to wait or to fail.
type bucket struct {
	*memory.Bucket
	signs bool // links

	mu   sync.Mutex
	link object.LinkRequest // that was asked for last
	// on is called before something is done; its error is that of the call, and nothing is done then.
	on func(call, key string) error
}

func newBucket() *bucket { return &bucket{Bucket: memory.New(nil)} }

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
func (b *bucket) keys() (keys []string) {
	for info := range b.List(context.Background(), "") {
		keys = append(keys, info.Key)
	}
	return keys
}

func (b *bucket) begun() (keys []string) {
	for u := range b.Uploads(context.Background(), "") {
		keys = append(keys, u.Key)
	}
	return keys
}

// content is that of an object; nil of one that is not there.
func (b *bucket) content(key string) []byte {
	r, _, err := b.Open(context.Background(), key, 0)
	if err != nil {
		return nil
	}
	content, _ := io.ReadAll(r) // of memory
	return content
}

// Create begins an object, which may be completed after ctx has ended, as by a process that stood still meanwhile.
func (b *bucket) Create(ctx context.Context, key string, about object.About) (object.Upload, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := b.call("create", key); err != nil {
		return nil, err
	}
	u, err := b.Bucket.Create(context.WithoutCancel(ctx), key, about)
	if err != nil {
		return nil, err
	}
	return &upload{Upload: u, ctx: ctx, bucket: b}, nil
}

type upload struct {
	object.Upload
	ctx    context.Context
	bucket *bucket
	failed error
}

func (u *upload) key() string { return u.Unfinished().Key }

func (u *upload) Write(p []byte) (int, error) {
	if u.failed = u.bucket.call("write", u.key()); u.failed == nil && u.ctx.Err() != nil {
		u.failed = context.Cause(u.ctx)
	}
	if u.failed != nil {
		return 0, u.failed
	}
	return u.Upload.Write(p)
}

func (u *upload) Commit(ctx context.Context) (object.Receipt, error) {
	if ctx.Err() != nil {
		return object.Receipt{}, context.Cause(ctx)
	}
	if u.failed != nil {
		return object.Receipt{}, u.failed
	}
	if err := u.bucket.call("commit", u.key()); err != nil {
		return object.Receipt{}, err
	}
	return u.Upload.Commit(context.WithoutCancel(ctx))
}

func (u *upload) Abort(ctx context.Context) error { return u.bucket.AbortUpload(ctx, u.Unfinished()) }

func (b *bucket) AbortUpload(ctx context.Context, of object.Unfinished) error {
	if err := b.call("abort", of.Key); err != nil {
		return err
	}
	return b.Bucket.AbortUpload(ctx, of)
}

// asked is the link that was asked for last.
func (b *bucket) asked() object.LinkRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.link
}

// Link gives one that ends as it was asked for.
func (b *bucket) Link(_ context.Context, key string, request object.LinkRequest) (object.Link, error) {
	if !b.signs {
		return object.Link{}, nil
	}
	b.mu.Lock()
	b.link = request
	b.mu.Unlock()
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
	return b.Bucket.Delete(ctx, key)
}
