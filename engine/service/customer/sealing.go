package customer

import (
	"context"
	"encoding/base64"
	"sync"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// How often a key of AES-GCM may be used with random nonces: 2³² times (NIST SP 800-38D, section 8.3). Half of it is
// when to say so.
const (
	mostUses = 1 << 32
	warnUses = 1 << 31
)

// block is how many uses are counted ahead at a time: a run whose process is killed has counted too many, never too
// few. Half of it is more than is sealed between two looks at a run, a quarter of a second. One that seals a million
// rows writes to the record three times.
const block = 1 << 19

// sealingPurpose is what the data directory's key seals them for.
const sealingPurpose = "sealing key"

// Sealing is a key that a run seals with, and the count of what it seals. It may be used by several goroutines at once.
type Sealing struct {
	ID string
	// Key is the key, standard base64 of 32 bytes.
	Key config.Secret
	// Warning is set when the key has been used 2³¹ times: another one should be issued.
	Warning *fault.Fault

	record   SealingKeys
	customer string
	mu       sync.Mutex
	counted  int64 // in the record, for this run
}

// Sealing returns the key that a customer's deliveries are sealed with, for one run: the one that was activated, or
// else the first of the configuration. Uses of the key are counted before they are made, a block at a time. Used is to
// be called as the run goes on, and Done at its end.
func (r *Registry) Sealing(ctx context.Context, c *Customer) (*Sealing, error) {
	o, err := r.declaredAs(c)
	if err != nil {
		return nil, err
	}
	key, err := r.active(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Sealing{ID: key.id, Key: key.key, record: r.record, customer: c.ID}
	total, err := s.count(ctx, block)
	if err != nil {
		return nil, err
	}
	if total > warnUses {
		s.Warning = fault.New(CodeSealingAlmost, fault.Usage,
			"the sealing key %s of %s has been used %d times, and may be used %d times",
			s.ID, c.ID, total, int64(mostUses)).
			WithHint("cipherstream customer key new %s issues another one; give it to the customer, and activate it",
				c.ID)
	}
	return s, nil
}

// declaredAs is the declaration that a customer is, with its keys. One that a reload has replaced keeps its own.
func (r *Registry) declaredAs(c *Customer) (*one, error) {
	if o := r.customers.Load().byID[c.ID]; o != nil && &o.Customer == c {
		return o, nil
	}
	d, err := declare([]Customer{*c})
	if err != nil {
		return nil, err
	}
	return d.all[0], nil
}

// active is the key that seals for a customer.
func (r *Registry) active(ctx context.Context, c *one) (declaredKey, error) {
	keys, err := r.record.SealingKeys(ctx, c.ID)
	if err != nil {
		return declaredKey{}, err
	}
	for _, k := range keys {
		if k.State == store.SealingActive {
			return r.open(k)
		}
	}
	if len(c.keys) > 0 {
		return c.keys[0], nil
	}
	return declaredKey{}, fault.New(CodeNoSealingKey, fault.Usage, "the customer %s has no key to seal with", c.ID).
		WithHint("cipherstream customer key new %s issues one, and customer key activate makes it the one that seals",
			c.ID)
}

// open takes an issued key out of its seal.
func (r *Registry) open(k store.SealingKey) (declaredKey, error) {
	if r.dataKey == nil {
		return declaredKey{}, noDataKey()
	}
	raw, err := r.dataKey.Open(sealingPurpose, sealingPlace(k.Customer, k.ID), k.Sealed)
	if err != nil {
		return declaredKey{}, fault.New(CodeSealingUnopened, fault.Internal,
			"the sealing key %s of %s cannot be read: %w", k.ID, k.Customer, err).
			WithHint("%s", fault.From(err).Hint)
	}
	return declaredKey{k.ID, config.NewSecret(base64.StdEncoding.EncodeToString(raw))}, nil
}

func noDataKey() error {
	return fault.New(CodeSealingUnopened, fault.Usage,
		"there is no key of the data directory to keep sealing keys under")
}

// sealingPlace binds a sealed key to whose it is. No customer's id has a slash in it.
func sealingPlace(customer, id string) string { return customer + "/" + id }

// count has the record count uses, or give back, and returns how many there are in all. Above what a key may be used
// nothing is counted.
func (s *Sealing) count(ctx context.Context, n int64) (total int64, err error) {
	if total, err = s.record.AddSealingUses(ctx, s.customer, s.ID, n); err != nil {
		return 0, err
	}
	s.counted += n
	if n <= 0 || total <= mostUses {
		return total, nil
	}
	if _, err := s.record.AddSealingUses(context.WithoutCancel(ctx), s.customer, s.ID, -n); err != nil {
		return 0, err
	}
	s.counted -= n
	return 0, fault.New(CodeSealingSpent, fault.Usage,
		"the sealing key %s of %s has been used as often as it may be, %d times", s.ID, s.customer, int64(mostUses)).
		WithHint("cipherstream customer key new %s issues another one; give it to the customer, and activate it",
			s.customer)
}

// Used says how many units the run has sealed so far, or will have soon. An error is the end of the key, or of the
// record: the run must not go on.
func (s *Sealing) Used(ctx context.Context, units int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The next block is counted when half of the last one is used.
	if ahead := units + block/2 - s.counted; ahead > 0 {
		_, err := s.count(ctx, (ahead+block-1)/block*block)
		return err
	}
	return nil
}

// Done says how many units the run has sealed in all, and gives back what was counted ahead. It counts even when ctx
// has ended, and may be called twice: the last number holds.
func (s *Sealing) Done(ctx context.Context, units int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := s.counted - units
	if over == 0 {
		return nil
	}
	if _, err := s.record.AddSealingUses(context.WithoutCancel(ctx), s.customer, s.ID, -over); err != nil {
		return err
	}
	s.counted = units
	return nil
}

// NearlyUsedUp reports whether a key has sealed so much that another should take its place.
func (i SealingKeyInfo) NearlyUsedUp() bool { return i.Uses > warnUses }
