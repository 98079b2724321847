package customer

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Actor is who changes something, for the audit.
type Actor struct {
	// Who is "key:ID" or "user:NAME", and From the address, "admin.sock" or "local".
	Who, From, RequestID string
}

// NewKey is what is asked for of a bearer key.
type NewKey struct {
	Customer string `json:"customer,omitempty"` // empty for an operator's
	// Admin makes a key of an operator, of the scope admin.
	Admin bool   `json:"admin,omitempty"`
	Label string `json:"label,omitempty"`
	// Scopes are all of a customer's when none is given.
	Scopes Scopes `json:"scopes,omitempty"`
	// ExpiresAt is zero for never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// KeyInfo is a bearer key as it is shown in lists.
type KeyInfo struct {
	ID         string        `json:"id"`
	Kind       store.KeyKind `json:"kind"`
	Customer   string        `json:"customer,omitempty"`
	Label      string        `json:"label,omitempty"`
	Scopes     Scopes        `json:"scopes"`
	State      string        `json:"state"` // active, expired, revoked
	CreatedAt  time.Time     `json:"created_at"`
	ExpiresAt  time.Time     `json:"expires_at,omitzero"`
	LastUsedAt time.Time     `json:"last_used_at,omitzero"`
	RevokedAt  time.Time     `json:"revoked_at,omitzero"`
}

// IssuedKey is a bearer key when it is made: the one time that its text is there.
type IssuedKey struct {
	KeyInfo
	Text string `json:"key"`
}

// Info is a customer as it is shown in lists.
type Info struct {
	ID           string `json:"id"`
	Name         string `json:"name,omitempty"`
	Demo         bool   `json:"demo"`
	Disabled     bool   `json:"disabled"`
	ActiveKeys   int    `json:"active_keys"`
	SealingKeyID string `json:"sealing_key_id,omitempty"`
}

// SealingKeyInfo is a sealing key as it is shown in lists.
type SealingKeyInfo struct {
	ID          string             `json:"id"`
	Customer    string             `json:"customer"`
	State       store.SealingState `json:"state"`
	Origin      string             `json:"origin"` // issued, or config
	CreatedAt   time.Time          `json:"created_at,omitzero"`
	ActivatedAt time.Time          `json:"activated_at,omitzero"`
	RetiredAt   time.Time          `json:"retired_at,omitzero"`
	Uses        int64              `json:"uses"`
}

// IssuedSealingKey is a sealing key when it is made: the one time that its text is there.
type IssuedSealingKey struct {
	SealingKeyInfo
	Text string `json:"key"` // standard base64 of 32 bytes
}

// Manager is the work of an operator, done by one.
type Manager struct {
	registry *Registry
	actor    Actor
}

// Manage returns the work of an operator, as the actor's.
func (r *Registry) Manage(actor Actor) *Manager { return &Manager{registry: r, actor: actor} }

// CreateKey issues a bearer key.
func (m *Manager) CreateKey(ctx context.Context, want NewKey) (IssuedKey, error) {
	panic("not built yet")
}

// ListKeys lists a customer's bearer keys, or all of them.
func (m *Manager) ListKeys(ctx context.Context, customer string) ([]KeyInfo, error) {
	panic("not built yet")
}

// RevokeKey ends a bearer key at once.
func (m *Manager) RevokeKey(ctx context.Context, id string) (KeyInfo, error) { panic("not built yet") }

// RotateKey issues a bearer key like another, which ends after a time.
func (m *Manager) RotateKey(ctx context.Context, id string, grace time.Duration) (IssuedKey, error) {
	panic("not built yet")
}

// ListCustomers lists the customers.
func (m *Manager) ListCustomers(ctx context.Context) ([]Info, error) { panic("not built yet") }

// Enable takes a customer into service again.
func (m *Manager) Enable(ctx context.Context, id string) (Info, error) { panic("not built yet") }

// Disable takes a customer out of service.
func (m *Manager) Disable(ctx context.Context, id string) (Info, error) { panic("not built yet") }

// ListSealingKeys lists a customer's sealing keys.
func (m *Manager) ListSealingKeys(ctx context.Context, customer string) ([]SealingKeyInfo, error) {
	panic("not built yet")
}

// NewSealingKey issues a sealing key, which seals nothing before it is activated.
func (m *Manager) NewSealingKey(ctx context.Context, customer string) (IssuedSealingKey, error) {
	panic("not built yet")
}

// ActivateSealingKey makes a sealing key the one that seals; the one before retires.
func (m *Manager) ActivateSealingKey(ctx context.Context, customer, id string) (SealingKeyInfo, error) {
	panic("not built yet")
}

// RetireSealingKey ends sealing with a key.
func (m *Manager) RetireSealingKey(ctx context.Context, customer, id string) (SealingKeyInfo, error) {
	panic("not built yet")
}
