package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// patience is for how long a change that comes to nothing is made again: longer than a fail-over that goes well.
const patience = 10 * time.Second

// dialect is what is MySQL's and MariaDB's own in the statements of the record. Identity is the expression that names the
// server; clock is nil but in tests.
func dialect(identity string, clock func() time.Time) sqlrecord.Dialect {
	moment := "SELECT " + micros + ", " + identity + ", server, first_run FROM record WHERE id = 1"
	return sqlrecord.Dialect{
		ForUpdate: " FOR UPDATE", SkipLocked: " FOR UPDATE SKIP LOCKED",
		Duplicate: isDuplicate,
		DeleteSome: func(table, _, where string) string {
			return fmt.Sprintf("DELETE FROM %s WHERE %s LIMIT ?", table, where)
		},
		NextEvent: func(tx sqlrecord.Tx) (seq int64, err error) {
			if _, err := tx.Exec("UPDATE counters SET value = value + 1 WHERE name = 'outbox'"); err != nil {
				return 0, err
			}
			return seq, tx.Row("SELECT value FROM counters WHERE name = 'outbox'").Scan(&seq)
		},
		AfterMove: []string{"UPDATE counters SET value = (SELECT coalesce(max(seq), 0) FROM outbox) WHERE name = 'outbox'"},
		Clock: func(tx sqlrecord.Tx) (at store.Moment, err error) {
			var now int64
			var met string
			if err := tx.Row(moment).Scan(&now, &at.Server, &met, &at.FirstRun); err != nil {
				return at, err
			}
			if met != at.Server {
				return at, errUnmet
			}
			if at.Now = sqlrecord.Instant(now); clock != nil {
				at.Now = clock()
			}
			// The server has no other clock: one that is set forward ends leases, one that is set back keeps them.
			at.Steady = at.Now
			return at, nil
		},
	}
}

// errUnmet says that another server answers than before: it is looked at before anything rests on it.
var errUnmet = errors.New("another server answers")

// micros is the server's time, as the record keeps times.
const micros = "TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', UTC_TIMESTAMP(6))"

// session is a connection as the statements see it: text that is no UTF-8, which the server would refuse, is made such,
// as it would be in JSON.
type session struct{ *sql.Conn }

func (s session) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	return s.Conn.ExecContext(ctx, statement, texts(args)...)
}

func (s session) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.Conn.QueryContext(ctx, query, texts(args)...)
}

func (s session) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return s.Conn.QueryRowContext(ctx, query, texts(args)...)
}

func texts(args []any) []any {
	all := slices.Clone(args)
	for i, arg := range all {
		switch text := arg.(type) {
		case string:
			all[i] = strings.ToValidUTF8(text, "\uFFFD")
		case *string:
			all[i] = strings.ToValidUTF8(*text, "\uFFFD")
		}
	}
	return all
}

// write has a change made, again and again while it comes to nothing for reasons that pass.
func (s *Store) write(ctx context.Context, c sqlrecord.Change) error {
	until := time.Now().Add(patience)
	for try := 0; ; try++ {
		if s.closed.Load() {
			return errClosed()
		}
		again, err := s.attempt(ctx, c)
		if errors.Is(err, errUnmet) {
			if err := s.meet(ctx); err != nil {
				return err
			}
		}
		if err == nil || !again || ctx.Err() != nil || !time.Now().Before(until) {
			return coded(ctx, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// pause waits longer with every try, and never as long as others that wait too.
func pause(ctx context.Context, try int) error {
	most := min(500*time.Millisecond, 4*time.Millisecond<<min(try, 10))
	timer := time.NewTimer(rand.N(most) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt makes a change once. Again says that nothing came of it, and that it may work the next time.
func (s *Store) attempt(ctx context.Context, c sqlrecord.Change) (again bool, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return isPassing(err), err
	}
	defer conn.Close()
	access, err := s.perform(ctx, session{conn}, c)
	if err != nil {
		s.rollBack(ctx, conn, err)
		var refusal *fault.Fault
		return !errors.As(err, &refusal) && (isPassing(err) || errors.Is(err, errUnmet)), err
	}
	// From here on the answer is waited for, whatever the caller does, so that the result is known.
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), silence)
	defer cancel()
	_, err = conn.ExecContext(patient, "COMMIT")
	switch n := numberOf(err); {
	case err == nil:
		s.version.changed(access)
		return false, nil
	case slices.Contains(rolledBack, n), slices.Contains(readOnly, n):
		s.rollBack(ctx, conn, err)
		return true, err
	}
	discard(conn)
	s.version.changed(access)
	return false, notKnown(err)
}

// perform runs what belongs into a transaction but COMMIT, and returns the record's count of changes of access where it
// is another now.
func (s *Store) perform(ctx context.Context, conn session, c sqlrecord.Change) (access accessCount, err error) {
	if _, err := conn.ExecContext(ctx, "START TRANSACTION"); err != nil {
		return access, err
	}
	switch {
	case c.Access:
		if access, err = s.countAccess(ctx, conn); err != nil {
			return access, err
		}
	case c.Alone:
		var held int64
		if err := conn.QueryRowContext(ctx, "SELECT access FROM record WHERE id = 1 FOR UPDATE").Scan(&held); err != nil {
			return access, err
		}
	}
	if err := c.Do(sqlrecord.NewTx(ctx, conn, &s.dialect)); err != nil {
		return access, err
	}
	return access, ctx.Err()
}

// rollBack ends a transaction that came to nothing. A connection that does not say so is closed, as is one to a server
// that takes no changes: the next one may lead elsewhere.
func (s *Store) rollBack(ctx context.Context, conn *sql.Conn, because error) {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), silence)
	defer cancel()
	if _, err := conn.ExecContext(patient, "ROLLBACK"); err != nil || slices.Contains(readOnly, numberOf(because)) {
		discard(conn)
	}
}

// discard closes a connection for good.
func discard(conn *sql.Conn) {
	// It returns what it was given.
	_ = conn.Raw(func(any) error { return sqldriver.ErrBadConn })
}

// read asks, again when the server was away before it gave a row.
func (s *Store) read(ctx context.Context, take func(*sql.Rows) error, query string, args ...any) error {
	until := time.Now().Add(patience)
	for try := 0; ; try++ {
		if s.closed.Load() {
			return errClosed()
		}
		taken := false
		err := s.ask(ctx, func(rows *sql.Rows) error {
			taken = true
			return take(rows)
		}, query, args...)
		if err == nil || taken || !isPassing(err) || ctx.Err() != nil || !time.Now().Before(until) {
			return coded(ctx, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

func (s *Store) ask(ctx context.Context, take func(*sql.Rows) error, query string, args ...any) error {
	rows, err := s.db.QueryContext(ctx, query, texts(args)...)
	if err != nil {
		return err
	}
	return sqlrecord.Each(rows, take)
}
