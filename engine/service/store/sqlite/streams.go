package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Each stream has a database of its own, so that a large piece of one holds up no lease of a job: the file CUSTOMER.db in
// this directory of the data directory. An identifier of a customer is a file's name as it is.
const (
	streamsName  = "streams"
	streamEnding = ".db"
)

// streamSchema is that of such a file: "CSst" is its mark.
var streamSchema = schema{
	application: 0x43537374, what: "the database of a stream", migrations: streamMigrations,
	disown: "UPDATE state SET origin = 'copy' WHERE origin <> ''", owner: "state",
}

// streams are those of them that are open.
type streams struct {
	mu   sync.Mutex
	open map[string]*streamFile
}

// streamFile is one, with how many have it open.
type streamFile struct {
	uses    int
	origin  string
	reading *sql.DB
	writing *sql.DB
	writer  *writer
}

// streamReaders is how many read one at once.
const streamReaders = 2

// Log opens the database of a stream, and makes it where there is none; CodeUnknown is a stream that is not set up. One that
// was made and is not there any more is CodeAway: what it knew, the numbers that were given above all, nobody else knows. An
// empty file in its place has the stream begin anew, with numbers above all of before.
func (s *Store) Log(ctx context.Context, customer string) (store.StreamLog, error) {
	log, err := s.streamLog(ctx, customer)
	if err != nil {
		return nil, err
	}
	return log, nil
}

func (s *Store) streamLog(ctx context.Context, customer string) (*sqlrecord.StreamLog, error) {
	made, err := s.HasLog(ctx, customer)
	if err != nil {
		return nil, err
	}
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	if s.writer.stopped() {
		return nil, errClosed()
	}
	f := s.streams.open[customer]
	if f == nil {
		if f, err = s.openStream(ctx, customer, made); err != nil {
			return nil, err
		}
		s.streams.open[customer] = f
	}
	f.uses++
	log, err := sqlrecord.NewStreamLog(ctx, s.streamUse(customer, f), made)
	if err == nil && !made {
		err = s.LogMade(ctx, customer)
	}
	if err != nil {
		return nil, errors.Join(err, s.leaveStream(customer, f))
	}
	return log, nil
}

// StreamMoves opens the databases of all streams that have one, to be moved with the record: make says what the names of their
// tables begin with where they move to. Done closes them.
func (s *Store) StreamMoves(ctx context.Context, make func(ctx context.Context, customer string) (prefix string, err error)) (
	moves []sqlrecord.StreamMove, done func() error, err error) {
	done = func() (err error) {
		for _, one := range moves {
			err = errors.Join(err, one.From.Close())
		}
		return err
	}
	all, err := s.Streams(ctx)
	for _, one := range all {
		made, failed := s.HasLog(ctx, one.Customer)
		if err = failed; err == nil && !made {
			continue
		}
		move := sqlrecord.StreamMove{Customer: one.Customer}
		if err == nil {
			move.Prefix, err = make(ctx, one.Customer)
		}
		if err == nil {
			move.From, err = s.streamLog(ctx, one.Customer)
		}
		if err != nil {
			return nil, nil, errors.Join(err, done())
		}
		moves = append(moves, move)
	}
	return moves, done, err
}

// streamUse is one use of an open file.
func (s *Store) streamUse(customer string, f *streamFile) sqlrecord.StreamDatabase {
	var closed atomic.Bool
	return sqlrecord.StreamDatabase{
		Database: sqlrecord.Database{
			Dialect: s.dialect(),
			Write: func(ctx context.Context, c sqlrecord.Change) error {
				if closed.Load() {
					return errClosed()
				}
				return coded(f.writer.write(ctx, change{do: c.Do}))
			},
			Read: func(ctx context.Context, take func(*sql.Rows) error, query string, args ...any) error {
				if closed.Load() || f.writer.stopped() {
					return errClosed()
				}
				rows, err := f.reading.QueryContext(ctx, query, args...)
				if err != nil {
					return coded(err)
				}
				return coded(sqlrecord.Each(rows, take))
			},
		},
		Origin: "'" + f.origin + "'",
		Close: func() error {
			if closed.Swap(true) {
				return nil
			}
			s.streams.mu.Lock()
			defer s.streams.mu.Unlock()
			return s.leaveStream(customer, f)
		},
	}
}

// leaveStream ends a use of a file, and closes it after the last one. It is called with the lock held.
func (s *Store) leaveStream(customer string, f *streamFile) error {
	if f.uses--; f.uses > 0 || s.streams.open[customer] != f {
		return nil
	}
	delete(s.streams.open, customer)
	return f.close()
}

// openStream opens a file; made says that there was one before.
func (s *Store) openStream(ctx context.Context, customer string, made bool) (f *streamFile, err error) {
	dir, name := &directory{path: s.dir.file(streamsName)}, customer+streamEnding
	path := dir.file(name)
	if _, err := os.Lstat(path); made && errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(store.CodeAway, fault.Internal, "the database of the stream of %q is not where it was: there is no file %s", customer, path).
			WithHint("restore the directory %s with the record; where there is no copy, an empty file of that name has the stream begin anew, "+
				"and the receiver has to be emptied: what was deleted in the meantime is not known", streamsName)
	}
	if err := os.Mkdir(dir.path, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, dir.failed(err)
	}
	inUse, err := dir.privateFile(name)
	if err != nil {
		return nil, err
	}
	f = &streamFile{origin: fmt.Sprint("file ", fileID(inUse))}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	conn, err := f.openWriting(ctx, path)
	if err != nil {
		return f, err
	}
	if f.reading, err = openReading(ctx, path, streamReaders); err != nil {
		return f, errors.Join(err, conn.Close())
	}
	dialect := s.dialect()
	f.writer = startWriter(conn, &dialect, func() error { return dir.there(name, inUse) })
	if err := dir.sync(); err != nil {
		return f, err
	}
	return f, s.dir.sync()
}

// openWriting is the connection that writes.
func (f *streamFile) openWriting(ctx context.Context, path string) (conn *sql.Conn, err error) {
	if f.writing, err = sql.Open("sqlite", dsn(path, "cache_size(-8192)")); err != nil { // in KiB: a piece changes many pages
		return nil, coded(err)
	}
	f.writing.SetMaxOpenConns(1)
	if conn, err = f.writing.Conn(ctx); err != nil {
		return nil, coded(err)
	}
	if err := streamSchema.migrate(ctx, conn, path); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (f *streamFile) close() error {
	var errs []error
	if f.writer != nil {
		errs = append(errs, f.writer.stop())
	}
	for _, db := range []*sql.DB{f.reading, f.writing} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return coded(errors.Join(errs...))
}

// closeStreams closes all that are open.
func (s *Store) closeStreams() error {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	var errs []error
	for customer, f := range s.streams.open {
		delete(s.streams.open, customer)
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// streamFiles are the databases of streams in a data directory, by customer.
func streamFiles(dir string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, streamsName, "*"+streamEnding))
	if err != nil {
		return nil, err
	}
	byCustomer := map[string]string{}
	for _, path := range paths {
		name := filepath.Base(path)
		byCustomer[name[:len(name)-len(streamEnding)]] = path
	}
	return byCustomer, nil
}
