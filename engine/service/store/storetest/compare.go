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

// Compare does more than a thousand random things to two records, and fails where one says or holds something else than the
// other.
func Compare(t *testing.T, random *rand.Rand, a, b Opened) {
	t.Helper()
	sideA, sideB := &side{Store: a.Store, advance: a.Advance}, &side{Store: b.Store, advance: b.Advance}
	for step := range 1200 {
		what, do := choose(t.Context(), random)
		if step%2 == 1 {
			what, do = chooseDelivery(t.Context(), random)
		}
		resultA, errA := do(sideA)
		resultB, errB := do(sideB)
		if codeA, codeB := code(errA), code(errB); codeA != codeB {
			t.Fatalf("step %d, %s: one says %q, the other %q (%v, %v)", step, what, codeA, codeB, errA, errB)
		}
		// As text, for which no list and an empty one are the same.
		if saysA, saysB := fmt.Sprintf("%+v", resultA), fmt.Sprintf("%+v", resultB); saysA != saysB {
			t.Fatalf("step %d, %s: one says\n  %s\nthe other\n  %s", step, what, saysA, saysB)
		}
	}
}

// side is one of two records, with the leases that it has given.
type side struct {
	Store
	advance func(time.Duration)
	leases  []store.Lease
	sent    []store.DeliveryLease
}

// keep remembers a lease, and is what both sides have of it: their servers are not the same.
func (s *side) keep(l store.Lease) store.Lease {
	if l.Job != "" {
		s.leases = append(s.leases, l)
	}
	l.Server = ""
	return l
}

// lease is one of those that were given, or none.
func (s *side) lease(n int) store.Lease {
	if len(s.leases) == 0 {
		return store.Lease{}
	}
	return s.leases[max(0, len(s.leases)-1-n)]
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// choose makes up something to do, with few names, so that they meet.
func choose(ctx context.Context, random *rand.Rand) (what string, do func(*side) (any, error)) {
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
		do   func(*side) (any, error)
	}{
		{"CreateKey", func(s *side) (any, error) { return none(s.CreateKey(ctx, k, most, audit)) }},
		{"CreateKey", func(s *side) (any, error) { return none(s.CreateKey(ctx, k, most, audit)) }},
		{"RevokeKey", func(s *side) (any, error) { return none(s.RevokeKey(ctx, id, at, audit)) }},
		{"RotateKey", func(s *side) (any, error) { return none(s.RotateKey(ctx, id, later, k, most, audit)) }},
		{"TouchKeys", func(s *side) (any, error) { return none(s.TouchKeys(ctx, map[string]time.Time{id: at})) }},
		{"Keys", func(s *side) (any, error) { return s.Keys(ctx) }},
		{"SetDisabled", func(s *side) (any, error) { return none(s.SetDisabled(ctx, customer, n > 0, audit)) }},
		{"Disabled", func(s *side) (any, error) { return s.Disabled(ctx) }},
		{"CreateSealingKey", func(s *side) (any, error) {
			return none(s.CreateSealingKey(ctx, store.SealingKey{ID: sealing, Customer: customer, Sealed: []byte{byte(n)}, CreatedAt: at}, audit))
		}},
		{"ActivateSealingKey", func(s *side) (any, error) { return none(s.ActivateSealingKey(ctx, customer, sealing, at, audit)) }},
		{"RetireSealingKey", func(s *side) (any, error) { return none(s.RetireSealingKey(ctx, customer, sealing, at, audit)) }},
		{"AddSealingUses", func(s *side) (any, error) { return s.AddSealingUses(ctx, customer, sealing, n) }},
		{"SealingUses", func(s *side) (any, error) { return s.SealingUses(ctx, customer) }},
		{"SealingKeys", func(s *side) (any, error) { return s.SealingKeys(ctx, customer) }},
		{"BeginRequest", func(s *side) (any, error) { return none(s.BeginRequest(ctx, r, audit)) }},
		{"EndRequest", func(s *side) (any, error) { return none(s.EndRequest(ctx, r, audit, audit)) }},
		{"Request", func(s *side) (any, error) { return s.Request(ctx, customer, request) }},
		{"PruneRequests", func(s *side) (any, error) { return s.PruneRequests(ctx, at) }},
		{"PruneAudit", func(s *side) (any, error) { return s.PruneAudit(ctx, at) }},
		{"AuditOf", func(s *side) (any, error) { return s.AuditOf(ctx, customer, at, int(n)) }},
		{"AuditOf all", func(s *side) (any, error) { return s.AuditOf(ctx, "", time.Time{}, 1000) }},
	}
	switch random.IntN(4) {
	case 0:
		return chooseSchedule(ctx, random)
	case 1, 2:
		return chooseJob(ctx, random)
	}
	one := all[random.IntN(len(all))]
	return one.what, one.do
}

// chooseJob makes up something to do with jobs.
func chooseJob(ctx context.Context, random *rand.Rand) (what string, do func(*side) (any, error)) {
	name := func(kind string, of int) string { return fmt.Sprint(kind, random.IntN(of)) }
	at := noon.Add(time.Duration(random.IntN(60*60)) * time.Second)
	id, customer, n, early := name("job", 20), name("c", 3), random.IntN(4), random.IntN(2) == 0
	actor := store.Actor{Who: name("who", 3), RequestID: name("req", 3)}
	made := store.NewJob{By: actor, Job: store.Job{
		ID: id, Customer: customer, Procedure: name("p", 2), Priority: store.Priority(n%3 - 1), Request: []byte{byte('0' + n)},
	}}
	key := store.Idempotency{
		Customer: customer, Route: made.Job.Procedure, Key: name("k", 3), Body: sha256.Sum256([]byte(name("b", 2))), Request: name("req", 3),
	}
	if n == 0 {
		made.Holder = "api"
	}
	if early {
		made.Idempotency = &key
	}
	progress := store.Progress{Rows: int64(random.IntN(9)), Bytes: int64(random.IntN(9)), EstimatedRows: int64(n)}
	ending := store.Ending{
		Event: []store.JobEvent{
			store.JobCompleted, store.JobCompleted, store.JobFailed, store.JobCancelled, store.JobRetried, store.JobReturned, store.JobClaimed,
		}[random.IntN(7)],
		ErrorCode: name("code", 2), Delay: time.Duration(n) * 10 * time.Second, Progress: progress, By: actor,
		Result: store.Result{ObjectKey: name("key", 9), TotalRows: int64(n), ObjectExpires: at, Manifest: []byte(`{"next_since":"2026-03-0` + fmt.Sprint(n) + `"}`)},
	}
	filter := store.JobFilter{
		Customer: customer, Sort: []store.JobSort{"", store.CreatedAsc, store.UpdatedAsc, store.UpdatedDesc}[n], Limit: random.IntN(9),
		Offset: int64(random.IntN(3)),
	}
	if early {
		filter.From, filter.Status = at.Add(-30*time.Minute), []store.Status{"", store.Queued, store.Completed, store.Running}[random.IntN(4)]
	}
	passes := time.Duration(random.IntN(25)) * time.Second
	all := []struct {
		what string
		do   func(*side) (any, error)
	}{
		{"CreateJob", func(s *side) (any, error) {
			j, lease, replayed, err := s.CreateJob(ctx, made)
			return fmt.Sprintf("%+v %+v %v", j, s.keep(lease), replayed), err
		}},
		{"CreateJob", func(s *side) (any, error) {
			j, lease, replayed, err := s.CreateJob(ctx, made)
			return fmt.Sprintf("%+v %+v %v", j, s.keep(lease), replayed), err
		}},
		{"ClaimJob", func(s *side) (any, error) {
			j, lease, ok, err := s.ClaimJob(ctx, "w", nil)
			return fmt.Sprintf("%+v %+v %v", j, s.keep(lease), ok), err
		}},
		{"ClaimJob but", func(s *side) (any, error) {
			j, lease, ok, err := s.ClaimJob(ctx, "w", []string{customer})
			return fmt.Sprintf("%+v %+v %v", j, s.keep(lease), ok), err
		}},
		{"RenewJob", func(s *side) (any, error) { return s.RenewJob(ctx, s.lease(n), progress) }},
		{"EndJob", func(s *side) (any, error) { return s.EndJob(ctx, s.lease(n), ending) }},
		{"EndJob", func(s *side) (any, error) { return s.EndJob(ctx, s.lease(n), ending) }},
		{"CancelJob", func(s *side) (any, error) { return s.CancelJob(ctx, customer, id, actor) }},
		{"RecoverJobs", func(s *side) (any, error) { return s.RecoverJobs(ctx) }},
		{"ReserveIdempotency", func(s *side) (any, error) { return s.ReserveIdempotency(ctx, key) }},
		{"ReleaseIdempotency", func(s *side) (any, error) { return nil, s.ReleaseIdempotency(ctx, key) }},
		{"Job", func(s *side) (any, error) { return s.Job(ctx, customer, id) }},
		{"Jobs", func(s *side) (any, error) {
			list, total, err := s.Jobs(ctx, filter)
			return fmt.Sprintf("%+v %d", list, total), err
		}},
		{"Transitions", func(s *side) (any, error) { return s.Transitions(ctx, customer, id, int64(n)) }},
		{"PastRuns", func(s *side) (any, error) { return s.PastRuns(ctx, customer, made.Job.Procedure) }},
		{"ExtendObject", func(s *side) (any, error) { return nil, s.ExtendObject(ctx, id, at) }},
		{"ExpiredObjects", func(s *side) (any, error) { return s.ExpiredObjects(ctx, at, n) }},
		{"ObjectRemoved", func(s *side) (any, error) { return nil, s.ObjectRemoved(ctx, id) }},
		{"Leftovers", func(s *side) (any, error) { return s.Leftovers(ctx, at, n) }},
		{"LeftoverSwept", func(s *side) (any, error) { return nil, s.LeftoverSwept(ctx, int64(n)) }},
		{"PruneJobs", func(s *side) (any, error) { return s.PruneJobs(ctx, at.Add(-30*time.Minute)) }},
		{"Outbox", func(s *side) (any, error) { return s.Outbox(ctx, int64(n), 9) }},
		{"Queues", func(s *side) (any, error) { return s.Queues(ctx) }},
		{"Clock", func(s *side) (any, error) { s.advance(passes); return s.Clock(ctx) }},
	}
	one := all[random.IntN(len(all))]
	return one.what, one.do
}
