// Package sqlrecord is what the records in SQL databases have in common: the statements of every change and every
// question, and how rows are read. It is the one place that knows both the tables and the values of package store.
//
// A record is a schema, which each database states in its own words, and Database: how a change is made whole, how a
// question is asked, and the few points at which the dialects differ. Statements are written in what SQLite, MySQL and
// MariaDB all understand: plain ? in order, CASE in place of functions, names that are words of SQL in double quotes (keys, rows, procedure),
// a second statement in place of upserts and RETURNING. In an UPDATE no column is read right of where it was set: MySQL
// would see the new value. Package sqlrecord opens nothing, and holds no connection.
package sqlrecord

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Database is what a record stands on.
type Database struct {
	Dialect
	// Write has a change made, whole or not at all; its errors are coded.
	Write func(ctx context.Context, c Change) error
	// Read asks, and has each row scanned by take; its errors are coded. What has been acknowledged is seen.
	Read func(ctx context.Context, take func(*sql.Rows) error, query string, args ...any) error
	// Instance names this process where several use the record, and is empty where one does. It stands in the column
	// instance of the requests that it has begun, so that another can end them when it is gone.
	Instance string
}

// Dialect is where databases differ.
type Dialect struct {
	// ForUpdate ends a SELECT whose rows the change is about to alter, or rests on, so that no other change alters them
	// before this one is made; SkipLocked one that passes over rows that others have. Both are empty where one writes.
	ForUpdate, SkipLocked string
	// Duplicate reports whether an INSERT failed because there is such a row. The change may go on.
	Duplicate func(error) bool
	// Counted: the table job_counts has how many jobs there are, by customer, day of UTC since 1970, procedure and status.
	Counted bool
	// DeleteSome is the statement that deletes at most so many rows: its last argument.
	DeleteSome func(table, key, where string) string
	// NextEvent is the number of the next event of the outbox. An event that is seen has none before it that is seen
	// later: its transaction is made before another has a number. Nil where one writes, and the database counts.
	NextEvent func(Tx) (int64, error)
	// AfterMove are the statements that follow when a whole record was moved into this one.
	AfterMove []string
	// Clock is the record's, and the identity of the server that it is of: it stands in leases.
	Clock func(Tx) (store.Moment, error)
}

// Change is something to be written, whole or not at all, with its audit.
type Change struct {
	// Do makes the change. It may be called again, when nothing of what it did has come to be.
	Do func(Tx) error
	// Access: the change is one of who is let in. It changes the record's Version, and no two are made at once.
	Access bool
	// Alone: Do reads what it decides by, and another change of the kind must not come between.
	Alone bool
}

// Conn is a connection with an open transaction.
type Conn interface {
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Tx runs the statements of a change.
type Tx struct {
	ctx     context.Context
	conn    Conn
	dialect *Dialect
}

// NewTx is for who makes changes. Statements end with ctx.
func NewTx(ctx context.Context, conn Conn, dialect *Dialect) Tx { return Tx{ctx, conn, dialect} }

// Exec runs a statement and returns how many rows it met, whether or not their values are others now.
func (tx Tx) Exec(statement string, args ...any) (int64, error) {
	result, err := tx.conn.ExecContext(tx.ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Insert runs an INSERT, and reports whether the row is there already.
func (tx Tx) Insert(statement string, args ...any) (there bool, err error) {
	_, err = tx.Exec(statement, args...)
	if err != nil && tx.dialect.Duplicate(err) {
		return true, nil
	}
	return false, err
}

// Row asks for one row.
func (tx Tx) Row(query string, args ...any) *sql.Row {
	return tx.conn.QueryRowContext(tx.ctx, query, args...)
}

// Rows asks, and has each row scanned by take, which runs no statement: the rows are still being read.
func (tx Tx) Rows(take func(*sql.Rows) error, query string, args ...any) error {
	rows, err := tx.conn.QueryContext(tx.ctx, query, args...)
	if err != nil {
		return err
	}
	return Each(rows, take)
}

// Clock is the record's time, and the server whose it is.
func (tx Tx) Clock() (store.Moment, error) { return tx.dialect.Clock(tx) }

// Each has rows scanned, and closes them.
func Each(rows *sql.Rows, take func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Record is a record in an SQL database. Its methods are those that storetest asks for, but for Version and Close.
type Record struct{ db Database }

// New is the record of a database.
func New(db Database) *Record { return &Record{db} }

// write has a change made.
func (r *Record) write(ctx context.Context, c Change) error { return r.db.Write(ctx, c) }

// read asks, and has each row scanned by take.
func (r *Record) read(ctx context.Context, take func(*sql.Rows) error, query string, args ...any) error {
	return r.db.Read(ctx, take, query, args...)
}

// scanner is a row, or the one that a query gave.
type scanner interface{ Scan(into ...any) error }

// Micros is a time as it is stored: microseconds since 1970, and 0 for never.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Instant is a time that was stored.
func Instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// marks are the marks of n values.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func unknown(what, id string) error {
	return fault.New(store.CodeUnknown, fault.Usage, "there is no %s %q", what, id)
}
