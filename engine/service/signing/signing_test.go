package signing

import (
	"bytes"
	"context"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// setup is a keeper, with a record and a clock of its own.
func setup(t *testing.T) (*Keeper, *memory.Store, *time.Time) {
	t.Helper()
	key, err := datakey.Parse(config.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	record := memory.New()
	return New(record, key, func() time.Time { return now }), record, &now
}

var operator = store.Actor{Who: "key:key_1", From: "127.0.0.1", RequestID: "req_1"}

func texts(t *testing.T, k *Keeper, customer string) (current, pending string) {
	t.Helper()
	a, b, err := k.Secrets(t.Context(), customer)
	if err != nil {
		t.Fatal(err)
	}
	return a.Reveal(), b.Reveal()
}

func (k *Keeper) must(t *testing.T, do func(context.Context, string, store.Actor) (Issued, error)) Issued {
	t.Helper()
	s, err := do(t.Context(), "one", operator)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFirst: a customer has a secret from when it is needed, of 32 random bytes, and a second one is not made beside it.
func TestFirst(t *testing.T) {
	t.Parallel()
	k, record, _ := setup(t)
	current, pending := texts(t, k, "one")
	if raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(current, "whsec_")); err != nil || len(raw) != 32 || pending != "" {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if again, _ := texts(t, k, "one"); again != current {
		t.Error("another secret was made")
	}
	if other, _ := texts(t, k, "two"); other == current {
		t.Error("two customers have one secret")
	}
	if s, made, err := k.First(t.Context(), "one", operator); made || err != nil || s.Text.Reveal() != "" {
		t.Errorf("%v %v", made, err)
	}
	kept, err := record.WebhookSecrets(t.Context(), "one")
	if err != nil || len(kept) != 1 || bytes.Contains(kept[0].Sealed, []byte(current)) {
		t.Errorf("%v, %v", kept, err)
	}
	// What is sealed opens in its place alone.
	kept[0].Customer = "three"
	if err := record.CreateWebhookSecret(t.Context(), kept[0], store.Audit{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Secrets(t.Context(), "three"); !fault.Is(err, datakey.CodeOpen) {
		t.Errorf("another customer's secret: %v", err)
	}
}

// TestRotation: in two steps, or by itself after a week, and written down as whose it was.
func TestRotation(t *testing.T) {
	t.Parallel()
	k, record, now := setup(t)
	if _, err := k.Activate(t.Context(), "one", operator); !fault.Is(err, CodeNothingPending) {
		t.Errorf("%v", err)
	}
	first := k.must(t, k.Rotate)
	if first.Pending {
		t.Error("the first secret waits")
	}
	second := k.must(t, k.Rotate)
	third := k.must(t, k.Rotate)
	if current, pending := texts(t, k, "one"); current != first.Text.Reveal() || pending != third.Text.Reveal() {
		t.Error("the last rotation does not count")
	}
	*now = third.ActivatesAt.Add(-time.Microsecond)
	if current, _ := texts(t, k, "one"); current != first.Text.Reveal() {
		t.Error("it was activated too early")
	}
	*now = third.ActivatesAt
	if current, pending := texts(t, k, "one"); current != third.Text.Reveal() || pending != "" {
		t.Error("it was not activated by itself")
	}
	fourth := k.must(t, k.Rotate)
	s, err := k.Activate(t.Context(), "one", operator)
	if err != nil || s.ID != fourth.ID || s.Pending || !s.ActivatesAt.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	if list, err := k.List(t.Context(), "one"); err != nil || len(list) != 1 || list[0] != s {
		t.Errorf("%+v, %v", list, err)
	}
	rows, err := record.AuditOf(t.Context(), "one", time.Time{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, strings.TrimPrefix(r.What, "webhook.secret_")+" "+r.Details["secret_id"]+" "+r.Who)
	}
	want := []string{"create " + first.ID + " key:key_1", "rotate " + second.ID + " key:key_1", "rotate " + third.ID + " key:key_1", "activate " + third.ID + " service",
		"rotate " + fourth.ID + " key:key_1", "activate " + fourth.ID + " key:key_1"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the audit has\n%s", strings.Join(got, "\n"))
	}
}

// TestHeaders: they open for their customer, and none are nothing.
func TestHeaders(t *testing.T) {
	t.Parallel()
	k, _, _ := setup(t)
	headers := map[string]string{"Authorization": "Bearer geheim"}
	sealed, err := k.SealHeaders("one", headers)
	if err != nil || bytes.Contains(sealed, []byte("geheim")) {
		t.Fatalf("%q %v", sealed, err)
	}
	if got, err := k.OpenHeaders("one", sealed); err != nil || !maps.Equal(got, headers) {
		t.Errorf("%v %v", got, err)
	}
	if _, err := k.OpenHeaders("two", sealed); !fault.Is(err, datakey.CodeOpen) {
		t.Errorf("%v", err)
	}
	if sealed, err := k.SealHeaders("one", nil); err != nil || sealed != nil {
		t.Errorf("%q %v", sealed, err)
	}
	if got, err := k.OpenHeaders("one", nil); err != nil || got != nil {
		t.Errorf("%v %v", got, err)
	}
}
