package service

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"

	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/plugins/job"
	"github.com/cipherstream/cipherstream/plugins/job/object/sealed"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// buckets are the places of objects by their names in the settings. Each is opened once. What a reload has replaced stays
// open until the end, for those who are at work on it.
type buckets struct {
	key []byte // objects in folders are encrypted under it

	mu     sync.Mutex
	set    *config.Settings
	opened map[string]opened
	old    []object.Bucket
}

// opened is a bucket, and what it was opened by.
type opened struct {
	object.Bucket
	by config.Bucket
}

func newBuckets(set *config.Settings, key *datakey.Key) *buckets {
	return &buckets{key: key.Derive("objects"), set: set, opened: map[string]opened{}}
}

// Bucket is one by its name.
func (b *buckets) Bucket(_ context.Context, name string) (object.Bucket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bucket(name)
}

func (b *buckets) bucket(name string) (object.Bucket, error) {
	by, declared := b.set.Buckets[name]
	if !declared {
		return nil, fault.New(config.CodeBucket, fault.Usage, "no bucket is called %q in the service's document", name).
			WithHint("declare it again, as long as objects lie there")
	}
	is, there := b.opened[name]
	if there && is.by == by {
		return is.Bucket, nil
	}
	made, err := openBucket(by, b.set, b.key)
	if err != nil {
		return nil, err
	}
	if there {
		b.old = append(b.old, is.Bucket)
	}
	b.opened[name] = opened{made, by}
	return made, nil
}

// Use takes the buckets of other settings, all of them or, with an error, none.
func (b *buckets) Use(to *config.Settings) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, by := range to.Buckets {
		made, err := openBucket(by, to, b.key)
		if err != nil {
			return err
		}
		if err := made.Close(); err != nil {
			return err
		}
	}
	b.set = to
	return nil
}

// Close closes them. Uploads and readers must have ended.
func (b *buckets) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, is := range b.opened {
		errs = append(errs, is.Close())
	}
	for _, bucket := range b.old {
		errs = append(errs, bucket.Close())
	}
	b.opened, b.old = map[string]opened{}, nil
	return errors.Join(errs...)
}

// openBucket reads the settings of a bucket. It does not reach out yet.
func openBucket(by config.Bucket, set *config.Settings, key []byte) (object.Bucket, error) {
	bucket, err := job.OpenBucket(job.Settings{Bucket: by.URL, AccessKeyID: by.AccessKeyID, SecretAccessKey: by.SecretAccessKey,
		Encryption: by.Encryption, KMSKey: by.KMSKey, LinkTTL: set.Jobs.Retention.Link})
	if err != nil {
		return nil, err
	}
	if inFolder(by) {
		return sealed.New(bucket, key)
	}
	if by.Download == "" {
		return bucket, nil
	}
	base, err := url.Parse(by.Download)
	if err != nil {
		return nil, err // it was checked
	}
	return &downloadHost{bucket, base}, nil
}

// inFolder reports whether a bucket is a folder of this machine.
func inFolder(by config.Bucket) bool { return strings.HasPrefix(by.URL, "file:") }

// downloadHost is a bucket whose links lead to another host, such as a CDN's, which hands requests on to the bucket's own.
type downloadHost struct {
	object.Bucket
	base *url.URL
}

func (b *downloadHost) Link(ctx context.Context, key string, request object.LinkRequest) (object.Link, error) {
	link, err := b.Bucket.Link(ctx, key, request)
	if err != nil || link.URL == "" {
		return link, err
	}
	u, err := url.Parse(link.URL)
	if err != nil {
		return object.Link{}, err
	}
	// The signature is over the path and the query as the bucket gets them.
	u.Scheme, u.Host = b.base.Scheme, b.base.Host
	if prefix := strings.TrimSuffix(b.base.Path, "/"); prefix != "" {
		escaped := prefix + u.EscapedPath()
		if u.Path, err = url.PathUnescape(escaped); err != nil {
			return object.Link{}, err
		}
		u.RawPath = escaped
	}
	link.URL = u.String()
	return link, nil
}
