package sqlrecord

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const keyColumns = "id, hash, kind, customer, label, scopes, created_at, expires_at, last_used_at, revoked_at"

// Keys lists all bearer keys, the oldest first, with those that have ended.
func (r *Record) Keys(ctx context.Context) ([]store.Key, error) {
	var all []store.Key
	err := r.read(ctx, func(rows *sql.Rows) error {
		k, err := scanKey(rows)
		all = append(all, k)
		return err
	}, "SELECT "+keyColumns+` FROM "keys" ORDER BY seq`)
	return all, err
}

func scanKey(row scanner) (k store.Key, err error) {
	var hash, scopes []byte
	var created, expires, used, revoked int64
	err = row.Scan(&k.ID, &hash, &k.Kind, &k.Customer, &k.Label, &scopes, &created, &expires, &used, &revoked)
	if err != nil {
		return k, err
	}
	copy(k.Hash[:], hash)
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt, k.RevokedAt = Instant(created), Instant(expires), Instant(used), Instant(revoked)
	return k, json.Unmarshal(scopes, &k.Scopes)
}

// CreateKey adds a bearer key. Most is how many active keys its customer may have then, and 0 is any number: above it
// is CodeTooManyKeys. A second key with an id or a hash that is there is CodeExists.
func (r *Record) CreateKey(ctx context.Context, k store.Key, most int, audit store.Audit) error {
	return r.write(ctx, Change{Access: true, Do: func(tx Tx) error {
		if err := createKey(tx, k, most); err != nil {
			return err
		}
		return appendAudit(tx, audit)
	}})
}

func createKey(tx Tx, k store.Key, most int) error {
	var there bool
	same := tx.Row(`SELECT EXISTS (SELECT 1 FROM "keys" WHERE id = ? OR hash = ?)`, k.ID, k.Hash[:])
	if err := same.Scan(&there); err != nil {
		return err
	}
	if there {
		return fault.New(store.CodeExists, fault.Usage, "there is a key %q already", k.ID)
	}
	var active int
	if err := tx.Row(`SELECT count(*) FROM "keys" WHERE customer = ? AND revoked_at = 0 AND (expires_at = 0 OR expires_at > ?)`,
		k.Customer, Micros(k.CreatedAt)).Scan(&active); err != nil {
		return err
	}
	if most > 0 && active >= most {
		return fault.New(store.CodeTooManyKeys, fault.Usage,
			"%q has %d active keys; it may have %d", k.Customer, active, most)
	}
	scopes, err := json.Marshal(k.Scopes)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO "keys" (`+keyColumns+") VALUES ("+marks(10)+")", k.ID, k.Hash[:],
		k.Kind, k.Customer, k.Label,
		string(scopes), Micros(k.CreatedAt), Micros(k.ExpiresAt), Micros(k.LastUsedAt), Micros(k.RevokedAt))
	return err
}

// RevokeKey ends a bearer key; one that is revoked already keeps its time.
func (r *Record) RevokeKey(ctx context.Context, id string, at time.Time, audit store.Audit) error {
	return r.write(ctx, Change{Access: true, Do: func(tx Tx) error {
		n, err := tx.Exec(`UPDATE "keys" SET revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END WHERE id = ?`, Micros(at), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("key", id)
		}
		return appendAudit(tx, audit)
	}})
}

// RotateKey adds a bearer key in the place of another. The old one expires at a time, or earlier if it was to, and is
// revoked when that is not after the creation of the next. An old one that has ended is CodeKeyEnded; most is as for
// CreateKey, and counts the old one if it is still active.
func (r *Record) RotateKey(ctx context.Context, old string, ends time.Time, next store.Key, most int, audit store.Audit) error {
	return r.write(ctx, Change{Access: true, Do: func(tx Tx) error {
		k, err := scanKey(tx.Row("SELECT "+keyColumns+` FROM "keys" WHERE id = ?`, old))
		switch {
		case err == sql.ErrNoRows:
			return unknown("key", old)
		case err != nil:
			return err
		case !k.Active(next.CreatedAt):
			return fault.New(store.CodeKeyEnded, fault.Usage, "the key %q is revoked or has expired", old)
		}
		switch {
		case !ends.After(next.CreatedAt):
			_, err = tx.Exec(`UPDATE "keys" SET revoked_at = ? WHERE id = ?`, Micros(next.CreatedAt), old)
		case k.ExpiresAt.IsZero() || ends.Before(k.ExpiresAt):
			_, err = tx.Exec(`UPDATE "keys" SET expires_at = ? WHERE id = ?`, Micros(ends), old)
		}
		if err != nil {
			return err
		}
		if err := createKey(tx, next, most); err != nil {
			return err
		}
		return appendAudit(tx, audit)
	}})
}

// TouchKeys notes when keys were last used, by id; an earlier time than is known, and an unknown key, change nothing.
func (r *Record) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	return r.write(ctx, Change{Do: func(tx Tx) error {
		for id, at := range used {
			_, err := tx.Exec(`UPDATE "keys" SET last_used_at = ? WHERE id = ? AND last_used_at < ?`, Micros(at), id, Micros(at))
			if err != nil {
				return err
			}
		}
		return nil
	}})
}

// Disabled lists the customers that are out of service, sorted.
func (r *Record) Disabled(ctx context.Context) ([]string, error) {
	var all []string
	err := r.read(ctx, func(rows *sql.Rows) error {
		var customer string
		err := rows.Scan(&customer)
		all = append(all, customer)
		return err
	}, "SELECT customer FROM disabled ORDER BY customer")
	return all, err
}

// SetDisabled takes a customer out of service, or into it again. The record does not know which customers there are.
func (r *Record) SetDisabled(ctx context.Context, customer string, disabled bool, audit store.Audit) error {
	return r.write(ctx, Change{Access: true, Do: func(tx Tx) (err error) {
		if disabled {
			_, err = tx.Insert("INSERT INTO disabled (customer) VALUES (?)", customer)
		} else {
			_, err = tx.Exec("DELETE FROM disabled WHERE customer = ?", customer)
		}
		if err != nil {
			return err
		}
		return appendAudit(tx, audit)
	}})
}
