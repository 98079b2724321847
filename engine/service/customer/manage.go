package customer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
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
	State      KeyState      `json:"state"`
	CreatedAt  time.Time     `json:"created_at"`
	ExpiresAt  time.Time     `json:"expires_at,omitzero"`
	LastUsedAt time.Time     `json:"last_used_at,omitzero"`
	RevokedAt  time.Time     `json:"revoked_at,omitzero"`
}

// KeyState says whether a bearer key opens anything.
type KeyState string

// The states of a bearer key.
const (
	KeyActive  KeyState = "active"
	KeyExpired KeyState = "expired"
	KeyRevoked KeyState = "revoked"
)

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
	Origin      string             `json:"origin"` // OriginIssued or OriginConfig
	CreatedAt   time.Time          `json:"created_at,omitzero"`
	ActivatedAt time.Time          `json:"activated_at,omitzero"`
	RetiredAt   time.Time          `json:"retired_at,omitzero"`
	// Uses is how many units were sealed with it, and how many are spoken for by what runs.
	Uses int64 `json:"uses"`
}

// IssuedSealingKey is a sealing key when it is made: the one time that its text is there.
type IssuedSealingKey struct {
	SealingKeyInfo
	Text string `json:"key"` // standard base64 of 32 bytes
}

// SealingDeclared is the state of a sealing key that the configuration gives and that does not seal; the others are
// those of package store.
const SealingDeclared store.SealingState = "declared"

// Where a sealing key comes from.
const (
	OriginIssued = "issued"
	OriginConfig = "config"
)

// mostActive is how many bearer keys of a customer may be active at once: the old and the new one of a rotation.
const mostActive = 2

// mostLabel bounds a label, in bytes.
const mostLabel = 200

// mostYears bounds for how long a key that expires is good. Later times are slips, and at the end of the calendar no
// time can be written as JSON.
const mostYears = 100

// Manager is the work of an operator, done by one actor. Each change stands in the audit.
type Manager struct {
	r     *Registry
	actor Actor
}

// Manage returns the work of an operator, as the actor's.
func (r *Registry) Manage(actor Actor) *Manager { return &Manager{r, actor} }

// now is the time as the record keeps it, so that what is shown of a new key is what a list shows later.
func (m *Manager) now() time.Time { return m.r.now().UTC().Truncate(time.Microsecond) }

// did is the audit row of a change.
func (m *Manager) did(what, customer string, details map[string]string) store.Audit {
	return store.Audit{
		At: m.r.now(), Who: m.actor.Who, From: m.actor.From, RequestID: m.actor.RequestID,
		What: what, Customer: customer, Outcome: "ok", Details: details,
	}
}

// customer is the one that is declared with an id.
func (m *Manager) customer(id string) (*one, error) {
	if c := m.r.customers.Load().byID[id]; c != nil {
		return c, nil
	}
	return nil, fault.New(CodeUnknown, fault.Usage, "the configuration declares no customer %s", shown(id)).
		WithHint("cipherstream customer list names them")
}

// shown is a text that was given, where it is short: somebody who gives a key in the place of a name does not find it
// in an error afterwards.
func shown(text string) string {
	const shortest = len("cs_live_") + randomDigits + checksumDigits
	if len(text) < shortest {
		return strconv.Quote(text)
	}
	return fmt.Sprintf("of %d bytes", len(text))
}

// CreateKey issues a bearer key: cs_live_…, cs_demo_… for a demo customer, or cs_admin_… for an operator.
func (m *Manager) CreateKey(ctx context.Context, want NewKey) (IssuedKey, error) {
	now := m.now()
	k := store.Key{Kind: store.Admin, Customer: want.Customer, Label: want.Label, CreatedAt: now,
		ExpiresAt: want.ExpiresAt}
	scopes, most := want.Scopes, 0
	switch {
	case want.Admin && want.Customer != "":
		return IssuedKey{}, invalid("a key of an operator belongs to no customer")
	case want.Admin && len(scopes) == 0:
		scopes = Scopes{Admin}
	case want.Admin && !slices.Equal(scopes, Scopes{Admin}):
		return IssuedKey{}, invalid("a key of an operator has the scope %s, and no other", Admin)
	case want.Admin:
	default:
		c, err := m.customer(want.Customer)
		if err != nil {
			return IssuedKey{}, err
		}
		k.Kind, most = kindFor(c), mostActive
		if len(scopes) == 0 {
			scopes = CustomerScopes
		}
		for i, s := range scopes {
			if !CustomerScopes.Has(s) || slices.Contains(scopes[:i], s) {
				return IssuedKey{}, invalid("the scope %s is none that a customer's key may have, or is there twice",
					shown(string(s))).
					WithHint("the scopes are %s", strings.Join(CustomerScopes.texts(), ", "))
			}
		}
	}
	if len(want.Label) > mostLabel || !utf8.ValidString(want.Label) ||
		strings.ContainsFunc(want.Label, unicode.IsControl) {
		return IssuedKey{}, invalid("a label is one line of text, of at most %d bytes", mostLabel)
	}
	if !want.ExpiresAt.IsZero() && !want.ExpiresAt.After(now) {
		return IssuedKey{}, invalid("the key would expire on %s, which is past",
			want.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if want.ExpiresAt.Year() > now.Year()+mostYears {
		return IssuedKey{}, invalid("the key would expire in more than %d years", mostYears).
			WithHint("give no expiry for one that never does")
	}
	k.Scopes = scopes.texts()
	text := identify(&k)
	if err := m.r.record.CreateKey(ctx, k, most, m.did("key.create", k.Customer, keyDetails(k))); err != nil {
		return IssuedKey{}, m.coded(err)
	}
	return IssuedKey{KeyInfo: infoOf(k, now), Text: text}, nil
}

func invalid(format string, args ...any) *fault.Fault {
	return fault.New(CodeInvalid, fault.Usage, format, args...)
}

// kindFor is the kind of a customer's bearer keys.
func kindFor(c *one) store.KeyKind {
	if c.Demo {
		return store.Demo
	}
	return store.Live
}

// identify gives a key its text, hash and id.
func identify(k *store.Key) (text string) {
	text = newKeyText(k.Kind)
	k.ID, k.Hash = "key_"+randomText(16), sha256.Sum256([]byte(text))
	return text
}

func keyDetails(k store.Key) map[string]string {
	d := map[string]string{"key_id": k.ID, "kind": string(k.Kind), "scopes": strings.Join(k.Scopes, " ")}
	if !k.ExpiresAt.IsZero() {
		d["expires_at"] = k.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return d
}

// coded says what the record refuses in the words of this package.
func (m *Manager) coded(err error) error {
	f := fault.From(err)
	switch f.Code {
	case store.CodeTooManyKeys:
		return fault.New(CodeTooManyKeys, fault.Usage,
			"the customer has %d active keys already, and may not have more", mostActive).
			WithHint("see them with cipherstream key list; end one with key revoke ID, or replace one at once with key rotate ID --grace 0")
	case store.CodeKeyEnded:
		return fault.New(CodeKeyEnded, fault.Usage, "the key is revoked or has expired: there is nothing to rotate").
			WithHint("make another one with cipherstream key create")
	}
	return err
}

func infoOf(k store.Key, now time.Time) KeyInfo {
	i := KeyInfo{
		ID: k.ID, Kind: k.Kind, Customer: k.Customer, Label: k.Label, Scopes: scopesOf(k), State: KeyActive,
		CreatedAt: k.CreatedAt.UTC(), ExpiresAt: k.ExpiresAt.UTC(),
		LastUsedAt: k.LastUsedAt.UTC(), RevokedAt: k.RevokedAt.UTC(),
	}
	switch {
	case !k.RevokedAt.IsZero():
		i.State = KeyRevoked
	case !k.Active(now):
		i.State = KeyExpired
	}
	return i
}

// ListKeys lists a customer's bearer keys, or all of them when none is named, the oldest first.
func (m *Manager) ListKeys(ctx context.Context, customer string) ([]KeyInfo, error) {
	if err := m.r.Flush(ctx); err != nil {
		return nil, err
	}
	keys, err := m.r.record.Keys(ctx)
	if err != nil {
		return nil, err
	}
	all := []KeyInfo{}
	for _, k := range keys {
		if customer == "" || k.Customer == customer {
			all = append(all, infoOf(k, m.r.now()))
		}
	}
	return all, nil
}

// key finds a bearer key by its id.
func (m *Manager) key(ctx context.Context, id string) (store.Key, error) {
	keys, err := m.r.record.Keys(ctx)
	if err != nil {
		return store.Key{}, err
	}
	for _, k := range keys {
		if k.ID == id {
			return k, nil
		}
	}
	return store.Key{}, fault.New(CodeNoKey, fault.Usage, "there is no key with this id").
		WithHint("an id begins with key_, and is not the key itself; cipherstream key list has them")
}

// RevokeKey ends a bearer key at once.
func (m *Manager) RevokeKey(ctx context.Context, id string) (KeyInfo, error) {
	k, err := m.key(ctx, id)
	if err != nil {
		return KeyInfo{}, err
	}
	if err := m.r.record.RevokeKey(ctx, id, m.r.now(), m.did("key.revoke", k.Customer, keyDetails(k))); err != nil {
		return KeyInfo{}, m.coded(err)
	}
	if k, err = m.key(ctx, id); err != nil {
		return KeyInfo{}, err
	}
	return infoOf(k, m.r.now()), nil
}

// RotateKey issues a bearer key like another: of the same customer, scopes and label, and for as long. The old one ends
// when the grace is over, at once where it is 0.
func (m *Manager) RotateKey(ctx context.Context, id string, grace time.Duration) (IssuedKey, error) {
	old, err := m.key(ctx, id)
	if err != nil {
		return IssuedKey{}, err
	}
	if grace < 0 {
		return IssuedKey{}, invalid("the grace is %v; it is 0 or more", grace)
	}
	now := m.now()
	next := store.Key{Kind: old.Kind, Customer: old.Customer, Label: old.Label, Scopes: old.Scopes, CreatedAt: now}
	most := 0
	if old.Kind != store.Admin {
		c, err := m.customer(old.Customer)
		if err != nil {
			return IssuedKey{}, err
		}
		next.Kind, most = kindFor(c), mostActive
	}
	if !old.ExpiresAt.IsZero() {
		next.ExpiresAt = now.Add(old.ExpiresAt.Sub(old.CreatedAt))
	}
	text := identify(&next)
	details := keyDetails(next)
	details["rotated"], details["grace"] = old.ID, grace.String()
	audit := m.did("key.rotate", next.Customer, details)
	if err := m.r.record.RotateKey(ctx, id, now.Add(grace), next, most, audit); err != nil {
		return IssuedKey{}, m.coded(err)
	}
	return IssuedKey{KeyInfo: infoOf(next, now), Text: text}, nil
}

// ListCustomers lists the customers that the configuration declares, by id.
func (m *Manager) ListCustomers(ctx context.Context) ([]Info, error) {
	all := []Info{}
	for _, c := range m.r.customers.Load().all {
		info, err := m.info(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

func (m *Manager) info(ctx context.Context, c *one) (Info, error) {
	a, err := m.r.current(ctx)
	if err != nil {
		return Info{}, err
	}
	info := Info{ID: c.ID, Name: c.Name, Demo: c.Demo, Disabled: a.disabled[c.ID]}
	for _, e := range a.entries {
		if e.Customer == c.ID && e.Active(m.r.now()) {
			info.ActiveKeys++
		}
	}
	keys, err := m.sealingKeys(ctx, c)
	for _, k := range keys {
		if k.State == store.SealingActive {
			info.SealingKeyID = k.ID
		}
	}
	return info, err
}

// Enable takes a customer into service again.
func (m *Manager) Enable(ctx context.Context, id string) (Info, error) {
	return m.switchTo(ctx, id, false, "customer.enable")
}

// Disable takes a customer out of service, whatever the configuration says. What runs goes on.
func (m *Manager) Disable(ctx context.Context, id string) (Info, error) {
	return m.switchTo(ctx, id, true, "customer.disable")
}

func (m *Manager) switchTo(ctx context.Context, id string, disabled bool, what string) (Info, error) {
	c, err := m.customer(id)
	if err != nil {
		return Info{}, err
	}
	if err := m.r.record.SetDisabled(ctx, id, disabled, m.did(what, id, nil)); err != nil {
		return Info{}, err
	}
	return m.info(ctx, c)
}

// ListSealingKeys lists a customer's sealing keys, those of the configuration first.
func (m *Manager) ListSealingKeys(ctx context.Context, customer string) ([]SealingKeyInfo, error) {
	c, err := m.customer(customer)
	if err != nil {
		return nil, err
	}
	return m.sealingKeys(ctx, c)
}

func (m *Manager) sealingKeys(ctx context.Context, c *one) ([]SealingKeyInfo, error) {
	issued, err := m.r.record.SealingKeys(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	uses, err := m.r.record.SealingUses(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	all := []SealingKeyInfo{}
	for i, k := range c.keys {
		info := SealingKeyInfo{ID: k.id, Customer: c.ID, State: SealingDeclared, Origin: OriginConfig, Uses: uses[k.id]}
		if i == 0 && !slices.ContainsFunc(issued,
			func(k store.SealingKey) bool { return k.State == store.SealingActive }) {
			info.State = store.SealingActive
		}
		all = append(all, info)
	}
	for _, k := range issued {
		all = append(all, sealingInfo(k, uses[k.ID]))
	}
	return all, nil
}

func sealingInfo(k store.SealingKey, uses int64) SealingKeyInfo {
	return SealingKeyInfo{
		ID: k.ID, Customer: k.Customer, State: k.State, Origin: OriginIssued,
		CreatedAt: k.CreatedAt.UTC(), ActivatedAt: k.ActivatedAt.UTC(), RetiredAt: k.RetiredAt.UTC(), Uses: uses,
	}
}

// NewSealingKey issues a sealing key, which seals nothing before it is activated: the customer has to have it first.
func (m *Manager) NewSealingKey(ctx context.Context, customer string) (IssuedSealingKey, error) {
	c, err := m.customer(customer)
	if err != nil {
		return IssuedSealingKey{}, err
	}
	if m.r.dataKey == nil {
		return IssuedSealingKey{}, noDataKey()
	}
	raw := make([]byte, envelope.KeySize)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	key, err := declareKey(config.NewSecret(base64.StdEncoding.EncodeToString(raw)))
	if err != nil {
		return IssuedSealingKey{}, err
	}
	k := store.SealingKey{
		Customer: c.ID, ID: key.id, State: store.SealingNew, CreatedAt: m.now(),
		Sealed: m.r.dataKey.Seal(sealingPurpose, sealingPlace(c.ID, key.id), raw),
	}
	audit := m.did("sealing_key.create", c.ID, map[string]string{"sealing_key_id": k.ID})
	if err := m.r.record.CreateSealingKey(ctx, k, audit); err != nil {
		return IssuedSealingKey{}, err
	}
	return IssuedSealingKey{SealingKeyInfo: sealingInfo(k, 0), Text: key.key.Reveal()}, nil
}

// ActivateSealingKey makes an issued sealing key the one that seals; the one before retires.
func (m *Manager) ActivateSealingKey(ctx context.Context, customer, id string) (SealingKeyInfo, error) {
	k, err := m.issued(ctx, customer, id)
	if err != nil {
		return SealingKeyInfo{}, err
	}
	if _, err := m.r.open(k); err != nil {
		return SealingKeyInfo{}, err
	}
	audit := m.did("sealing_key.activate", customer, map[string]string{"sealing_key_id": id})
	if err := m.r.record.ActivateSealingKey(ctx, customer, id, m.r.now(), audit); err != nil {
		return SealingKeyInfo{}, err
	}
	return m.sealingKey(ctx, customer, id)
}

// RetireSealingKey ends sealing with an issued key. When it was the one that seals, the first of the configuration does
// so afterwards, and where there is none nothing can be sealed until another is activated.
func (m *Manager) RetireSealingKey(ctx context.Context, customer, id string) (SealingKeyInfo, error) {
	if _, err := m.issued(ctx, customer, id); err != nil {
		return SealingKeyInfo{}, err
	}
	audit := m.did("sealing_key.retire", customer, map[string]string{"sealing_key_id": id})
	if err := m.r.record.RetireSealingKey(ctx, customer, id, m.r.now(), audit); err != nil {
		return SealingKeyInfo{}, err
	}
	return m.sealingKey(ctx, customer, id)
}

// sealingKey is an issued sealing key as it is shown.
func (m *Manager) sealingKey(ctx context.Context, customer, id string) (SealingKeyInfo, error) {
	k, err := m.issued(ctx, customer, id)
	if err != nil {
		return SealingKeyInfo{}, err
	}
	uses, err := m.r.record.SealingUses(ctx, customer)
	return sealingInfo(k, uses[id]), err
}

// issued finds an issued sealing key of a customer.
func (m *Manager) issued(ctx context.Context, customer, id string) (store.SealingKey, error) {
	c, err := m.customer(customer)
	if err != nil {
		return store.SealingKey{}, err
	}
	keys, err := m.r.record.SealingKeys(ctx, customer)
	if err != nil {
		return store.SealingKey{}, err
	}
	for _, k := range keys {
		if k.ID == id {
			return k, nil
		}
	}
	hint := "cipherstream customer key list names them, by the first 16 hexadecimal digits of their SHA-256"
	if slices.ContainsFunc(c.keys, func(k declaredKey) bool { return k.id == id }) {
		hint = "it is one of the configuration: the first there seals, and it is taken out there"
	}
	return store.SealingKey{}, fault.New(CodeSealingUnknown, fault.Usage,
		"the service has issued no sealing key with this id for %s", customer).WithHint("%s", hint)
}
