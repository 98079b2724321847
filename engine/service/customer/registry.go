package customer

import (
	"context"
	"net/netip"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Record is what the registry asks of the record.
type Record interface {
	Access
	Keys
	SealingKeys
}

// Access is what decides who is let in. Version changes before a change of the other two is acknowledged.
type Access interface {
	Version() uint64
	Keys(ctx context.Context) ([]store.Key, error)
	Disabled(ctx context.Context) ([]string, error)
	SetDisabled(ctx context.Context, customer string, disabled bool, audit store.Audit) error
}

// Keys are the bearer keys.
type Keys interface {
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
}

// Options are what a registry needs beside the record and the customers.
type Options struct {
	// DataKey seals the sealing keys that the service issues.
	DataKey *datakey.Key
	// AdminNetworks are where keys of operators may be used from; none is nowhere.
	AdminNetworks []netip.Prefix
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Registry knows the customers and their keys. It may be used by several goroutines at once.
type Registry struct {
	record Record
	opts   Options
}

// New returns a registry of the customers.
func New(ctx context.Context, record Record, customers []Customer, opts Options) (*Registry, error) {
	r := &Registry{record: record, opts: opts}
	return r, r.Replace(ctx, customers)
}

// Replace takes the customers' new declarations, all of them or, when it returns an error, none. Requests that are
// running keep what they began with.
func (r *Registry) Replace(ctx context.Context, customers []Customer) error { panic("not built yet") }

// Authenticate says who calls, by the text of a bearer key. The address of the caller is the one behind trusted proxies.
func (r *Registry) Authenticate(ctx context.Context, bearer string, from netip.Addr) (Principal, error) {
	panic("not built yet")
}

// Customer returns the customer that a principal asks for by its id, for something that needs a scope.
func (r *Registry) Customer(ctx context.Context, p Principal, id string, scope Scope) (*Customer, error) {
	panic("not built yet")
}

// Flush writes down when keys were last used. It is to be called every minute or so, and at the end.
func (r *Registry) Flush(ctx context.Context) error { panic("not built yet") }

// Sealing is a key that a run seals with, and the count of what it seals.
type Sealing struct {
	ID  string
	Key config.Secret
	// Warning is set when the key has been used 2³¹ times: a new one should be issued.
	Warning *fault.Fault
}

// Sealing returns the key that a customer's deliveries are sealed with, for one run. Done is to be called at its end.
func (r *Registry) Sealing(ctx context.Context, c *Customer) (*Sealing, error) {
	panic("not built yet")
}

// Used says how many units the run has sealed so far. An error is the end of the key: the run must not go on.
func (s *Sealing) Used(ctx context.Context, units int64) error { panic("not built yet") }

// Done says how many units the run has sealed in all.
func (s *Sealing) Done(ctx context.Context, units int64) error { panic("not built yet") }
