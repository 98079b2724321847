package record

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// durably is a retry that waits.
var durably = store.Retry{Durable: true}

// TestManySenders: several processes that expand, claim and end at the same time make each event one delivery, send each
// once, and leave the counts of what is on its way at nothing.
func TestManySenders(t *testing.T) {
	eachServer(t, func(t *testing.T, on *servers.Server) {
		const processes, goroutines, customers, events = 3, 3, 5, 150
		ctx := t.Context()
		url := on.DSN(on.Database())
		first := open(t, url, mysql.Options{})
		var put []store.OutboxEvent
		for c := range customers {
			w := store.Webhook{Customer: fmt.Sprint("c", c), URL: "https://c.example", Enabled: true, Batch: c == 0}
			if err := first.PutWebhook(ctx, w, store.Audit{}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range events {
			put = append(put, store.OutboxEvent{Customer: fmt.Sprint("c", i%customers), Event: store.EventTest})
		}
		if err := first.PutOutbox(ctx, put); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		made, sent := 0, map[string]int{}
		for p := range processes {
			s := open(t, url, mysql.Options{})
			for g := range goroutines {
				wg.Go(func() {
					for idle := 0; idle < 3; {
						found, err := s.Outbox(ctx, 0, 10)
						if err != nil {
							t.Error(err)
							return
						}
						var all []store.Expansion
						for _, o := range found {
							all = append(all, store.Expansion{Event: o, Deliveries: []store.Delivery{
								{ID: fmt.Sprint("own ", o.Seq, p, g), Customer: o.Customer, Channel: store.ByWebhook, Own: true, Event: o.Event},
								{ID: fmt.Sprint("mail ", o.Seq, p, g), Customer: o.Customer, Channel: store.ByMail, Target: "a@example.org", Event: o.Event},
							}})
						}
						n, err := s.Expand(ctx, all)
						if err != nil {
							t.Error(err)
							return
						}
						claimed, ok, err := s.ClaimDeliveries(ctx, fmt.Sprint("sender ", p, g))
						if err != nil {
							t.Error(err)
							return
						}
						if !ok && len(found) == 0 {
							idle++
						}
						mu.Lock()
						made += n
						for _, d := range claimed.Deliveries {
							sent[d.ID]++
						}
						mu.Unlock()
						if ok {
							if _, err := s.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, durably); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
		}
		wg.Wait()
		for { // what one passed over because another had its customer
			claimed, ok, err := first.ClaimDeliveries(ctx, "last")
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for _, d := range claimed.Deliveries {
				sent[d.ID]++
			}
			if _, err := first.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, durably); err != nil {
				t.Fatal(err)
			}
		}
		if made != events || len(sent) != 2*events {
			t.Errorf("%d events have become deliveries and %d were sent, want %d and %d", made, len(sent), events, 2*events)
		}
		for id, n := range sent {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
		db := on.For(t).Open(on.Database())
		for query, want := range map[string]int{
			"SELECT count(*) FROM delivery_shares WHERE in_flight <> 0 OR due <> 0": 0, "SELECT count(*) FROM endpoints": 0,
			"SELECT count(*) FROM deliveries WHERE state <> 'delivered'": 0, "SELECT count(*) FROM outbox": 0,
			"SELECT count(*) FROM delivery_attempts": 2 * events,
		} {
			var n int
			if err := db.QueryRow(query).Scan(&n); err != nil || n != want {
				t.Errorf("%s: %d, %v", query, n, err)
			}
		}
	})
}
