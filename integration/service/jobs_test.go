package service

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestJobs: what clients do with jobs, on the program itself, with one process and with four.
func TestJobs(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(*testing.T) topology{
		"one process and a folder": func(*testing.T) topology { return topology{serves: 1, jobs: 2} },
		"one process and MinIO":    func(t *testing.T) topology { return topology{serves: 1, jobs: 2, store: servers.PrivateMinIO(t)} },
		"two services and two workers, MySQL and MinIO": func(t *testing.T) topology {
			return topology{serves: 2, workers: 2, record: servers.PrivateMySQL(t), store: servers.PrivateMinIO(t)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := form(t, ordered(t), of(t), loose)
			for name, part := range map[string]func(*testing.T, *cluster){
				"Delivered": testJobDelivered, "Sealed": testJobSealed, "MidRun": testJobMidRun, "Cancelled": testJobCancelled,
				"Watched": testJobWatched, "Once": testJobOnce, "CommandLine": testJobCommands,
			} {
				t.Run(name, func(t *testing.T) { part(t, c) })
			}
			testJobList(t, c)
			testJobsHandedBack(t, c)
			testJobPickedUp(t, c)
		})
	}
}

// rows are the lines that a stream gives of a table.
func (c *cluster) rows(t *testing.T, table string) []byte {
	t.Helper()
	a := c.send(t, plainly, c.key, http.MethodPost, path, fmt.Sprintf(`{"customer_id":"clinic","table_name":%q,"mode":"stream"}`, table))
	if a.StatusCode != http.StatusOK || a.broken != nil {
		t.Fatalf("%s as a stream: %s %.300s %v", table, a.Status, a.body, a.broken)
	}
	return a.body
}

// testJobDelivered: the object of a job is what a stream of the same request is, and the record says what it is.
func testJobDelivered(t *testing.T, c *cluster) {
	j := c.order(t, `{"customer_id":"clinic","table_name":"few","mode":"job"}`)
	j = c.until(t, j.ID, "completed")
	f, err := c.fetch(0, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if f.size != j.Size || f.sha256 != j.SHA256 || j.TotalRows != 1000 || j.Percent == nil || *j.Percent != 100 || j.Metadata.Reason != "requested" {
		t.Errorf("%d bytes of SHA-256 %s; the record: %+v", f.size, f.sha256, j)
	}
	if want := c.rows(t, "few"); !bytes.Equal(f.body, want) {
		t.Errorf("the job has %d bytes, the stream %d", len(f.body), len(want))
	}
	if !strings.Contains(j.URL, j.ID) && c.store != nil || j.URL == "" {
		t.Errorf("the link is %q", j.URL)
	}
	a, err := c.try(0, http.MethodPost, path, `{"customer_id":"clinic","table_name":"few","mode":"job"}`, "Prefer", "respond-async")
	if err != nil || a.StatusCode != http.StatusAccepted {
		t.Errorf("Prefer: respond-async: %s %v", a.said(), err)
	}
}

// testJobSealed: a sealed job opens with the customer's key, and with the command that customers have.
func testJobSealed(t *testing.T, c *cluster) {
	for _, form := range []struct{ format, compression string }{{"ndjson", "zip"}, {"csv", "gzip"}} {
		j := c.order(t, fmt.Sprintf(`{"customer_id":"clinic","table_name":"few","mode":"job","encrypted":"true","output_format":%q,"compression":%q}`, form.format, form.compression))
		j = c.until(t, j.ID, "completed")
		f, err := c.fetch(0, j.ID)
		if err != nil || f.sha256 != j.SHA256 || !j.Encrypted {
			t.Fatalf("%v: %+v", err, j)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, j.FileName), f.body, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tool(t, dir, []string{"SEALING=" + c.keys["clinic"]}, program(t), "decrypt", j.FileName, "--keys", "env:SEALING", "--customer", "clinic", "-o", "opened"); err != nil {
			t.Fatal(err)
		}
		opened, err := os.ReadFile(filepath.Join(dir, "opened"))
		if err != nil {
			t.Fatal(err)
		}
		if form.compression == "gzip" && bytes.HasPrefix(opened, []byte{0x1f, 0x8b}) {
			opened = gunzip(t, opened)
		}
		if n := bytes.Count(opened, []byte("\n")); n != 1000 && n != 1001 {
			t.Errorf("%+v opens as %d lines", form, n)
		}
		if form.format == "ndjson" && !bytes.Equal(opened, c.rows(t, "few")) {
			t.Error("a sealed job opens as something else than the stream is")
		}
	}
}

// testJobMidRun: a request that turns out to have more rows than an answer may goes on as a job, which is whole.
func testJobMidRun(t *testing.T, c *cluster) {
	j := c.order(t, `{"customer_id":"clinic","table_name":"numbers"}`)
	j = c.until(t, j.ID, "completed")
	if j.TotalRows != 131072 || j.Metadata.Reason != "rows" {
		t.Errorf("%+v", j)
	}
	f, err := c.fetch(0, j.ID)
	if err != nil || f.sha256 != j.SHA256 {
		t.Fatalf("%v: %s, the record has %s", err, f.sha256, j.SHA256)
	}
	if want := c.rows(t, "numbers"); !bytes.Equal(f.body, want) {
		t.Errorf("the job has %d bytes, the stream %d", len(f.body), len(want))
	}
}

const endlessJob = `{"customer_id":"clinic","procedure_name":"endless","mode":"job"}`

// testJobCancelled: a job that waits is cancelled at once, one that runs within seconds; neither leaves anything.
func testJobCancelled(t *testing.T, c *cluster) {
	var jobs []told
	for range 8 { // more than may run
		jobs = append(jobs, c.order(t, endlessJob))
	}
	c.until(t, jobs[0].ID, "running")
	slices.Reverse(jobs)
	waited := false
	for _, j := range jobs {
		a, err := c.try(0, http.MethodPost, jobsPath+"/"+j.ID+"/cancel", "")
		var now told
		if err != nil || a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &now) != nil {
			t.Fatalf("%s %v", a.said(), err)
		}
		waited = waited || now.Status == "cancelled"
		c.until(t, j.ID, "cancelled")
		if a, err := c.try(0, http.MethodPost, jobsPath+"/"+j.ID+"/cancel", ""); err != nil || a.StatusCode != http.StatusOK {
			t.Errorf("once more: %s %v", a.said(), err)
		}
	}
	if !waited {
		t.Error("no job that waited was cancelled")
	}
	eventually(t, "the end of what cancelled jobs have written", func() bool {
		return !slices.ContainsFunc(c.stored(t), func(key string) bool {
			return slices.ContainsFunc(jobs, func(j told) bool { return strings.Contains(key, j.ID) })
		})
	})
}

// testJobWatched: the events of a job come as they happen, each once, and go on behind the one that a client has seen.
func testJobWatched(t *testing.T, c *cluster) {
	j := c.order(t, `{"customer_id":"clinic","table_name":"slow","mode":"job"}`)
	events := func(after string) (states []string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.where(1)+jobsPath+"/"+j.ID+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+c.key)
		if after != "" {
			r.Header.Set("Last-Event-ID", after)
		}
		answer, err := plain.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if state, is := strings.CutPrefix(lines.Text(), "event: job."); is && state != "progress" {
				states = append(states, state)
			}
		}
		return states
	}
	if got := events(""); !slices.Equal(got, []string{"queued", "running", "completed"}) {
		t.Errorf("events %v", got)
	}
	if got := events("2"); !slices.Equal(got, []string{"completed"}) {
		t.Errorf("events behind the second one: %v", got)
	}
}

// testJobOnce: an order that comes again is the same job, whichever process it comes to; another one with its key is refused.
func testJobOnce(t *testing.T, c *cluster) {
	const body = `{"customer_id":"clinic","table_name":"few","mode":"job"}`
	first := c.order(t, body, "Idempotency-Key", "once")
	a, err := c.try(1, http.MethodPost, path, `{"mode":"job", "table_name":"few","customer_id":"clinic","compression":"none"}`, "Idempotency-Key", "once")
	var again told
	if err != nil || json.Unmarshal(a.body, &again) != nil || again.ID != first.ID || a.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s %v", a.said(), err)
	}
	if a, err := c.try(1, http.MethodPost, path, strings.Replace(body, "few", "slow", 1), "Idempotency-Key", "once"); err != nil || a.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("another order: %s %v", a.said(), err)
	}
}

// testJobCommands: what the command line does with jobs of the service.
func testJobCommands(t *testing.T, c *cluster) {
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := tool(t, dir, []string{"CIPHERSTREAM_API_KEY=" + c.key}, program(t), append(args, "--server", c.where(0), "--customer", "clinic")...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	j := c.order(t, `{"customer_id":"clinic","table_name":"slow","mode":"job"}`)
	run("jobs", "watch", j.ID)
	run("jobs", "download", j.ID, "-o", "slow.ndjson")
	if got, err := os.ReadFile(filepath.Join(dir, "slow.ndjson")); err != nil || bytes.Count(got, []byte("\n")) != 40000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	var now told
	if err := json.Unmarshal([]byte(run("jobs", "get", j.ID, "--json")), &now); err != nil || now.Status != "completed" {
		t.Errorf("%+v %v", now, err)
	}
	other := c.order(t, endlessJob)
	run("jobs", "cancel", other.ID)
	c.until(t, other.ID, "cancelled")
	if out := run("jobs", "list", "--status", "cancelled"); !strings.Contains(out, other.ID) || strings.Contains(out, j.ID) {
		t.Errorf("the cancelled ones: %s", out)
	}
}

// testJobList: the list has every job once, and says how many there are.
func testJobList(t *testing.T, c *cluster) {
	list, total := c.list(t)
	seen := map[string]bool{}
	for _, j := range list {
		if seen[j.ID] {
			t.Errorf("%s is listed twice", j.ID)
		}
		seen[j.ID] = true
	}
	if len(list) != total || total < 16 {
		t.Errorf("%d jobs, and a total of %d", len(list), total)
	}
}

// list are all jobs, the oldest first, and how many there are.
func (c *cluster) list(t *testing.T) (jobs []told, total int) {
	t.Helper()
	for {
		a, err := c.try(0, http.MethodGet, fmt.Sprintf("%s?sort=created_asc&limit=100&offset=%d", jobsPath, len(jobs)), "")
		var page struct {
			Jobs  []told
			Total int
		}
		if err != nil || a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &page) != nil {
			t.Fatalf("the list: %.300s %v", a.said(), err)
		}
		if jobs = append(jobs, page.Jobs...); len(page.Jobs) == 0 || len(jobs) >= page.Total {
			return jobs, page.Total
		}
	}
}

// testJobsHandedBack: a job whose process is told to end is run by another one, or by the next one, and its attempt does not count.
func testJobsHandedBack(t *testing.T, c *cluster) {
	j := c.order(t, `{"customer_id":"clinic","table_name":"long_one","mode":"job"}`)
	c.until(t, j.ID, "running")
	role := "serve"
	if c.workers > 0 {
		role = "worker"
	}
	for _, n := range c.of(role) {
		if code := n.stop(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d: %s", code, n.stderr)
		}
		c.begin(t, n)
	}
	if j = c.until(t, j.ID, "completed"); j.RetryCount != 0 || j.TotalRows != 131072 {
		t.Errorf("%+v", j)
	}
}

// testJobPickedUp: a job whose worker is killed runs elsewhere within half a minute, and completes.
func testJobPickedUp(t *testing.T, c *cluster) {
	if c.workers < 2 {
		return // whose process is killed with it; see TestJobsSurvive
	}
	j := c.order(t, `{"customer_id":"clinic","table_name":"long_one","mode":"job"}`)
	c.until(t, j.ID, "running")
	first := c.holders(t, j.ID)
	n := c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.cmd.Process.Pid == first[0] })]
	n.kill(t)
	gone := &pickUp{since: time.Now()}
	gone.of(t, c, j.ID)
	if j = c.until(t, j.ID, "completed"); j.RetryCount != 1 || j.TotalRows != 131072 {
		t.Errorf("%+v", j)
	}
}
