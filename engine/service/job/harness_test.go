package job

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// The test program is also the plugin program, as cipherstream itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve-test-plugin" {
		sdk.Serve(stages())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const counting = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: counting, class: data}
spec:
  parameters:
    - {name: rows, type: integer, default: 100}
    - {name: width, type: integer, default: 20}
    - {name: break, type: string, default: ""}
    - {name: from_date, type: date}
    - {name: to_date, type: date}
    - {name: columns, type: string}
  stages:
    source: {use: count, with: {rows: "${params.rows}", batch: 1000, break: "${params.break}"}}
    encoder: {use: pad, with: {width: "${params.width}"}}
    sink: {use: file, with: {path: "${run.output}"}}
`

// following goes on where its last run has ended.
const following = `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: following, class: data}
spec:
  parameters:
    - {name: rows, type: integer, default: 10}
    - {name: width, type: integer, default: 20}
    - {name: from_date, type: date}
  state: {cursor: n, overlap: 2}
  stages:
    source: {use: follow, with: {rows: "${params.rows}"}}
    encoder: {use: pad, with: {width: "${params.width}"}}
    sink: {use: file, with: {path: "${run.output}"}}
  columns: [{name: n, type: int64, nullable: false}]
  drift: ignore
`

func newEngine() (*engine.Engine, error) {
	return engine.New(context.Background(), engine.Config{FirstParty: stages(), Args: []string{"serve-test-plugin"},
		Catalogue: fstest.MapFS{"counting.yaml": {Data: []byte(counting)}, "following.yaml": {Data: []byte(following)}},
		NoFiles:   true})
}

// pipelines are prepared once, in the real world: what a run is then does not matter to them.
var pipelines = sync.OnceValue(func() map[string]*engine.Prepared {
	e, err := newEngine()
	if err != nil {
		panic(err)
	}
	defer e.Close()
	all := map[string]*engine.Prepared{}
	for _, name := range []string{"counting", "following"} {
		prepared, diags := e.Prepare(name)
		if err := diags.Err(); err != nil {
			panic(err)
		}
		all[name] = prepared
	}
	return all
})

// fakeEngine runs what a test says.
type fakeEngine struct {
	run func(ctx context.Context, attempt int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error)

	mu   sync.Mutex
	runs map[string]int // by run
	last *engine.Plan
}

func (f *fakeEngine) Prepare(name string) (*engine.Prepared, diag.List) {
	return pipelines()[name], nil
}
func (f *fakeEngine) Memory(*engine.Plan) int64 { return 1 }

// plan is that of the last run.
func (f *fakeEngine) plan() *engine.Plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *fakeEngine) Run(ctx context.Context, plan *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error) {
	f.mu.Lock()
	if f.runs == nil {
		f.runs = map[string]int{}
	}
	f.runs[plan.RunID]++
	f.last = plan
	n := f.runs[plan.RunID]
	f.mu.Unlock()
	run := f.run
	if run == nil {
		run = deliver("one\ntwo\n", 0)
	}
	receipt, err := run(ctx, n, sink.(engine.Sink), o)
	if receipt != nil {
		receipt.RunID = plan.RunID
	}
	return receipt, err
}

// count is how often a job was run.
func (f *fakeEngine) count(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[id]
}

type runFunc = func(ctx context.Context, attempt int, sink engine.Sink, o engine.RunOptions) (*engine.Receipt, error)

// deliver is a run that delivers a text and takes a time, as a run of the engine does; before is called before its
// gate.
func deliver(text string, takes time.Duration, before ...func(ctx context.Context) error) runFunc {
	return func(ctx context.Context, _ int, sink engine.Sink, o engine.RunOptions) (receipt *engine.Receipt, err error) {
		began := time.Now().UTC()
		receipt = &engine.Receipt{StartedAt: began}
		defer func() {
			if err != nil {
				_ = sink.Abort(context.WithoutCancel(ctx))
			}
		}()
		o.Events(engine.Opened{Columns: []engine.Column{{Name: "id", Type: "int64", SourceType: "BIGINT"}}, EstimatedRows: 4})
		if err := sink.Open(ctx, engine.Object{RunID: "r", Media: engine.Media{Type: "text/plain", Extension: ".txt"}}); err != nil {
			return receipt, err
		}
		for part := range strings.Lines(text) {
			if err := sink.Write(ctx, []byte(part)); err != nil {
				return receipt, err
			}
			receipt.RowsRead++
			receipt.Rows++
			receipt.Bytes += int64(len(part))
			o.Events(engine.Progress{Rows: receipt.RowsRead, Bytes: receipt.Bytes})
		}
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return receipt, context.Cause(ctx)
		}
		for _, do := range before {
			if err := do(ctx); err != nil {
				return receipt, err
			}
		}
		if err := o.BeforeCommit(ctx, receipt); err != nil {
			return receipt, err
		}
		made, err := sink.Commit(ctx)
		if err != nil {
			return receipt, err
		}
		receipt.SHA256, receipt.Bytes, receipt.Location = made.SHA256, made.Bytes, made.Location
		receipt.Processes = []engine.ProcessUse{{CPUSeconds: 0.5, PeakMemoryBytes: 100}, {CPUSeconds: 1, PeakMemoryBytes: 50}}
		receipt.Counters = map[string]int64{"source.zero_dates": 3, "source.warnings": 0}
		receipt.Facts = map[string]string{"source.time_zone": "+10:00"}
		return receipt, nil
	}
}

// fails is a run that fails before its first byte.
func fails(err error) runFunc {
	return func(context.Context, int, engine.Sink, engine.RunOptions) (*engine.Receipt, error) {
		return &engine.Receipt{}, err
	}
}

// record is one process's way to the record, which can be made to fail: before a call, or behind it.
type record struct {
	*memory.Store
	mu     sync.Mutex
	before func(call string) error
	after  func(call string) error
}

var errAway = fault.New(store.CodeFailed, fault.Internal, "the record is away")

func (r *record) hooks() (before, after func(string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.before, r.after
}

// set changes what happens before and behind calls.
func (r *record) set(before, after func(call string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.after = before, after
}

// away is a record that cannot be reached, until it is set anew.
func (r *record) away() { r.set(func(string) error { return errAway }, nil) }

func (r *record) back() { r.set(nil, nil) }

func hooked[T any](r *record, call string, do func() (T, error)) (result T, err error) {
	before, after := r.hooks()
	if before != nil {
		if err := before(call); err != nil {
			return result, err
		}
	}
	if result, err = do(); err != nil || after == nil {
		return result, err
	}
	if err := after(call); err != nil {
		var none T
		return none, err
	}
	return result, nil
}

type taken struct {
	job   store.Job
	lease store.Lease
	yes   bool
}

func (r *record) CreateJob(ctx context.Context, n store.NewJob) (store.Job, store.Lease, bool, error) {
	t, err := hooked(r, "create", func() (t taken, err error) {
		t.job, t.lease, t.yes, err = r.Store.CreateJob(ctx, n)
		return t, err
	})
	return t.job, t.lease, t.yes, err
}

func (r *record) ClaimJob(ctx context.Context, holder string, skip []string) (store.Job, store.Lease, bool, error) {
	t, err := hooked(r, "claim", func() (t taken, err error) {
		t.job, t.lease, t.yes, err = r.Store.ClaimJob(ctx, holder, skip)
		return t, err
	})
	return t.job, t.lease, t.yes, err
}

func (r *record) RenewJob(ctx context.Context, l store.Lease, p store.Progress) (store.Renewal, error) {
	return hooked(r, "renew", func() (store.Renewal, error) { return r.Store.RenewJob(ctx, l, p) })
}

func (r *record) EndJob(ctx context.Context, l store.Lease, e store.Ending) (store.Job, error) {
	return hooked(r, "end", func() (store.Job, error) { return r.Store.EndJob(ctx, l, e) })
}

func (r *record) Schedule(ctx context.Context, customer, id string) (store.Schedule, error) {
	return hooked(r, "schedule", func() (store.Schedule, error) { return r.Store.Schedule(ctx, customer, id) })
}

func (r *record) RecoverJobs(ctx context.Context) ([]store.Job, error) {
	return hooked(r, "recover", func() ([]store.Job, error) { return r.Store.RecoverJobs(ctx) })
}

func (r *record) Job(ctx context.Context, customer, id string) (store.Job, error) {
	return hooked(r, "job", func() (store.Job, error) { return r.Store.Job(ctx, customer, id) })
}

func (r *record) Clock(ctx context.Context) (time.Time, error) {
	return hooked(r, "clock", func() (time.Time, error) { return r.Store.Clock(ctx) })
}

// customers are those that a process knows.
type customers struct {
	mu    sync.Mutex
	known map[string]bool
	all   bool
}

func (c *customers) Serves(_ context.Context, id string) (*customer.Customer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.all && !c.known[id] {
		return nil, fault.New(customer.CodeUnknown, fault.Usage, "unknown")
	}
	return &customer.Customer{ID: id, Bucket: "main"}, nil
}

// know leaves those customers and no others.
func (c *customers) know(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all, c.known = false, map[string]bool{}
	for _, id := range ids {
		c.known[id] = true
	}
}

func (c *customers) Sealing(context.Context, *customer.Customer) (*customer.Sealing, error) {
	return nil, fault.New(customer.CodeNoSealingKey, fault.Usage, "no key")
}

type buckets map[string]object.Bucket

func (b buckets) Bucket(_ context.Context, name string) (object.Bucket, error) {
	if b[name] == nil {
		return nil, fault.New("test.bucket", fault.Sink, "there is no bucket %q", name)
	}
	return b[name], nil
}

// memories gives as much memory as is asked for.
type memories struct{}

func (memories) Job(context.Context, string, int64) (func(), error) { return func() {}, nil }

// world is a record and a bucket, with processes on them.
type world struct {
	testing.TB
	store  *memory.Store
	bucket *bucket
	ids    int
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, store: memory.New(), bucket: newBucket()}
	w.bucket.signs = true
	return w
}

// process is one that runs jobs.
type process struct {
	*Manager
	*world
	record    *record
	engine    *fakeEngine
	customers *customers
	log       *bytes.Buffer
}

// start starts a process, which is stopped at the end of the test.
func (w *world) start(name string, workers int, run runFunc, change ...func(*Config)) *process {
	w.Helper()
	p := &process{world: w, record: &record{Store: w.store}, engine: &fakeEngine{run: run}, customers: &customers{all: true}, log: &bytes.Buffer{}}
	cfg := Config{Record: p.record, Engine: p.engine, Customers: p.customers, Buckets: buckets{"main": w.bucket}, Memory: memories{}, Holder: name,
		Workers: workers, Public: public, Log: slog.New(slog.NewTextHandler(&locked{w: p.log}, nil))}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if p.Manager, err = New(cfg); err != nil {
		w.Fatal(err)
	}
	p.Start()
	w.Cleanup(p.stop)
	return p
}

// stop stops a process and waits until nothing of it runs any more.
func (p *process) stop() {
	synctest.Wait() // what comes at this very moment finds the record as it was
	p.record.back()
	p.Stop(context.Background())
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// public is what customers are told in these tests.
func public(err error) (code, message, suggestion string) {
	f := fault.From(err)
	switch f.Code {
	case CodeTimeLimit:
		return "TIME_LIMIT", "too long", "ask for less"
	case CodeInternal:
		return "INTERNAL", "broken", "tell us"
	}
	return strings.ToUpper(f.Code), "it failed", "try again"
}

func (w *world) order(customer string) store.NewJob {
	w.ids++
	return store.NewJob{Job: store.Job{ID: fmt.Sprintf("counting_1700000000000_%08x", w.ids), Customer: customer, Procedure: "counting",
		Request: []byte(`{"customer_id":"` + customer + `","rows":2,"webhook_url":"https://hook.example/secret","from_date":"2026-01-01","big":12345678901234567890}`),
		Format:  "ndjson", Compression: "none", FromDate: "2026-01-01", RequestID: "req_1"}, By: store.Actor{Who: "key:1", From: "192.0.2.1", RequestID: "req_1"}}
}

// create makes a job, by a process.
func (p *process) create(customer string) store.Job {
	p.Helper()
	job, replayed, err := p.Create(p.Context(), p.order(customer))
	if err != nil || replayed {
		p.Fatal(replayed, err)
	}
	return job
}

// now is the job as it is.
func (w *world) now(job store.Job) store.Job {
	w.Helper()
	j, err := w.store.Job(w.Context(), job.Customer, job.ID)
	if err != nil {
		w.Fatal(err)
	}
	return j
}

// ended waits until a job has ended, a day at most.
func (w *world) ended(job store.Job) store.Job {
	w.Helper()
	for range 24 * 3600 * 10 {
		if j := w.now(job); j.Status.Ended() {
			synctest.Wait() // what is done behind it
			return w.now(job)
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.Fatalf("the job does not end: %+v", w.now(job))
	return job
}

// one asserts that there is exactly the object that the record names, with that content, and no upload.
func (w *world) one(job store.Job, attempt int, content string) {
	w.Helper()
	key := object.Key(job.ID, attempt, ".txt")
	if got := w.bucket.keys(); len(got) != 1 || got[0] != key || job.ObjectKey != key || len(w.bucket.begun()) != 0 {
		w.Errorf("the bucket has %q and uploads of %q, the record names %q, want %q", got, w.bucket.begun(), job.ObjectKey, key)
	}
	if got := w.bucket.content(key); string(got) != content || job.SHA256 != hexSum(content) || job.Size != int64(len(content)) {
		w.Errorf("the object has %q; the record says %s, %d bytes", got, job.SHA256, job.Size)
	}
}

// none asserts that the bucket is empty.
func (w *world) none() {
	w.Helper()
	if keys, begun := w.bucket.keys(), w.bucket.begun(); len(keys)+len(begun) != 0 {
		w.Errorf("the bucket has %q and uploads of %q", keys, begun)
	}
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// story is the events of a job, with the codes of those that went wrong.
func (w *world) story(job store.Job) string {
	w.Helper()
	list, err := w.store.Transitions(w.Context(), job.Customer, job.ID, 0)
	if err != nil {
		w.Fatal(err)
	}
	var words []string
	for _, t := range list {
		word := string(t.Event)
		if word == "" {
			word = "made"
		}
		if t.Code != "" {
			word += ":" + t.Code
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// bubble runs a test with a time of its own.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	pipelines()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}
