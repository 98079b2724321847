package sqlrecord

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const requestColumns = `id, run_id, customer, key_id, "procedure", mode, reason, format, status, started_at, ended_at,
	"rows", bytes, sha256, code, message, receipt`

const auditColumns = "at, who, what, customer, address, request_id, run_id, outcome, details"

// BeginRequest notes that a request runs, whatever its Status says. A second one with its id is CodeExists.
func (r *Record) BeginRequest(ctx context.Context, q store.Request, audit ...store.Audit) error {
	columns := requestColumns
	args := []any{q.ID, q.RunID, q.Customer, q.KeyID, q.Procedure, q.Mode, q.Reason, q.Format, store.Running,
		Micros(q.StartedAt), Micros(q.EndedAt), q.Rows, q.Bytes, q.SHA256, q.Code, q.Message, q.Receipt}
	if r.db.Instance != "" {
		columns, args = columns+", instance", append(args, r.db.Instance)
	}
	return r.write(ctx, Change{Do: func(tx Tx) error {
		there, err := tx.Insert("INSERT INTO requests ("+columns+") VALUES ("+marks(len(args))+")", args...)
		if err != nil {
			return err
		}
		if there {
			return fault.New(store.CodeExists, fault.Usage, "there is a request %q already", q.ID)
		}
		return appendAudit(tx, audit...)
	}})
}

// EndRequest notes how a running request ended. Customer and StartedAt stay as they were; one that is not running is
// CodeUnknown.
func (r *Record) EndRequest(ctx context.Context, q store.Request, audit ...store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error {
		n, err := tx.Exec(`UPDATE requests SET run_id = ?, key_id = ?, "procedure" = ?, mode = ?, reason = ?, format = ?,
			status = ?, ended_at = ?, "rows" = ?, bytes = ?, sha256 = ?, code = ?, message = ?, receipt = ? WHERE id = ? AND status = ?`,
			q.RunID, q.KeyID, q.Procedure, q.Mode, q.Reason, q.Format, q.Status, Micros(q.EndedAt),
			q.Rows, q.Bytes, q.SHA256, q.Code, q.Message, q.Receipt, q.ID, store.Running)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown("running request", q.ID)
		}
		return appendAudit(tx, audit...)
	}})
}

// EndInterrupted is part of a change: it ends the requests that were running when their process ended, and says so in the
// audit. Where is empty for all that run, or says which, with its arguments.
func EndInterrupted(tx Tx, now time.Time, where string, args ...any) error {
	running := "status = 'running'"
	if where != "" {
		running += " AND " + where
	}
	// None of them may end by itself between the two statements that follow.
	if tx.dialect.ForUpdate != "" {
		if err := tx.Rows(func(*sql.Rows) error { return nil },
			"SELECT id FROM requests WHERE "+running+tx.dialect.ForUpdate, args...); err != nil {
			return err
		}
	}
	if _, err := tx.Exec("INSERT INTO audit ("+auditColumns+`)
		SELECT ?, 'service', 'request.end', customer, 'local', id, run_id, ?, 'null' FROM requests
		WHERE `+running+" ORDER BY id", append([]any{Micros(now), store.ServiceRestarted}, args...)...); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE requests SET status = ?, code = ?, message = ?, ended_at = ? WHERE "+running,
		append([]any{store.Failed, store.ServiceRestarted, "the service ended while the request was running", Micros(now)}, args...)...)
	return err
}

// Request returns a customer's request; another's is CodeUnknown, as one that there never was.
func (r *Record) Request(ctx context.Context, customer, id string) (q store.Request, err error) {
	found := false
	err = r.read(ctx, func(rows *sql.Rows) error {
		found = true
		var started, ended int64
		err := rows.Scan(&q.ID, &q.RunID, &q.Customer, &q.KeyID, &q.Procedure, &q.Mode, &q.Reason, &q.Format,
			&q.Status, &started, &ended,
			&q.Rows, &q.Bytes, &q.SHA256, &q.Code, &q.Message, &q.Receipt)
		q.StartedAt, q.EndedAt = Instant(started), Instant(ended)
		return err
	}, "SELECT "+requestColumns+" FROM requests WHERE id = ? AND customer = ?", id, customer)
	if err == nil && !found {
		err = unknown("request", id)
	}
	return q, err
}

// PruneRequests removes requests that ended before a time, and returns how many; those that run stay.
func (r *Record) PruneRequests(ctx context.Context, before time.Time) (removed int64, err error) {
	statement := r.db.DeleteSome("requests", "id", "status <> 'running' AND ended_at < ?")
	for {
		var n int64
		err := r.write(ctx, Change{Do: func(tx Tx) (err error) {
			n, err = tx.Exec(statement, Micros(before), prunedTogether)
			return err
		}})
		if removed += n; err != nil || n < prunedTogether {
			return removed, err
		}
	}
}

// prunedTogether bounds for how long pruning keeps others from writing.
const prunedTogether = 1000

// PruneAudit removes the audit from before a time, which the triggers let nobody else do, and says so in the audit. It
// returns how many rows went.
func (r *Record) PruneAudit(ctx context.Context, before time.Time) (removed int64, err error) {
	statement := r.db.DeleteSome("audit", "seq", "at < ?")
	for {
		var n int64
		err := r.write(ctx, Change{Do: func(tx Tx) error {
			now, err := tx.Clock()
			if err != nil {
				return err
			}
			if _, err := tx.Exec("UPDATE counters SET value = ? WHERE name = 'audit_kept' AND value < ?",
				Micros(before), Micros(before)); err != nil {
				return err
			}
			if n, err = tx.Exec(statement, Micros(before), prunedTogether); err != nil || n == 0 {
				return err
			}
			return appendAudit(tx, store.AuditPruned(n, before, now))
		}})
		if removed += n; err != nil || n < prunedTogether {
			return removed, err
		}
	}
}

// AppendAudit adds a row to the audit.
func (r *Record) AppendAudit(ctx context.Context, a store.Audit) error {
	return r.write(ctx, Change{Do: func(tx Tx) error { return appendAudit(tx, a) }})
}

func appendAudit(tx Tx, all ...store.Audit) error {
	for _, a := range all {
		text, err := json.Marshal(a.Details)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO audit ("+auditColumns+") VALUES ("+marks(9)+")",
			Micros(a.At), a.Who, a.What, a.Customer, a.From, a.RequestID, a.RunID, a.Outcome, string(text)); err != nil {
			return err
		}
	}
	return nil
}

// AuditOf lists the audit of a customer, or of all when it is empty, from a time on, the oldest first, at most so many
// rows.
func (r *Record) AuditOf(ctx context.Context, customer string, since time.Time, most int) ([]store.Audit, error) {
	where, args := "at >= ?", []any{Micros(since)}
	if customer != "" {
		where, args = "customer = ? AND at >= ?", []any{customer, Micros(since)}
	}
	var all []store.Audit
	err := r.read(ctx, func(rows *sql.Rows) error {
		var a store.Audit
		var at int64
		var details []byte
		err := rows.Scan(&at, &a.Who, &a.What, &a.Customer, &a.From, &a.RequestID, &a.RunID, &a.Outcome, &details)
		if err != nil {
			return err
		}
		a.At = Instant(at)
		all = append(all, a)
		return json.Unmarshal(details, &all[len(all)-1].Details)
	}, "SELECT "+auditColumns+" FROM audit WHERE "+where+" ORDER BY at, seq LIMIT ?",
		append(args, max(0, most))...)
	return all, err
}
