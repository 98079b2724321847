package api

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestClientAddress: who is connected counts, unless that is a trusted proxy; then the last address that no trusted proxy
// has, and never one that a client can make up.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	a := &API{}
	a.Tune(Tuning{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"}, {"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"}, {"10.0.0.1:5", nil, "10.0.0.1"},
		{"10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"}, {"10.0.0.1:5", []string{"6.6.6.6, 198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"6.6.6.6", "198.51.100.7, 10.2.3.4"}, "198.51.100.7"}, {"10.0.0.1:5", []string{"10.9.9.9, 10.2.3.4"}, "10.9.9.9"},
		{"10.0.0.1:5", []string{"198.51.100.7, nonsense"}, "10.0.0.1"}, {"10.0.0.1:5", []string{""}, "10.0.0.1"}, {"10.0.0.1:5", []string{"198.51.100.7:1234"}, "198.51.100.7"},
		{"[::1]:5", []string{"[2001:db8::1]"}, "2001:db8::1"}, {"[::1]:5", []string{"[2001:db8::1]:80"}, "2001:db8::1"}, {"[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"@", []string{"198.51.100.7"}, "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := a.clientAddress(r).String(); got != c.want {
			t.Errorf("%s %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

// TestHealth: the operator's listener says whether the service is there and ready, and has nothing else of the public one.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metric 1\n") })
	})
	h := s.api.Operations()
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		path string
		code int
		body string
	}{{"/healthz", 200, "ok\n"}, {"/readyz", 200, "ready\n"}, {"/metrics", 200, "metric 1\n"}, {"/v1/procedures", 404, "404 page not found\n"}} {
		if code, body := get(c.path); code != c.code || body != c.body {
			t.Errorf("%s: %d %q", c.path, code, body)
		}
	}
	s.api.Drain()
	s.api.Drain()
	if code, _ := get("/readyz"); code != 503 {
		t.Errorf("a service that stops is ready: %d", code)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("a service that stops is not healthy: %d", code)
	}
	for path, code := range map[string]int{"/healthz": 200, "/readyz": 503} {
		w := httptest.NewRecorder()
		s.api.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != code {
			t.Errorf("the public %s: %d", path, w.Code)
		}
	}
	if a := s.do("GET", "/v1/procedures", ""); a.StatusCode != 200 {
		t.Errorf("a service that stops does not answer: %s", a.Status)
	}
}

// TestSmuggling: requests whose length is told in two ways, or in none that counts, are refused, and what stands behind them
// is no request.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	const second = "GET /v1/procedures HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n"
	head := "POST /v1/procedures/visits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"both lengths":         head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		"two lengths":          head + "Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}" + second,
		"a list of lengths":    head + "Content-Length: 2, 9\r\n\r\n{}" + second,
		"a signed length":      head + "Content-Length: +2\r\n\r\n{}" + second,
		"chunked twice":        head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		"chunked in disguise":  head + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + second,
		"another coding":       head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + second,
		"a name with a space":  head + "Content-Length : 2\r\n\r\n{}" + second,
		"a folded header":      head + "X: a\r\n b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
		"a chunk's size":       head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" + second,
		"no host":              strings.Replace(head, "Host: x\r\n", "", 1) + "Content-Length: 2\r\n\r\n{}",
		"two keys":             strings.Replace(head, "Content-Type", "Authorization: Bearer other\r\nContent-Type", 1) + "Content-Length: 2\r\nConnection: close\r\n\r\n{}",
		"a header of 40 KiB":   head + "X: " + strings.Repeat("x", 40<<10) + "\r\nContent-Length: 2\r\n\r\n{}",
		"a method in disguise": "GET /v1/procedures HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\nConnection: close\r\n\r\n",
	} {
		got := s.raw(request)
		if n := strings.Count(got, "HTTP/1.1 "); n != 1 || !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 501") {
			t.Errorf("%s: %d answers: %.200q", name, n, got)
		}
	}
}

// TestSlowClients: who sends a header or a body too slowly is let go; a body of a gigabyte is not read.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) { c.BodyTimeout = 200 * time.Millisecond })
	began := time.Now()
	got := s.raw("POST /v1/procedures/visits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if !strings.HasPrefix(got, "HTTP/1.1 408") || !strings.Contains(got, string(BodyTimeout)) || !strings.Contains(got, "Connection: close") || time.Since(began) > 20*time.Second {
		t.Errorf("a slow body: %v, %.200q", time.Since(began), got)
	}
	got = s.raw("POST /v1/procedures/visits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n{")
	if !strings.HasPrefix(got, "HTTP/1.1 413") || !strings.Contains(got, "Connection: close") {
		t.Errorf("a gigabyte: %.200q", got)
	}
	got = s.raw("POST /v1/procedures/visits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 401") {
		t.Errorf("a body is asked for before the key is known: %.200q", got)
	}
	began = time.Now()
	got = s.raw("POST /v1/procedures/visits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if !strings.HasPrefix(got, "HTTP/1.1 401") || time.Since(began) > 20*time.Second {
		t.Errorf("a refused body that does not come: %v, %.200q", time.Since(began), got)
	}
	settings := Server(s.api.Handler(), nil)
	if settings.ReadHeaderTimeout <= 0 || settings.IdleTimeout <= 0 || settings.MaxHeaderBytes <= 0 || settings.TLSConfig.MinVersion != 0x0304 {
		t.Errorf("a server without limits: %+v", settings)
	}
	settings.ReadHeaderTimeout = 100 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n") // before the server counts: what comes when it has closed is answered by a reset
	go func() { _ = settings.Serve(l) }()
	t.Cleanup(func() { settings.Close() })
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("a slow header: %v", err)
	}
}

// limits refuses the second request of a key.
type limits struct {
	Admission
	taken map[string]int
}

func (l *limits) Take(policy admission.Policy, key string) admission.Decision {
	l.taken[string(policy)+" "+key]++
	n := l.taken[string(policy)+" "+key]
	return admission.Decision{Allowed: n < 2, Limited: true, Policy: policy, Quota: 60, Window: time.Minute, Remaining: max(0, 2-n),
		Reset: 1500 * time.Millisecond, RetryAfter: 700 * time.Millisecond}
}

// TestRates: an answer says what is left of a key's requests, and when to ask again.
func TestRates(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) { c.Admission = &limits{c.Admission, map[string]int{}} })
	a := s.do("GET", "/v1/procedures", "")
	if a.StatusCode != 200 || a.Header.Get("RateLimit-Policy") != `"polling";q=60;w=60` || a.Header.Get("RateLimit") != `"polling";r=1;t=2` {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	a = s.do("GET", "/v1/procedures", "")
	if e := a.refusal(t); e.Code != RateLimited || a.Header.Get("Retry-After") != "1" || a.Header.Get("RateLimit") != `"polling";r=0;t=2` {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	// Without a good key the address counts, and a good key from there passes all the same.
	for _, c := range []struct {
		method, path, authorization string
		code                        Code
	}{{"GET", "/v1/procedures", "Bearer nobody", InvalidAPIKey}, {"GET", "/v1/procedures", "Basic nobody", RateLimited}, {"GET", "/v1/procedures", "-", RateLimited},
		{"GET", "/nowhere", "-", RateLimited}, {"PUT", "/v1/procedures", "-", RateLimited}, {"GET", "//", "-", RateLimited}, {"GET", "/nowhere", "Bearer good", NotFound}} {
		a := s.do(c.method, c.path, "", "Authorization", c.authorization)
		if e := a.refusal(t); e.Code != c.code || c.code != NotFound && a.Header.Get("RateLimit-Policy") != `"anonymous";q=60;w=60` {
			t.Errorf("%+v: %s %v", c, e.Code, a.Header)
		}
	}
	if a := s.post("visits", "{}"); a.StatusCode != 400 || !strings.HasPrefix(a.Header.Get("RateLimit-Policy"), `"procedures"`) {
		t.Errorf("%s %v", a.Status, a.Header)
	}
}

// TestDefectsStayAlone: a request that breaks is answered, and others are.
func TestDefectsStayAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) { c.Admission = breaks{c.Admission} })
	e := s.do("GET", "/v1/procedures", "").refusal(t)
	if e.Code != Internal || !strings.Contains(s.log.String(), `"request_id":"`+e.RequestID) || strings.Contains(s.log.String(), "Jane") {
		t.Errorf("%+v\n%s", e, s.log.String())
	}
	if a := s.do("GET", "/openapi.json", ""); a.StatusCode != 200 {
		t.Error(a.Status)
	}
}

type breaks struct{ Admission }

func (breaks) Take(admission.Policy, string) admission.Decision { panic("Jane Doe") }

// watcher remembers what an observer is told.
type watcher struct{ seen chan Exchange }

func (watcher) Begin(ctx context.Context, r *http.Request) (context.Context, string) {
	return context.WithValue(ctx, watcher{}, "mine"), "00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01"
}
func (w watcher) Run(context.Context, string, string) RunObserver { return noRun{} }
func (w watcher) End(ctx context.Context, x Exchange)             { w.seen <- x }

// TestObserver: whoever measures is told of every request, and of no more than may be a label.
func TestObserver(t *testing.T) {
	t.Parallel()
	w := watcher{make(chan Exchange, 1)}
	s := newServer(t, func(c *Config) { c.Observer = w })
	s.post("visit%20Jane", "{}")
	if x := <-w.seen; x.Route != "POST /v1/procedures/{procedure}" || x.Code != UnknownProcedure || x.Status != 404 || x.KeyID != "key_good" || x.RequestID == "" {
		t.Errorf("%+v", x)
	}
	s.do("BREW", "/nowhere/Jane", "")
	if x := <-w.seen; x.Route != "/" || x.Status != 404 || x.Customer != "" {
		t.Errorf("%+v", x)
	}
	if strings.Contains(s.log.String(), "Jane") {
		t.Errorf("the log holds an address: %s", s.log.String())
	}
}

// TestStrictTransport: with TLS the answers say that clients stay with it.
func TestStrictTransport(t *testing.T) {
	t.Parallel()
	for _, tls := range []bool{true, false} {
		s := newServer(t, func(c *Config) { c.TLS = tls })
		if a := s.do("GET", "/v1/procedures", ""); tls != (a.Header.Get("Strict-Transport-Security") != "") {
			t.Errorf("TLS %v: %v", tls, a.Header)
		}
	}
}

// tracing remembers the trace context of the plans that are run.
type tracing struct {
	Engine
	seen chan string
}

func (e *tracing) Run(ctx context.Context, p *engine.Plan, sink engine.AnySink, o engine.RunOptions) (*engine.Receipt, error) {
	e.seen <- p.Traceparent
	return e.Engine.Run(ctx, p, sink, o)
}

// TestTraceContext: a run carries the trace of whoever observes the request, or else that of the client.
func TestTraceContext(t *testing.T) {
	t.Parallel()
	client := "00-" + strings.Repeat("c", 32) + "-" + strings.Repeat("d", 16) + "-01"
	for _, observed := range []bool{false, true} {
		e := &tracing{seen: make(chan string, 1)}
		w := watcher{make(chan Exchange, 1)}
		s := newServer(t, func(c *Config) {
			if e.Engine, c.Engine = c.Engine, e; observed {
				c.Observer = w
			}
		})
		want := client
		if observed {
			_, want = w.Begin(t.Context(), nil)
		}
		if a := s.post("visits", ask(""), "Traceparent", client, "Idempotency-Key", "once"); a.StatusCode != 200 {
			t.Fatal(a.Status)
		}
		if got := <-e.seen; got != want {
			t.Errorf("observed %v: %s", observed, got)
		}
	}
}

// busy admits nobody.
type busy struct {
	Admission
	code string
}

func (b busy) Stream(context.Context, string, int, int64) (func(), error) {
	return nil, fault.New(b.code, fault.Usage, "no").WithRetry().WithDetail(admission.DetailRetryAfter, "7")
}

func (b busy) StreamOrJob(ctx context.Context, customer string, limit int, memory int64) (release, becomeJob func(), err error) {
	release, err = b.Stream(ctx, customer, limit, memory)
	return release, nil, err
}

// TestBusy: a stream that is not admitted is refused, with when to ask again; in the mode auto it would be a job.
func TestBusy(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]Code{admission.CodeStreamsBusy: TooManyStreams, admission.CodeLoaded: ServiceBusy, admission.CodeTooLarge: Internal} {
		s := newServer(t, func(c *Config) { c.Admission = busy{c.Admission, code} })
		a := s.post("visits", ask(`,"mode":"stream"`))
		if e := a.refusal(t); e.Code != want || e.Retryable && a.Header.Get("Retry-After") != "7" {
			t.Errorf("%s: %s, Retry-After %q", code, e.Code, a.Header.Get("Retry-After"))
		} else if _, err := s.record.Request(t.Context(), "clinic-7", e.RequestID); err == nil {
			t.Errorf("%s: it was written down as a run", code)
		}
		if e := s.post("places", `{"customer_id":"clinic-7"}`).refusal(t); e.Code != want {
			t.Errorf("%s: a reference list: %s", code, e.Code)
		}
		if code == admission.CodeTooLarge {
			continue
		}
		if e := s.post("visits", ask("")).refusal(t); e.Code != JobsNotAvailable {
			t.Errorf("%s: auto: %s", code, e.Code)
		}
	}
}
