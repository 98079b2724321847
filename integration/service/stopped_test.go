package service

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

var stalls = flag.Int("stalls", 2, "how often TestStoppedWorkers stops a worker for longer than its lease, half of them at its commit. make soak does it 100 times")

// gatekeeper is a proxy in front of a store that holds what completes an object, when it is told to.
type gatekeeper struct {
	url string
	// next is whether the next one is held; it is told of in held, and goes on when it gets something from release.
	next    atomic.Bool
	held    chan struct{}
	release chan struct{}
}

func keepGate(t *testing.T, store *servers.Store) *gatekeeper {
	t.Helper()
	to, err := url.Parse(store.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	g := &gatekeeper{held: make(chan struct{}), release: make(chan struct{})}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		completes := r.Method == http.MethodPost && q.Has("uploadId") || r.Method == http.MethodPut && !q.Has("partNumber")
		if completes && g.next.CompareAndSwap(true, false) {
			g.held <- struct{}{}
			<-g.release
			// Who asked may have gone; the store completes it all the same.
			r = r.WithContext(t.Context())
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	g.url = s.URL
	return g
}

// holders are the numbers of the processes that have taken a job, in their order.
func (c *cluster) holders(t *testing.T, id string) (pids []int) {
	t.Helper()
	a, err := c.try(0, http.MethodGet, "/v1/customers/clinic/audit?limit=1000", "")
	if err != nil {
		t.Fatal(err)
	}
	for {
		var page struct {
			Audit []struct {
				What    string
				Job     string `json:"job_id"`
				Details struct{ Holder string }
			}
			Next string `json:"next_since"`
		}
		if a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &page) != nil {
			t.Fatalf("the audit: %.300s", a.said())
		}
		for _, row := range page.Audit {
			if parts := strings.Split(row.Details.Holder, ":"); row.Job == id && row.What == "job.claimed" && len(parts) == 3 {
				pid, _ := strconv.Atoi(parts[1])
				pids = append(pids, pid)
			}
		}
		if page.Next == "" {
			return pids
		}
		if a, err = c.try(0, http.MethodGet, "/v1/customers/clinic/audit?limit=1000&since="+url.QueryEscape(page.Next), ""); err != nil {
			t.Fatal(err)
		}
	}
}

// pickedUp is within which time a job has to run elsewhere whose worker is gone.
const pickedUp = 30 * time.Second

// TestStoppedWorkers: a worker that stands still for longer than its lease, in the middle of its upload or between its gate and
// the store's completion, is refused when it goes on; somebody else has run the job by then, whose object is the only one.
func TestStoppedWorkers(t *testing.T) {
	t.Parallel()
	store := servers.PrivateMinIO(t)
	gate := keepGate(t, store)
	c := form(t, ordered(t), topology{serves: 1, workers: 2, record: servers.PrivateMySQL(t), store: store, endpoint: gate.url}, loose)
	want := contentOf(c.rows(t, "numbers"))
	h := &history{Want: map[string]content{}}
	for n := range *stalls {
		atCommit := n%2 == 1
		gate.next.Store(atCommit)
		body := `{"customer_id":"clinic","table_name":"long_one","mode":"job"}`
		if atCommit {
			body = strings.Replace(body, "long_one", "numbers", 1)
		}
		j := c.order(t, body)
		if atCommit {
			h.Want[j.ID] = want
		}
		h.Answers = append(h.Answers, answered{j.ID, j.ID})
		if atCommit {
			<-gate.held
		} else {
			eventually(t, "an upload", func() bool { return c.status(t, j.ID).Rows > 0 })
		}
		first := c.holders(t, j.ID)
		if len(first) != 1 {
			t.Fatalf("%s was taken by %v", j.ID, first)
		}
		stopped := c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.cmd.Process.Pid == first[0] })]
		signal := func(s syscall.Signal) {
			if err := stopped.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		signal(syscall.SIGSTOP)
		since := time.Now()
		eventually(t, "somebody else to run "+j.ID, func() bool { return len(c.holders(t, j.ID)) == 2 })
		if took := time.Since(since); took > pickedUp {
			t.Errorf("%s was picked up after %v", j.ID, took)
		}
		if atCommit { // the other one has ended before it goes on
			c.until(t, j.ID, "completed")
			gate.release <- struct{}{}
		}
		signal(syscall.SIGCONT)
		eventually(t, "the worker that was stopped to be refused", func() bool {
			for line := range strings.Lines(stopped.stderr.String()) {
				if strings.Contains(line, j.ID) && strings.Contains(line, `"cause":"store.lease_lost"`) {
					return true
				}
			}
			return false
		})
		c.until(t, j.ID, "completed")
		if now := c.holders(t, j.ID); len(now) != 2 || now[1] == first[0] {
			t.Errorf("%s was taken by %v", j.ID, now)
		}
	}
	c.all(t, h)
	for _, fault := range h.faults() {
		t.Error(fault)
	}
}
