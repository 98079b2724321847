package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// delivery is a delivery, with what only the record knows of it.
type delivery struct {
	store.Delivery
	endpoint       string
	holder, server string
	lease          time.Time
}

func (d *delivery) active() bool {
	return d.State == store.DeliveryWaiting || d.State == store.DeliverySending
}

func parcel(d store.Delivery) store.Delivery {
	d.Data = bytes.Clone(d.Data)
	return d
}

// find is a delivery, or nil.
func (h *hooks) find(id string) *delivery {
	i := slices.IndexFunc(h.deliveries, func(d *delivery) bool { return d.ID == id })
	if i < 0 {
		return nil
	}
	return h.deliveries[i]
}

// remove forgets deliveries, and what their logs have.
func (h *hooks) remove(when func(*delivery) bool) (removed int64) {
	h.deliveries = slices.DeleteFunc(h.deliveries, func(d *delivery) bool {
		if !when(d) {
			return false
		}
		delete(h.attempts, d.ID)
		removed++
		return true
	})
	return removed
}

func (h *hooks) share(customer string) *share {
	if h.shares[customer] == nil {
		h.shares[customer] = &share{}
	}
	return h.shares[customer]
}

// queue adds a delivery.
func (h *hooks) queue(d store.Delivery, at store.Moment) error {
	if h.find(d.ID) != nil {
		return fault.New(store.CodeExists, fault.Usage, "there is a delivery %q already", d.ID)
	}
	h.made++
	q := &delivery{Delivery: parcel(store.QueueStep(d, at)), endpoint: store.EndpointKey(d)}
	q.Seq = h.made
	h.deliveries = append(h.deliveries, q)
	h.know(q)
	return nil
}

// know has the endpoint of a delivery known.
func (h *hooks) know(d *delivery) {
	if h.endpoints[d.endpoint] == nil {
		e := store.NewEndpoint(d.Delivery)
		h.endpoints[d.endpoint] = &e
	}
	h.share(d.Customer)
}

// waiting are those that wait for an endpoint, in order.
func (h *hooks) waiting(endpoint string) (all []*delivery) {
	for _, d := range h.deliveries {
		if d.endpoint == endpoint && d.State == store.DeliveryWaiting {
			all = append(all, d)
		}
	}
	return all
}

// heads are those of them that no other of their job is before, in the order of their times.
func (h *hooks) heads(endpoint string) (all []*delivery) {
	before := map[string]bool{}
	for _, d := range h.deliveries {
		if d.endpoint == endpoint && d.Job != "" && d.State == store.DeliverySending {
			before[d.Job] = true
		}
	}
	for _, d := range h.waiting(endpoint) {
		if d.Job != "" && before[d.Job] {
			continue
		}
		before[d.Job] = true
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b *delivery) int { return a.NextAt.Compare(b.NextAt) })
	return all
}

// line has what another of its job is before go no more with those that it went with.
func (h *hooks) line(endpoint string) {
	heads := h.heads(endpoint)
	for _, d := range h.waiting(endpoint) {
		if !slices.Contains(heads, d) {
			d.Batch = ""
		}
	}
}

// receiver is an endpoint with its settings.
func (h *hooks) receiver(endpoint string) store.Receiver {
	r := store.Receiver{}
	if e := h.endpoints[endpoint]; e != nil {
		r.Endpoint = *e
	}
	if w, ok := h.webhooks[r.Customer]; ok && r.Own {
		w = webhook(w)
		r.Webhook = &w
	}
	return r
}

// tidy forgets an endpoint of which there is nothing to know.
func (h *hooks) tidy(key string, at store.Moment) {
	if e := h.endpoints[key]; e != nil && e.Idle(at) && len(h.waiting(key)) == 0 {
		delete(h.endpoints, key)
	}
}

// over are those of the deliveries that tell the progress of jobs that have ended.
func (s *Store) over(all []store.Delivery) map[string]bool {
	over := map[string]bool{}
	for _, d := range all {
		j := s.jobs.byID[d.Job]
		over[d.ID] = d.Event == store.EventProgress && (j == nil || j.Status.Ended())
	}
	return over
}

// Expand has events of the outbox become deliveries.
func (s *Store) Expand(ctx context.Context, expansions []store.Expansion) (made int, err error) {
	err = s.do(ctx, false, nil, func() error {
		at, twice := s.jobs.moment(), map[string]bool{}
		here := slices.DeleteFunc(slices.Clone(expansions), func(x store.Expansion) bool {
			return !slices.ContainsFunc(s.jobs.outbox, func(o store.OutboxEvent) bool { return o.Seq == x.Event.Seq })
		})
		for _, x := range here {
			for _, d := range x.Deliveries {
				if twice[d.ID] || s.hooks.find(d.ID) != nil {
					return fault.New(store.CodeExists, fault.Usage, "there is a delivery %q already", d.ID)
				}
				twice[d.ID] = true
			}
		}
		touched := map[string]bool{}
		for _, x := range here {
			before := len(s.jobs.outbox)
			s.jobs.outbox = slices.DeleteFunc(s.jobs.outbox, func(o store.OutboxEvent) bool { return o.Seq == x.Event.Seq })
			if len(s.jobs.outbox) == before {
				continue // it is given twice
			}
			made++
			if store.EndsJob(x.Event.Event) {
				s.endProgress(x.Event.Customer, x.Event.Job, touched, at)
			}
			for _, d := range x.Deliveries {
				if err := s.hooks.queue(d, at); err != nil {
					return err
				}
			}
		}
		for key := range touched {
			s.hooks.tidy(key, at)
		}
		return nil
	})
	return made, err
}

// endProgress removes what waits to tell the progress of a job. What was tried stays, for its log.
func (s *Store) endProgress(customer, job string, touched map[string]bool, at store.Moment) {
	of := func(d *delivery) bool {
		return d.Customer == customer && d.Job == job && d.Event == store.EventProgress && d.State == store.DeliveryWaiting
	}
	s.hooks.remove(func(d *delivery) bool {
		if of(d) {
			touched[d.endpoint] = true
		}
		return of(d) && d.Attempts == 0
	})
	for _, d := range s.hooks.deliveries {
		if of(d) {
			d.Delivery = store.BuryStep(d.Delivery, store.DeliverySuperseded, at)
		}
	}
}

// PutProgress queues the progress of a job.
func (s *Store) PutProgress(ctx context.Context, d store.Delivery) error {
	return s.do(ctx, false, nil, func() error {
		j, endpoint := s.jobs.byID[d.Job], store.EndpointKey(d)
		if j == nil || j.Customer != d.Customer || j.Status.Ended() {
			return nil
		}
		for _, other := range s.hooks.waiting(endpoint) {
			if other.Job == d.Job && other.Event == store.EventProgress {
				return nil
			}
		}
		return s.hooks.queue(d, s.jobs.moment())
	})
}

// due is the endpoint for which something is to be done next, or "".
func (s *Store) due(at store.Moment) string {
	best := ""
	for key, e := range s.hooks.endpoints {
		if s.disabled[e.Customer] || s.hooks.share(e.Customer).inFlight >= store.MostPerCustomer {
			continue
		}
		var next time.Time
		if heads := s.hooks.heads(key); len(heads) > 0 {
			next = heads[0].NextAt
		}
		if due := s.hooks.receiver(key).Due(next, at); due.IsZero() || due.After(at.Steady) {
			continue
		}
		if best == "" {
			best = key
			continue
		}
		b := s.hooks.endpoints[best]
		if cmp.Or(
			cmp.Compare(s.hooks.share(e.Customer).served, s.hooks.share(b.Customer).served),
			cmp.Compare(e.Customer, b.Customer),
			cmp.Compare(e.Served, b.Served),
			cmp.Compare(key, best),
		) < 0 {
			best = key
		}
	}
	return best
}

// ClaimDeliveries takes what is to be sent next.
func (s *Store) ClaimDeliveries(ctx context.Context, holder string) (claimed store.ClaimedDeliveries, ok bool, err error) {
	err = s.do(ctx, false, nil, func() error {
		for at := s.jobs.moment(); ; {
			key := s.due(at)
			if key == "" {
				return nil
			}
			r := s.hooks.receiver(key)
			if code := r.Condemned(at); code != "" {
				all := s.hooks.waiting(key)
				for _, d := range all[:min(len(all), store.BuriedTogether)] {
					d.Delivery = store.BuryStep(d.Delivery, code, at)
				}
				s.hooks.tidy(key, at)
				continue
			}
			claimed, ok = s.take(r, key, holder, at), true
			return nil
		}
	})
	return claimed, ok, err
}

func (s *Store) take(r store.Receiver, key, holder string, at store.Moment) (claimed store.ClaimedDeliveries) {
	heads := s.hooks.heads(key)
	batch := heads[0].Batch
	var rows []*delivery
	var together []store.Delivery
	for _, d := range heads {
		if d.Batch == batch && !d.NextAt.After(at.Steady) && (batch != "" || len(rows) < r.Together()) {
			rows = append(rows, d)
		}
	}
	slices.SortFunc(rows, func(a, b *delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, d := range rows {
		together = append(together, parcel(d.Delivery))
	}
	s.hooks.takings++
	t := store.TakeStep(r, together, holder, s.hooks.takings, at)
	for i, d := range rows {
		d.Delivery, d.holder, d.server, d.lease = parcel(t.Deliveries[i]), holder, at.Server, t.Until
	}
	*s.hooks.endpoints[key] = t.Endpoint
	of := s.hooks.share(r.Customer)
	of.inFlight++
	of.served = s.hooks.takings
	claimed.Deliveries, claimed.Lease = t.Deliveries, t.Lease
	if r.Webhook != nil {
		claimed.Webhook = *r.Webhook
	}
	return claimed
}

// EndAttempt notes what has become of a request.
func (s *Store) EndAttempt(ctx context.Context, l store.DeliveryLease, o store.Outcome, retry store.Retry) (
	after []store.Delivery, err error) {
	err = s.do(ctx, false, nil, func() error {
		at := s.jobs.moment()
		var rows []*delivery
		var sent []store.Delivery
		for _, id := range l.Deliveries {
			d := s.hooks.find(id)
			if d == nil || !l.Holds(d.Delivery, d.holder, d.server) || !at.Steady.Before(d.lease) {
				return store.LostDeliveryLease(l)
			}
			rows, sent = append(rows, d), append(sent, parcel(d.Delivery))
		}
		if len(rows) == 0 {
			return store.LostDeliveryLease(l)
		}
		a := store.AttemptStep(s.hooks.receiver(rows[0].endpoint), sent, o, retry, s.over(sent), at)
		s.attempted(rows, a, at)
		after = a.Deliveries
		return nil
	})
	return after, err
}

// attempted writes what an attempt comes to.
func (s *Store) attempted(rows []*delivery, a store.Attempted, at store.Moment) {
	for i, d := range rows {
		d.Delivery, d.holder, d.server, d.lease = parcel(a.Deliveries[i]), "", "", time.Time{}
		s.hooks.attempts[d.ID] = append(s.hooks.attempts[d.ID], a.Attempts[i])
	}
	s.hooks.line(rows[0].endpoint)
	*s.hooks.endpoints[rows[0].endpoint] = a.Endpoint
	of := s.hooks.share(rows[0].Customer)
	of.inFlight = max(0, of.inFlight-1)
	if a.Audit != nil {
		s.audit = append(s.audit, *a.Audit)
	}
	if a.Outbox != nil {
		s.announce(*a.Outbox)
	}
	s.hooks.tidy(rows[0].endpoint, at)
}

// RecoverDeliveries has those wait again whose leases are over.
func (s *Store) RecoverDeliveries(ctx context.Context) (recovered int, err error) {
	err = s.do(ctx, false, nil, func() error {
		at := s.jobs.moment()
		type request struct {
			endpoint, batch string
			fence, alone    int64
		}
		requests := map[request][]*delivery{}
		var order []request
		for _, d := range s.hooks.deliveries {
			if d.State != store.DeliverySending || at.Steady.Before(d.lease) {
				continue
			}
			one := request{d.endpoint, d.Batch, d.Fence, 0}
			if d.Batch == "" {
				one.alone = d.Seq
			}
			if requests[one] == nil {
				order = append(order, one)
			}
			requests[one] = append(requests[one], d)
		}
		for _, one := range order {
			var sent []store.Delivery
			for _, d := range requests[one] {
				sent = append(sent, d.Delivery)
			}
			s.attempted(requests[one], store.LostAttemptStep(s.hooks.receiver(one.endpoint), sent, s.over(sent), at), at)
			recovered += len(sent)
		}
		return nil
	})
	return recovered, err
}

// chosen are the deliveries of a filter, in order.
func (h *hooks) chosen(f store.DeliveryFilter) (all []*delivery) {
	for _, d := range h.deliveries {
		if d.Customer == f.Customer && (f.State == "" || d.State == f.State) && (f.Event == "" || d.Event == f.Event) &&
			(f.Job == "" || d.Job == f.Job) && (len(f.IDs) == 0 || slices.Contains(f.IDs, d.ID)) &&
			!d.CreatedAt.Before(instant(f.Since)) && (f.Until.IsZero() || d.CreatedAt.Before(instant(f.Until))) {
			all = append(all, d)
		}
	}
	return all
}

// Resend has deliveries sent again.
func (s *Store) Resend(ctx context.Context, f store.DeliveryFilter, by store.Actor) (n int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		at := s.jobs.moment()
		var changed []*delivery
		for _, d := range s.hooks.chosen(f) {
			again, ok := store.ResendStep(d.Delivery, at)
			if !ok {
				continue
			}
			d.Delivery = again
			s.hooks.know(d)
			*s.hooks.endpoints[d.endpoint] = store.ResentEndpoint(*s.hooks.endpoints[d.endpoint], at)
			changed = append(changed, d)
			s.hooks.line(d.endpoint)
		}
		n = int64(len(changed))
		for some := range slices.Chunk(changed, store.ResentTogether) {
			s.audit = append(s.audit, store.ResendAudit(f.Customer, len(some), by, at))
		}
		return nil
	})
	return n, err
}

// PruneDeliveries removes what ended before a time, with its log.
func (s *Store) PruneDeliveries(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		removed = s.hooks.remove(func(d *delivery) bool { return !d.active() && d.EndedAt.Before(instant(before)) })
		at := s.jobs.moment()
		for key, e := range s.hooks.endpoints {
			if e.Forgotten(before, at) && len(s.hooks.waiting(key)) == 0 {
				delete(s.hooks.endpoints, key)
			}
		}
		return nil
	})
	return removed, err
}

// Deliveries lists those of a filter, the newest first.
func (s *Store) Deliveries(ctx context.Context, f store.DeliveryFilter) (list []store.Delivery, total int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, d := range s.hooks.chosen(f) {
			list = append(list, parcel(d.Delivery))
		}
		return nil
	})
	slices.Reverse(list)
	total = int64(len(list))
	list = list[min(total, max(0, f.Offset)):]
	return list[:min(len(list), max(0, f.Limit))], total, err
}

// Delivery is one of a customer's.
func (s *Store) Delivery(ctx context.Context, customer, id string) (found store.Delivery, err error) {
	err = s.do(ctx, false, nil, func() error {
		d := s.hooks.find(id)
		if d == nil || d.Customer != customer {
			return unknown("delivery", id)
		}
		found = parcel(d.Delivery)
		return nil
	})
	return found, err
}

// Attempts is the log of a delivery.
func (s *Store) Attempts(ctx context.Context, customer, id string) (all []store.Attempt, err error) {
	err = s.do(ctx, false, nil, func() error {
		if d := s.hooks.find(id); d == nil || d.Customer != customer {
			return unknown("delivery", id)
		}
		all = slices.Clone(s.hooks.attempts[id])
		return nil
	})
	return all, err
}

// WebhookStatuses says how it stands with the deliveries of jobs.
func (s *Store) WebhookStatuses(ctx context.Context, customer string, jobs []string) (
	states map[string]store.DeliveryState, err error) {
	states = map[string]store.DeliveryState{}
	err = s.do(ctx, false, nil, func() error {
		for _, d := range s.hooks.deliveries {
			if d.Customer == customer && d.Channel == store.ByWebhook && d.Event != store.EventProgress && slices.Contains(jobs, d.Job) {
				states[d.Job] = store.WorseDelivery(states[d.Job], d.State)
			}
		}
		return nil
	})
	return states, err
}

// DeliveryQueues counts what waits, and since when, and what is dead.
func (s *Store) DeliveryQueues(ctx context.Context) (waiting, dead int64, oldest time.Time, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, d := range s.hooks.deliveries {
			switch d.State {
			case store.DeliveryDead:
				dead++
			case store.DeliveryWaiting:
				waiting++
				if oldest.IsZero() || d.CreatedAt.Before(oldest) {
					oldest = d.CreatedAt
				}
			}
		}
		return nil
	})
	return waiting, dead, oldest, err
}
