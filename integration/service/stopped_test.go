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

var stalls = flag.Int("stalls", 10, "how many jobs TestStoppedWorkers stops for longer than their leases, half of them at the commit. make soak does it 100 times")

// standing is how long they stand still at least.
const standing = time.Minute

// stopTogether is how many jobs stand still at once, of as many workers as have taken them.
const stopTogether = 10

// gatekeeper is a proxy in front of a store that holds what completes an object, when it is told to.
type gatekeeper struct {
	url string
	// next is how many of the next ones are held; each is told of in held, and goes on when it gets something from release.
	next    atomic.Int64
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
		if completes && g.next.Add(-1) >= 0 {
			select {
			case g.held <- struct{}{}:
				select {
				case <-g.release:
				case <-t.Context().Done():
				}
			case <-t.Context().Done(): // a test that has failed does not wait for what it holds
			}
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

// TestStoppedWorkers: workers that stand still for longer than their leases, in the middle of an upload or between the gate and
// the store's completion, are refused when they go on; somebody else has run the jobs by then, whose objects are the only ones.
func TestStoppedWorkers(t *testing.T) {
	t.Parallel()
	store := servers.PrivateMinIO(t)
	gate := keepGate(t, store)
	c := form(t, ordered(t), topology{serves: 1, record: servers.PrivateMySQL(t), store: store, endpoint: gate.url}, loose)
	want := contentOf(c.rows(t, "numbers"))
	h := &history{Want: map[string]content{}}
	for left := *stalls; left > 0 && !t.Failed(); left -= stopTogether {
		c.stand(t, gate, h, want, min(left, stopTogether))
	}
	c.all(t, h)
	for _, fault := range h.faults() {
		t.Error(fault)
	}
}

// stand has the workers of some jobs stand still, every other one at its commit, while others come and run them.
func (c *cluster) stand(t *testing.T, gate *gatekeeper, h *history, want content, jobs int) {
	t.Helper()
	var workers, others []*node
	for range (jobs + 1) / 2 { // each takes two jobs
		workers, others = append(workers, c.worker()), append(others, c.worker())
	}
	c.join(t, workers)
	atCommit := map[string]bool{}
	var ids []string
	commits := jobs / 2
	gate.next.Store(int64(commits))
	for n := range jobs {
		table := "long_one"
		if n < commits {
			table = "numbers"
		}
		j := c.order(t, `{"customer_id":"clinic","table_name":"`+table+`","mode":"job"}`)
		if atCommit[j.ID] = n < commits; atCommit[j.ID] {
			h.Want[j.ID] = want
		}
		h.Answers = append(h.Answers, answered{j.ID, j.ID})
		ids = append(ids, j.ID)
	}
	held := 0
	eventually(t, "every commit to be held", func() bool {
		select {
		case <-gate.held:
			held++
		default:
		}
		return held == commits
	})
	first, stopped := map[string]int{}, map[int]*node{}
	for _, id := range ids {
		if !atCommit[id] {
			eventually(t, "an upload", func() bool { return c.status(t, id).Rows > 0 })
		}
		took := c.holders(t, id)
		if len(took) != 1 {
			t.Fatalf("%s was taken by %v", id, took)
		}
		first[id] = took[0]
		stopped[took[0]] = workers[slices.IndexFunc(workers, func(n *node) bool { return n.cmd.Process.Pid == took[0] })]
	}
	signal := func(s syscall.Signal) {
		for _, n := range stopped {
			if err := n.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	c.join(t, others)
	since := time.Now() // from now on there is somebody who can take them
	for _, id := range ids {
		eventually(t, "somebody else to run "+id, func() bool { return len(c.holders(t, id)) > 1 })
		if took := time.Since(since); took > pickedUp {
			t.Errorf("%s was picked up after %v", id, took)
		}
	}
	for _, id := range ids { // the others have ended what stands at its commit before it goes on
		if atCommit[id] {
			c.until(t, id, "completed")
		}
	}
	<-time.After(time.Until(since.Add(standing))) // so long is what the test is about
	for range commits {
		gate.release <- struct{}{}
	}
	signal(syscall.SIGCONT)
	for _, id := range ids {
		eventually(t, "the worker that was stopped to be refused "+id, func() bool {
			for line := range strings.Lines(stopped[first[id]].stderr.String()) {
				if strings.Contains(line, id) && strings.Contains(line, `"cause":"store.lease_lost"`) {
					return true
				}
			}
			return false
		})
		c.until(t, id, "completed")
		if now := c.holders(t, id); len(now) != 2 || now[1] == first[id] {
			t.Errorf("%s was taken by %v", id, now)
		}
	}
	for _, n := range append(workers, others...) {
		n.stop(t, syscall.SIGTERM)
	}
	c.nodes = slices.DeleteFunc(c.nodes, func(n *node) bool { return n.role == "worker" })
}
