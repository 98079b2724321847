package run

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestAuthenticate: the receipt of a run that sealed is authenticated with the key that sealed, and no other is.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	key := func(b byte) string {
		return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, envelope.KeySize))
	}
	keys := key(1) + "\n" + key(2)
	ring, err := envelope.ParseRing(keys, "")
	if err != nil {
		t.Fatal(err)
	}
	planOf := func(s plan.Stage) *plan.Plan {
		return &plan.Plan{Name: "patients", Stages: []plan.Stage{{Kind: stage.KindSource}, s}, Parameters: []plan.Value{
			{Name: "from_date", Value: "2026-01-01"}, {Name: "to_date"}, {Name: "encrypted", Value: true}, {Name: "least", Value: json.Number("1.50")}, {Name: "n", Value: int64(3)},
		}}
	}
	sealing := plan.Stage{ID: "encryptor", Kind: stage.KindEncryptor, FirstParty: true, Config: map[string]any{"keys": config.NewSecret(keys), "active": nil}}
	other := sealing
	other.Config = map[string]any{"keys": config.NewSecret(keys), "active": ring.IDs()[1]}
	began := time.Date(2026, 1, 2, 3, 4, 5, 678_999_999, time.UTC)
	for name, c := range map[string]struct {
		stage plan.Stage
		key   string
	}{
		"first key":          {sealing, ring.IDs()[0]},
		"active":             {other, ring.IDs()[1]},
		"a plugin of others": {plan.Stage{Kind: stage.KindEncryptor, Config: sealing.Config}, ""},
		"no encryptor":       {plan.Stage{Kind: stage.KindFilter, FirstParty: true, Config: sealing.Config}, ""},
	} {
		r := &run{plan: planOf(c.stage)}
		if r.notary, err = newNotary(r.plan); err != nil {
			t.Fatal(err)
		}
		receipt := &Receipt{RunID: "patients_1_0a1b2c3d", Pipeline: "patients", Rows: 3, Bytes: 4, SHA256: strings.Repeat("0a", 32), StartedAt: began}
		r.authenticate(receipt)
		if c.key == "" {
			if receipt.Statement != "" || receipt.MAC != "" {
				t.Errorf("%s: %+v", name, receipt)
			}
			continue
		}
		got, err := ring.Verify(receipt.Statement, receipt.MAC)
		digest, digestErr := envelope.Digest(map[string]any{"from_date": "2026-01-01", "encrypted": true, "least": json.Number("1.50"), "n": int64(3)})
		want := envelope.Statement{RunID: receipt.RunID, Procedure: "patients", Parameters: digest, Rows: 3, Bytes: 4, SHA256: receipt.SHA256,
			KeyID: c.key, Time: began.Truncate(time.Millisecond)}
		if err != nil || digestErr != nil || got != want {
			t.Errorf("%s: %+v, want %+v (%v, %v)", name, got, want, err, digestErr)
		}
	}

	// A sink whose account cannot be authenticated: the output is there, the receipt without proof, and that is told.
	var told []string
	r := &run{plan: planOf(sealing), events: newQueue(func(e Event) {
		if l, ok := e.(Log); ok {
			told = append(told, l.Message)
		}
	})}
	if r.notary, err = newNotary(r.plan); err != nil {
		t.Fatal(err)
	}
	receipt := &Receipt{RunID: "r", Pipeline: "patients", SHA256: "-", StartedAt: began}
	r.authenticate(receipt)
	r.events.close()
	if receipt.MAC != "" || len(told) != 1 || !strings.Contains(told[0], "not authenticated") {
		t.Errorf("%+v, %q", receipt, told)
	}

	// Without a digest there would be nothing to authenticate, and it is known before the run.
	blind := planOf(sealing)
	blind.Stages = append(blind.Stages, plan.Stage{ID: "sink", Kind: stage.KindSink, FirstParty: true, Config: map[string]any{"digest": "none"}})
	if _, err := newNotary(blind); !fault.Is(err, CodeNoDigest) || fault.From(err).Class != fault.Usage || fault.From(err).Stage != "sink" {
		t.Errorf("sealed without a digest: %v", err)
	}

	bad := sealing
	bad.Config = map[string]any{"keys": config.NewSecret("short")}
	if _, err := newNotary(planOf(bad)); !fault.Is(err, "envelope.keys") || fault.From(err).Stage != "encryptor" || strings.Contains(err.Error(), "short") {
		t.Errorf("a bad key: %v", err)
	}
}
