package sqlite_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
)

// manyJobs opens a record of so many ended jobs of 1,000 customers, the first of which has a tenth of them.
func manyJobs(b *testing.B, jobs int) *sqlite.Store {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "data")
	if err := open(b, dir).Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "record.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`
		WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
		INSERT INTO jobs SELECT n, format('appointments_%d_%08x', n, n), 'c' || iif(n % 10 = 0, 0, abs(random()) % 1000), 'p' || n % 40, 'extract', 0,
			CASE WHEN n % 50 = 0 THEN 'failed' WHEN n % 51 = 0 THEN 'cancelled' ELSE 'completed' END,
			'requested', CAST('{"mode":"job","from_date":"2026-01-01"}' AS BLOB), 'ndjson', 'gzip', 0, '2026-01-01', '2026-01-31', 'All', '',
			'req_0123456789', 'key_0123', '192.0.2.1', '', ?2 + n * 1000000, ?2 + n * 1000000, ?2 + n * 1000000 + 1, ?2 + (n * 7919 % ?1) * 1000000, 0,
			1, 1, 3, n, n, n, n, 0, '', '', '', 'main', '', 'appointments.ndjson.gz', 'application/gzip', n, hex(randomblob(32)), n, '',
			zeroblob(600), 0, 0.0, 0.0, 0, 0, '', '', 0, 0, 0 FROM numbers`, jobs, noon.UnixMicro()); err != nil {
		b.Fatal(err)
	}
	return open(b, dir)
}

// slowest is the time that 99 of 100 are below.
func slowest(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)*99/100]) / float64(time.Millisecond)
}

// BenchmarkList lists pages with their totals: what anybody may ask of 1,000,000 jobs.
func BenchmarkList(b *testing.B) {
	const jobs = 1_000_000
	s := manyJobs(b, jobs)
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name     string
		customer func() string
	}{
		{"any", func() string { return fmt.Sprint("c", random.IntN(1000)) }},
		{"largest", func() string { return "c0" }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				f := store.JobFilter{Customer: c.customer(), Limit: 1 + random.IntN(100), Offset: int64(random.IntN(500))}
				f.Sort = []store.JobSort{store.CreatedDesc, store.CreatedAsc, store.UpdatedDesc, store.UpdatedAsc}[random.IntN(4)]
				f.Status = []store.Status{"", store.Completed, store.Failed, store.Running}[random.IntN(4)]
				if random.IntN(2) == 0 {
					f.Procedure = fmt.Sprint("p", random.IntN(40))
				}
				if random.IntN(2) == 0 {
					f.From = noon.Add(time.Duration(random.IntN(jobs)) * time.Second)
					f.To = f.From.Add(24 * time.Hour)
				}
				began := time.Now()
				if _, _, err := s.Jobs(b.Context(), f); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(began))
			}
			b.ReportMetric(slowest(times), "ms/p99")
		})
	}
}

// BenchmarkCreateJob shows how fast orders are accepted: so many at a time.
func BenchmarkCreateJob(b *testing.B) {
	for _, together := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(together), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "data"))
			times := make([][]time.Duration, together)
			var wg sync.WaitGroup
			for g := range together {
				wg.Go(func() {
					for i := range b.N/together + 1 {
						began := time.Now()
						if _, _, _, err := s.CreateJob(b.Context(), order(fmt.Sprintf("%d-%d", g, i), fmt.Sprint("c", i%100))); err != nil {
							b.Error(err)
							return
						}
						times[g] = append(times[g], time.Since(began))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(slowest(slices.Concat(times...)), "ms/p99")
		})
	}
}

// BenchmarkClaim takes and ends jobs, where many of one customer wait.
func BenchmarkClaim(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "data"))
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 10_000 / 64 {
				if _, _, _, err := s.CreateJob(b.Context(), order(fmt.Sprintf("%d-%d", g, i), "c")); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var times []time.Duration
	for b.Loop() {
		began := time.Now()
		_, lease, ok, err := s.ClaimJob(b.Context(), "worker", nil)
		if err != nil || !ok {
			b.Fatal(ok, err)
		}
		times = append(times, time.Since(began))
		if _, err := s.EndJob(b.Context(), lease, store.Ending{Event: store.JobReturned}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(slowest(times), "ms/p99")
}

func order(id, customer string) store.NewJob {
	return store.NewJob{Job: store.Job{ID: id, Customer: customer, Procedure: "p", Type: "extract", Request: []byte(`{"mode":"job"}`)}}
}
