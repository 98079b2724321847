// Package sqlite is the record in a file: an SQLite database in the service's data directory, which one process has at
// a time.
//
// The journal is a write-ahead log and every commit is synchronous (synchronous=FULL): what a method has acknowledged
// outlives the process and the machine's power. One connection writes. What is to be written at the same moment shares
// a commit, so that a hundred requests that end together wait for one fsync and not for a hundred; within it each
// stands alone, and one that fails takes no other with it. A few connections read, and wait for nobody.
//
// Package sqlite knows how the record lies on disk. The statements are those of package sqlrecord; what the values mean,
// and who may change them, is not its business.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// fileName is the database's in the data directory; SQLite puts its log beside it.
const fileName = "record.db"

// Store is the record of a data directory. It may be used by several goroutines at once.
type Store struct {
	*sqlrecord.Record
	dir     *directory
	now     func() time.Time
	opened  time.Time
	passed  func(now time.Time) time.Duration // since it was opened, by the monotonic clock
	server  string                            // names this use of the file in leases
	first   int                               // the least number of a run that begins
	reading *sql.DB
	writing *sql.DB
	writer  *writer
	version atomic.Uint64
	streams streams

	closing  sync.Once
	closeErr error
}

// Open opens the record of a data directory, and makes both where they are not there. The directory is this process's
// until Close, or until the process ends, however it does; CodeLocked names the process that has it. Requests that were
// running when the last one ended become failed, with the code SERVICE_RESTARTED, at the time now (nil is time.Now); the
// leases of its jobs are over, and RecoverJobs has them run again.
func Open(ctx context.Context, dir string, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	held, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	opened := now()
	s := &Store{dir: held, now: now, opened: opened, server: rand.Text(), streams: streams{open: map[string]*streamFile{}}}
	s.passed = func(now time.Time) time.Duration { return now.Sub(opened) }
	s.Record = sqlrecord.New(sqlrecord.Database{Dialect: s.dialect(), Write: s.write, Read: s.read})
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	path := filepath.Join(s.dir.path, fileName)
	inUse, err := s.dir.privateFile(fileName)
	if err != nil {
		return err
	}
	if s.writing, err = sql.Open("sqlite", dsn(path)); err != nil {
		return coded(err)
	}
	s.writing.SetMaxOpenConns(1)
	conn, err := s.writing.Conn(ctx)
	if err != nil {
		return coded(err)
	}
	if err := recordSchema.migrate(ctx, conn, path); err != nil {
		return errors.Join(err, conn.Close())
	}
	if s.reading, err = openReading(ctx, path, readers); err != nil {
		return errors.Join(err, conn.Close())
	}
	if s.first, err = numberRuns(ctx, conn, inUse, s.now()); err != nil {
		return errors.Join(coded(err), conn.Close())
	}
	dialect := s.dialect()
	s.writer = startWriter(conn, &dialect, func() error { return s.dir.there(fileName, inUse) })
	if err := s.dir.sync(); err != nil {
		return err
	}
	return s.write(ctx, sqlrecord.Change{Do: func(tx sqlrecord.Tx) error {
		if err := sqlrecord.EndInterrupted(tx, s.now(), ""); err != nil {
			return err
		}
		return sqlrecord.EndLeases(tx)
	}})
}

// openReading opens connections that read. They are opened now, and not when they are needed: what has the file's name then
// may be another file.
func openReading(ctx context.Context, path string, connections int) (db *sql.DB, err error) {
	if db, err = sql.Open("sqlite", dsn(path, "query_only(1)")); err != nil {
		return nil, coded(err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	var idle []*sql.Conn
	for range connections {
		c, failed := db.Conn(ctx)
		if err = failed; err != nil {
			break
		}
		idle = append(idle, c)
	}
	for _, c := range idle {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return nil, coded(errors.Join(err, db.Close()))
	}
	return db, nil
}

// readers is how many connections read at once.
const readers = 4

// dsn is the driver's name of the database, with what is set on every connection.
func dsn(path string, more ...string) string {
	// A rare other connection, such as that of a backup, is waited for. Neither the schema's own text nor that of a
	// statement can do more than what a record needs (defensive, trusted_schema, dqs).
	pragmas := append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "trusted_schema(0)"},
		more...)
	query := url.Values{"_pragma": pragmas, "_defensive": {"1"}, "_dqs": {"0"}}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}).String()
}

// Version changes when keys or the switch of a customer have changed, before the change is acknowledged.
func (s *Store) Version() uint64 { return s.version.Load() }

// Close waits for what is being written, and lets the directory go. It may be called twice.
func (s *Store) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.writer != nil {
			errs = append(errs, s.writer.stop())
		}
		errs = append(errs, s.closeStreams())
		for _, db := range []*sql.DB{s.reading, s.writing} {
			if db != nil {
				errs = append(errs, db.Close())
			}
		}
		if err := errors.Join(errs...); err != nil {
			s.closeErr = coded(err)
		}
		s.closeErr = errors.Join(s.closeErr, s.dir.unlock())
	})
	return s.closeErr
}

// write has a change made, and counts it where it is one of who is let in.
func (s *Store) write(ctx context.Context, c sqlrecord.Change) error {
	one := change{do: c.Do}
	if c.Access {
		one.made = func() { s.version.Add(1) }
	}
	return coded(s.writer.write(ctx, one))
}

// read asks, and has each row scanned by take.
func (s *Store) read(ctx context.Context, take func(*sql.Rows) error, query string, args ...any) error {
	if s.writer.stopped() {
		return errClosed()
	}
	rows, err := s.reading.QueryContext(ctx, query, args...)
	if err != nil {
		return coded(err)
	}
	return coded(sqlrecord.Each(rows, take))
}

func errClosed() error { return fault.New(store.CodeClosed, fault.Internal, "the record is closed") }

// privateMode is that of the files in the data directory, and directoryMode the directory's.
const (
	privateMode   os.FileMode = 0o600
	directoryMode os.FileMode = 0o700
)
