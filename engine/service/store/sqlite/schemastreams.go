package sqlite

// streamsSchema is a migration of the record: what is set up of data streams, and who has each. What is in a stream is in a
// database of its own; see streamMigrations.
const streamsSchema = `
CREATE TABLE streams (
	customer            TEXT PRIMARY KEY,
	url                 TEXT NOT NULL,
	secret              BLOB, -- sealed
	pins                TEXT NOT NULL, -- a JSON array of text, as channels is
	certificate         TEXT NOT NULL,
	organization_id     TEXT NOT NULL,
	records_per_request INTEGER NOT NULL,
	requests_per_minute INTEGER NOT NULL,
	channels            TEXT NOT NULL,
	content_encoding    INTEGER NOT NULL CHECK (content_encoding IN (0, 1)),
	enabled             INTEGER NOT NULL CHECK (enabled IN (0, 1)),
	fault_code          TEXT NOT NULL,
	fault_message       TEXT NOT NULL,
	fault_hint          TEXT NOT NULL,
	fault_at            INTEGER NOT NULL,
	created_at          INTEGER NOT NULL,
	updated_at          INTEGER NOT NULL,
	holder              TEXT NOT NULL,
	fence               INTEGER NOT NULL,
	lease_until         INTEGER NOT NULL,
	logged              INTEGER NOT NULL CHECK (logged IN (0, 1)) -- its own database was made
) STRICT, WITHOUT ROWID;
`

// streamMigrations lead from one version of a stream's own database to the next, the first from an empty file.
var streamMigrations = []string{`
-- One row. Origin names the file, or the server, that gave the numbers, and floor is one that all later ones are above.
CREATE TABLE state (
	id       INTEGER PRIMARY KEY CHECK (id = 1),
	position TEXT NOT NULL,
	fence    INTEGER NOT NULL,
	origin   TEXT NOT NULL,
	floor    INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, '', 0, '', 0);

CREATE TABLE channels (
	channel         TEXT PRIMARY KEY,
	sequence        INTEGER NOT NULL,
	acknowledged    INTEGER NOT NULL CHECK (acknowledged <= sequence),
	acknowledged_at INTEGER NOT NULL,
	waiting         INTEGER NOT NULL CHECK (waiting >= 0),
	waiting_bytes   INTEGER NOT NULL CHECK (waiting_bytes >= 0),
	reset_above     INTEGER NOT NULL,
	reset_until     INTEGER NOT NULL,
	again           INTEGER NOT NULL CHECK (again >= 0 AND (again > 0 OR reset_above = 0 AND reset_until = 0))
) STRICT, WITHOUT ROWID;

-- The index: the latest number of each document. A key is the identifier, or made of it where that is long.
CREATE TABLE documents (
	channel  TEXT NOT NULL,
	type     TEXT NOT NULL,
	id_key   TEXT NOT NULL,
	id       TEXT, -- where it is not the key
	sequence INTEGER NOT NULL,
	deleted  INTEGER NOT NULL CHECK (deleted IN (0, 1)),
	digest   BLOB NOT NULL CHECK (length(digest) = 32),
	PRIMARY KEY (channel, type, id_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX documents_in_order ON documents (channel, sequence);
CREATE INDEX documents_of_type ON documents (channel, type, sequence) WHERE deleted = 0;

CREATE TABLE waiting (
	channel      TEXT NOT NULL,
	sequence     INTEGER NOT NULL,
	type         TEXT NOT NULL,
	id           TEXT NOT NULL,
	deleted      INTEGER NOT NULL CHECK (deleted IN (0, 1)),
	committed_at INTEGER NOT NULL,
	bytes        INTEGER NOT NULL, -- of sealed
	sealed       BLOB,
	PRIMARY KEY (channel, sequence)
) STRICT;
`}
