package sqlrecord

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// ClaimDeliveries takes what is to be sent next, for a process: of the customer that was served the longest ago, for the
// endpoint that was. It is one delivery, or those that go together. What cannot be sent at all it ends on the way. It looks
// at customers and endpoints for which something is to be done, and at the first that waits for one: however many wait
// for an endpoint that fails, or is slow, they are not looked at.
func (r *Record) ClaimDeliveries(ctx context.Context, holder string) (claimed store.ClaimedDeliveries, ok bool, err error) {
	for {
		var again bool
		err := r.write(ctx, Change{Do: func(tx Tx) (err error) {
			claimed, ok, again, err = claim(tx, holder)
			return err
		}})
		if err != nil || !again {
			return claimed, ok, err
		}
	}
}

// claim is one step of it; again says that another follows.
func claim(tx Tx, holder string) (claimed store.ClaimedDeliveries, ok, again bool, err error) {
	d, err := nextDesk(tx)
	if err != nil || d == nil {
		return claimed, false, false, err
	}
	// The conditions choose the index of the order, in which the first that is due is soon found.
	e, err := scanEndpoint(tx.Row(selectEndpoint+` WHERE customer = ? AND due <> 0 AND due + 0 <= ? ORDER BY served, id LIMIT 1`,
		d.customer, Micros(d.now.Steady)))
	if errors.Is(err, sql.ErrNoRows) {
		return claimed, false, true, d.close() // and it is due at another time
	}
	if err != nil {
		return claimed, false, false, err
	}
	d.endpoints[e.id] = e
	receiver, err := d.receiver(e)
	if err != nil {
		return claimed, false, false, err
	}
	if code := receiver.Condemned(d.now); code != "" {
		return claimed, false, true, d.condemn(e, code)
	}
	heads, err := tx.deliveryRows(selectDelivery+` WHERE endpoint = ? AND state = 'waiting' AND behind = 0 AND next_at <= ?
		ORDER BY next_at, seq LIMIT ?`, e.id, Micros(d.now.Steady), receiver.Together())
	if err != nil {
		return claimed, false, false, err
	}
	if len(heads) == 0 || receiver.Due(heads[0].NextAt, d.now).IsZero() || receiver.Due(heads[0].NextAt, d.now).After(d.now.Steady) {
		return claimed, false, true, d.close()
	}
	batch := heads[0].Batch
	if batch != "" {
		heads, err = tx.deliveryRows(selectDelivery+" WHERE endpoint = ? AND state = 'waiting' AND batch = ? AND batch <> ''", e.id, batch)
	} else {
		heads = slices.DeleteFunc(heads, func(row *deliveryRow) bool { return row.Batch != "" })
	}
	if err != nil {
		return claimed, false, false, err
	}
	claimed, err = d.take(e, receiver, heads, holder)
	return claimed, err == nil, false, err
}

// nextDesk opens the desk of the customer for which something is to be done next; nil is none. Where several claim at once,
// a customer that another has is passed over.
func nextDesk(tx Tx) (*desk, error) {
	now, err := tx.Clock()
	if err != nil {
		return nil, err
	}
	d := &desk{tx: tx, now: now, endpoints: map[string]*endpointRow{}}
	const due = "due > 0 AND due <= ? AND in_flight < ?"
	args := []any{Micros(now.Steady), store.MostPerCustomer}
	for passed := []string(nil); ; passed = append(passed, d.customer) {
		other, names := notIn("customer", passed)
		err := tx.Row("SELECT customer, in_flight FROM delivery_shares WHERE "+due+other+
			` AND NOT EXISTS (SELECT 1 FROM disabled WHERE disabled.customer = delivery_shares.customer)
			ORDER BY served, customer LIMIT 1`, append(args[:2:2], names...)...).Scan(&d.customer, &d.inFlight)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil || tx.dialect.SkipLocked == "" {
			return d, err
		}
		err = tx.Row("SELECT in_flight FROM delivery_shares WHERE "+due+" AND customer = ?"+tx.dialect.SkipLocked,
			append(args[:2:2], d.customer)...).Scan(&d.inFlight)
		if !errors.Is(err, sql.ErrNoRows) {
			return d, err
		}
	}
}

// condemn ends some of what waits for an endpoint.
func (d *desk) condemn(e *endpointRow, code string) error {
	rows, err := d.tx.deliveryRows(selectDelivery+" WHERE endpoint = ? AND state = 'waiting' ORDER BY seq LIMIT ?",
		e.id, store.BuriedTogether)
	if err != nil {
		return err
	}
	var seqs []int64
	var jobs []string
	for _, row := range rows {
		seqs, jobs = append(seqs, row.Seq), append(jobs, row.Job)
	}
	if len(rows) > 0 {
		if err := d.bury(store.BuryStep(rows[0].Delivery, code, d.now), seqs); err != nil {
			return err
		}
	}
	if err := d.line(jobs); err != nil {
		return err
	}
	return d.close()
}

// take gives deliveries to a process.
func (d *desk) take(e *endpointRow, r store.Receiver, rows []*deliveryRow, holder string) (
	claimed store.ClaimedDeliveries, err error) {
	slices.SortFunc(rows, bySeq)
	var together []store.Delivery
	var seqs []int64
	for _, row := range rows {
		together, seqs = append(together, row.Delivery), append(seqs, row.Seq)
	}
	if err := d.tx.Row("SELECT coalesce(max(served), 0) + 1 FROM delivery_shares").Scan(&d.served); err != nil {
		return claimed, err
	}
	t := store.TakeStep(r, together, holder, d.served, d.now)
	first := t.Deliveries[0]
	err = d.set(`state = ?, target = ?, batch = ?, attempts = attempts + 1, next_at = 0, last_at = ?, fence = ?, holder = ?,
		server = ?, lease_until = ?`, []any{first.State, first.Target, first.Batch, Micros(first.LastAt), first.Fence, holder,
		d.now.Server, Micros(t.Until)}, seqs)
	if err != nil {
		return claimed, err
	}
	e.Endpoint = t.Endpoint
	d.inFlight++
	claimed = store.ClaimedDeliveries{Deliveries: t.Deliveries, Lease: t.Lease}
	if r.Webhook != nil {
		claimed.Webhook = *r.Webhook
	}
	return claimed, d.close()
}

func bySeq(a, b *deliveryRow) int { return cmp.Compare(a.Seq, b.Seq) }

// EndAttempt notes what has become of a request, and returns its deliveries as they are then; see store.AttemptStep. A lease
// that is over, or that another has, is CodeLeaseLost.
func (r *Record) EndAttempt(ctx context.Context, l store.DeliveryLease, o store.Outcome, retry store.Retry) (
	after []store.Delivery, err error) {
	if len(l.Deliveries) == 0 {
		return nil, store.LostDeliveryLease(l)
	}
	err = r.write(ctx, Change{Do: func(tx Tx) error {
		after = nil
		desk, err := openDesk(tx, l.Customer)
		if err != nil {
			return err
		}
		which, args := in("id", l.Deliveries)
		rows, err := tx.deliveryRows(selectDelivery+" WHERE "+which, args...)
		if err != nil {
			return err
		}
		if len(rows) != len(l.Deliveries) {
			return store.LostDeliveryLease(l)
		}
		slices.SortFunc(rows, bySeq)
		for _, row := range rows {
			if !l.Holds(row.Delivery, row.holder, row.server) || !desk.now.Steady.Before(row.lease) {
				return store.LostDeliveryLease(l)
			}
		}
		after, err = desk.attempted(rows, func(r store.Receiver, sent []store.Delivery, over map[string]bool) store.Attempted {
			return store.AttemptStep(r, sent, o, retry, over, desk.now)
		})
		return err
	}})
	return after, err
}

// attempted writes what an attempt comes to.
func (d *desk) attempted(rows []*deliveryRow, step func(store.Receiver, []store.Delivery, map[string]bool) store.Attempted) (
	[]store.Delivery, error) {
	var sent []store.Delivery
	var jobs []string
	for _, row := range rows {
		sent, jobs = append(sent, row.Delivery), append(jobs, row.Job)
	}
	e, err := d.endpoint(sent[0])
	if err != nil {
		return nil, err
	}
	r, err := d.receiver(e)
	if err != nil {
		return nil, err
	}
	over, err := d.over(sent)
	if err != nil {
		return nil, err
	}
	a := step(r, sent, over)
	// All have become the same, but for the progress of jobs that have ended meanwhile.
	kinds := map[store.DeliveryState][]int64{}
	for _, one := range a.Deliveries {
		kinds[one.State] = append(kinds[one.State], one.Seq)
	}
	for _, one := range a.Deliveries {
		if err := d.set(`state = ?, tries = ?, next_at = ?, ended_at = ?, http_status = ?, code = ?, message = ?, holder = '',
			server = '', lease_until = 0`, []any{one.State, one.Tries, Micros(one.NextAt), Micros(one.EndedAt), one.HTTPStatus,
			one.Code, one.Message}, kinds[one.State]); err != nil {
			return nil, err
		}
		kinds[one.State] = nil
	}
	if err := d.log(a.Deliveries, a.Attempts); err != nil {
		return nil, err
	}
	if err := d.line(jobs); err != nil {
		return nil, err
	}
	e.Endpoint = a.Endpoint
	d.inFlight = max(0, d.inFlight-1)
	if err := d.close(); err != nil {
		return nil, err
	}
	if a.Audit != nil {
		if err := appendAudit(d.tx, *a.Audit); err != nil {
			return nil, err
		}
	}
	if a.Outbox != nil {
		err = announce(d.tx, *a.Outbox)
	}
	return a.Deliveries, err
}

// log writes the attempts of deliveries.
func (d *desk) log(of []store.Delivery, attempts []store.Attempt) error {
	var args []any
	for i, a := range attempts {
		args = append(args, of[i].Seq, a.Number, Micros(a.At), a.Duration.Microseconds(), a.HTTPStatus, a.Code, a.Message)
	}
	_, err := d.tx.Exec("INSERT INTO delivery_attempts (delivery, number, at, duration, http_status, code, message) VALUES "+
		strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?, ?, ?), ", len(attempts)), ", "), args...)
	return err
}

// over are those of the deliveries that tell the progress of jobs that have ended.
func (d *desk) over(all []store.Delivery) (map[string]bool, error) {
	over, jobs := map[string]bool{}, []string(nil)
	for _, one := range all {
		if one.Event == store.EventProgress {
			over[one.ID] = true
			jobs = append(jobs, one.Job)
		}
	}
	if len(jobs) == 0 {
		return over, nil
	}
	which, args := in("id", jobs)
	err := d.tx.Rows(func(rows *sql.Rows) error {
		var job string
		err := rows.Scan(&job)
		for _, one := range all {
			if one.Job == job {
				delete(over, one.ID)
			}
		}
		return err
	}, "SELECT id FROM jobs WHERE "+which+" AND status IN ('queued', 'running')", args...)
	return over, err
}

// RecoverDeliveries has those wait again, at once, whose leases are over, and says how many there were.
func (r *Record) RecoverDeliveries(ctx context.Context) (recovered int, err error) {
	for {
		n, more := 0, false
		if err := r.write(ctx, Change{Do: func(tx Tx) (err error) {
			n, more, err = recoverDeliveries(tx)
			return err
		}}); err != nil {
			return recovered, err
		}
		if recovered += n; !more {
			return recovered, nil
		}
	}
}

// recoverDeliveries recovers those of one customer; more says that there is another.
func recoverDeliveries(tx Tx) (n int, more bool, err error) {
	now, err := tx.Clock()
	if err != nil {
		return 0, false, err
	}
	var customer string
	next := func() error {
		return tx.Row("SELECT customer FROM deliveries WHERE state = 'sending' AND lease_until <= ? ORDER BY lease_until LIMIT 1",
			Micros(now.Steady)).Scan(&customer)
	}
	err = next()
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	d, err := openDeskAt(tx, customer, now)
	if err != nil {
		return 0, false, err
	}
	rows, err := tx.deliveryRows(selectDelivery+" WHERE state = 'sending' AND lease_until <= ? AND customer = ?", Micros(now.Steady), customer)
	if err != nil {
		return 0, false, err
	}
	slices.SortFunc(rows, bySeq)
	for len(rows) > 0 {
		first := rows[0]
		var request, others []*deliveryRow
		for _, row := range rows {
			if row == first || first.Batch != "" && row.Batch == first.Batch && row.endpoint == first.endpoint {
				request = append(request, row)
			} else {
				others = append(others, row)
			}
		}
		after, err := d.attempted(request, func(r store.Receiver, sent []store.Delivery, over map[string]bool) store.Attempted {
			return store.LostAttemptStep(r, sent, over, now)
		})
		if err != nil {
			return 0, false, err
		}
		n, rows = n+len(after), others
	}
	if err = next(); errors.Is(err, sql.ErrNoRows) {
		return n, false, nil
	}
	return n, true, err
}

// endDeliveryLeases is part of EndLeases: what was on its way is nobody's, and a time that lies further ahead than any that
// is set was of a clock that is gone.
func endDeliveryLeases(tx Tx) error {
	now, err := tx.Clock()
	if err != nil {
		return err
	}
	for _, change := range []struct {
		statement string
		ahead     time.Duration
	}{
		{"UPDATE deliveries SET next_at = ? WHERE state = 'waiting' AND next_at > ?", store.LongestWait},
		{"UPDATE endpoints SET open_until = ? WHERE open_until > ?", store.LongestOpen},
		{"UPDATE endpoints SET paced_until = ? WHERE paced_until > ?", time.Minute},
		{"UPDATE endpoints SET failing_since = ? WHERE failing_since > ?", 0},
		{"UPDATE endpoints SET due = ? WHERE due > ?", 0}, // a claim says when it is
		{"UPDATE delivery_shares SET due = ? WHERE due > ?", 0},
	} {
		at := Micros(now.Steady.Add(change.ahead))
		if _, err := tx.Exec(change.statement, at, at); err != nil {
			return err
		}
	}
	_, err = tx.Exec("UPDATE deliveries SET lease_until = 0 WHERE state = 'sending'")
	return err
}
