package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// head asks about an object; nil says that it is not there.
func (b *Bucket) head(ctx context.Context, doing, key string) (*s3.HeadObjectOutput, error) {
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.Name, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	var missing *types.NotFound
	if errors.As(err, &missing) {
		return nil, nil
	}
	return head, b.fault(ctx, doing, err)
}

// Stat asks about an object.
func (b *Bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	if err := b.connect(ctx); err != nil {
		return object.Info{}, err
	}
	head, err := b.head(ctx, "reading the metadata of an object", key)
	if err != nil {
		return object.Info{}, err
	}
	if head == nil {
		return object.Info{}, object.Missing(key)
	}
	return object.Info{Key: key, Size: aws.ToInt64(head.ContentLength), Modified: aws.ToTime(head.LastModified), Version: aws.ToString(head.ETag),
		ContentType: aws.ToString(head.ContentType), Metadata: metadata(head.Metadata)}, nil
}

// metadata is what was given with an object, without what this package adds.
func metadata(kept map[string]string) map[string]string {
	delete(kept, metaUpload)
	return kept
}

// Open reads an object from an offset on.
func (b *Bucket) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, object.Info, error) {
	if err := b.connect(ctx); err != nil {
		return nil, object.Info{}, err
	}
	if offset < 0 {
		return nil, object.Info{}, object.BadOffset(key, 0, offset)
	}
	// The wait is for the next bytes, and not for all of them.
	reading, cancel := context.WithCancelCause(withContent(ctx))
	r := &reader{ctx: reading, cancel: cancel, bucket: b, key: key}
	r.patience = time.AfterFunc(b.Timeout, func() {
		cancel(fault.New("sink.timeout", fault.Sink, "bucket %q: reading object %q failed: no byte came for %s", b.Name, key, b.Timeout).
			WithHint("check the network, or raise timeout").WithRetry())
	})
	input := &s3.GetObjectInput{Bucket: &b.Name, Key: &key}
	if offset > 0 {
		input.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	got, err := b.client.GetObject(reading, input)
	if err != nil {
		err = r.end(err)
		return b.openedNone(ctx, key, offset, err)
	}
	r.patience.Stop()
	size := aws.ToInt64(got.ContentLength)
	if offset > 0 {
		var from, to int64
		if _, err := fmt.Sscanf(aws.ToString(got.ContentRange), "bytes %d-%d/%d", &from, &to, &size); err != nil || from != offset || to != size-1 {
			return nil, object.Info{}, errors.Join(b.distrust("it was asked for the bytes from %d on, and gives %s", offset, cut(aws.ToString(got.ContentRange))),
				got.Body.Close(), r.end(nil))
		}
	}
	r.body, r.rest = got.Body, size-offset
	return r, object.Info{Key: key, Size: size, Modified: aws.ToTime(got.LastModified), Version: aws.ToString(got.ETag),
		ContentType: aws.ToString(got.ContentType), Metadata: metadata(got.Metadata)}, nil
}

// openedNone is the answer to a request for content that there is none of.
func (b *Bucket) openedNone(ctx context.Context, key string, offset int64,
	err error) (io.ReadCloser, object.Info, error) {
	switch apiCode(err) {
	case "NoSuchKey":
		return nil, object.Info{}, object.Missing(key)
	case "InvalidRange": // of a range without a byte, too
		info, err := b.Stat(ctx, key)
		if err == nil && info.Size == offset {
			return io.NopCloser(strings.NewReader("")), info, nil
		}
		if err == nil {
			err = object.BadOffset(key, info.Size, offset)
		}
		return nil, object.Info{}, err
	}
	return nil, object.Info{}, b.fault(ctx, "reading an object", err)
}

// reader reads the content of an object, and waits for the next bytes as long as for a request.
type reader struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	patience *time.Timer
	bucket   *Bucket
	key      string
	body     io.ReadCloser
	rest     int64
	closed   atomic.Bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.rest == 0 {
		return 0, io.EOF
	}
	// The caller may take its time between two reads.
	r.patience.Reset(r.bucket.Timeout)
	n, err := r.body.Read(p[:min(int64(len(p)), r.rest)])
	r.patience.Stop()
	switch r.rest -= int64(n); {
	case r.rest == 0:
		return n, nil
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, r.bucket.fault(r.ctx, "reading an object", err)
}

func (r *reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	// What is not read is not waited for, so an error here says nothing.
	_ = r.end(nil)
	_ = r.body.Close()
	return nil
}

// end stops the clock, and returns what it has to say of an error.
func (r *reader) end(err error) error {
	r.patience.Stop()
	if err != nil && r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	r.cancel(context.Canceled)
	return err
}

// Delete removes an object. In a bucket that keeps versions it is covered by a marker.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := b.connect(ctx); err != nil {
		return err
	}
	return b.delete(ctx, "removing an object", key)
}

func (b *Bucket) delete(ctx context.Context, doing, key string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.Name, Key: &key})
	if apiCode(err) == "NoSuchKey" { // Amazon's says nothing
		return nil
	}
	return b.fault(ctx, doing, err)
}

// List gives the objects of a prefix, those of others too.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		if err := b.connect(ctx); err != nil {
			yield(object.Info{}, err)
			return
		}
		pages := s3.NewListObjectsV2Paginator(b.client,
			&s3.ListObjectsV2Input{Bucket: &b.Name, Prefix: optional(prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(object.Info{}, b.fault(ctx, "listing the bucket", err))
				return
			}
			for _, o := range page.Contents {
				if !yield(object.Info{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified), Version: aws.ToString(o.ETag)}, nil) {
					return
				}
			}
		}
	}
}

// Uploads gives the unfinished uploads of a prefix, which is not empty: the bucket may serve others too. MinIO forgets
// at a restart what it could list by a prefix that is not a whole name, and ends such uploads by itself, after a day by
// default.
func (b *Bucket) Uploads(ctx context.Context, prefix string) iter.Seq2[object.Unfinished, error] {
	return func(yield func(object.Unfinished, error) bool) {
		if prefix == "" {
			yield(object.Unfinished{}, fault.New("sink.sweep", fault.Usage,
				"a sweep of unfinished uploads in bucket %q needs a prefix: the bucket may serve others too", b.Name))
			return
		}
		if err := b.connect(ctx); err != nil {
			yield(object.Unfinished{}, err)
			return
		}
		prefixes := []string{prefix}
		if b.Endpoint != "" {
			// MinIO lists the uploads of a whole name, and all of a bucket, but none by the beginning of
			// their names; after a restart only those of a whole name.
			prefixes = append(prefixes, "")
		}
		seen := map[string]bool{}
		for _, listed := range prefixes {
			pages := s3.NewListMultipartUploadsPaginator(b.client,
				&s3.ListMultipartUploadsInput{Bucket: &b.Name, Prefix: optional(listed)})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					yield(object.Unfinished{}, b.fault(ctx, "listing unfinished uploads", err))
					return
				}
				for _, u := range page.Uploads {
					id := aws.ToString(u.UploadId)
					if u.Initiated == nil || !strings.HasPrefix(aws.ToString(u.Key), prefix) || seen[id] {
						continue
					}
					seen[id] = true
					if !yield(object.Unfinished{Key: aws.ToString(u.Key), ID: id, Began: *u.Initiated}, nil) {
						return
					}
				}
			}
		}
	}
}

// AbortUpload ends an upload.
func (b *Bucket) AbortUpload(ctx context.Context, of object.Unfinished) error {
	if err := b.connect(ctx); err != nil {
		return err
	}
	return b.abortUpload(ctx, "ending an unfinished upload", of.Key, &of.ID)
}

func (b *Bucket) abortUpload(ctx context.Context, doing, key string, id *string) error {
	_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.Name, Key: &key, UploadId: id})
	if apiCode(err) == "NoSuchUpload" {
		return nil
	}
	return b.fault(ctx, doing, err)
}
