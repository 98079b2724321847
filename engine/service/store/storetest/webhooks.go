package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// hook is the webhook of a customer.
func hook(customer string) store.Webhook {
	return store.Webhook{
		Customer: customer, URL: "https://" + customer + ".example/hook", Events: []string{"job.completed"}, Enabled: true,
		CreatedAt: noon, UpdatedAt: noon,
	}
}

// durably is the webhook of a customer whose deliveries wait.
func durably(customer string) store.Webhook {
	w := hook(customer)
	w.Retry = store.Retry{Durable: true}
	return w
}

func (s *suite) put(w store.Webhook) {
	s.Helper()
	s.ok(s.store.PutWebhook(s.Context(), w, audited("webhook.put")))
}

func (s *suite) webhook() {
	ctx := s.Context()
	_, err := s.store.Webhook(ctx, "c")
	s.refused(err, store.CodeUnknown)
	w := store.Webhook{
		Customer: "c", URL: "https://c.example/hook?x=ü", Events: []string{"job.completed", "job.progress"}, Enabled: true, Headers: []byte{0, 1, 0xff},
		Retry:   store.Retry{Durable: true, MaxAttempts: 7, Multiplier: 1.25, InitialDelay: 1500*time.Millisecond + 999},
		Timeout: 12 * time.Second, Batch: true, PerMinute: 90, TLS12: true, CreatedAt: noon, UpdatedAt: after(time.Minute),
	}
	s.put(w)
	want := w
	want.CreatedAt, want.UpdatedAt, want.Retry.InitialDelay = kept(w.CreatedAt), kept(w.UpdatedAt), 1500*time.Millisecond
	got, err := s.store.Webhook(ctx, "c")
	s.ok(err)
	s.equal(got, want)
	got.Events[0], got.Headers[0] = "altered", 9
	got, err = s.store.Webhook(ctx, "c")
	s.ok(err)
	s.equal(got, want)

	next := store.Webhook{Customer: "c", URL: "https://c.example/other", CreatedAt: after(time.Hour), UpdatedAt: after(time.Hour)}
	s.put(next)
	want = next
	want.CreatedAt, want.UpdatedAt = kept(noon), kept(after(time.Hour))
	got, err = s.store.Webhook(ctx, "c")
	s.ok(err)
	s.equal(got, want)
	_, err = s.store.Webhook(ctx, "d")
	s.refused(err, store.CodeUnknown)
	s.equal(s.whats(), []string{"webhook.put", "webhook.put"})
}

func (s *suite) webhookDeleted() {
	ctx := s.Context()
	s.refused(s.store.DeleteWebhook(ctx, "c", audited("no")), store.CodeUnknown)
	s.put(hook("c"))
	s.put(hook("d"))
	s.ok(s.store.DeleteWebhook(ctx, "c", audited("webhook.delete")))
	_, err := s.store.Webhook(ctx, "c")
	s.refused(err, store.CodeUnknown)
	_, err = s.store.Webhook(ctx, "d")
	s.ok(err)
	s.equal(s.whats(), []string{"webhook.put", "webhook.put", "webhook.delete"})
}

func secret(id string) store.WebhookSecret {
	return store.WebhookSecret{Customer: "c", ID: id, Sealed: []byte("sealed " + id), CreatedAt: noon}
}

// pending is a secret that is to follow.
func pending(id string) store.WebhookSecret {
	one := secret(id)
	one.Pending, one.ActivatesAt = true, after(7*24*time.Hour)
	return one
}

func (s *suite) secrets() (ids []string) {
	s.Helper()
	all, err := s.store.WebhookSecrets(s.Context(), "c")
	s.ok(err)
	for _, one := range all {
		s.equal([]any{one.Customer, string(one.Sealed), one.CreatedAt}, []any{"c", "sealed " + one.ID, kept(noon)})
		if one.Pending {
			s.equal(one.ActivatesAt, kept(after(7*24*time.Hour)))
			one.ID += " pending"
		} else {
			s.equal(one.ActivatesAt, time.Time{})
		}
		ids = append(ids, one.ID)
	}
	return ids
}

// webhookSecrets: a customer has one, which nothing replaces but a rotation.
func (s *suite) webhookSecrets() {
	ctx := s.Context()
	s.equal(s.secrets(), []string(nil))
	s.refused(s.store.CreateWebhookSecret(ctx, pending("a"), audited("no")), store.CodeUnknown)
	s.ok(s.store.CreateWebhookSecret(ctx, secret("a"), audited("first")))
	s.refused(s.store.CreateWebhookSecret(ctx, secret("b"), audited("no")), store.CodeExists)
	other := secret("a")
	other.Customer = "d"
	s.ok(s.store.CreateWebhookSecret(ctx, other, audited("other")))
	s.equal(s.secrets(), []string{"a"})
	s.equal(s.whats(), []string{"first", "other"})
}

// rotated: the secret that is to follow is replaced by another rotation, and only the one that is meant becomes the one.
func (s *suite) rotated() {
	ctx := s.Context()
	s.ok(s.store.CreateWebhookSecret(ctx, secret("a"), audited("first")))
	s.refused(s.store.ActivateWebhookSecret(ctx, "c", "a", audited("no")), store.CodeUnknown)
	s.ok(s.store.CreateWebhookSecret(ctx, pending("b"), audited("rotate")))
	s.equal(s.secrets(), []string{"a", "b pending"})
	s.ok(s.store.CreateWebhookSecret(ctx, pending("d"), audited("rotate")))
	s.equal(s.secrets(), []string{"a", "d pending"})
	s.refused(s.store.ActivateWebhookSecret(ctx, "c", "b", audited("no")), store.CodeUnknown)
	s.refused(s.store.ActivateWebhookSecret(ctx, "x", "d", audited("no")), store.CodeUnknown)
	s.ok(s.store.ActivateWebhookSecret(ctx, "c", "d", audited("activate")))
	s.equal(s.secrets(), []string{"d"})
	s.refused(s.store.ActivateWebhookSecret(ctx, "c", "d", audited("no")), store.CodeUnknown)
	s.equal(s.whats(), []string{"first", "rotate", "rotate", "activate"})
}

// oneSecret: of many that are made at once a customer has one.
func (s *suite) oneSecret() {
	ctx := context.WithoutCancel(s.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 8 {
		wg.Go(func() {
			if s.store.CreateWebhookSecret(ctx, secret(fmt.Sprint("s", i)), audited("first")) == nil {
				mu.Lock()
				defer mu.Unlock()
				made++
			}
		})
	}
	wg.Wait()
	s.equal([]int{made, len(s.secrets())}, []int{1, 1})
}

// putOutbox: events that are no job's stand in the outbox as a job's do.
func (s *suite) putOutbox() {
	ctx := s.Context()
	s.create(order("a", "c"))
	s.cancel("a")
	s.advance(time.Hour)
	s.ok(s.store.PutOutbox(ctx, []store.OutboxEvent{
		{Customer: "c", Event: store.EventMaintenance, Data: []byte(`{"message":"ü"}`)}, {Customer: "d", Event: store.EventTest},
	}, audited("announce")))
	all, err := s.store.Outbox(ctx, 0, 9)
	s.ok(err)
	s.equal(len(all), 3)
	for i, o := range all {
		if i > 0 && o.Seq <= all[i-1].Seq {
			s.Fatalf("the event %d comes after %d", o.Seq, all[i-1].Seq)
		}
		all[i].Seq = 0
	}
	s.equal(all[1:], []store.OutboxEvent{
		{Customer: "c", Event: store.EventMaintenance, At: s.now(), Data: []byte(`{"message":"ü"}`)},
		{Customer: "d", Event: store.EventTest, At: s.now()},
	})
	s.equal(slices.Contains(s.whats(), "announce"), true)
}
