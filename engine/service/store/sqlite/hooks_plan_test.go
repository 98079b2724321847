package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
)

// hookWith is the webhook of a customer.
func hookWith(customer string, change func(*store.Webhook)) store.Webhook {
	w := store.Webhook{Customer: customer, URL: "https://" + customer + ".example", Enabled: true}
	if change != nil {
		change(&w)
	}
	return w
}

func parcel(id, customer string) store.Delivery {
	return store.Delivery{ID: id, Customer: customer, Channel: store.ByWebhook, Own: true, Event: store.EventTest, Data: []byte("{}")}
}

// expand has deliveries made.
func expand(t testing.TB, s *Store, all ...store.Delivery) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if err := s.PutOutbox(ctx, []store.OutboxEvent{{Customer: all[0].Customer, Event: store.EventTest}}); err != nil {
		t.Fatal(err)
	}
	events, err := s.Outbox(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Expand(ctx, []store.Expansion{{Event: events[len(events)-1], Deliveries: all}}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}

// TestNoDeliveryIsScanned: what is done for each delivery, and again and again, looks at none of the others, nor at the
// endpoints and customers for which nothing is due, and sorts none.
func TestNoDeliveryIsScanned(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), openHere(t)
	heard := &listening{Conn: s.writer.conn, said: map[string][]any{}}
	dialect := s.dialect()
	s.writer.tx = sqlrecord.NewTx(context.Background(), heard, &dialect)
	gone := time.Duration(0)
	s.passed = func(time.Time) time.Duration { return gone }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(s.PutWebhook(ctx, hookWith("c", func(w *store.Webhook) { w.Batch, w.PerMinute = true, 1e6 }), store.Audit{}))
	_, _, _, err := s.CreateJob(ctx, store.NewJob{Job: store.Job{ID: "j", Customer: "c", Procedure: "p"}})
	check(err)
	progress := parcel("progress", "c")
	progress.Event, progress.Job = store.EventProgress, "j"
	check(s.PutProgress(ctx, progress))
	claim := func() store.DeliveryLease {
		t.Helper()
		claimed, ok, err := s.ClaimDeliveries(ctx, "sender")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return claimed.Lease
	}
	var some []store.Delivery
	for i := range 5 {
		some = append(some, parcel(fmt.Sprint(i), "c"))
		some[i].Job = fmt.Sprint("job", i%3)
	}
	expand(t, s, some...)
	for _, verdict := range []store.Verdict{store.Again, store.Accepted, store.Final} {
		_, err := s.EndAttempt(ctx, claim(), store.Outcome{Verdict: verdict}, store.Retry{InitialDelay: time.Microsecond})
		check(err)
		gone += time.Millisecond // the pace
	}
	if n, err := s.Resend(ctx, store.DeliveryFilter{Customer: "c", State: store.DeliveryDead}, store.Actor{}); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	claim()
	_, err = s.CancelJob(ctx, "c", "j", store.Actor{})
	check(err)
	events, err := s.Outbox(ctx, 0, 9)
	check(err)
	_, err = s.Expand(ctx, []store.Expansion{{Event: events[0]}})
	check(err)
	gone += time.Hour
	if n, err := s.RecoverDeliveries(ctx); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	check(s.PutWebhook(ctx, hookWith("c", func(w *store.Webhook) { w.Enabled = false }), store.Audit{}))
	if _, ok, err := s.ClaimDeliveries(ctx, "sender"); err != nil || ok {
		t.Fatal(ok, err)
	}
	if n, err := s.PruneDeliveries(ctx, time.Now().Add(time.Hour)); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	explained := 0
	for statement, args := range heard.said {
		word, _, _ := strings.Cut(statement, " ")
		// Endpoints are looked through when what is old is removed, and at no other time.
		if word != "SELECT" && word != "UPDATE" && word != "DELETE" || strings.Contains(statement, "SELECT DISTINCT customer FROM endpoints") {
			continue
		}
		explained++
		rows, err := s.reading.Query("EXPLAIN QUERY PLAN "+statement, args...)
		check(err)
		check(sqlrecord.Each(rows, func(rows *sql.Rows) error {
			var id, parent, unused int
			var step string
			err := rows.Scan(&id, &parent, &unused, &step)
			scan := strings.HasPrefix(step, "SCAN") && !strings.HasPrefix(step, "SCAN delivery_shares USING COVERING INDEX delivery_shares_next")
			if scan || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s: %s", step, statement)
			}
			return err
		}))
	}
	if explained < 25 {
		t.Fatalf("only %d statements were heard", explained)
	}
}

// counting is the connection of a writer that counts its statements.
type counting struct {
	sqlrecord.Conn
	n int
}

func (c *counting) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	c.n++
	return c.Conn.ExecContext(ctx, statement, args...)
}

func (c *counting) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c.n++
	return c.Conn.QueryContext(ctx, query, args...)
}

func (c *counting) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	c.n++
	return c.Conn.QueryRowContext(ctx, query, args...)
}

// TestStatements: to claim a delivery, or a hundred that go together, and to end the attempt, takes about a dozen statements
// each, whatever else waits. A server answers each of them over a network.
func TestStatements(t *testing.T) {
	t.Parallel()
	for _, batch := range []bool{false, true} {
		ctx, s := t.Context(), openHere(t)
		if err := s.PutWebhook(ctx, hookWith("c", func(w *store.Webhook) { w.Batch = batch }), store.Audit{}); err != nil {
			t.Fatal(err)
		}
		var all []store.Delivery
		for i := range 300 {
			all = append(all, parcel(fmt.Sprint(i), "c"))
			all[i].Job, all[i].Event = fmt.Sprint("job", i), "job.completed"
		}
		expand(t, s, all...)
		dialect, heard := s.dialect(), &counting{Conn: s.writer.conn}
		s.writer.tx = sqlrecord.NewTx(context.Background(), heard, &dialect)
		claimed, ok, err := s.ClaimDeliveries(ctx, "sender")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		claim := heard.n
		if _, err := s.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, store.Retry{}); err != nil {
			t.Fatal(err)
		}
		if end := heard.n - claim; claim > 13 || end > 14 { // with begin, savepoint, release and commit
			t.Errorf("batch %t: a claim has %d statements, and its end %d", batch, claim, end)
		}
	}
}
