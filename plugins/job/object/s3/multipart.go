package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
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

// metaUpload tells one upload of a key from another.
const metaUpload = "cipherstream-upload"

// Create begins the upload. It finds out whether the bucket can be written to.
func (b *Bucket) Create(ctx context.Context, key string, about object.About) (object.Upload, error) {
	if err := object.CheckKey(key); err != nil {
		return nil, err
	}
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	input := &s3.CreateMultipartUploadInput{
		Bucket:               &b.Name,
		Key:                  &key,
		ContentType:          optional(about.ContentType),
		ContentDisposition:   optional(object.Disposition(key, about)),
		Metadata:             map[string]string{metaUpload: rand.Text()},
		ServerSideEncryption: b.encryption(),
		SSEKMSKeyId:          optional(b.KMSKey),
		// A store that keeps checksums says so in its answer; others do not look at it.
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	}
	maps.Copy(input.Metadata, about.Metadata)
	began := time.Now()
	// Nobody could end an upload whose id was not heard, so that the answer is waited for a moment after the end of
	// ctx.
	asking, heard := lingering(ctx)
	defer heard()
	created, err := b.client.CreateMultipartUpload(asking, input)
	if slices.Contains(unknownHeader, apiCode(err)) {
		input.ChecksumAlgorithm = ""
		created, err = b.client.CreateMultipartUpload(asking, input)
	}
	if err != nil {
		return nil, b.fault(ctx, "starting the upload", err)
	}
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), b.abortUpload(asking, "ending the upload of the cancelled run", key, created.UploadId))
	}
	m := &multipart{Digest: object.NewDigest(), checksums: created.ChecksumAlgorithm == types.ChecksumAlgorithmSha256,
		bucket: b, key: key, created: input, id: created.UploadId, began: began, slots: make(chan struct{}, inFlight)}
	m.ctx, m.cancel = context.WithCancelCause(ctx)
	return m, nil
}

// answerTime is how long the answer to the beginning of an upload is waited for when nobody wants the upload any more.
const answerTime = time.Second

// lingering is a context that ends a moment after ctx.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(answerTime, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		stop()
		cancel(nil)
	}
}

// unknownHeader are the codes with which stores refuse what they do not know.
var unknownHeader = []string{"NotImplemented", "InvalidArgument", "InvalidRequest"}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (b *Bucket) encryption() types.ServerSideEncryption {
	if b.Encryption == "none" {
		return ""
	}
	return types.ServerSideEncryption(b.Encryption)
}

// multipart is an upload in parts.
type multipart struct {
	*object.Digest
	bucket *Bucket
	key    string
	// created is what the upload was begun with.
	created *s3.CreateMultipartUploadInput
	id      *string
	began   time.Time
	// checksums says that the store keeps the SHA-256 of every part.
	checksums bool

	ctx    context.Context
	cancel context.CancelCauseFunc
	slots  chan struct{} // one for each part that is on its way
	flying sync.WaitGroup

	part   []byte // the one that is being filled
	number int32  // of parts so far

	mu     sync.Mutex
	spare  [][]byte
	parts  []sentPart
	failed error

	completing bool
	done       bool
}

// sentPart is a part that the store has taken, and the SHA-256 of what was sent.
type sentPart struct {
	number int32
	etag   string
	sum    [sha256.Size]byte
}

func (m *multipart) Unfinished() object.Unfinished {
	return object.Unfinished{Key: m.key, ID: aws.ToString(m.id), Began: m.began}
}

func (m *multipart) Write(p []byte) (int, error) { return m.Beside(p, m.take) }

func (m *multipart) take(p []byte) error {
	if m.Size() > maxObject {
		return m.tooLarge()
	}
	for len(p) > 0 {
		size := partSize(m.bucket.PartSize, m.number+1)
		if m.part == nil {
			m.part = m.memory(size)
		}
		n := min(int(size)-len(m.part), len(p))
		m.part = append(m.part, p[:n]...)
		p = p[n:]
		if int64(len(m.part)) == size {
			if err := m.send(); err != nil {
				return err
			}
		}
	}
	return m.failure()
}

func (m *multipart) tooLarge() error {
	return fault.New("sink.too_large", fault.Sink,
		"bucket %q: the object passes %d parts or 5 TiB, after which S3 takes no more", m.bucket.Name, maxParts).
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
func (m *multipart) send() error {
	select {
	case m.slots <- struct{}{}:
	case <-m.ctx.Done():
		return m.failure()
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
	sent := sentPart{number: number, sum: sha256.Sum256(part)}
	input := &s3.UploadPartInput{
		Bucket: &m.bucket.Name, Key: &m.key, UploadId: m.id, PartNumber: &number, Body: bytes.NewReader(part),
	}
	if m.checksums {
		input.ChecksumSHA256 = aws.String(encodeSum(sent.sum[:]))
	}
	out, err := m.bucket.client.UploadPart(m.ctx, input)
	if err != nil {
		err = m.bucket.fault(m.ctx, "uploading a part", err)
	} else {
		sent.etag = aws.ToString(out.ETag)
		switch took := aws.ToString(out.ChecksumSHA256); {
		case sent.etag == "":
			err = m.bucket.distrust("it took part %d without giving its ETag", number)
		case took != "" && took != encodeSum(sent.sum[:]):
			err = m.bucket.distrust("it took part %d with the SHA-256 %s, expected %s", number, cut(took),
				encodeSum(sent.sum[:]))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if m.failed == nil {
			m.failed = err
			m.cancel(m.failed)
		}
		return
	}
	m.parts = append(m.parts, sent)
	m.spare = append(m.spare, part)
}

// failure is why the upload cannot go on, or nil.
func (m *multipart) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed == nil && m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	return m.failed
}

func (m *multipart) Commit(ctx context.Context) (object.Receipt, error) {
	verified, err := m.commit(ctx)
	if err != nil {
		return object.Receipt{}, err
	}
	return object.Receipt{Size: m.Size(), SHA256: m.SHA256(), Location: m.bucket.location(m.key), Verified: verified,
		Connection: m.bucket.protection.String()}, nil
}

func (m *multipart) commit(ctx context.Context) (verified string, err error) {
	stop := context.AfterFunc(ctx, func() { m.cancel(context.Cause(ctx)) })
	defer stop()
	if len(m.part) > 0 {
		if err := m.send(); err != nil {
			return "", err
		}
	}
	m.flying.Wait()
	if err := m.failure(); err != nil {
		return "", err
	}
	m.completing = true
	etag, err := m.complete(ctx)
	// Whatever the answer was, the object is looked at: an answer may get lost where the request did not, and one
	// that says that all is well may come where nothing is.
	verified, wrong := m.verify(ctx, etag)
	if err == nil {
		err = wrong
	}
	if wrong != nil {
		return "", err
	}
	m.done = true
	m.cancel(nil)
	return verified, nil
}

// complete makes the object of the parts, and returns the ETag that it is said to have.
func (m *multipart) complete(ctx context.Context) (etag string, err error) {
	b := m.bucket
	if m.number == 0 {
		return m.putEmpty(ctx)
	}
	slices.SortFunc(m.parts, func(x, y sentPart) int { return cmp.Compare(x.number, y.number) })
	list := make([]types.CompletedPart, len(m.parts))
	for i, p := range m.parts {
		list[i] = types.CompletedPart{ETag: &p.etag, PartNumber: &p.number}
		if m.checksums {
			list[i].ChecksumSHA256 = aws.String(encodeSum(p.sum[:]))
		}
	}
	out, err := b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.Name, Key: &m.key, UploadId: m.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: list},
	})
	if err != nil {
		return "", b.fault(ctx, "completing the upload", err)
	}
	return aws.ToString(out.ETag), nil
}

// putEmpty stores an object without bytes, of which an upload in parts has none.
func (m *multipart) putEmpty(ctx context.Context) (etag string, err error) {
	b, of := m.bucket, m.created
	if err := m.abortUpload(ctx); err != nil {
		return "", err
	}
	input := &s3.PutObjectInput{
		Bucket:               of.Bucket,
		Key:                  of.Key,
		Body:                 bytes.NewReader(nil),
		ContentType:          of.ContentType,
		ContentDisposition:   of.ContentDisposition,
		Metadata:             of.Metadata,
		ServerSideEncryption: of.ServerSideEncryption,
		SSEKMSKeyId:          of.SSEKMSKeyId,
	}
	if m.checksums {
		nothing := sha256.Sum256(nil)
		input.ChecksumSHA256 = aws.String(encodeSum(nothing[:]))
	}
	out, err := b.client.PutObject(ctx, input)
	if err != nil {
		return "", b.fault(ctx, "storing the object", err)
	}
	return aws.ToString(out.ETag), nil
}

// find asks about the object of this upload; nil says that it is not there, or another's is.
func (m *multipart) find(ctx context.Context) (*s3.HeadObjectOutput, error) {
	head, err := m.bucket.head(ctx, "looking for the object", m.key)
	if head == nil {
		return nil, err
	}
	if head.Metadata[metaUpload] != m.created.Metadata[metaUpload] {
		return nil, nil
	}
	return head, nil
}

// What was looked at, as the receipt says it.
const (
	verifiedSize      = "size"
	verifiedComposite = "size+composite sha256"
	verifiedWhole     = "size+sha256"
)

// verify holds the object that is visible against what was sent: its size, and the SHA-256 that the store keeps, of the
// parts' own (AWS calls it composite) or of the whole. The ETag is no digest everywhere, but it has to be the one that
// the store gave when it made the object. It says what could be checked.
func (m *multipart) verify(ctx context.Context, etag string) (verified string, err error) {
	head, err := m.find(ctx)
	if err != nil {
		return "", err
	}
	b := m.bucket
	if head == nil {
		return "", b.distrust("the object is not there, although nothing was refused")
	}
	sum := m.SHA256()
	size, shown, kept := aws.ToInt64(head.ContentLength), aws.ToString(head.ETag), aws.ToString(head.ChecksumSHA256)
	switch {
	case head.ContentLength == nil || size != m.Size():
		return "", b.distrust("the object has %d bytes, expected %d", size, m.Size())
	case etag != "" && shown != "" && strings.Trim(etag, `"`) != strings.Trim(shown, `"`):
		return "", b.distrust("the object has the ETag %s, and %s when it was made", cut(shown), cut(etag))
	case b.encryption() != "" && head.ServerSideEncryption != b.encryption():
		return "", b.unencrypted(string(head.ServerSideEncryption))
	case kept == "":
		return verifiedSize, nil
	case kept == encodeSum(sum[:]):
		return verifiedWhole, nil
	}
	all := sha256.New()
	for _, p := range m.parts {
		all.Write(p.sum[:])
	}
	composite := encodeSum(all.Sum(nil))
	if given, _, _ := strings.Cut(kept, "-"); given != composite {
		return "", b.distrust("the object's composite SHA-256 is %s, expected %s-%d", cut(kept), composite, len(m.parts))
	}
	return verifiedComposite, nil
}

// unencrypted is the fault of a store that did not encrypt as it was asked to.
func (b *Bucket) unencrypted(came string) error {
	if came == "" {
		came = "none"
	}
	return fault.New("sink.encryption", fault.Sink, "bucket %q was asked to encrypt the object with %s, and says %s",
		b.Name, b.Encryption, cut(came)).
		WithHint("use a store that encrypts, or leave it to the bucket's default with encryption: none")
}

// distrust is the fault of a store that does not have what it was given.
func (b *Bucket) distrust(format string, args ...any) error {
	return fault.New("sink.verify", fault.Sink, "bucket %q does not hold what was sent to it: "+format,
		append([]any{b.Name}, args...)...).
		WithHint("the store, or something before it, has lost or changed data: have it looked at before this bucket is used again").WithRetry()
}

// encodeSum is a checksum as S3 writes it.
func encodeSum(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

func (m *multipart) Abort(ctx context.Context) error {
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
	head, headErr := m.find(ctx)
	if headErr == nil && head != nil {
		headErr = m.bucket.delete(ctx, "removing the object of the failed run", m.key)
	}
	return errors.Join(err, headErr)
}

func (m *multipart) abortUpload(ctx context.Context) error {
	return m.bucket.abortUpload(ctx, "ending the upload of the failed run", m.key, m.id)
}
