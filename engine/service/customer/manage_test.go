package customer_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
)

func TestWhatKeysMayBeAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, c := range map[string]struct {
		want customer.NewKey
		code string
	}{
		"nobody's":             {customer.NewKey{}, customer.CodeUnknown},
		"an unknown's":         {customer.NewKey{Customer: "lvie"}, customer.CodeUnknown},
		"an operator's of one": {customer.NewKey{Customer: "live", Admin: true}, customer.CodeInvalid},
		"an operator's scope":  {customer.NewKey{Admin: true, Scopes: customer.Scopes{customer.Jobs}}, customer.CodeInvalid},
		"admin of a customer":  {customer.NewKey{Customer: "live", Scopes: customer.Scopes{customer.Admin}}, customer.CodeInvalid},
		"no scope":             {customer.NewKey{Customer: "live", Scopes: customer.Scopes{"everything"}}, customer.CodeInvalid},
		"a scope twice":        {customer.NewKey{Customer: "live", Scopes: customer.Scopes{customer.Jobs, customer.Jobs}}, customer.CodeInvalid},
		"past":                 {customer.NewKey{Customer: "live", ExpiresAt: noon}, customer.CodeInvalid},
		"in an age": {customer.NewKey{Customer: "live",
			ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -14*3600))}, customer.CodeInvalid},
		"two lines": {customer.NewKey{Customer: "live", Label: "a\nb"}, customer.CodeInvalid},
		"long":      {customer.NewKey{Customer: "live", Label: strings.Repeat("x", 201)}, customer.CodeInvalid},
		"no text":   {customer.NewKey{Customer: "live", Label: "\xff"}, customer.CodeInvalid},
	} {
		if _, err := b.manage.CreateKey(t.Context(), c.want); err == nil {
			t.Errorf("%s: a key was made", name)
		} else {
			b.refused(err, c.code)
		}
	}
	rows, err := b.record.AuditOf(t.Context(), "", time.Time{}, 9)
	b.ok(err)
	b.equal(len(rows), 0)

	// A key in the place of a name is not repeated.
	text := newText(t)
	_, asCustomer := b.manage.CreateKey(t.Context(), customer.NewKey{Customer: text})
	_, asScope := b.manage.CreateKey(t.Context(), customer.NewKey{Customer: "live", Scopes: customer.Scopes{customer.Scope(text)}})
	_, toEnable := b.manage.Enable(t.Context(), text)
	for _, err := range []error{asCustomer, asScope, toEnable} {
		if err == nil || strings.Contains(everything(err), text[8:30]) {
			t.Errorf("the error has the key in it: %v", err)
		}
	}

	k := b.key(customer.NewKey{Customer: "live", Label: "Nächte", ExpiresAt: noon.Add(time.Hour)})
	b.equal(k.Scopes, customer.CustomerScopes)
	b.equal([]any{k.State, k.Label, k.ExpiresAt}, []any{customer.KeyActive, "Nächte", noon.Add(time.Hour)})
	rows, err = b.record.AuditOf(t.Context(), "live", time.Time{}, 9)
	b.ok(err)
	b.equal(rows, []store.Audit{{At: noon, Who: "user:ann", What: "key.create", Customer: "live", From: "local", RequestID: "req_1", Outcome: "ok",
		Details: map[string]string{"key_id": k.ID, "kind": "live", "scopes": "procedures jobs webhooks data_stream", "expires_at": "2026-03-01T13:00:00Z"}}})
}

func TestListAndRevoke(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.key(customer.NewKey{Customer: "live", ExpiresAt: noon.Add(time.Minute)})
	second, operator := b.key(customer.NewKey{Customer: "other"}), b.key(customer.NewKey{Admin: true})
	b.clock.pass(time.Hour)
	revoked, err := b.manage.RevokeKey(t.Context(), second.ID)
	b.ok(err)
	b.equal([]any{revoked.State, revoked.RevokedAt}, []any{customer.KeyRevoked, noon.Add(time.Hour)})
	b.clock.pass(time.Hour)
	again, err := b.manage.RevokeKey(t.Context(), second.ID)
	b.ok(err)
	b.equal(again, revoked)

	list, err := b.manage.ListKeys(t.Context(), "")
	b.ok(err)
	var got []string
	for _, k := range list {
		got = append(got, fmt.Sprint(k.ID, k.State))
	}
	b.equal(got, []string{first.ID + "expired", second.ID + "revoked", operator.ID + "active"})
	list, err = b.manage.ListKeys(t.Context(), "nobody")
	b.ok(err)
	b.equal(list, []customer.KeyInfo{})

	for _, id := range []string{"key_none", "", first.Text} {
		_, err := b.manage.RevokeKey(t.Context(), id)
		b.refused(err, customer.CodeNoKey)
		_, err = b.manage.RotateKey(t.Context(), id, 0)
		b.refused(err, customer.CodeNoKey)
		// Whoever takes the key for its id has not told it to the log.
		if id != "" && strings.Contains(everything(err), id) {
			t.Errorf("the error has it in it: %v", err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	works := func(k customer.IssuedKey, code string) {
		t.Helper()
		_, err := b.reach(k.Text, home, "live", customer.Jobs)
		if code == "" {
			b.ok(err)
		} else {
			b.refused(err, code)
		}
	}
	old := b.key(customer.NewKey{Customer: "live", Label: "l", Scopes: customer.Scopes{customer.Jobs}, ExpiresAt: noon.Add(24 * time.Hour)})
	b.clock.pass(time.Hour)
	next, err := b.manage.RotateKey(t.Context(), old.ID, 2*time.Hour)
	b.ok(err)
	b.equal([]any{next.Label, next.Scopes, next.Customer, next.Kind}, []any{"l", customer.Scopes{customer.Jobs}, "live", store.Live})
	b.equal(next.ExpiresAt, noon.Add(25*time.Hour)) // for as long as the old one
	works(old, "")
	works(next, "")

	// Two are active: a third only in the place of one, at once.
	_, err = b.manage.RotateKey(t.Context(), next.ID, time.Hour)
	b.refused(err, customer.CodeTooManyKeys)
	_, err = b.manage.CreateKey(t.Context(), customer.NewKey{Customer: "live"})
	b.refused(err, customer.CodeTooManyKeys)
	third, err := b.manage.RotateKey(t.Context(), next.ID, 0)
	b.ok(err)
	works(next, customer.CodeKeyRevoked)
	works(third, "")

	b.clock.pass(2 * time.Hour)
	works(old, customer.CodeKeyExpired)
	_, err = b.manage.RotateKey(t.Context(), old.ID, time.Hour)
	b.refused(err, customer.CodeKeyEnded)
	_, err = b.manage.RotateKey(t.Context(), third.ID, -time.Second)
	b.refused(err, customer.CodeInvalid)

	operator := b.key(customer.NewKey{Admin: true})
	successor, err := b.manage.RotateKey(t.Context(), operator.ID, 0)
	b.ok(err)
	if !strings.HasPrefix(successor.Text, "cs_admin_") {
		t.Errorf("the successor of an operator's key is %q", successor.Text)
	}

	rows, err := b.record.AuditOf(t.Context(), "live", noon.Add(time.Minute), 1)
	b.ok(err)
	b.equal([]string{rows[0].What, rows[0].Details["rotated"], rows[0].Details["grace"]}, []string{"key.rotate", old.ID, "2h0m0s"})

	// A customer that is declared no more gets no new keys.
	b.ok(b.Replace(t.Context(), nil))
	_, err = b.manage.RotateKey(t.Context(), third.ID, 0)
	b.refused(err, customer.CodeUnknown)
}

func TestCustomers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.key(customer.NewKey{Customer: "live"})
	sealing, err := b.manage.NewSealingKey(t.Context(), "live")
	b.ok(err)
	_, err = b.manage.ActivateSealingKey(t.Context(), "live", sealing.ID)
	b.ok(err)
	_, err = b.manage.Disable(t.Context(), "other")
	b.ok(err)
	list, err := b.manage.ListCustomers(t.Context())
	b.ok(err)
	b.equal(list, []customer.Info{{ID: "demo", Demo: true}, {ID: "live", Name: "Clinic", ActiveKeys: 1, SealingKeyID: sealing.ID}, {ID: "other", Disabled: true}})
	_, err = b.manage.Disable(t.Context(), "nobody")
	b.refused(err, customer.CodeUnknown)
	_, err = b.manage.Enable(t.Context(), "nobody")
	b.refused(err, customer.CodeUnknown)

	// The switch outlives a reload.
	b.ok(b.Replace(t.Context(), []customer.Customer{{ID: "other", Name: "again"}}))
	list, err = b.manage.ListCustomers(t.Context())
	b.ok(err)
	b.equal(list, []customer.Info{{ID: "other", Name: "again", Disabled: true}})
}

// sealsWith is the id of the key that seals for a customer.
func (b *bench) sealsWith(id string) string {
	b.Helper()
	s, err := b.Sealing(b.Context(), &customer.Customer{ID: id, SealingKeys: []config.Secret{sealingKey(1)}})
	if err != nil {
		b.Fatal(err)
	}
	ring, err := envelope.ParseRing(s.Key.Reveal(), "")
	if err != nil || ring.Active() != s.ID {
		b.Errorf("the key is not the one of its id: %v", err)
	}
	b.ok(s.Done(b.Context(), 0))
	return s.ID
}

func TestSealingKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, customer.Customer{ID: "live", SealingKeys: []config.Secret{sealingKey(1), sealingKey(2)}}, customer.Customer{ID: "other"})
	ctx := t.Context()
	list, err := b.manage.ListSealingKeys(ctx, "live")
	b.ok(err)
	b.equal([]any{len(list), list[0].State, list[0].Origin, list[1].State}, []any{2, store.SealingActive, customer.OriginConfig, customer.SealingDeclared})
	declared := list[0].ID
	b.equal(b.sealsWith("live"), declared)

	first, err := b.manage.NewSealingKey(ctx, "live")
	b.ok(err)
	if raw, err := base64.StdEncoding.DecodeString(first.Text); err != nil || len(raw) != 32 || first.State != store.SealingNew {
		t.Errorf("the key is %+v, %v", first.SealingKeyInfo, err)
	}
	b.equal(b.sealsWith("live"), declared) // the customer has to have it first
	info, err := b.manage.ActivateSealingKey(ctx, "live", first.ID)
	b.ok(err)
	b.equal([]any{info.State, info.ActivatedAt}, []any{store.SealingActive, noon})
	b.equal(b.sealsWith("live"), first.ID)

	second, err := b.manage.NewSealingKey(ctx, "live")
	b.ok(err)
	_, err = b.manage.ActivateSealingKey(ctx, "live", second.ID)
	b.ok(err)
	b.equal(b.sealsWith("live"), second.ID)
	list, err = b.manage.ListSealingKeys(ctx, "live")
	b.ok(err)
	var states []string
	for _, k := range list {
		states = append(states, string(k.State))
	}
	b.equal(states, []string{"declared", "declared", "retired", "active"})

	// A step back, for a customer who was not ready.
	_, err = b.manage.ActivateSealingKey(ctx, "live", first.ID)
	b.ok(err)
	b.equal(b.sealsWith("live"), first.ID)
	info, err = b.manage.RetireSealingKey(ctx, "live", first.ID)
	b.ok(err)
	b.equal(info.State, store.SealingRetired)
	b.equal(b.sealsWith("live"), declared)

	for _, c := range []struct{ customer, id, code string }{
		{"live", "0000000000000000", customer.CodeSealingUnknown}, {"live", declared, customer.CodeSealingUnknown},
		{"other", first.ID, customer.CodeSealingUnknown}, {"nobody", first.ID, customer.CodeUnknown}, {"live", first.Text, customer.CodeSealingUnknown},
	} {
		_, activate := b.manage.ActivateSealingKey(ctx, c.customer, c.id)
		_, retire := b.manage.RetireSealingKey(ctx, c.customer, c.id)
		for _, err := range []error{activate, retire} {
			b.refused(err, c.code)
			if strings.Contains(everything(err), first.Text) {
				t.Errorf("the error has the key in it: %v", err)
			}
		}
	}
	_, err = b.manage.NewSealingKey(ctx, "nobody")
	b.refused(err, customer.CodeUnknown)
	_, err = b.Sealing(ctx, &customer.Customer{ID: "other"})
	b.refused(err, customer.CodeNoSealingKey)

	// A key that somebody moves to another customer in the record does not open there.
	there, err := b.record.SealingKeys(ctx, "live")
	b.ok(err)
	b.ok(b.record.CreateSealingKey(ctx, store.SealingKey{Customer: "other", ID: "0123456789abcdef", Sealed: there[0].Sealed}, store.Audit{At: noon, What: "moved"}))
	_, err = b.manage.ActivateSealingKey(ctx, "other", "0123456789abcdef")
	b.refused(err, customer.CodeSealingUnopened)

	// Nothing in the record is the key.
	issued, err := b.record.SealingKeys(ctx, "live")
	b.ok(err)
	rows, err := b.record.AuditOf(ctx, "", time.Time{}, 99)
	b.ok(err)
	raw, _ := base64.StdEncoding.DecodeString(first.Text)
	if all := fmt.Sprintf("%s %+v", issued[0].Sealed, rows); strings.Contains(all, string(raw)) || strings.Contains(all, first.Text) {
		t.Error("the record holds the key")
	}
	var whats []string
	for _, a := range rows {
		whats = append(whats, a.What+" "+a.Details["sealing_key_id"])
	}
	b.equal(whats, []string{"sealing_key.create " + first.ID, "sealing_key.activate " + first.ID, "sealing_key.create " + second.ID,
		"sealing_key.activate " + second.ID, "sealing_key.activate " + first.ID, "sealing_key.retire " + first.ID, "moved "})
}

// TestAnotherDataKey: a record whose sealing keys do not open is seen at the start and at a reload.
func TestAnotherDataKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k, err := b.manage.NewSealingKey(t.Context(), "live")
	b.ok(err)
	live := []customer.Customer{{ID: "live"}}
	with := func(o customer.Options) (*customer.Registry, error) {
		return customer.New(t.Context(), b.record, live, o)
	}
	another, err := with(customer.Options{DataKey: dataKey(t, 8)})
	b.ok(err) // nothing is sealed with it
	_, err = another.Manage(customer.Actor{}).ActivateSealingKey(t.Context(), "live", k.ID)
	b.refused(err, customer.CodeSealingUnopened)
	_, err = b.manage.ActivateSealingKey(t.Context(), "live", k.ID)
	b.ok(err)
	for _, o := range []customer.Options{{DataKey: dataKey(t, 8)}, {}} {
		_, err = with(o)
		b.refused(err, customer.CodeSealingUnopened)
	}
	b.refused(another.Replace(t.Context(), live), customer.CodeSealingUnopened)
	without, err := customer.New(t.Context(), b.record, []customer.Customer{{ID: "other"}}, customer.Options{})
	b.ok(err)
	_, err = without.Manage(customer.Actor{}).NewSealingKey(t.Context(), "other")
	b.refused(err, customer.CodeSealingUnopened)
}

func TestUsesAreCounted(t *testing.T) {
	t.Parallel()
	b := setup(t, customer.Customer{ID: "live", SealingKeys: []config.Secret{sealingKey(1)}})
	ctx := t.Context()
	k := b.key(customer.NewKey{Customer: "live"})
	c, err := b.reach(k.Text, home, "live", customer.Jobs)
	b.ok(err)
	uses := func() int64 {
		t.Helper()
		list, err := b.manage.ListSealingKeys(ctx, "live")
		b.ok(err)
		return list[0].Uses
	}
	begin := func() *customer.Sealing {
		t.Helper()
		s, err := b.Sealing(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := begin()
	if uses() == 0 {
		t.Error("a run that is killed now has counted nothing")
	}
	// However a run goes, what it has sealed is counted before: a million a second, looked at four times in it.
	for units := int64(0); units <= 1_000_000; units += 50_000 {
		b.ok(s.Used(ctx, units))
		if uses() < units+250_000 {
			t.Errorf("%d are sealed, and %d counted", units, uses())
		}
	}
	b.ok(s.Used(ctx, 5_000_000))
	if uses() < 5_000_000 {
		t.Errorf("5,000,000 are sealed, and %d counted", uses())
	}
	b.ok(s.Done(ctx, 1_000_001))
	b.equal(uses(), int64(1_000_001))
	b.ok(s.Done(ctx, 1_000_001))
	b.equal(uses(), int64(1_000_001))

	// A run that sealed more than it had said.
	s = begin()
	b.ok(s.Done(ctx, 9_000_000))
	b.equal(uses(), int64(10_000_001))

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := b.Sealing(ctx, c)
			b.ok(err)
			for units := range int64(10) {
				b.ok(s.Used(ctx, units*100_000))
			}
			b.ok(s.Done(ctx, 1_000_000))
		})
	}
	wg.Wait()
	b.equal(uses(), int64(18_000_001))
}

func TestSpentKey(t *testing.T) {
	t.Parallel()
	b := setup(t, customer.Customer{ID: "live", SealingKeys: []config.Secret{sealingKey(1)}})
	ctx := t.Context()
	c := &customer.Customer{ID: "live", SealingKeys: []config.Secret{sealingKey(1)}}
	s, err := b.Sealing(ctx, c)
	b.ok(err)
	if s.Warning != nil {
		t.Errorf("a new key is warned of: %v", s.Warning)
	}
	b.ok(s.Done(ctx, 1<<31))

	s, err = b.Sealing(ctx, c)
	b.ok(err)
	if s.Warning == nil || s.Warning.Code != customer.CodeSealingAlmost || s.Warning.Hint == "" {
		t.Errorf("the warning is %v", s.Warning)
	}
	// The last uses, and then none: what is refused is not counted.
	b.ok(s.Used(ctx, 1<<31-1<<20))
	b.refused(s.Used(ctx, 1<<31), customer.CodeSealingSpent)
	b.ok(s.Done(ctx, 1<<31))
	_, err = b.Sealing(ctx, c)
	b.refused(err, customer.CodeSealingSpent)
	uses, err := b.record.AddSealingUses(ctx, "live", s.ID, 0)
	b.ok(err)
	b.equal(uses, int64(1<<32))

	// Another key goes on.
	k, err := b.manage.NewSealingKey(ctx, "live")
	b.ok(err)
	_, err = b.manage.ActivateSealingKey(ctx, "live", k.ID)
	b.ok(err)
	b.equal(b.sealsWith("live"), k.ID)
}
