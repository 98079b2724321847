package job

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// TestBucketForgotten: a bucket that is away, or was taken out of the settings, keeps nobody else's from being removed, however
// much there is in it.
func TestBucketForgotten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		for i := range 2 * mostAtOnce {
			n := w.order(fmt.Sprint("c", i))
			n.Holder, n.Job.Bucket = "a", "gone"
			_, lease, _, err := w.store.CreateJob(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			e := store.Ending{Event: store.JobFailed}
			if i%2 == 0 {
				e = store.Ending{Event: store.JobCompleted, Result: store.Result{Bucket: "gone", ObjectKey: "key", ObjectExpires: time.Now()}}
			}
			if _, err := w.store.EndJob(t.Context(), lease, e); err != nil {
				t.Fatal(err)
			}
		}
		p := w.start("a", 1, func(ctx context.Context, n int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			if n == 1 {
				return fails(fault.New("x.y", fault.Source, "x").WithRetry())(ctx, n, sink, o)
			}
			return deliver("one\n", 0)(ctx, n, sink, o)
		})
		job := p.create("clinic")
		up, err := w.bucket.Create(t.Context(), object.Key(job.ID, 1, ".txt"), object.About{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := up.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		job = w.ended(job)
		time.Sleep(5 * time.Minute)
		if keys := w.bucket.keys(); len(keys) != 1 || keys[0] != job.ObjectKey {
			t.Errorf("left are %q", keys)
		}
		time.Sleep(14 * time.Hour)
		w.none()
	})
}

// TestBrokenByStop: what breaks behind the word to stop is no failure of the job, whatever class it has.
func TestBrokenByStop(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		a := w.start("a", 1, func(ctx context.Context, _ int, _ engine.Sink, _ engine.RunOptions) (*engine.Receipt, error) {
			<-ctx.Done()
			return &engine.Receipt{}, fault.New("x.y", fault.Sink, "the connection was closed")
		})
		job := a.create("clinic")
		time.Sleep(time.Second)
		a.Stop(t.Context())
		if j := w.now(job); j.Status != store.Queued || j.Attempts != 0 {
			t.Errorf("%s %s after %d attempts", j.Status, j.ErrorCode, j.Attempts)
		}
	})
}
