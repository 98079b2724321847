package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Compare does a few hundred random things to two records, and fails where one says or holds something else than the
// other.
func Compare(t *testing.T, random *rand.Rand, a, b Store) {
	t.Helper()
	for step := range 300 {
		what, do := choose(t.Context(), random)
		resultA, errA := do(a)
		resultB, errB := do(b)
		if codeA, codeB := code(errA), code(errB); codeA != codeB {
			t.Fatalf("step %d, %s: one says %q, the other %q (%v, %v)", step, what, codeA, codeB, errA, errB)
		}
		// As text, for which no list and an empty one are the same.
		if saysA, saysB := fmt.Sprintf("%+v", resultA), fmt.Sprintf("%+v", resultB); saysA != saysB {
			t.Fatalf("step %d, %s: one says\n  %s\nthe other\n  %s", step, what, saysA, saysB)
		}
	}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// choose makes up something to do, with few names, so that they meet.
func choose(ctx context.Context, random *rand.Rand) (what string, do func(Store) (any, error)) {
	name := func(kind string, of int) string { return fmt.Sprint(kind, random.IntN(of)) }
	at := noon.Add(time.Duration(random.IntN(40)) * time.Minute / 4)
	later := at.Add(time.Duration(random.IntN(20)-4) * time.Minute)
	id, customer, sealing, request := name("key", 12), name("c", 3), name("s", 6), name("r", 8)
	k := store.Key{ID: name("key", 12), Hash: sha256.Sum256([]byte(name("hash", 14))), Kind: store.Live, Customer: customer, CreatedAt: at, Label: name("l", 3)}
	if random.IntN(2) == 0 {
		k.ExpiresAt = later
	}
	most := random.IntN(4)
	n := int64(random.IntN(20) - 8)
	audit := store.Audit{At: at, What: name("what", 9), Customer: customer, Details: map[string]string{"n": fmt.Sprint(n)}}
	r := store.Request{ID: request, Customer: customer, StartedAt: at, EndedAt: later, Rows: n, Status: store.Completed, Receipt: []byte{byte(n)}}
	none := func(err error) (any, error) { return nil, err }
	all := []struct {
		what string
		do   func(Store) (any, error)
	}{
		{"CreateKey", func(s Store) (any, error) { return none(s.CreateKey(ctx, k, most, audit)) }},
		{"CreateKey", func(s Store) (any, error) { return none(s.CreateKey(ctx, k, most, audit)) }},
		{"RevokeKey", func(s Store) (any, error) { return none(s.RevokeKey(ctx, id, at, audit)) }},
		{"RotateKey", func(s Store) (any, error) { return none(s.RotateKey(ctx, id, later, k, most, audit)) }},
		{"TouchKeys", func(s Store) (any, error) { return none(s.TouchKeys(ctx, map[string]time.Time{id: at})) }},
		{"Keys", func(s Store) (any, error) { return s.Keys(ctx) }},
		{"SetDisabled", func(s Store) (any, error) { return none(s.SetDisabled(ctx, customer, n > 0, audit)) }},
		{"Disabled", func(s Store) (any, error) { return s.Disabled(ctx) }},
		{"CreateSealingKey", func(s Store) (any, error) {
			return none(s.CreateSealingKey(ctx, store.SealingKey{ID: sealing, Customer: customer, Sealed: []byte{byte(n)}, CreatedAt: at}, audit))
		}},
		{"ActivateSealingKey", func(s Store) (any, error) { return none(s.ActivateSealingKey(ctx, customer, sealing, at, audit)) }},
		{"RetireSealingKey", func(s Store) (any, error) { return none(s.RetireSealingKey(ctx, customer, sealing, at, audit)) }},
		{"AddSealingUses", func(s Store) (any, error) { return s.AddSealingUses(ctx, customer, sealing, n) }},
		{"SealingUses", func(s Store) (any, error) { return s.SealingUses(ctx, customer) }},
		{"SealingKeys", func(s Store) (any, error) { return s.SealingKeys(ctx, customer) }},
		{"BeginRequest", func(s Store) (any, error) { return none(s.BeginRequest(ctx, r, audit)) }},
		{"EndRequest", func(s Store) (any, error) { return none(s.EndRequest(ctx, r, audit, audit)) }},
		{"Request", func(s Store) (any, error) { return s.Request(ctx, customer, request) }},
		{"PruneRequests", func(s Store) (any, error) { return s.PruneRequests(ctx, at) }},
		{"AuditOf", func(s Store) (any, error) { return s.AuditOf(ctx, customer, at, int(n)) }},
		{"AuditOf all", func(s Store) (any, error) { return s.AuditOf(ctx, "", time.Time{}, 1000) }},
	}
	one := all[random.IntN(len(all))]
	return one.what, one.do
}
