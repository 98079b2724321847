package customer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Record is what the registry asks of the record.
type Record interface {
	Access
	BearerKeys
	SealingKeys
	Announcements
}

// Access is what decides who is let in. Version changes before a change of the others is acknowledged.
type Access interface {
	Version() uint64
	Keys(ctx context.Context) ([]store.Key, error)
	Disabled(ctx context.Context) ([]string, error)
	SetDisabled(ctx context.Context, customer string, disabled bool, audit store.Audit) error
}

// BearerKeys are the keys that callers show.
type BearerKeys interface {
	CreateKey(ctx context.Context, k store.Key, most int, audit store.Audit) error
	RevokeKey(ctx context.Context, id string, at time.Time, audit store.Audit) error
	RotateKey(ctx context.Context, old string, ends time.Time, next store.Key, most int, audit store.Audit) error
	TouchKeys(ctx context.Context, used map[string]time.Time) error
}

// SealingKeys are the keys that the service issues to seal deliveries with.
type SealingKeys interface {
	SealingKeys(ctx context.Context, customer string) ([]store.SealingKey, error)
	CreateSealingKey(ctx context.Context, k store.SealingKey, audit store.Audit) error
	ActivateSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error
	RetireSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error
	AddSealingUses(ctx context.Context, customer, id string, n int64) (int64, error)
	SealingUses(ctx context.Context, customer string) (map[string]int64, error)
}

// Options are what a registry needs beside the record and the customers.
type Options struct {
	// DataKey seals the sealing keys that the service issues. Without it none can be issued or used.
	DataKey *datakey.Key
	// AdminNetworks are where keys of operators may be used from; none is nowhere.
	AdminNetworks []netip.Prefix
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Registry knows the customers and their keys. It may be used by several goroutines at once.
//
// Who is let in is decided from memory: all keys and switches are read again when the record's version has changed, by
// whomever. So a key that was revoked opens nothing from the moment on that the one who revoked it heard of it.
type Registry struct {
	record  Record
	dataKey *datakey.Key
	now     func() time.Time
	seed    maphash.Seed

	customers atomic.Pointer[declared]
	operators atomic.Pointer[[]netip.Prefix]
	access    atomic.Pointer[access]
	reading   sync.Mutex // held while access is read again
	flushing  sync.Mutex
}

// access is the record's part of who is let in, as of one version.
type access struct {
	version  uint64
	entries  []*entry
	keys     map[uint64][]*entry // the entries, by the hash of their hash
	disabled map[string]bool
}

// entry is a bearer key, and when it was last used.
type entry struct {
	store.Key
	scopes Scopes
	use    *use // of all entries of this key, one after another
}

// use is when a key was last used, in microseconds since 1970.
type use struct {
	last    atomic.Int64
	written int64 // as the record knows it; only Flush touches it
}

// New returns a registry of the customers.
func New(ctx context.Context, record Record, customers []Customer, opts Options) (*Registry, error) {
	r := &Registry{record: record, dataKey: opts.DataKey, now: opts.Now, seed: maphash.MakeSeed()}
	if r.now == nil {
		r.now = time.Now
	}
	return r, r.Reload(ctx, customers, opts.AdminNetworks)
}

// Reload is Replace, with other networks of operators as well: all of it or, when it returns an error, nothing.
func (r *Registry) Reload(ctx context.Context, customers []Customer, adminNetworks []netip.Prefix) error {
	operators, err := networks(adminNetworks)
	if err != nil {
		return fault.New(CodeInvalid, fault.Usage, "the networks of operators: %w", err)
	}
	if err := r.Replace(ctx, customers); err != nil {
		return err
	}
	r.operators.Store(&operators)
	return nil
}

// Replace takes the customers' new declarations, all of them or, when it returns an error, none. Requests that are
// running keep what they began with.
func (r *Registry) Replace(ctx context.Context, customers []Customer) error {
	next, err := declare(customers)
	if err != nil {
		return err
	}
	for _, c := range next.all {
		// One that does not open is seen now, and not by the first customer who asks for encryption.
		if _, err := r.active(ctx, c); err != nil && !fault.Is(err, CodeNoSealingKey) {
			return err
		}
	}
	r.customers.Store(next)
	return nil
}

// Authenticate says who calls, by the text of a bearer key. The address is the caller's own, as trusted proxies tell
// it; the zero address is none, and in no network.
func (r *Registry) Authenticate(ctx context.Context, bearer string, from netip.Addr) (Principal, error) {
	if bearer == "" {
		return Principal{}, fault.New(CodeKeyMissing, fault.Usage, "no key was given").WithHint("%s", bearerHint)
	}
	unknown := func() (Principal, error) {
		return Principal{}, fault.New(CodeKeyUnknown, fault.Usage, "the key is not known").
			WithHint("check that it was copied whole; a key is shown once, when it is made, and another one can be made")
	}
	if !wellFormed(bearer) {
		return unknown()
	}
	a, err := r.current(ctx)
	if err != nil {
		return Principal{}, err
	}
	e := a.find(r.seed, sha256.Sum256([]byte(bearer)))
	if e == nil {
		return unknown()
	}
	now := r.now()
	switch {
	case !e.RevokedAt.IsZero():
		return Principal{}, fault.New(CodeKeyRevoked, fault.Usage, "the key %s is revoked", e.ID).
			WithHint("ask for another one")
	case !e.Active(now):
		return Principal{}, fault.New(CodeKeyExpired, fault.Usage, "the key %s has expired, on %s", e.ID,
			e.ExpiresAt.Format(time.RFC3339)).
			WithHint("ask for another one")
	case e.Kind == store.Admin && !contains(*r.operators.Load(), from):
		return Principal{}, addressRefused()
	}
	e.use.note(now)
	return Principal{KeyID: e.ID, Kind: e.Kind, Customer: e.Customer, Scopes: e.scopes, From: from}, nil
}

// Customer returns the customer that a principal asks for by its id, for something that needs a scope. What is not the
// principal's own is CodeUnknown, with one and the same error whether it is there or not. An operator has no customer,
// and no customer's id is empty.
func (r *Registry) Customer(ctx context.Context, p Principal, id string, scope Scope) (*Customer, error) {
	c := r.customers.Load().byID[id]
	if c == nil || p.Customer != id || p.Kind == store.Demo && !c.Demo {
		return nil, fault.New(CodeUnknown, fault.Usage, "there is no such customer for this key").
			WithHint("customer_id is that of the customer whom the key was made for")
	}
	if len(c.Networks) > 0 && !contains(c.Networks, p.From) {
		return nil, addressRefused()
	}
	a, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	if a.disabled[id] {
		return nil, disabled(id)
	}
	if !p.Scopes.Has(scope) {
		return nil, fault.New(CodeScope, fault.Usage, "the key %s has not got the scope %s", p.KeyID, scope).
			WithHint("use a key that has it")
	}
	return &c.Customer, nil
}

func addressRefused() error {
	return fault.New(CodeAddress, fault.Usage, "the key may not be used from this address").
		WithHint("ask the operator of the service to allow the network")
}

// current is who is let in now.
func (r *Registry) current(ctx context.Context) (*access, error) {
	if a := r.access.Load(); a != nil && a.version == r.record.Version() {
		return a, nil
	}
	r.reading.Lock()
	defer r.reading.Unlock()
	before := r.access.Load()
	// Before what it is the version of: a change in between is read again next time.
	version := r.record.Version()
	if before != nil && before.version == version {
		return before, nil
	}
	keys, err := r.record.Keys(ctx)
	if err != nil {
		return nil, err
	}
	disabled, err := r.record.Disabled(ctx)
	if err != nil {
		return nil, err
	}
	uses := map[string]*use{}
	if before != nil {
		for _, e := range before.entries {
			uses[e.ID] = e.use
		}
	}
	a := &access{version: version, keys: map[uint64][]*entry{}, disabled: map[string]bool{}}
	for _, k := range keys {
		e := &entry{Key: k, scopes: scopesOf(k), use: uses[k.ID]}
		if e.use == nil {
			e.use = &use{}
		}
		at := maphash.Bytes(r.seed, k.Hash[:])
		a.keys[at] = append(a.keys[at], e)
		a.entries = append(a.entries, e)
	}
	for _, id := range disabled {
		a.disabled[id] = true
	}
	r.access.Store(a)
	return a, nil
}

// find looks a key up by a hash under a seed that nobody outside knows, and compares in constant time: how long it
// takes says nothing about how much of a hash was right.
func (a *access) find(seed maphash.Seed, hash [32]byte) *entry {
	for _, e := range a.keys[maphash.Bytes(seed, hash[:])] {
		if subtle.ConstantTimeCompare(e.Hash[:], hash[:]) == 1 {
			return e
		}
	}
	return nil
}

// finest is the resolution of the last use: a key that is used a thousand times a second is not noted as often.
const finest = time.Second

func (u *use) note(now time.Time) {
	if at := now.UnixMicro(); at-u.last.Load() >= finest.Microseconds() {
		u.last.Store(at)
	}
}

// Flush writes down when keys were last used, all in one change, and none when none was used. It is to be called every
// minute or so, and at the end.
func (r *Registry) Flush(ctx context.Context) error {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	a := r.access.Load()
	if a == nil {
		return nil
	}
	used := map[string]time.Time{}
	written := map[*use]int64{}
	for _, e := range a.entries {
		if last := e.use.last.Load(); last > e.use.written {
			used[e.ID], written[e.use] = time.UnixMicro(last).UTC(), last
		}
	}
	if len(used) == 0 {
		return nil
	}
	if err := r.record.TouchKeys(ctx, used); err != nil {
		return err
	}
	for u, last := range written {
		u.written = last
	}
	return nil
}
