package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// TestDeliveriesOfAnEndedProcess: what a process was sending when it ended is sent again as soon as the next one begins,
// what waits keeps its time, and a time of a clock that was set back since is brought to what can be.
func TestDeliveriesOfAnEndedProcess(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "data")
	now := noon.AddDate(1, 0, 0) // a clock that is wrong
	s := openAt(t, dir, func() time.Time { return now })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(s.PutWebhook(ctx, store.Webhook{Customer: "c", URL: "https://c.example", Enabled: true, PerMinute: 1}, store.Audit{}))
	check(s.PutOutbox(ctx, []store.OutboxEvent{{Customer: "c", Event: store.EventTest}}))
	events, err := s.Outbox(ctx, 0, 9)
	check(err)
	var all []store.Delivery
	for _, id := range []string{"own", "mail"} {
		all = append(all, store.Delivery{ID: id, Customer: "c", Channel: store.ByWebhook, Own: true, Event: store.EventTest})
	}
	all[1].Own, all[1].Channel, all[1].Target = false, store.ByMail, "ann@example.org"
	_, err = s.Expand(ctx, []store.Expansion{{Event: events[0], Deliveries: all}})
	check(err)
	leases := map[string]store.DeliveryLease{}
	for range all {
		claimed, _, err := s.ClaimDeliveries(ctx, "sender")
		check(err)
		leases[claimed.Deliveries[0].ID] = claimed.Lease
	}
	_, err = s.EndAttempt(ctx, leases["mail"], store.Outcome{Verdict: store.Again}, store.Retry{Durable: true})
	check(err)
	check(s.Close())

	now = noon
	s = openAt(t, dir, func() time.Time { return now })
	_, err = s.EndAttempt(ctx, leases["own"], store.Outcome{Verdict: store.Accepted}, store.Retry{})
	if err == nil {
		t.Error("the lease of a process that has ended is held")
	}
	if n, err := s.RecoverDeliveries(ctx); err != nil || n != 1 {
		t.Fatalf("recovered were %d, %v", n, err)
	}
	own, err := s.Delivery(ctx, "c", "own")
	check(err)
	mail, err := s.Delivery(ctx, "c", "mail")
	check(err)
	if own.State != store.DeliveryWaiting || own.NextAt.After(noon) || own.Attempts != 1 || own.Code != store.DeliveryLost {
		t.Errorf("what was on its way is %+v", own)
	}
	if at := noon.Add(store.LongestWait); mail.State != store.DeliveryWaiting || mail.NextAt.After(at) {
		t.Errorf("what waits may be tried at %v, a year later", mail.NextAt)
	}
	endpoints, err := s.Endpoints(ctx, "c")
	check(err)
	if len(endpoints) != 2 || endpoints[0].InFlight != 0 || endpoints[0].PacedUntil.After(noon.Add(time.Minute)) || endpoints[1].FailingSince.After(noon) {
		t.Errorf("the endpoints are %+v", endpoints)
	}
	if _, ok, err := s.ClaimDeliveries(ctx, "sender"); err != nil || ok {
		t.Errorf("something is sent before its time: %t, %v", ok, err)
	}
}
