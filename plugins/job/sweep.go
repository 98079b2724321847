package job

import (
	"context"
	"errors"
	"time"

	"github.com/cipherstream/cipherstream/plugins/job/object/folder"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// SweepOptions say what a sweep may remove.
type SweepOptions struct {
	// Prefix limits the sweep to objects and uploads whose names begin with it.
	Prefix string
	// Abandoned is the age from which an unfinished upload counts as left behind by a process that
	// was killed, where the store cannot tell. 0 leaves those. No run must take longer, and in S3 no one
	// else may upload under the prefix. A folder can tell: there what a dead process has left goes at any age, and what
	// a living one is at work on stays. MinIO forgets at a restart what it could list by a prefix that is not a whole
	// name, and ends such uploads by itself, after a day by default.
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

// Sweep removes the objects of a bucket whose metadata object.MetaExpires lies before now. Objects
// without it are kept. Bucket, credentials and timeout come from settings. Two sweeps
// at once do no harm. The result counts what was done before an error, too.
func Sweep(ctx context.Context, settings Settings, now time.Time, options SweepOptions) (swept Swept, err error) {
	settings.LinkTTL = 0
	bucket, err := OpenBucket(settings)
	if err != nil {
		return swept, err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	for listed, err := range bucket.List(ctx, options.Prefix) {
		if err != nil {
			return swept, err
		}
		swept.Seen++
		// A list does not tell the metadata.
		info, err := bucket.Stat(ctx, listed.Key)
		if fault.Is(err, object.CodeMissing) {
			continue
		}
		if err != nil {
			return swept, err
		}
		expires, err := time.Parse(time.RFC3339, info.Metadata[object.MetaExpires])
		if err != nil || expires.After(now) {
			continue
		}
		if err := bucket.Delete(ctx, listed.Key); err != nil {
			return swept, err
		}
		swept.Removed++
		swept.Bytes += info.Size
	}
	_, inFolder := bucket.(*folder.Bucket)
	if options.Abandoned <= 0 && !inFolder {
		return swept, nil
	}
	for upload, err := range bucket.Uploads(ctx, options.Prefix) {
		if err != nil {
			return swept, err
		}
		old := options.Abandoned > 0 && upload.Began.Before(now.Add(-options.Abandoned))
		if upload.Owner == object.OwnerAlive || upload.Owner == object.OwnerUnknown && !old {
			continue
		}
		if err := bucket.AbortUpload(ctx, upload); err != nil {
			return swept, err
		}
		swept.Uploads++
	}
	return swept, nil
}
