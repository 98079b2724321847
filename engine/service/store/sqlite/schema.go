package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// applicationID marks the file as a record, for file(1) and for us: "CSrc" (PRAGMA application_id).
const applicationID = 0x43537263

// migrations lead from one version of the schema to the next, the first from an empty file. One that was released is
// never changed. Times are microseconds since 1970 and 0 is never.
var migrations = []string{`
CREATE TABLE keys (
	seq          INTEGER PRIMARY KEY,
	id           TEXT NOT NULL UNIQUE,
	hash         BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
	kind         TEXT NOT NULL CHECK (kind IN ('live', 'demo', 'admin')),
	customer     TEXT NOT NULL CHECK ((customer = '') = (kind = 'admin')),
	label        TEXT NOT NULL,
	scopes       TEXT NOT NULL, -- a JSON array of text
	created_at   INTEGER NOT NULL,
	expires_at   INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL,
	revoked_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX keys_of_customer ON keys (customer);

CREATE TABLE disabled (
	customer TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE sealing_keys (
	seq          INTEGER PRIMARY KEY,
	id           TEXT NOT NULL UNIQUE,
	customer     TEXT NOT NULL,
	sealed       BLOB NOT NULL,
	state        TEXT NOT NULL CHECK (state IN ('new', 'active', 'retired')),
	created_at   INTEGER NOT NULL,
	activated_at INTEGER NOT NULL,
	retired_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX sealing_keys_of_customer ON sealing_keys (customer);
CREATE UNIQUE INDEX one_active_sealing_key ON sealing_keys (customer) WHERE state = 'active';

-- Keys that the configuration gives are counted too, and have no row in sealing_keys.
CREATE TABLE sealing_uses (
	customer TEXT NOT NULL,
	id       TEXT NOT NULL,
	uses     INTEGER NOT NULL CHECK (uses >= 0),
	PRIMARY KEY (customer, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
	id         TEXT PRIMARY KEY,
	run_id     TEXT NOT NULL,
	customer   TEXT NOT NULL,
	key_id     TEXT NOT NULL,
	procedure  TEXT NOT NULL,
	mode       TEXT NOT NULL,
	reason     TEXT NOT NULL,
	format     TEXT NOT NULL,
	status     TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
	started_at INTEGER NOT NULL,
	ended_at   INTEGER NOT NULL,
	rows       INTEGER NOT NULL,
	bytes      INTEGER NOT NULL,
	sha256     TEXT NOT NULL,
	code       TEXT NOT NULL,
	message    TEXT NOT NULL,
	receipt    BLOB
) STRICT;
CREATE INDEX requests_running ON requests (status) WHERE status = 'running';
CREATE INDEX requests_ended ON requests (ended_at) WHERE status <> 'running';

CREATE TABLE audit (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT,
	at         INTEGER NOT NULL,
	who        TEXT NOT NULL,
	what       TEXT NOT NULL,
	customer   TEXT NOT NULL,
	address    TEXT NOT NULL,
	request_id TEXT NOT NULL,
	run_id     TEXT NOT NULL,
	outcome    TEXT NOT NULL,
	details    TEXT NOT NULL -- a JSON object of text, or null
) STRICT;
CREATE INDEX audit_of_customer ON audit (customer, at);
CREATE INDEX audit_at ON audit (at);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
`, jobSchema, jobCounts, webhookSchema, noticeSchema, counted, scheduleSchema, streamsSchema, stateSchema}

// schema is that of a file: the number that marks it, what it is for people, and what leads to its latest version.
type schema struct {
	application int
	what        string
	migrations  []string
	// disown has a copy belong to no file; it changes the table owner.
	disown, owner string
}

// recordSchema is the record's.
var recordSchema = schema{
	application: applicationID, what: "the record", migrations: migrations,
	disown: "UPDATE counters SET value = 0 WHERE name = 'file'", owner: "counters",
}

// migrate brings a database to the version of the last migration, in one transaction. A newer one is refused: what a
// newer program has written this one would read wrongly.
func (s schema) migrate(ctx context.Context, conn *sql.Conn, path string) (err error) {
	var version, application, tables int
	for _, q := range []struct {
		query string
		into  *int
	}{
		{"PRAGMA user_version", &version}, {"PRAGMA application_id", &application},
		{"SELECT count(*) FROM sqlite_schema", &tables},
	} {
		if err := conn.QueryRowContext(ctx, q.query).Scan(q.into); err != nil {
			return coded(err)
		}
	}
	switch {
	case application != s.application && (application != 0 || version != 0 || tables != 0):
		return fault.New(store.CodeDamaged, fault.Usage,
			"the file %s in the data directory is a database of another program", filepath.Base(path)).
			WithHint("give another data directory")
	case version > len(s.migrations):
		return fault.New(store.CodeNewer, fault.Usage,
			"%s has version %d of its schema, and this program knows none after %d", s.what, version, len(s.migrations)).
			WithHint("a newer version of the program has written it: run that one, or restore a copy from before")
	case version == len(s.migrations):
		return nil
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return coded(err)
	}
	defer func() {
		if err != nil {
			_, rollback := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(coded(err), rollback)
		}
	}()
	for _, m := range s.migrations[version:] {
		if _, err := conn.ExecContext(ctx, m); err != nil {
			return err
		}
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d",
		s.application, len(s.migrations))); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}
