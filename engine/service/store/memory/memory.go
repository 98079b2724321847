// Package memory is the record without a file: what store/sqlite promises, as long as the process lives. It is for
// tests of what stands on the record.
package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Store is a record in memory. Its methods are those of sqlite.Store, which are described there.
type Store struct {
	version atomic.Uint64

	mu       sync.Mutex
	closed   bool
	keys     []store.Key
	disabled map[string]bool
	sealing  []store.SealingKey
	uses     map[[2]string]int64
	requests map[string]store.Request
	audit    []store.Audit
	jobs     jobs
	hooks    hooks

	schedules map[string]*store.Schedule
	streams   map[string]*store.HeldStream // by customer
	logs      map[string]*streamData       // by customer
}

// New returns an empty record.
func New() *Store { return NewAt(time.Now) }

// NewAt returns an empty record with a clock, which decides when leases end. It may be set back and forward as that of
// a machine is, and keeps the leases in order when its times have a monotonic reading, as those of time.Now have.
func NewAt(now func() time.Time) *Store {
	return &Store{
		disabled: map[string]bool{}, uses: map[[2]string]int64{}, requests: map[string]store.Request{}, jobs: newJobs(now),
		hooks:     newHooks(),
		schedules: map[string]*store.Schedule{},
		streams:   map[string]*store.HeldStream{}, logs: map[string]*streamData{},
	}
}

// open is called with the lock held.
func (s *Store) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed {
		return fault.New(store.CodeClosed, fault.Internal, "the record is closed")
	}
	return nil
}

// do is one change: the audit is written, and the version counted, when change has returned no error.
func (s *Store) do(ctx context.Context, access bool, audit []store.Audit, change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	for _, a := range audit {
		s.audit = append(s.audit, kept(a))
	}
	if access {
		s.version.Add(1)
	}
	return nil
}

// kept is a row of the audit as the record keeps it.
func kept(a store.Audit) store.Audit {
	a.At, a.Details = instant(a.At), maps.Clone(a.Details)
	return a
}

// instant is a time as the record keeps it.
func instant(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

func unknown(what, id string) error {
	return fault.New(store.CodeUnknown, fault.Usage, "there is no %s %q", what, id)
}

// Version changes when keys or the switch of a customer have changed.
func (s *Store) Version() uint64 { return s.version.Load() }

// Close ends the use of the record.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Keys lists all bearer keys, the oldest first.
func (s *Store) Keys(ctx context.Context) ([]store.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	all := slices.Clone(s.keys)
	for i := range all {
		all[i].Scopes = slices.Clone(all[i].Scopes)
	}
	return all, nil
}

// CreateKey adds a bearer key.
func (s *Store) CreateKey(ctx context.Context, k store.Key, most int, audit store.Audit) error {
	return s.do(ctx, true, []store.Audit{audit}, func() error { return s.createKey(k, most) })
}

func (s *Store) createKey(k store.Key, most int) error {
	active := 0
	for _, other := range s.keys {
		if other.ID == k.ID || other.Hash == k.Hash {
			return fault.New(store.CodeExists, fault.Usage, "there is a key %q already", k.ID)
		}
		if other.Customer == k.Customer && other.Active(k.CreatedAt) {
			active++
		}
	}
	if most > 0 && active >= most {
		return fault.New(store.CodeTooManyKeys, fault.Usage,
			"%q has %d active keys; it may have %d", k.Customer, active, most)
	}
	k.Scopes = slices.Clone(k.Scopes)
	k.CreatedAt, k.ExpiresAt = instant(k.CreatedAt), instant(k.ExpiresAt)
	k.LastUsedAt, k.RevokedAt = instant(k.LastUsedAt), instant(k.RevokedAt)
	s.keys = append(s.keys, k)
	return nil
}

func (s *Store) key(id string) (*store.Key, error) {
	for i := range s.keys {
		if s.keys[i].ID == id {
			return &s.keys[i], nil
		}
	}
	return nil, unknown("key", id)
}

// RevokeKey ends a bearer key.
func (s *Store) RevokeKey(ctx context.Context, id string, at time.Time, audit store.Audit) error {
	return s.do(ctx, true, []store.Audit{audit}, func() error {
		k, err := s.key(id)
		if err == nil && k.RevokedAt.IsZero() {
			k.RevokedAt = instant(at)
		}
		return err
	})
}

// RotateKey adds a bearer key in the place of another, which ends at a time.
func (s *Store) RotateKey(ctx context.Context, old string, ends time.Time, next store.Key, most int, audit store.Audit) error {
	return s.do(ctx, true, []store.Audit{audit}, func() error {
		k, err := s.key(old)
		if err != nil {
			return err
		}
		if !k.Active(next.CreatedAt) {
			return fault.New(store.CodeKeyEnded, fault.Usage, "the key %q is revoked or has expired", old)
		}
		before := *k
		switch {
		case !ends.After(next.CreatedAt):
			k.RevokedAt = instant(next.CreatedAt)
		case k.ExpiresAt.IsZero() || ends.Before(k.ExpiresAt):
			k.ExpiresAt = instant(ends)
		}
		if err := s.createKey(next, most); err != nil {
			*k = before
			return err
		}
		return nil
	})
}

// TouchKeys notes when keys were last used.
func (s *Store) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	return s.do(ctx, false, nil, func() error {
		for i, k := range s.keys {
			if at, ok := used[k.ID]; ok && instant(at).After(k.LastUsedAt) {
				s.keys[i].LastUsedAt = instant(at)
			}
		}
		return nil
	})
}

// Disabled lists the customers that are out of service.
func (s *Store) Disabled(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.disabled)), nil
}

// SetDisabled takes a customer out of service, or into it again.
func (s *Store) SetDisabled(ctx context.Context, customer string, disabled bool, audit store.Audit) error {
	return s.do(ctx, true, []store.Audit{audit}, func() error {
		if disabled {
			s.disabled[customer] = true
		} else {
			delete(s.disabled, customer)
		}
		return nil
	})
}

// CreateSealingKey adds a key that deliveries may be sealed with.
func (s *Store) CreateSealingKey(ctx context.Context, k store.SealingKey, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		for _, other := range s.sealing {
			if other.ID == k.ID {
				return fault.New(store.CodeExists, fault.Usage, "there is a sealing key %q already", k.ID)
			}
		}
		k.Sealed, k.State = bytes.Clone(k.Sealed), store.SealingNew
		k.CreatedAt, k.ActivatedAt, k.RetiredAt = instant(k.CreatedAt), time.Time{}, time.Time{}
		s.sealing = append(s.sealing, k)
		return nil
	})
}

// SealingKeys lists a customer's, the oldest first.
func (s *Store) SealingKeys(ctx context.Context, customer string) ([]store.SealingKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var all []store.SealingKey
	for _, k := range s.sealing {
		if k.Customer == customer {
			k.Sealed = bytes.Clone(k.Sealed)
			all = append(all, k)
		}
	}
	return all, nil
}

func (s *Store) sealingKey(customer, id string) (*store.SealingKey, error) {
	for i, k := range s.sealing {
		if k.Customer == customer && k.ID == id {
			return &s.sealing[i], nil
		}
	}
	return nil, unknown("sealing key", id)
}

// ActivateSealingKey makes a key the one that seals; the one before retires.
func (s *Store) ActivateSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		k, err := s.sealingKey(customer, id)
		if err != nil {
			return err
		}
		if k.State == store.SealingActive {
			return nil
		}
		for i, other := range s.sealing {
			if other.Customer == customer && other.State == store.SealingActive {
				s.sealing[i].State, s.sealing[i].RetiredAt = store.SealingRetired, instant(at)
			}
		}
		k.State, k.ActivatedAt, k.RetiredAt = store.SealingActive, instant(at), time.Time{}
		return nil
	})
}

// RetireSealingKey ends sealing with a key.
func (s *Store) RetireSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		k, err := s.sealingKey(customer, id)
		if err == nil && k.State != store.SealingRetired {
			k.State, k.RetiredAt = store.SealingRetired, instant(at)
		}
		return err
	})
}

// AddSealingUses counts uses of a sealing key and returns how many there are.
func (s *Store) AddSealingUses(ctx context.Context, customer, id string, n int64) (uses int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		at := [2]string{customer, id}
		s.uses[at] = max(0, s.uses[at]+n)
		uses = s.uses[at]
		return nil
	})
	return uses, err
}

// SealingUses says how often a customer's sealing keys were used.
func (s *Store) SealingUses(ctx context.Context, customer string) (map[string]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	uses := map[string]int64{}
	for at, n := range s.uses {
		if at[0] == customer && n > 0 {
			uses[at[1]] = n
		}
	}
	return uses, nil
}

// BeginRequest notes that a request runs.
func (s *Store) BeginRequest(ctx context.Context, r store.Request, audit ...store.Audit) error {
	return s.do(ctx, false, audit, func() error {
		if _, twice := s.requests[r.ID]; twice {
			return fault.New(store.CodeExists, fault.Usage, "there is a request %q already", r.ID)
		}
		r.Status = store.Running
		s.requests[r.ID] = request(r)
		return nil
	})
}

func request(r store.Request) store.Request {
	r.StartedAt, r.EndedAt, r.Receipt = instant(r.StartedAt), instant(r.EndedAt), bytes.Clone(r.Receipt)
	return r
}

// EndRequest notes how a running request ended.
func (s *Store) EndRequest(ctx context.Context, r store.Request, audit ...store.Audit) error {
	return s.do(ctx, false, audit, func() error {
		before, ok := s.requests[r.ID]
		if !ok || before.Status != store.Running {
			return unknown("running request", r.ID)
		}
		r.Customer, r.StartedAt = before.Customer, before.StartedAt
		s.requests[r.ID] = request(r)
		return nil
	})
}

// Request returns a customer's request.
func (s *Store) Request(ctx context.Context, customer, id string) (store.Request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return store.Request{}, err
	}
	r, ok := s.requests[id]
	if !ok || r.Customer != customer {
		return store.Request{}, unknown("request", id)
	}
	return request(r), nil
}

// PruneRequests removes requests that ended before a time.
func (s *Store) PruneRequests(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		for id, r := range s.requests {
			if r.Status != store.Running && r.EndedAt.Before(instant(before)) {
				delete(s.requests, id)
				removed++
			}
		}
		return nil
	})
	return removed, err
}

// PruneAudit removes the audit from before a time.
func (s *Store) PruneAudit(ctx context.Context, before time.Time) (removed int64, err error) {
	err = s.do(ctx, false, nil, func() error {
		kept := slices.DeleteFunc(slices.Clone(s.audit), func(a store.Audit) bool { return a.At.Before(instant(before)) })
		removed = int64(len(s.audit) - len(kept))
		if s.audit = kept; removed > 0 {
			s.audit = append(s.audit, store.AuditPruned(removed, before, s.jobs.moment()))
		}
		return nil
	})
	return removed, err
}

// AppendAudit adds a row to the audit.
func (s *Store) AppendAudit(ctx context.Context, a store.Audit) error {
	return s.do(ctx, false, []store.Audit{a}, func() error { return nil })
}

// AuditOf lists rows of the audit.
func (s *Store) AuditOf(ctx context.Context, customer string, since time.Time, most int) ([]store.Audit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var rows []store.Audit
	for _, a := range s.audit {
		if (customer == "" || a.Customer == customer) && !a.At.Before(instant(since)) {
			a.Details = maps.Clone(a.Details)
			rows = append(rows, a)
		}
	}
	slices.SortStableFunc(rows, func(a, b store.Audit) int { return a.At.Compare(b.At) })
	return rows[:min(len(rows), max(0, most))], nil
}
