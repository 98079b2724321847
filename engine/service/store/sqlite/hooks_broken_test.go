package sqlite

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// TestBrokenDelivery breaks each change of webhooks and deliveries at each of its statements, before the statement and after
// it: nothing of the transaction is there then, or at the commit all of it, and the record goes on.
func TestBrokenDelivery(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	type prepared struct {
		*Store
		now    *atomic.Int64 // seconds after noon
		lease  store.DeliveryLease
		events []store.OutboxEvent
	}
	ended := func(verdict store.Verdict) func(context.Context, prepared) error {
		return func(ctx context.Context, p prepared) error {
			_, err := p.EndAttempt(ctx, p.lease, store.Outcome{Verdict: verdict, Code: "webhook.status"}, store.Retry{})
			return err
		}
	}
	audit := store.Audit{What: "x"}
	changes := map[string]func(context.Context, prepared) error{
		"put": func(ctx context.Context, p prepared) error {
			return p.PutWebhook(ctx, hookWith("c", func(w *store.Webhook) { w.URL = "https://new.example" }), audit)
		},
		"delete": func(ctx context.Context, p prepared) error { return p.DeleteWebhook(ctx, "c", audit) },
		"rotate": func(ctx context.Context, p prepared) error {
			return p.CreateWebhookSecret(ctx, store.WebhookSecret{Customer: "c", ID: "next", Sealed: []byte("s"), Pending: true}, audit)
		},
		"activate": func(ctx context.Context, p prepared) error {
			return p.ActivateWebhookSecret(ctx, "c", "pending", audit)
		},
		"announce": func(ctx context.Context, p prepared) error {
			return p.PutOutbox(ctx, []store.OutboxEvent{{Customer: "c", Event: store.EventTest}, {Customer: "d", Event: store.EventTest}}, audit)
		},
		"expand": func(ctx context.Context, p prepared) error {
			one, other := parcel("new", "c"), parcel("other", "d")
			one.Job, one.Event = "j", "job.cancelled"
			_, err := p.Expand(ctx, []store.Expansion{{Event: p.events[0], Deliveries: []store.Delivery{one, other}}})
			return err
		},
		"progress": func(ctx context.Context, p prepared) error {
			one := parcel("new", "c")
			one.Job, one.Event = "runs", store.EventProgress
			return p.PutProgress(ctx, one)
		},
		"claim":  func(ctx context.Context, p prepared) error { _, _, err := p.ClaimDeliveries(ctx, "s"); return err },
		"accept": ended(store.Accepted), "again": ended(store.Again), "final": ended(store.Final), "gone": ended(store.Gone),
		"recover": func(ctx context.Context, p prepared) error {
			p.now.Store(600)
			_, err := p.RecoverDeliveries(ctx)
			return err
		},
		"resend": func(ctx context.Context, p prepared) error {
			_, err := p.Resend(ctx, store.DeliveryFilter{Customer: "c"}, store.Actor{})
			return err
		},
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
				check := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
				}
				check(s.PutWebhook(ctx, hookWith("c", nil), audit))
				check(s.CreateWebhookSecret(ctx, store.WebhookSecret{Customer: "c", ID: "first", Sealed: []byte("s")}, audit))
				check(s.CreateWebhookSecret(ctx, store.WebhookSecret{Customer: "c", ID: "pending", Sealed: []byte("s"), Pending: true}, audit))
				expand(t, s, parcel("done", "c"))
				claimed, _, err := s.ClaimDeliveries(ctx, "s")
				check(err)
				_, err = s.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, store.Retry{})
				check(err)
				expand(t, s, parcel("sends", "c"), parcel("waits", "c"))
				claimed, _, err = s.ClaimDeliveries(ctx, "s")
				check(err)
				p.lease = claimed.Lease
				for _, id := range []string{"j", "runs"} {
					_, _, _, err = s.CreateJob(ctx, store.NewJob{Job: store.Job{ID: id, Customer: "c", Procedure: "p"}})
					check(err)
				}
				before := parcel("progress", "c")
				before.Job, before.Event = "j", store.EventProgress
				check(s.PutProgress(ctx, before))
				_, err = s.CancelJob(ctx, "c", "j", store.Actor{})
				check(err)
				p.events, err = s.Outbox(ctx, 0, 9)
				check(err)
				breakEach(t, s, runs, func(ctx context.Context) error { return change(ctx, p) })
			})
		}
	}
}
