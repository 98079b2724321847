package sqlrecord

import (
	"context"
	"database/sql"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Webhook is where, of what and how a customer is told; none is CodeUnknown.
func (r *Record) Webhook(ctx context.Context, customer string) (w store.Webhook, err error) {
	found := false
	err = r.read(ctx, func(rows *sql.Rows) (err error) {
		found = true
		w, err = scanWebhook(rows)
		return err
	}, selectWebhook, customer)
	if err == nil && !found {
		err = unknown("webhook of", customer)
	}
	return w, err
}

// PutWebhook sets a customer's webhook, in the place of the one that there may be; that one's CreatedAt stays. What waits
// goes to the new URL. With another URL, or where one that was disabled is enabled, the endpoint begins anew.
func (r *Record) PutWebhook(ctx context.Context, w store.Webhook, audit store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		desk, err := openDesk(tx, w.Customer)
		if err != nil {
			return err
		}
		before, err := tx.webhook(w.Customer)
		if err != nil {
			return err
		}
		w, statement, args := w, insertWebhook, []any(nil)
		if before != nil {
			w.CreatedAt = before.CreatedAt
			statement, args = updateWebhook, []any{w.Customer}
		}
		if _, err := tx.Exec(statement, append(values(webhookValues(&w)...), args...)...); err != nil {
			return err
		}
		if err := desk.reset(func(e *endpointRow) { e.Endpoint = store.SetEndpoint(e.Endpoint, w) }); err != nil {
			return err
		}
		return appendAudit(tx, audit)
	}})
}

// DeleteWebhook has a customer told no more: what waits for its endpoint is dead. Its secret stays.
func (r *Record) DeleteWebhook(ctx context.Context, customer string, audit store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		desk, err := openDesk(tx, customer)
		if err != nil {
			return err
		}
		n, err := tx.Exec("DELETE FROM webhooks WHERE customer = ?", customer)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("webhook of", customer)
		}
		if err := desk.reset(func(*endpointRow) {}); err != nil {
			return err
		}
		return appendAudit(tx, audit)
	}})
}

// reset writes the customer's own endpoint, where it is known, after its settings have changed.
func (d *desk) reset(change func(*endpointRow)) error {
	own := store.Delivery{Customer: d.customer, Channel: store.ByWebhook, Own: true}
	e, err := d.endpoint(own)
	if err != nil {
		return err
	}
	if e.made {
		return d.close()
	}
	change(e)
	return d.close()
}

// WebhookSecrets lists what a customer's deliveries are signed with: the current one, and the one that is to follow.
func (r *Record) WebhookSecrets(ctx context.Context, customer string) (all []store.WebhookSecret, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error {
		one := store.WebhookSecret{Customer: customer}
		err := rows.Scan(&one.ID, &one.Sealed, moment{&one.CreatedAt}, &one.Pending, moment{&one.ActivatesAt})
		all = append(all, one)
		return err
	}, "SELECT id, sealed, created_at, pending, activates_at FROM webhook_secrets WHERE customer = ? ORDER BY pending", customer)
	return all, err
}

// CreateWebhookSecret adds the first secret of a customer, which is CodeExists where there is one; or one that is to
// follow it, in the place of another that was, which is CodeUnknown where there is no first.
func (r *Record) CreateWebhookSecret(ctx context.Context, one store.WebhookSecret, audit store.Audit) error {
	return r.write(ctx, Change{Alone: true, Do: func(tx Tx) error {
		activates := time.Time{}
		if one.Pending {
			var n int
			if err := tx.Row("SELECT count(*) FROM webhook_secrets WHERE customer = ? AND pending = 0", one.Customer).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				return unknown("webhook secret of", one.Customer)
			}
			if _, err := tx.Exec("DELETE FROM webhook_secrets WHERE customer = ? AND pending = 1", one.Customer); err != nil {
				return err
			}
			activates = one.ActivatesAt
		}
		there, err := tx.Insert(`INSERT INTO webhook_secrets (customer, pending, id, sealed, created_at, activates_at)
			VALUES (?, ?, ?, ?, ?, ?)`, one.Customer, one.Pending, one.ID, one.Sealed, Micros(one.CreatedAt), Micros(activates))
		if err != nil {
			return err
		}
		if there {
			return fault.New(store.CodeExists, fault.Usage, "%q has a webhook secret already", one.Customer)
		}
		return appendAudit(tx, audit)
	}})
}

// ActivateWebhookSecret has the secret that is to follow be the only one. The identifier says which is meant: another may
// have taken its place since, and is CodeUnknown.
func (r *Record) ActivateWebhookSecret(ctx context.Context, customer, id string, audit store.Audit) error {
	return r.write(ctx, Change{Alone: true, Do: func(tx Tx) error {
		var n int
		if err := tx.Row("SELECT count(*) FROM webhook_secrets WHERE customer = ? AND pending = 1 AND id = ?", customer, id).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return unknown("webhook secret to activate", id)
		}
		if _, err := tx.Exec("DELETE FROM webhook_secrets WHERE customer = ? AND pending = 0", customer); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE webhook_secrets SET pending = 0, activates_at = 0 WHERE customer = ?", customer); err != nil {
			return err
		}
		return appendAudit(tx, audit)
	}})
}

// PutOutbox puts events into the outbox that are no job's. When they are is the record's time.
func (r *Record) PutOutbox(ctx context.Context, events []store.OutboxEvent, audit ...store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		if err := appendAudit(tx, audit...); err != nil {
			return err
		}
		for _, o := range events {
			o.At = now.Now
			if err := announce(tx, o); err != nil {
				return err
			}
		}
		return nil
	}})
}
