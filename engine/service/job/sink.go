package job

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// sink writes the output of a job to an object of its own.
type sink struct {
	held *Held

	mu     sync.Mutex // guards what follows; Abort may be called in the middle of another call
	bucket object.Bucket
	key    string
	name   string // of the file
	media  engine.Media
	upload object.Upload
	writes context.Context // of the upload, which goes on from call to call
	end    context.CancelCauseFunc
	made   *object.Receipt // of a Commit that has succeeded
}

// spare is how much longer an object may be found by a sweep of the bucket than the record says: the run, links,
// readers.
const spare = 24 * time.Hour

// Open begins the object.
func (s *sink) Open(ctx context.Context, o engine.Object) error {
	h := s.held
	if h.ctx.Err() != nil {
		return context.Cause(h.ctx)
	}
	bucket, err := h.manager.cfg.Buckets.Bucket(ctx, h.job.Bucket)
	if err != nil {
		return err
	}
	writes, end := context.WithCancelCause(h.ctx)
	key := object.Key(h.job.ID, h.job.Runs, o.Media.Extension)
	name := object.FileName(h.job.ID, o.Media.Extension)
	kept := h.manager.cfg.Retention
	expires := h.clock(time.Now()).Add(kept.Link + kept.Grace + spare).UTC().Truncate(time.Second)
	s.mu.Lock()
	s.bucket, s.key, s.name, s.media, s.writes, s.end = bucket, key, name, o.Media, writes, end
	s.mu.Unlock()
	defer context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })()
	upload, err := bucket.Create(writes, key, object.About{ContentType: o.Media.Type, FileName: name,
		Metadata: map[string]string{object.MetaRun: h.job.ID, object.MetaExpires: expires.Format(time.RFC3339)}})
	if err != nil {
		end(nil)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upload = upload
	return nil
}

// begun is the upload, and what ends its writes; nil where there is none.
func (s *sink) begun() (object.Upload, context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upload, s.end
}

func (s *sink) Write(ctx context.Context, p []byte) error {
	upload, end := s.begun()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	defer context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })()
	_, err := upload.Write(p)
	return err
}

// Commit makes the object visible to who knows its key.
func (s *sink) Commit(ctx context.Context) (engine.Delivery, error) {
	upload, _ := s.begun()
	if s.held.ctx.Err() != nil {
		return engine.Delivery{}, context.Cause(s.held.ctx)
	}
	made, err := upload.Commit(ctx)
	if err != nil {
		return engine.Delivery{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = &made
	s.end(nil)
	return engine.Delivery{Bytes: made.Size, SHA256: hex.EncodeToString(made.SHA256[:]), Location: made.Location}, nil
}

// Abort removes what there is of the object. It does nothing after a Commit that has succeeded.
func (s *sink) Abort(ctx context.Context) error {
	upload, end := s.begun()
	if upload == nil || s.committed() != nil {
		return nil
	}
	end(nil)
	return upload.Abort(ctx)
}

// committed is what Commit has made; nil where it has made nothing.
func (s *sink) committed() *object.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// discardTime is how long it may take to remove what a run has made in vain. What is left then a sweep removes.
const discardTime = 30 * time.Second

// discard removes what a run has made in vain, committed or not.
func (s *sink) discard() {
	ctx, cancel := context.WithTimeout(context.Background(), discardTime)
	defer cancel()
	var err error
	if s.committed() != nil {
		err = s.bucket.Delete(ctx, s.key)
	} else {
		err = s.Abort(ctx)
	}
	if err != nil {
		s.held.log("what a job has left in the bucket is left to the sweep", fault.From(err).Code)
	}
}
