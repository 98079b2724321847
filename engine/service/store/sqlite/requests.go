package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const requestColumns = "id, run_id, customer, key_id, procedure, mode, reason, format, status, started_at, ended_at, " +
	"rows, bytes, sha256, code, message, receipt"

const auditColumns = "at, who, what, customer, address, request_id, run_id, outcome, details"

// BeginRequest notes that a request runs, whatever its Status says. A second one with its id is CodeExists.
func (s *Store) BeginRequest(ctx context.Context, r store.Request, audit ...store.Audit) error {
	return s.write(ctx, change{do: func(c execer) error {
		n, err := c.exec("INSERT INTO requests ("+requestColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"+
			" ON CONFLICT (id) DO NOTHING",
			r.ID, r.RunID, r.Customer, r.KeyID, r.Procedure, r.Mode, r.Reason, r.Format, store.Running, micros(r.StartedAt), micros(r.EndedAt),
			r.Rows, r.Bytes, r.SHA256, r.Code, r.Message, r.Receipt)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(store.CodeExists, fault.Usage, "there is a request %q already", r.ID)
		}
		return appendAudit(c, audit...)
	}})
}

// EndRequest notes how a running request ended. Customer and StartedAt stay as they were; one that is not running is
// CodeUnknown.
func (s *Store) EndRequest(ctx context.Context, r store.Request, audit ...store.Audit) error {
	return s.write(ctx, change{do: func(c execer) error {
		n, err := c.exec(`UPDATE requests SET run_id = ?, key_id = ?, procedure = ?, mode = ?, reason = ?, format = ?,
			status = ?, ended_at = ?, rows = ?, bytes = ?, sha256 = ?, code = ?, message = ?, receipt = ? WHERE id = ? AND status = ?`,
			r.RunID, r.KeyID, r.Procedure, r.Mode, r.Reason, r.Format, r.Status, micros(r.EndedAt),
			r.Rows, r.Bytes, r.SHA256, r.Code, r.Message, r.Receipt, r.ID, store.Running)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("running request", r.ID)
		}
		return appendAudit(c, audit...)
	}})
}

// endInterrupted ends the requests that were running when the last process ended, and says so in the audit.
func (s *Store) endInterrupted(ctx context.Context, now time.Time) error {
	return s.write(ctx, change{do: func(c execer) error {
		if _, err := c.exec("INSERT INTO audit ("+auditColumns+`)
			SELECT ?, 'service', 'request.end', customer, 'local', id, run_id, ?, 'null' FROM requests
			WHERE status = 'running' ORDER BY id`,
			micros(now), store.ServiceRestarted); err != nil {
			return err
		}
		_, err := c.exec("UPDATE requests SET status = ?, code = ?, message = ?, ended_at = ? WHERE status = 'running'",
			store.Failed, store.ServiceRestarted, "the service ended while the request was running", micros(now))
		return err
	}})
}

// Request returns a customer's request; another's is CodeUnknown, as one that there never was.
func (s *Store) Request(ctx context.Context, customer, id string) (r store.Request, err error) {
	found := false
	err = s.read(ctx, func(rows *sql.Rows) error {
		found = true
		var started, ended int64
		err := rows.Scan(&r.ID, &r.RunID, &r.Customer, &r.KeyID, &r.Procedure, &r.Mode, &r.Reason, &r.Format,
			&r.Status, &started, &ended,
			&r.Rows, &r.Bytes, &r.SHA256, &r.Code, &r.Message, &r.Receipt)
		r.StartedAt, r.EndedAt = instant(started), instant(ended)
		return err
	}, "SELECT "+requestColumns+" FROM requests WHERE id = ? AND customer = ?", id, customer)
	if err == nil && !found {
		err = unknown("request", id)
	}
	return r, err
}

// PruneRequests removes requests that ended before a time, and returns how many; those that run stay.
func (s *Store) PruneRequests(ctx context.Context, before time.Time) (removed int64, err error) {
	for {
		var n int64
		err := s.write(ctx, change{do: func(c execer) (err error) {
			n, err = c.exec(`DELETE FROM requests WHERE id IN
				(SELECT id FROM requests WHERE status <> 'running' AND ended_at < ? LIMIT ?)`, micros(before), prunedTogether)
			return err
		}})
		if removed += n; err != nil || n < prunedTogether {
			return removed, err
		}
	}
}

// prunedTogether bounds for how long pruning keeps others from writing.
const prunedTogether = 1000

// AppendAudit adds a row to the audit.
func (s *Store) AppendAudit(ctx context.Context, a store.Audit) error {
	return s.write(ctx, change{do: func(c execer) error { return appendAudit(c, a) }})
}

func appendAudit(c execer, all ...store.Audit) error {
	for _, a := range all {
		text, err := json.Marshal(a.Details)
		if err != nil {
			return err
		}
		if _, err := c.exec("INSERT INTO audit ("+auditColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			micros(a.At), a.Who, a.What, a.Customer, a.From, a.RequestID, a.RunID, a.Outcome, string(text)); err != nil {
			return err
		}
	}
	return nil
}

// AuditOf lists the audit of a customer, or of all when it is empty, from a time on, the oldest first, at most so many
// rows.
func (s *Store) AuditOf(ctx context.Context, customer string, since time.Time, most int) ([]store.Audit, error) {
	where, args := "at >= ?", []any{micros(since)}
	if customer != "" {
		where, args = "customer = ? AND at >= ?", []any{customer, micros(since)}
	}
	var all []store.Audit
	err := s.read(ctx, func(rows *sql.Rows) error {
		var a store.Audit
		var at int64
		var details []byte
		err := rows.Scan(&at, &a.Who, &a.What, &a.Customer, &a.From, &a.RequestID, &a.RunID, &a.Outcome, &details)
		if err != nil {
			return err
		}
		a.At = instant(at)
		all = append(all, a)
		return json.Unmarshal(details, &all[len(all)-1].Details)
	}, "SELECT "+auditColumns+" FROM audit WHERE "+where+" ORDER BY at, seq LIMIT ?",
		append(args, max(0, most))...)
	return all, err
}
