// Package mysql is the record on a MySQL or MariaDB server, which several processes on several machines may use at once:
// MySQL from 8.0.17 on, MariaDB from 10.6 on, with its InnoDB tables.
//
// The record promises what its server promises. Open looks at the server's version and settings, refuses what a record
// cannot stand on, and warns of what a crash or a fail-over of that server can lose. When another server answers, after a
// fail-over, it is looked at in the same way.
//
// Every change is one transaction (READ COMMITTED, with locks on the rows that it rests on). A transaction that came to
// nothing, by a deadlock, a lock that took too long, a server that became read-only or a connection that broke before
// COMMIT was sent, is made again for a bounded time. When the answer to COMMIT does not come, it is not known whether the
// change was made, which is CodeFailed; it is never made twice.
//
// Times and leases are of the server's clock, UTC_TIMESTAMP(6). A lease names the server as well as its number, because
// after a fail-over to a replica that lags the same number can be given again: see identity. The statements themselves are
// those of package sqlrecord.
package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Options of a record.
type Options struct {
	// Log gets the warnings, and what goes wrong in the background. Nil logs nothing.
	Log *slog.Logger
	// Clock is for tests: the record's, in place of the server's.
	Clock func() time.Time
	// Connections is how many there are at most, of this process; 0 is 10. Each takes one of the server's
	// (max_connections).
	Connections int
}

// defaultConnections leave room for a dozen processes within a server's own default of 151.
const defaultConnections = 10

// Store is the record on a server. It may be used by several goroutines at once.
type Store struct {
	*sqlrecord.Record
	db       *sql.DB
	target   *driver.Config
	log      *slog.Logger
	dialect  sqlrecord.Dialect
	identity string // the expression that names the server
	instance string // of this process, among those that use the record

	met    sync.Mutex // one looks at a server at a time
	server server     // that answered last

	version versions
	beat    heartbeat
	closed  atomic.Bool
	loop    loop
}

// Open opens the record in a database, mysql://user:password@host:3306/database, and makes its tables where there are
// none. The keys socket, tls, tls_ca, tls_cert, tls_key and tls_pin may follow after '?', and mean what they do for the
// source of pipelines. No error holds a part of the URL but the host.
//
// Requests that a process had begun that is gone become failed, with the code SERVICE_RESTARTED, when that process has
// not been heard of for LeaseTime: by whichever process sees it first.
func Open(ctx context.Context, url config.Secret, o Options) (*Store, error) {
	target, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	// The first connection is one without settings, which depend on what server it is.
	conn, done, err := connect(ctx, target)
	if err != nil {
		return nil, err
	}
	first, err := look(ctx, conn, isLocal(target))
	done()
	if err != nil {
		return nil, coded(ctx, err)
	}
	if err := first.refusal(); err != nil {
		return nil, err
	}
	for name, value := range first.session() {
		target.Params[name] = value
	}
	target.MaxAllowedPacket = int(first.number("max_allowed_packet"))
	connector, err := driver.NewConnector(target)
	if err != nil {
		return nil, urlFault("cannot be used")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	s := &Store{
		db: sql.OpenDB(connector), target: target, log: o.Log, identity: first.identity(), instance: newInstance(),
	}
	s.db.SetMaxOpenConns(o.Connections)
	s.db.SetMaxIdleConns(o.Connections)
	s.db.SetConnMaxIdleTime(time.Minute) // below any wait_timeout, and that of what lies between
	s.dialect = dialect(s.identity, o.Clock)
	s.Record = sqlrecord.New(sqlrecord.Database{Dialect: s.dialect, Write: s.write, Read: s.read, Instance: s.instance})
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := s.meet(ctx); err != nil {
		return err
	}
	if err := s.tend(ctx); err != nil {
		return err
	}
	if err := s.poll(ctx); err != nil {
		return err
	}
	s.loop.start(s.watch)
	return nil
}

// newInstance names a process among those that use a record.
func newInstance() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// meet looks at the server that answers now, brings its tables to this program's schema, and has the record know whose
// numbers are given from now on. It has a connection of its own, because a migration may take long.
func (s *Store) meet(ctx context.Context) error {
	s.met.Lock()
	defer s.met.Unlock()
	conn, done, err := s.unhurried(ctx)
	if err != nil {
		return err
	}
	defer done()
	now, err := look(ctx, conn, isLocal(s.target))
	if err != nil {
		return coded(ctx, err)
	}
	if err := now.refusal(); err != nil {
		return err
	}
	if err := migrate(ctx, conn, now, migrations); err != nil {
		return err
	}
	if err := mayWrite(ctx, conn); err != nil {
		return err
	}
	// Runs of jobs that a server has begun and this one knows nothing of are not numbered like those that it begins.
	if _, err := conn.ExecContext(ctx, "UPDATE record SET first_run = CASE WHEN server = '' THEN 1 ELSE unix_timestamp() END, "+
		"server = "+s.identity+" WHERE id = 1 AND server <> "+s.identity); err != nil {
		return coded(ctx, err)
	}
	for _, w := range now.warnings() {
		s.log.WarnContext(ctx, w.Text, "setting", w.Setting, "hint", w.Hint)
	}
	s.server = now
	return nil
}

// Warnings are what a crash or a fail-over of the server can lose, and what else is not as it should be there.
func (s *Store) Warnings() []Warning {
	s.met.Lock()
	defer s.met.Unlock()
	return s.server.warnings()
}

// Server says what server it is, for people: its kind and its version.
func (s *Store) Server() string {
	s.met.Lock()
	defer s.met.Unlock()
	return s.server.String()
}

// Version changes when keys or the switch of a customer have changed: before a change of this process's is acknowledged,
// and within pollEvery when it is another's.
func (s *Store) Version() uint64 { return s.version.now() }

// Close ends the use of the record, and the requests of this process that still run there. It may be called twice.
func (s *Store) Close() error {
	s.loop.stop()
	if s.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if err := s.leave(ctx); err != nil {
		// Another process does it, when this one has not been heard of.
		s.log.WarnContext(ctx, "the record was left without a word", "error", err)
	}
	if err := s.db.Close(); err != nil {
		return fault.New(store.CodeFailed, fault.Internal, "the connections to the record did not close: %w", err)
	}
	return nil
}

// farewell bounds what Close waits for a server that is gone.
const farewell = 3 * time.Second
