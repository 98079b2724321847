package sqlrecord

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Deliveries lists those of a filter, the newest first, and says how many it lets through in all.
func (r *Record) Deliveries(ctx context.Context, f store.DeliveryFilter) (list []store.Delivery, total int64, err error) {
	where, args := deliveriesWhere(f)
	if err := r.read(ctx, func(rows *sql.Rows) error { return rows.Scan(&total) },
		"SELECT count(*) FROM deliveries WHERE "+where, args...); err != nil {
		return nil, 0, err
	}
	if f.Limit <= 0 || f.Offset >= total {
		return nil, total, nil
	}
	list, err = r.deliveries(ctx, selectDelivery+" JOIN (SELECT seq AS page FROM deliveries WHERE "+where+
		" ORDER BY seq DESC LIMIT ? OFFSET ?) AS pages ON seq = page ORDER BY seq DESC", append(args, f.Limit, max(0, f.Offset))...)
	return list, total, err
}

func (r *Record) deliveries(ctx context.Context, query string, args ...any) (all []store.Delivery, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error {
		d, err := scanDelivery(rows)
		all = append(all, d.Delivery)
		return err
	}, query, args...)
	return all, err
}

func deliveriesWhere(f store.DeliveryFilter) (where string, args []any) {
	where, args = "customer = ?", []any{f.Customer}
	add := func(condition string, values ...any) {
		where, args = where+" AND "+condition, append(args, values...)
	}
	if f.State != "" {
		add("state = ?", f.State)
	}
	if f.Event != "" {
		add("event = ?", f.Event)
	}
	if f.Job != "" {
		add("job = ?", f.Job)
	}
	if len(f.IDs) > 0 {
		which, ids := in("id", f.IDs)
		add(which, ids...)
	}
	if !f.Since.IsZero() {
		add("created_at >= ?", Micros(f.Since))
	}
	if !f.Until.IsZero() {
		add("created_at < ?", Micros(f.Until))
	}
	return where, args
}

// Delivery is one of a customer's; another's is CodeUnknown, as one that there never was.
func (r *Record) Delivery(ctx context.Context, customer, id string) (store.Delivery, error) {
	all, err := r.deliveries(ctx, selectDelivery+" WHERE id = ? AND customer = ?", id, customer)
	if err == nil && len(all) == 0 {
		err = unknown("delivery", id)
	}
	if err != nil {
		return store.Delivery{}, err
	}
	return all[0], nil
}

// Attempts is the log of a customer's delivery, in order.
func (r *Record) Attempts(ctx context.Context, customer, id string) (all []store.Attempt, err error) {
	found := false
	err = r.read(ctx, func(rows *sql.Rows) error {
		found = true
		a := store.Attempt{Delivery: id}
		var number, status sql.NullInt64
		var code, message sql.NullString
		err := rows.Scan(&number, moment{&a.At}, span{&a.Duration}, &status, &code, &message)
		if a.Number, a.HTTPStatus, a.Code, a.Message = int(number.Int64), int(status.Int64), code.String, message.String; number.Valid {
			all = append(all, a)
		}
		return err
	}, `SELECT a.number, a.at, a.duration, a.http_status, a.code, a.message
		FROM deliveries d LEFT JOIN delivery_attempts a ON a.delivery = d.seq WHERE d.id = ? AND d.customer = ? ORDER BY a.number`,
		id, customer)
	if err == nil && !found {
		err = unknown("delivery", id)
	}
	return all, err
}

// Endpoints says how it stands with a customer's receivers: the own first, then by channel and target. One with which all is
// well need not be there.
func (r *Record) Endpoints(ctx context.Context, customer string) (all []store.Endpoint, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error {
		e, err := scanEndpoint(rows)
		all = append(all, e.Endpoint)
		return err
	}, selectEndpoint+" WHERE customer = ? ORDER BY own DESC, channel, target", customer)
	return all, err
}

// WebhookStatuses says how it stands with the webhooks of a customer's jobs, over all deliveries of each but those of its
// progress: dead before what is on its way, and that before what was delivered. A job that has none is not there.
func (r *Record) WebhookStatuses(ctx context.Context, customer string, jobs []string) (map[string]store.DeliveryState, error) {
	states := map[string]store.DeliveryState{}
	for some := range slices.Chunk(jobs, takenOutTogether) {
		which, args := in("job", some)
		if err := r.read(ctx, func(rows *sql.Rows) error {
			var job string
			var state store.DeliveryState
			err := rows.Scan(&job, &state)
			states[job] = store.WorseDelivery(states[job], state)
			return err
		}, "SELECT job, state FROM deliveries WHERE "+which+" AND customer = ? AND channel = ? AND event <> ?",
			append(args, customer, store.ByWebhook, store.EventProgress)...); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// DeliveryQueues counts what waits, and since when the oldest does, and what is dead.
func (r *Record) DeliveryQueues(ctx context.Context) (waiting, dead int64, oldest time.Time, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error {
		var state store.DeliveryState
		var n, first int64
		err := rows.Scan(&state, &n, &first)
		if state == store.DeliveryDead {
			dead = n
		} else {
			waiting, oldest = n, Instant(first)
		}
		return err
	}, "SELECT state, count(*), min(created_at) FROM deliveries WHERE state IN ('waiting', 'dead') GROUP BY state")
	return waiting, dead, oldest, err
}
