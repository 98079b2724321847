package api

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// sent is an event as it was read.
type sent struct {
	event, id, data string
	comment         bool
}

// listener reads the events of a job.
type listener struct {
	t        testing.TB
	response *http.Response
	lines    *bufio.Reader
}

// listen comes for the events of a job.
func (s *jobServer) listen(id, last string) *listener {
	s.t.Helper()
	r, err := http.NewRequest("GET", s.URL+"/v1/customers/clinic-7/jobs/"+id+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	transport := &http.Transport{}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close(); transport.CloseIdleConnections() })
	return &listener{s.t, response, bufio.NewReader(response.Body)}
}

// next is the next event or comment; false at the end. What says when to come again is none.
func (l *listener) next() (e sent, ok bool) {
	l.t.Helper()
	for {
		line, err := l.lines.ReadString('\n')
		if err == io.EOF {
			return e, false
		}
		if err != nil {
			l.t.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e != (sent{}):
			return e, true
		case line == "":
		case name == "":
			e.comment = true
		case name == "event":
			e.event = value
		case name == "id":
			e.id = value
		case name == "data":
			e.data = value
		case name != "retry":
			l.t.Fatalf("a line %q", line)
		}
	}
}

// expect reads events, each EVENT or EVENT#ID, and nothing else. The end is "".
func (l *listener) expect(events ...string) (last sent) {
	l.t.Helper()
	for _, want := range events {
		e, _ := l.next()
		got := e.event
		if e.id != "" {
			got += "#" + e.id
		}
		if got != want {
			l.t.Fatalf("%q %s, want %q", got, e.data, want)
		}
		last = e
	}
	return last
}

// TestEvents: every change from the first on, how far the job is between them, and the end behind the last one. Whoever comes again
// gets what comes behind what it has; and when there is nothing more, an answer that it does not come again after.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	v := s.order()
	l := s.listen(v.JobID, "")
	if h := l.response.Header; l.response.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" || h.Get("Content-Length") != "" {
		t.Fatalf("%s %v", l.response.Status, h)
	}
	first := l.expect("job.queued#1")
	if first.data != `{"job_id":"`+v.JobID+`","transition":1,"status":"queued","at":"`+v.CreatedAt+`"}` {
		t.Error(first.data)
	}
	lease := s.begin()
	l.expect("job.running#2")
	l.expect("job.progress")
	s.progress(lease, 10, 100)
	progress := l.expect("job.progress")
	if progress.data != `{"job_id":"`+v.JobID+`","status":"running","progress_percent":10,"rows_processed":10,"estimated_rows":100,"estimated_completion_seconds":1.5}` {
		t.Error(progress.data)
	}
	// It comes again behind each event, and to one that has none.
	s.listen(v.JobID, "1").expect("job.running#2", "job.progress")
	s.listen(v.JobID, "2").expect("job.progress")
	s.listen(v.JobID, "0").expect("job.queued#1", "job.running#2", "job.progress")
	s.end(lease, store.Ending{Event: store.JobRetried, ErrorCode: "DATABASE_BUSY"})
	retried := l.expect("job.queued#3")
	if !strings.Contains(retried.data, `"event":"retried","status":"queued","previous_status":"running"`) || !strings.Contains(retried.data, `"error_code":"DATABASE_BUSY"`) {
		t.Error(retried.data)
	}
	s.complete(s.begin(), []byte("x"))
	l.expect("job.running#4")
	for e, ok := l.next(); e.event != "job.completed" || e.id != "5"; e, ok = l.next() {
		if !ok || e.event != "job.progress" {
			t.Fatalf("%+v", e)
		}
	}
	l.expect("")
	s.listen(v.JobID, "").expect("job.queued#1", "job.running#2", "job.queued#3", "job.running#4", "job.completed#5", "")
	s.listen(v.JobID, "4").expect("job.completed#5", "")
	if a := s.do("GET", "/v1/customers/clinic-7/jobs/"+v.JobID+"/events", "", "Last-Event-ID", "5"); a.StatusCode != 204 || len(a.body) > 0 {
		t.Errorf("%s %s", a.Status, a.body)
	}
	for _, last := range []string{"6", "-1", "x", "1.5", "99999999999999999999"} {
		if e := s.do("GET", "/v1/customers/clinic-7/jobs/"+v.JobID+"/events", "", "Last-Event-ID", last).refusal(t); e.mistakes() != "INVALID_PARAMETER Last-Event-ID" {
			t.Errorf("%s: %s", last, e.mistakes())
		}
	}
	if a := s.do("HEAD", "/v1/customers/clinic-7/jobs/"+v.JobID+"/events", ""); a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	if a := s.do("GET", "/v1/customers/clinic-7/jobs/"+v.JobID+"/events?api_key=good", "", "Authorization", "-"); a.refusal(t).Code != AuthenticationRequired {
		t.Errorf("a key in the address: %s", a.Status)
	}
}

// quiet is an API whose time is a test's, with a job that waits, and a way to ask it that needs no connection.
type quiet struct {
	*API
	record *jobServer
	job    store.Job
	keys   *revocable
}

// revocable lets keys and customers in until its test says otherwise.
type revocable struct {
	Customers
	revoked, disabled atomic.Bool
}

func (r *revocable) Authenticate(ctx context.Context, bearer string, from netip.Addr) (customer.Principal, error) {
	if r.revoked.Load() {
		return customer.Principal{}, fault.New(customer.CodeKeyRevoked, fault.Usage, "no")
	}
	return r.Customers.Authenticate(ctx, bearer, from)
}

func (r *revocable) Customer(ctx context.Context, p customer.Principal, id string, scope customer.Scope) (*customer.Customer, error) {
	if r.disabled.Load() {
		return nil, fault.New(customer.CodeDisabled, fault.Usage, "no")
	}
	return r.Customers.Customer(ctx, p, id, scope)
}

// inQuiet runs a test in a time of its own, on an API that was made outside of it.
func inQuiet(t *testing.T, test func(t *testing.T, q *quiet)) {
	t.Helper()
	q := &quiet{}
	s := newJobServer(t, func(c *Config) {
		q.keys = &revocable{Customers: c.Customers}
		c.Customers = q.keys
	})
	synctest.Test(t, func(t *testing.T) {
		s.jobs.change() // its channel is of this time
		j, _, err := s.jobs.Create(t.Context(), store.NewJob{Job: store.Job{ID: "visits_1_00000000", Customer: "clinic-7", Procedure: "visits"}})
		if err != nil {
			t.Fatal(err)
		}
		s.api.waiters = newWaiters()
		q.API, q.record, q.job = s.api, s, j
		test(t, q)
	})
}

// ask asks for something of the job, until ctx ends.
func (q *quiet) ask(ctx context.Context, more string, header ...string) (w *httptest.ResponseRecorder) {
	r := httptest.NewRequest("GET", "/v1/customers/clinic-7/jobs/"+q.job.ID+more, nil).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w = httptest.NewRecorder()
	defer func() {
		if cause := recover(); cause != nil && cause != http.ErrAbortHandler {
			panic(cause)
		}
	}()
	q.Handler().ServeHTTP(w, r)
	return w
}

// TestSilence: a comment comes every 15 seconds, and the stream ends when the key is no longer good, the customer is disabled, the
// service is about to end or the client has gone.
func TestSilence(t *testing.T) {
	t.Parallel()
	const happens = 45500 * time.Millisecond
	inQuiet(t, func(t *testing.T, q *quiet) {
		for name, c := range map[string]struct {
			end   func(cancel context.CancelFunc)
			after time.Duration
		}{
			"the key is revoked":       {func(context.CancelFunc) { q.keys.revoked.Store(true) }, 46 * time.Second},
			"the customer is disabled": {func(context.CancelFunc) { q.keys.disabled.Store(true) }, 46 * time.Second},
			"the client goes":          {func(cancel context.CancelFunc) { cancel() }, happens},
			"the service ends":         {func(context.CancelFunc) { q.Drain() }, happens},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			began := time.Now()
			time.AfterFunc(happens, func() { c.end(cancel) })
			w := q.ask(ctx, "/events")
			if took := time.Since(began); took != c.after {
				t.Errorf("%s: after %s", name, took)
			}
			if body := w.Body.String(); strings.Count(body, ": still here\n\n") != 3 || strings.Count(body, "event: ") != 1 || !strings.HasPrefix(body, "retry: 2000\n\nevent: job.queued\nid: 1\n") {
				t.Errorf("%s: %q", name, body)
			}
			cancel()
			synctest.Wait()
			if len(q.waiters.waiting) > 0 {
				t.Errorf("%s: %v", name, q.waiters.waiting)
			}
			q.keys.revoked.Store(false)
			q.keys.disabled.Store(false)
			q.waiters = newWaiters()
		}
	})
}

// TestLongPoll: it is answered at the next change, or when the time is over, or the service is about to end.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	inQuiet(t, func(t *testing.T, q *quiet) {
		for _, c := range []struct {
			prefer, applied string
			took            time.Duration
		}{
			{"wait=5", "wait=5", 5 * time.Second}, {"respond-async, WAIT = \"7\" ; x", "wait=7", 7 * time.Second}, {"wait=50", "wait=50", 50 * time.Second}, {"wait=51", "wait=50", 50 * time.Second},
			{"wait=99999999999999999999999", "wait=50", 50 * time.Second}, {"wait=0", "", 0}, {"wait=-1", "", 0}, {"wait=1.5", "", 0}, {"wait", "", 0}, {"", "", 0}, {"waits=5", "", 0}, {"wait=3, wait=9", "wait=3", 3 * time.Second},
		} {
			began := time.Now()
			w := q.ask(t.Context(), "", "Prefer", c.prefer)
			if took := time.Since(began); took != c.took || w.Code != 200 || w.Header().Get("Preference-Applied") != c.applied || (w.Header().Get("Vary") == "Prefer") != (c.applied != "") || !strings.Contains(w.Body.String(), `"queued"`) {
				t.Errorf("%q: after %s, %v %s", c.prefer, took, w.Header(), w.Body)
			}
		}
		began := time.Now()
		var lease store.Lease
		time.AfterFunc(10*time.Second, func() { lease = q.record.begin() })
		if w := q.ask(t.Context(), "", "Prefer", "wait=50"); time.Since(began) != 10*time.Second || !strings.Contains(w.Body.String(), `"running"`) {
			t.Errorf("after %s: %s", time.Since(began), w.Body)
		}
		synctest.Wait() // for the lease
		// Progress is no change, and is told of at the end of the wait.
		began = time.Now()
		time.AfterFunc(time.Second, func() { q.record.progress(lease, 5, 100) })
		if w := q.ask(t.Context(), "", "Prefer", "wait=4"); time.Since(began) != 4*time.Second || !strings.Contains(w.Body.String(), `"rows_processed":5,`) {
			t.Errorf("after %s: %s", time.Since(began), w.Body)
		}
		// A key that is revoked meanwhile is told nothing.
		time.AfterFunc(time.Second, func() { q.keys.revoked.Store(true) })
		if w := q.ask(t.Context(), "", "Prefer", "wait=2"); w.Code != 401 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		q.keys.revoked.Store(false)
		// A client that goes is not waited for.
		began = time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		if w := q.ask(ctx, "", "Prefer", "wait=50"); time.Since(began) != 3*time.Second || w.Body.Len() > 0 {
			t.Errorf("after %s: %s", time.Since(began), w.Body)
		}
		began = time.Now()
		time.AfterFunc(6*time.Second, q.Drain)
		if w := q.ask(t.Context(), "", "Prefer", "wait=50"); time.Since(began) != 6*time.Second || w.Code != 200 {
			t.Errorf("after %s: %s", time.Since(began), w.Body)
		}
		q.waiters = newWaiters()
		q.record.complete(lease, nil)
		began = time.Now()
		if w := q.ask(t.Context(), "", "Prefer", "wait=50"); time.Since(began) != 0 || !strings.Contains(w.Body.String(), `"completed"`) {
			t.Errorf("a job that has ended is waited for: %s %s", time.Since(began), w.Body)
		}
	})
}

// TestTooManyWait: beyond as many as may wait of one customer, a poll is answered at once, and a stream is refused; another customer's
// are not.
func TestTooManyWait(t *testing.T) {
	t.Parallel()
	inQuiet(t, func(t *testing.T, q *quiet) {
		var leave func()
		for range mostWaiting {
			var ok bool
			if leave, ok = q.waiters.enter("clinic-7"); !ok {
				t.Fatal("refused too early")
			}
		}
		began := time.Now()
		if w := q.ask(t.Context(), "", "Prefer", "wait=50"); w.Code != 200 || time.Since(began) != 0 {
			t.Errorf("%d after %s", w.Code, time.Since(began))
		}
		if w := q.ask(t.Context(), "/events"); w.Code != 429 || !strings.Contains(w.Body.String(), string(TooManyStreams)) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if _, ok := q.waiters.enter("clinic-8"); !ok {
			t.Error("another customer pays for it")
		}
		leave()
		if w := q.ask(t.Context(), "", "Prefer", "wait=5"); w.Code != 200 || time.Since(began) != 5*time.Second {
			t.Errorf("%d after %s", w.Code, time.Since(began))
		}
	})
}

// TestSlowListener: a client that takes nothing is cut, and its stream ends.
func TestSlowListener(t *testing.T) {
	t.Parallel()
	inQuiet(t, func(t *testing.T, q *quiet) {
		stuck := &stuckWriter{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest("GET", "/v1/customers/clinic-7/jobs/"+q.job.ID+"/events", nil).WithContext(t.Context())
		r.Header.Set("Authorization", "Bearer good")
		began := time.Now()
		q.Handler().ServeHTTP(stuck, r)
		if took := time.Since(began); took != writeTimeout {
			t.Errorf("after %s", took)
		}
	})
}

// stuckWriter is a connection to a client that takes nothing: a write waits until its deadline.
type stuckWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (s *stuckWriter) SetWriteDeadline(at time.Time) error {
	s.deadline = at
	return nil
}

func (s *stuckWriter) Write([]byte) (int, error) {
	time.Sleep(time.Until(s.deadline))
	return 0, http.ErrHandlerTimeout
}
