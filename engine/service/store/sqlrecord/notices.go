package sqlrecord

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// PutNotice puts an event into the outbox, unless one of that name was put for the customer less than a time ago, by
// whichever process. How long ago it was is told by the steady clock.
func (r *Record) PutNotice(ctx context.Context, e store.OutboxEvent, name string, each time.Duration) (put bool, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		put = false
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		var last int64
		err = tx.Row("SELECT at FROM notices WHERE customer = ? AND name = ?"+tx.dialect.ForUpdate, e.Customer, name).Scan(&last)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			there, err := tx.Insert("INSERT INTO notices (customer, name, at) VALUES (?, ?, ?)", e.Customer, name, Micros(now.Steady))
			if err != nil || there { // another process was first, just now
				return err
			}
		case err != nil:
			return err
		case now.Steady.Sub(Instant(last)) < each:
			return nil
		default:
			if _, err := tx.Exec("UPDATE notices SET at = ? WHERE customer = ? AND name = ?", Micros(now.Steady), e.Customer, name); err != nil {
				return err
			}
		}
		put = true
		e.At = now.Now
		return announce(tx, e)
	}})
	return put && err == nil, err
}
