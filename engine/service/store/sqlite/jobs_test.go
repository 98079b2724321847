package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
)

var rounds = flag.Int("rounds", 10, "how often the record is killed, and loses its power")

// jobsVariable has this test binary be a service with jobs, with the data directory that it names; with endVariable it
// kills itself after so many.
const (
	jobsVariable = "SQLITE_TEST_JOBS"
	endVariable  = "SQLITE_TEST_END"
)

// childOfJobs is a service that makes, takes, ends and cancels jobs until it is killed. It says what was acknowledged, a
// line each: "made ID", and "ID STATUS" of an end.
func childOfJobs(dir string) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, dir, nil)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("open")
	say := func(err error, line string) {
		if err != nil {
			line = "error " + err.Error()
		}
		_, _ = os.Stdout.WriteString(line + "\n") // in one write, and before it nothing is said
	}
	if _, err := s.RecoverJobs(ctx); err != nil {
		say(err, "")
	}
	end, _ := strconv.ParseInt(os.Getenv(endVariable), 10, 64) // 0 is never
	var made atomic.Int64
	for g := range 4 {
		go func() {
			random := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(g)))
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				n := order(id, fmt.Sprint("c", random.IntN(3)))
				_, _, _, err := s.CreateJob(ctx, n)
				say(err, "made "+id)
				if made.Add(1) == end {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
				j, lease, ok, err := s.ClaimJob(ctx, fmt.Sprint(g), nil)
				if err != nil || !ok {
					say(err, "idle")
					continue
				}
				if random.IntN(4) == 0 {
					_, err := s.CancelJob(ctx, j.Customer, j.ID, store.Actor{})
					say(err, "asked "+j.ID)
				}
				event := []store.JobEvent{store.JobCompleted, store.JobFailed, store.JobRetried, store.JobReturned, store.JobCompleted, ""}[random.IntN(6)]
				if event == "" {
					continue // its worker is lost
				}
				j, err = s.EndJob(ctx, lease, store.Ending{Event: event, Result: store.Result{ObjectKey: "key of " + j.ID}})
				say(err, fmt.Sprint(j.ID, " ", j.Status))
			}
		}()
	}
	select {}
}

// told is what a service has acknowledged.
type told struct {
	made  map[string]bool
	ended map[string]store.Status
}

func (a *told) hear(t *testing.T, line string) {
	t.Helper()
	first, second, _ := strings.Cut(line, " ")
	switch first {
	case "error":
		t.Fatalf("the service says %q", line)
	case "made":
		a.made[second] = true
	case "asked", "idle", "open":
	default:
		if status := store.Status(second); status.Ended() {
			a.ended[first] = status
		}
	}
}

// check opens the record of a service that has ended, and holds it against what it has acknowledged, and against itself.
func (a *told) check(t *testing.T, dir string) (err error) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	db := raw(t, dir)
	defer db.Close()
	ask := func(query string) (lines []string) {
		rows, queryErr := db.Query(query)
		if queryErr != nil {
			err = errors.Join(err, queryErr)
			return nil
		}
		defer rows.Close()
		for rows.Next() {
			var line sql.NullString
			err = errors.Join(err, rows.Scan(&line))
			lines = append(lines, line.String)
		}
		err = errors.Join(err, rows.Err())
		return lines
	}
	if result := ask("PRAGMA integrity_check"); err != nil || len(result) != 1 || result[0] != "ok" {
		return fmt.Errorf("the database is %q: %w", result, err)
	}
	for what, query := range contradictions {
		if wrong := ask(query); err != nil || len(wrong) > 0 {
			return fmt.Errorf("%s: %v: %w", what, wrong, err)
		}
	}
	there := map[string]store.Status{}
	for _, line := range ask("SELECT id || ' ' || status FROM jobs") {
		id, status, _ := strings.Cut(line, " ")
		there[id] = store.Status(status)
	}
	for id := range a.made {
		if there[id] == "" {
			return fmt.Errorf("the job %s was acknowledged, and %w", id, errLost)
		}
	}
	for id, status := range a.ended {
		if there[id] != status {
			return fmt.Errorf("the job %s has ended as %s, and is %q", id, status, there[id])
		}
	}
	// What was running is run again, or has been begun often enough.
	if _, err := s.RecoverJobs(t.Context()); err != nil {
		return err
	}
	if running := ask("SELECT id FROM jobs WHERE status = 'running'"); len(running) > 0 {
		return fmt.Errorf("jobs that nobody runs, and nobody takes: %v", running)
	}
	return err
}

var errLost = errors.New("is not there")

// contradictions are what no record may have.
var contradictions = map[string]string{
	"jobs whose transitions are not complete": `SELECT id FROM jobs
		WHERE transition <> (SELECT count(*) FROM job_transitions WHERE job = id)
		OR transition <> (SELECT max(number) FROM job_transitions WHERE job = id)`,
	"jobs whose last transition is another": `SELECT id FROM jobs j WHERE status <>
		(SELECT to_status FROM job_transitions WHERE job = j.id AND number = j.transition)`,
	"jobs whose audit is not complete": `SELECT id FROM jobs j WHERE transition <>
		(SELECT count(*) FROM audit WHERE customer = j.customer AND run_id = j.id AND what <> 'job.cancel_asked')`,
	"jobs with none, or too many events": `SELECT id FROM jobs j
		LEFT JOIN (SELECT job, count(*) AS told, max(event) AS event FROM outbox GROUP BY job) o ON o.job = j.id
		WHERE CASE WHEN status IN ('queued', 'running') THEN told IS NOT NULL ELSE told IS NOT 1 OR event <> 'job.' || status END`,
	"events of no job":  "SELECT job FROM outbox WHERE job NOT IN (SELECT id FROM jobs)",
	"audit of no job":   "SELECT run_id FROM audit WHERE what LIKE 'job.%' AND run_id NOT IN (SELECT id FROM jobs)",
	"objects of no end": "SELECT id FROM jobs WHERE object_key <> '' AND status <> 'completed'",
	"shares that are wrong": `SELECT customer FROM shares s
		WHERE queued <> (SELECT count(*) FROM jobs j WHERE j.customer = s.customer AND status = 'queued')
		OR running <> (SELECT count(*) FROM jobs j WHERE j.customer = s.customer AND status = 'running')`,
}

// TestKilledWithJobs kills services in the midst of jobs: each that was acknowledged is there, as it was said to be, and
// transitions, audit, outbox and shares agree with it.
func TestKilledWithJobs(t *testing.T) {
	t.Parallel()
	dir, said := dataDir(t), told{map[string]bool{}, map[string]store.Status{}}
	for range *rounds {
		cmd, says := startChildOf(t, jobsVariable, dir)
		for range 1 + rand.IntN(80) {
			line, err := says.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			said.hear(t, strings.TrimSpace(line))
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(says)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(rest)) {
			if line, whole := strings.CutSuffix(line, "\n"); whole {
				said.hear(t, line)
			}
		}
		_ = cmd.Wait() // it was killed
		if err := said.check(t, dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(said.made) < *rounds || len(said.ended) == 0 {
		t.Fatalf("only %d jobs were made, and %d have ended", len(said.made), len(said.ended))
	}
}

// TestLeasesEndWithTheProcess: a record that is opened has no job that somebody runs, whatever the clock says, and
// nothing waits by the clock of a process that is gone.
func TestLeasesEndWithTheProcess(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), dataDir(t)
	s := open(t, dir)
	for _, id := range []string{"runs", "waits"} {
		if _, _, _, err := s.CreateJob(ctx, order(id, id)); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := claimed(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	waits, err := claimed(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.EndJob(ctx, waits, store.Ending{Event: store.JobRetried, Delay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openAt(t, dir, func() time.Time { return noon.Add(-24 * time.Hour) })
	if _, err := again.RenewJob(ctx, runs, store.Progress{}); err == nil {
		t.Fatal("a lease has outlived its process")
	}
	recovered, err := again.RecoverJobs(ctx)
	if err != nil || len(recovered) != 1 || recovered[0].ID != "runs" || recovered[0].Status != store.Queued {
		t.Fatalf("recovered were %+v, %v", recovered, err)
	}
	for range 2 {
		lease, err := claimed(ctx, again)
		if err != nil {
			t.Fatal(err)
		}
		if lease.Server == runs.Server {
			t.Errorf("%s has a lease of the server before", lease.Job)
		}
	}
	// The old one is refused though holder and number are the same as they were.
	if _, err := again.EndJob(ctx, runs, store.Ending{Event: store.JobCompleted}); err == nil {
		t.Fatal("a lease of a process that is gone was taken")
	}
}

// claimed takes the next job.
func claimed(ctx context.Context, s *sqlite.Store) (store.Lease, error) {
	_, lease, ok, err := s.ClaimJob(ctx, "worker", nil)
	if err == nil && !ok {
		err = fmt.Errorf("there is no job")
	}
	return lease, err
}
