package job

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

func hasCode(t testing.TB, err error, code string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("%v, want %s", err, code)
	}
}

// TestCompletes: a job is run at once, and what is kept of it says what the object is.
func TestCompletes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 1, deliver("one\ntwo\n", 10*time.Second))
		began := time.Now()
		job := p.create("clinic")
		if job.Status != store.Queued || job.Type != TypeExtract || job.Bucket != "main" {
			t.Errorf("%+v", job)
		}
		synctest.Wait()
		if j := w.now(job); j.Status != store.Running || time.Since(began) != 0 {
			t.Errorf("%s after %s", j.Status, time.Since(began))
		}
		time.Sleep(6 * time.Second) // a renewal
		if j := w.now(job); j.Rows != 2 || j.Bytes != 8 || j.EstimatedRows != 4 || len(w.bucket.keys()) != 0 {
			t.Errorf("%+v, %q", j.Progress, w.bucket.keys())
		}
		job = w.ended(job)
		if job.Status != store.Completed || time.Since(began) > 11*time.Second || w.story(job) != "made claimed completed" || p.Held() != 0 {
			t.Errorf("%+v, %s, %d held", job, w.story(job), p.Held())
		}
		w.one(job, 1, "one\ntwo\n")
		completed := began.Add(10 * time.Second)
		if job.TotalRows != 2 || job.MediaType != "text/plain" || job.FileName != job.ID+".txt" || job.PeakMemory != 150 || job.CPUSeconds != 1.5 ||
			!job.DataAsOf.Equal(began) || !job.ObjectExpires.Equal(completed.Add(12*time.Hour)) || job.Bucket != "main" {
			t.Errorf("%+v", job.Result)
		}
		info, err := w.bucket.Stat(t.Context(), job.ObjectKey)
		if err != nil || info.Metadata[object.MetaRun] != job.ID {
			t.Errorf("%+v, %v", info, err)
		}
		if expires, err := time.Parse(time.RFC3339, info.Metadata[object.MetaExpires]); err != nil || expires.Before(job.ObjectExpires.Add(time.Hour)) {
			t.Errorf("a sweep of the bucket may remove it at %s, %v", expires, err)
		}
		var m Manifest
		if err := json.Unmarshal(job.Manifest, &m); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(job.Manifest), "hook.example") || !strings.Contains(string(job.Manifest), `"big":12345678901234567890`) {
			t.Errorf("%s", job.Manifest)
		}
		if !m.DataAsOf.Equal(began) {
			t.Errorf("as of %s", m.DataAsOf)
		}
		m.Request, m.DataAsOf = nil, time.Time{}
		want := Manifest{JobID: job.ID, Customer: "clinic", Procedure: "counting", NextSince: began.In(time.FixedZone("", 36000)).Format(time.DateOnly),
			Rows: 2, Bytes: 8, SHA256: job.SHA256, FileName: job.ID + ".txt", MediaType: "text/plain", Format: "ndjson", Compress: "none",
			Columns:  []ManifestColumn{{Name: "id", Type: "int64", SourceType: "BIGINT"}},
			Warnings: []ManifestWarning{{"source.zero_dates", 3}}, Deletes: "none, use Data Stream"}
		if !reflect.DeepEqual(m, want) {
			t.Errorf("%+v\nwant %+v", m, want)
		}
	})
}

// TestEnds: every kind of end comes to what customers are told of it, as often as it is to be tried, and leaves no
// object but that of a completed job.
func TestEnds(t *testing.T) {
	t.Parallel()
	again := fault.New("mysql.deadlock", fault.Source, "SELECT secret").WithRetry()
	away := fault.New("mysql.connect", fault.Connect, "db.example is away").WithRetry()
	first := func(n int, otherwise, then runFunc) runFunc {
		return func(ctx context.Context, attempt int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			if attempt <= n {
				return otherwise(ctx, attempt, sink, o)
			}
			return then(ctx, attempt, sink, o)
		}
	}
	well := deliver("one\n", time.Second)
	panics := func(context.Context, int, engine.Sink, engine.RunOptions) (*engine.Receipt, error) {
		panic("Maria Musterfrau")
	}
	for name, c := range map[string]struct {
		run    runFunc
		status store.Status
		code   string
		story  string
		// within bounds how long it takes.
		least, most time.Duration
	}{
		"well":                {well, store.Completed, "", "made claimed completed", time.Second, 2 * time.Second},
		"once again":          {first(1, fails(again), well), store.Completed, "", "made claimed retried:MYSQL.DEADLOCK claimed completed", 3 * time.Second, 10 * time.Second},
		"twice again":         {first(2, fails(again), well), store.Completed, "", "made claimed retried:MYSQL.DEADLOCK claimed retried:MYSQL.DEADLOCK claimed completed", 18 * time.Second, 60 * time.Second},
		"never well":          {fails(again), store.Failed, "MYSQL.DEADLOCK", "made claimed retried:MYSQL.DEADLOCK claimed retried:MYSQL.DEADLOCK claimed failed:MYSQL.DEADLOCK", 17 * time.Second, 60 * time.Second},
		"at the end":          {first(1, deliver("half\n", time.Second, func(context.Context) error { return again }), well), store.Completed, "", "made claimed retried:MYSQL.DEADLOCK claimed completed", 4 * time.Second, 12 * time.Second},
		"database away":       {first(1, fails(away), well), store.Completed, "", "made claimed retried:MYSQL.CONNECT claimed completed", 6 * time.Second, 12 * time.Second},
		"final":               {fails(fault.New("mysql.value", fault.Data, "Maria")), store.Failed, "MYSQL.VALUE", "made claimed failed:MYSQL.VALUE", 0, time.Second},
		"without a code":      {fails(errors.New("boom")), store.Failed, "INTERNAL", "made claimed failed:INTERNAL", 0, time.Second},
		"panic":               {panics, store.Failed, "INTERNAL", "made claimed failed:INTERNAL", 0, time.Second},
		"time limit":          {fails(fault.New(CodeTimeLimit, fault.Cancelled, "too long")), store.Cancelled, "TIME_LIMIT", "made claimed cancelled:TIME_LIMIT", 0, time.Second},
		"something was left":  {fails(fault.New("mysql.lost", fault.Source, "x").WithRetry().WithDetail("left_behind", "a session")), store.Failed, "MYSQL.LOST", "made claimed failed:MYSQL.LOST", 0, time.Second},
		"well without object": {fails(nil), store.Failed, "INTERNAL", "made claimed failed:INTERNAL", 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				p := w.start("a", 2, c.run, func(cfg *Config) {
					cfg.Public = func(err error) (string, string, string) {
						if fault.From(err).Code == "internal" {
							return "INTERNAL", "broken", "tell us"
						}
						return public(err)
					}
				})
				began := time.Now()
				job := w.ended(p.create("clinic"))
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("it took %s", took)
				}
				if job.Status != c.status || job.ErrorCode != c.code || w.story(job) != c.story || job.Attempts != strings.Count(c.story, "claimed") {
					t.Errorf("%s %s after %d attempts, %s", job.Status, job.ErrorCode, job.Attempts, w.story(job))
				}
				if c.status == store.Completed {
					w.one(job, job.Attempts, "one\n")
				} else {
					w.none()
					if job.ErrorMessage == "" || job.Suggestion == "" {
						t.Errorf("%+v", job)
					}
				}
				if text := p.log.String(); strings.Contains(text, "Maria") || strings.Contains(text, "secret") {
					t.Error(text)
				}
			})
		})
	}
}

// TestCancel: a job that waits is cancelled at once, one that runs within seconds, wherever it runs; and it is not run
// again.
// TestProgressed: who is to be told of progress is, when the record has it.
func TestProgressed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		var told atomic.Int64
		a := w.start("a", 1, deliver("one\ntwo\n", time.Minute), func(c *Config) {
			c.Progressed = func(customer, id string) {
				if j, err := w.store.Job(context.Background(), customer, id); err != nil || j.Status != store.Running || j.Rows != 2 {
					t.Errorf("%+v, %v", j, err)
				}
				told.Add(1)
			}
		})
		job := a.create("clinic")
		w.ended(job)
		if n, most := told.Load(), int64(time.Minute/store.RenewEvery)+1; n < 2 || n > most {
			t.Errorf("told %d times in a minute", n)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		by := store.Actor{Who: "key:1", From: "192.0.2.1"}
		a, b := w.start("a", 1, deliver("one\n", time.Hour)), w.start("b", 0, nil)
		job := a.create("clinic")
		waits := a.create("clinic")
		synctest.Wait()
		if j, err := a.Cancel(t.Context(), "clinic", waits.ID, by); err != nil || j.Status != store.Cancelled {
			t.Errorf("%+v, %v", j, err)
		}
		if j, err := a.Cancel(t.Context(), "clinic", job.ID, by); err != nil || j.Status != store.Running {
			t.Errorf("%+v, %v", j, err)
		}
		began := time.Now()
		if j := w.ended(job); j.Status != store.Cancelled || time.Since(began) > time.Second || j.ErrorCode != "" {
			t.Errorf("%+v after %s", j, time.Since(began))
		}
		// By a process that does not run it.
		job = a.create("clinic")
		time.Sleep(time.Minute)
		if _, err := b.Cancel(t.Context(), "clinic", job.ID, by); err != nil {
			t.Error(err)
		}
		began = time.Now()
		if j := w.ended(job); j.Status != store.Cancelled || time.Since(began) > store.RenewEvery+time.Second || w.story(j) != "made claimed cancelled" {
			t.Errorf("%+v after %s, %s", j, time.Since(began), w.story(j))
		}
		w.none()
		if _, err := a.Cancel(t.Context(), "other", job.ID, by); !fault.Is(err, store.CodeUnknown) {
			t.Errorf("another customer: %v", err)
		}
		// At the gate: what was asked for before the commit holds.
		job = a.order("clinic").Job
		gate := w.start("c", 0, nil)
		held, _, err := gate.TakeOver(t.Context(), store.NewJob{Job: job})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.CancelJob(t.Context(), "clinic", job.ID, by); err != nil {
			t.Fatal(err)
		}
		receipt, err := deliver("one\n", 0)(t.Context(), 1, held.Sink(), engine.RunOptions{Events: held.Event, BeforeCommit: held.Gate})
		hasCode(t, err, CodeCancelled)
		held.End(t.Context(), receipt, err)
		if j := w.now(job); j.Status != store.Cancelled {
			t.Errorf("%+v", j)
		}
		w.none()
	})
}

// TestRecordAway: a job outlives a record that is away for less than its lease, wherever it is by then; for longer it
// ends its run before anybody else can have the job, and there is one object in the end.
func TestRecordAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to time.Duration // when the record is away, since the job was made
		takes    time.Duration // of the run
		story    string
		runs     int
	}{
		"10 s in the middle":     {6 * time.Second, 16 * time.Second, time.Minute, "made claimed completed", 1},
		"10 s at the gate":       {6 * time.Second, 16 * time.Second, 10 * time.Second, "made claimed completed", 1},
		"30 s in the middle":     {6 * time.Second, 36 * time.Second, time.Minute, "made claimed retried:WORKER_LOST claimed completed", 2},
		"30 s at the gate":       {6 * time.Second, 36 * time.Second, 10 * time.Second, "made claimed retried:WORKER_LOST claimed completed", 2},
		"just before it is lost": {6 * time.Second, 23500 * time.Millisecond, time.Minute, "made claimed completed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				var ended []time.Duration
				began := time.Now()
				p := w.start("a", 1, func(ctx context.Context, n int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
					receipt, err := deliver("one\n", c.takes)(ctx, n, sink, o)
					if err != nil {
						ended = append(ended, time.Since(began))
					}
					return receipt, err
				})
				job := p.create("clinic")
				time.Sleep(c.from)
				p.record.away()
				time.Sleep(c.to - c.from)
				p.record.back()
				job = w.ended(job)
				if w.story(job) != c.story || p.engine.count(job.ID) != c.runs {
					t.Errorf("%s, %d runs", w.story(job), p.engine.count(job.ID))
				}
				w.one(job, c.runs, "one\n")
				if c.runs > 1 && (len(ended) != 1 || ended[0] != 25*time.Second) { // renewed at 5 s
					t.Errorf("its runs end after %s", ended)
				}
			})
		})
	}
}

// TestEndIsNotKnown: an end whose answer is lost is asked for until it is known: a completed job keeps its object, and
// what was not written down in time is run by others, with one object in the end.
func TestEndIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hook  func(r *record, calls *int)
		story string
		runs  int
	}{
		"it was written": {func(r *record, calls *int) {
			r.set(nil, func(call string) error {
				if call == "end" {
					*calls++
					return errAway
				}
				return nil
			})
		}, "made claimed completed", 1},
		"it was not, three times": {func(r *record, calls *int) {
			r.set(func(call string) error {
				if call == "end" && *calls < 3 {
					*calls++
					return errAway
				}
				return nil
			}, nil)
		}, "made claimed completed", 1},
		"it was written, and the record is away for a minute": {func(r *record, calls *int) {
			r.set(nil, func(call string) error {
				if call != "end" {
					return nil
				}
				*calls++
				r.set(func(string) error { return errAway }, nil)
				return errAway
			})
		}, "made claimed completed", 1},
		"it was not, and the record is away for a minute": {func(r *record, calls *int) {
			r.set(func(call string) error {
				if call == "end" {
					*calls++
					r.set(func(string) error { return errAway }, nil)
					return errAway
				}
				return nil
			}, nil)
		}, "made claimed retried:WORKER_LOST claimed completed", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				a := w.start("a", 0, nil)
				b := w.start("b", 1, deliver("one\n", 0))
				b.record.away()
				held, job, err := a.TakeOver(t.Context(), a.order("clinic"))
				if err != nil {
					t.Fatal(err)
				}
				calls := 0
				c.hook(a.record, &calls)
				receipt, err := deliver("one\n", 0)(t.Context(), 1, held.Sink(), engine.RunOptions{Events: held.Event, BeforeCommit: held.Gate})
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan struct{})
				go func() {
					held.End(t.Context(), receipt, nil)
					close(done)
				}()
				b.record.back()
				<-done
				if calls == 0 {
					t.Error("the record was not asked")
				}
				story := strings.Replace(c.story, "made claimed", "made", 1) // it was taken from the beginning
				job = w.ended(job)
				time.Sleep(5 * time.Minute) // the sweep
				if w.story(job) != story || b.engine.count(job.ID) != c.runs-1 {
					t.Errorf("%s, %d runs elsewhere", w.story(job), b.engine.count(job.ID))
				}
				w.one(job, c.runs, "one\n")
			})
		})
	}
}

// TestStandsStill: a worker that stands still for a minute, before its gate, in the middle of the commit, or behind it,
// and then goes on as if nothing had been, loses: the job is run elsewhere, and there is one object in the end.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"write", "gate", "commit", "end"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				a := w.start("a", 0, nil)
				w.start("b", 1, deliver("one\n", 0))
				var still atomic.Bool
				frozen := make(chan struct{}) // while a stands still, none of its calls begins
				freeze := func() {
					if still.CompareAndSwap(false, true) {
						time.Sleep(time.Minute)
						close(frozen)
					}
				}
				a.record.set(func(call string) error {
					if still.Load() && call != "end" {
						<-frozen
					}
					if at == call || at == "gate" && call == "renew" {
						freeze()
					}
					return nil
				}, nil)
				w.bucket.set(func(call, key string) error {
					if call == at && strings.HasSuffix(key, ".1.txt") {
						freeze()
					}
					return nil
				})
				held, job, err := a.TakeOver(t.Context(), a.order("clinic"))
				if err != nil {
					t.Fatal(err)
				}
				// It does not see that its context has ended: nothing of it ran.
				receipt, err := deliver("one\n", 0)(context.Background(), 1, blind{held.Sink()}, engine.RunOptions{Events: held.Event, BeforeCommit: held.Gate})
				if at == "gate" {
					hasCode(t, err, store.CodeLeaseLost)
				}
				held.End(t.Context(), receipt, err)
				job = w.ended(job)
				if w.story(job) != "made retried:WORKER_LOST claimed completed" {
					t.Error(w.story(job))
				}
				w.one(job, 2, "one\n")
				time.Sleep(10 * time.Minute)
				w.one(job, 2, "one\n")
			})
		})
	}
}

// blind is a sink that is used as if no context had ended.
type blind struct{ engine.Sink }

func (b blind) Write(_ context.Context, p []byte) error {
	return b.Sink.Write(context.Background(), p)
}

func (b blind) Commit(context.Context) (engine.Delivery, error) {
	s := b.Sink.(*sink)
	made, err := s.upload.Commit(context.Background())
	if err == nil {
		s.made = &made
	}
	return engine.Delivery{}, err
}

// TestKilled: the job of a worker that is gone runs elsewhere within 30 seconds, and the sweep removes what is left of
// it.
func TestKilled(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		a := w.start("a", 1, deliver("half\n", 24*time.Hour))
		job := a.create("clinic")
		time.Sleep(12 * time.Second)
		a.record.away()
		w.bucket.set(func(call, key string) error {
			if call == "abort" && strings.HasSuffix(key, ".1.txt") {
				return errAway // nobody does that
			}
			return nil
		})
		killed := time.Now()
		w.start("b", 1, deliver("one\n", 0))
		for w.now(job).Holder != "b" && !w.now(job).Status.Ended() {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(killed); took > 30*time.Second {
			t.Errorf("it is taken after %s", took)
		}
		job = w.ended(job)
		if begun := w.bucket.begun(); job.Status != store.Completed || len(begun) != 1 {
			t.Errorf("%s, %q", w.story(job), begun)
		}
		w.bucket.set(nil)
		time.Sleep(2 * time.Minute)
		w.one(job, 2, "one\n")
	})
}

// TestWorkersAreLost: a job whose worker is lost each time fails, with a code that says so.
func TestWorkersAreLost(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 1, deliver("one\n", time.Hour))
		job := p.create("clinic")
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
				}
				if w.now(job).Status == store.Running {
					p.record.set(func(call string) error {
						if call == "renew" {
							return errAway
						}
						return nil
					}, nil)
				}
			}
		}()
		job = w.ended(job)
		close(stop)
		if job.Status != store.Failed || job.ErrorCode != store.WorkerLost || p.engine.count(job.ID) != store.MostAttempts {
			t.Errorf("%+v, %s", job, w.story(job))
		}
		time.Sleep(5 * time.Minute)
		w.none()
	})
}

// TestBucketAway: a bucket that is away is tried again; one that is not there is not.
func TestBucketAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 1, deliver("one\n", 0))
		n := 0
		for _, at := range []string{"create", "write", "commit"} {
			failed := false
			w.bucket.set(func(call, _ string) error {
				if call == at && !failed {
					failed = true
					return fault.New("sink.connect", fault.Sink, "away").WithRetry()
				}
				return nil
			})
			job := w.ended(p.create("clinic"))
			if w.story(job) != "made claimed retried:SINK.CONNECT claimed completed" {
				t.Errorf("at %s: %s", at, w.story(job))
			}
			if n++; len(w.bucket.keys()) != n || len(w.bucket.begun()) != 0 || job.ObjectKey != object.Key(job.ID, 2, ".txt") {
				t.Errorf("at %s: %q, %q", at, w.bucket.keys(), w.bucket.begun())
			}
		}
		order := p.order("clinic")
		order.Job.Bucket = "nowhere"
		job, _, err := p.Create(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		if job = w.ended(job); job.ErrorCode != "TEST.BUCKET" {
			t.Errorf("%+v", job)
		}
	})
}

// TestStop: a process that stops hands its jobs back, those that it has taken over too; the attempt does not count, and
// others run them. It takes no more.
func TestStop(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		a := w.start("a", 1, deliver("one\n", time.Minute))
		job := a.create("clinic")
		held, over, err := a.TakeOver(t.Context(), a.order("clinic"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			receipt, err := deliver("one\n", time.Minute)(held.Context(), 1, held.Sink(), engine.RunOptions{Events: held.Event, BeforeCommit: held.Gate})
			held.End(t.Context(), receipt, err)
		}()
		time.Sleep(10 * time.Second)
		began := time.Now()
		a.Stop(t.Context())
		if a.Held() != 0 || time.Since(began) > time.Second {
			t.Errorf("%d held after %s", a.Held(), time.Since(began))
		}
		w.none()
		for _, j := range []store.Job{job, over} {
			if j = w.now(j); j.Status != store.Queued || j.Attempts != 0 || j.Runs != 1 {
				t.Errorf("%+v", j)
			}
		}
		if _, _, err := a.TakeOver(t.Context(), a.order("clinic")); !fault.Is(err, CodeStopping) || !fault.From(err).Retryable {
			t.Errorf("%v", err)
		}
		a.Stop(t.Context())
		a.Start()
		w.start("b", 2, deliver("one\n", 0))
		for _, j := range []store.Job{job, over} {
			if j = w.ended(j); j.Status != store.Completed || j.Attempts != 1 || j.Runs != 2 || j.ObjectKey != object.Key(j.ID, 2, ".txt") {
				t.Errorf("%+v", j)
			}
		}
	})
}

// TestStopInTime: Stop returns when its time is over, whatever the record and the run do. A process that was never
// started stops too.
func TestStopInTime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		go1 := make(chan struct{})
		a := w.start("a", 1, func(context.Context, int, engine.Sink, engine.RunOptions) (*engine.Receipt, error) {
			<-go1 // heeds nothing
			return &engine.Receipt{}, fault.New("x.y", fault.Internal, "x")
		})
		job := a.create("clinic")
		time.Sleep(time.Second)
		a.record.away()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		a.Stop(ctx)
		if took := time.Since(began); took != 10*time.Second || w.now(job).Status != store.Running {
			t.Errorf("after %s: %+v", took, w.now(job))
		}
		close(go1)
		a.Stop(t.Context())
		m, err := New(a.cfg)
		if err != nil {
			t.Fatal(err)
		}
		m.Stop(t.Context())
	})
}

// TestTakeOver: a process that takes no jobs runs those that it takes over, and an order that came before is that job.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 0, nil)
		waits := p.create("clinic")
		order := p.order("clinic")
		order.Idempotency = &store.Idempotency{Customer: "clinic", Route: "r", Key: "k", Body: [32]byte{1}, Request: "req_1"}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it has to be known all the same
		held, job, err := p.TakeOver(ctx, order)
		if err != nil || job.Status != store.Running || job.Holder != "a" || job.Attempts != 1 || held.Job().ID != job.ID {
			t.Fatalf("%+v, %v", job, err)
		}
		again := p.order("clinic")
		again.Idempotency = order.Idempotency
		if other, replayed, err := p.TakeOver(t.Context(), again); err != nil || other != nil || replayed.ID != job.ID {
			t.Errorf("%v, %+v, %v", other, replayed, err)
		}
		time.Sleep(time.Hour) // its lease is renewed
		receipt, err := deliver("one\n", 0)(held.Context(), 1, held.Sink(), engine.RunOptions{Events: held.Event, BeforeCommit: held.Gate})
		held.End(t.Context(), receipt, err)
		if job = w.now(job); job.Status != store.Completed || job.DataAsOf.Before(job.CreatedAt.Add(time.Hour)) {
			t.Errorf("%+v", job)
		}
		w.one(job, 1, "one\n")
		if j := w.now(waits); j.Status != store.Queued {
			t.Errorf("a process without workers has taken %+v", j)
		}
	})
}

// TestFair: a customer with one job waits for no more than one of another's.
func TestFair(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 0, nil)
		var many []store.Job
		for range 1000 {
			many = append(many, p.create("many"))
		}
		one := p.create("one")
		w.start("b", 1, deliver("one\n", time.Second))
		began := time.Now()
		w.ended(one)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it waits %s", took)
		}
		if job := w.ended(many[999]); job.Status != store.Completed {
			t.Errorf("%+v", job)
		}
	})
}

// TestTogether: several processes run as many jobs at once as they may, each once.
func TestTogether(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.start("a", 2, deliver("one\n", time.Second)), w.start("b", 3, deliver("one\n", time.Second))
		var all []store.Job
		for range 50 {
			all = append(all, a.create("clinic"))
		}
		began := time.Now()
		for _, j := range all {
			w.ended(j)
		}
		if took := time.Since(began); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("50 jobs of a second take five workers %s", took)
		}
		for _, j := range all {
			if n := a.engine.count(j.ID) + b.engine.count(j.ID); n != 1 {
				t.Errorf("%s was run %d times", j.ID, n)
			}
		}
		if len(w.bucket.keys()) != 50 {
			t.Errorf("%d objects", len(w.bucket.keys()))
		}
	})
}

// TestNotServed: a job of a customer that a process does not know is handed back and left to others, without costing an
// attempt, and holds up nobody; when the customer is known, it runs.
func TestNotServed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 1, deliver("one\n", 0))
		p.customers.know("clinic")
		order := p.order("new")
		order.Job.Bucket = "main"
		unknown, _, err := p.Create(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		if j := w.ended(p.create("clinic")); j.Status != store.Completed {
			t.Errorf("%+v", j)
		}
		time.Sleep(10 * time.Minute)
		j := w.now(unknown)
		if j.Status != store.Queued || j.Attempts != 0 || j.Runs < 2 || j.Runs > 10 {
			t.Errorf("%+v, %s", j, w.story(j))
		}
		p.customers.know("clinic", "new")
		if j = w.ended(unknown); j.Status != store.Completed || j.Attempts != 1 {
			t.Errorf("%+v", j)
		}
	})
}

// TestUnserved: a job of a customer that no process has known for a day has failed with a code, and customers are told; one
// of a customer whose jobs another process runs waits on, however long.
func TestUnserved(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 1, deliver("one\n", 0))
		p.customers.know("clinic")
		create := func(customer string) store.Job {
			order := p.order(customer)
			order.Job.Bucket = "main"
			job, _, err := p.Create(t.Context(), order)
			if err != nil {
				t.Fatal(err)
			}
			return job
		}
		gone, another := create("gone"), create("gone")
		time.Sleep(UnservedTime - time.Minute)
		if j := w.now(gone); j.Status != store.Queued || j.Attempts != 0 {
			t.Errorf("%+v", j)
		}
		young := create("gone")
		for _, job := range []store.Job{gone, another} {
			j := w.ended(job)
			if took := j.CompletedAt.Sub(j.CreatedAt); j.Status != store.Failed || j.ErrorCode != "JOB.UNSERVED" || took > UnservedTime+2*longestSkip {
				t.Errorf("after %s: %+v, %s", took, j, w.story(j))
			}
		}
		if j := w.now(young); j.Status != store.Queued {
			t.Errorf("%+v", j)
		}
		events, err := w.store.Outbox(t.Context(), 0, 9)
		if err != nil || len(events) != 2 || events[0].Event != "job.failed" {
			t.Errorf("%+v, %v", events, err)
		}
		w.none()

		elsewhere := w.start("b", 1, deliver("one\n", 0))
		elsewhere.customers.know("theirs")
		waits := create("theirs") // until the other one, which has other work, comes to it
		elsewhere.stop()
		for range 20 { // jobs of that customer are run all the time
			time.Sleep(UnservedTime / 10)
			if j := w.now(waits); j.Status == store.Failed {
				t.Fatalf("%+v, %s", j, w.story(j))
			}
			order := p.order("theirs")
			order.Holder, order.Job.Bucket = "b", "main"
			_, lease, _, err := w.store.CreateJob(t.Context(), order)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.store.EndJob(t.Context(), lease, store.Ending{Event: store.JobFailed, ErrorCode: "X"}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestRecordsClock: where the clocks of processes are a day forward or back of the record's, links, estimates and the ends of
// results are by the record's.
func TestRecordsClock(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"forward": 24 * time.Hour, "back": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				p := w.start("a", 1, deliver("one\n", time.Minute), func(cfg *Config) {
					cfg.Now = func() time.Time { return time.Now().Add(off) }
				})
				job := p.create("clinic")
				time.Sleep(31 * time.Second)
				if off := time.Until(p.Now()); off.Abs() > time.Second {
					t.Errorf("the clock is %s off", off)
				}
				_, remaining, known := p.Progress(store.Job{Status: store.Running, Attempts: 1, StartedAt: time.Now().Add(-time.Minute),
					Progress: store.Progress{Rows: 50, EstimatedRows: 200}})
				if !known || remaining.Round(10*time.Second) != 3*time.Minute {
					t.Errorf("%s remain", remaining)
				}
				job = w.ended(job)
				if took := job.ObjectExpires.Sub(job.CompletedAt); took.Round(time.Minute) != 12*time.Hour {
					t.Errorf("the result ends after %s", took)
				}
				link, err := p.Link(t.Context(), job, store.Actor{})
				if err != nil || !link.Expires.Equal(job.ObjectExpires) {
					t.Errorf("%+v, %v", link, err)
				}
				if now := w.bucket.asked().Now; time.Until(now).Abs() > time.Second {
					t.Errorf("the link is signed as of %s", now)
				}
				rows, err := w.store.AuditOf(t.Context(), "clinic", time.Time{}, 99)
				if last := rows[len(rows)-1]; err != nil || last.What != "job.link" || time.Until(last.At).Abs() > time.Second {
					t.Errorf("%+v, %v", last, err)
				}
			})
		})
	}
}

// TestDatabaseAway: jobs of a customer whose database is away wait without losing their attempts one after another.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		var back atomic.Bool
		p := w.start("a", 1, func(ctx context.Context, n int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			if !back.Load() {
				return &engine.Receipt{}, fault.New("mysql.connect", fault.Connect, "away").WithRetry()
			}
			return deliver("one\n", 0)(ctx, n, sink, o)
		})
		var all []store.Job
		for range 20 {
			all = append(all, p.create("clinic"))
		}
		time.Sleep(time.Minute)
		back.Store(true)
		failed := 0
		for _, j := range all {
			if j = w.ended(j); j.Status != store.Completed {
				failed++
			}
		}
		if failed > 1 {
			t.Errorf("a minute without a database costs %d of 20 jobs", failed)
		}
	})
}

// TestWait: who waits for a change hears of it at once in the process that makes it, and within a second elsewhere; and
// is given the job as it is when he has waited long enough, when nothing follows, or when the process stops.
func TestWait(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.start("a", 0, nil), w.start("b", 0, nil)
		job := a.create("clinic")
		type answer struct {
			job  store.Job
			err  error
			took time.Duration
		}
		wait := func(p *process, ctx context.Context, after int64) chan answer {
			c, began := make(chan answer, 1), time.Now()
			go func() {
				j, err := p.Wait(ctx, "clinic", job.ID, after)
				c <- answer{j, err, time.Since(began)}
			}()
			return c
		}
		if got := <-wait(a, t.Context(), 0); got.job.Transition != 1 || got.took != 0 {
			t.Errorf("%+v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		if got := <-wait(a, ctx, 1); got.err != nil || got.job.Transition != 1 || got.took != 50*time.Second {
			t.Errorf("%+v", got)
		}
		here, elsewhere := wait(a, t.Context(), 1), wait(b, t.Context(), 1)
		time.Sleep(10*time.Second + 100*time.Millisecond)
		if _, err := a.Cancel(t.Context(), "clinic", job.ID, store.Actor{}); err != nil {
			t.Fatal(err)
		}
		if got := <-here; got.job.Status != store.Cancelled || got.took != 10*time.Second+100*time.Millisecond {
			t.Errorf("%+v", got)
		}
		if got := <-elsewhere; got.job.Status != store.Cancelled || got.took > 11*time.Second {
			t.Errorf("%+v", got)
		}
		if got := <-wait(a, t.Context(), 2); got.err != nil || got.took != 0 {
			t.Errorf("%+v", got)
		}
		if _, err := a.Wait(t.Context(), "clinic", "nobody_1_2", 0); !fault.Is(err, store.CodeUnknown) {
			t.Errorf("%v", err)
		}
		job = a.create("clinic")
		waiting := wait(a, t.Context(), 1)
		synctest.Wait()
		a.Stop(t.Context())
		if got := <-waiting; got.err != nil || got.job.Transition != 1 {
			t.Errorf("%+v", got)
		}
		if len(a.waiters.jobs) != 0 || len(b.waiters.jobs) != 0 {
			t.Errorf("%v, %v", a.waiters.jobs, b.waiters.jobs)
		}
	})
}

// TestObjects: a link ends with the object; the object goes one grace time after the last link, not under a reader, and
// its job is forgotten in the end.
func TestObjects(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		worker := w.start("a", 1, deliver("one\ntwo\n", 0))
		job := w.ended(worker.create("clinic"))
		worker.stop()
		p := w.start("b", 0, nil, func(cfg *Config) { cfg.Retention.Listed = 48 * time.Hour })
		completed := job.CompletedAt
		by := store.Actor{Who: "key:1", From: "192.0.2.1", RequestID: "req_2"}
		link, err := p.Link(t.Context(), job, by)
		if err != nil || !link.Expires.Equal(job.ObjectExpires) || link.URL == "" {
			t.Errorf("%+v, %v", link, err)
		}
		time.Sleep(6 * time.Hour)
		if link, err = p.Link(t.Context(), job, by); err != nil || !link.Expires.Equal(completed.Add(12*time.Hour)) {
			t.Errorf("a fresh link: %+v, %v", link, err)
		}
		if _, _, err := p.Open(t.Context(), job, 9, by); !fault.Is(err, object.CodeOffset) {
			t.Errorf("%v", err)
		}
		r, info, err := p.Open(t.Context(), job, 4, by)
		if err != nil || info.Size != 8 {
			t.Fatalf("%+v, %v", info, err)
		}
		time.Sleep(6*time.Hour + time.Second)
		if _, err := p.Link(t.Context(), job, by); !fault.Is(err, CodeNoObject) {
			t.Errorf("a link behind the end: %v", err)
		}
		time.Sleep(6 * time.Hour)
		w.one(w.now(job), 1, "one\ntwo\n") // it is being read
		text, err := io.ReadAll(r)
		if err != nil || string(text) != "two\n" {
			t.Errorf("%q, %v", text, err)
		}
		closed := time.Now()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for w.now(job).ObjectRemoved.IsZero() {
			time.Sleep(time.Second)
		}
		if took := time.Since(closed); took < time.Hour || took > time.Hour+10*time.Minute {
			t.Errorf("it goes %s after the last reader", took)
		}
		w.none()
		job = w.now(job)
		if _, err := p.Link(t.Context(), job, by); !fault.Is(err, CodeNoObject) {
			t.Errorf("%v", err)
		}
		if _, _, err := p.Open(t.Context(), job, 0, by); !fault.Is(err, CodeNoObject) {
			t.Errorf("%v", err)
		}
		time.Sleep(49 * time.Hour)
		if _, err := w.store.Job(t.Context(), "clinic", job.ID); !fault.Is(err, store.CodeUnknown) {
			t.Errorf("%v", err)
		}
	})
}

// TestExpiry: nobody asked for the object, and it goes when its time is over; an object that cannot be removed is tried
// again.
func TestExpiry(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 1, deliver("one\n", 0))
		job := w.ended(p.create("clinic"))
		time.Sleep(13*time.Hour - time.Minute)
		w.one(w.now(job), 1, "one\n")
		w.bucket.set(func(call, _ string) error {
			if call == "delete" {
				return errAway
			}
			return nil
		})
		time.Sleep(10 * time.Minute)
		if j := w.now(job); !j.ObjectRemoved.IsZero() {
			t.Errorf("%+v", j)
		}
		if _, _, err := p.Open(t.Context(), job, 0, store.Actor{}); !fault.Is(err, CodeNoObject) {
			t.Errorf("an object that goes: %v", err)
		}
		w.bucket.set(nil)
		time.Sleep(time.Minute)
		w.none()
		if strings.Count(p.log.String(), "removal of expired objects") != 1 {
			t.Error(p.log.String())
		}
	})
}

// TestSweep: what runs have left of a job goes when the job has ended, and not before, and never the object that
// counts.
func TestSweep(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		p := w.start("a", 1, func(ctx context.Context, n int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			if n == 1 {
				return fails(fault.New("x.y", fault.Source, "x").WithRetry())(ctx, n, sink, o)
			}
			return deliver("one\n", 10*time.Minute)(ctx, n, sink, o)
		})
		job := p.create("clinic")
		for attempt, key := range []string{object.Key(job.ID, 1, ".txt"), object.Key(job.ID, 1, ".old"), "counting_1700000000000_ffffffff.1.txt"} {
			up, err := w.bucket.Create(t.Context(), key, object.About{})
			if err != nil {
				t.Fatal(err)
			}
			if attempt > 0 {
				if _, err := up.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(5 * time.Minute)
		if len(w.bucket.begun()) != 2 || len(w.bucket.keys()) != 2 {
			t.Errorf("while it runs: %q, %q", w.bucket.keys(), w.bucket.begun())
		}
		job = w.ended(job)
		time.Sleep(2 * time.Minute)
		if keys := w.bucket.keys(); len(keys) != 2 || keys[0] != job.ObjectKey || len(w.bucket.begun()) != 0 {
			t.Errorf("%q, %q", keys, w.bucket.begun())
		}
		// The store completes what a run that is gone had told it to, when what that run has left was swept already.
		up, err := w.bucket.Create(t.Context(), object.Key(job.ID, 1, ".txt"), object.About{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := up.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(store.LookAgain)
		if keys := w.bucket.keys(); len(keys) != 2 || keys[0] != job.ObjectKey {
			t.Errorf("%q", keys)
		}
	})
}

// TestProgress: percent and the rest are told where they can be known, and 100 is told of completed jobs only.
func TestProgress(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := &Manager{cfg: Config{Now: func() time.Time { return now }}}
	for _, c := range []struct {
		status    store.Status
		attempts  int
		rows, of  int64
		elapsed   time.Duration
		percent   int
		remaining time.Duration
		known     bool
	}{
		{store.Running, 1, 50, 0, time.Minute, 0, 0, false},
		{store.Running, 1, 0, 100, time.Minute, 0, 0, true},
		{store.Running, 1, 50, 200, time.Minute, 25, 3 * time.Minute, true},
		{store.Running, 2, 50, 200, time.Minute, 25, 0, true},
		{store.Running, 1, 100, 100, time.Minute, 99, 0, true},
		{store.Running, 1, 300, 100, time.Minute, 99, 0, true},
		{store.Running, 1, 1, 1 << 62, time.Hour, 0, 0, true},
		{store.Queued, 1, 50, 200, 0, 25, 0, true},
		{store.Failed, 1, 50, 200, time.Minute, 25, 0, true},
		{store.Completed, 1, 0, 0, time.Minute, 100, 0, true},
	} {
		job := store.Job{Status: c.status, Attempts: c.attempts, StartedAt: now.Add(-c.elapsed), Progress: store.Progress{Rows: c.rows, EstimatedRows: c.of}}
		percent, remaining, known := m.Progress(job)
		if percent != c.percent || remaining != c.remaining || known != c.known {
			t.Errorf("%+v: %d, %s, %v", c, percent, remaining, known)
		}
	}
}

// TestEstimates: what the source says goes before what the last run gave, which is asked of the record.
func TestEstimates(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		var silent atomic.Bool
		p := w.start("a", 1, func(ctx context.Context, n int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error) {
			events := o.Events
			o.Events = func(e engine.Event) {
				if opened, ok := e.(engine.Opened); ok && silent.Load() {
					opened.EstimatedRows = 0
					e = opened
				}
				events(e)
			}
			return deliver("one\ntwo\nthree\n", 10*time.Second)(ctx, n, sink, o)
		})
		silent.Store(true)
		first := p.create("clinic")
		time.Sleep(6 * time.Second)
		if j := w.now(first); j.EstimatedRows != 0 || j.EstimatedBytes != 0 || j.Rows != 3 {
			t.Errorf("nobody knows: %+v", j.Progress)
		}
		w.ended(first)
		second := p.create("clinic")
		time.Sleep(6 * time.Second)
		if j := w.now(second); j.EstimatedRows != 3 || j.EstimatedBytes != 14 {
			t.Errorf("by the run before: %+v", j.Progress)
		}
		w.ended(second)
		silent.Store(false)
		third := p.create("clinic")
		time.Sleep(6 * time.Second)
		if j := w.now(third); j.EstimatedRows != 4 || j.EstimatedBytes != 18 {
			t.Errorf("by the source: %+v", j.Progress)
		}
	})
}

// TestManifestOfSealed: the receipt of a sealed object stands in its manifest as it was signed, with its key.
func TestManifestOfSealed(t *testing.T) {
	t.Parallel()
	receipt := &engine.Receipt{Statement: `{"bytes":1,"key_id":"630dcd2966c43366"}`, MAC: "9d8a"}
	if id := sealingKey(receipt); id != "630dcd2966c43366" {
		t.Error(id)
	}
	var m Manifest
	if err := json.Unmarshal(manifest(store.Job{Request: []byte("{}")}, store.Result{SealingKey: "630dcd2966c43366"}, receipt, nil), &m); err != nil {
		t.Fatal(err)
	}
	if m.Receipt == nil || *m.Receipt != (binding.Receipt{Statement: receipt.Statement, MAC: receipt.MAC}) || m.KeyID != "630dcd2966c43366" || m.Columns == nil || m.Warnings == nil {
		t.Errorf("%+v", m)
	}
}

// TestNextSince: it is a day of the database's clock from which nothing is missed.
func TestNextSince(t *testing.T) {
	t.Parallel()
	asOf := time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)
	for _, c := range []struct{ zone, to, want string }{
		{"UTC", "", "2026-03-10"},
		{"+10:00", "", "2026-03-11"},
		{"Australia/Sydney", "", "2026-03-11"},
		{"SYSTEM (Europe/Berlin)", "", "2026-03-10"},
		{"SYSTEM (AEDT)", "", "2026-03-10"}, // nobody knows: the earliest day that it can be
		{"", "", "2026-03-10"},
		{"-11:00", "", "2026-03-10"},
		{"UTC", "2026-01-31", "2026-02-01"},
		{"UTC", "2026-12-31", "2026-03-10"},
		{"UTC", "2026-03-09", "2026-03-10"},
	} {
		facts := map[string]string{"source.connection": "tls"}
		if c.zone != "" {
			facts["source.time_zone"] = c.zone
		}
		if got := nextSince(store.Job{ToDate: c.to}, asOf, zoneOf(facts)); got != c.want {
			t.Errorf("%q to %q: %s, want %s", c.zone, c.to, got, c.want)
		}
	}
	if got := nextSince(store.Job{}, time.Date(2026, 3, 10, 3, 0, 0, 0, time.UTC), nil); got != "2026-03-09" {
		t.Error(got)
	}
}
