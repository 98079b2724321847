package sqlrecord

import (
	"context"
	"database/sql"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Job returns a customer's job; another's is CodeUnknown, as one that there never was.
func (r *Record) Job(ctx context.Context, customer, id string) (store.Job, error) {
	all, err := r.jobs(ctx, selectJob+" WHERE id = ? AND customer = ?", id, customer)
	if err == nil && len(all) == 0 {
		err = unknown("job", id)
	}
	if err != nil {
		return store.Job{}, err
	}
	return all[0], nil
}

func (r *Record) jobs(ctx context.Context, query string, args ...any) (all []store.Job, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error {
		j, err := scanJob(rows)
		all = append(all, j.Job)
		return err
	}, query, args...)
	return all, err
}

// Jobs lists a customer's jobs, and says how many the filter lets through in all. Which they are is found in an index
// alone; of those of the page the rows are read.
func (r *Record) Jobs(ctx context.Context, f store.JobFilter) (list []store.Job, total int64, err error) {
	where, args := jobsWhere(f, "created_at", 1)
	count, of := "SELECT count(*) FROM jobs WHERE "+where, args
	if days, args, whole := daysWhere(f); whole && r.db.Counted {
		count, of = "SELECT coalesce(sum(n), 0) FROM job_counts WHERE "+days, args
	}
	if err := r.read(ctx, func(rows *sql.Rows) error { return rows.Scan(&total) }, count, of...); err != nil {
		return nil, 0, err
	}
	if f.Limit <= 0 || f.Offset >= total {
		return nil, total, nil
	}
	order, ok := jobOrders[f.Sort]
	if !ok {
		order = jobOrders[store.CreatedDesc]
	}
	list, err = r.jobs(ctx, selectJob+" JOIN (SELECT seq AS page FROM jobs WHERE "+where+" ORDER BY "+order+
		" LIMIT ? OFFSET ?) AS pages ON seq = page ORDER BY "+order, append(args, f.Limit, max(0, f.Offset))...)
	return list, total, err
}

// jobsWhere is the condition of a list, whose times are those of a column that counts so many microseconds.
func jobsWhere(f store.JobFilter, column string, unit int64) (where string, args []any) {
	where, args = "customer = ?", []any{f.Customer}
	add := func(condition string, value any) {
		where, args = where+" AND "+condition, append(args, value)
	}
	if f.Status != "" {
		add("status = ?", f.Status)
	}
	if f.Procedure != "" {
		add(`"procedure" = ?`, f.Procedure)
	}
	if !f.From.IsZero() {
		add(column+" >= ?", Micros(f.From)/unit)
	}
	if !f.To.IsZero() {
		add(column+" < ?", Micros(f.To)/unit)
	}
	return where, args
}

// daysWhere is the condition of a list on the days of its jobs; not whole where it begins or ends within one.
func daysWhere(f store.JobFilter) (where string, args []any, whole bool) {
	const day = int64(24 * time.Hour / time.Microsecond)
	whole = true
	for _, at := range []time.Time{f.From, f.To} {
		whole = whole && (at.IsZero() || Micros(at)%day == 0)
	}
	where, args = jobsWhere(f, "day", day)
	return where, args, whole
}

// jobOrders are the orders of lists, each of which an index has.
var jobOrders = map[store.JobSort]string{
	store.CreatedDesc: "created_at DESC, id DESC", store.CreatedAsc: "created_at, id",
	store.UpdatedDesc: "updated_at DESC, id DESC", store.UpdatedAsc: "updated_at, id",
}

// Transitions lists the changes of the state of a customer's job after one, in order.
func (r *Record) Transitions(ctx context.Context, customer, id string, after int64) (all []store.Transition, err error) {
	found := false
	err = r.read(ctx, func(rows *sql.Rows) error {
		t := store.Transition{Job: id}
		err := rows.Scan(&t.Number, &t.Event, &t.From, &t.To, moment{&t.At}, &t.Attempt, &t.Code)
		if found = true; t.Number > after {
			all = append(all, t)
		}
		return err
	}, `SELECT t.number, t.event, t.from_status, t.to_status, t.at, t.attempt, t.code
		FROM jobs j JOIN job_transitions t ON t.job = j.id WHERE j.id = ? AND j.customer = ? ORDER BY t.number`, id, customer)
	if err == nil && !found {
		err = unknown("job", id)
	}
	return all, err
}

// PastRuns is what the last completed job of a procedure gave; zero is not known.
func (r *Record) PastRuns(ctx context.Context, customer, procedure string) (past store.Progress, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error { return rows.Scan(&past.Rows, &past.Bytes) },
		`SELECT "rows", bytes FROM past_runs WHERE customer = ? AND "procedure" = ?`, customer, procedure)
	return past, err
}

// Outbox lists what customers are to be told of after an event, in order, at most so many.
func (r *Record) Outbox(ctx context.Context, after int64, most int) (all []store.OutboxEvent, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error {
		var o store.OutboxEvent
		err := rows.Scan(&o.Seq, &o.Customer, &o.Job, &o.Event, &o.Transition, moment{&o.At}, &o.Data)
		all = append(all, o)
		return err
	}, "SELECT seq, customer, job, event, transition, at, data FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", after, max(0, most))
	return all, err
}

// Queues says how many jobs wait and run, by procedure, and since when the oldest waits.
func (r *Record) Queues(ctx context.Context) (map[string]store.Queue, error) {
	queues := map[string]store.Queue{}
	err := r.read(ctx, func(rows *sql.Rows) error {
		var procedure string
		var status store.Status
		var n, oldest int64
		err := rows.Scan(&procedure, &status, &n, &oldest)
		q := queues[procedure]
		if status == store.Running {
			q.Running = n
		} else {
			q.Queued, q.Oldest = n, Instant(oldest)
		}
		queues[procedure] = q
		return err
	}, `SELECT "procedure", status, count(*), min(created_at) FROM jobs
		WHERE status IN ('queued', 'running') GROUP BY "procedure", status`)
	return queues, err
}

// Clock is the time of the record.
func (r *Record) Clock(ctx context.Context) (now time.Time, err error) {
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		at, err := tx.Clock()
		now = Instant(Micros(at.Now))
		return err
	}})
	return now, err
}
