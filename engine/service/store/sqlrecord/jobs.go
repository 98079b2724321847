package sqlrecord

import (
	"context"
	"database/sql"
	"errors"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// write makes a step of a job: its row, its transition, the audit, the outbox and what it may have left, and the share
// of its customer. Before is the state until now, and empty of a job that is being made.
func (r *jobRow) write(tx Tx, before store.Status, step store.Step, now store.Moment) error {
	r.Job = step.Job
	if t := step.Transition; t != nil && t.To == store.Running {
		r.server, r.lease = now.Server, now.Steady.Add(store.LeaseTime)
	}
	if t := step.Transition; t != nil && t.To == store.Completed {
		r.until = r.ObjectExpires
	}
	if err := r.save(tx, before == ""); err != nil {
		return err
	}
	if t := step.Transition; t != nil {
		if _, err := tx.Exec(`INSERT INTO job_transitions (job, number, event, from_status, to_status, at, attempt, code)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			t.Job, t.Number, t.Event, t.From, t.To, Micros(t.At), t.Attempt, t.Code); err != nil {
			return err
		}
		if err := share(tx, r.Customer, before, t.To); err != nil {
			return err
		}
		if t.To == store.Completed {
			if err := r.remember(tx); err != nil {
				return err
			}
		}
	}
	for _, l := range step.Leftovers {
		if _, err := tx.Exec("INSERT INTO leftovers (job, customer, bucket, since) VALUES (?, ?, ?, ?)",
			l.Job, l.Customer, l.Bucket, Micros(l.Since)); err != nil {
			return err
		}
	}
	if err := appendAudit(tx, step.Audit); err != nil || step.Outbox == nil {
		return err
	}
	return announce(tx, *step.Outbox)
}

// announce puts an event into the outbox. It comes last in its transaction, because others may have to wait for its number.
func announce(tx Tx, o store.OutboxEvent) error {
	columns, args := "customer, job, event, transition, at, data", []any{o.Customer, o.Job, o.Event, o.Transition, Micros(o.At), o.Data}
	if tx.dialect.NextEvent != nil {
		seq, err := tx.dialect.NextEvent(tx)
		if err != nil {
			return err
		}
		columns, args = columns+", seq", append(args, seq)
	}
	_, err := tx.Exec("INSERT INTO outbox ("+columns+") VALUES ("+marks(len(args))+")", args...)
	return err
}

// save writes the row alone.
func (r *jobRow) save(tx Tx, made bool) error {
	if made {
		there, err := tx.Insert(insertJob, values(append(r.fixed(), r.changing()...)...)...)
		if there {
			return fault.New(store.CodeExists, fault.Usage, "there is a job %q already", r.ID)
		}
		return err
	}
	_, err := tx.Exec(updateJob, append(values(r.changing()...), r.ID)...)
	return err
}

// remember keeps what a completed job gave, for those that come after it.
func (r *jobRow) remember(tx Tx) error {
	if _, err := tx.Insert(`INSERT INTO past_runs (customer, "procedure", "rows", bytes) VALUES (?, ?, 0, 0)`,
		r.Customer, r.Procedure); err != nil {
		return err
	}
	gave := r.Gave()
	_, err := tx.Exec(`UPDATE past_runs SET "rows" = ?, bytes = ? WHERE customer = ? AND "procedure" = ?`,
		gave.Rows, gave.Bytes, r.Customer, r.Procedure)
	return err
}

// share keeps what a customer has of the workers: a claim looks at one row a customer, however many jobs wait.
func share(tx Tx, customer string, from, to store.Status) error {
	add := map[store.Status]int{}
	add[from]--
	add[to]++
	statement, args := `UPDATE shares SET queued = queued + ?, running = running + ? WHERE customer = ?`,
		[]any{add[store.Queued], add[store.Running], customer}
	if to == store.Running {
		var served int64
		if err := tx.Row("SELECT coalesce(max(served), 0) FROM shares").Scan(&served); err != nil {
			return err
		}
		statement = `UPDATE shares SET queued = queued + ?, running = running + ?, served = ? WHERE customer = ?`
		args = []any{add[store.Queued], add[store.Running], served + 1, customer}
	}
	n, err := tx.Exec(statement, args...)
	if err != nil || n > 0 {
		return err
	}
	if _, err := tx.Insert("INSERT INTO shares (customer, queued, running, served) VALUES (?, 0, 0, 0)", customer); err != nil {
		return err
	}
	_, err = tx.Exec(statement, args...)
	return err
}

// lockJob reads a job that the change is about to alter; nil where there is none.
func lockJob(tx Tx, id string) (*jobRow, error) {
	r, err := scanJob(tx.Row(selectJob+" WHERE id = ?"+tx.dialect.ForUpdate, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// CreateJob makes a job, and where a holder is given takes it for that one at once. With an idempotency key it is made
// once: an equal order gives the job that there is.
func (r *Record) CreateJob(ctx context.Context, n store.NewJob) (
	made store.Job, lease store.Lease, replayed bool, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		made, lease, replayed = store.Job{}, store.Lease{}, false
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		if i := n.Idempotency; i != nil {
			there, err := admit(tx, *i, now)
			if err != nil {
				return err
			}
			if there != "" {
				before, err := lockJob(tx, there)
				if err != nil {
					return err
				}
				if before == nil || before.Customer != i.Customer {
					return unknown("job", there)
				}
				made, replayed = before.Job, true
				return nil
			}
		}
		var j jobRow
		if err := j.write(tx, "", store.CreateStep(n, now), now); err != nil {
			return err
		}
		if i := n.Idempotency; i != nil {
			if err := settle(tx, *i, j.ID, now); err != nil {
				return err
			}
		}
		if made = j.Job; n.Holder != "" {
			lease = store.LeaseOf(made, now.Server)
		}
		return nil
	}})
	return made, lease, replayed, err
}

// ClaimJob takes the next job for a worker: of the customer with the fewest that run, and of those of the one that was
// given a worker the longest ago; there the one of the highest priority, and the oldest. It passes over customers that
// are disabled, or in skip.
func (r *Record) ClaimJob(ctx context.Context, holder string, skip []string) (
	taken store.Job, lease store.Lease, ok bool, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		taken, lease, ok = store.Job{}, store.Lease{}, false
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		j, err := nextJob(tx, skip, now)
		if err != nil || j == nil {
			return err
		}
		step, err := store.ClaimStep(j.Job, holder, now)
		if err != nil {
			return err
		}
		if err := j.write(tx, j.Status, step, now); err != nil {
			return err
		}
		taken, lease, ok = j.Job, store.LeaseOf(j.Job, now.Server), true
		return nil
	}})
	return taken, lease, ok, err
}

// nextJob is the job that is to be claimed, or nil. Where several claim at once, a customer all of whose jobs others are
// about to take is passed over.
func nextJob(tx Tx, skip []string, now store.Moment) (*jobRow, error) {
	for {
		var customer string
		args := []any{Micros(now.Steady)}
		passed := ""
		if len(skip) > 0 {
			passed = " AND s.customer NOT IN (" + marks(len(skip)) + ")"
			for _, c := range skip {
				args = append(args, c)
			}
		}
		err := tx.Row(`SELECT s.customer FROM shares s WHERE s.queued > 0
			AND NOT EXISTS (SELECT 1 FROM disabled d WHERE d.customer = s.customer)
			AND EXISTS (SELECT 1 FROM jobs j WHERE j.customer = s.customer AND j.status = 'queued' AND j.not_before <= ?)`+
			passed+" ORDER BY s.running, s.served, s.customer LIMIT 1", args...).Scan(&customer)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		// The sum keeps the condition from choosing the index: in that of the order the first that is ready is soon found.
		j, err := scanJob(tx.Row(selectJob+` WHERE customer = ? AND status = 'queued' AND not_before + 0 <= ?
			ORDER BY priority DESC, seq LIMIT 1`+tx.dialect.SkipLocked, customer, Micros(now.Steady)))
		if !errors.Is(err, sql.ErrNoRows) {
			return j, err
		}
		skip = append(skip[:len(skip):len(skip)], customer)
	}
}

// held is the job of a lease that is not over.
func held(tx Tx, l store.Lease, now store.Moment) (*jobRow, error) {
	j, err := lockJob(tx, l.Job)
	if err != nil {
		return nil, err
	}
	if j == nil || !l.Holds(j.Job, j.server) || !now.Steady.Before(j.lease) {
		return nil, store.LostLease(l)
	}
	return j, nil
}

// RenewJob keeps a lease for LeaseTime from now, and notes how far the job is. A lease that is over, or that another
// has, is CodeLeaseLost: it is the gate before a run's object is made visible.
func (r *Record) RenewJob(ctx context.Context, l store.Lease, p store.Progress) (renewal store.Renewal, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		j, err := held(tx, l, now)
		if err != nil {
			return err
		}
		renewal.Cancel = !j.CancelAsked.IsZero()
		p := j.Progress.After(p)
		_, err = tx.Exec(`UPDATE jobs SET "rows" = ?, bytes = ?, estimated_rows = ?, estimated_bytes = ?, lease_until = ?
			WHERE id = ?`, p.Rows, p.Bytes, p.EstimatedRows, p.EstimatedBytes, Micros(now.Steady.Add(store.LeaseTime)), j.ID)
		return err
	}})
	return renewal, err
}

// EndJob notes what has become of a job, and how far it has come; see store.EndStep and store.Step.KeepState. A lease
// that is over is CodeLeaseLost.
func (r *Record) EndJob(ctx context.Context, l store.Lease, e store.Ending) (ended store.Job, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		ended = store.Job{}
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		j, err := held(tx, l, now)
		if err != nil {
			return err
		}
		step, err := store.EndStep(j.Job, e, now)
		if err != nil {
			return err
		}
		if j.KeepsState(e) {
			of, err := lockSchedule(tx, j.Schedule) // before the customer's share, as a tick has them
			if err != nil {
				return err
			}
			if step.KeepState(of, *e.State); step.Schedule != nil {
				if err := saveSchedule(tx, *step.Schedule, false); err != nil {
					return err
				}
			}
		}
		if err := j.write(tx, j.Status, step, now); err != nil {
			return err
		}
		ended = j.Job
		return nil
	}})
	return ended, err
}

// CancelJob cancels a job that waits, and asks the worker of one that runs to end it. One that is cancelled stays as it
// is; one that has ended otherwise is CodeJobEnded, and returned all the same.
func (r *Record) CancelJob(ctx context.Context, customer, id string, by store.Actor) (after store.Job, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		after = store.Job{}
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		j, err := lockJob(tx, id)
		if err != nil {
			return err
		}
		if j == nil || j.Customer != customer {
			return unknown("job", id)
		}
		step, changed, err := store.CancelStep(j.Job, by, now)
		if changed {
			err = j.write(tx, j.Status, step, now)
		}
		after = j.Job
		return err
	}})
	return after, err
}

// RecoverJobs ends the runs whose leases are over, and returns their jobs as they are then: queued again, or failed with
// WORKER_LOST when there is no attempt left, or cancelled where that was asked for.
func (r *Record) RecoverJobs(ctx context.Context) (recovered []store.Job, err error) {
	for {
		var some []store.Job
		err := r.write(ctx, Change{Do: func(tx Tx) error {
			some = nil
			now, err := tx.Clock()
			if err != nil {
				return err
			}
			var lost []*jobRow
			if err := tx.Rows(func(rows *sql.Rows) error {
				j, err := scanJob(rows)
				lost = append(lost, j)
				return err
			}, selectJob+" WHERE status = 'running' AND lease_until <= ? ORDER BY lease_until, seq LIMIT ?"+tx.dialect.SkipLocked,
				Micros(now.Steady), recoveredTogether); err != nil {
				return err
			}
			for _, j := range lost {
				step, err := store.LostStep(j.Job, now)
				if err != nil {
					return err
				}
				if err := j.write(tx, j.Status, step, now); err != nil {
					return err
				}
				some = append(some, j.Job)
			}
			return nil
		}})
		if err != nil {
			return recovered, err
		}
		if recovered = append(recovered, some...); len(some) < recoveredTogether {
			return recovered, nil
		}
	}
}

// recoveredTogether bounds for how long recovering keeps others from writing.
const recoveredTogether = 100

// EndLeases is part of a change that is made when the only process of a record begins: nobody has a job, and the delays
// of those that wait went by the clock of a process that is gone.
func EndLeases(tx Tx) error {
	if _, err := tx.Exec("UPDATE jobs SET lease_until = 0 WHERE status = 'running'"); err != nil {
		return err
	}
	if _, err := tx.Exec("UPDATE jobs SET not_before = 0 WHERE status = 'queued' AND not_before > 0"); err != nil {
		return err
	}
	if err := endDeliveryLeases(tx); err != nil {
		return err
	}
	return endStreamLeases(tx)
}
