package sqlrecord

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// streamRow is a row of the table streams: a stream and its lease.
type streamRow struct {
	store.HeldStream
	fault store.StreamFault // empty is none
	// logged: its database was made.
	logged bool
}

// columns are all but customer.
func (r *streamRow) columns() []column {
	return []column{
		{"url", &r.URL}, {"secret", &r.Secret}, {"pins", array{&r.Pins}}, {"certificate", &r.Certificate},
		{"organization_id", &r.OrganizationID}, {"records_per_request", &r.RecordsPerRequest}, {"requests_per_minute", &r.RequestsPerMinute},
		{"channels", array{&r.Channels}}, {"content_encoding", &r.ContentEncoding}, {"enabled", &r.Enabled},
		{"fault_code", &r.fault.Code}, {"fault_message", &r.fault.Message}, {"fault_hint", &r.fault.Hint}, {"fault_at", moment{&r.fault.At}},
		{"created_at", moment{&r.CreatedAt}}, {"updated_at", moment{&r.UpdatedAt}},
		{"holder", &r.Holder}, {"fence", &r.Fence}, {"lease_until", moment{&r.Until}}, {"logged", &r.logged},
	}
}

// The statements of a stream, whose arguments are the values of its columns.
var (
	streamColumns = names("", (&streamRow{}).columns()) + ", customer"
	insertStream  = "INSERT INTO streams (" + streamColumns + ") VALUES (" + marks(strings.Count(streamColumns, ",")+1) + ")"
	updateStream  = "UPDATE streams SET " + names(" = ?", (&streamRow{}).columns()) + " WHERE customer = ?"
	selectStream  = "SELECT " + streamColumns + " FROM streams"
)

func scanStream(row scanner) (*streamRow, error) {
	r := &streamRow{}
	err := row.Scan(append(values(r.columns()...), &r.Customer)...)
	if r.fault.Code != "" {
		why := r.fault
		r.Fault = &why
	}
	return r, err
}

// save writes a row.
func (r *streamRow) save(tx Tx, statement string) error {
	r.fault = store.StreamFault{}
	if r.Fault != nil {
		r.fault = *r.Fault
	}
	_, err := tx.Exec(statement, append(values(r.columns()...), r.Customer)...)
	return err
}

// lockStream reads a stream that the change is about to alter.
func lockStream(tx Tx, customer string) (*streamRow, error) {
	r, err := scanStream(tx.Row(selectStream+" WHERE customer = ?"+tx.dialect.ForUpdate, customer))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, unknown("stream of", customer)
	}
	return r, err
}

// changeStream makes a change of one stream, by the record's clock. Change reports whether there is anything to be written.
func (r *Record) changeStream(ctx context.Context, customer string, change func(Tx, *streamRow, store.Moment) (changed bool, err error)) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		row, err := lockStream(tx, customer)
		if err != nil {
			return err
		}
		changed, err := change(tx, row, now)
		if err != nil || !changed {
			return err
		}
		return row.save(tx, updateStream)
	}})
}

// Streams are all that are set up, by customer.
func (r *Record) Streams(ctx context.Context) (all []store.Stream, err error) {
	err = r.read(ctx, func(rows *sql.Rows) error {
		row, err := scanStream(rows)
		all = append(all, row.Stream)
		return err
	}, selectStream+" ORDER BY customer")
	return all, err
}

// Stream is a customer's; none is CodeUnknown.
func (r *Record) Stream(ctx context.Context, customer string) (store.Stream, error) {
	row, err := r.stream(ctx, customer)
	if err != nil {
		return store.Stream{}, err
	}
	return row.Stream, nil
}

func (r *Record) stream(ctx context.Context, customer string) (row *streamRow, err error) {
	err = r.read(ctx, func(rows *sql.Rows) (err error) {
		row, err = scanStream(rows)
		return err
	}, selectStream+" WHERE customer = ?", customer)
	if err == nil && row == nil {
		err = unknown("stream of", customer)
	}
	return row, err
}

// PutStream sets a stream up, or changes what is set up, and returns it as it is then; see store.PutStreamStep.
func (r *Record) PutStream(ctx context.Context, s store.Stream, audit store.Audit) (after store.Stream, err error) {
	err = r.write(ctx, Change{Alone: true, Do: func(tx Tx) error {
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		row, err := scanStream(tx.Row(selectStream+" WHERE customer = ?"+tx.dialect.ForUpdate, s.Customer))
		statement, before := updateStream, &row.Stream
		if errors.Is(err, sql.ErrNoRows) {
			row, statement, before, err = &streamRow{}, insertStream, nil, nil
		}
		if err != nil {
			return err
		}
		row.Stream = store.PutStreamStep(before, s, now)
		if err := row.save(tx, statement); err != nil {
			return err
		}
		after = row.Stream
		return appendAudit(tx, audit)
	}})
	return after, err
}

// SwitchStream enables or disables a stream, and returns it as it is then; see store.SwitchStreamStep. Where it is so
// already nothing changes, and nothing is audited.
func (r *Record) SwitchStream(ctx context.Context, customer string, enabled bool, audit store.Audit) (after store.Stream, err error) {
	err = r.changeStream(ctx, customer, func(tx Tx, row *streamRow, now store.Moment) (changed bool, err error) {
		if row.Stream, changed = store.SwitchStreamStep(row.Stream, enabled, now); changed {
			err = appendAudit(tx, audit)
		}
		after = row.Stream
		return changed, err
	})
	return after, err
}

// FailStream notes why a stream stands; see store.HeldStream.FailStep.
func (r *Record) FailStream(ctx context.Context, l store.StreamLease, f store.StreamFault, audit store.Audit) error {
	return r.changeStream(ctx, l.Customer, func(tx Tx, row *streamRow, now store.Moment) (changed bool, err error) {
		if row.HeldStream, err = row.FailStep(l, f, now); err != nil {
			return false, err
		}
		return true, appendAudit(tx, audit)
	})
}

// outOfService reports whether a customer is.
func outOfService(tx Tx, customer string) (is bool, err error) {
	err = tx.Row("SELECT EXISTS (SELECT 1 FROM disabled WHERE customer = ?)", customer).Scan(&is)
	return is, err
}

// ClaimStream gives a stream that is enabled to a holder; see store.HeldStream.ClaimStep. That of a customer which is out of
// service is given to nobody.
func (r *Record) ClaimStream(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error) {
	err = r.changeStream(ctx, customer, func(tx Tx, row *streamRow, now store.Moment) (bool, error) {
		l, ok = store.StreamLease{}, false
		out, err := outOfService(tx, customer)
		if err != nil || out {
			return false, err
		}
		row.HeldStream, l, ok = row.ClaimStep(holder, false, now)
		return ok, nil
	})
	return l, ok, err
}

// ClaimDisabled gives a stream that is disabled to a holder, for a reset. It is CodeStreamEnabled of another.
func (r *Record) ClaimDisabled(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error) {
	err = r.changeStream(ctx, customer, func(_ Tx, row *streamRow, now store.Moment) (bool, error) {
		if l, ok = (store.StreamLease{}), false; row.Enabled {
			return false, store.EnabledStream(customer)
		}
		row.HeldStream, l, ok = row.ClaimStep(holder, true, now)
		return ok, nil
	})
	return l, ok, err
}

// RenewStream prolongs a lease. That of a customer which is out of service by now is CodeStreamLost.
func (r *Record) RenewStream(ctx context.Context, l store.StreamLease) (renewed store.StreamLease, err error) {
	err = r.changeStream(ctx, l.Customer, func(tx Tx, row *streamRow, now store.Moment) (bool, error) {
		out, err := outOfService(tx, l.Customer)
		if err == nil && out {
			err = store.LostStream(l)
		}
		if err == nil {
			row.HeldStream, renewed, err = row.RenewStep(l, now)
		}
		return err == nil, err
	})
	return renewed, err
}

// ReleaseStream gives a lease back. One that is another's by now changes nothing.
func (r *Record) ReleaseStream(ctx context.Context, l store.StreamLease) error {
	return r.changeStream(ctx, l.Customer, func(_ Tx, row *streamRow, _ store.Moment) (changed bool, err error) {
		row.HeldStream, changed = row.ReleaseStep(l)
		return changed, nil
	})
}

// endStreamLeases is part of EndLeases.
func endStreamLeases(tx Tx) error {
	_, err := tx.Exec("UPDATE streams SET holder = '', lease_until = 0 WHERE holder <> ''")
	return err
}

// HasLog reports whether the database of a stream was made; CodeUnknown is a stream that is not set up.
func (r *Record) HasLog(ctx context.Context, customer string) (bool, error) {
	row, err := r.stream(ctx, customer)
	if err != nil {
		return false, err
	}
	return row.logged, nil
}

// LogMade notes that the database of a stream was made.
func (r *Record) LogMade(ctx context.Context, customer string) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		_, err := tx.Exec("UPDATE streams SET logged = 1 WHERE customer = ?", customer)
		return err
	}})
}
