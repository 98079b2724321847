package sqlrecord

import (
	"context"
	"database/sql"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// ExtendObject keeps the object of a completed job until a time at least: a link to it, or a reader of ours, has it so
// long. One that is being removed, or is gone, is CodeUnknown.
func (r *Record) ExtendObject(ctx context.Context, id string, until time.Time, audit ...store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		n, err := tx.Exec(`UPDATE jobs SET object_until = CASE WHEN object_until < ? THEN ? ELSE object_until END
			WHERE id = ? AND status = 'completed' AND object_removed = 0 AND object_going = 0`, Micros(until), Micros(until), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("object of a job", id)
		}
		return appendAudit(tx, audit...)
	}})
}

// ExpiredObjects lists at most so many jobs whose objects nobody has a link to after a time, and marks them, so that none
// is extended from then on. One stays in the list until ObjectRemoved. Those in the buckets of passing are left out.
func (r *Record) ExpiredObjects(ctx context.Context, before time.Time, most int, passing ...string) (
	expired []store.Job, err error) {
	elsewhere, buckets := notIn("bucket", passing)
	args := append(append([]any{Micros(before)}, buckets...), max(0, most))
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		expired = nil
		if err := tx.Rows(func(rows *sql.Rows) error {
			j, err := scanJob(rows)
			expired = append(expired, j.Job)
			return err
		}, selectJob+` WHERE status = 'completed' AND object_removed = 0 AND object_until > 0 AND object_until < ?`+elsewhere+
			" ORDER BY object_until, seq LIMIT ?"+tx.dialect.ForUpdate, args...); err != nil {
			return err
		}
		for _, j := range expired {
			if _, err := tx.Exec("UPDATE jobs SET object_going = 1 WHERE id = ?", j.ID); err != nil {
				return err
			}
		}
		return nil
	}})
	return expired, err
}

// ObjectRemoved notes that the object of a completed job is gone.
func (r *Record) ObjectRemoved(ctx context.Context, id string) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		j, err := lockJob(tx, id)
		switch {
		case err != nil:
			return err
		case j == nil || j.Status != store.Completed:
			return unknown("object of a job", id)
		case !j.ObjectRemoved.IsZero():
			return nil
		}
		return j.write(tx, j.Status, store.RemovedStep(j.Job, now), now)
	}})
}

// Leftovers lists at most so many of those that runs may have left before a time, of jobs that have ended: what is in the
// bucket of such a job is its object, or nobody's. Those in the buckets of passing are left out.
func (r *Record) Leftovers(ctx context.Context, before time.Time, most int, passing ...string) (
	all []store.Leftover, err error) {
	elsewhere, buckets := notIn("l.bucket", passing)
	err = r.read(ctx, func(rows *sql.Rows) error {
		var l store.Leftover
		err := rows.Scan(&l.Seq, &l.Job, &l.Customer, &l.Bucket, moment{&l.Since}, &l.Keep)
		all = append(all, l)
		return err
	}, `SELECT l.seq, l.job, l.customer, l.bucket, l.since, coalesce(j.object_key, '')
		FROM leftovers l LEFT JOIN jobs j ON j.id = l.job
		WHERE l.since < ? AND (j.id IS NULL OR j.status IN ('completed', 'failed', 'cancelled'))`+elsewhere+
		" ORDER BY l.seq LIMIT ?", append(append([]any{Micros(before)}, buckets...), max(0, most))...)
	return all, err
}

// notIn is a condition that a column has none of some values, behind others.
func notIn(column string, none []string) (condition string, args []any) {
	if len(none) == 0 {
		return "", nil
	}
	for _, value := range none {
		args = append(args, value)
	}
	return " AND " + column + " NOT IN (" + marks(len(none)) + ")", args
}

// LeftoverSwept forgets one.
func (r *Record) LeftoverSwept(ctx context.Context, seq int64) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		_, err := tx.Exec("DELETE FROM leftovers WHERE seq = ?", seq)
		return err
	}})
}

// PruneJobs removes the jobs that ended before a time and have no object, with their transitions, and returns how many;
// and the idempotency keys that stand for nothing any more. Audit and outbox stay.
func (r *Record) PruneJobs(ctx context.Context, before time.Time) (removed int64, err error) {
	for {
		n := 0
		err := r.write(ctx, Change{Do: func(tx Tx) error {
			var ids []any
			if err := tx.Rows(func(rows *sql.Rows) error {
				var id string
				err := rows.Scan(&id)
				ids = append(ids, id)
				return err
			}, `SELECT id FROM jobs WHERE completed_at > 0 AND completed_at < ? AND (object_key = '' OR object_removed > 0)
				LIMIT ?`+tx.dialect.ForUpdate, Micros(before), prunedTogether); err != nil {
				return err
			}
			if n = len(ids); n == 0 {
				return nil
			}
			if _, err := tx.Exec("DELETE FROM job_transitions WHERE job IN ("+marks(n)+")", ids...); err != nil {
				return err
			}
			_, err := tx.Exec("DELETE FROM jobs WHERE id IN ("+marks(n)+")", ids...)
			return err
		}})
		if err != nil {
			return removed, err
		}
		if removed += int64(n); n < prunedTogether {
			return removed, r.pruneKeys(ctx)
		}
	}
}

func (r *Record) pruneKeys(ctx context.Context) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		_, err = tx.Exec("DELETE FROM idempotency WHERE at <= ? OR job = '' AND at <= ?",
			Micros(now.Now.Add(-store.IdempotencyAge)), Micros(now.Now.Add(-store.ReservedFor)))
		return err
	}})
}
