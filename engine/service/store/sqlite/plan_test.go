package sqlite

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
)

// listening is the connection of a writer that keeps the statements that it is given.
type listening struct {
	sqlrecord.Conn
	mu   sync.Mutex
	said map[string][]any
}

func (l *listening) keep(statement string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said[statement] = args
}

func (l *listening) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	l.keep(statement, args)
	return l.Conn.ExecContext(ctx, statement, args...)
}

func (l *listening) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	l.keep(query, args)
	return l.Conn.QueryContext(ctx, query, args...)
}

func (l *listening) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	l.keep(query, args)
	return l.Conn.QueryRowContext(ctx, query, args...)
}

// TestNothingIsScanned: what is done for each job, and again and again, looks at none of the others, and sorts none.
func TestNothingIsScanned(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), openHere(t)
	heard := &listening{Conn: s.writer.conn, said: map[string][]any{}}
	dialect := s.dialect()
	s.writer.tx = sqlrecord.NewTx(context.Background(), heard, &dialect)
	for _, event := range []store.JobEvent{store.JobCompleted, store.JobRetried, ""} {
		_, _, _, err := s.CreateJob(ctx, store.NewJob{
			Job:         store.Job{ID: "job " + string(event), Customer: "c", Procedure: "p"},
			Idempotency: &store.Idempotency{Customer: "c", Key: string(event)},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, lease, _, err := s.ClaimJob(ctx, "worker", []string{"d"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.RenewJob(ctx, lease, store.Progress{}); err != nil {
			t.Fatal(err)
		}
		if event == "" {
			continue
		}
		result := store.Result{ObjectKey: "k", ObjectExpires: time.Now()}
		if _, err := s.EndJob(ctx, lease, store.Ending{Event: event, Result: result, Delay: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	s.passed = func(time.Time) time.Duration { return time.Minute }
	if recovered, err := s.RecoverJobs(ctx); err != nil || len(recovered) != 1 {
		t.Fatalf("recovered were %v, %v", recovered, err)
	}
	if expired, err := s.ExpiredObjects(ctx, time.Now().Add(time.Hour), 9); err != nil || len(expired) != 1 {
		t.Fatalf("expired were %v, %v", expired, err)
	}
	if _, err := s.PruneJobs(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	explained := 0
	for statement, args := range heard.said {
		if word, _, _ := strings.Cut(statement, " "); word != "SELECT" && word != "UPDATE" {
			continue
		}
		explained++
		rows, err := s.reading.Query("EXPLAIN QUERY PLAN "+statement, args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := sqlrecord.Each(rows, func(rows *sql.Rows) error {
			var id, parent, unused int
			var step string
			err := rows.Scan(&id, &parent, &unused, &step)
			if strings.HasPrefix(step, "SCAN jobs") || strings.HasPrefix(step, "SCAN j ") || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s: %s", step, statement)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if explained < 10 {
		t.Fatalf("only %d statements were heard", explained)
	}
}
