package record

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func ordered(id string) store.NewJob {
	return store.NewJob{Job: store.Job{ID: id, Customer: "c", Procedure: "visits", Type: "extract", Reason: "requested"}}
}

// query is a number that the server gives.
func query(t *testing.T, on *servers.Server, database, text string) (n int64) {
	t.Helper()
	if err := on.Open(database).QueryRow(text).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEachJobOnce: processes that claim at the same moment have each job once, and none is left over.
func TestEachJobOnce(t *testing.T) {
	const jobs, claimers = 500, 4
	eachServer(t, func(t *testing.T, on *servers.Server) {
		ctx, url := t.Context(), on.DSN(on.Database())
		two := []*mysql.Store{open(t, url, mysql.Options{}), open(t, url, mysql.Options{})}
		var wg sync.WaitGroup
		for g := range claimers {
			wg.Go(func() {
				for i := range jobs / claimers {
					n := ordered(fmt.Sprintf("j%d", g*jobs/claimers+i))
					n.Job.Customer = fmt.Sprint("c", i%3)
					if _, _, _, err := two[g%2].CreateJob(ctx, n); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var mu sync.Mutex
		taken := map[string]int{}
		for g := range claimers {
			wg.Go(func() {
				for {
					j, lease, ok, err := two[g%2].ClaimJob(ctx, fmt.Sprint("w", g), nil)
					if err != nil {
						t.Error(err)
						return
					}
					if !ok {
						return
					}
					mu.Lock()
					taken[j.ID]++
					mu.Unlock()
					if _, err := two[(g+1)%2].EndJob(ctx, lease, store.Ending{Event: store.JobFailed, ErrorCode: "X"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		// A claimer may find the last jobs in the hands of another, which then gives them up: nobody does here.
		for id, n := range taken {
			if n != 1 {
				t.Errorf("%s was claimed %d times", id, n)
			}
		}
		if len(taken) != jobs {
			t.Errorf("%d jobs were claimed, want %d", len(taken), jobs)
		}
		// What customers are told of has no gaps: who reads on from one event misses none.
		events, err := two[0].Outbox(ctx, 0, jobs+1)
		if err != nil || len(events) != jobs || events[jobs-1].Seq != jobs {
			t.Errorf("the outbox has %d events: %v", len(events), err)
		}
	})
}

// TestEventsInOrder: whoever reads the outbox from the last event on that it has seen misses none, though many are made at
// the same moment.
func TestEventsInOrder(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		const jobs, of = 120, 6
		ctx := t.Context()
		s := open(t, on.DSN(on.Database()), mysql.Options{})
		var wg sync.WaitGroup
		var ended atomic.Bool
		for g := range of {
			wg.Go(func() {
				for i := range jobs / of {
					n := ordered(fmt.Sprintf("j%d-%d", g, i))
					n.Job.Customer = fmt.Sprint("c", g)
					if _, _, _, err := s.CreateJob(ctx, n); err != nil {
						t.Error(err)
					}
					if _, err := s.CancelJob(ctx, n.Job.Customer, n.Job.ID, store.Actor{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen, last := 0, int64(0)
		var reader sync.WaitGroup
		reader.Go(func() {
			for {
				over := ended.Load()
				events, err := s.Outbox(ctx, last, 1000)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					seen, last = seen+1, e.Seq
				}
				if over && len(events) == 0 {
					return
				}
			}
		})
		wg.Wait()
		ended.Store(true)
		reader.Wait()
		if seen != jobs {
			t.Errorf("the reader has seen %d of %d events", seen, jobs)
		}
	})
}

// TestOneJobOfManyOrders: equal orders with one key, over two processes, make one job.
func TestOneJobOfManyOrders(t *testing.T) {
	const orders, of = 1000, 20
	eachServer(t, func(t *testing.T, on *servers.Server) {
		ctx, url := t.Context(), on.DSN(on.Database())
		two := []*mysql.Store{open(t, url, mysql.Options{}), open(t, url, mysql.Options{})}
		var made, replayed atomic.Int64
		var wg sync.WaitGroup
		ids := make(chan string, orders)
		for g := range of {
			wg.Go(func() {
				for i := range orders / of {
					n := ordered(fmt.Sprintf("j%d-%d", g, i))
					n.Idempotency = &store.Idempotency{Customer: "c", Route: "jobs", Key: "once", Body: sha256.Sum256([]byte("x")), Request: n.Job.ID}
					j, _, again, err := two[g%2].CreateJob(ctx, n)
					switch {
					case err != nil:
						t.Error(err)
					case again:
						replayed.Add(1)
					default:
						made.Add(1)
					}
					ids <- j.ID
				}
			})
		}
		wg.Wait()
		close(ids)
		var all []string
		for id := range ids {
			all = append(all, id)
		}
		slices.Sort(all)
		if all = slices.Compact(all); len(all) != 1 || made.Load() != 1 || replayed.Load() != orders-1 {
			t.Errorf("%d orders were made, %d replayed, of the jobs %.5v", made.Load(), replayed.Load(), all)
		}
		if n := query(t, on, on.Database(), "SELECT count(*) FROM jobs"); n != 1 {
			t.Errorf("there are %d jobs", n)
		}
	})
}

// TestBrokenTransactions: a connection that breaks at any statement of a change, before the server has it or before its
// answer comes, leaves the change whole or not made. Before COMMIT it is made again; at COMMIT it is not known.
func TestBrokenTransactions(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		between := startProxy(t, on.Port())
		address := strings.Replace(on.DSN(on.Database()), fmt.Sprint(":", on.Port(), "/"), fmt.Sprint(":", between.port(), "/"), 1)
		s := open(t, address+"?tls=disabled", mysql.Options{})
		ctx := t.Context()
		db := on.Open(on.Database())
		count := func(text, id string) (n int) {
			t.Helper()
			if err := db.QueryRow(text, id).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		made := int64(0)
		for nth := 1; ; nth++ {
			statement := ""
			for _, answered := range []bool{false, true} {
				id := fmt.Sprintf("j%d-%v", nth, answered)
				n := ordered(id)
				n.Idempotency = &store.Idempotency{Customer: "c", Route: "jobs", Key: id, Request: id}
				between.arm(nth, answered)
				_, _, _, err := s.CreateJob(ctx, n)
				statement = between.disarm()
				there := count("SELECT count(*) FROM jobs WHERE id = ?", id)
				made += int64(there)
				for what, text := range map[string]string{
					"transitions":      "SELECT count(*) FROM job_transitions WHERE job = ?",
					"audit rows":       "SELECT count(*) FROM audit WHERE run_id = ?",
					"idempotency keys": "SELECT count(*) FROM idempotency WHERE job = ?",
				} {
					if n := count(text, id); n != there {
						t.Errorf("cut at %q (answered %v): %d jobs and %d %s", statement, answered, there, n, what)
					}
				}
				switch {
				case statement != "COMMIT" && (err != nil || there != 1):
					t.Errorf("cut at %q (answered %v): %d jobs, %v", statement, answered, there, err)
				case statement == "COMMIT" && (!fault.Is(err, store.CodeFailed) || (there == 1) != answered):
					t.Errorf("cut at COMMIT (answered %v): %d jobs, %v", answered, there, err)
				}
			}
			if statement == "COMMIT" {
				if nth < 7 {
					t.Errorf("the change has %d statements only", nth)
				}
				break
			}
			if statement == "" {
				t.Fatalf("nothing was cut at statement %d, and COMMIT was not seen", nth)
			}
		}
		if n := query(t, on, on.Database(), "SELECT queued FROM shares WHERE customer = 'c'"); n != made {
			t.Errorf("%d jobs wait, and the customer's share says %d", made, n)
		}
	})
}

// TestKilledServer: whatever was acknowledged is there when the server comes back, and what was being made is there whole or
// not at all; the record goes on by itself.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	const rounds, of = 2, 4
	for name, private := range map[string]func(testing.TB, ...string) *servers.Server{
		"mysql": servers.PrivateMySQL, "mariadb": servers.PrivateMariaDB,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := private(t, "--innodb-flush-log-at-trx-commit=1")
			s := open(t, on.DSN(on.Database()), mysql.Options{})
			ctx := t.Context()
			var acknowledged sync.Map
			for round := range rounds {
				var wg sync.WaitGroup
				var halt atomic.Bool
				busy := make(chan struct{}, of*1000)
				for g := range of {
					wg.Go(func() {
						for i := 0; !halt.Load(); i++ {
							id := fmt.Sprintf("j%d-%d-%d", round, g, i)
							short, cancel := context.WithTimeout(ctx, time.Second)
							if _, _, _, err := s.CreateJob(short, ordered(id)); err == nil {
								acknowledged.Store(id, true)
								select {
								case busy <- struct{}{}:
								default:
								}
							} else if !errors.Is(err, context.DeadlineExceeded) && !fault.Is(err, store.CodeFailed) && !fault.Is(err, store.CodeServer) {
								t.Error(err)
							}
							cancel()
						}
					})
				}
				for range 20 {
					<-busy
				}
				on.Kill()
				halt.Store(true)
				wg.Wait()
				on.Start()
			}
			// The first change of a record whose connections are all dead is made.
			if _, _, _, err := s.CreateJob(ctx, ordered("after")); err != nil {
				t.Fatal(err)
			}
			acknowledged.Range(func(id, _ any) bool {
				if _, err := s.Job(ctx, "c", id.(string)); err != nil {
					t.Errorf("%v was acknowledged: %v", id, err)
				}
				return true
			})
			db := on.Database()
			jobs := query(t, on, db, "SELECT count(*) FROM jobs")
			for what, text := range map[string]string{
				"transitions": "SELECT count(*) FROM job_transitions", "audit rows": "SELECT count(*) FROM audit",
				"in the share": "SELECT queued FROM shares",
			} {
				if n := query(t, on, db, text); n != jobs {
					t.Errorf("%d jobs and %d %s", jobs, n, what)
				}
			}
		})
	}
}
