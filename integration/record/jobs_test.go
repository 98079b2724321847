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

// consistent checks what holds of a record at every moment: each change of a job is there with its transition, its row of
// the audit, its event and the share of its customer.
func consistent(t *testing.T, on *servers.Server) {
	t.Helper()
	for what, text := range map[string]string{
		"jobs have another number of transitions": `SELECT count(*) FROM jobs j WHERE j.transition <>
			(SELECT count(*) FROM job_transitions t WHERE t.job = j.id)`,
		"transitions have no job": "SELECT count(*) FROM job_transitions t WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = t.job)",
		"jobs are not in the state of their last transition": `SELECT count(*) FROM jobs j JOIN job_transitions t
			ON t.job = j.id AND t.number = j.transition WHERE t.to_status <> j.status`,
		"jobs have another number of rows in the audit": `SELECT count(*) FROM jobs j WHERE j.transition <>
			(SELECT count(*) FROM audit a WHERE a.run_id = j.id AND a.what <> 'job.cancel_asked')`,
		"rows of the audit have no job": "SELECT count(*) FROM audit a WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = a.run_id)",
		"jobs that ended have another number of events than one": `SELECT count(*) FROM jobs j WHERE
			(j.completed_at > 0) <> (SELECT count(*) FROM outbox o WHERE o.job = j.id AND o.transition = j.transition)`,
		"customers have another share": `SELECT count(*) FROM shares s WHERE
			queued <> (SELECT count(*) FROM jobs j WHERE j.customer = s.customer AND j.status = 'queued') OR
			running <> (SELECT count(*) FROM jobs j WHERE j.customer = s.customer AND j.status = 'running')`,
		"keys stand for no job": "SELECT count(*) FROM idempotency i WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = i.job)",
		"events are missing":    "SELECT coalesce(max(seq), 0) - count(*) FROM outbox",
	} {
		if n := query(t, on, on.Database(), text); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
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
		consistent(t, on)
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
		made := func(id string, holder string) store.Lease {
			t.Helper()
			n := ordered(id)
			n.Holder = holder
			_, lease, _, err := s.CreateJob(ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			return lease
		}
		made("first", "") // its customer has a share from then on
		for _, c := range []struct {
			name string
			// prepare makes what the change of a name needs, and done says whether the change was made.
			prepare func(id string) (change func() error)
			done    string
		}{
			{"create", func(id string) func() error {
				n := ordered(id)
				n.Idempotency = &store.Idempotency{Customer: "c", Route: "jobs", Key: id, Request: id}
				return func() error { _, _, _, err := s.CreateJob(ctx, n); return err }
			}, "SELECT count(*) FROM jobs WHERE id = ?"},
			{"claim", func(id string) func() error {
				made(id, "")
				return func() error { _, _, _, err := s.ClaimJob(ctx, id, []string{"other"}); return err }
			}, "SELECT count(*) FROM jobs WHERE holder = ?"},
			{"complete", func(id string) func() error {
				lease := made(id, "w")
				return func() error {
					_, err := s.EndJob(ctx, lease, store.Ending{Event: store.JobCompleted, Result: store.Result{ObjectKey: "k"}})
					return err
				}
			}, "SELECT count(*) FROM jobs WHERE id = ? AND status = 'completed'"},
			{"fail", func(id string) func() error {
				lease := made(id, "w")
				return func() error {
					_, err := s.EndJob(ctx, lease, store.Ending{Event: store.JobFailed, Result: store.Result{Bucket: "b"}})
					return err
				}
			}, "SELECT count(*) = 2 FROM leftovers WHERE job = ?"},
		} {
			for nth, last := 1, false; !last; nth++ {
				for _, answered := range []bool{false, true} {
					id := fmt.Sprintf("%s%d-%v", c.name, nth, answered)
					change := c.prepare(id)
					between.arm(nth, answered)
					err := change()
					statement := between.disarm()
					there := 0
					if err := on.Open(on.Database()).QueryRow(c.done, id).Scan(&there); err != nil {
						t.Fatal(err)
					}
					switch last = statement == "COMMIT"; {
					case statement == "":
						t.Fatalf("%s: nothing was cut at statement %d, and COMMIT was not seen", c.name, nth)
					case last && (!fault.Is(err, store.CodeFailed) || (there == 1) != answered || nth < 5):
						t.Errorf("%s: cut at COMMIT, statement %d (answered %v): made %d, %v", c.name, nth, answered, there, err)
					case !last && (err != nil || there != 1):
						t.Errorf("%s: cut at %.60q (answered %v): made %d, %v", c.name, statement, answered, there, err)
					}
				}
			}
			// A claim that was not made has left its job.
			if _, _, _, err := s.ClaimJob(ctx, "w", nil); err != nil {
				t.Fatal(err)
			}
		}
		consistent(t, on)
	})
}

// TestRefusedCommit: a COMMIT that the server answers with a deadlock, as the nodes of a Galera cluster do when another one
// was faster, or that finds a server that has become a replica, is a change that was not made, and is made again.
func TestRefusedCommit(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		between := startProxy(t, on.Port())
		address := strings.Replace(on.DSN(on.Database()), fmt.Sprint(":", on.Port(), "/"), fmt.Sprint(":", between.port(), "/"), 1)
		s := open(t, address+"?tls=disabled", mysql.Options{})
		for _, number := range []uint16{1205, 1213, 3101, 1290, 1836} {
			between.refuse(number)
			id := fmt.Sprint("j", number)
			if _, _, _, err := s.CreateJob(t.Context(), ordered(id)); err != nil {
				t.Errorf("error %d: %v", number, err)
			}
			if between.disarm() == "" {
				t.Errorf("error %d: no COMMIT was refused", number)
			}
			if _, err := s.Job(t.Context(), "c", id); err != nil {
				t.Errorf("error %d: %v", number, err)
			}
		}
		// Of any other it is not known, and it is not made twice.
		between.refuse(1180)
		if _, _, _, err := s.CreateJob(t.Context(), ordered("unknown")); !fault.Is(err, store.CodeFailed) {
			t.Errorf("expected %s, got %v", store.CodeFailed, err)
		}
		between.disarm()
		consistent(t, on)
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
								acknowledged.Store(id, store.Queued)
								select {
								case busy <- struct{}{}:
								default:
								}
							} else {
								expected(t, err)
							}
							j, lease, ok, err := s.ClaimJob(short, "w", nil)
							expected(t, err)
							if ok {
								if _, err := s.EndJob(short, lease, store.Ending{Event: store.JobFailed}); err == nil {
									acknowledged.Store(j.ID, store.Failed)
								} else {
									expected(t, err)
								}
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
			acknowledged.Range(func(id, status any) bool {
				j, err := s.Job(ctx, "c", id.(string))
				if err != nil || status == store.Failed && j.Status != store.Failed {
					t.Errorf("%v was acknowledged as %v, and is %v, %v", id, status, j.Status, err)
				}
				return true
			})
			consistent(t, on)
		})
	}
}

// expected are the errors of a server that is not there.
func expected(t *testing.T, err error) {
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !fault.Is(err, store.CodeFailed) && !fault.Is(err, store.CodeServer) {
		t.Error(err)
	}
}
