package service

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/integration/poll"
	"github.com/cipherstream/cipherstream/integration/servers"
)

var jobRounds = flag.Int("job-rounds", 0, "how often TestJobsSurvive kills a part of each service while jobs go on; 0 is three times for each kind of part. make soak does it 300 times")

// TestJobsSurvive kills processes, the record's server and the store at random moments, while clients order jobs, look at them and
// cancel some: after every round, what clients were told, the list, the transitions, the audit and the objects agree.
func TestJobsSurvive(t *testing.T) {
	t.Parallel()
	five := func(record func(testing.TB, ...string) *servers.Server) func(*testing.T) topology {
		return func(t *testing.T) topology {
			return topology{serves: 2, workers: 3, record: record(t), store: servers.PrivateMinIO(t)}
		}
	}
	for name, of := range map[string]func(*testing.T) topology{
		"one process, SQLite and a folder":  func(*testing.T) topology { return topology{serves: 1, jobs: 3} },
		"one process, SQLite and MinIO":     func(t *testing.T) topology { return topology{serves: 1, jobs: 3, store: servers.PrivateMinIO(t)} },
		"five processes, MySQL and MinIO":   five(servers.PrivateMySQL),
		"five processes, MariaDB and MinIO": five(servers.PrivateMariaDB),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			survive(t, form(t, ordered(t), of(t), loose))
		})
	}
}

// orders are what is ordered in every round.
var orders = []struct {
	name, body string
	auto       bool // is not repeated when it was not answered
	cancel     bool
}{
	{name: "few", body: `{"customer_id":"clinic","table_name":"few","mode":"job"}`},
	{name: "slow", body: `{"customer_id":"clinic","table_name":"slow","mode":"job"}`},
	{name: "numbers", body: `{"customer_id":"clinic","table_name":"numbers","mode":"job"}`},
	{name: "numbers", body: `{"customer_id":"clinic","table_name":"numbers"}`, auto: true},
	{name: "", body: endlessJob, cancel: true},
}

// mostInFlight is how many rounds go on at once: what a round ordered may take until the leases of its workers are over.
const mostInFlight = 4

// survive does the rounds on a cluster.
func survive(t *testing.T, c *cluster) {
	want := map[string]content{}
	for _, o := range orders {
		if o.name != "" && want[o.name].Size == 0 {
			body := c.rows(t, o.name)
			want[o.name] = contentOf(body)
		}
	}
	c.kills = true
	slots := make(chan struct{}, mostInFlight)
	var going sync.WaitGroup
	var mu sync.Mutex
	whole := &history{Seen: map[string][][]sight{}, Want: map[string]content{}}
	why := map[string]int{}
	began := time.Now()
	done := 0
	kinds := c.kinds()
	for n := range cmp.Or(*jobRounds, 3*len(kinds)) {
		if t.Failed() {
			break
		}
		done++
		slots <- struct{}{}
		r := &round{cluster: c, number: n, h: &history{Seen: map[string][][]sight{}, Want: map[string]content{}, Partial: true}}
		r.order(t, want)
		<-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond) // a moment is what the test is about
		killed := kinds[n%len(kinds)]                                   // each of them as often as the others
		c.kill(t, killed)
		going.Go(func() {
			defer func() { <-slots }()
			r.settle(t)
			for _, fault := range r.h.faults() {
				t.Errorf("round %d, %s killed: %s", n, killed, fault)
			}
			mu.Lock()
			defer mu.Unlock()
			whole.Answers = append(whole.Answers, r.h.Answers...)
			whole.Unanswered += r.h.Unanswered
			for id, looks := range r.h.Seen {
				whole.Seen[id] = looks
			}
			for order, is := range r.h.Want {
				whole.Want[order] = is
			}
			for _, code := range r.why {
				why[code]++
			}
		})
	}
	going.Wait()
	rounds := time.Since(began)
	c.all(t, whole)
	for _, fault := range whole.faults() {
		t.Errorf("in the end: %s", fault)
	}
	ends := map[string]int{}
	for _, j := range whole.Jobs {
		ends[string(j.Status)+" "+j.Code]++
		if j.Retries > 0 {
			ends["retried"]++
		}
	}
	t.Logf("%d rounds in %.0f s, swept after %.0f s: %d answers, %d orders without a job %v, jobs %v", done, rounds.Seconds(), time.Since(began).Seconds(),
		len(whole.Answers), whole.Unanswered, why, ends)
}

func contentOf(body []byte) content {
	sum := hashed(body)
	return content{Rows: int64(strings.Count(string(body), "\n")), Size: int64(len(body)), SHA256: sum}
}

// kinds are the kinds of parts of the cluster that are killed.
func (c *cluster) kinds() []string {
	kinds := []string{"serve", "plugin"}
	if c.workers > 0 {
		kinds = append(kinds, "worker", "plugin of a worker")
	}
	if c.record != nil {
		kinds = append(kinds, "record")
	}
	if c.store != nil {
		kinds = append(kinds, "store")
	}
	return kinds
}

// kill kills a part of the cluster of a kind and, when it is one that has to be started again, starts it.
func (c *cluster) kill(t *testing.T, kind string) {
	t.Helper()
	role := "serve"
	if strings.Contains(kind, "worker") {
		role = "worker"
	}
	n := c.of(role)[rand.IntN(len(c.of(role)))]
	switch kind {
	case "serve", "worker":
		n.kill(t)
		c.begin(t, n)
	case "plugin", "plugin of a worker":
		if list := n.plugins(); len(list) > 0 {
			_ = syscall.Kill(list[rand.IntN(len(list))], syscall.SIGKILL) // it may have ended by itself
		}
	case "record":
		c.record.Kill()
		c.record.Start()
	case "store":
		c.store.Kill()
		c.store.Start()
	}
}

// round is what clients do while something is killed.
type round struct {
	*cluster
	number  int
	clients sync.WaitGroup

	mu sync.Mutex
	h  *history
	// why are the answers of orders that came to no job.
	why []string
}

// order has clients order jobs and look at them until they have ended.
func (r *round) order(t *testing.T, want map[string]content) {
	for i, o := range orders {
		key := fmt.Sprintf("round %d order %d", r.number, i)
		if is, known := want[o.name]; known {
			r.h.Want[key] = is
		}
		r.clients.Go(func() {
			id := r.ask(t, key, o.body, o.auto, i)
			if id == "" {
				return
			}
			if o.cancel {
				r.cancel(t, id, i)
			}
			var watching sync.WaitGroup
			for client := range 2 {
				watching.Go(func() { r.watch(t, id, i+client) })
			}
			watching.Wait()
		})
	}
}

// roundTime is how long anything may take that has to come: it is longer than three leases, with two delays between them.
const roundTime = 4 * time.Minute

// again calls do, which says whether it is done, until it is, or something else has failed.
func again(t *testing.T, what string, do func(turn int) bool) {
	t.Helper()
	turn := -1
	done := func() bool {
		turn++
		return do(turn) || t.Failed()
	}
	if !poll.Until(100*time.Millisecond, 500*time.Millisecond, roundTime, done) {
		t.Errorf("waited %v for %s", roundTime, what)
	}
}

// ask orders a job until there is an answer; an order that may have rows for an answer is not repeated.
func (r *round) ask(t *testing.T, key, body string, auto bool, turn int) (id string) {
	header := []string{"Idempotency-Key", key}
	if auto {
		header = nil
	}
	again(t, "an answer to "+key, func(n int) bool {
		a, err := r.try(turn+n, http.MethodPost, path, body, header...)
		var j told
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case err == nil && a.StatusCode == http.StatusOK && json.Unmarshal(a.body, &j) == nil && j.ID != "":
			id = j.ID
			r.h.Answers = append(r.h.Answers, answered{key, id})
			return true
		case auto:
			r.h.Unanswered++
			why := "connection"
			if err == nil {
				why = or(a.code(), a.Status)
			}
			r.why = append(r.why, why)
			return true
		case err == nil && a.StatusCode < 500 && a.StatusCode != http.StatusConflict:
			t.Errorf("%s: %.300s", key, a.said())
			return true
		}
		return false
	})
	if id == "" || auto || t.Failed() {
		return id
	}
	// The same order once more, to another process, is the same job.
	again(t, "a second answer to "+key, func(n int) bool {
		a, err := r.try(turn+n+1, http.MethodPost, path, body, header...)
		var j told
		if err != nil || a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &j) != nil {
			return false
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.h.Answers = append(r.h.Answers, answered{key, j.ID})
		return true
	})
	return id
}

func (r *round) cancel(t *testing.T, id string, turn int) {
	again(t, "the cancelling of "+id, func(n int) bool {
		a, err := r.try(turn+n, http.MethodPost, jobsPath+"/"+id+"/cancel", "")
		return err == nil && (a.StatusCode == http.StatusOK || a.StatusCode == http.StatusConflict)
	})
}

// watch looks at a job until it has ended.
func (r *round) watch(t *testing.T, id string, turn int) {
	var looks []sight
	again(t, "the end of "+id, func(n int) bool {
		a, err := r.try(turn+n, http.MethodGet, jobsPath+"/"+id, "")
		var j told
		if err != nil || a.StatusCode >= 500 {
			return false
		}
		if a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &j) != nil {
			t.Errorf("job %s: %.300s", id, a.said())
			return true
		}
		l := sight{Status: store.Status(j.Status), Rows: j.Rows, Percent: -1}
		if j.Percent != nil {
			l.Percent = *j.Percent
		}
		if len(looks) == 0 || looks[len(looks)-1] != l {
			looks = append(looks, l)
		}
		return l.Status.Ended()
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Seen[id] = append(r.h.Seen[id], looks)
}

// settle waits for the clients, and asks what has become of their jobs.
func (r *round) settle(t *testing.T) {
	r.clients.Wait()
	ids := map[string]bool{}
	for _, a := range r.h.Answers {
		ids[a.Job] = true
	}
	again(t, "the list", func(turn int) bool {
		r.h.Jobs = nil
		found := map[string]bool{}
		for offset := 0; len(found) < len(ids); offset += 100 {
			page, _, err := r.page(turn, "created_desc", offset)
			if err != nil {
				return false
			}
			for _, j := range page {
				if ids[j.ID] && !found[j.ID] {
					found[j.ID] = true
					r.h.Jobs = append(r.h.Jobs, j)
				}
			}
			if len(page) == 0 {
				break
			}
		}
		return true
	})
	r.details(t, r.h)
}

// page is a part of the list.
func (c *cluster) page(turn int, sort string, offset int) (jobs []listed, total int, err error) {
	a, err := c.try(turn, http.MethodGet, fmt.Sprintf("%s?sort=%s&limit=100&offset=%d", jobsPath, sort, offset), "")
	if err != nil {
		return nil, 0, err
	}
	var page struct {
		Jobs  []told
		Total int
	}
	if a.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%.300s", a.said())
	}
	if err := json.Unmarshal(a.body, &page); err != nil {
		return nil, 0, err
	}
	for _, j := range page.Jobs {
		jobs = append(jobs, listed{ID: j.ID, Status: store.Status(j.Status), Retries: j.RetryCount, Code: j.ErrorCode,
			Content: content{Rows: j.TotalRows, Size: j.Size, SHA256: j.SHA256}})
	}
	return jobs, page.Total, nil
}

// details asks for the transitions, the audit and the result of the jobs of a history.
func (c *cluster) details(t *testing.T, h *history) {
	h.Steps, h.Audit, h.Fetched = map[string][]store.Transition{}, map[string][]string{}, map[string]content{}
	for i, j := range h.Jobs {
		again(t, "the transitions of "+j.ID, func(turn int) bool {
			steps, err := c.steps(i+turn, j.ID)
			h.Steps[j.ID] = steps
			return err == nil
		})
		if j.Status != store.Completed {
			continue
		}
		var err error
		again(t, "the result of "+j.ID, func(turn int) bool {
			var f fetched
			if f, err = c.fetch(i+turn, j.ID); err == nil {
				h.Fetched[j.ID] = content{Size: f.size, SHA256: f.sha256}
			}
			return err == nil
		})
		if err != nil {
			t.Errorf("the result of %s: %v", j.ID, err)
		}
	}
	again(t, "the audit", func(turn int) bool {
		clear(h.Audit)
		return c.audit(turn, h.Audit) == nil
	})
}

// steps are the transitions of a job that has ended, as its events tell.
func (c *cluster) steps(turn int, id string) (list []store.Transition, err error) {
	a, err := c.try(turn, http.MethodGet, jobsPath+"/"+id+"/events", "", "Last-Event-ID", "0")
	if err != nil {
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%.300s", a.said())
	}
	event := ""
	for lines := bufio.NewScanner(strings.NewReader(string(a.body))); lines.Scan(); {
		if name, is := strings.CutPrefix(lines.Text(), "event: "); is {
			event = name
		}
		data, is := strings.CutPrefix(lines.Text(), "data: ")
		if !is || event == "job.progress" {
			continue
		}
		var s struct {
			Transition int64
			Event      store.JobEvent
			Status     store.Status
			Previous   store.Status `json:"previous_status"`
		}
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return nil, err
		}
		list = append(list, store.Transition{Job: id, Number: s.Transition, Event: s.Event, From: s.Previous, To: s.Status})
	}
	if len(list) == 0 || !list[len(list)-1].To.Ended() {
		return nil, errors.New("the stream of events has ended before the job") // its service ends, or its record is away: one comes again
	}
	return list, nil
}

// audit adds what the audit says of jobs.
func (c *cluster) audit(turn int, to map[string][]string) error {
	for since := ""; ; {
		a, err := c.try(turn, http.MethodGet, "/v1/customers/clinic/audit?limit=1000"+since, "")
		if err != nil {
			return err
		}
		var page struct {
			Audit []struct {
				What string
				Job  string `json:"job_id"`
			}
			Next string `json:"next_since"`
		}
		if a.StatusCode != http.StatusOK {
			return fmt.Errorf("%.300s", a.said())
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return err
		}
		for _, row := range page.Audit {
			if strings.HasPrefix(row.What, "job.") {
				to[row.Job] = append(to[row.Job], row.What)
			}
		}
		if page.Next == "" {
			return nil
		}
		since = "&since=" + url.QueryEscape(page.Next)
	}
}

// all asks for everything, when nothing goes on any more and what was left behind is swept.
func (c *cluster) all(t *testing.T, h *history) {
	t.Helper()
	c.allEnded(t, h)
	c.details(t, h)
	h.Swept = true
	completed := 0
	for _, j := range h.Jobs {
		if j.Status == store.Completed {
			completed++
		}
	}
	again(t, strconv.Itoa(completed)+" objects and nothing else", func(int) bool {
		h.Objects = c.stored(t)
		return len(h.Objects) == completed
	})
}

// allEnded lists the jobs when every one of them has ended.
func (c *cluster) allEnded(t *testing.T, h *history) {
	t.Helper()
	again(t, "the end of all jobs", func(turn int) bool {
		h.Jobs = nil
		for {
			page, total, err := c.page(turn, "created_asc", len(h.Jobs))
			if err != nil {
				return false
			}
			h.Jobs, h.Total = append(h.Jobs, page...), total
			if len(page) == 0 || len(h.Jobs) >= total {
				break
			}
		}
		return !slices.ContainsFunc(h.Jobs, func(j listed) bool { return !j.Status.Ended() })
	})
}
