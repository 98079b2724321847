package service

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/integration/visits"
)

// stateKills is how many processes are killed while a job of a schedule runs whose pipeline keeps state.
var stateKills = flag.Int("state-kills", 10, "how often TestScheduleLeavesNothingOut kills the process of a job")

const visitsPipeline = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits, title: Visits, category: Visits, class: data, description: The visits that have changed.}
spec:
  extends: output
  state: {cursor: updated_at, overlap: 1h}
  stages:
    source:
      use: mysql
      with:
        time_zone: "+00:00"
        request: {table_name: visit, columns: "id,version,updated_at", allowed_tables: visit}
  columns:
    - {name: id, type: int64, nullable: false, description: Key of the visit.}
    - {name: version, type: int32, nullable: false, description: How often it has changed.}
    - {name: updated_at, type: timestamp, nullable: false, description: When it changed last.}
`

// visited is a table whose rows change, and the schedule that follows it.
type visited struct {
	*visits.Table
	*cluster
	test     *testing.T
	schedule string               // its path
	got      map[int64]visits.Row // the last version that was delivered
	read     int
}

// follow starts a cluster with a schedule of the pipeline.
func follow(t *testing.T, of topology) *visited {
	t.Helper()
	db := servers.PrivateMariaDB(t)
	catalogue := catalogueWith(t, "visits.yaml", visitsPipeline)
	p := &visited{Table: visits.New(t, db.Open(db.Database())), test: t, got: map[int64]visits.Row{},
		cluster: form(t, db, of, loose+"  catalogue: "+catalogue+"\n")}
	var made struct {
		ID string `json:"schedule_id"`
	}
	const schedules = "/v1/customers/clinic/schedules"
	p.must(http.MethodPost, schedules, `{"name":"visits","procedure":"visits","cron":"0 0 1 1 *"}`, &made)
	p.schedule = schedules + "/" + made.ID
	p.kills = true
	return p
}

// catalogueWith is the program's catalogue with a pipeline more.
func catalogueWith(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../pipelines")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// must asks until there is an answer, and fails the test at one that refuses.
func (p *visited) must(method, path, body string, into any) {
	p.Helper()
	again(p.test, method+" "+path, func(turn int) bool {
		a, err := p.try(turn, method, path, body)
		if err != nil {
			return false
		}
		if a.StatusCode >= 300 || json.Unmarshal(a.body, into) != nil {
			p.Fatalf("%s %s: %s", method, path, a.said())
		}
		return true
	})
}

// reached is how far the schedule says that its jobs have come.
func (p *visited) reached() (value, job string) {
	p.Helper()
	var s struct {
		State struct {
			Value string
			JobID string `json:"job_id"`
		}
	}
	p.must(http.MethodGet, p.schedule, "", &s)
	return s.State.Value, s.State.JobID
}

// order makes a job of the schedule.
func (p *visited) order() (id string) {
	p.Helper()
	var j told
	p.must(http.MethodPost, p.schedule+"/run", "", &j)
	return j.ID
}

// worksOn is the process that runs a job, and any where none does any more.
func (p *visited) worksOn(id string) (victim *node) {
	p.Helper()
	all := p.of("serve")
	if len(all) == 1 {
		return all[0]
	}
	again(p.test, "a process that works on "+id, func(int) bool {
		for _, victim = range all {
			if len(victim.plugins()) > 0 {
				return true
			}
		}
		return p.status(p.test, id).Status == "completed"
	})
	return victim
}

// end waits until a job has ended, and takes what it delivers.
func (p *visited) end(id string) (j told, rows int) {
	p.Helper()
	again(p.test, "the end of "+id, func(turn int) bool {
		a, err := p.try(turn, http.MethodGet, jobsPath+"/"+id, "")
		return err == nil && a.StatusCode == http.StatusOK && json.Unmarshal(a.body, &j) == nil &&
			(j.Status == "completed" || j.Status == "failed" || j.Status == "cancelled")
	})
	if j.Status != "completed" {
		return j, 0
	}
	var body fetched
	again(p.test, "the result of "+id, func(turn int) (done bool) {
		f, err := p.fetch(turn, id)
		body = f
		return err == nil
	})
	if body.sha256 != j.SHA256 {
		p.Fatalf("the result of %s has SHA-256 %s, and was told to have %s", id, body.sha256, j.SHA256)
	}
	delivered := p.Delivered(body.body)
	for _, r := range delivered {
		p.got[r.ID] = r
	}
	p.read += len(delivered)
	return j, len(delivered)
}

// missing are the rows of the table whose last delivered version is not what they are.
func (p *visited) missing() (list []string, all int) {
	p.Helper()
	rows := p.Rows()
	for _, r := range rows {
		if p.got[r.ID] != r {
			list = append(list, fmt.Sprintf("%+v delivered as %+v", r, p.got[r.ID]))
		}
	}
	return list, len(rows)
}

// TestScheduleLeavesNothingOut: a schedule whose pipeline keeps state delivers every row of a table, its last version
// last, whatever is committed late and whenever the processes of its jobs are killed.
func TestScheduleLeavesNothingOut(t *testing.T) {
	t.Parallel()
	t.Run("SQLite, one process", func(t *testing.T) {
		t.Parallel()
		leaveNothingOut(t, topology{serves: 1, jobs: 1}, *stateKills)
	})
	// Where several processes have the record, the lease of a killed one has to end first.
	t.Run("MariaDB, two processes", func(t *testing.T) {
		t.Parallel()
		leaveNothingOut(t, topology{serves: 2, jobs: 1, record: servers.PrivateMariaDB(t)}, max(1, *stateKills/8))
	})
}

func leaveNothingOut(t *testing.T, of topology, kills int) {
	p := follow(t, of)
	p.Insert(200)
	first, rows := p.end(p.order())
	if first.Status != "completed" || rows != 200 {
		t.Fatalf("%+v, %d rows", first, rows)
	}
	usual := first.CompletedAt.Sub(first.CreatedAt)
	value, _ := p.reached()
	var killed, between, again, lost int
	for killed < kills {
		p.Pass(value)
		objects := len(p.stored(t))
		id := p.order()
		ordered := time.Now()
		// Half of them are killed when an object has just been committed, and others at any moment.
		committed, moment := killed%2 == 0, time.Duration(p.Random.Int64N(int64(usual)))
		if committed {
			p.Pass(value) // while it runs
		}
		if t.Failed() {
			return
		}
		victim := p.worksOn(id)
		for ; ; <-time.After(100 * time.Microsecond) {
			there := len(p.stored(t)) > objects
			if there && committed || !committed && time.Since(ordered) > moment || time.Since(ordered) > roundTime {
				break
			}
		}
		victim.kill(t)
		p.begin(t, victim)
		killed++
		job, rows := p.end(id)
		after, by := p.reached()
		switch {
		case job.Status == "completed":
			if job.RetryCount > 0 {
				again++
			}
			if job.RetryCount > 0 && killed%2 == 1 {
				between++
			}
			if rows > 0 && by != id {
				t.Fatalf("the job %s is completed, and the state is of %s", id, by)
			}
		case after != value:
			t.Fatalf("the job %s is %s, and the state went from %s to %s", id, job.Status, value, after)
		default:
			lost++
		}
		if after < value {
			t.Fatalf("the state went back from %s to %s", value, after)
		}
		value = after
	}
	p.CommitAll(value)
	last, rows := p.end(p.order())
	if last.Status != "completed" {
		t.Fatalf("%+v", last)
	}
	missing, all := p.missing()
	if len(missing) > 0 {
		t.Errorf("%d of %d rows are not as they were delivered last: %v", len(missing), all, missing[:min(5, len(missing))])
	}
	if p.Below == 0 || kills > 4 && rows > all/2 {
		t.Errorf("nothing was tried: %d late commits below the state, and the last run read %d of %d rows",
			p.Below, rows, all)
	}
	t.Logf("%d killed: %d jobs were begun again, %d of them with an object that was committed already, and %d ended "+
		"otherwise; %d rows, %d delivered, %d transactions committed below the state",
		killed, again, between, lost, all, p.read, p.Below)
}
