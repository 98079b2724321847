package service

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/integration/disk"
	"github.com/cipherstream/cipherstream/integration/required"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestThousandEqualOrders: a thousand equal orders with one Idempotency-Key, over two services, are one job.
func TestThousandEqualOrders(t *testing.T) {
	t.Parallel()
	c := form(t, ordered(t), topology{serves: 2, workers: 1, record: servers.PrivateMySQL(t)}, loose)
	const posts = 1000
	var mu sync.Mutex
	jobs := map[string]int{}
	var clients sync.WaitGroup
	turns := make(chan int)
	for range 40 {
		clients.Go(func() {
			for turn := range turns {
				again(t, "an answer", func(int) bool {
					a, err := c.try(turn, http.MethodPost, path, `{"customer_id":"clinic","table_name":"few","mode":"job"}`, "Idempotency-Key", "one of a thousand")
					var j told
					if err != nil || a.StatusCode != http.StatusOK || json.Unmarshal(a.body, &j) != nil {
						if err == nil && a.StatusCode != http.StatusConflict && a.StatusCode < 500 {
							t.Errorf("%.300s", a.said())
							return true
						}
						return false
					}
					mu.Lock()
					defer mu.Unlock()
					jobs[j.ID]++
					return true
				})
			}
		})
	}
	for turn := range posts {
		turns <- turn
	}
	close(turns)
	clients.Wait()
	list, total := c.list(t)
	if len(jobs) != 1 || total != 1 || len(list) != 1 || jobs[list[0].ID] != posts {
		t.Errorf("a thousand orders are the jobs %v, the list has %d", jobs, total)
	}
}

// refusal is what happens to a record, and what ends it.
type refusal struct {
	name         string
	begins, ends func(t *testing.T)
}

// TestRecordRefuses: while the record is away, read-only or full, streams go on, no job is accepted, /readyz says so; and behind
// that jobs are accepted again, and those that were accepted before are there.
func TestRecordRefuses(t *testing.T) {
	t.Parallel()
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		record := servers.PrivateMySQL(t)
		c := form(t, ordered(t), topology{serves: 1, jobs: 1, record: record}, loose)
		c.refused(t,
			refusal{name: "read-only", begins: func(*testing.T) { record.Exec("SET GLOBAL super_read_only = ON") }, ends: func(*testing.T) { record.Exec("SET GLOBAL read_only = OFF") }},
			refusal{name: "away", begins: func(*testing.T) { record.Kill() }, ends: func(*testing.T) { record.Start() }})
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		small := t.TempDir()
		disk.Small(t, small, "size=8m")
		c := form(t, ordered(t), topology{serves: 1, jobs: 1}, loose+"  state: "+filepath.Join(small, "state")+"\n")
		ballast := filepath.Join(small, "ballast")
		// A file system that becomes read-only refuses what is written to files that are open: here by the kernel's tracing of calls.
		strace, err := exec.LookPath("strace")
		if err != nil {
			required.Missing(t, "strace was not found; install it with `make deps`")
		}
		var traced *exec.Cmd
		c.refused(t, refusal{name: "read-only", begins: func(t *testing.T) {
			traced = exec.Command(strace, "-f", "-p", strconv.Itoa(c.nodes[0].cmd.Process.Pid), "-o", os.DevNull, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EROFS")
			says, err := traced.StderrPipe()
			if err == nil {
				err = traced.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(says).ReadString('\n'); err != nil || !strings.Contains(line, "attached") {
				t.Fatalf("%q, %v", line, err)
			}
			go io.Copy(io.Discard, says)
		}, ends: func(t *testing.T) {
			if err := traced.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_ = traced.Wait() // by the signal
		}}, refusal{name: "full", begins: func(t *testing.T) {
			f, err := os.Create(ballast)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := io.Copy(f, zeroes{}); err == nil {
				t.Error("the disk has no end")
			}
		}, ends: func(t *testing.T) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}})
	})
}

// zeroes has no end.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (c *cluster) ready(t *testing.T) string {
	t.Helper()
	answer, err := plainly.Get(c.Operations + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status + " " + string(text)
}

func (c *cluster) refused(t *testing.T, refusals ...refusal) {
	const few = `{"customer_id":"clinic","table_name":"few","mode":"job"}`
	for _, r := range refusals {
		before := c.order(t, few)
		c.until(t, before.ID, "completed")
		healthy := c.ready(t)
		r.begins(t)
		eventually(t, r.name+": /readyz to say that jobs are not accepted", func() bool { return strings.Contains(c.ready(t), "jobs: not accepted") })
		if rows := c.rows(t, "few"); strings.Count(string(rows), "\n") != 1000 {
			t.Errorf("%s: a stream of %d bytes", r.name, len(rows))
		}
		a, err := c.try(0, http.MethodPost, path, few)
		if err != nil || a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: an order: %v %.300s", r.name, err, a.said())
		}
		r.ends(t)
		eventually(t, r.name+": /readyz to say that jobs are accepted", func() bool { return c.ready(t) == healthy })
		after := c.order(t, few)
		c.until(t, after.ID, "completed")
		if now := c.status(t, before.ID); now.Status != "completed" {
			t.Errorf("%s: the job of before is %+v", r.name, now)
		}
	}
	if list, total := c.list(t); total != 2*len(refusals) || len(list) != total {
		t.Errorf("%d jobs are listed", total)
	}
}

// TestStoreAway: while the store of objects is away, jobs are accepted and streams go on; a job that fails by it is tried again,
// and completes when the store is back.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	store := servers.PrivateMinIO(t)
	c := form(t, ordered(t), topology{serves: 1, jobs: 1, store: store}, loose)
	before := c.order(t, `{"customer_id":"clinic","table_name":"few","mode":"job"}`)
	before = c.until(t, before.ID, "completed")
	store.Kill()
	j := c.order(t, `{"customer_id":"clinic","table_name":"few","mode":"job"}`)
	if rows := c.rows(t, "few"); strings.Count(string(rows), "\n") != 1000 {
		t.Errorf("a stream of %d bytes", len(rows))
	}
	eventually(t, "an attempt that fails", func() bool {
		return strings.Contains(c.of("serve")[0].stderr.String(), `"event":"retried"`) && c.status(t, j.ID).Status == "queued"
	})
	store.Start()
	if j = c.until(t, j.ID, "completed"); j.RetryCount == 0 || j.TotalRows != 1000 {
		t.Errorf("%+v", j)
	}
	for _, is := range []told{before, j} {
		if f, err := c.fetch(0, is.ID); err != nil || f.sha256 != is.SHA256 {
			t.Errorf("%s: %v, %s and %s", is.ID, err, f.sha256, is.SHA256)
		}
	}
}
