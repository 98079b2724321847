package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

type suite struct {
	*testing.T
	store   Store
	advance func(time.Duration)
}

// noon is the time of the tests, finer than a record keeps it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("AEST", 10*3600))

// kept is a time as the record has it.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func after(d time.Duration) time.Time { return noon.Add(d) }

func key(id, customer string) store.Key {
	return store.Key{ID: id, Hash: sha256.Sum256([]byte(id)), Kind: store.Live, Customer: customer, CreatedAt: noon}
}

func audited(what string) store.Audit {
	return store.Audit{At: noon, Who: "user:ann", What: what, Customer: "c", From: "local", Outcome: "ok"}
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) refused(err error, code string) {
	s.Helper()
	if !fault.Is(err, code) {
		s.Fatalf("expected %s, got %v", code, err)
	}
}

func (s *suite) equal(got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("got\n  %+v\nwant\n  %+v", got, want)
	}
}

func (s *suite) allKeys() []store.Key {
	s.Helper()
	all, err := s.store.Keys(s.Context())
	s.ok(err)
	return all
}

func (s *suite) key(id string) store.Key {
	s.Helper()
	all := s.allKeys()
	i := slices.IndexFunc(all, func(k store.Key) bool { return k.ID == id })
	if i < 0 {
		s.Fatalf("there is no key %s", id)
	}
	return all[i]
}

func (s *suite) whats() []string {
	s.Helper()
	rows, err := s.store.AuditOf(s.Context(), "", time.Time{}, 1000)
	s.ok(err)
	var whats []string
	for _, a := range rows {
		whats = append(whats, a.What)
	}
	return whats
}

func (s *suite) keys() {
	ctx := s.Context()
	if all := s.allKeys(); len(all) != 0 {
		s.Fatalf("an empty record has keys: %v", all)
	}
	first := store.Key{
		ID: "key_1", Hash: sha256.Sum256([]byte("one")), Kind: store.Demo, Customer: "c", Label: "night run", Scopes: []string{"procedures", "jobs"},
		CreatedAt: noon, ExpiresAt: after(time.Hour), LastUsedAt: after(time.Minute), RevokedAt: time.Time{},
	}
	operator := store.Key{ID: "key_0", Hash: sha256.Sum256([]byte("two")), Kind: store.Admin, Scopes: []string{"admin"}, CreatedAt: noon}
	s.ok(s.store.CreateKey(ctx, first, 0, audited("a")))
	s.ok(s.store.CreateKey(ctx, operator, 0, audited("b")))
	want := first
	want.CreatedAt, want.ExpiresAt, want.LastUsedAt = kept(first.CreatedAt), kept(first.ExpiresAt), kept(first.LastUsedAt)
	wantOperator := operator
	wantOperator.CreatedAt = kept(noon)
	s.equal(s.allKeys(), []store.Key{want, wantOperator})

	sameID := key("key_1", "d")
	sameID.Hash = sha256.Sum256([]byte("another"))
	s.refused(s.store.CreateKey(ctx, sameID, 0, audited("c")), store.CodeExists)
	sameHash := key("key_3", "d")
	sameHash.Hash = first.Hash
	s.refused(s.store.CreateKey(ctx, sameHash, 0, audited("c")), store.CodeExists)

	s.ok(s.store.RevokeKey(ctx, "key_1", after(time.Second), audited("d")))
	s.ok(s.store.RevokeKey(ctx, "key_1", after(time.Hour), audited("e")))
	s.equal(s.key("key_1").RevokedAt, kept(after(time.Second)))
	s.refused(s.store.RevokeKey(ctx, "key_9", noon, audited("f")), store.CodeUnknown)
	if s.key("key_1").Active(after(2*time.Second)) || !s.key("key_0").Active(noon) {
		s.Fatal("a revoked key is active, or one that is not is none")
	}
	s.equal(s.whats(), []string{"a", "b", "d", "e"})
}

func (s *suite) keyLimit() {
	ctx := s.Context()
	expired := key("expired", "c")
	expired.ExpiresAt = noon // it is not active at its end
	s.ok(s.store.CreateKey(ctx, expired, 2, audited("")))
	s.ok(s.store.CreateKey(ctx, key("another's", "d"), 2, audited("")))
	s.ok(s.store.CreateKey(ctx, key("a", "c"), 2, audited("")))
	s.ok(s.store.CreateKey(ctx, key("b", "c"), 2, audited("")))
	s.refused(s.store.CreateKey(ctx, key("x", "c"), 2, audited("")), store.CodeTooManyKeys)
	s.ok(s.store.RevokeKey(ctx, "a", noon, audited("")))
	s.ok(s.store.CreateKey(ctx, key("x", "c"), 2, audited("")))
	s.ok(s.store.CreateKey(ctx, key("y", "c"), 0, audited(""))) // no limit
}

func (s *suite) rotation() {
	ctx := s.Context()
	next := func(id string, at time.Time) store.Key {
		k := key(id, "c")
		k.CreatedAt = at
		return k
	}
	s.ok(s.store.CreateKey(ctx, key("a", "c"), 2, audited("")))
	s.ok(s.store.RotateKey(ctx, "a", after(time.Hour), next("b", after(time.Minute)), 2, audited("")))
	s.equal(s.key("a").ExpiresAt, kept(after(time.Hour)))
	s.equal(s.key("a").RevokedAt, time.Time{})

	// Two are active: a third one is refused, and the key that was to be rotated stays as it was.
	s.refused(s.store.RotateKey(ctx, "b", after(time.Hour), next("c", after(2*time.Minute)), 2, audited("")), store.CodeTooManyKeys)
	s.equal(s.key("b").ExpiresAt, time.Time{})
	// At once is possible: the old one does not count.
	s.ok(s.store.RotateKey(ctx, "b", after(2*time.Minute), next("c", after(2*time.Minute)), 2, audited("")))
	s.equal(s.key("b").RevokedAt, kept(after(2*time.Minute)))

	// An earlier end stays.
	s.ok(s.store.RotateKey(ctx, "a", after(5*time.Hour), next("d", after(3*time.Minute)), 9, audited("")))
	s.equal(s.key("a").ExpiresAt, kept(after(time.Hour)))

	s.refused(s.store.RotateKey(ctx, "b", after(time.Hour), next("e", after(3*time.Minute)), 9, audited("")), store.CodeKeyEnded)
	s.refused(s.store.RotateKey(ctx, "a", after(3*time.Hour), next("e", after(2*time.Hour)), 9, audited("")), store.CodeKeyEnded)
	s.refused(s.store.RotateKey(ctx, "z", after(time.Hour), next("e", noon), 9, audited("")), store.CodeUnknown)
	s.refused(s.store.RotateKey(ctx, "c", after(time.Hour), next("a", after(3*time.Minute)), 9, audited("")), store.CodeExists)
	s.equal(s.key("c").ExpiresAt, time.Time{})
}

func (s *suite) lastUse() {
	ctx := s.Context()
	s.ok(s.store.CreateKey(ctx, key("a", "c"), 0, audited("")))
	s.ok(s.store.CreateKey(ctx, key("b", "c"), 0, audited("")))
	s.ok(s.store.TouchKeys(ctx, map[string]time.Time{"a": after(time.Hour), "gone": noon}))
	s.ok(s.store.TouchKeys(ctx, map[string]time.Time{"a": after(time.Minute)}))
	s.ok(s.store.TouchKeys(ctx, nil))
	s.equal(s.key("a").LastUsedAt, kept(after(time.Hour)))
	s.equal(s.key("b").LastUsedAt, time.Time{})
}

func (s *suite) disabled() {
	ctx := s.Context()
	for _, c := range []string{"z", "a", "z"} {
		s.ok(s.store.SetDisabled(ctx, c, true, audited("off "+c)))
	}
	got, err := s.store.Disabled(ctx)
	s.ok(err)
	s.equal(got, []string{"a", "z"})
	s.ok(s.store.SetDisabled(ctx, "z", false, audited("on z")))
	s.ok(s.store.SetDisabled(ctx, "never", false, audited("on never")))
	got, err = s.store.Disabled(ctx)
	s.ok(err)
	s.equal(got, []string{"a"})
	s.equal(s.whats(), []string{"off z", "off a", "off z", "on z", "on never"})
}

func (s *suite) sealing(customer string) []store.SealingKey {
	s.Helper()
	all, err := s.store.SealingKeys(s.Context(), customer)
	s.ok(err)
	return all
}

func (s *suite) sealingKeys() {
	ctx := s.Context()
	for _, k := range []store.SealingKey{
		{Customer: "c", ID: "k1", Sealed: []byte{1, 0, 255}, State: store.SealingActive, CreatedAt: noon},
		{Customer: "d", ID: "k2", Sealed: []byte{2}, CreatedAt: noon},
		{Customer: "c", ID: "k0", Sealed: []byte{3}, CreatedAt: after(time.Minute)},
	} {
		s.ok(s.store.CreateSealingKey(ctx, k, audited("")))
	}
	s.refused(s.store.CreateSealingKey(ctx, store.SealingKey{Customer: "d", ID: "k1", Sealed: []byte{1}}, audited("")), store.CodeExists)
	one := store.SealingKey{Customer: "c", ID: "k1", Sealed: []byte{1, 0, 255}, State: store.SealingNew, CreatedAt: kept(noon)}
	two := store.SealingKey{Customer: "c", ID: "k0", Sealed: []byte{3}, State: store.SealingNew, CreatedAt: kept(after(time.Minute))}
	s.equal(s.sealing("c"), []store.SealingKey{one, two})

	s.ok(s.store.ActivateSealingKey(ctx, "c", "k1", after(time.Hour), audited("")))
	one.State, one.ActivatedAt = store.SealingActive, kept(after(time.Hour))
	s.equal(s.sealing("c"), []store.SealingKey{one, two})
	s.ok(s.store.ActivateSealingKey(ctx, "c", "k1", after(9*time.Hour), audited(""))) // it is active
	s.equal(s.sealing("c"), []store.SealingKey{one, two})

	// The one before retires, and may come back.
	s.ok(s.store.ActivateSealingKey(ctx, "c", "k0", after(2*time.Hour), audited("")))
	one.State, one.RetiredAt = store.SealingRetired, kept(after(2*time.Hour))
	two.State, two.ActivatedAt = store.SealingActive, kept(after(2*time.Hour))
	s.equal(s.sealing("c"), []store.SealingKey{one, two})
	s.ok(s.store.ActivateSealingKey(ctx, "c", "k1", after(3*time.Hour), audited("")))
	one.State, one.ActivatedAt, one.RetiredAt = store.SealingActive, kept(after(3*time.Hour)), time.Time{}
	two.State, two.RetiredAt = store.SealingRetired, kept(after(3*time.Hour))
	s.equal(s.sealing("c"), []store.SealingKey{one, two})

	s.ok(s.store.RetireSealingKey(ctx, "c", "k1", after(4*time.Hour), audited("")))
	s.ok(s.store.RetireSealingKey(ctx, "c", "k1", after(5*time.Hour), audited("")))
	one.State, one.RetiredAt = store.SealingRetired, kept(after(4*time.Hour))
	s.equal(s.sealing("c"), []store.SealingKey{one, two})

	// Another's key is no key of this customer, and nothing is changed by the attempt.
	s.refused(s.store.ActivateSealingKey(ctx, "c", "k2", noon, audited("")), store.CodeUnknown)
	s.refused(s.store.RetireSealingKey(ctx, "c", "k2", noon, audited("")), store.CodeUnknown)
	s.ok(s.store.ActivateSealingKey(ctx, "c", "k0", after(6*time.Hour), audited("")))
	s.refused(s.store.ActivateSealingKey(ctx, "c", "none", after(7*time.Hour), audited("")), store.CodeUnknown)
	s.equal(s.sealing("c")[1].State, store.SealingActive)
	s.equal(s.sealing("d")[0].State, store.SealingNew)
	s.equal(len(s.sealing("nobody")), 0)
}

func (s *suite) sealingUses() {
	ctx := s.Context()
	s.ok(s.store.CreateSealingKey(ctx, store.SealingKey{Customer: "c", ID: "k", Sealed: []byte{1}, CreatedAt: noon}, audited("")))
	for _, c := range []struct {
		customer, id string
		add, want    int64
	}{
		{"c", "k", 0, 0}, {"c", "k", 5, 5}, {"c", "k", 1 << 40, 1<<40 + 5}, {"c", "k", -(1 << 40), 5}, {"c", "k", -9, 0}, {"c", "k", 3, 3},
		{"c", "of the configuration", 2, 2}, {"d", "k", 1, 1}, {"d", "x", -1, 0},
	} {
		got, err := s.store.AddSealingUses(ctx, c.customer, c.id, c.add)
		s.ok(err)
		s.equal(got, c.want)
	}
	for customer, want := range map[string]map[string]int64{"c": {"k": 3, "of the configuration": 2}, "d": {"k": 1}, "nobody": {}} {
		got, err := s.store.SealingUses(ctx, customer)
		s.ok(err)
		s.equal(got, want)
	}
	s.equal(len(s.sealing("c")), 1)
}

func (s *suite) requests() {
	ctx := s.Context()
	begun := store.Request{
		ID: "req_1", RunID: "appointments_1_aa", Customer: "c", KeyID: "key_1", Procedure: "appointments", Mode: "auto", Format: "ndjson",
		Status: store.Completed, StartedAt: noon,
	}
	s.ok(s.store.BeginRequest(ctx, begun, audited("begin")))
	s.refused(s.store.BeginRequest(ctx, begun, audited("again")), store.CodeExists)
	want := begun
	want.Status, want.StartedAt = store.Running, kept(noon)
	got, err := s.store.Request(ctx, "c", "req_1")
	s.ok(err)
	s.equal(got, want)

	ended := store.Request{
		ID: "req_1", RunID: "appointments_1_aa", Customer: "d", KeyID: "key_1", Procedure: "appointments", Mode: "stream", Reason: "size", Format: "csv",
		Status: store.Failed, StartedAt: after(time.Hour), EndedAt: after(time.Minute), Rows: 1 << 40, Bytes: 2, SHA256: "ab", Code: "SOURCE_ERROR", Message: "m",
		Receipt: []byte("{\"mac\":\"…\"}\n"),
	}
	s.ok(s.store.EndRequest(ctx, ended, audited("end"), audited("receipt")))
	want = ended
	want.Customer, want.StartedAt, want.EndedAt = "c", kept(noon), kept(after(time.Minute))
	got, err = s.store.Request(ctx, "c", "req_1")
	s.ok(err)
	s.equal(got, want)

	s.refused(s.store.EndRequest(ctx, ended, audited("twice")), store.CodeUnknown)
	s.refused(s.store.EndRequest(ctx, store.Request{ID: "req_2", Status: store.Completed}, audited("never")), store.CodeUnknown)
	_, another := s.store.Request(ctx, "d", "req_1")
	s.refused(another, store.CodeUnknown)
	s.equal(s.whats(), []string{"begin", "end", "receipt"})
}

func (s *suite) prune() {
	ctx := s.Context()
	const old, of = 2496, 32 // more than are removed together
	var wg sync.WaitGroup
	for g := range of {
		wg.Go(func() {
			for i := range old / of {
				r := store.Request{ID: fmt.Sprint("old", g*old/of+i), Customer: "c", StartedAt: noon, EndedAt: noon, Status: store.Completed}
				if err := errors.Join(s.store.BeginRequest(ctx, r), s.store.EndRequest(ctx, r)); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.ok(s.store.BeginRequest(ctx, store.Request{ID: "runs", Customer: "c", StartedAt: noon}))
	s.ok(s.store.BeginRequest(ctx, store.Request{ID: "later", Customer: "c", StartedAt: noon}))
	s.ok(s.store.EndRequest(ctx, store.Request{ID: "later", Status: store.Completed, EndedAt: after(time.Hour)}))
	removed, err := s.store.PruneRequests(ctx, after(time.Hour))
	s.ok(err)
	s.equal(removed, int64(old))
	_, err = s.store.Request(ctx, "c", "old7")
	s.refused(err, store.CodeUnknown)
	for _, id := range []string{"runs", "later"} {
		_, err := s.store.Request(ctx, "c", id)
		s.ok(err)
	}
}

func (s *suite) audit() {
	ctx := s.Context()
	whole := store.Audit{
		At: noon, Who: "key:key_1", What: "request.end", Customer: "c", From: "2001:db8::1", RequestID: "req_1", RunID: "r", Outcome: "ok",
		Details: map[string]string{"rows": "7", "": "", "<&>": "\"\n"},
	}
	s.ok(s.store.AppendAudit(ctx, whole))
	for i, customer := range []string{"d", "c", "", "c"} {
		s.ok(s.store.AppendAudit(ctx, store.Audit{At: after(time.Duration(3-i) * time.Minute), What: fmt.Sprint(i), Customer: customer}))
	}
	whole.At = kept(noon)
	list := func(customer string, since time.Time, most int) (whats []string) {
		s.Helper()
		rows, err := s.store.AuditOf(ctx, customer, since, most)
		s.ok(err)
		for _, a := range rows {
			whats = append(whats, a.What)
		}
		return whats
	}
	rows, err := s.store.AuditOf(ctx, "c", time.Time{}, 1)
	s.ok(err)
	s.equal(rows, []store.Audit{whole})
	// By time, and what is of the same time as it was written.
	s.equal(list("", time.Time{}, 9), []string{"request.end", "3", "2", "1", "0"})
	s.equal(list("c", after(time.Minute), 9), []string{"1"})
	s.equal(list("c", time.Time{}, 2), []string{"request.end", "3"})
	s.equal(len(list("c", time.Time{}, 0)), 0)
	s.equal(len(list("c", time.Time{}, -1)), 0)
}

// pruneAudit: what is older than a time goes, nothing else does, and the audit says so.
func (s *suite) pruneAudit() {
	ctx := s.Context()
	const old, of = 1216, 32 // more than are removed together
	var wg sync.WaitGroup
	for g := range of {
		wg.Go(func() {
			for i := range old / of {
				if err := s.store.AppendAudit(ctx, store.Audit{At: noon, What: fmt.Sprint("old", g*old/of+i), Customer: "c"}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.ok(s.store.AppendAudit(ctx, store.Audit{At: after(time.Hour), What: "kept", Customer: "c"}))
	s.advance(2 * time.Hour)
	removed, err := s.store.PruneAudit(ctx, noon)
	s.ok(err)
	s.equal(removed, int64(0)) // they are of that time, not from before
	removed, err = s.store.PruneAudit(ctx, after(time.Hour))
	s.ok(err)
	s.equal(removed, int64(old))
	rows, err := s.store.AuditOf(ctx, "", time.Time{}, 9)
	s.ok(err)
	s.equal(rows[0].What, "kept")
	told := 0
	for _, a := range rows[1:] {
		s.equal([]any{a.What, a.Who, a.Customer, a.Details["before"], a.At}, []any{"audit.prune", "service", "", noon.Add(time.Hour).UTC().Format(time.RFC3339), s.now()})
		n, err := strconv.Atoi(a.Details["rows"])
		s.ok(err)
		told += n
	}
	s.equal(told, old)
	removed, err = s.store.PruneAudit(ctx, after(time.Hour))
	s.ok(err)
	s.equal(removed, int64(0)) // and leaves no row of it
	again, err := s.store.AuditOf(ctx, "", time.Time{}, 9)
	s.ok(err)
	s.equal(len(again), len(rows))
}

// auditIsPart: what is refused leaves no audit row.
func (s *suite) auditIsPart() {
	ctx := s.Context()
	s.ok(s.store.CreateKey(ctx, key("a", "c"), 1, audited("made")))
	s.refused(s.store.CreateKey(ctx, key("a", "c"), 1, audited("x")), store.CodeExists)
	s.refused(s.store.CreateKey(ctx, key("b", "c"), 1, audited("x")), store.CodeTooManyKeys)
	s.refused(s.store.RevokeKey(ctx, "b", noon, audited("x")), store.CodeUnknown)
	s.refused(s.store.RotateKey(ctx, "b", noon, key("d", "c"), 1, audited("x")), store.CodeUnknown)
	s.refused(s.store.ActivateSealingKey(ctx, "c", "b", noon, audited("x")), store.CodeUnknown)
	s.refused(s.store.RetireSealingKey(ctx, "c", "b", noon, audited("x")), store.CodeUnknown)
	s.refused(s.store.EndRequest(ctx, store.Request{ID: "r", Status: store.Failed}, audited("x")), store.CodeUnknown)
	s.equal(s.whats(), []string{"made"})
	s.equal(len(s.allKeys()), 1)
}

// version counts what decides who is let in, and nothing else.
func (s *suite) version() {
	ctx := s.Context()
	for _, c := range []struct {
		name    string
		changes bool
		do      func() error
	}{
		{"create", true, func() error { return s.store.CreateKey(ctx, key("a", "c"), 0, audited("")) }},
		{"touch", false, func() error { return s.store.TouchKeys(ctx, map[string]time.Time{"a": noon}) }},
		{"rotate", true, func() error { return s.store.RotateKey(ctx, "a", after(time.Hour), key("b", "c"), 0, audited("")) }},
		{"revoke", true, func() error { return s.store.RevokeKey(ctx, "a", noon, audited("")) }},
		{"disable", true, func() error { return s.store.SetDisabled(ctx, "c", true, audited("")) }},
		{"enable", true, func() error { return s.store.SetDisabled(ctx, "c", false, audited("")) }},
		{"audit", false, func() error { return s.store.AppendAudit(ctx, audited("")) }},
		{"request", false, func() error { return s.store.BeginRequest(ctx, store.Request{ID: "r"}) }},
		{"uses", false, func() error { _, err := s.store.AddSealingUses(ctx, "c", "k", 1); return err }},
	} {
		before := s.store.Version()
		s.ok(c.do())
		if changed := s.store.Version() != before; changed != c.changes {
			s.Errorf("%s: the version changed: %v, want %v", c.name, changed, c.changes)
		}
	}
}

// text is kept as it is, whatever it holds.
func (s *suite) text() {
	ctx := s.Context()
	for i, hostile := range []string{"'; DROP TABLE keys; --", "Zoë \u202e \U0001f9ea", "a\x00b", "\n\t\"\\", "%s%d", "$1 ?1 :a"} {
		k := key(hostile, hostile)
		k.Label, k.Scopes = hostile, []string{hostile, ""}
		s.ok(s.store.CreateKey(ctx, k, 0, store.Audit{At: noon, Who: hostile, Details: map[string]string{hostile: hostile}}))
		k.CreatedAt = kept(noon)
		s.equal(s.key(hostile), k)
		s.ok(s.store.SetDisabled(ctx, hostile, true, audited("")))
		r := store.Request{ID: hostile, Customer: hostile, Message: hostile}
		s.ok(s.store.BeginRequest(ctx, r))
		r.Status = store.Running
		got, err := s.store.Request(ctx, hostile, hostile)
		s.ok(err)
		s.equal(got, r)
		s.equal(len(s.allKeys()), i+1)
	}
}

// copies: what was given and what is returned belong to the caller.
func (s *suite) copies() {
	ctx := s.Context()
	k := key("a", "c")
	k.Scopes = []string{"jobs"}
	sealed, receipt, details := []byte{1}, []byte{1}, map[string]string{"a": "1"}
	s.ok(s.store.CreateKey(ctx, k, 0, store.Audit{At: noon, Customer: "c", Details: details}))
	s.ok(s.store.CreateSealingKey(ctx, store.SealingKey{Customer: "c", ID: "s", Sealed: sealed}, store.Audit{At: noon}))
	s.ok(s.store.BeginRequest(ctx, store.Request{ID: "r", Customer: "c", Receipt: receipt}))
	k.Scopes[0], sealed[0], receipt[0], details["a"] = "x", 9, 9, "x"
	for range 2 {
		got := s.key("a")
		s.equal(got.Scopes, []string{"jobs"})
		got.Scopes[0] = "x"
		keys := s.sealing("c")
		s.equal(keys[0].Sealed, []byte{1})
		keys[0].Sealed[0] = 9
		r, err := s.store.Request(ctx, "c", "r")
		s.ok(err)
		s.equal(r.Receipt, []byte{1})
		r.Receipt[0] = 9
		rows, err := s.store.AuditOf(ctx, "c", time.Time{}, 1)
		s.ok(err)
		s.equal(rows[0].Details, map[string]string{"a": "1"})
		rows[0].Details["a"] = "x"
	}
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if err := s.store.CreateKey(ctx, key("a", "c"), 0, audited("")); err != context.Canceled {
		s.Fatalf("expected the context's end, got %v", err)
	}
	if _, err := s.store.Keys(ctx); err != context.Canceled {
		s.Fatalf("expected the context's end, got %v", err)
	}
	s.equal(len(s.allKeys()), 0)
}

func (s *suite) closed() {
	ctx := s.Context()
	s.ok(s.store.Close())
	s.ok(s.store.Close())
	s.refused(s.store.CreateKey(ctx, key("a", "c"), 0, audited("")), store.CodeClosed)
	_, err := s.store.Keys(ctx)
	s.refused(err, store.CodeClosed)
	_, err = s.store.Request(ctx, "c", "r")
	s.refused(err, store.CodeClosed)
}

// manyAtOnce: changes that are made at the same moment stand each alone, the refused ones too.
func (s *suite) manyAtOnce() {
	ctx := s.Context()
	const each, of = 25, 8
	var wg sync.WaitGroup
	for g := range of {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", g, i)
				if err := s.store.CreateKey(ctx, key(id, "c"), 0, audited(id)); err != nil {
					s.Error(err)
				}
				if err := s.store.CreateKey(ctx, key(id, "c"), 0, audited("refused")); !fault.Is(err, store.CodeExists) {
					s.Errorf("expected a refusal, got %v", err)
				}
				if _, err := s.store.AddSealingUses(ctx, "c", "k", 1); err != nil {
					s.Error(err)
				}
				// What was acknowledged is seen by whoever reads afterwards.
				if all, err := s.store.Keys(ctx); err != nil || !slices.ContainsFunc(all, func(k store.Key) bool { return k.ID == id }) {
					s.Errorf("the key %s is not there: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
	uses, err := s.store.AddSealingUses(ctx, "c", "k", 0)
	s.ok(err)
	s.equal(uses, int64(each*of))
	whats := s.whats()
	s.equal(len(whats), each*of)
	s.equal(slices.Contains(whats, "refused"), false)
	s.equal(len(s.allKeys()), each*of)
}

// oneKeyAtMost: the limit holds when many ask at once.
func (s *suite) oneKeyAtMost() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for g := range 16 {
		wg.Go(func() {
			err := s.store.CreateKey(s.Context(), key(fmt.Sprint(g), "c"), 2, audited(""))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case !fault.Is(err, store.CodeTooManyKeys):
				s.Error(err)
			}
		})
	}
	wg.Wait()
	s.equal(made, 2)
}
