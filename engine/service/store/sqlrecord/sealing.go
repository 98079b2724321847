package sqlrecord

import (
	"context"
	"database/sql"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CreateSealingKey adds a key that deliveries may be sealed with, in the state new. One with the same id is CodeExists,
// whosever it is.
func (r *Record) CreateSealingKey(ctx context.Context, k store.SealingKey, audit store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		there, err := tx.Insert(`INSERT INTO sealing_keys (id, customer, sealed, state, created_at, activated_at, retired_at)
			VALUES (?, ?, ?, ?, ?, 0, 0)`, k.ID, k.Customer, k.Sealed, store.SealingNew, Micros(k.CreatedAt))
		if err != nil {
			return err
		}
		if there {
			return fault.New(store.CodeExists, fault.Usage, "there is a sealing key %q already", k.ID)
		}
		return appendAudit(tx, audit)
	}})
}

// SealingKeys lists a customer's, the oldest first, with those that are retired.
func (r *Record) SealingKeys(ctx context.Context, customer string) ([]store.SealingKey, error) {
	var all []store.SealingKey
	err := r.read(ctx, func(rows *sql.Rows) error {
		k := store.SealingKey{Customer: customer}
		var created, activated, retired int64
		err := rows.Scan(&k.ID, &k.Sealed, &k.State, &created, &activated, &retired)
		k.CreatedAt, k.ActivatedAt, k.RetiredAt = Instant(created), Instant(activated), Instant(retired)
		all = append(all, k)
		return err
	}, `SELECT id, sealed, state, created_at, activated_at, retired_at FROM sealing_keys
		WHERE customer = ? ORDER BY seq`, customer)
	return all, err
}

// ActivateSealingKey makes a key the one that seals; the one before retires. A retired key may come back.
func (r *Record) ActivateSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error {
	return r.write(ctx, Change{Alone: true, Do: func(tx Tx) error {
		if _, err := tx.Exec("UPDATE sealing_keys SET state = ?, retired_at = ? WHERE customer = ? AND state = ? AND id <> ?",
			store.SealingRetired, Micros(at), customer, store.SealingActive, id); err != nil {
			return err
		}
		// The one that is active already keeps its time.
		n, err := tx.Exec(`UPDATE sealing_keys SET activated_at = CASE WHEN state = ? THEN activated_at ELSE ? END,
			state = ?, retired_at = 0 WHERE customer = ? AND id = ?`,
			store.SealingActive, Micros(at), store.SealingActive, customer, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("sealing key", id)
		}
		return appendAudit(tx, audit)
	}})
}

// RetireSealingKey ends sealing with a key; one that is retired already keeps its time.
func (r *Record) RetireSealingKey(ctx context.Context, customer, id string, at time.Time, audit store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		n, err := tx.Exec(`UPDATE sealing_keys SET retired_at = CASE WHEN state = ? THEN retired_at ELSE ? END, state = ?
			WHERE customer = ? AND id = ?`,
			store.SealingRetired, Micros(at), store.SealingRetired, customer, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("sealing key", id)
		}
		return appendAudit(tx, audit)
	}})
}

// AddSealingUses counts uses of a sealing key, which need not be one of the record's, and returns how many there are. N
// may be negative, to give back uses that were not made.
func (r *Record) AddSealingUses(ctx context.Context, customer, id string, n int64) (uses int64, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		add := func() (int64, error) {
			return tx.Exec(`UPDATE sealing_uses SET uses = CASE WHEN uses + ? < 0 THEN 0 ELSE uses + ? END
				WHERE customer = ? AND id = ?`, n, n, customer, id)
		}
		met, err := add()
		if err == nil && met == 0 {
			if _, err = tx.Insert("INSERT INTO sealing_uses (customer, id, uses) VALUES (?, ?, 0)", customer, id); err == nil {
				_, err = add()
			}
		}
		if err != nil {
			return err
		}
		return tx.Row("SELECT uses FROM sealing_uses WHERE customer = ? AND id = ?", customer, id).Scan(&uses)
	}})
	return uses, err
}

// SealingUses says how often a customer's sealing keys were used, by their ids; one that was never used is not there.
func (r *Record) SealingUses(ctx context.Context, customer string) (map[string]int64, error) {
	uses := map[string]int64{}
	err := r.read(ctx, func(rows *sql.Rows) error {
		var id string
		var n int64
		err := rows.Scan(&id, &n)
		uses[id] = n
		return err
	}, "SELECT id, uses FROM sealing_uses WHERE customer = ? AND uses > 0", customer)
	return uses, err
}
