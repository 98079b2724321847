package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// breaking is the connection of a writer that breaks at a statement.
type breaking struct {
	sqlrecord.Conn
	left    atomic.Int64 // statements until then; below 0 it does not break
	runs    bool         // the statement at which it breaks is run all the same: only its answer is lost
	reached atomic.Bool
}

var errBroken = errors.New("the connection is broken")

func (b *breaking) breaks(statement string) bool {
	return statement != "ROLLBACK" && b.left.Load() >= 0 && b.left.Add(-1) < 0
}

func (b *breaking) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	if !b.breaks(statement) {
		return b.Conn.ExecContext(ctx, statement, args...)
	}
	b.reached.Store(true)
	if b.runs {
		_, _ = b.Conn.ExecContext(ctx, statement, args...)
	}
	return nil, errBroken
}

// content is all rows of all tables.
func content(t *testing.T, reading *sql.DB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	query := func(text string, take func(*sql.Rows) error) {
		t.Helper()
		rows, err := reading.Query(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := sqlrecord.Each(rows, take); err != nil {
			t.Fatal(err)
		}
	}
	query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		all[name] = nil
		return err
	})
	for name := range all {
		query(`SELECT * FROM "`+name+`"`, func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			err = rows.Scan(into...)
			all[name] = append(all[name], fmt.Sprint(values...))
			return err
		})
	}
	return all
}

func same(a, b map[string][]string) bool { return maps.EqualFunc(a, b, slices.Equal[[]string]) }

// TestBrokenTransaction breaks each change of jobs at each of its statements, before the statement and after it: nothing
// of it is there then, or at the commit all of it, and the record goes on.
func TestBrokenTransaction(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	by := store.Actor{Who: "key:a"}
	type prepared struct {
		*Store
		now   *atomic.Int64 // seconds after noon
		lease store.Lease   // of the job that runs
	}
	ended := func(event store.JobEvent) func(context.Context, prepared) error {
		return func(ctx context.Context, p prepared) error {
			_, err := p.EndJob(ctx, p.lease, store.Ending{
				Event: event, By: by, Result: store.Result{ObjectKey: "k", ObjectExpires: noon.Add(time.Hour), Manifest: []byte("{}")},
			})
			return err
		}
	}
	order := func(id, customer string) store.NewJob {
		return store.NewJob{By: by, Job: store.Job{ID: id, Customer: customer, Procedure: "p", Request: []byte("{}")}}
	}
	key := &store.Idempotency{Customer: "new", Route: "p", Key: "k", Body: sha256.Sum256(nil), Request: "r"}
	changes := map[string]func(context.Context, prepared) error{
		"create": func(ctx context.Context, p prepared) error {
			n := order("new", "new")
			n.Idempotency, n.Holder = key, "api"
			_, _, _, err := p.CreateJob(ctx, n)
			return err
		},
		"reserve": func(ctx context.Context, p prepared) error { _, err := p.ReserveIdempotency(ctx, *key); return err },
		"claim": func(ctx context.Context, p prepared) error {
			_, _, _, err := p.ClaimJob(ctx, "worker", nil)
			return err
		},
		"renew": func(ctx context.Context, p prepared) error {
			_, err := p.RenewJob(ctx, p.lease, store.Progress{Rows: 1})
			return err
		},
		"complete": ended(store.JobCompleted), "fail": ended(store.JobFailed), "cancel": ended(store.JobCancelled),
		"retry": ended(store.JobRetried), "return": ended(store.JobReturned),
		"cancel what waits": func(ctx context.Context, p prepared) error { _, err := p.CancelJob(ctx, "c", "waits", by); return err },
		"cancel what runs":  func(ctx context.Context, p prepared) error { _, err := p.CancelJob(ctx, "c", "runs", by); return err },
		"recover": func(ctx context.Context, p prepared) error {
			p.now.Store(60)
			_, err := p.RecoverJobs(ctx)
			return err
		},
		"extend": func(ctx context.Context, p prepared) error {
			return p.ExtendObject(ctx, "done", noon.Add(9*time.Hour), store.Audit{What: "link"})
		},
		"expire": func(ctx context.Context, p prepared) error {
			_, err := p.ExpiredObjects(ctx, noon.Add(9*time.Hour), 9)
			return err
		},
		"remove": func(ctx context.Context, p prepared) error { return p.ObjectRemoved(ctx, "done") },
		"sweep":  func(ctx context.Context, p prepared) error { return p.LeftoverSwept(ctx, 1) },
	}
	for name, change := range changes {
		for _, runs := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", runs), func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				s, p := openHere(t), prepared{now: &atomic.Int64{}}
				s.now = func() time.Time { return noon.Add(time.Duration(p.now.Load()) * time.Second) }
				s.passed = func(now time.Time) time.Duration { return now.Sub(noon) }
				p.Store = s
				_, _, _, err := s.CreateJob(ctx, order("done", "c"))
				errs := []error{err}
				_, lease, _, err := s.ClaimJob(ctx, "worker", nil)
				_, endErr := s.EndJob(ctx, lease, store.Ending{Event: store.JobReturned})
				errs = append(errs, err, endErr)
				_, lease, _, err = s.ClaimJob(ctx, "worker", nil)
				_, endErr = s.EndJob(ctx, lease, store.Ending{
					Event: store.JobCompleted, Result: store.Result{ObjectKey: "k", ObjectExpires: noon.Add(time.Hour)},
				})
				errs = append(errs, err, endErr)
				_, _, _, err = s.CreateJob(ctx, order("runs", "c"))
				errs = append(errs, err)
				_, p.lease, _, err = s.ClaimJob(ctx, "worker", nil)
				errs = append(errs, err)
				_, _, _, err = s.CreateJob(ctx, order("waits", "c"))
				if err := errors.Join(append(errs, err)...); err != nil {
					t.Fatal(err)
				}

				breakEach(t, s, runs, func(ctx context.Context) error { return change(ctx, p) })
			})
		}
	}
}

// breakEach has a change of one transaction break at each of its statements.
func breakEach(t *testing.T, s *Store, runs bool, change func(context.Context) error) {
	t.Helper()
	breakIn(t, s, s.writer, s.reading, runs, change)
}

// breakIn does so in the file of a writer.
func breakIn(t *testing.T, s *Store, writer *writer, reading *sql.DB, runs bool, change func(context.Context) error) {
	t.Helper()
	ctx := t.Context()
	broken := &breaking{Conn: writer.conn, runs: runs}
	broken.left.Store(-1)
	dialect := s.dialect()
	writer.tx = sqlrecord.NewTx(context.Background(), broken, &dialect)
	before := content(t, reading)
	statements := 0
	if runs {
		statements = 1 // a transaction that was not begun has no answer that could be lost
	}
	for ; ; statements++ {
		broken.left.Store(int64(statements))
		broken.reached.Store(false)
		err := change(ctx)
		broken.left.Store(-1)
		if !broken.reached.Load() {
			if err != nil {
				t.Fatalf("with nothing broken: %v", err)
			}
			break
		}
		if !fault.Is(err, store.CodeFailed) || !strings.Contains(err.Error(), errBroken.Error()) {
			t.Fatalf("at statement %d: expected %s, got %v", statements, store.CodeFailed, err)
		}
		after := content(t, reading)
		if same(before, after) {
			continue
		}
		// Only a commit whose answer was lost may have made it, and then a retry finds it made.
		if !runs {
			t.Fatalf("at statement %d something is half there:\n%v\nbefore:\n%v", statements, after, before)
		}
		broken.left.Store(int64(statements + 1))
		broken.reached.Store(false)
		_ = change(ctx) // refused, or made again
		broken.left.Store(-1)
		if broken.reached.Load() {
			t.Fatalf("at statement %d something is there, and it was not the last one", statements)
		}
		break
	}
	if statements < 4 { // begin, savepoint, the change, release, commit
		t.Fatalf("the change had %d statements", statements)
	}
	if same(before, content(t, reading)) {
		t.Fatal("the change has changed nothing")
	}
}
