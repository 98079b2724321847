package sqlrecord

import (
	"cmp"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// desk is a change of a customer's deliveries. One is open at a time, of all processes: it holds the customer's row of
// delivery_shares, which every such change locks first. So what is counted there, and in the customer's endpoints, is
// right without further locks. Who opens several opens them in the order of the customers.
type desk struct {
	tx       Tx
	now      store.Moment
	customer string
	inFlight int
	// served is the number of the taking that the change makes; 0 is none.
	served    int64
	webhook   *store.Webhook
	known     bool // whether webhook was asked for
	endpoints map[string]*endpointRow
}

// openDesk begins a change of a customer's deliveries.
func openDesk(tx Tx, customer string) (*desk, error) {
	now, err := tx.Clock()
	if err != nil {
		return nil, err
	}
	return openDeskAt(tx, customer, now)
}

func openDeskAt(tx Tx, customer string, now store.Moment) (*desk, error) {
	d := &desk{tx: tx, now: now, customer: customer, endpoints: map[string]*endpointRow{}}
	lock := func() error {
		return tx.Row("SELECT in_flight FROM delivery_shares WHERE customer = ?"+tx.dialect.ForUpdate, customer).Scan(&d.inFlight)
	}
	err := lock()
	if errors.Is(err, sql.ErrNoRows) {
		if _, err = tx.Insert("INSERT INTO delivery_shares (customer, in_flight, served, due) VALUES (?, 0, 0, 0)", customer); err == nil {
			err = lock()
		}
	}
	return d, err
}

// endpoint is that of a delivery, which is written when the desk is closed.
func (d *desk) endpoint(of store.Delivery) (*endpointRow, error) {
	id := store.EndpointKey(of)
	if e := d.endpoints[id]; e != nil {
		return e, nil
	}
	e, err := scanEndpoint(d.tx.Row(selectEndpoint+" WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		e, err = &endpointRow{id: id, Endpoint: store.NewEndpoint(of), made: true}, nil
	}
	if err == nil {
		d.endpoints[id] = e
	}
	return e, err
}

// receiver is an endpoint with its settings.
func (d *desk) receiver(e *endpointRow) (r store.Receiver, err error) {
	if r.Endpoint = e.Endpoint; !e.Own {
		return r, nil
	}
	if !d.known {
		if d.webhook, err = d.tx.webhook(d.customer); err != nil {
			return r, err
		}
		d.known = true
	}
	r.Webhook = d.webhook
	return r, nil
}

// close writes the endpoints that were asked for, and the customer's row.
func (d *desk) close() error {
	for _, id := range slices.Sorted(maps.Keys(d.endpoints)) {
		if err := d.save(d.endpoints[id]); err != nil {
			return err
		}
	}
	statement, args := `UPDATE delivery_shares SET in_flight = ?, due = (SELECT coalesce(min(due), 0) FROM endpoints
		WHERE endpoints.customer = ? AND endpoints.due > 0)`, []any{d.inFlight, d.customer}
	if d.served > 0 {
		statement, args = statement+", served = ?", append(args, d.served)
	}
	_, err := d.tx.Exec(statement+" WHERE customer = ?", append(args, d.customer)...)
	return err
}

// save writes an endpoint, and when something is to be done for it. One of which there is nothing to know is not kept.
func (d *desk) save(e *endpointRow) error {
	var next time.Time
	err := d.tx.Row("SELECT next_at FROM deliveries WHERE endpoint = ? AND state = 'waiting' AND behind = 0 ORDER BY next_at, seq LIMIT 1",
		e.id).Scan(moment{&next})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if errors.Is(err, sql.ErrNoRows) && e.Idle(d.now) {
		if e.made {
			return nil
		}
		_, err := d.tx.Exec("DELETE FROM endpoints WHERE id = ?", e.id)
		return err
	}
	r, err := d.receiver(e)
	if err != nil {
		return err
	}
	e.due = r.Due(next, d.now)
	statement := updateEndpoint
	if e.made {
		statement = insertEndpoint
	}
	_, err = d.tx.Exec(statement, append(values(e.columns()...), e.id)...)
	return err
}

// line has the first of what is to be sent of each job to each endpoint be first, and what comes after it behind.
func (d *desk) line(jobs []string) error {
	jobs = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(jobs))), func(job string) bool { return job == "" })
	if len(jobs) == 0 {
		return nil
	}
	ofJobs, args := in("job", jobs)
	type one struct {
		seq             int64
		sending, behind bool
	}
	lines := map[[2]string][]one{}
	if err := d.tx.Rows(func(rows *sql.Rows) error {
		var o one
		var key [2]string
		var state store.DeliveryState
		err := rows.Scan(&o.seq, &key[0], &key[1], &state, &o.behind)
		o.sending = state == store.DeliverySending
		lines[key] = append(lines[key], o)
		return err
	}, "SELECT seq, job, endpoint, state, behind FROM deliveries WHERE "+ofJobs+
		" AND state IN ('waiting', 'sending') AND customer = ?", append(args, d.customer)...); err != nil {
		return err
	}
	var first, behind []int64
	for _, line := range lines {
		slices.SortFunc(line, func(a, b one) int { return cmp.Compare(a.seq, b.seq) })
		free := !slices.ContainsFunc(line, func(o one) bool { return o.sending })
		for i, o := range line {
			switch is := !free || i > 0; {
			case o.sending:
			case is && !o.behind:
				behind = append(behind, o.seq)
			case !is && o.behind:
				first = append(first, o.seq)
			}
		}
	}
	if err := d.set("behind = 0", nil, first); err != nil {
		return err
	}
	return d.set("behind = 1, batch = ''", nil, behind) // it goes no more with those that it went with
}

// set writes the same into several deliveries.
func (d *desk) set(columns string, args []any, seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	slices.Sort(seqs)
	which, of := in("seq", seqs)
	_, err := d.tx.Exec("UPDATE deliveries SET "+columns+" WHERE "+which, append(args, of...)...)
	return err
}
