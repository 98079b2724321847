package memory

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// hooks is the part of the record that webhooks and deliveries have.
type hooks struct {
	webhooks   map[string]store.Webhook         // by customer
	secrets    map[string][]store.WebhookSecret // by customer; the current one first
	deliveries []*delivery                      // in the order of their numbers
	made       int64                            // how many there ever were
	attempts   map[string][]store.Attempt       // by delivery
	endpoints  map[string]*store.Endpoint       // by EndpointKey
	shares     map[string]*share                // by customer
	takings    int64
	notices    map[[2]string]time.Time // by customer and name
}

// share is what a customer has of the senders.
type share struct {
	inFlight int
	served   int64
}

func newHooks() hooks {
	return hooks{
		webhooks: map[string]store.Webhook{}, secrets: map[string][]store.WebhookSecret{},
		attempts: map[string][]store.Attempt{}, endpoints: map[string]*store.Endpoint{}, shares: map[string]*share{}, notices: map[[2]string]time.Time{},
	}
}

func webhook(w store.Webhook) store.Webhook {
	w.Events, w.Headers = slices.Clone(w.Events), bytes.Clone(w.Headers)
	w.CreatedAt, w.UpdatedAt = instant(w.CreatedAt), instant(w.UpdatedAt)
	w.Timeout, w.Retry.InitialDelay = w.Timeout.Truncate(time.Microsecond), w.Retry.InitialDelay.Truncate(time.Microsecond)
	return w
}

// Webhook is where a customer is told.
func (s *Store) Webhook(ctx context.Context, customer string) (found store.Webhook, err error) {
	err = s.do(ctx, false, nil, func() error {
		w, ok := s.hooks.webhooks[customer]
		if !ok {
			return unknown("webhook of", customer)
		}
		found = webhook(w)
		return nil
	})
	return found, err
}

// own names the endpoint of a customer.
func own(customer string) string {
	return store.EndpointKey(store.Delivery{Customer: customer, Channel: store.ByWebhook, Own: true})
}

// PutWebhook sets where a customer is told.
func (s *Store) PutWebhook(ctx context.Context, w store.Webhook, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		w = webhook(w)
		if before, ok := s.hooks.webhooks[w.Customer]; ok {
			w.CreatedAt = before.CreatedAt
		}
		s.hooks.webhooks[w.Customer] = w
		key := own(w.Customer)
		if e := s.hooks.endpoints[key]; e != nil {
			*e = store.SetEndpoint(*e, w)
		}
		s.hooks.tidy(key, s.jobs.moment())
		return nil
	})
}

// DeleteWebhook has a customer told no more.
func (s *Store) DeleteWebhook(ctx context.Context, customer string, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		if _, ok := s.hooks.webhooks[customer]; !ok {
			return unknown("webhook of", customer)
		}
		delete(s.hooks.webhooks, customer)
		s.hooks.tidy(own(customer), s.jobs.moment())
		return nil
	})
}

func secret(one store.WebhookSecret) store.WebhookSecret {
	one.Sealed = bytes.Clone(one.Sealed)
	one.CreatedAt, one.ActivatesAt = instant(one.CreatedAt), instant(one.ActivatesAt)
	return one
}

// WebhookSecrets lists what a customer's deliveries are signed with.
func (s *Store) WebhookSecrets(ctx context.Context, customer string) (all []store.WebhookSecret, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, one := range s.hooks.secrets[customer] {
			all = append(all, secret(one))
		}
		return nil
	})
	return all, err
}

// CreateWebhookSecret adds the first secret of a customer, or one that is to follow it.
func (s *Store) CreateWebhookSecret(ctx context.Context, one store.WebhookSecret, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		all := s.hooks.secrets[one.Customer]
		switch {
		case !one.Pending && len(all) > 0:
			return fault.New(store.CodeExists, fault.Usage, "%q has a webhook secret already", one.Customer)
		case one.Pending && len(all) == 0:
			return unknown("webhook secret of", one.Customer)
		case one.Pending:
			all = all[:1]
		}
		if !one.Pending {
			one.ActivatesAt = time.Time{}
		}
		s.hooks.secrets[one.Customer] = append(slices.Clip(all), secret(one))
		return nil
	})
}

// ActivateWebhookSecret has the secret that is to follow be the only one.
func (s *Store) ActivateWebhookSecret(ctx context.Context, customer, id string, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		all := s.hooks.secrets[customer]
		if len(all) < 2 || all[1].ID != id {
			return unknown("webhook secret to activate", id)
		}
		one := all[1]
		one.Pending, one.ActivatesAt = false, time.Time{}
		s.hooks.secrets[customer] = []store.WebhookSecret{one}
		return nil
	})
}

// announce puts an event into the outbox.
func (s *Store) announce(o store.OutboxEvent) {
	s.jobs.announced++
	o.Seq, o.Data = s.jobs.announced, bytes.Clone(o.Data)
	s.jobs.outbox = append(s.jobs.outbox, o)
}

// PutOutbox puts events into the outbox that are no job's.
func (s *Store) PutOutbox(ctx context.Context, events []store.OutboxEvent, audit ...store.Audit) error {
	return s.do(ctx, false, audit, func() error {
		for _, o := range events {
			o.At = instant(s.jobs.now())
			s.announce(o)
		}
		return nil
	})
}

// Endpoints says how it stands with a customer's receivers.
func (s *Store) Endpoints(ctx context.Context, customer string) (all []store.Endpoint, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, e := range s.hooks.endpoints {
			if e.Customer == customer {
				all = append(all, *e)
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b store.Endpoint) int {
		return bytes.Compare([]byte(endpointOrder(a)), []byte(endpointOrder(b)))
	})
	return all, err
}

// endpointOrder sorts the own endpoint first, and then by channel and target.
func endpointOrder(e store.Endpoint) string {
	return strconv.FormatBool(!e.Own) + string(e.Channel) + " " + e.Target
}

// PutNotice puts an event into the outbox, unless one of that name was put for the customer less than a time ago, by the
// steady clock.
func (s *Store) PutNotice(ctx context.Context, e store.OutboxEvent, name string, each time.Duration) (put bool, err error) {
	err = s.do(ctx, false, nil, func() error {
		key, now := [2]string{e.Customer, name}, s.jobs.moment()
		if last, told := s.hooks.notices[key]; told && instant(now.Steady).Sub(last) < each {
			return nil
		}
		s.hooks.notices[key], put = instant(now.Steady), true
		e.At = instant(now.Now)
		s.announce(e)
		return nil
	})
	return put && err == nil, err
}
