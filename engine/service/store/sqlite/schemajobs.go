package sqlite

// jobSchema is the second migration: jobs, and what is written with each of their changes.
const jobSchema = `
CREATE TABLE jobs (
	seq             INTEGER PRIMARY KEY AUTOINCREMENT,
	id              TEXT NOT NULL UNIQUE,
	customer        TEXT NOT NULL,
	procedure       TEXT NOT NULL,
	type            TEXT NOT NULL,
	priority        INTEGER NOT NULL,
	status          TEXT NOT NULL CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
	reason          TEXT NOT NULL,
	request         BLOB, -- a JSON object
	format          TEXT NOT NULL,
	compression     TEXT NOT NULL,
	encrypted       INTEGER NOT NULL CHECK (encrypted IN (0, 1)),
	from_date       TEXT NOT NULL,
	to_date         TEXT NOT NULL,
	modifier        TEXT NOT NULL,
	webhook_url     TEXT NOT NULL,
	request_id      TEXT NOT NULL,
	key_id          TEXT NOT NULL,
	address         TEXT NOT NULL,
	trace           TEXT NOT NULL,
	created_at      INTEGER NOT NULL,
	started_at      INTEGER NOT NULL,
	completed_at    INTEGER NOT NULL CHECK ((completed_at = 0) = (status IN ('queued', 'running'))),
	updated_at      INTEGER NOT NULL,
	not_before      INTEGER NOT NULL,
	attempts        INTEGER NOT NULL,
	runs            INTEGER NOT NULL CHECK (runs >= attempts),
	transition      INTEGER NOT NULL CHECK (transition > 0),
	rows            INTEGER NOT NULL,
	bytes           INTEGER NOT NULL,
	estimated_rows  INTEGER NOT NULL,
	estimated_bytes INTEGER NOT NULL,
	cancel_asked    INTEGER NOT NULL,
	error_code      TEXT NOT NULL,
	error_message   TEXT NOT NULL,
	suggestion      TEXT NOT NULL,
	bucket          TEXT NOT NULL,
	object_key      TEXT NOT NULL CHECK (object_key = '' OR status = 'completed'),
	file_name       TEXT NOT NULL,
	media_type      TEXT NOT NULL,
	size            INTEGER NOT NULL,
	sha256          TEXT NOT NULL,
	total_rows      INTEGER NOT NULL,
	sealing_key     TEXT NOT NULL,
	manifest        BLOB, -- JSON
	data_as_of      INTEGER NOT NULL,
	peak_memory     REAL NOT NULL,
	cpu_seconds     REAL NOT NULL,
	object_expires  INTEGER NOT NULL,
	object_removed  INTEGER NOT NULL,
	holder          TEXT NOT NULL CHECK ((holder = '') = (status <> 'running')),
	server          TEXT NOT NULL,
	lease_until     INTEGER NOT NULL,
	object_until    INTEGER NOT NULL,
	object_going    INTEGER NOT NULL CHECK (object_going IN (0, 1))
) STRICT;
-- Lists and their totals are found in these alone, whatever the filter.
CREATE INDEX jobs_created ON jobs (customer, created_at, id, status, procedure);
CREATE INDEX jobs_updated ON jobs (customer, updated_at, id, status, procedure, created_at);
-- Claims: the best that waits, and whether any may be taken.
CREATE INDEX jobs_waiting ON jobs (customer, priority DESC, seq, not_before) WHERE status = 'queued';
CREATE INDEX jobs_ready ON jobs (customer, not_before) WHERE status = 'queued';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE status = 'running';
CREATE INDEX jobs_active ON jobs (procedure, status, created_at) WHERE status IN ('queued', 'running');
CREATE INDEX jobs_objects ON jobs (object_until) WHERE status = 'completed' AND object_removed = 0;
CREATE INDEX jobs_ended ON jobs (completed_at) WHERE completed_at > 0;

CREATE TABLE job_transitions (
	job         TEXT NOT NULL,
	number      INTEGER NOT NULL CHECK (number > 0),
	event       TEXT NOT NULL,
	from_status TEXT NOT NULL,
	to_status   TEXT NOT NULL,
	at          INTEGER NOT NULL,
	attempt     INTEGER NOT NULL,
	code        TEXT NOT NULL,
	PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- What a customer has of the workers, kept with every change of a job.
CREATE TABLE shares (
	customer TEXT PRIMARY KEY,
	queued   INTEGER NOT NULL CHECK (queued >= 0),
	running  INTEGER NOT NULL CHECK (running >= 0),
	served   INTEGER NOT NULL -- the number of its last taking among all
) STRICT, WITHOUT ROWID;
CREATE INDEX shares_next ON shares (running, served, customer) WHERE queued > 0;
CREATE INDEX shares_served ON shares (served);

CREATE TABLE past_runs (
	customer  TEXT NOT NULL,
	procedure TEXT NOT NULL,
	rows      INTEGER NOT NULL,
	bytes     INTEGER NOT NULL,
	PRIMARY KEY (customer, procedure)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
	customer        TEXT NOT NULL,
	route           TEXT NOT NULL,
	idempotency_key TEXT NOT NULL,
	body            BLOB NOT NULL CHECK (length(body) = 32),
	request         TEXT NOT NULL,
	job             TEXT NOT NULL, -- empty while the request has the key
	at              INTEGER NOT NULL,
	PRIMARY KEY (customer, route, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE outbox (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT,
	customer   TEXT NOT NULL,
	job        TEXT NOT NULL,
	event      TEXT NOT NULL,
	transition INTEGER NOT NULL,
	at         INTEGER NOT NULL
) STRICT;

CREATE TABLE leftovers (
	seq      INTEGER PRIMARY KEY AUTOINCREMENT,
	job      TEXT NOT NULL,
	customer TEXT NOT NULL,
	bucket   TEXT NOT NULL,
	since    INTEGER NOT NULL
) STRICT;
`

// jobCounts is the third migration: how many jobs there are, by day (of UTC, since 1970), so that the total of a list is a
// sum of a few rows, and not a walk over all jobs of its customer.
const jobCounts = `
CREATE TABLE job_counts (
	customer  TEXT NOT NULL,
	day       INTEGER NOT NULL,
	procedure TEXT NOT NULL,
	status    TEXT NOT NULL,
	n         INTEGER NOT NULL CHECK (n >= 0),
	PRIMARY KEY (customer, day, procedure, status)
) STRICT, WITHOUT ROWID;
INSERT INTO job_counts SELECT customer, created_at / 86400000000, procedure, status, count(*) FROM jobs GROUP BY 1, 2, 3, 4;
CREATE TRIGGER job_is_counted AFTER INSERT ON jobs BEGIN
	INSERT INTO job_counts VALUES (NEW.customer, NEW.created_at / 86400000000, NEW.procedure, NEW.status, 1)
		ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER job_is_counted_anew AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status BEGIN
	UPDATE job_counts SET n = n - 1 WHERE customer = OLD.customer AND day = OLD.created_at / 86400000000
		AND procedure = OLD.procedure AND status = OLD.status;
	INSERT INTO job_counts VALUES (NEW.customer, NEW.created_at / 86400000000, NEW.procedure, NEW.status, 1)
		ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER job_is_not_counted AFTER DELETE ON jobs BEGIN
	UPDATE job_counts SET n = n - 1 WHERE customer = OLD.customer AND day = OLD.created_at / 86400000000
		AND procedure = OLD.procedure AND status = OLD.status;
	DELETE FROM job_counts WHERE customer = OLD.customer AND day = OLD.created_at / 86400000000
		AND procedure = OLD.procedure AND n = 0;
END;
`

// counted is a migration: what is one number for the whole record. Rows of the audit may be removed that are older
// than audit_kept, and no others; file is whose the numbers of runs are, and first_run the least that it gives, see
// numberRuns.
const counted = `
CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('audit_kept', 0), ('file', 0), ('first_run', 1);
DROP TRIGGER audit_is_not_removed;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
	WHEN OLD.at >= coalesce((SELECT value FROM counters WHERE name = 'audit_kept'), 0)
	BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
`
