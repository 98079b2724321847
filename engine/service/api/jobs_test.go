package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// jobs is what makes jobs in most tests: the record, without anybody who runs them. A test says what becomes of a job.
type jobs struct {
	*memory.Store
	mu      sync.Mutex
	changed chan struct{} // closed, and another made, at every change
	objects map[string][]byte
	link    object.Link
	fails   error // of Link and Open
	broken  int64 // reading ends here with an error; 0 never
	opened  []int64

	manifest []byte // of what is completed next
	now      func() time.Time
	asked    store.Job // of Link
}

func newJobs(s *memory.Store) *jobs {
	return &jobs{Store: s, changed: make(chan struct{}), objects: map[string][]byte{}, manifest: []byte(`{"rows":3}`), now: time.Now}
}

func (f *jobs) change() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *jobs) Create(ctx context.Context, order store.NewJob) (store.Job, bool, error) {
	j, _, replayed, err := f.CreateJob(ctx, order)
	f.change()
	return j, replayed, err
}

func (f *jobs) TakeOver(context.Context, store.NewJob) (*job.Held, store.Job, error) {
	return nil, store.Job{}, fault.New(job.CodeInternal, fault.Internal, "nobody runs it here")
}

func (f *jobs) Get(ctx context.Context, customer, id string) (store.Job, error) {
	return f.Job(ctx, customer, id)
}

func (f *jobs) List(ctx context.Context, filter store.JobFilter) ([]store.Job, int64, error) {
	return f.Jobs(ctx, filter)
}

func (f *jobs) Cancel(ctx context.Context, customer, id string, by store.Actor) (store.Job, error) {
	defer f.change()
	return f.CancelJob(ctx, customer, id, by)
}

func (f *jobs) Wait(ctx context.Context, customer, id string, after int64) (store.Job, error) {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		j, err := f.Job(context.WithoutCancel(ctx), customer, id)
		if err != nil || j.Transition > after || ctx.Err() != nil {
			return j, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (f *jobs) Now() time.Time { return f.now() }

func (f *jobs) TimeLimit(string) time.Duration { return 0 }

func (f *jobs) Progress(j store.Job) (int, time.Duration, bool) {
	if j.EstimatedRows == 0 || j.Status != store.Running {
		return 0, 0, false
	}
	remaining := 1500 * time.Millisecond
	if j.Attempts > 1 {
		remaining = 0 // nobody can say
	}
	return int(min(99, 100*j.Rows/j.EstimatedRows)), remaining, true
}

func (f *jobs) Link(_ context.Context, j store.Job, by store.Actor) (object.Link, error) {
	if f.fails != nil {
		return object.Link{}, f.fails
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = j
	return f.link, nil
}

func (f *jobs) Open(_ context.Context, j store.Job, offset int64, by store.Actor) (io.ReadCloser, object.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return nil, object.Info{}, f.fails
	}
	f.opened = append(f.opened, offset)
	content, ok := f.objects[j.ObjectKey]
	if !ok {
		return nil, object.Info{}, object.Missing(j.ObjectKey)
	}
	var body io.Reader = bytes.NewReader(content[offset:])
	if f.broken > offset {
		body = io.MultiReader(bytes.NewReader(content[offset:f.broken]), brokenReader{})
	}
	return io.NopCloser(body), object.Info{Size: int64(len(content))}, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) {
	return 0, fault.New("sink.read", fault.Sink, "the connection is gone")
}

// jobServer is a server with jobs of which the test says what becomes of them.
type jobServer struct {
	*server
	jobs *jobs
}

var linkKey = []byte("0123456789abcdef0123456789abcdef")

func newJobServer(t testing.TB, change func(*Config)) *jobServer {
	t.Helper()
	return newJobServerOf(t, pipelines("none", ""), change)
}

func newJobServerOf(t testing.TB, catalogue fs.FS, change func(*Config)) *jobServer {
	t.Helper()
	var f *jobs
	s := newServerOf(t, catalogue, func(c *Config) {
		f = newJobs(c.Requests.(*memory.Store))
		c.Jobs, c.JobRecord, c.LinkKey = f, f, linkKey
		if change != nil {
			change(c)
		}
	})
	for _, c := range s.customers.customers {
		c.Bucket = "results"
	}
	return &jobServer{server: s, jobs: f}
}

// order makes a job by the API.
func (s *jobServer) order(header ...string) jobView {
	s.t.Helper()
	a := s.post("visits", ask(`,"mode":"job"`), header...)
	if a.StatusCode != 200 && a.StatusCode != 202 {
		s.t.Fatalf("%s %s", a.Status, a.body)
	}
	return a.job(s.t)
}

// jobView is a job as it was read.
type jobView struct {
	jobBody
	has map[string]any
}

// job reads a job, with no member that is not one of the schema's.
func (a answered) job(t testing.TB) jobView {
	t.Helper()
	v := jobView{}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v.jobBody); err != nil || json.Unmarshal(a.body, &v.has) != nil {
		t.Fatalf("%s: this is no job (%v): %s", a.Status, err, a.body)
	}
	return v
}

// begin lets a worker take the job, which is the only one that waits.
func (s *jobServer) begin() store.Lease {
	s.t.Helper()
	_, lease, ok, err := s.record.ClaimJob(s.t.Context(), "worker", nil)
	if err != nil || !ok {
		s.t.Fatalf("no job: %v", err)
	}
	s.jobs.change()
	return lease
}

// progress says how far a job is.
func (s *jobServer) progress(l store.Lease, rows, of int64) {
	s.t.Helper()
	if _, err := s.record.RenewJob(s.t.Context(), l, store.Progress{Rows: rows, Bytes: rows * 10, EstimatedRows: of, EstimatedBytes: of * 10}); err != nil {
		s.t.Fatal(err)
	}
}

// end ends a job.
func (s *jobServer) end(l store.Lease, e store.Ending) store.Job {
	s.t.Helper()
	j, err := s.record.EndJob(s.t.Context(), l, e)
	if err != nil {
		s.t.Fatal(err)
	}
	s.jobs.change()
	return j
}

// complete ends a job with an object.
func (s *jobServer) complete(l store.Lease, content []byte) store.Job {
	s.t.Helper()
	sum := sha256.Sum256(content)
	key := object.Key(l.Job, 1, ".ndjson")
	s.jobs.mu.Lock()
	s.jobs.objects[key] = content
	s.jobs.mu.Unlock()
	return s.end(l, store.Ending{Event: store.JobCompleted, Result: store.Result{Bucket: "results", ObjectKey: key, FileName: l.Job + ".ndjson",
		MediaType: "application/x-ndjson", Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]), TotalRows: 3,
		Manifest: s.jobs.manifest, PeakMemory: 1 << 20, CPUSeconds: 0.5, ObjectExpires: time.Now().Add(12 * time.Hour)}})
}

// completed is a job with an object.
func (s *jobServer) completed(content []byte) store.Job {
	s.t.Helper()
	s.order()
	return s.complete(s.begin(), content)
}

// TestKickOff: a request with mode job is answered with the job at once, in both ways, and says where to ask about it.
func TestKickOff(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	for prefer, status := range map[string]int{"": 200, "respond-async": 202, "wait=5, Respond-Async; x=1": 202, "handling=strict": 200} {
		a := s.post("visits", ask(`,"mode":"job","to_date":"2024-01-31","output_format":"csv","compression":"gzip","priority":"high"`), "Prefer", prefer)
		v := a.job(t)
		at := "/v1/customers/clinic-7/jobs/" + v.JobID
		if a.StatusCode != status || !strings.HasPrefix(v.JobID, "visits_") || v.Status != "queued" || v.Mode != "job" || v.Message == "" || v.CustomerID != "clinic-7" || v.Procedure != "visits" ||
			v.Priority != "high" || v.OutputFormat != "csv" || v.Compression != "gzip" || v.CreatedAt == "" {
			t.Errorf("%q: %s %s", prefer, a.Status, a.body)
		}
		if m := v.Metadata; m.FromDate != "2024-01-01" || m.ToDate != "2024-01-31" || m.DateModifier != "All" || m.Endpoint != "/v1/procedures/visits" || m.Reason != "requested" {
			t.Errorf("%q: %+v", prefer, m)
		}
		for name, want := range map[string]string{"Location": at, "Link": "<" + at + `/events>; rel="monitor"`, "Retry-After": "2", headerMode: "job", headerRun: v.JobID,
			"Idempotency-Replayed": "", "Preference-Applied": map[int]string{202: "respond-async"}[status]} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%q: %s is %q, want %q", prefer, name, got, want)
			}
		}
		for _, absent := range []string{"started_at", "completed_at", "progress_percent", "s3_url", "error_code", "total_rows", "file_size_bytes", "estimated_rows", "peak_memory_bytes"} {
			if _, there := v.has[absent]; there {
				t.Errorf("%q: it has %s", prefer, absent)
			}
		}
		got := s.do("GET", a.Header.Get("Location"), "").job(t)
		if got.JobID != v.JobID || got.Status != "queued" {
			t.Errorf("%q: the job is %+v", prefer, got)
		}
		r := s.do("GET", "/v1/requests/"+a.Header.Get("X-Request-Id"), "")
		if !strings.Contains(string(r.body), `"job_id":"`+v.JobID+`"`) || !strings.Contains(string(r.body), `"reason":"requested"`) || !strings.Contains(string(r.body), `"status":"completed"`) {
			t.Errorf("%q: the request says %s", prefer, r.body)
		}
		j, err := s.record.Job(t.Context(), "clinic-7", v.JobID)
		if err != nil || string(j.Request) != `{"compression":"gzip","from_date":"2024-01-01","mode":"job","output_format":"csv","to_date":"2024-01-31"}` ||
			j.Bucket != "results" || j.KeyID != "key_good" || j.RequestID != a.Header.Get("X-Request-Id") || j.From != "127.0.0.1" || j.Type != "extract" {
			t.Errorf("%q: %+v, %v", prefer, j, err)
		}
	}
	line := s.lineOf(s.post("visits", ask(`,"mode":"job"`)).Header.Get("X-Request-Id"))
	if line["job_id"] == nil || line["run_id"] != nil {
		t.Errorf("the log says %v", line)
	}
}

// TestNoJobs: where there are none for a customer, or for a key, it is said so, in every mode that would need one.
func TestNoJobs(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, func(c *Config) { c.Auto.Rows = 100 })
	for _, body := range []string{ask(`,"mode":"job"`), ask(`,"rows":101`)} {
		if e := s.post("visits", body, "Authorization", "Bearer jobless").refusal(t); e.Code != ScopeMissing {
			t.Errorf("%s without the scope: %s", body, e.Code)
		}
		s.customers.customers["clinic-7"].Bucket = ""
		if e := s.post("visits", body, "Idempotency-Key", "k").refusal(t); e.Code != JobsNotAvailable {
			t.Errorf("%s without a bucket: %s", body, e.Code)
		}
		s.customers.customers["clinic-7"].Bucket = "results"
	}
	if e := s.post("visits", ask(`,"mode":"job","encrypted":true`)).refusal(t); e.Code != NoSealingKey {
		t.Errorf("a job that no worker could run: %s", e.Code)
	}
	if e := s.post("visits", ask(`,"mode":"job","priority":"urgent"`)).refusal(t); e.mistakes() != "INVALID_PARAMETER priority" {
		t.Errorf("a priority that there is not: %s", e.mistakes())
	}
	// A reference list is no job, whatever is asked for.
	if a := s.post("places", `{"customer_id":"clinic-7","mode":"job","priority":"low"}`, "Idempotency-Key", "k"); a.StatusCode != 200 || a.Header.Get(headerMode) != "stream" {
		t.Errorf("a reference list: %s %s", a.Status, a.body)
	}
	if list, _, err := s.record.Jobs(t.Context(), store.JobFilter{Customer: "clinic-7", Limit: 10}); err != nil || len(list) > 0 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
}

// TestIdempotentJobs: an equal request with the key of an earlier one is answered with its job; another one is refused; of
// others it says nothing.
func TestIdempotentJobs(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	first := s.post("visits", ask(`,"mode":"job"`), "Idempotency-Key", "k")
	v := first.job(t)
	for body, want := range map[string]int{
		ask(`,"mode":"job"`): 200, ask(`,"date_modifier":"All","output_format":"ndjson","mode":"job","priority":"normal","to_date":null`): 200,
		ask(`,"mode":"job","to_date":"2024-01-02"`): 422, ask(`,"mode":"job","priority":"low"`): 422, ask(""): 422,
	} {
		a := s.post("visits", body, "Idempotency-Key", "k")
		if a.StatusCode != want || want == 200 && (a.job(t).JobID != v.JobID || a.Header.Get("Idempotency-Replayed") != "true" || a.Header.Get("Location") != first.Header.Get("Location")) ||
			want == 422 && a.refusal(t).Code != IdempotencyMismatch {
			t.Errorf("%s: %s %v %s", body, a.Status, a.Header, a.body)
		}
	}
	if a := s.post("visits", ask(`,"mode":"job"`), "Idempotency-Key", "K"); a.job(t).JobID == v.JobID {
		t.Error("keys differ by their case")
	}
	other := s.post("visits", strings.Replace(ask(`,"mode":"job"`), "clinic-7", "clinic-8", 1), "Idempotency-Key", "k", "Authorization", "Bearer other")
	if got := other.job(t); got.JobID == v.JobID || got.CustomerID != "clinic-8" {
		t.Errorf("another customer: %+v", got)
	}
	// A job that has ended is the answer as well.
	s.end(s.begin(), store.Ending{Event: store.JobFailed, ErrorCode: "SOURCE_FAILED"})
	if got := s.post("visits", ask(`,"mode":"job"`), "Idempotency-Key", "k").job(t); got.JobID != v.JobID || got.Status != "failed" || got.ErrorCode != "SOURCE_FAILED" {
		t.Errorf("%+v", got)
	}
	// What was answered with rows is run again, and one that is not answered yet keeps others from it.
	for range 2 {
		if a := s.post("visits", ask(`,"rows":5`), "Idempotency-Key", "rows"); string(a.body) != want(5) {
			t.Errorf("%s %s", a.Status, a.body)
		}
		if e := s.post("visits", ask(`,"break":"error"`), "Idempotency-Key", "broken").refusal(t); e.Code != SourceFailed {
			t.Errorf("%s", e.Code)
		}
	}
	busy := store.Idempotency{Customer: "clinic-7", Route: "POST /v1/procedures/visits", Key: "busy", Request: "req_1"}
	if _, err := s.record.ReserveIdempotency(t.Context(), busy); err != nil {
		t.Fatal(err)
	}
	if e := s.post("visits", ask(""), "Idempotency-Key", "busy").refusal(t); e.Code != IdempotencyMismatch {
		t.Errorf("%s", e.Code)
	}
}

// TestOneKeyAtOnce: of equal requests with one key that come at once, one makes the job, and all are answered with it.
func TestOneKeyAtOnce(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	ids := make(chan string, 100)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 5 {
				ids <- s.order("Idempotency-Key", "k").JobID
			}
		})
	}
	all.Wait()
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Fatalf("%s and %s", first, id)
		}
	}
	if _, total, err := s.record.Jobs(t.Context(), store.JobFilter{Customer: "clinic-7", Limit: 1}); err != nil || total != 1 {
		t.Errorf("%d jobs, %v", total, err)
	}
}

// TestJobFields: what is known of a job stands in it, and nothing else does.
func TestJobFields(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	v := s.order()
	path := "/v1/customers/clinic-7/jobs/" + v.JobID
	lease := s.begin()
	if got := s.do("GET", path, "").job(t); got.Status != "running" || got.Progress != nil || got.EstimatedRemain != nil || got.StartedAt == "" || got.ExecutionTime == nil || got.EstimatedRows != 0 || got.Metadata.EstimatedSize != nil {
		t.Errorf("%+v", got)
	}
	s.progress(lease, 500, 2_000_000)
	if got := s.do("GET", path, "").job(t); got.Progress == nil || *got.Progress != 0 || got.RowsProcessed != 500 || got.EstimatedRows != 2_000_000 || *got.EstimatedRemain != 1.5 || *got.Metadata.EstimatedSize != 20 {
		t.Errorf("%+v", got)
	}
	j := s.complete(lease, []byte(want(3)))
	a := s.do("GET", path, "")
	got := a.job(t)
	if got.Status != "completed" || *got.Progress != 100 || *got.TotalRows != 3 || *got.FileSize != int64(len(want(3))) || got.SHA256 != j.SHA256 || got.CompletedAt == "" || *got.PeakMemory != 1<<20 || *got.CPUSeconds != 0.5 ||
		got.EstimatedRemain != nil || !strings.HasPrefix(got.S3URL, s.URL+"/v1/objects/") || got.ExpiresAt != timeText(j.ObjectExpires.Truncate(time.Second)) || a.Header.Get("Retry-After") != "" {
		t.Errorf("%s", a.body)
	}
	s.jobs.link = object.Link{URL: "https://bucket.example.com/x?sig", Expires: time.Now().Add(time.Hour)}
	if got := s.do("GET", path, "").job(t); got.S3URL != s.jobs.link.URL || got.ExpiresAt != timeText(s.jobs.link.Expires) {
		t.Errorf("%+v", got)
	}
	// A bucket that is away does not hide the job.
	s.jobs.fails = fault.New("sink.connect", fault.Connect, "away")
	if got := s.do("GET", path, "").job(t); got.Status != "completed" || got.S3URL != "" || got.ExpiresAt != "" {
		t.Errorf("%+v", got)
	}
	s.jobs.fails = nil
	if list := s.do("GET", "/v1/customers/clinic-7/jobs", ""); strings.Contains(string(list.body), "s3_url") || !strings.Contains(string(list.body), `"sha256"`) {
		t.Errorf("%s", list.body)
	}
	s.order()
	s.end(s.begin(), store.Ending{Event: store.JobCancelled, ErrorCode: string(TimeLimit), ErrorMessage: "m", Suggestion: "s"})
	list := s.do("GET", "/v1/customers/clinic-7/jobs?status=cancelled", "")
	if !strings.Contains(string(list.body), `"error_code":"TIME_LIMIT","error_message":"m","suggestion":"s"`) {
		t.Errorf("%s", list.body)
	}
}

// TestMistakesOfJobs: every operation on jobs, with what is wrong with who asks or what is asked for.
func TestMistakesOfJobs(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	mine := s.order()
	theirs := s.post("visits", strings.Replace(ask(`,"mode":"job"`), "clinic-7", "clinic-8", 1), "Authorization", "Bearer other").job(t)
	operations := []string{"GET ", "POST /cancel", "GET /events", "GET /manifest", "GET /download"}
	for _, operation := range operations {
		method, more, _ := strings.Cut(operation, " ")
		for _, c := range []struct {
			authorization, customer, job string
			code                         Code
		}{
			{"-", "clinic-7", mine.JobID, AuthenticationRequired}, {"Bearer bad", "clinic-7", mine.JobID, InvalidAPIKey}, {"Bearer jobless", "clinic-7", mine.JobID, ScopeMissing},
			{"Bearer good", "clinic-8", theirs.JobID, CustomerNotFound}, {"Bearer good", "nobody", mine.JobID, CustomerNotFound}, {"Bearer good", "clinic-7", theirs.JobID, JobNotFound},
			{"Bearer good", "clinic-7", "visits_1_00000000", JobNotFound}, {"Bearer good", "clinic-7", strings.Repeat("a", 2000), JobNotFound}, {"Bearer good", "clinic-7", "a%0ab", JobNotFound},
			{"Bearer good", "clinic-7", "%FF", JobNotFound}, {"Bearer good", "clinic%207", mine.JobID, CustomerNotFound},
		} {
			a := s.do(method, "/v1/customers/"+c.customer+"/jobs/"+c.job+more, "", "Authorization", c.authorization)
			if e := a.refusal(t); e.Code != c.code {
				t.Errorf("%s of %s by %s: %s, want %s", operation, c.job, c.authorization, e.Code, c.code)
			}
		}
		if e := s.do(method, "/v1/customers/clinic-7/jobs/"+mine.JobID+more+"?limit=1&wait=5", "").refusal(t); e.mistakes() != "UNKNOWN_FIELD limit, UNKNOWN_FIELD wait" {
			t.Errorf("%s: %s", operation, e.mistakes())
		}
		wrong := map[string]string{"GET": "PUT", "POST": "GET"}[method]
		if e := s.do(wrong, "/v1/customers/clinic-7/jobs/"+mine.JobID+more, "").refusal(t); e.Code != MethodNotAllowed {
			t.Errorf("%s %s: %s", wrong, more, e.Code)
		}
	}
	for path, code := range map[string]Code{"/manifest": JobNotCompleted, "/download": JobNotCompleted} {
		if e := s.do("GET", "/v1/customers/clinic-7/jobs/"+mine.JobID+path, "").refusal(t); e.Code != code {
			t.Errorf("%s of a job that waits: %s", path, e.Code)
		}
	}
	for _, path := range []string{"/v1/customers/clinic-7/jobs", "/v1/customers/clinic-7/audit"} {
		for authorization, code := range map[string]Code{"-": AuthenticationRequired, "Bearer jobless": ScopeMissing, "Bearer other": CustomerNotFound} {
			if e := s.do("GET", path, "", "Authorization", authorization).refusal(t); e.Code != code {
				t.Errorf("%s by %s: %s", path, authorization, e.Code)
			}
		}
	}
	for query, want := range map[string]string{
		"?limit=0": "INVALID_PARAMETER limit", "?limit=101": "INVALID_PARAMETER limit", "?limit=x&offset=-1": "INVALID_PARAMETER limit, INVALID_PARAMETER offset", "?limit=": "INVALID_PARAMETER limit",
		"?limit=%2B5": "INVALID_PARAMETER limit", "?offset=1e3": "INVALID_PARAMETER offset", "?offset=99999999999999999999": "INVALID_PARAMETER offset", "?limit=1&limit=2": "DUPLICATE_FIELD limit",
		"?status=done": "INVALID_PARAMETER status", "?procedure=visit": "INVALID_PARAMETER procedure", "?procedure=places": "INVALID_PARAMETER procedure", "?sort=newest": "INVALID_PARAMETER sort",
		"?from_date=2024-02-30": "INVALID_PARAMETER from_date", "?from_date=2024-01-02&to_date=2024-01-01": "INVALID_DATE_RANGE to_date", "?to_date=x&statu=1&sort=": "INVALID_PARAMETER sort, INVALID_PARAMETER to_date, UNKNOWN_FIELD statu",
		"?customer_id=clinic-7": "UNKNOWN_FIELD customer_id",
	} {
		e := s.do("GET", "/v1/customers/clinic-7/jobs"+query, "").refusal(t)
		if e.mistakes() != want {
			t.Errorf("%s: %s, want %s", query, e.mistakes(), want)
		}
		if query == "?procedure=visit" && !strings.Contains(e.Suggestion, "visits") || strings.Contains(query, "statu=1") && !strings.Contains(fmt.Sprint(e.Details), `"status"`) {
			t.Errorf("%s suggests %s %v", query, e.Suggestion, e.Details)
		}
	}
	for query, want := range map[string]string{"?since=2024-01-01": "INVALID_PARAMETER since", "?limit=1001&since=2024-01-01T00:00:00": "INVALID_PARAMETER limit, INVALID_PARAMETER since", "?x=1": "UNKNOWN_FIELD x"} {
		if e := s.do("GET", "/v1/customers/clinic-7/audit"+query, "").refusal(t); e.mistakes() != want {
			t.Errorf("%s: %s, want %s", query, e.mistakes(), want)
		}
	}
	if a := s.do("GET", "/v1/customers/clinic-7/jobs?%zz", ""); a.StatusCode != 400 {
		t.Errorf("a query that is none: %s", a.Status)
	}
}

// TestListJobs: what is asked for is what the record is asked, and its answer is told whole.
func TestListJobs(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 2, 1, 23, 59, 59, 0, time.UTC)
	s := newJobServer(t, nil)
	clock := memory.NewAt(func() time.Time { at = at.Add(time.Second); return at })
	s.jobs.Store = clock
	var ids []string
	for i := range 4 { // at 0:00:00 of the 2nd and later
		j, _, _, err := clock.CreateJob(t.Context(), store.NewJob{Job: store.Job{ID: fmt.Sprintf("visits_%d_0", i), Customer: "clinic-7", Procedure: "visits"}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	for query, want := range map[string]string{
		"": "3210", "?sort=created_asc": "0123", "?limit=2": "32", "?limit=2&offset=3": "0", "?offset=4": "", "?status=queued&procedure=visits": "3210", "?status=failed": "",
		"?from_date=2024-02-02": "3210", "?to_date=2024-02-01": "", "?from_date=2024-02-02&to_date=2024-02-02": "3210", "?from_date=2024-02-03": "",
	} {
		var out jobListBody
		a := s.do("GET", "/v1/customers/clinic-7/jobs"+query, "")
		if err := json.Unmarshal(a.body, &out); err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %s %s", query, a.Status, a.body)
		}
		got := ""
		for _, j := range out.Jobs {
			got += j.JobID[7:8]
		}
		total := int64(len(ids))
		if want == "" && query != "?offset=4" {
			total = 0
		}
		if got != want || out.Total != total || out.Limit == 0 || a.Header.Get("RateLimit") != "" {
			t.Errorf("%q: %s of %d, want %s of %d: %s", query, got, out.Total, want, total, a.body)
		}
	}
}

// TestCancel: at once while a job waits, asked of one that runs, again of one that is cancelled, and refused of others.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	cancel := func(id string) answered {
		t.Helper()
		return s.do("POST", "/v1/customers/clinic-7/jobs/"+id+"/cancel", "")
	}
	v := s.order()
	for range 2 {
		if a := cancel(v.JobID); a.StatusCode != 200 || a.job(t).Status != "cancelled" || a.Header.Get("Retry-After") != "" {
			t.Errorf("%s %s", a.Status, a.body)
		}
	}
	v = s.order()
	lease := s.begin()
	if a := cancel(v.JobID); a.StatusCode != 200 || a.job(t).Status != "running" || a.Header.Get("Retry-After") != "2" {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if r, err := s.record.RenewJob(t.Context(), lease, store.Progress{}); err != nil || !r.Cancel {
		t.Errorf("the worker is not told: %+v, %v", r, err)
	}
	s.end(lease, store.Ending{Event: store.JobCancelled})
	if a := cancel(v.JobID); a.StatusCode != 200 || a.job(t).Status != "cancelled" {
		t.Errorf("%s %s", a.Status, a.body)
	}
	j := s.completed(nil)
	if e := cancel(j.ID).refusal(t); e.Code != JobEnded {
		t.Errorf("%s", e.Code)
	}
	s.order()
	j = s.end(s.begin(), store.Ending{Event: store.JobFailed})
	if e := cancel(j.ID).refusal(t); e.Code != JobEnded {
		t.Errorf("%s", e.Code)
	}
}

// TestManifest is the record's text, as it is.
func TestManifest(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	j := s.completed([]byte("x"))
	a := s.do("GET", "/v1/customers/clinic-7/jobs/"+j.ID+"/manifest", "")
	if string(a.body) != "{\"rows\":3}\n" || a.Header.Get("Content-Disposition") != `attachment; filename="`+j.ID+`.manifest.json"` || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v %s", a.Status, a.Header, a.body)
	}
}

// TestAuditList: in pages that leave nothing out and repeat nothing, also where rows are of the same time; operators have no name.
func TestAuditList(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	at := time.Date(2024, 2, 1, 0, 0, 0, 123456000, time.UTC)
	for i := range 9 {
		who := "key:key_good"
		if i%2 == 1 {
			who = "user:ann"
		}
		if err := s.record.AppendAudit(t.Context(), store.Audit{At: at.Add(time.Duration(i/3) * time.Microsecond), Who: who, What: fmt.Sprint("w", i), Customer: "clinic-7", From: "192.0.2.1", RunID: "r", Outcome: "ok",
			Details: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.record.AppendAudit(t.Context(), store.Audit{At: at, Who: "key:key_other", What: "theirs", Customer: "clinic-8"})
	for _, limit := range []int{1, 2, 3, 4, 9, 10, 1000} {
		since, seen := "", ""
		for pages := 0; pages < 10; pages++ {
			var out auditListBody
			a := s.do("GET", fmt.Sprintf("/v1/customers/clinic-7/audit?limit=%d&since=%s", limit, or(since, "2024-01-01T00:00:00Z")), "")
			if err := json.Unmarshal(a.body, &out); err != nil || a.StatusCode != 200 {
				t.Fatalf("%s %s", a.Status, a.body)
			}
			for _, row := range out.Audit {
				seen += row.What + " "
				if row.Who == "operator" != (row.From == "") || strings.Contains(row.Who, "ann") || row.JobID != "r" || row.Details["a"] != "b" {
					t.Errorf("%+v", row)
				}
			}
			if since = out.Next; since == "" {
				break
			}
		}
		if seen != "w0 w1 w2 w3 w4 w5 w6 w7 w8 " {
			t.Errorf("pages of %d: %s", limit, seen)
		}
	}
}

// TestRemainingIsNotKnown: where nobody can say how long a job still takes, it does not say 0 seconds.
func TestRemainingIsNotKnown(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	v := s.order()
	lease := s.begin()
	s.progress(lease, 50, 100)
	s.end(lease, store.Ending{Event: store.JobRetried})
	s.progress(s.begin(), 60, 100)
	got := s.do("GET", "/v1/customers/clinic-7/jobs/"+v.JobID, "").job(t)
	if _, has := got.has["estimated_completion_seconds"]; has || got.Progress == nil || *got.Progress != 60 {
		t.Errorf("%+v", got.has)
	}
	if e := s.listen(v.JobID, "4").expect("job.progress"); e.data != `{"job_id":"`+v.JobID+`","status":"running","progress_percent":60,"rows_processed":60,"estimated_rows":100}` {
		t.Errorf("%+v", e)
	}
}
