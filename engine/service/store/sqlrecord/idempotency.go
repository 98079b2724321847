package sqlrecord

import (
	"context"
	"database/sql"
	"errors"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// admit has a key for an order's request; or it returns the job that an order before has made.
func admit(tx Tx, i store.Idempotency, now store.Moment) (job string, err error) {
	entry, found, err := lockKey(tx, i)
	if err == nil && !found {
		there, err := tx.Insert(`INSERT INTO idempotency (customer, route, idempotency_key, body, request, job, at)
			VALUES (?, ?, ?, ?, ?, '', ?)`, i.Customer, i.Route, i.Key, i.Body[:], i.Request, Micros(now.Now))
		if err != nil || !there {
			return "", err
		}
		// Another has made it since, and it is there for as long as this change holds it.
		entry, _, err = lockKey(tx, i)
		if err != nil {
			return "", err
		}
	}
	if err != nil {
		return "", err
	}
	if entry.Stands(now.Now) {
		return entry.Admit(i)
	}
	_, err = tx.Exec("UPDATE idempotency SET body = ?, request = ?, job = '', at = ? WHERE "+ofKey,
		i.Body[:], i.Request, Micros(now.Now), i.Customer, i.Route, i.Key)
	return "", err
}

// lockKey reads what an idempotency key stands for, and keeps it from changing while the change is made.
func lockKey(tx Tx, i store.Idempotency) (entry store.IdempotencyEntry, found bool, err error) {
	var body []byte
	err = tx.Row("SELECT body, request, job, at FROM idempotency WHERE "+ofKey+tx.dialect.ForUpdate, i.Customer, i.Route, i.Key).
		Scan(&body, &entry.Request, &entry.Job, moment{&entry.At})
	copy(entry.Body[:], body)
	if errors.Is(err, sql.ErrNoRows) {
		return entry, false, nil
	}
	return entry, err == nil, err
}

const ofKey = "customer = ? AND route = ? AND idempotency_key = ?"

// settle has a key stand for a job.
func settle(tx Tx, i store.Idempotency, job string, now store.Moment) error {
	_, err := tx.Exec("UPDATE idempotency SET job = ?, at = ? WHERE "+ofKey, job, Micros(now.Now), i.Customer, i.Route, i.Key)
	return err
}

// ReserveIdempotency has a key for a request of which it is not known whether it becomes a job: "" says that the request
// has it, for ReservedFor. Otherwise it is as with CreateJob, and the id of the job that there is.
func (r *Record) ReserveIdempotency(ctx context.Context, i store.Idempotency) (job string, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		job, err = admit(tx, i, now)
		return err
	}})
	return job, err
}

// ReleaseIdempotency lets a key go that its request has: it was answered with rows.
func (r *Record) ReleaseIdempotency(ctx context.Context, i store.Idempotency) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		_, err := tx.Exec("DELETE FROM idempotency WHERE "+ofKey+" AND job = '' AND request = ?",
			i.Customer, i.Route, i.Key, i.Request)
		return err
	}})
}
