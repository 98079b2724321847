package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/delivery"
	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/schedule"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// bucket keeps objects in memory, and signs no links.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	held    chan struct{} // writes wait for it to be closed, if set
}

func (b *bucket) Bucket(context.Context, string) (object.Bucket, error) { return b, nil }

func (b *bucket) Create(_ context.Context, key string, _ object.About) (object.Upload, error) {
	return &upload{Digest: object.NewDigest(), bucket: b, key: key}, nil
}

type upload struct {
	*object.Digest
	bucket  *bucket
	key     string
	content bytes.Buffer
}

func (u *upload) Write(p []byte) (int, error) {
	if u.bucket.held != nil {
		<-u.bucket.held
	}
	return u.Beside(p, func(p []byte) error { _, err := u.content.Write(p); return err })
}

func (u *upload) Commit(context.Context) (object.Receipt, error) {
	u.bucket.mu.Lock()
	defer u.bucket.mu.Unlock()
	u.bucket.objects[u.key] = u.content.Bytes()
	return object.Receipt{Size: u.Size(), SHA256: u.SHA256(), Location: "memory://b/" + u.key}, nil
}

func (u *upload) Abort(context.Context) error          { return nil }
func (u *upload) Unfinished() object.Unfinished        { return object.Unfinished{Key: u.key} }
func (b *bucket) Close() error                         { return nil }
func (b *bucket) Delete(context.Context, string) error { return nil }

func (b *bucket) Open(_ context.Context, key string, offset int64) (io.ReadCloser, object.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.objects[key]
	if !ok {
		return nil, object.Info{}, object.Missing(key)
	}
	return io.NopCloser(bytes.NewReader(content[offset:])), object.Info{Key: key, Size: int64(len(content))}, nil
}

func (b *bucket) Link(context.Context, string, object.LinkRequest) (object.Link, error) {
	return object.Link{}, nil
}

func (b *bucket) List(context.Context, string) iter.Seq2[object.Info, error] {
	return func(func(object.Info, error) bool) {}
}

func (b *bucket) Uploads(context.Context, string) iter.Seq2[object.Unfinished, error] {
	return func(func(object.Unfinished, error) bool) {}
}

func (b *bucket) Stat(context.Context, string) (object.Info, error) {
	return object.Info{}, object.Missing("")
}

func (b *bucket) AbortUpload(context.Context, object.Unfinished) error { return nil }

// newWorkingServer is a server whose jobs are run, by as many workers.
func newWorkingServer(t testing.TB, workers int, change func(*Config)) (*server, *bucket) {
	t.Helper()
	return newWorkingServerOf(t, pipelines("none", ""), workers, change)
}

// states are those under a key that all servers have.
var states = sync.OnceValue(func() *schedule.States {
	key, err := datakey.Parse(config.NewSecret(strings.Repeat("A", 43) + "="))
	if err != nil {
		panic(err)
	}
	return schedule.NewStates(key)
})

func newWorkingServerOf(t testing.TB, catalogue fs.FS, workers int, change func(*Config)) (*server, *bucket) {
	t.Helper()
	b := &bucket{objects: map[string][]byte{}}
	var m *job.Manager
	s := newServerOf(t, catalogue, func(c *Config) {
		record := c.Requests.(*memory.Store)
		var err error
		if m, err = job.New(job.Config{Record: record, Engine: c.Engine, Customers: c.Customers.(*registry), Buckets: b, Memory: c.Admission.(*admission.Controller),
			Holder: "test", Public: Public, Workers: workers, Isolation: c.Isolation, Log: c.Log,
			States: states()}); err != nil {
			t.Fatal(err)
		}
		c.States = states()
		c.Jobs, c.JobRecord, c.LinkKey = m, record, linkKey
		if change != nil {
			change(c)
		}
	})
	for _, c := range s.customers.customers {
		c.Bucket = "results"
	}
	m.Start()
	t.Cleanup(func() { m.Stop(context.Background()) })
	return s, b
}

// ended is a job when it has ended.
func (s *server) ended(id string) jobView {
	s.t.Helper()
	for range 20 {
		if v := s.do("GET", "/v1/customers/clinic-7/jobs/"+id, "", "Prefer", "wait=5").job(s.t); v.Status.Ended() {
			return v
		}
	}
	s.t.Fatalf("job %s does not end", id)
	return jobView{}
}

// TestAutoBecomesAJob: past a limit the same run goes on as the job, under one identifier, and its object has all rows; the answer
// comes at once.
func TestAutoBecomesAJob(t *testing.T) {
	t.Parallel()
	s, b := newWorkingServer(t, 0, func(c *Config) {
		c.Auto = delivery.Limits{Rows: 1000, Bytes: 1 << 20}
		c.Admission = admission.New(admission.Config{Limits: admission.Limits{Streams: 1}}) // a run that is a job is no stream any more
	})
	b.held = make(chan struct{}) // so that the answer comes before the end
	release := sync.OnceFunc(func() { close(b.held) })
	defer release()
	for _, c := range []struct{ body, reason string }{
		{ask(`,"rows":20000,"to_date":"2024-01-31","priority":"low"`), "rows"}, {ask(`,"rows":900,"width":5000`), "size"},
	} {
		a := s.post("visits", c.body, "Idempotency-Key", c.reason)
		v := a.job(t)
		if a.StatusCode != 200 || v.Status != "running" || v.Metadata.Reason != c.reason || a.Header.Get(headerMode) != "job" || a.Header.Get(headerRun) != v.JobID || a.Header.Get("Location") == "" {
			t.Fatalf("%s: %s %v %s", c.reason, a.Status, a.Header, a.body)
		}
		r := s.do("GET", "/v1/requests/"+a.Header.Get("X-Request-Id"), "")
		for _, part := range []string{`"status":"completed"`, `"job_id":"` + v.JobID, `"reason":"` + c.reason, `"mode":"auto"`} {
			if !strings.Contains(string(r.body), part) {
				t.Errorf("%s: the request does not say %s: %s", c.reason, part, r.body)
			}
		}
		again := s.post("visits", c.body, "Idempotency-Key", c.reason)
		if again.Header.Get("Idempotency-Replayed") != "true" || again.job(t).JobID != v.JobID {
			t.Errorf("%s: %v %s", c.reason, again.Header, again.body)
		}
		if e := s.post("visits", ask(`,"rows":7`), "Idempotency-Key", c.reason).refusal(t); e.Code != IdempotencyMismatch {
			t.Errorf("%s: %s", c.reason, e.Code)
		}
	}
	list := s.do("GET", "/v1/customers/clinic-7/jobs?status=running&sort=created_asc", "")
	var running jobListBody
	if err := json.Unmarshal(list.body, &running); err != nil || running.Total != 2 {
		t.Fatalf("%s", list.body)
	}
	release()
	v := s.ended(running.Jobs[0].JobID)
	if v.Status != "completed" || *v.TotalRows != 20000 || v.RetryCount != 0 || v.Priority != "low" {
		t.Errorf("%+v", v.jobBody)
	}
	path := strings.TrimPrefix(v.S3URL, s.URL)
	if a := s.do("GET", path, "", "Authorization", "-"); string(a.body) != want(20000) || int64(len(a.body)) != *v.FileSize || a.Header.Get("Repr-Digest") != digest(a.body) {
		t.Errorf("the object: %s, %d bytes", a.Status, len(a.body))
	}
	if a := s.send(map[string][]string{"Range": {"bytes=100-199"}}, "GET", path, ""); a.StatusCode != 206 || string(a.body) != want(20000)[100:200] {
		t.Errorf("a range: %s %q", a.Status, a.body)
	}
	manifest := s.do("GET", "/v1/customers/clinic-7/jobs/"+v.JobID+"/manifest", "")
	var m job.Manifest
	if err := json.Unmarshal(manifest.body, &m); err != nil || m.Rows != 20000 || m.SHA256 != v.SHA256 || m.Request["to_date"] != "2024-01-31" {
		t.Errorf("%s", manifest.body)
	}
	if v := s.ended(running.Jobs[1].JobID); v.Status != "completed" {
		t.Errorf("%+v", v.jobBody)
	}
	b.mu.Lock()
	objects := len(b.objects)
	b.mu.Unlock()
	if objects != 2 {
		t.Errorf("%d objects", objects)
	}
	// What was done stands in the audit: the job, its links, and who has read it.
	audit := string(s.do("GET", "/v1/customers/clinic-7/audit?limit=1000", "").body)
	for _, what := range []string{`"what":"job.created"`, `"what":"job.completed"`, `"what":"job.link"`, `"what":"job.download"`, `"who":"link:key_good"`} {
		if !strings.Contains(audit, what) {
			t.Errorf("the audit has no %s", what)
		}
	}
}

// TestAutoThatFits is answered with rows, and there is no job.
func TestAutoThatFits(t *testing.T) {
	t.Parallel()
	s, _ := newWorkingServer(t, 0, nil)
	for range 2 {
		if a := s.post("visits", ask(`,"rows":250`), "Idempotency-Key", "k"); string(a.body) != want(250) || a.Header.Get(headerMode) != "stream" {
			t.Errorf("%s %v", a.Status, a.Header)
		}
	}
	if list := s.do("GET", "/v1/customers/clinic-7/jobs", ""); !strings.Contains(string(list.body), `"total":0`) {
		t.Errorf("%s", list.body)
	}
}

// TestLoadMakesJobs: what the admission refuses in the mode auto waits as a job, and a worker runs it.
func TestLoadMakesJobs(t *testing.T) {
	t.Parallel()
	for _, code := range []string{admission.CodeStreamsBusy, admission.CodeLoaded} {
		s, _ := newWorkingServer(t, 1, func(c *Config) { c.Admission = busy{c.Admission, code} })
		a := s.post("visits", ask(`,"rows":250`), "Idempotency-Key", "k", "Prefer", "respond-async")
		v := a.job(t)
		if a.StatusCode != 202 || v.Status != "queued" || v.Metadata.Reason != "load" {
			t.Errorf("%s: %s %s", code, a.Status, a.body)
		}
		if got := s.ended(v.JobID); got.Status != "completed" || *got.TotalRows != 250 {
			t.Errorf("%s: %+v", code, got.jobBody)
		}
		if e := s.post("visits", ask(`,"mode":"stream"`)).refusal(t); !slices.Contains([]Code{TooManyStreams, ServiceBusy}, e.Code) {
			t.Errorf("%s: a stream: %s", code, e.Code)
		}
	}
}

// TestJobsThatEndOtherwise: a failure has the code that an answer would have had, and nothing of what the fault says; a job that is
// cancelled in the middle of its run ends so.
func TestJobsThatEndOtherwise(t *testing.T) {
	t.Parallel()
	s, b := newWorkingServer(t, 1, nil)
	v := s.post("visits", ask(`,"mode":"job","rows":5000,"at":4000,"break":"error"`)).job(t)
	got := s.ended(v.JobID)
	if got.Status != "failed" || got.ErrorCode != string(SourceFailed) || got.ErrorMessage != entries[SourceFailed].Meaning || got.Suggestion != entries[SourceFailed].Suggestion || got.S3URL != "" || got.TotalRows != nil {
		t.Errorf("%+v", got.jobBody)
	}
	l := (&jobServer{server: s}).listen(v.JobID, "")
	l.expect("job.queued#1", "job.running#2")
	if last := l.expect("job.failed#3"); !strings.Contains(last.data, `"error_code":"SOURCE_FAILED"`) {
		t.Error(last.data)
	}
	v = s.post("visits", ask(`,"mode":"job","rows":1000000000`)).job(t)
	l = (&jobServer{server: s}).listen(v.JobID, "1")
	l.expect("job.running#2")
	if a := s.do("POST", "/v1/customers/clinic-7/jobs/"+v.JobID+"/cancel", ""); a.StatusCode != 200 {
		t.Errorf("%s %s", a.Status, a.body)
	}
	for e, ok := l.next(); e.event != "job.cancelled"; e, ok = l.next() {
		if !ok || e.event != "job.progress" {
			t.Fatalf("%+v", e)
		}
	}
	if got := s.ended(v.JobID); got.Status != "cancelled" || got.S3URL != "" {
		t.Errorf("%+v", got.jobBody)
	}
	if len(b.objects) > 0 {
		t.Errorf("%d objects", len(b.objects))
	}
}

// TestPublic: every fault has a code of the table, and no message of its own.
func TestPublic(t *testing.T) {
	t.Parallel()
	for inner, want := range map[string]Code{job.CodeTimeLimit: TimeLimit, "mysql.deadlock": DatabaseBusy, "sink.write": StorageUnavailable, job.CodeInternal: Internal, "unheard.of": Internal,
		job.CodeStopping: ShuttingDown, "customer.sealing_key_spent": SealingExhausted, store.CodeFailed: RecordUnavailable} {
		code, message, suggestion := Public(fault.New(inner, fault.Internal, "SELECT name FROM patients").WithHint("at db.internal"))
		if code != string(want) || message != entries[want].Meaning || suggestion != entries[want].Suggestion {
			t.Errorf("%s: %s %s %s", inner, code, message, suggestion)
		}
	}
}
