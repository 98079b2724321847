package job

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/object"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// stages are those of package runnertest, an encoder whose rows are as wide as is wanted, and a source that goes on.
func stages() sdk.Bundle {
	b := runnertest.Bundle("test")
	b.Stages = append(b.Stages, runnertest.Pad(), runnertest.Follow())
	return b
}

// counted is a real engine whose runs are counted.
type counted struct {
	*engine.Engine
	runs atomic.Int64
}

func (c *counted) Run(ctx context.Context, plan *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error) {
	c.runs.Add(1)
	return c.Engine.Run(ctx, plan, sink, o)
}

// realWorld is a process with a real engine.
func realWorld(t *testing.T, workers int, change ...func(*Config)) (*world, *Manager, *counted) {
	t.Helper()
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, current) })
	w := newWorld(t)
	e, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := &counted{Engine: e}
	registry, err := customer.New(t.Context(), memory.New(), []customer.Customer{{ID: "clinic", Bucket: "main"}}, customer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Record: w.store, Engine: c, Customers: registry, Buckets: buckets{"main": w.bucket}, Memory: admission.New(admission.Config{}),
		Holder: "real", Workers: workers, Public: public}
	for _, f := range change {
		f(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(func() { m.Stop(context.Background()) })
	return w, m, c
}

// orderOf is an order of a pipeline's rows.
func orderOf(rows, width int, more string) store.NewJob {
	return store.NewJob{Job: store.Job{ID: engine.NewRunID("counting", time.Now()), Customer: "clinic", Procedure: "counting", Format: "csv",
		Request: fmt.Appendf(nil, `{"customer_id":"clinic","rows":%d,"width":%d%s}`, rows, width, more)}}
}

func await(t *testing.T, m *Manager, id string) store.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for after := int64(0); ; {
		job, err := m.Wait(ctx, "clinic", id, after)
		if err != nil {
			t.Fatal(err)
		}
		if after = job.Transition; job.Status.Ended() {
			return job
		}
		if ctx.Err() != nil {
			t.Fatalf("it does not end: %+v", job)
		}
	}
}

// TestSwitched: a request whose answer grows to 74 MB becomes a job in the middle of its run, in a process that takes
// no jobs: its client may leave, nothing is read twice, and the object is byte for byte that of a job that was one from
// the beginning.
func TestSwitched(t *testing.T) {
	const rows, width = 92_500, 800
	w, m, e := realWorld(t, 0)
	pool, err := spool.New(spool.Config{Dir: t.TempDir(), Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	order := orderOf(rows, width, "")
	prepared, err := m.pipeline("counting")
	if err != nil {
		t.Fatal(err)
	}
	given, err := binding.Parameters(prepared, order.Job.Request)
	if err != nil {
		t.Fatal(err)
	}
	binder := binding.Binder{Engine: e, Log: slog.New(slog.DiscardHandler)}
	bound, err := binder.Bind(t.Context(), binding.Order{Pipeline: prepared, Customer: &customer.Customer{ID: "clinic"}, Parameters: given,
		RunID: order.Job.ID, StartedAt: time.Now(), Timeout: m.TimeLimit("data")})
	if err != nil {
		t.Fatal(err)
	}
	client, leave := context.WithCancel(t.Context())
	defer leave()
	answer, err := delivery.Spooled{Spool: pool.New(), Limits: delivery.AutoLimits, Switch: func(ctx context.Context, reason delivery.Reason) (delivery.Job, error) {
		order.Job.Reason = string(reason)
		held, _, err := m.TakeOver(ctx, order)
		if err != nil {
			return nil, err
		}
		return held, nil
	}}.Run(client, bound.Run)
	if err != nil || answer.Switched != delivery.ReasonSize {
		t.Fatalf("%+v, %v", answer, err)
	}
	leave()
	job := await(t, m, order.Job.ID)
	want := string(runnertest.Padded(rows, width))
	if job.Status != store.Completed || job.Reason != "size" || job.TotalRows != rows || job.Rows != rows || job.ObjectKey != object.Key(order.Job.ID, 1, ".txt") {
		t.Errorf("%+v", job)
	}
	w.one(job, 1, want)
	if e.runs.Load() != 1 || !strings.Contains(string(job.Manifest), `{"name":"n","type":"int64"`) {
		t.Errorf("%d runs, %s", e.runs.Load(), job.Manifest)
	}
	if s := pool.Stats(); s.Spools != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
	_, workers, _ := realWorld(t, 1)
	again := orderOf(rows, width, "")
	if _, _, err := workers.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if other := await(t, workers, again.Job.ID); other.SHA256 != job.SHA256 || other.Size != int64(len(want)) {
		t.Errorf("%+v", other)
	}
}

// TestRealEnds: the engine's own time limit cancels a job and is not tried again, a customer's wish ends it soon, a
// fault that may go away is tried again, and a process that stops hands it back; nothing is left in the bucket.
func TestRealEnds(t *testing.T) {
	endless := 1 << 40
	for name, c := range map[string]struct {
		more string
		do   func(t *testing.T, m *Manager, id string)
		want store.Status
		code string
		runs int64 // at most
	}{
		"time limit": {"", func(*testing.T, *Manager, string) {}, store.Cancelled, "TIME_LIMIT", 1},
		"cancel": {"", func(t *testing.T, m *Manager, id string) {
			if _, err := m.Cancel(t.Context(), "clinic", id, store.Actor{}); err != nil {
				t.Error(err)
			}
		}, store.Cancelled, "", 1},
		"broken":           {`,"break":"error"`, func(*testing.T, *Manager, string) {}, store.Failed, "COUNT.BROKEN", 1},
		"wrong parameters": {`,"rows_":1,"break":"no such break"`, func(*testing.T, *Manager, string) {}, store.Failed, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, e := realWorld(t, 1, func(cfg *Config) {
				if name == "time limit" {
					cfg.TimeLimits = map[string]time.Duration{"data": time.Second}
				}
			})
			order := orderOf(endless, 20, c.more)
			if _, _, err := m.Create(t.Context(), order); err != nil {
				t.Fatal(err)
			}
			running, err := m.Wait(t.Context(), "clinic", order.Job.ID, 1)
			if err != nil || running.Transition < 2 {
				t.Fatalf("%+v, %v", running, err)
			}
			began := time.Now()
			c.do(t, m, order.Job.ID)
			job := await(t, m, order.Job.ID)
			if job.Status != c.want || c.code != "" && job.ErrorCode != c.code || e.runs.Load() > c.runs || time.Since(began) > 5*time.Second {
				t.Errorf("%+v after %s, %d runs", job, time.Since(began), e.runs.Load())
			}
			w.none()
		})
	}
	t.Run("stop", func(t *testing.T) {
		w, m, _ := realWorld(t, 1)
		order := orderOf(endless, 20, "")
		if _, _, err := m.Create(t.Context(), order); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Wait(t.Context(), "clinic", order.Job.ID, 1); err != nil {
			t.Fatal(err)
		}
		m.Stop(t.Context())
		if j := w.now(order.Job); j.Status != store.Queued || j.Attempts != 0 {
			t.Errorf("%+v", j)
		}
		w.none()
	})
}
