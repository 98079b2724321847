package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// What is measured of jobs.
const (
	// accepted is how many orders are made, by orderers at a time.
	accepted = 2000
	orderers = 4
	// small is how many small extracts, of about so many rows, wait when workers begin.
	small     = 100
	smallRows = 1000
)

// jobsBench measures the jobs of a service, with results in MinIO.
type jobsBench struct {
	*serviceBench
	store *servers.Store

	acceptedIn time.Duration
	orders     []float64 // milliseconds of each
	perSecond  map[int]float64
	record     map[string]float64 // metrics of the record's own benchmarks
}

// The subjects of the large job.
const (
	largeJob = "job"
	runJob   = "run --job"
)

var workerCounts = []int{1, 2, 4}

// runJobs measures jobs.
func (b *bench) runJobs(ctx context.Context, h *harness) error {
	j := &jobsBench{serviceBench: &serviceBench{bench: b, walls: map[string][]time.Duration{}}, perSecond: map[int]float64{}}
	j.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: orderers}}
	if err := j.chooseRange(smallRows); err != nil {
		return err
	}
	say("starting MinIO")
	j.store = servers.PrivateMinIO(h)
	for _, part := range []func(context.Context) error{j.measureAccepted, j.measureWorkers, j.measureLarge, j.measureRecord} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return j.report(os.Stdout)
}

// with starts a service with so many workers on a record of its own, does something with it, and ends it.
func (j *jobsBench) with(ctx context.Context, workers int, state string, do func() error) (err error) {
	j.url = ""
	err = j.begin(ctx, fmt.Sprintf(`
  state: %s
  limits: {rates: {procedures: {requests: 1000000, window: 1s}, polling: {requests: 1000000, window: 1s}}}
  jobs: {workers: %d, time_limit: 1h}
  buckets: {results: {url: %q, access_key_id: "env:STORE_KEY", secret_access_key: "env:STORE_SECRET"}}
  customers: [{id: bench, dsn: "env:CIPHERSTREAM_DSN", bucket: results}]
`, state, workers, j.store.URL(j.store.Bucket())), "STORE_KEY="+j.store.AccessKey(), "STORE_SECRET="+j.store.SecretKey())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.end()) }()
	return do()
}

// ask asks the service for something, and reads its JSON.
func (j *jobsBench) ask(ctx context.Context, method, path string, body any, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, j.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+j.key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Prefer", "wait=50")
	answer, err := j.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.500s", path, answer.Status, said)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(said, into)
}

// benchJob is a job as the service tells of it.
type benchJob struct {
	ID     string `json:"job_id"`
	Status string
	Code   string `json:"error_code"`
	Rows   int64  `json:"total_rows"`
}

// order orders a job, up to a day where one is given.
func (j *jobsBench) order(ctx context.Context, until string) (made benchJob, err error) {
	body := map[string]any{"customer_id": "bench", "mode": "job"}
	if until != "" {
		body["to_date"] = until
	}
	return made, j.ask(ctx, http.MethodPost, "/v1/procedures/appointments", body, &made)
}

// measureAccepted orders jobs that nobody runs.
func (j *jobsBench) measureAccepted(ctx context.Context) error {
	say("orders")
	return j.with(ctx, 0, "accepted", func() error {
		var mu sync.Mutex
		var failed error
		var clients sync.WaitGroup
		begin := time.Now()
		for range orderers {
			clients.Go(func() {
				for range accepted / orderers {
					began := time.Now()
					_, err := j.order(ctx, j.lastDay)
					took := time.Since(began)
					mu.Lock()
					j.orders = append(j.orders, took.Seconds()*1000)
					failed = errors.Join(failed, err)
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		clients.Wait()
		j.acceptedIn = time.Since(begin)
		return failed
	})
}

// measureWorkers has small extracts run, that wait already, by more and more workers.
func (j *jobsBench) measureWorkers(ctx context.Context) error {
	for _, workers := range workerCounts {
		state := fmt.Sprintf("workers-%d", workers)
		err := j.with(ctx, 0, state, func() error {
			for range small {
				if _, err := j.order(ctx, j.lastDay); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = j.with(ctx, workers, state, func() error {
			begin := time.Now()
			for {
				var list struct{ Total int }
				if err := j.ask(ctx, http.MethodGet, "/v1/customers/bench/jobs?limit=1&status=completed", nil, &list); err != nil {
					return err
				}
				if list.Total == small {
					break
				}
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
				if time.Since(begin) > 10*time.Minute {
					return fmt.Errorf("%d of %d jobs are completed after 10 minutes", list.Total, small)
				}
			}
			j.perSecond[workers] = small / time.Since(begin).Seconds()
			return nil
		})
		if err != nil {
			return err
		}
		say("%d workers: %.1f jobs/s", workers, j.perSecond[workers])
	}
	return nil
}

// measureLarge has all appointments delivered to the store, by a job and by the command, by turns.
func (j *jobsBench) measureLarge(ctx context.Context) error {
	return j.with(ctx, 1, "large", func() error {
		return j.byTurns("large jobs", []turn{
			{largeJob, func(bool) error { return j.large(ctx) }},
			{runJob, func(bool) error { return j.runToStore(ctx) }},
		})
	})
}

// large orders a job and waits for its end.
func (j *jobsBench) large(ctx context.Context) error {
	made, err := j.order(ctx, "")
	for err == nil && (made.Status == "queued" || made.Status == "running") {
		err = j.ask(ctx, http.MethodGet, "/v1/customers/bench/jobs/"+made.ID, nil, &made)
	}
	if err == nil && (made.Status != "completed" || made.Rows != j.rows) {
		err = fmt.Errorf("it is %s (%s) with %d rows", made.Status, made.Code, made.Rows)
	}
	return err
}

// runToStore does the same with the command.
func (j *jobsBench) runToStore(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, j.program, "run", "appointments", "-f", "ndjson", "--job", "--bucket", j.store.URL(j.store.Bucket()), "--progress", "none")
	cmd.Env = append(j.environment(), "AWS_ACCESS_KEY_ID="+j.store.AccessKey(), "AWS_SECRET_ACCESS_KEY="+j.store.SecretKey())
	_, err := j.measureCommand(ctx, cmd)
	return err
}

// recordMetric is a line of a benchmark of the record.
var recordMetric = regexp.MustCompile(`(?m)^Benchmark(\w+)(?:/(\w+))?-\d+\s.*$`)

// measureRecord runs the benchmarks of the record in SQLite: they list 1,000,000 jobs of 1,000 customers, and take jobs.
func (j *jobsBench) measureRecord(ctx context.Context) error {
	say("the record: lists of 1,000,000 jobs, and claims")
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "gms_pure_go,grpcnotrace", "-run", "^$", "-bench", "^Benchmark(List|Claim)$", "-benchtime", "2000x",
		"github.com/cipherstream/cipherstream/engine/service/store/sqlite")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("the record's benchmarks: %w\n%s", err, out)
	}
	j.record = recordMetrics(string(out))
	for _, name := range []string{"List/any ms/p99", "List/largest ms/p99", "Claim ms/p99", "Claim ns/op"} {
		if _, there := j.record[name]; !there {
			return fmt.Errorf("the record's benchmarks say nothing of %s:\n%s", name, out)
		}
	}
	return nil
}

// recordMetrics are the metrics of benchmarks, by names such as "List/any ms/p99".
func recordMetrics(out string) map[string]float64 {
	metrics := map[string]float64{}
	for _, line := range recordMetric.FindAllStringSubmatch(out, -1) {
		name := line[1]
		if line[2] != "" {
			name += "/" + line[2]
		}
		fields := strings.Fields(line[0])
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				metrics[name+" "+fields[i+1]] = value
			}
		}
	}
	return metrics
}

func (j *jobsBench) report(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "\n| jobs | |\n|---|--:|\n")
	fmt.Fprintf(&out, "| accepted, of %d clients, jobs/s | %.0f |\n", orderers, accepted/j.acceptedIn.Seconds())
	fmt.Fprintf(&out, "| taken and handed back, jobs/s | %.0f |\n", 1e9/j.record["Claim ns/op"])
	for _, workers := range workerCounts {
		fmt.Fprintf(&out, "| small extracts (about %s rows) with %d workers, jobs/s | %.1f |\n", grouped(min(smallRows, j.rows)), workers, j.perSecond[workers])
	}
	for _, name := range []string{largeJob, runJob} {
		fmt.Fprintf(&out, "| %s of %s rows to MinIO, s | %.2f |\n", name, grouped(j.rows), medianOf(j.walls[name]))
	}
	fmt.Fprintf(&out, "\n| aim | | measured | |\n|---|--:|--:|---|\n")
	for _, a := range []struct {
		what            string
		limit, measured float64
	}{
		{"accepted, p99 ms", 20, quantile(j.orders, .99)},
		{"list with filter and total of 1,000,000 jobs, p99 ms", 50, max(j.record["List/any ms/p99"], j.record["List/largest ms/p99"])},
		{"one large job: wall ÷ run --job", 1.05, medianRatio(j.walls[largeJob], j.walls[runJob])},
	} {
		verdict := "reached"
		if a.measured > a.limit {
			verdict = "**missed**"
		}
		fmt.Fprintf(&out, "| %s | ≤ %.2f | %.2f | %s |\n", a.what, a.limit, a.measured, verdict)
	}
	_, err := io.WriteString(w, out.String())
	return err
}
