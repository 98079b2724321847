package job

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// Link signs a fresh link to the object of a completed job, and writes down who asked for it. Its end is the true one:
// of the link, of the credentials that sign it, or of the object. A bucket that signs none gives the zero Link;
// CodeNoObject where there is no object, or none any more.
func (m *Manager) Link(ctx context.Context, job store.Job, by store.Actor) (object.Link, error) {
	if err := m.readable(job); err != nil {
		return object.Link{}, err
	}
	now, err := m.clock(ctx)
	if err != nil {
		return object.Link{}, err
	}
	if !now.Before(job.ObjectExpires) {
		return object.Link{}, noObject(job)
	}
	bucket, err := m.cfg.Buckets.Bucket(ctx, job.Bucket)
	if err != nil {
		return object.Link{}, err
	}
	if err := m.extend(ctx, job, job.ObjectExpires, m.audit("job.link", job, by)); err != nil {
		return object.Link{}, err
	}
	return bucket.Link(ctx, job.ObjectKey, object.LinkRequest{TTL: m.cfg.Retention.Link, Until: job.ObjectExpires, Now: now,
		FileName: job.FileName, ContentType: job.MediaType})
}

// Open reads the object of a completed job from an offset on, and writes down who does. It stays while it is read.
// CodeNoObject where there is none, or none any more; object.CodeOffset of an offset behind its end.
func (m *Manager) Open(ctx context.Context, job store.Job, offset int64, by store.Actor) (
	io.ReadCloser, object.Info, error,
) {
	if err := m.readable(job); err != nil {
		return nil, object.Info{}, err
	}
	bucket, err := m.cfg.Buckets.Bucket(ctx, job.Bucket)
	if err != nil {
		return nil, object.Info{}, err
	}
	r := &reader{manager: m, job: job, over: make(chan struct{})}
	if err := r.keep(ctx, m.audit("job.download", job, by)); err != nil {
		return nil, object.Info{}, err
	}
	from, info, err := bucket.Open(ctx, job.ObjectKey, offset)
	if fault.Is(err, object.CodeMissing) {
		err = noObject(job)
	}
	if err != nil {
		return nil, object.Info{}, err
	}
	if info.Size != job.Size {
		return nil, object.Info{}, errors.Join(from.Close(), fault.New(CodeInternal, fault.Internal,
			"the object of job %q has %d bytes, and had %d when it was made", job.ID, info.Size, job.Size))
	}
	r.ReadCloser = from
	r.keeping.Go(r.stay)
	return r, info, nil
}

// readable says that a job has an object.
func (m *Manager) readable(job store.Job) error {
	if job.Status != store.Completed || job.ObjectKey == "" || !job.ObjectRemoved.IsZero() {
		return noObject(job)
	}
	return nil
}

func noObject(job store.Job) error {
	return fault.New(CodeNoObject, fault.Usage, "the job %q has no object, or none any more", job.ID).
		WithHint("order it again: results are kept for a while only")
}

func (m *Manager) extend(ctx context.Context, job store.Job, until time.Time, audit ...store.Audit) error {
	err := m.cfg.Record.ExtendObject(ctx, job.ID, until, audit...)
	if fault.Is(err, store.CodeUnknown) {
		return noObject(job)
	}
	return err
}

func (m *Manager) audit(what string, job store.Job, by store.Actor) store.Audit {
	return store.Audit{At: m.Now(), Who: by.Who, What: what, Customer: job.Customer, From: by.From,
		RequestID: by.RequestID, RunID: job.ID, Outcome: "ok", Details: map[string]string{"procedure": job.Procedure}}
}

// How long a reader has its object at a time, and how often it says that it still reads.
const (
	readerHas   = 5 * time.Minute
	readerSays  = time.Minute
	readerTimes = readerHas / readerSays
)

// reader is an object that stays while it is read.
type reader struct {
	io.ReadCloser
	manager *Manager
	job     store.Job
	over    chan struct{}
	once    sync.Once
	keeping sync.WaitGroup
}

// keep keeps the object for a while, by the record's clock.
func (r *reader) keep(ctx context.Context, audit ...store.Audit) error {
	now, err := r.manager.cfg.Record.Clock(ctx)
	if err != nil {
		return err
	}
	return r.manager.extend(ctx, r.job, now.Add(readerHas), audit...)
}

// stay keeps the object until Close.
func (r *reader) stay() {
	ticks := time.NewTicker(readerSays)
	defer ticks.Stop()
	for failed := 0; ; {
		select {
		case <-r.over:
			return
		case <-ticks.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
		err := r.keep(ctx)
		cancel()
		if failed++; err == nil {
			failed = 0
		} else if failed == int(readerTimes) {
			r.manager.cfg.Log.Warn("an object that is being read may be removed", "job", r.job.ID, "cause", fault.From(err).Code)
		}
	}
}

// Close ends the reading.
func (r *reader) Close() error {
	r.once.Do(func() { close(r.over) })
	r.keeping.Wait()
	return r.ReadCloser.Close()
}

// sweepGrace is how long what a run has left stays: a worker that stood still may have gone on, and removes it itself.
const sweepGrace = time.Minute

// mostAtOnce is how many things of the record are looked at together.
const mostAtOnce = 1000

// inBuckets does something with what next lists, as long as there is anything. Buckets that are away, or in which nothing
// can be done, are passed over until the next time: they would keep everybody else's waiting. The error is the first.
func inBuckets[T any](ctx context.Context, next func(passing []string) ([]T, error), bucket func(T) string,
	do func(T) error) (failed error) {
	var passing []string
	for {
		list, err := next(passing)
		if err != nil {
			return err
		}
		good, bad, away := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, one := range list {
			if ctx.Err() != nil {
				return nil
			}
			name := bucket(one)
			if away[name] {
				continue
			}
			err := do(one)
			if err == nil {
				good[name] = true
				continue
			}
			bad[name], away[name] = true, fault.From(err).Class == fault.Connect
			if failed == nil {
				failed = err
			}
		}
		passed := len(passing)
		for name := range bad {
			if away[name] || !good[name] {
				passing = append(passing, name)
			}
		}
		if len(list) < mostAtOnce || len(good) == 0 && len(passing) == passed {
			return failed
		}
	}
}

// sweep removes what runs have left that did not complete, of jobs that have ended.
func (m *Manager) sweep(ctx context.Context) error {
	now, err := m.clock(ctx)
	if err != nil {
		return err
	}
	return inBuckets(ctx, func(passing []string) ([]store.Leftover, error) {
		return m.cfg.Record.Leftovers(ctx, now.Add(-sweepGrace), mostAtOnce, passing...)
	}, func(l store.Leftover) string { return l.Bucket }, func(l store.Leftover) error {
		if err := m.sweepOne(ctx, l); err != nil {
			return err
		}
		return m.cfg.Record.LeftoverSwept(ctx, l.Seq)
	})
}

// sweepOne removes all that a job has in a bucket but the object that counts.
func (m *Manager) sweepOne(ctx context.Context, l store.Leftover) error {
	bucket, err := m.cfg.Buckets.Bucket(ctx, l.Bucket)
	if err != nil {
		return err
	}
	prefix := l.Job + "."
	for upload, err := range bucket.Uploads(ctx, prefix) {
		if err != nil {
			return err
		}
		if upload.Key == l.Keep {
			continue
		}
		if err := bucket.AbortUpload(ctx, upload); err != nil {
			return err
		}
	}
	for info, err := range bucket.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if info.Key == l.Keep {
			continue
		}
		if err := bucket.Delete(ctx, info.Key); err != nil {
			return err
		}
		m.cfg.Log.Info("an object that a lost run has left was removed", "job", l.Job, "customer", l.Customer,
			"bytes", info.Size)
	}
	return nil
}

// expire removes objects that nobody may have any more.
func (m *Manager) expire(ctx context.Context) error {
	now, err := m.clock(ctx)
	if err != nil {
		return err
	}
	return inBuckets(ctx, func(passing []string) ([]store.Job, error) {
		return m.cfg.Record.ExpiredObjects(ctx, now.Add(-m.cfg.Retention.Grace), mostAtOnce, passing...)
	}, func(j store.Job) string { return j.Bucket }, func(j store.Job) error { return m.remove(ctx, j) })
}

func (m *Manager) remove(ctx context.Context, job store.Job) error {
	bucket, err := m.cfg.Buckets.Bucket(ctx, job.Bucket)
	if err != nil {
		return err
	}
	if err := bucket.Delete(ctx, job.ObjectKey); err != nil {
		return err
	}
	return m.cfg.Record.ObjectRemoved(ctx, job.ID)
}

// prune forgets jobs that ended long ago.
func (m *Manager) prune(ctx context.Context) error {
	now, err := m.clock(ctx)
	if err != nil {
		return err
	}
	_, err = m.cfg.Record.PruneJobs(ctx, now.Add(-m.cfg.Retention.Listed))
	return err
}

func (m *Manager) clock(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	now, err := m.cfg.Record.Clock(ctx)
	if err == nil {
		m.told.Store(&reading{now, time.Now()})
	}
	return now, err
}

// reading is what the record's clock has said, and when, by this process's monotonic one.
type reading struct{ now, here time.Time }

// Now is what the record's clock says, as far as this process can tell without asking: jobs and their links go by it, and
// this machine's may be another. It is asked whenever there is something to be swept, and a link to be signed.
func (m *Manager) Now() time.Time {
	if last := m.told.Load(); last != nil {
		return last.now.Add(time.Since(last.here))
	}
	return m.cfg.Now()
}
