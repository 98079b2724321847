package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CreateSealingKey adds a key that deliveries may be sealed with, in the state new. One with the same id is CodeExists,
// whosever it is.
func (s *Store) CreateSealingKey(ctx context.Context, k store.SealingKey, audit store.Audit) error {
	return s.write(ctx, change{do: func(c execer) error {
		n, err := c.exec(`INSERT INTO sealing_keys (id, customer, sealed, state, created_at, activated_at, retired_at)
			VALUES (?, ?, ?, ?, ?, 0, 0) ON CONFLICT (id) DO NOTHING`, k.ID, k.Customer, k.Sealed, store.SealingNew, micros(k.CreatedAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(store.CodeExists, fault.Usage, "there is a sealing key %q already", k.ID)
		}
		return appendAudit(c, audit)
	}})
}

// SealingKeys lists a customer's, the oldest first, with those that are retired.
func (s *Store) SealingKeys(ctx context.Context, customer string) ([]store.SealingKey, error) {
	var all []store.SealingKey
	err := s.read(ctx, func(rows *sql.Rows) error {
		k := store.SealingKey{Customer: customer}
		var created, activated, retired int64
		err := rows.Scan(&k.ID, &k.Sealed, &k.State, &created, &activated, &retired)
		k.CreatedAt, k.ActivatedAt, k.RetiredAt = instant(created), instant(activated), instant(retired)
		all = append(all, k)
		return err
	}, `SELECT id, sealed, state, created_at, activated_at, retired_at FROM sealing_keys
		WHERE customer = ? ORDER BY seq`, customer)
	return all, err
}

// ActivateSealingKey makes a key the one that seals; the one before retires. A retired key may come back.
func (s *Store) ActivateSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error {
	return s.write(ctx, change{do: func(c execer) error {
		if _, err := c.exec("UPDATE sealing_keys SET state = ?, retired_at = ? WHERE customer = ? AND state = ? AND id <> ?",
			store.SealingRetired, micros(at), customer, store.SealingActive, id); err != nil {
			return err
		}
		// The one that is active already keeps its time.
		n, err := c.exec(`UPDATE sealing_keys SET activated_at = iif(state = ?1, activated_at, ?2), state = ?1, retired_at = 0
			WHERE customer = ?3 AND id = ?4`,
			store.SealingActive, micros(at), customer, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("sealing key", id)
		}
		return appendAudit(c, audit)
	}})
}

// RetireSealingKey ends sealing with a key; one that is retired already keeps its time.
func (s *Store) RetireSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error {
	return s.write(ctx, change{do: func(c execer) error {
		n, err := c.exec(`UPDATE sealing_keys SET retired_at = iif(state = ?1, retired_at, ?2), state = ?1
			WHERE customer = ?3 AND id = ?4`,
			store.SealingRetired, micros(at), customer, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("sealing key", id)
		}
		return appendAudit(c, audit)
	}})
}

// AddSealingUses counts uses of a sealing key, which need not be one of the record's, and returns how many there are. N
// may be negative, to give back uses that were not made.
func (s *Store) AddSealingUses(ctx context.Context, customer, id string, n int64) (uses int64, err error) {
	err = s.write(ctx, change{do: func(c execer) error {
		return c.row(`INSERT INTO sealing_uses (customer, id, uses) VALUES (?1, ?2, max(0, ?3))
			ON CONFLICT (customer, id) DO UPDATE SET uses = max(0, uses + ?3) RETURNING uses`, customer, id, n).Scan(&uses)
	}})
	return uses, err
}

// SealingUses says how often a customer's sealing keys were used, by their ids; one that was never used is not there.
func (s *Store) SealingUses(ctx context.Context, customer string) (map[string]int64, error) {
	uses := map[string]int64{}
	err := s.read(ctx, func(rows *sql.Rows) error {
		var id string
		var n int64
		err := rows.Scan(&id, &n)
		uses[id] = n
		return err
	}, "SELECT id, uses FROM sealing_uses WHERE customer = ? AND uses > 0", customer)
	return uses, err
}
