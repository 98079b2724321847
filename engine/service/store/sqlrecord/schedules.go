package sqlrecord

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// scheduleRow is a row of the table schedules.
type scheduleRow struct{ store.Schedule }

// duration is a length of time as a column of microseconds.
type duration struct{ of *time.Duration }

// Scan reads it.
func (d duration) Scan(from any) error {
	var micros sql.NullInt64
	err := micros.Scan(from)
	*d.of = time.Duration(micros.Int64) * time.Microsecond
	return err
}

// columns are all but the identifier, which comes first.
func (r *scheduleRow) columns() []column {
	return []column{
		{"customer", &r.Customer}, {"name", &r.Name}, {"document", &r.Document}, {`"procedure"`, &r.Procedure}, {"request", &r.Request},
		{"cron", &r.Cron}, {"zone", &r.Zone}, {"overlap", &r.Overlap}, {"missed", &r.Missed}, {"jitter", duration{&r.Jitter}},
		{`"window"`, &r.Window}, {"window_first", duration{&r.WindowFirst}}, {"window_overlap", duration{&r.WindowOverlap}},
		{"enabled", &r.Enabled}, {"created_at", moment{&r.CreatedAt}}, {"updated_at", moment{&r.UpdatedAt}},
		{"next_tick", moment{&r.NextTick}}, {"due_at", moment{&r.DueAt}}, {"last_tick", moment{&r.LastTick}}, {"last_job", &r.LastJob},
		{"last_outcome", &r.LastOutcome}, {"settled", &r.Settled}, {"next_since", &r.NextSince},
		{"state_epoch", &r.State.Epoch}, {"state_revision", &r.State.Revision}, {"state", &r.State.Sealed},
		{"state_job", &r.State.Job}, {"state_at", moment{&r.State.SavedAt}},
	}
}

// arguments are the values of columns, lengths of time in microseconds.
func arguments(columns []column) (all []any) {
	for _, c := range columns {
		if d, is := c.value.(duration); is {
			all = append(all, d.of.Microseconds())
			continue
		}
		all = append(all, c.value)
	}
	return all
}

// The statements of a schedule, whose arguments are the values of its columns.
var (
	scheduleColumns = "id, " + names("", (&scheduleRow{}).columns())
	insertSchedule  = "INSERT INTO schedules (" + scheduleColumns + ") VALUES (" + marks(strings.Count(scheduleColumns, ",")+1) + ")"
	updateSchedule  = "UPDATE schedules SET " + names(" = ?", (&scheduleRow{}).columns()) + " WHERE id = ?"
	selectSchedule  = "SELECT " + scheduleColumns + " FROM schedules"
)

func scanSchedule(row scanner) (store.Schedule, error) {
	var r scheduleRow
	err := row.Scan(append([]any{&r.ID}, values(r.columns()...)...)...)
	return r.Schedule, err
}

// saveSchedule writes a row.
func saveSchedule(tx Tx, s store.Schedule, made bool) error {
	all := arguments((&scheduleRow{s}).columns())
	if made {
		there, err := tx.Insert(insertSchedule, append([]any{s.ID}, all...)...)
		if there {
			return fault.New(store.CodeExists, fault.Usage, "there is a schedule %q already", s.Name)
		}
		return err
	}
	_, err := tx.Exec(updateSchedule, append(all, s.ID)...)
	if err != nil && tx.dialect.Duplicate(err) {
		return fault.New(store.CodeExists, fault.Usage, "there is a schedule %q already", s.Name)
	}
	return err
}

// lockSchedule reads a schedule that the change is about to alter; nil where there is none.
func lockSchedule(tx Tx, id string) (*store.Schedule, error) {
	s, err := scanSchedule(tx.Row(selectSchedule+" WHERE id = ?"+tx.dialect.ForUpdate, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &s, err
}

// Schedules lists a customer's schedules by name, or those of all customers where it is empty.
func (r *Record) Schedules(ctx context.Context, customer string) (list []store.Schedule, err error) {
	where, args := "", []any(nil)
	if customer != "" {
		where, args = " WHERE customer = ?", []any{customer}
	}
	err = r.read(ctx, func(rows *sql.Rows) error {
		s, err := scanSchedule(rows)
		list = append(list, s)
		return err
	}, selectSchedule+where+" ORDER BY customer, name", args...)
	return list, err
}

// Schedule returns a customer's schedule.
func (r *Record) Schedule(ctx context.Context, customer, id string) (found store.Schedule, err error) {
	there := false
	err = r.read(ctx, func(rows *sql.Rows) (err error) {
		there = true
		found, err = scanSchedule(rows)
		return err
	}, selectSchedule+" WHERE id = ? AND customer = ?", id, customer)
	if err == nil && !there {
		return store.Schedule{}, unknown("schedule", id)
	}
	return found, err
}

// PutSchedule makes a schedule, or replaces one, and returns it as it is then; see store.PutScheduleStep. A name that
// another one of the customer has is CodeExists.
func (r *Record) PutSchedule(ctx context.Context, s store.Schedule, audit store.Audit) (after store.Schedule, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		before, err := lockSchedule(tx, s.ID)
		if err != nil {
			return err
		}
		if before != nil && before.Customer != s.Customer {
			return unknown("schedule", s.ID)
		}
		next, err := store.PutScheduleStep(before, s, now)
		if err != nil {
			return err
		}
		if err := saveSchedule(tx, next, before == nil); err != nil {
			return err
		}
		after = next
		return appendAudit(tx, audit)
	}})
	return after, err
}

// DeleteSchedule removes a schedule. Its jobs stay.
func (r *Record) DeleteSchedule(ctx context.Context, customer, id string, audit store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		n, err := tx.Exec("DELETE FROM schedules WHERE id = ? AND customer = ?", id, customer)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("schedule", id)
		}
		return appendAudit(tx, audit)
	}})
}

// ResetSchedule has a customer's schedule begin anew, and returns it as it is then; see store.ResetScheduleStep.
func (r *Record) ResetSchedule(ctx context.Context, customer, id string, audit store.Audit) (after store.Schedule,
	err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		s, err := lockSchedule(tx, id)
		if err != nil {
			return err
		}
		if s == nil || s.Customer != customer {
			return unknown("schedule", id)
		}
		after = store.ResetScheduleStep(*s)
		if err := saveSchedule(tx, after, false); err != nil {
			return err
		}
		return appendAudit(tx, audit)
	}})
	return after, err
}

// DueSchedules lists schedules that are to be looked at, those first that have been due for longest, but for those of
// customers that are disabled. When that is, the record's clock says.
func (r *Record) DueSchedules(ctx context.Context, most int) (due []store.Schedule, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		due = nil
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		for _, one := range []struct {
			where string
			arg   int64
		}{
			{"due_at > 0 AND due_at <= ?", Micros(now.Now)},
			{"last_tick > ?", Micros(now.Now.Add(store.ClockAhead))},
		} {
			if err := tx.Rows(func(rows *sql.Rows) error {
				s, err := scanSchedule(rows)
				if err == nil && s.IsDue(now.Now) && (one.arg == Micros(now.Now) || s.DueAt.After(now.Now)) {
					due = append(due, s)
				}
				return err
			}, selectSchedule+" s WHERE "+one.where+` AND enabled = 1
				AND NOT EXISTS (SELECT 1 FROM disabled d WHERE d.customer = s.customer) ORDER BY due_at, id LIMIT ?`,
				one.arg, max(0, most-len(due))); err != nil {
				return err
			}
		}
		return nil
	}})
	return due, err
}

// lastJob is the last job of a schedule; nil where it is listed no more.
func lastJob(tx Tx, s store.Schedule) (*store.Job, error) {
	if s.LastJob == "" {
		return nil, nil
	}
	j, err := scanJob(tx.Row(selectJob+" WHERE id = ? AND customer = ?", s.LastJob, s.Customer))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &j.Job, nil
}

// SettleSchedules notes of schedules how their last jobs have ended, and says of how many.
func (r *Record) SettleSchedules(ctx context.Context, most int) (settled int, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		settled = 0
		var open []store.Schedule
		if err := tx.Rows(func(rows *sql.Rows) error {
			s, err := scanSchedule(rows)
			open = append(open, s)
			return err
		}, selectSchedule+` s WHERE settled = 0 AND NOT EXISTS
			(SELECT 1 FROM jobs j WHERE j.id = s.last_job AND j.status IN ('queued', 'running')) ORDER BY id LIMIT ?`+
			tx.dialect.SkipLocked, most); err != nil {
			return err
		}
		for _, s := range open {
			last, err := lastJob(tx, s)
			if err != nil {
				return err
			}
			after, changed := store.SettleStep(s, last)
			if !changed {
				continue
			}
			if err := saveSchedule(tx, after, false); err != nil {
				return err
			}
			settled++
		}
		return nil
	}})
	return settled, err
}

// Tick decides on a tick, with the job that it makes, in one transaction. Done is false where there was nothing to decide:
// another process has done it, or the schedule is another by now, or waits for the end of a job; see store.TickStep.
func (r *Record) Tick(ctx context.Context, t store.Tick) (made store.Job, done bool, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		made, done = store.Job{}, false
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		s, err := lockSchedule(tx, t.Schedule.ID)
		if err != nil {
			return err
		}
		if s == nil || s.Customer != t.Schedule.Customer {
			return unknown("schedule", t.Schedule.ID)
		}
		last, err := lastJob(tx, *s)
		if err != nil {
			return err
		}
		step, err := store.TickStep(*s, t, last, now)
		if err != nil || !step.Changed {
			return err
		}
		if err := saveSchedule(tx, step.Schedule, false); err != nil {
			return err
		}
		if step.Audit != nil {
			if err := appendAudit(tx, *step.Audit); err != nil {
				return err
			}
		}
		if step.Job != nil {
			var j jobRow
			if err := j.write(tx, "", store.CreateStep(*step.Job, now), now); err != nil {
				return err
			}
			made = j.Job
		}
		done = step.Done
		return nil
	}})
	return made, done, err
}
