package e2e

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// storeProxy stands between the program and the store, and answers in its place, or breaks
// the connection, where it is told to. The host in the requests stays the one that was signed.
type storeProxy struct {
	*httptest.Server
	store *httputil.ReverseProxy

	mu sync.Mutex
	// seen counts the requests by operation: create, part, part1, part2, complete, abort, HEAD, …
	seen   map[string]int
	meddle meddler
}

func newStoreProxy(t testing.TB, store *servers.Store, meddle func(*storeProxy) meddler) *storeProxy {
	t.Helper()
	to, err := url.Parse(store.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	p := &storeProxy{seen: map[string]int{}, store: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		Transport:    transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	p.meddle = meddle(p)
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.Close()
		transport.CloseIdleConnections()
	})
	return p
}

func (p *storeProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	operation := r.Method
	switch {
	case q.Has("uploads") && r.Method == http.MethodPost:
		operation = "create"
	case q.Has("partNumber"):
		operation = "part"
	case q.Has("uploadId") && r.Method == http.MethodPost:
		operation = "complete"
	case q.Has("uploadId"):
		operation = "abort"
	}
	p.mu.Lock()
	p.seen[operation]++
	attempt := operation + q.Get("partNumber")
	if attempt != operation {
		p.seen[attempt]++
	}
	n := p.seen[attempt]
	p.mu.Unlock()
	if !p.meddle(w, r, operation, n) {
		p.store.ServeHTTP(w, r)
	}
}

// partNumber is which part a request uploads.
func partNumber(r *http.Request) int64 {
	n, _ := strconv.ParseInt(r.URL.Query().Get("partNumber"), 10, 64) // 0 for other requests
	return n
}

// carryOut passes a request on, and returns the store's answer instead of passing it back.
func (p *storeProxy) carryOut(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	p.store.ServeHTTP(answer, r)
	return answer
}

// slowDown is how S3 asks for patience.
func slowDown(w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
	}
	return true
}

// failing is the answer 200 with an error in it, which S3 gives when it has begun to answer too early; the spaces
// keep the connection alive.
func failing(w http.ResponseWriter) bool {
	w.Header().Set("Content-Type", "application/xml")
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>`+strings.Repeat("\n ", 40)+
		"<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>")
	return true
}

// cutOff breaks the connection without an answer.
func cutOff() bool { panic(http.ErrAbortHandler) }

// meddler does something else with the n-th request of an operation, of the upload of one part for example, than to
// pass it on, and then returns true.
type meddler func(w http.ResponseWriter, r *http.Request, operation string, n int) bool

// count is how often an operation was asked for.
func (p *storeProxy) count(operation string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[operation]
}

// proxied is the bucket through a proxy.
func (d *deliveries) proxied(p *storeProxy) string {
	return strings.Replace(d.store.URL(d.store.Bucket()), url.QueryEscape(d.store.Endpoint()), url.QueryEscape(p.URL), 1)
}

// always tells operations to slow down, however often they come.
func always(operations ...string) func(*storeProxy) meddler { return slow(math.MaxInt, operations) }

// slowAtFirst tells operations to slow down twice.
func slowAtFirst(operations ...string) func(*storeProxy) meddler { return slow(2, operations) }

func slow(times int, operations []string) func(*storeProxy) meddler {
	return func(*storeProxy) meddler {
		return func(w http.ResponseWriter, r *http.Request, operation string, n int) bool {
			return n <= times && slices.Contains(operations, operation) && slowDown(w, r)
		}
	}
}

// lostAnswer has the first request of an operation carried out, and cuts the connection instead of the answer.
func lostAnswer(of string) func(*storeProxy) meddler {
	return func(p *storeProxy) meddler {
		return func(_ http.ResponseWriter, r *http.Request, operation string, n int) bool {
			if operation != of || n > 1 {
				return false
			}
			p.carryOut(r)
			return cutOff()
		}
	}
}

// trickle gives a body in small pieces, a millisecond apart.
type trickle struct{ from io.Reader }

func (r *trickle) Read(b []byte) (int, error) {
	<-time.After(time.Millisecond)
	return r.from.Read(b[:min(len(b), 8<<10)])
}
