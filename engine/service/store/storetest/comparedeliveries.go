package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// keepSent remembers the lease of deliveries, and is what both sides have of it.
func (s *side) keepSent(c store.ClaimedDeliveries) store.ClaimedDeliveries {
	if len(c.Deliveries) > 0 {
		s.sent = append(s.sent, c.Lease)
	}
	c.Lease.Server = ""
	return c
}

func (s *side) sentLease(n int) store.DeliveryLease {
	if len(s.sent) == 0 {
		return store.DeliveryLease{}
	}
	return s.sent[max(0, len(s.sent)-1-n)]
}

// chooseDelivery makes up something to do with webhooks and deliveries.
func chooseDelivery(ctx context.Context, random *rand.Rand) (what string, do func(*side) (any, error)) {
	name := func(kind string, of int) string { return fmt.Sprint(kind, random.IntN(of)) }
	coin := func() bool { return random.IntN(2) == 0 }
	customer, job, n := name("c", 3), name("job", 20), random.IntN(5)
	at := noon.Add(time.Duration(random.IntN(60*60)) * time.Second)
	audit := store.Audit{At: at, What: name("what", 9), Customer: customer}
	w := store.Webhook{
		Customer: customer, URL: name("https://own", 2), Events: []string{name("e", 3)}, Enabled: random.IntN(5) > 0, CreatedAt: at, UpdatedAt: at,
		Retry: store.Retry{Durable: coin(), MaxAttempts: n, Multiplier: 1.5}, Timeout: time.Duration(n) * 10 * time.Second, Batch: random.IntN(3) == 0,
	}
	if random.IntN(4) == 0 {
		w.PerMinute = 1 + n
	}
	secret := store.WebhookSecret{Customer: customer, ID: name("secret", 4), Sealed: []byte{byte(n)}, CreatedAt: at, Pending: coin(), ActivatesAt: at}
	delivery := func() store.Delivery {
		d := store.Delivery{
			ID: fmt.Sprint("del_", random.IntN(100_000)), Customer: customer, Channel: store.ByWebhook, Target: "https://own0", Own: true,
			Event: store.EventMaintenance, Data: []byte(fmt.Sprint(random.IntN(9))),
		}
		switch random.IntN(4) {
		case 0:
			d.Own, d.Target = false, name("https://request", 2)
		case 1:
			d.Own, d.Target, d.Channel = false, "ann@example.org", store.ByMail
		}
		return d
	}
	var some []store.Delivery
	for range random.IntN(5) {
		some = append(some, delivery())
	}
	progress := delivery()
	progress.Event, progress.Job = store.EventProgress, job
	outcome := store.Outcome{
		Verdict: []store.Verdict{store.Accepted, store.Accepted, store.Again, store.Again, store.Again, store.Final, store.Gone}[random.IntN(7)],
		Code:    name("code", 2), HTTPStatus: 200 + n, Message: "m", Duration: 1500 * time.Microsecond, After: time.Duration(n) * 10 * time.Second,
	}
	if outcome.Verdict == store.Gone && coin() {
		outcome.Verdict = store.Final
	}
	retry := store.Retry{Durable: coin(), MaxAttempts: n}
	filter := store.DeliveryFilter{Customer: customer, Limit: random.IntN(9), Offset: int64(random.IntN(3))}
	switch random.IntN(4) {
	case 0:
		filter.State = []store.DeliveryState{store.DeliveryDead, store.DeliveryDelivered, store.DeliveryWaiting, store.DeliverySending}[random.IntN(4)]
	case 1:
		filter.Job, filter.Since = job, at.Add(-time.Hour)
	case 2:
		filter.Event, filter.Until = store.EventMaintenance, at.Add(time.Hour)
	}
	passes := []time.Duration{time.Second, 7 * time.Second, time.Minute, 11 * time.Minute, time.Hour, 30 * time.Hour}[random.IntN(6)]
	found := func(s *side) string {
		list, _, err := s.Deliveries(ctx, store.DeliveryFilter{Customer: customer, Limit: 1, Offset: int64(n)})
		if err != nil || len(list) == 0 {
			return "none"
		}
		return list[0].ID
	}
	end := func(s *side) (any, error) { return s.EndAttempt(ctx, s.sentLease(n), outcome, retry) }
	claim := func(s *side) (any, error) {
		c, ok, err := s.ClaimDeliveries(ctx, "w")
		return fmt.Sprintf("%+v %v", s.keepSent(c), ok), err
	}
	expand := func(s *side) (any, error) {
		events, err := s.Outbox(ctx, 0, 3)
		if err != nil {
			return nil, err
		}
		var all []store.Expansion
		for i, o := range events {
			x := store.Expansion{Event: o}
			if i == 0 {
				x.Deliveries = some
			}
			for j := range x.Deliveries {
				x.Deliveries[j].Customer = o.Customer
				if x.Deliveries[j].Job = o.Job; o.Job != "" {
					x.Deliveries[j].Event = o.Event
				}
			}
			all = append(all, x)
		}
		return s.Expand(ctx, all)
	}
	all := []struct {
		what string
		do   func(*side) (any, error)
	}{
		{"PutWebhook", func(s *side) (any, error) { return nil, s.PutWebhook(ctx, w, audit) }},
		{"DeleteWebhook", func(s *side) (any, error) {
			if n > 0 {
				return s.Webhook(ctx, customer)
			}
			return nil, s.DeleteWebhook(ctx, customer, audit)
		}},
		{"CreateWebhookSecret", func(s *side) (any, error) { return nil, s.CreateWebhookSecret(ctx, secret, audit) }},
		{"ActivateWebhookSecret", func(s *side) (any, error) { return nil, s.ActivateWebhookSecret(ctx, customer, secret.ID, audit) }},
		{"WebhookSecrets", func(s *side) (any, error) { return s.WebhookSecrets(ctx, customer) }},
		{"PutOutbox", func(s *side) (any, error) {
			return nil, s.PutOutbox(ctx, []store.OutboxEvent{{Customer: customer, Event: store.EventMaintenance, Data: []byte("{}")}}, audit)
		}},
		{"PutNotice", func(s *side) (any, error) {
			return s.PutNotice(ctx, store.OutboxEvent{Customer: customer, Event: store.EventRateLimit, Data: []byte("{}")}, fmt.Sprint("notice", n), time.Duration(n)*time.Minute)
		}},
		{"Expand", expand}, {"Expand", expand}, {"Expand", expand},
		{"PutProgress", func(s *side) (any, error) { return nil, s.PutProgress(ctx, progress) }},
		{"PutProgress", func(s *side) (any, error) { return nil, s.PutProgress(ctx, progress) }},
		{"ClaimDeliveries", claim}, {"ClaimDeliveries", claim}, {"ClaimDeliveries", claim}, {"ClaimDeliveries", claim},
		{"EndAttempt", end}, {"EndAttempt", end}, {"EndAttempt", end},
		{"RecoverDeliveries", func(s *side) (any, error) { return s.RecoverDeliveries(ctx) }},
		{"Resend", func(s *side) (any, error) { return s.Resend(ctx, filter, store.Actor{Who: "ann"}) }},
		{"Resend one", func(s *side) (any, error) {
			return s.Resend(ctx, store.DeliveryFilter{Customer: customer, IDs: []string{found(s)}}, store.Actor{Who: "ann"})
		}},
		{"PruneDeliveries", func(s *side) (any, error) {
			now, err := s.Clock(ctx)
			if err != nil {
				return nil, err
			}
			return s.PruneDeliveries(ctx, now.Add(-time.Duration(n)*time.Hour))
		}},
		{"Deliveries", func(s *side) (any, error) {
			list, total, err := s.Deliveries(ctx, filter)
			return fmt.Sprintf("%+v %d", list, total), err
		}},
		{"Delivery", func(s *side) (any, error) { return s.Delivery(ctx, customer, found(s)) }},
		{"Attempts", func(s *side) (any, error) { return s.Attempts(ctx, customer, found(s)) }},
		{"Endpoints", func(s *side) (any, error) { return s.Endpoints(ctx, customer) }},
		{"WebhookStatuses", func(s *side) (any, error) {
			states, err := s.WebhookStatuses(ctx, customer, []string{job, "job1", "job2", "job3", "job4"})
			return fmt.Sprint(states), err // in the order of the jobs
		}},
		{"DeliveryQueues", func(s *side) (any, error) {
			waiting, dead, oldest, err := s.DeliveryQueues(ctx)
			return fmt.Sprint(waiting, dead, oldest), err
		}},
		{"Clock", func(s *side) (any, error) { s.advance(passes); return s.Clock(ctx) }},
	}
	one := all[random.IntN(len(all))]
	return one.what, one.do
}
