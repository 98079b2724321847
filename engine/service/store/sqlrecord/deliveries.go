package sqlrecord

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Expand has events of the outbox become deliveries, each once: one that is not in the outbox any more, because another
// process was first, becomes none. It says how many were. An event that ends a job removes what waits to tell its
// progress. A delivery whose ID there is already is CodeExists.
func (r *Record) Expand(ctx context.Context, expansions []store.Expansion) (made int, err error) {
	if len(expansions) == 0 {
		return 0, nil
	}
	expansions = slices.SortedStableFunc(slices.Values(expansions), func(a, b store.Expansion) int {
		return cmp.Compare(a.Event.Seq, b.Event.Seq)
	})
	expansions = slices.CompactFunc(expansions, func(a, b store.Expansion) bool { return a.Event.Seq == b.Event.Seq })
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		made = 0
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		here, err := takeOut(tx, expansions)
		if err != nil || len(here) == 0 {
			return err
		}
		made = len(here)
		desks := map[string]*desk{}
		for _, x := range here {
			desks[x.Event.Customer] = nil
			for _, d := range x.Deliveries {
				desks[d.Customer] = nil
			}
		}
		for _, customer := range slices.Sorted(maps.Keys(desks)) {
			if desks[customer], err = openDeskAt(tx, customer, now); err != nil {
				return err
			}
		}
		for _, x := range here {
			if store.EndsJob(x.Event.Event) {
				if err := desks[x.Event.Customer].endProgress(x.Event.Job); err != nil {
					return err
				}
			}
			for _, d := range x.Deliveries {
				if err := desks[d.Customer].queue(d); err != nil {
					return err
				}
			}
		}
		for _, customer := range slices.Sorted(maps.Keys(desks)) {
			if err := desks[customer].close(); err != nil {
				return err
			}
		}
		return nil
	}})
	return made, err
}

// takeOut deletes events from the outbox, and returns those that were there.
func takeOut(tx Tx, expansions []store.Expansion) (here []store.Expansion, err error) {
	for some := range slices.Chunk(expansions, takenOutTogether) {
		var seqs, there []int64
		for _, x := range some {
			seqs = append(seqs, x.Event.Seq)
		}
		which, args := in("seq", seqs)
		if err := tx.Rows(func(rows *sql.Rows) error {
			var seq int64
			err := rows.Scan(&seq)
			there = append(there, seq)
			return err
		}, "SELECT seq FROM outbox WHERE "+which+" ORDER BY seq"+tx.dialect.ForUpdate, args...); err != nil {
			return nil, err
		}
		if len(there) == 0 {
			continue
		}
		which, args = in("seq", there)
		if _, err := tx.Exec("DELETE FROM outbox WHERE "+which, args...); err != nil {
			return nil, err
		}
		for _, x := range some {
			if slices.Contains(there, x.Event.Seq) {
				here = append(here, x)
			}
		}
	}
	return here, nil
}

// takenOutTogether bounds how many values a statement names.
const takenOutTogether = 512

// queue adds a delivery.
func (d *desk) queue(of store.Delivery) error {
	row := deliveryRow{Delivery: store.QueueStep(of, d.now), endpoint: store.EndpointKey(of)}
	if row.Job != "" {
		var before int
		if err := d.tx.Row("SELECT count(*) FROM deliveries WHERE job = ? AND endpoint = ? AND state IN ('waiting', 'sending')",
			row.Job, row.endpoint).Scan(&before); err != nil {
			return err
		}
		row.behind = before > 0
	}
	there, err := d.tx.Insert(insertDelivery, values(row.columns()...)...)
	if err != nil {
		return err
	}
	if there {
		return fault.New(store.CodeExists, fault.Usage, "there is a delivery %q already", of.ID)
	}
	_, err = d.endpoint(of)
	return err
}

// endProgress removes what waits to tell the progress of a job. What was tried stays, for its log.
func (d *desk) endProgress(job string) error {
	all, err := d.tx.deliveryRows(selectDelivery+` WHERE job = ? AND state = 'waiting' AND event = ? AND customer = ?`,
		job, store.EventProgress, d.customer)
	if err != nil || len(all) == 0 {
		return err
	}
	var untried, tried []int64
	var dead store.Delivery
	for _, row := range all {
		if _, err := d.endpoint(row.Delivery); err != nil {
			return err
		}
		if row.Attempts == 0 {
			untried = append(untried, row.Seq)
			continue
		}
		tried, dead = append(tried, row.Seq), store.BuryStep(row.Delivery, store.DeliverySuperseded, d.now)
	}
	if len(untried) > 0 {
		which, args := in("seq", untried)
		if _, err := d.tx.Exec("DELETE FROM deliveries WHERE "+which, args...); err != nil {
			return err
		}
	}
	if err := d.bury(dead, tried); err != nil {
		return err
	}
	return d.line([]string{job})
}

// bury ends deliveries as one of them.
func (d *desk) bury(as store.Delivery, seqs []int64) error {
	return d.set("state = ?, next_at = 0, ended_at = ?, http_status = ?, code = ?, message = ?, behind = 0",
		[]any{as.State, Micros(as.EndedAt), as.HTTPStatus, as.Code, as.Message}, seqs)
}

// PutProgress queues the progress of a job that has not ended, where none waits for the same endpoint already: what it
// says is made at the attempt.
func (r *Record) PutProgress(ctx context.Context, of store.Delivery) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		desk, err := openDesk(tx, of.Customer)
		if err != nil {
			return err
		}
		var goes, waits int
		if err := tx.Row(`SELECT count(*) FROM jobs WHERE id = ? AND customer = ? AND status IN ('queued', 'running')`,
			of.Job, of.Customer).Scan(&goes); err != nil || goes == 0 {
			return err
		}
		if err := tx.Row(`SELECT count(*) FROM deliveries WHERE job = ? AND endpoint = ? AND state = 'waiting' AND event = ?`,
			of.Job, store.EndpointKey(of), store.EventProgress).Scan(&waits); err != nil || waits > 0 {
			return err
		}
		if err := desk.queue(of); err != nil {
			return err
		}
		return desk.close()
	}})
}

// Resend has the deliveries of a filter that have ended sent again, dead or delivered, in the order of their numbers, with
// their IDs; but not the progress of jobs, which would not be so any more. Their retry begins anew, and the breakers of
// their endpoints let one try at once. The filter's Limit and Offset mean nothing. It says how many there are; some hundred
// at a time, each with its audit, are one change.
func (r *Record) Resend(ctx context.Context, f store.DeliveryFilter, by store.Actor) (n int64, err error) {
	where, args := deliveriesWhere(f)
	for after := int64(0); ; {
		var some []*deliveryRow
		if err := r.write(ctx, Change{Do: func(tx Tx) error {
			desk, err := openDesk(tx, f.Customer)
			if err != nil {
				return err
			}
			some, err = tx.deliveryRows(selectDelivery+" WHERE "+where+
				" AND state IN ('dead', 'delivered') AND event <> ? AND seq > ? ORDER BY seq LIMIT ?",
				append(slices.Clone(args), store.EventProgress, after, store.ResentTogether)...)
			if err != nil || len(some) == 0 {
				return err
			}
			return desk.resend(some, by)
		}}); err != nil {
			return n, err
		}
		n += int64(len(some))
		if len(some) < store.ResentTogether {
			return n, nil
		}
		after = some[len(some)-1].Seq
	}
}

func (d *desk) resend(some []*deliveryRow, by store.Actor) error {
	var seqs []int64
	var jobs []string
	for _, row := range some {
		if again, changed := store.ResendStep(row.Delivery, d.now); changed {
			row.Delivery = again
			seqs, jobs = append(seqs, row.Seq), append(jobs, row.Job)
		}
		e, err := d.endpoint(row.Delivery)
		if err != nil {
			return err
		}
		e.Endpoint = store.ResentEndpoint(e.Endpoint, d.now)
	}
	if err := d.set("state = 'waiting', batch = '', tries = 0, next_at = ?, ended_at = 0, behind = 0",
		[]any{Micros(some[0].NextAt)}, seqs); err != nil {
		return err
	}
	if err := d.line(jobs); err != nil {
		return err
	}
	if err := d.close(); err != nil {
		return err
	}
	return appendAudit(d.tx, store.ResendAudit(d.customer, len(seqs), by, d.now))
}

// PruneDeliveries removes deliveries that ended before a time, with their logs, and forgets endpoints of which nothing more
// is to be known. It returns how many deliveries it has removed.
func (r *Record) PruneDeliveries(ctx context.Context, before time.Time) (removed int64, err error) {
	for {
		var seqs []int64
		if err := r.write(ctx, Change{Do: func(tx Tx) error {
			seqs = nil
			if err := tx.Rows(func(rows *sql.Rows) error {
				var seq int64
				err := rows.Scan(&seq)
				seqs = append(seqs, seq)
				return err
			}, "SELECT seq FROM deliveries WHERE ended_at > 0 AND ended_at < ? ORDER BY ended_at LIMIT ?"+tx.dialect.ForUpdate,
				Micros(before), prunedTogether); err != nil || len(seqs) == 0 {
				return err
			}
			which, args := in("delivery", seqs)
			if _, err := tx.Exec("DELETE FROM delivery_attempts WHERE "+which, args...); err != nil {
				return err
			}
			which, args = in("seq", seqs)
			_, err := tx.Exec("DELETE FROM deliveries WHERE "+which, args...)
			return err
		}}); err != nil {
			return removed, err
		}
		if removed += int64(len(seqs)); len(seqs) < prunedTogether {
			return removed, r.pruneEndpoints(ctx, before)
		}
	}
}

// forgotten are the endpoints of a customer of which nothing more is to be known; see store.Endpoint.Forgotten. Nothing
// waits for one that is never due and to which nothing is on its way.
const forgotten = `due = 0 AND in_flight = 0 AND
	(failures = 0 AND disabled_at = 0 AND paced_until <= ? OR own = 0 AND failing_since < ?)`

func (r *Record) pruneEndpoints(ctx context.Context, before time.Time) error {
	var customers []string
	if err := r.write(ctx, Change{Do: func(tx Tx) error {
		customers = nil
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		return tx.Rows(func(rows *sql.Rows) error {
			var customer string
			err := rows.Scan(&customer)
			customers = append(customers, customer)
			return err
		}, "SELECT DISTINCT customer FROM endpoints WHERE "+forgotten, Micros(now.Steady), Micros(before))
	}}); err != nil {
		return err
	}
	for _, customer := range customers {
		if err := r.write(ctx, Change{Do: func(tx Tx) error {
			desk, err := openDesk(tx, customer)
			if err != nil {
				return err
			}
			_, err = tx.Exec("DELETE FROM endpoints WHERE customer = ? AND "+forgotten, customer, Micros(desk.now.Steady), Micros(before))
			return err
		}}); err != nil {
			return err
		}
	}
	return nil
}
