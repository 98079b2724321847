package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// StreamsEnding is what the name of a copy's streams ends in: a directory beside it with a file for each stream that has a
// database.
const StreamsEnding = ".streams"

// Copy writes a copy of the record of a data directory into a file that does not exist, as it is at one moment, while the
// process that has the directory reads and writes on; and a copy of the database of each stream, as it is then or a little
// later. They are on disk when it returns, and were read whole.
func Copy(ctx context.Context, dir, path string) (err error) {
	if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
		return fault.New(store.CodeDirectory, fault.Usage, "there is no record in the data directory %s: %w", dir, err)
	}
	if err := recordSchema.copy(ctx, filepath.Join(dir, fileName), path); err != nil {
		return err
	}
	// After the record: what that says to be there is there.
	if err := copyStreams(ctx, dir, path+StreamsEnding); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func copyStreams(ctx context.Context, dir, into string) (err error) {
	if _, err := os.Lstat(into); err == nil || !errors.Is(err, os.ErrNotExist) {
		return fault.New(store.CodeFailed, fault.Sink, "beside the copy there is something that would be taken for its streams: %s", into).
			WithHint("give the copy another name, or remove what is there")
	}
	files, err := streamFiles(dir)
	if err != nil || len(files) == 0 {
		return err
	}
	if err := os.Mkdir(into, directoryMode); err != nil {
		return fault.New(store.CodeFailed, fault.Sink, "the directory %s for the streams of the record cannot be made: %w", into, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(into)) // made just now
		}
	}()
	for _, path := range files {
		if err := streamSchema.copy(ctx, path, filepath.Join(into, filepath.Base(path))); err != nil {
			return err
		}
	}
	return (&directory{path: filepath.Dir(into)}).sync()
}

// copy writes a copy of a database into a file that does not exist.
func (s schema) copy(ctx context.Context, from, path string) (err error) {
	if from, err = filepath.Abs(from); err != nil {
		return coded(err)
	}
	failed := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fault.New(store.CodeFailed, fault.Sink, "the copy %s of %s cannot be made: %w", path, s.what, err).
			WithHint("give a file that does not exist, on a disk with room for it")
	}
	// Made here, so that nobody else may read it from the first byte on. SQLite takes an empty file.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, privateMode)
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	db, err := sql.Open("sqlite", dsn(from))
	if err != nil {
		return coded(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return failed(err)
	}
	if err := s.nobodys(ctx, path); err != nil {
		return failed(err)
	}
	if err := s.inspect(ctx, path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return failed(err)
	}
	return (&directory{path: filepath.Dir(path)}).sync()
}

// immutable opens a copy, and writes nothing beside it.
func immutable(path string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: absolute, RawQuery: "mode=ro&immutable=1"}).String())
}

// inspect reads a copy whole, and sees to it that this program knows its schema.
func (s schema) inspect(ctx context.Context, path string) error {
	db, err := immutable(path)
	if err != nil {
		return coded(err)
	}
	defer db.Close()
	var result string
	var application, version int
	for _, q := range []struct {
		query string
		into  any
	}{{"PRAGMA application_id", &application}, {"PRAGMA user_version", &version}, {"PRAGMA integrity_check", &result}} {
		if err := db.QueryRowContext(ctx, q.query).Scan(q.into); err != nil {
			return coded(err)
		}
	}
	switch {
	case application != s.application:
		return fault.New(store.CodeDamaged, fault.Usage, "the file %s is no copy of %s", path, s.what)
	case result != "ok":
		return fault.New(store.CodeDamaged, fault.Usage, "the copy %s of %s is damaged: %s", path, s.what, result).WithHint("take another copy")
	case version > len(s.migrations):
		return fault.New(store.CodeNewer, fault.Usage, "the copy %s has version %d of its schema, and this program knows none after %d",
			path, version, len(s.migrations)).WithHint("restore it with the version of the program that made it")
	}
	return nil
}

// copiedStreams are the files of the streams of a copy, by customer: of those that the record says to have one, and no
// others. Each is there, and was read whole.
func copiedStreams(ctx context.Context, path string) (map[string]string, error) {
	db, err := immutable(path)
	if err != nil {
		return nil, coded(err)
	}
	defer db.Close()
	files := map[string]string{}
	var known bool // an older record has none
	if err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'streams')").Scan(&known); err != nil || !known {
		return files, coded(err)
	}
	rows, err := db.QueryContext(ctx, "SELECT customer FROM streams WHERE logged = 1")
	if err != nil {
		return nil, coded(err)
	}
	if err := sqlrecord.Each(rows, func(rows *sql.Rows) error {
		var customer string
		err := rows.Scan(&customer)
		files[customer] = filepath.Join(path+StreamsEnding, customer+streamEnding)
		return err
	}); err != nil {
		return nil, coded(err)
	}
	for customer, file := range files {
		_, err := os.Stat(file)
		if err == nil {
			err = streamSchema.inspect(ctx, file)
		}
		if err != nil && !fault.Is(err, store.CodeNewer) {
			err = fault.New(store.CodeDamaged, fault.Usage, "the copy of the stream of %q, %s, cannot be used: %w", customer, file, err).
				WithHint("put the directory that was made with the copy beside it")
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Restore makes a data directory of a copy, with its streams. The directory may be there, and holds nothing. The record that is in
// it was opened when it returns; the directory's key is the caller's to put beside it. What failed leaves nothing behind.
func Restore(ctx context.Context, path, dir string, now func() time.Time) (err error) {
	if err := recordSchema.inspect(ctx, path); err != nil {
		return err
	}
	streams, err := copiedStreams(ctx, path)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.New(store.CodeDirectory, fault.Usage, "the data directory cannot be used: %w", err)
	}
	if len(entries) > 0 {
		return fault.New(store.CodeExists, fault.Usage, "the data directory %s is not empty", dir).
			WithHint("restore into one that is empty, or that is not there yet")
	}
	defer func() {
		if err != nil {
			// Nothing was there before.
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, streamsName)))
			for _, name := range []string{fileName, fileName + "-wal", fileName + "-shm", lockName} {
				if gone := os.Remove(filepath.Join(dir, name)); gone != nil && !errors.Is(gone, os.ErrNotExist) {
					err = errors.Join(err, gone)
				}
			}
		}
	}()
	if err := makePrivate(dir); err != nil {
		return err
	}
	if err := copyFile(path, filepath.Join(dir, fileName)); err != nil {
		return fault.New(store.CodeFailed, fault.Sink, "the copy cannot be put into the data directory: %w", err)
	}
	if err := restoreStreams(streams, filepath.Join(dir, streamsName)); err != nil {
		return err
	}
	if err := (&directory{path: dir}).sync(); err != nil {
		return err
	}
	s, err := Open(ctx, dir, now)
	if err != nil {
		return err
	}
	return s.Close()
}

func restoreStreams(files map[string]string, dir string) error {
	if len(files) == 0 {
		return nil
	}
	if err := os.Mkdir(dir, directoryMode); err != nil {
		return fault.New(store.CodeDirectory, fault.Usage, "the directory of the streams cannot be made: %w", err)
	}
	for _, file := range files {
		if err := copyFile(file, filepath.Join(dir, filepath.Base(file))); err != nil {
			return fault.New(store.CodeFailed, fault.Sink, "the copy of a stream cannot be put into the data directory: %w", err)
		}
	}
	return (&directory{path: dir}).sync()
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, privateMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
