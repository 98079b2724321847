package sqlrecord

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func unwritten(what string) error {
	return fault.New(store.CodeFailed, fault.Internal, "the record cannot do this yet: %s", what)
}

// Webhook is where a customer is told.
func (r *Record) Webhook(context.Context, string) (store.Webhook, error) {
	return store.Webhook{}, unwritten("webhook")
}

// PutWebhook sets it.
func (r *Record) PutWebhook(context.Context, store.Webhook, store.Audit) error {
	return unwritten("webhook")
}

// DeleteWebhook removes it.
func (r *Record) DeleteWebhook(context.Context, string, store.Audit) error {
	return unwritten("webhook")
}

// WebhookSecrets lists what a customer's deliveries are signed with.
func (r *Record) WebhookSecrets(context.Context, string) ([]store.WebhookSecret, error) {
	return nil, unwritten("secrets")
}

// CreateWebhookSecret adds one.
func (r *Record) CreateWebhookSecret(context.Context, store.WebhookSecret, store.Audit) error {
	return unwritten("secrets")
}

// ActivateWebhookSecret activates one.
func (r *Record) ActivateWebhookSecret(context.Context, string, string, store.Audit) error {
	return unwritten("secrets")
}

// PutOutbox puts events into the outbox.
func (r *Record) PutOutbox(context.Context, []store.OutboxEvent, ...store.Audit) error {
	return unwritten("outbox")
}

// Expand has events become deliveries.
func (r *Record) Expand(context.Context, []store.Expansion) (int, error) {
	return 0, unwritten("expand")
}

// PutProgress queues the progress of a job.
func (r *Record) PutProgress(context.Context, store.Delivery) error { return unwritten("progress") }

// ClaimDeliveries takes what is to be sent next.
func (r *Record) ClaimDeliveries(context.Context, string) (store.ClaimedDeliveries, bool, error) {
	return store.ClaimedDeliveries{}, false, unwritten("claim")
}

// EndAttempt notes what has become of a request.
func (r *Record) EndAttempt(context.Context, store.DeliveryLease, store.Outcome, store.Retry) ([]store.Delivery, error) {
	return nil, unwritten("attempt")
}

// RecoverDeliveries has those wait again whose leases are over.
func (r *Record) RecoverDeliveries(context.Context) (int, error) { return 0, unwritten("recover") }

// Resend has deliveries sent again.
func (r *Record) Resend(context.Context, store.DeliveryFilter, store.Actor) (int64, error) {
	return 0, unwritten("resend")
}

// PruneDeliveries removes what ended before a time.
func (r *Record) PruneDeliveries(context.Context, time.Time) (int64, error) {
	return 0, unwritten("prune")
}

// Deliveries lists those of a filter.
func (r *Record) Deliveries(context.Context, store.DeliveryFilter) ([]store.Delivery, int64, error) {
	return nil, 0, unwritten("deliveries")
}

// Delivery is one of a customer's.
func (r *Record) Delivery(context.Context, string, string) (store.Delivery, error) {
	return store.Delivery{}, unwritten("delivery")
}

// Attempts is the log of a delivery.
func (r *Record) Attempts(context.Context, string, string) ([]store.Attempt, error) {
	return nil, unwritten("attempts")
}

// Endpoints says how it stands with a customer's receivers.
func (r *Record) Endpoints(context.Context, string) ([]store.Endpoint, error) {
	return nil, unwritten("endpoints")
}

// WebhookStatuses says how it stands with the deliveries of jobs.
func (r *Record) WebhookStatuses(context.Context, string, []string) (map[string]store.DeliveryState, error) {
	return nil, unwritten("statuses")
}

// DeliveryQueues counts what waits and what is dead.
func (r *Record) DeliveryQueues(context.Context) (waiting, dead int64, oldest time.Time, err error) {
	return 0, 0, time.Time{}, unwritten("queues")
}
