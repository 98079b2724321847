package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// BenchmarkClaimDeliveries takes and ends deliveries: alone; and beside 10,000 that are queued for one endpoint that hangs, or
// that has failed and is left alone, or for as many endpoints of one customer, which has as much on its way as it may.
func BenchmarkClaimDeliveries(b *testing.B) {
	const queued = 10_000
	for _, c := range []struct {
		name string
		fill func(context.Context, *Store) error
	}{
		{"alone", func(context.Context, *Store) error { return nil }},
		{"hanging", func(ctx context.Context, s *Store) error {
			for range store.MostPerTarget {
				if _, _, err := s.ClaimDeliveries(ctx, "sender"); err != nil {
					return err
				}
			}
			return nil
		}},
		{"failed", func(ctx context.Context, s *Store) error {
			for range store.BreakAfter {
				claimed, _, err := s.ClaimDeliveries(ctx, "sender")
				if err != nil {
					return err
				}
				if _, err := s.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Again}, store.Retry{Durable: true}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"endpoints", func(ctx context.Context, s *Store) error {
			for range store.MostPerCustomer {
				if _, _, err := s.ClaimDeliveries(ctx, "sender"); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			ctx := b.Context()
			s, err := Open(ctx, filepath.Join(b.TempDir(), "data"), time.Now)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			for _, customer := range []string{"c", "d"} {
				if err := s.PutWebhook(ctx, hookWith(customer, func(w *store.Webhook) { w.Retry.Durable = true }), store.Audit{}); err != nil {
					b.Fatal(err)
				}
			}
			var many []store.Delivery
			for i := range queued {
				many = append(many, parcel(fmt.Sprint("c", i), "c"))
				if c.name == "endpoints" {
					many[i].Own, many[i].Target = false, fmt.Sprintf("https://%d.example", i)
				}
			}
			if c.name != "alone" {
				for some := range slices.Chunk(many, 1000) {
					expand(b, s, some...)
				}
			}
			if err := c.fill(ctx, s); err != nil {
				b.Fatal(err)
			}
			var times []time.Duration
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				expand(b, s, parcel(fmt.Sprint("d", n), "d"))
				b.StartTimer()
				began := time.Now()
				claimed, ok, err := s.ClaimDeliveries(ctx, "sender")
				if err != nil || !ok || claimed.Deliveries[0].Customer != "d" {
					b.Fatal(ok, err)
				}
				times = append(times, time.Since(began))
				if _, err := s.EndAttempt(ctx, claimed.Lease, store.Outcome{Verdict: store.Accepted}, store.Retry{}); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2])/float64(time.Millisecond), "ms/p50")
			b.ReportMetric(float64(times[len(times)*99/100])/float64(time.Millisecond), "ms/p99")
		})
	}
}
