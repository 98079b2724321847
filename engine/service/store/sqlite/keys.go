package sqlite

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
func (s *Store) Keys(ctx context.Context) ([]store.Key, error) {
	var all []store.Key
	err := s.read(ctx, func(rows *sql.Rows) error {
		k, err := scanKey(rows)
		all = append(all, k)
		return err
	}, "SELECT "+keyColumns+" FROM keys ORDER BY seq")
	return all, err
}

// scanner is a row, or the one that a query gave.
type scanner interface{ Scan(into ...any) error }

func scanKey(row scanner) (k store.Key, err error) {
	var hash, scopes []byte
	var created, expires, used, revoked int64
	err = row.Scan(&k.ID, &hash, &k.Kind, &k.Customer, &k.Label, &scopes, &created, &expires, &used, &revoked)
	if err != nil {
		return k, err
	}
	copy(k.Hash[:], hash)
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt, k.RevokedAt = instant(created), instant(expires), instant(used), instant(revoked)
	return k, json.Unmarshal(scopes, &k.Scopes)
}

// CreateKey adds a bearer key. Most is how many active keys its customer may have then, and 0 is any number: above it
// is CodeTooManyKeys. A second key with an id or a hash that is there is CodeExists.
func (s *Store) CreateKey(ctx context.Context, k store.Key, most int, audit store.Audit) error {
	return s.write(ctx, change{access: true, do: func(c execer) error {
		if err := createKey(c, k, most); err != nil {
			return err
		}
		return appendAudit(c, audit)
	}})
}

func createKey(c execer, k store.Key, most int) error {
	var there bool
	same := c.row("SELECT EXISTS (SELECT 1 FROM keys WHERE id = ? OR hash = ?)", k.ID, k.Hash[:])
	if err := same.Scan(&there); err != nil {
		return err
	}
	if there {
		return fault.New(store.CodeExists, fault.Usage, "there is a key %q already", k.ID)
	}
	var active int
	if err := c.row("SELECT count(*) FROM keys WHERE customer = ? AND revoked_at = 0 AND (expires_at = 0 OR expires_at > ?)",
		k.Customer, micros(k.CreatedAt)).Scan(&active); err != nil {
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
	_, err = c.exec("INSERT INTO keys ("+keyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", k.ID, k.Hash[:],
		k.Kind, k.Customer, k.Label,
		string(scopes), micros(k.CreatedAt), micros(k.ExpiresAt), micros(k.LastUsedAt), micros(k.RevokedAt))
	return err
}

// RevokeKey ends a bearer key; one that is revoked already keeps its time.
func (s *Store) RevokeKey(ctx context.Context, id string, at time.Time, audit store.Audit) error {
	return s.write(ctx, change{access: true, do: func(c execer) error {
		n, err := c.exec("UPDATE keys SET revoked_at = iif(revoked_at = 0, ?, revoked_at) WHERE id = ?", micros(at), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("key", id)
		}
		return appendAudit(c, audit)
	}})
}

// RotateKey adds a bearer key in the place of another. The old one expires at a time, or earlier if it was to, and is
// revoked when that is not after the creation of the next. An old one that has ended is CodeKeyEnded; most is as for
// CreateKey, and counts the old one if it is still active.
func (s *Store) RotateKey(ctx context.Context, old string, ends time.Time, next store.Key, most int, audit store.Audit) error {
	return s.write(ctx, change{access: true, do: func(c execer) error {
		k, err := scanKey(c.row("SELECT "+keyColumns+" FROM keys WHERE id = ?", old))
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
			_, err = c.exec("UPDATE keys SET revoked_at = ? WHERE id = ?", micros(next.CreatedAt), old)
		case k.ExpiresAt.IsZero() || ends.Before(k.ExpiresAt):
			_, err = c.exec("UPDATE keys SET expires_at = ? WHERE id = ?", micros(ends), old)
		}
		if err != nil {
			return err
		}
		if err := createKey(c, next, most); err != nil {
			return err
		}
		return appendAudit(c, audit)
	}})
}

// TouchKeys notes when keys were last used, by id; an earlier time than is known, and an unknown key, change nothing.
func (s *Store) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	return s.write(ctx, change{do: func(c execer) error {
		for id, at := range used {
			_, err := c.exec("UPDATE keys SET last_used_at = max(last_used_at, ?) WHERE id = ?", micros(at), id)
			if err != nil {
				return err
			}
		}
		return nil
	}})
}

// Disabled lists the customers that are out of service, sorted.
func (s *Store) Disabled(ctx context.Context) ([]string, error) {
	var all []string
	err := s.read(ctx, func(rows *sql.Rows) error {
		var customer string
		err := rows.Scan(&customer)
		all = append(all, customer)
		return err
	}, "SELECT customer FROM disabled ORDER BY customer")
	return all, err
}

// SetDisabled takes a customer out of service, or into it again. The record does not know which customers there are.
func (s *Store) SetDisabled(ctx context.Context, customer string, disabled bool, audit store.Audit) error {
	statement := "DELETE FROM disabled WHERE customer = ?"
	if disabled {
		statement = "INSERT INTO disabled (customer) VALUES (?) ON CONFLICT DO NOTHING"
	}
	return s.write(ctx, change{access: true, do: func(c execer) error {
		if _, err := c.exec(statement, customer); err != nil {
			return err
		}
		return appendAudit(c, audit)
	}})
}

func unknown(what, id string) error {
	return fault.New(store.CodeUnknown, fault.Usage, "there is no %s %q", what, id)
}
