package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"sync/atomic"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// streamPrefix begins the names of a stream's tables: its own, so that what is written of one holds up nothing else.
func streamPrefix(customer string) string {
	sum := sha256.Sum256([]byte(customer))
	return "stream_" + hex.EncodeToString(sum[:12]) + "_"
}

// Log opens the database of a stream, which are tables of its own, and makes them where there are none; CodeUnknown is a
// stream that is not set up. Tables that were made and are not there any more are CodeAway: the numbers that were given
// nobody else knows.
func (s *Store) Log(ctx context.Context, customer string) (store.StreamLog, error) {
	made, err := s.HasLog(ctx, customer)
	if err != nil {
		return nil, err
	}
	prefix := streamPrefix(customer)
	version := 0
	if err := s.read(ctx, func(rows *sql.Rows) error { return rows.Scan(&version) }, streamVersion, prefix); err != nil {
		return nil, err
	}
	switch {
	case made && version == 0:
		return nil, fault.New(store.CodeAway, fault.Internal, "the tables of the stream of %q, %s…, are not there any more", customer, prefix).
			WithHint("restore the record's database as a whole, with its tables stream_…")
	case version > len(streamMigrations):
		return nil, newerSchema("a stream", version, len(streamMigrations))
	case version < len(streamMigrations):
		if err := s.makeStream(ctx, prefix); err != nil {
			return nil, err
		}
	}
	log, err := sqlrecord.NewStreamLog(ctx, s.streamUse(prefix), false)
	if err == nil && !made {
		err = s.LogMade(ctx, customer)
	}
	if err != nil {
		return nil, err
	}
	return log, nil
}

// streamUse is one use of a stream's tables.
func (s *Store) streamUse(prefix string) sqlrecord.StreamDatabase {
	var closed atomic.Bool
	return sqlrecord.StreamDatabase{
		Database: sqlrecord.Database{
			Dialect: s.dialect,
			Write: func(ctx context.Context, c sqlrecord.Change) error {
				if closed.Load() {
					return errClosed()
				}
				return s.write(ctx, c)
			},
			Read: func(ctx context.Context, take func(*sql.Rows) error, query string, args ...any) error {
				if closed.Load() {
					return errClosed()
				}
				return s.read(ctx, take, query, args...)
			},
		},
		Prefix: prefix,
		Origin: s.identity,
		Close:  func() error { closed.Store(true); return nil },
	}
}

// MakeStream makes the tables of a stream, for what moves there with its record, and returns what their names begin with.
func (s *Store) MakeStream(ctx context.Context, customer string) (prefix string, err error) {
	prefix = streamPrefix(customer)
	return prefix, s.makeStream(ctx, prefix)
}

// makeStream brings the tables of a stream to the version of the last of streamMigrations.
func (s *Store) makeStream(ctx context.Context, prefix string) error {
	s.met.Lock()
	defer s.met.Unlock()
	conn, done, err := s.unhurried(ctx)
	if err != nil {
		return err
	}
	defer done()
	return migrateStream(ctx, conn, s.server, prefix, streamMigrations)
}
