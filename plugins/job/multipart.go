package job

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Limits of a multipart upload
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
const (
	maxParts  = 10_000
	maxObject = 5 << 40
	// partStep is after how many parts their size doubles: with 5 MiB to begin with, 10,000
	// parts hold as much as an object may have.
	partStep = 1000
	// inFlight is how many parts are on their way at once, while the next one is filled.
	inFlight = 2
	// abortTime is the longest that cleaning up may take.
	abortTime = 30 * time.Second
)

// partSize is the size of a part, numbered from 1.
func partSize(base int64, number int32) int64 { return base << ((number - 1) / partStep) }

// start begins the upload. It finds out whether the bucket can be written to.
func (b *s3Bucket) start(ctx context.Context, o object) (upload, error) {
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	created, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket:               &b.name,
		Key:                  &o.key,
		ContentType:          optional(o.contentType),
		ContentEncoding:      optional(o.contentEncoding),
		ContentDisposition:   optional(o.disposition),
		Metadata:             o.metadata,
		ServerSideEncryption: b.encryption(),
		SSEKMSKeyId:          optional(b.settings.KMSKey),
	})
	if err != nil {
		return nil, b.fault(ctx, "starting the upload", err)
	}
	m := &multipart{bucket: b, object: o, id: created.UploadId, base: int64(b.settings.Buffer), slots: make(chan struct{}, inFlight)}
	// Parts outlive the call that started them; abort ends them.
	m.ctx, m.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return m, nil
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (b *s3Bucket) encryption() types.ServerSideEncryption {
	if b.settings.Encryption == "none" {
		return ""
	}
	return types.ServerSideEncryption(b.settings.Encryption)
}

// multipart is an upload in parts.
type multipart struct {
	bucket *s3Bucket
	object object
	id     *string
	base   int64

	ctx    context.Context
	cancel context.CancelCauseFunc
	slots  chan struct{} // one for each part that is on its way
	flying sync.WaitGroup

	part   []byte // the one that is being filled
	number int32  // of parts so far
	total  int64

	mu     sync.Mutex
	spare  [][]byte
	parts  []types.CompletedPart
	failed error

	completing bool
	done       bool
}

func (m *multipart) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		size := partSize(m.base, m.number+1)
		if m.part == nil {
			m.part = m.memory(size)
		}
		n := min(int(size)-len(m.part), len(p))
		m.part = append(m.part, p[:n]...)
		p = p[n:]
		if m.total += int64(n); m.total > maxObject {
			return m.tooLarge()
		}
		if int64(len(m.part)) == size {
			if err := m.send(ctx); err != nil {
				return err
			}
		}
	}
	return m.failure()
}

func (m *multipart) tooLarge() error {
	return fault.New("sink.too_large", fault.Sink, "bucket %q: the object passes %d parts or 5 TiB, after which S3 takes no more", m.bucket.name, maxParts).
		WithHint("raise buffer, compress, or cut the extraction by date")
}

// memory returns room for a part. Small objects do not need all of it.
func (m *multipart) memory(size int64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.spare) > 0 {
		b := m.spare[len(m.spare)-1]
		m.spare = m.spare[:len(m.spare)-1]
		if int64(cap(b)) == size {
			return b[:0]
		}
	}
	if m.number == 0 {
		return make([]byte, 0, 64<<10)
	}
	return make([]byte, 0, size)
}

// send uploads the part that is being filled, in the background.
func (m *multipart) send(ctx context.Context) error {
	select {
	case m.slots <- struct{}{}:
	case <-m.ctx.Done():
		return m.failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.number++; m.number > maxParts {
		<-m.slots
		return m.tooLarge()
	}
	part, number := m.part, m.number
	m.part = nil
	m.flying.Go(func() {
		defer func() { <-m.slots }()
		m.upload(part, number)
	})
	return nil
}

func (m *multipart) upload(part []byte, number int32) {
	out, err := m.bucket.client.UploadPart(m.ctx, &s3.UploadPartInput{
		Bucket: &m.bucket.name, Key: &m.object.key, UploadId: m.id, PartNumber: &number, Body: bytes.NewReader(part),
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if m.failed == nil {
			m.failed = m.bucket.fault(m.ctx, "uploading a part", err)
			m.cancel(m.failed)
		}
		return
	}
	m.parts = append(m.parts, types.CompletedPart{ETag: out.ETag, PartNumber: &number})
	m.spare = append(m.spare, part)
}

func (m *multipart) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

func (m *multipart) commit(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { m.cancel(context.Cause(ctx)) })
	defer stop()
	if len(m.part) > 0 {
		if err := m.send(ctx); err != nil {
			return err
		}
	}
	m.flying.Wait()
	if err := m.failure(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	m.completing = true
	if err := m.complete(ctx); err != nil {
		// The answer may have got lost on its way, and not the request.
		if there, headErr := m.there(ctx); headErr != nil || !there {
			return err
		}
	}
	m.done = true
	m.cancel(nil)
	return nil
}

func (m *multipart) complete(ctx context.Context) error {
	b := m.bucket
	if m.number == 0 {
		return m.putEmpty(ctx)
	}
	slices.SortFunc(m.parts, func(x, y types.CompletedPart) int { return cmp.Compare(*x.PartNumber, *y.PartNumber) })
	_, err := b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.name, Key: &m.object.key, UploadId: m.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: m.parts},
	})
	if err != nil {
		return b.fault(ctx, "completing the upload", err)
	}
	return nil
}

// putEmpty stores an object without bytes, of which an upload in parts has none.
func (m *multipart) putEmpty(ctx context.Context) error {
	b, o := m.bucket, m.object
	if err := m.abortUpload(ctx); err != nil {
		return err
	}
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:               &b.name,
		Key:                  &o.key,
		Body:                 bytes.NewReader(nil),
		ContentType:          optional(o.contentType),
		ContentEncoding:      optional(o.contentEncoding),
		ContentDisposition:   optional(o.disposition),
		Metadata:             o.metadata,
		ServerSideEncryption: b.encryption(),
		SSEKMSKeyId:          optional(b.settings.KMSKey),
	})
	if err != nil {
		return b.fault(ctx, "storing the object", err)
	}
	return nil
}

// there reports whether the object is visible, and is the one of this upload.
func (m *multipart) there(ctx context.Context) (bool, error) {
	head, err := m.bucket.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &m.bucket.name, Key: &m.object.key})
	var missing *types.NotFound
	if errors.As(err, &missing) {
		return false, nil
	}
	if err != nil {
		return false, m.bucket.fault(ctx, "looking for the object", err)
	}
	return head.Metadata[metaUpload] == m.object.metadata[metaUpload] && aws.ToInt64(head.ContentLength) == m.total, nil
}

func (m *multipart) abort(ctx context.Context) error {
	if m.done {
		return nil
	}
	m.done = true
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer stop()
	m.cancel(context.Canceled)
	// A part that arrives after the upload has ended would stay.
	m.flying.Wait()
	m.part, m.spare = nil, nil
	err := m.abortUpload(ctx)
	if !m.completing {
		return err
	}
	// The commit failed, and may have come through all the same.
	there, headErr := m.there(ctx)
	if headErr == nil && there {
		_, headErr = m.bucket.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &m.bucket.name, Key: &m.object.key})
		if headErr != nil {
			headErr = m.bucket.fault(ctx, "removing the object of the failed run", headErr)
		}
	}
	return errors.Join(err, headErr)
}

func (m *multipart) abortUpload(ctx context.Context) error {
	_, err := m.bucket.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &m.bucket.name, Key: &m.object.key, UploadId: m.id})
	if err == nil || apiCode(err) == "NoSuchUpload" {
		return nil
	}
	return m.bucket.fault(ctx, "ending the upload of the failed run", err)
}
