package job

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// SweepOptions say what a sweep may remove.
type SweepOptions struct {
	// Prefix limits the sweep to objects and uploads whose names begin with it.
	Prefix string
	// Abandoned is the age from which an unfinished upload counts as left behind by a process that
	// was killed. 0 leaves all of them. No run must take longer, and in S3 no one
	// else may upload under the prefix. MinIO forgets at a restart what it could list by a prefix that
	// is not a whole name, and ends such uploads by itself, after a day by default.
	Abandoned time.Duration
}

// Swept is what a sweep did.
type Swept struct {
	// Seen is the objects that were looked at.
	Seen int64 `json:"seen"`
	// Removed is how many were removed, and Bytes their size.
	Removed int64 `json:"removed"`
	Bytes   int64 `json:"bytes"`
	// Uploads is the unfinished uploads that were ended.
	Uploads int64 `json:"uploads"`
}

// Sweep removes the objects of a bucket whose metadata MetaExpires lies before now. Objects
// without it are kept. Bucket, credentials and timeout come from settings. Two sweeps
// at once do no harm. The result counts what was done before an error, too.
func Sweep(ctx context.Context, settings Settings, now time.Time, options SweepOptions) (swept Swept, err error) {
	settings.LinkTTL = 0
	to, err := openTarget(settings, slog.New(slog.DiscardHandler))
	if err != nil {
		return swept, err
	}
	defer to.close()
	var bucket *blob.Bucket
	switch to := to.(type) {
	case *folder:
		bucket, err = to.bucket()
	case *s3Bucket:
		bucket, err = to.bucket(ctx)
	}
	if err != nil {
		return swept, err
	}
	defer bucket.Close()
	code := func(doing string, err error) error {
		switch to := to.(type) {
		case *folder:
			return folderFault(to.root, 0, err)
		case *s3Bucket:
			return to.fault(ctx, doing, err)
		}
		return err
	}

	list := bucket.List(&blob.ListOptions{Prefix: options.Prefix})
	for {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return swept, code("listing the bucket", err)
		}
		swept.Seen++
		attributes, err := bucket.Attributes(ctx, object.Key)
		if gcerrors.Code(err) == gcerrors.NotFound {
			continue
		}
		if err != nil {
			return swept, code("reading the metadata of an object", err)
		}
		expires, err := time.Parse(time.RFC3339, attributes.Metadata[MetaExpires])
		if err != nil || expires.After(now) {
			continue
		}
		if err := bucket.Delete(ctx, object.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return swept, code("removing an object", err)
		}
		swept.Removed++
		swept.Bytes += object.Size
	}
	if options.Abandoned <= 0 {
		return swept, nil
	}
	switch to := to.(type) {
	case *folder:
		n, err := to.abandoned(options.Prefix, now.Add(-options.Abandoned))
		swept.Uploads = int64(n)
		return swept, err
	case *s3Bucket:
		swept.Uploads, err = to.abandoned(ctx, options.Prefix, now.Add(-options.Abandoned))
	}
	return swept, err
}

// abandoned ends unfinished uploads that began before that.
func (b *s3Bucket) abandoned(ctx context.Context, prefix string, before time.Time) (n int64, err error) {
	if prefix == "" {
		return 0, fault.New("sink.sweep", fault.Usage, "a sweep of unfinished uploads in bucket %q needs a prefix: the bucket may serve others too", b.name)
	}
	prefixes := []string{prefix}
	if b.endpoint != "" {
		// MinIO lists the uploads of a whole name, and all of a bucket, but none by the beginning of
		// their names; after a restart only those of a whole name.
		prefixes = append(prefixes, "")
	}
	for _, listed := range prefixes {
		pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.name, Prefix: optional(listed)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return n, b.fault(ctx, "listing unfinished uploads", err)
			}
			for _, u := range page.Uploads {
				if u.Initiated == nil || !u.Initiated.Before(before) || !strings.HasPrefix(aws.ToString(u.Key), prefix) {
					continue
				}
				_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: u.Key, UploadId: u.UploadId})
				if apiCode(err) == "NoSuchUpload" {
					continue
				}
				if err != nil {
					return n, b.fault(ctx, "ending an unfinished upload", err)
				}
				n++
			}
		}
	}
	return n, nil
}
