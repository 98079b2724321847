package sqlite

// scheduleSchema is the migration of schedules. Lengths of time are microseconds.
const scheduleSchema = `
CREATE TABLE schedules (
	id             TEXT PRIMARY KEY,
	customer       TEXT NOT NULL,
	name           TEXT NOT NULL,
	document       INTEGER NOT NULL CHECK (document IN (0, 1)),
	procedure      TEXT NOT NULL,
	request        BLOB, -- a JSON object
	cron           TEXT NOT NULL,
	zone           TEXT NOT NULL,
	overlap        TEXT NOT NULL CHECK (overlap IN ('skip', 'queue')),
	missed         TEXT NOT NULL CHECK (missed IN ('once', 'skip')),
	jitter         INTEGER NOT NULL,
	"window"       INTEGER NOT NULL CHECK ("window" IN (0, 1)),
	window_first   INTEGER NOT NULL,
	window_overlap INTEGER NOT NULL,
	enabled        INTEGER NOT NULL CHECK (enabled IN (0, 1)),
	created_at     INTEGER NOT NULL,
	updated_at     INTEGER NOT NULL,
	next_tick      INTEGER NOT NULL,
	due_at         INTEGER NOT NULL,
	last_tick      INTEGER NOT NULL,
	last_job       TEXT NOT NULL,
	last_outcome   TEXT NOT NULL,
	settled        INTEGER NOT NULL CHECK (settled IN (0, 1)),
	next_since     TEXT NOT NULL, -- a day
	UNIQUE (customer, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (due_at, id) WHERE due_at > 0;
CREATE INDEX schedules_ticked ON schedules (last_tick) WHERE last_tick > 0;
CREATE INDEX schedules_open ON schedules (id) WHERE settled = 0;
`

// stateSchema is how far the jobs of schedules have come, and which job is of which schedule.
const stateSchema = `
ALTER TABLE schedules ADD COLUMN state_epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE schedules ADD COLUMN state_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE schedules ADD COLUMN state BLOB; -- sealed
ALTER TABLE schedules ADD COLUMN state_job TEXT NOT NULL DEFAULT '';
ALTER TABLE schedules ADD COLUMN state_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN schedule TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN state_epoch TEXT NOT NULL DEFAULT '';
`
