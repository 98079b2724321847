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
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Copy writes a copy of the record of a data directory into a file that does not exist, as it is at one moment, while the
// process that has the directory reads and writes on. The copy is on disk when it returns, and was read whole.
func Copy(ctx context.Context, dir, path string) (err error) {
	from, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return coded(err)
	}
	if _, err := os.Stat(from); err != nil {
		return fault.New(store.CodeDirectory, fault.Usage, "there is no record in the data directory %s: %w", dir, err)
	}
	failed := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fault.New(store.CodeFailed, fault.Sink, "the copy %s of the record cannot be made: %w", path, err).
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
	if err := nobodys(ctx, path); err != nil {
		return failed(err)
	}
	if _, err := inspect(ctx, path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return failed(err)
	}
	return (&directory{path: filepath.Dir(path)}).sync()
}

// inspect reads a copy whole, and writes nothing beside it. It returns the version of its schema.
func inspect(ctx context.Context, path string) (version int, err error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return 0, coded(err)
	}
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: absolute, RawQuery: "mode=ro&immutable=1"}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return 0, coded(err)
	}
	defer db.Close()
	var result string
	var application int
	for _, q := range []struct {
		query string
		into  any
	}{{"PRAGMA application_id", &application}, {"PRAGMA user_version", &version}, {"PRAGMA integrity_check", &result}} {
		if err := db.QueryRowContext(ctx, q.query).Scan(q.into); err != nil {
			return 0, coded(err)
		}
	}
	switch {
	case application != applicationID:
		return 0, fault.New(store.CodeDamaged, fault.Usage, "the file %s is no copy of a record", path)
	case result != "ok":
		return 0, fault.New(store.CodeDamaged, fault.Usage, "the copy %s of the record is damaged: %s", path, result).WithHint("take another copy")
	}
	return version, nil
}

// Restore makes a data directory of a copy. The directory may be there, and holds nothing. The record that is in it was opened
// when it returns; the directory's key is the caller's to put beside it. What failed leaves nothing behind.
func Restore(ctx context.Context, path, dir string, now func() time.Time) (err error) {
	version, err := inspect(ctx, path)
	if err != nil {
		return err
	}
	if version > len(migrations) {
		return fault.New(store.CodeNewer, fault.Usage, "the copy has version %d of its schema, and this program knows none after %d", version, len(migrations)).
			WithHint("restore it with the version of the program that made it")
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
	if err := (&directory{path: dir}).sync(); err != nil {
		return err
	}
	s, err := Open(ctx, dir, now)
	if err != nil {
		return err
	}
	return s.Close()
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
