package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Backup writes a copy of the record into a file that does not exist, as it is at one moment, while others read and write
// on. The copy is on disk when it returns, and has been read whole: its pages and its indexes agree. It is a record of its
// own: put into an empty data directory as record.db, with that directory's key beside it, it opens.
//
// What the copy does not have is what was acknowledged after it was begun.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	if s.writer.stopped() {
		return errClosed()
	}
	failed := func(err error) error {
		return fault.New(store.CodeFailed, fault.Sink, "the copy %s of the record cannot be made: %w", path, err).
			WithHint("give a file that does not exist, on a disk with room for it")
	}
	// Made by us, so that nobody else may read it from the first byte on. SQLite takes an empty file.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, privateMode)
	if err != nil {
		return failed(err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	// A connection of its own: those that read write nothing, not even a copy.
	db, err := sql.Open("sqlite", dsn(filepath.Join(s.dir.path, fileName)))
	if err != nil {
		return coded(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return failed(err)
	}
	if err := check(ctx, path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return failed(err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return failed(err)
	}
	defer folder.Close()
	// Some file systems cannot, and keep names in order anyway.
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return failed(err)
	}
	return nil
}

// check reads a copy whole, and writes nothing beside it.
func check(ctx context.Context, path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return coded(err)
	}
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: absolute, RawQuery: "mode=ro&immutable=1"}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return coded(err)
	}
	defer db.Close()
	var result string
	var application, version int
	for query, into := range map[string]any{
		"PRAGMA integrity_check": &result, "PRAGMA application_id": &application, "PRAGMA user_version": &version,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(into); err != nil {
			return coded(err)
		}
	}
	if result != "ok" || application != applicationID || version != len(migrations) {
		return fault.New(store.CodeDamaged, fault.Internal,
			"the copy of the record is not sound: %q, application %#x, version %d", result, application, version).
			WithHint("check the disk, and make another copy")
	}
	return nil
}
