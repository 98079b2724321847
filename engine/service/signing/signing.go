// Package signing keeps the secrets that a customer's webhooks are signed with, and what else of an endpoint is secret:
// the values of its custom headers. It makes them, rotates them in two steps, and seals them under the key of the data
// directory; it signs nothing, sends nothing and speaks no HTTP. A secret leaves it in two places: to who has it made,
// once, and to who signs.
package signing

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// CodeNothingPending says that no rotation has made a secret that could be activated.
const CodeNothingPending = "signing.nothing_pending"

// RotateAfter is how long after a rotation the new secret takes the place of the old one by itself.
const RotateAfter = 7 * 24 * time.Hour

// What the key of the data directory seals here. A text opens for its customer and its secret alone.
const (
	secretPurpose  = "webhook secret"
	headersPurpose = "webhook headers"
)

// Record is what is asked of the record.
type Record interface {
	// WebhookSecrets are those of a customer, the current one first.
	WebhookSecrets(ctx context.Context, customer string) ([]store.WebhookSecret, error)
	CreateWebhookSecret(ctx context.Context, s store.WebhookSecret, audit store.Audit) error
	// ActivateWebhookSecret makes the secret that waits, which is the one that is named, the only one.
	ActivateWebhookSecret(ctx context.Context, customer, id string, audit store.Audit) error
}

// Secret is a secret without its text.
type Secret struct {
	ID        string
	CreatedAt time.Time
	// Pending is one that a rotation has made: what is sent is signed with it beside the current one where a header can
	// carry both, and it is the current one from ActivatesAt on, or when it is activated.
	Pending     bool
	ActivatesAt time.Time
}

// Issued is a secret when it is made: the one time that its text is shown.
type Issued struct {
	Secret
	Text config.Secret
}

// Keeper keeps the secrets of all customers. It may be used by several goroutines at once.
type Keeper struct {
	record Record
	key    *datakey.Key
	now    func() time.Time
}

// New returns a keeper that seals under a key; now is the clock.
func New(record Record, key *datakey.Key, now func() time.Time) *Keeper {
	return &Keeper{record, key, now}
}

// service is who makes a customer's first secret, and activates one whose time has come.
var service = store.Actor{Who: "service", From: "local"}

// Secrets are the texts that a delivery of a customer is signed with. The first one is made where there is none; pending is
// empty where no rotation goes on.
func (k *Keeper) Secrets(ctx context.Context, customer string) (current, pending config.Secret, err error) {
	list, err := k.list(ctx, customer)
	if err == nil && len(list) == 0 {
		if _, _, err = k.First(ctx, customer, service); err == nil {
			list, err = k.list(ctx, customer)
		}
	}
	if err != nil {
		return current, pending, err
	}
	for _, s := range list {
		text, err := k.key.Open(secretPurpose, place(s), s.Sealed)
		if err != nil {
			return config.Secret{}, config.Secret{}, err
		}
		if s.Pending {
			pending = config.NewSecret(string(text))
		} else {
			current = config.NewSecret(string(text))
		}
	}
	return current, pending, nil
}

// List are a customer's secrets, the current one first.
func (k *Keeper) List(ctx context.Context, customer string) ([]Secret, error) {
	list, err := k.list(ctx, customer)
	out := make([]Secret, len(list))
	for i, s := range list {
		out[i] = about(s)
	}
	return out, err
}

// First makes the first secret of a customer; made is false where there is one.
func (k *Keeper) First(ctx context.Context, customer string, by store.Actor) (secret Issued, made bool, err error) {
	secret, err = k.make(ctx, customer, false, "webhook.secret_create", by)
	if fault.Is(err, store.CodeExists) {
		return Issued{}, false, nil
	}
	return secret, err == nil, err
}

// Rotate makes another secret, which waits until it is activated. One that waits already is replaced, and a customer who has
// none gets the first one, which waits for nothing.
func (k *Keeper) Rotate(ctx context.Context, customer string, by store.Actor) (Issued, error) {
	list, err := k.list(ctx, customer)
	if err != nil {
		return Issued{}, err
	}
	if len(list) == 0 {
		if secret, made, err := k.First(ctx, customer, by); made || err != nil {
			return secret, err
		}
	}
	return k.make(ctx, customer, true, "webhook.secret_rotate", by)
}

// Activate makes the secret of a rotation the only one.
func (k *Keeper) Activate(ctx context.Context, customer string, by store.Actor) (Secret, error) {
	list, err := k.list(ctx, customer)
	if err != nil {
		return Secret{}, err
	}
	for _, s := range list {
		if s.Pending {
			err := k.activate(ctx, s, by)
			s.Pending, s.ActivatesAt = false, time.Time{}
			return about(s), err
		}
	}
	return Secret{}, fault.New(CodeNothingPending, fault.Usage, "no secret of the customer %q waits to be activated", customer).
		WithHint("rotate it first")
}

// SealHeaders seals the custom headers of a customer's endpoint; none are nothing.
func (k *Keeper) SealHeaders(customer string, headers map[string]string) ([]byte, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(headers)
	if err != nil {
		return nil, err
	}
	return k.key.Seal(headersPurpose, customer, text), nil
}

// OpenHeaders opens what SealHeaders has sealed.
func (k *Keeper) OpenHeaders(customer string, sealed []byte) (headers map[string]string, err error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	text, err := k.key.Open(headersPurpose, customer, sealed)
	if err == nil {
		err = json.Unmarshal(text, &headers)
	}
	return headers, err
}

// list are the secrets of a customer, after one whose time has come was activated.
func (k *Keeper) list(ctx context.Context, customer string) ([]store.WebhookSecret, error) {
	list, err := k.record.WebhookSecrets(ctx, customer)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Pending && !k.now().Before(s.ActivatesAt) {
			// Another process may be first, and somebody may have rotated it again.
			if err := k.activate(ctx, s, service); err != nil && !fault.Is(err, CodeNothingPending) {
				return nil, err
			}
			return k.record.WebhookSecrets(ctx, customer)
		}
	}
	return list, nil
}

func (k *Keeper) activate(ctx context.Context, s store.WebhookSecret, by store.Actor) error {
	err := k.record.ActivateWebhookSecret(ctx, s.Customer, s.ID, k.did("webhook.secret_activate", s, by))
	if fault.Is(err, store.CodeUnknown) {
		return fault.New(CodeNothingPending, fault.Usage, "another has activated the secret of the customer %q", s.Customer)
	}
	return err
}

func (k *Keeper) make(ctx context.Context, customer string, pending bool, what string, by store.Actor) (Issued, error) {
	var name [6]byte
	_, _ = rand.Read(name[:]) // never fails (crypto/rand)
	text := webhook.NewSecret()
	now := k.now().UTC().Truncate(time.Microsecond)
	s := store.WebhookSecret{Customer: customer, ID: "wsk_" + hex.EncodeToString(name[:]), CreatedAt: now, Pending: pending}
	if pending {
		s.ActivatesAt = now.Add(RotateAfter)
	}
	s.Sealed = k.key.Seal(secretPurpose, place(s), []byte(text))
	if err := k.record.CreateWebhookSecret(ctx, s, k.did(what, s, by)); err != nil {
		return Issued{}, err
	}
	return Issued{about(s), config.NewSecret(text)}, nil
}

func (k *Keeper) did(what string, s store.WebhookSecret, by store.Actor) store.Audit {
	return store.Audit{At: k.now(), Who: by.Who, What: what, Customer: s.Customer, From: by.From, RequestID: by.RequestID, Outcome: "ok",
		Details: map[string]string{"secret_id": s.ID}}
}

// place binds a sealed secret to whose it is. No customer's id has a slash in it.
func place(s store.WebhookSecret) string { return s.Customer + "/" + s.ID }

func about(s store.WebhookSecret) Secret { return Secret{s.ID, s.CreatedAt, s.Pending, s.ActivatesAt} }
