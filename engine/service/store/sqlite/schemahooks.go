package sqlite

// webhookSchema is a migration: webhooks, and the deliveries of what customers are told.
const webhookSchema = `
ALTER TABLE outbox ADD COLUMN data BLOB; -- a JSON object

CREATE TABLE webhooks (
	customer      TEXT PRIMARY KEY,
	url           TEXT NOT NULL,
	events        TEXT NOT NULL, -- a JSON array of text
	enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
	headers       BLOB, -- sealed
	durable       INTEGER NOT NULL CHECK (durable IN (0, 1)),
	max_attempts  INTEGER NOT NULL,
	multiplier    REAL NOT NULL,
	initial_delay INTEGER NOT NULL, -- microseconds, as timeout is
	timeout       INTEGER NOT NULL,
	batch         INTEGER NOT NULL CHECK (batch IN (0, 1)),
	per_minute    INTEGER NOT NULL,
	tls12         INTEGER NOT NULL CHECK (tls12 IN (0, 1)),
	created_at    INTEGER NOT NULL,
	updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_secrets (
	customer     TEXT NOT NULL,
	pending      INTEGER NOT NULL CHECK (pending IN (0, 1)),
	id           TEXT NOT NULL,
	sealed       BLOB NOT NULL,
	created_at   INTEGER NOT NULL,
	activates_at INTEGER NOT NULL,
	PRIMARY KEY (customer, pending)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
	seq         INTEGER PRIMARY KEY AUTOINCREMENT,
	id          TEXT NOT NULL UNIQUE,
	customer    TEXT NOT NULL,
	channel     TEXT NOT NULL CHECK (channel IN ('webhook', 'mail')),
	target      TEXT NOT NULL,
	own         INTEGER NOT NULL CHECK (own IN (0, 1)),
	event       TEXT NOT NULL,
	job         TEXT NOT NULL,
	data        BLOB, -- a JSON object
	state       TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'delivered', 'dead')),
	batch       TEXT NOT NULL,
	attempts    INTEGER NOT NULL,
	tries       INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	next_at     INTEGER NOT NULL,
	last_at     INTEGER NOT NULL,
	ended_at    INTEGER NOT NULL CHECK ((ended_at = 0) = (state IN ('waiting', 'sending'))),
	http_status INTEGER NOT NULL,
	code        TEXT NOT NULL,
	message     TEXT NOT NULL,
	fence       INTEGER NOT NULL,
	endpoint    TEXT NOT NULL,
	holder      TEXT NOT NULL CHECK (holder = '' OR state = 'sending'),
	server      TEXT NOT NULL,
	lease_until INTEGER NOT NULL,
	behind      INTEGER NOT NULL CHECK (behind = 0 OR behind = 1 AND state = 'waiting')
) STRICT;
CREATE INDEX deliveries_of_customer ON deliveries (customer, seq, state, event, created_at);
CREATE INDEX deliveries_of_job ON deliveries (job, endpoint, state, seq);
-- Claims: what waits for an endpoint, and may be sent; and all that does.
CREATE INDEX deliveries_first ON deliveries (endpoint, next_at, seq) WHERE state = 'waiting' AND behind = 0;
CREATE INDEX deliveries_queued ON deliveries (endpoint, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_batch ON deliveries (batch) WHERE state = 'waiting' AND batch <> '';
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE state = 'sending';
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at > 0;
CREATE INDEX deliveries_counted ON deliveries (state, created_at) WHERE state IN ('waiting', 'dead');

CREATE TABLE delivery_attempts (
	delivery    INTEGER NOT NULL,
	number      INTEGER NOT NULL CHECK (number > 0),
	at          INTEGER NOT NULL,
	duration    INTEGER NOT NULL, -- microseconds
	http_status INTEGER NOT NULL,
	code        TEXT NOT NULL,
	message     TEXT NOT NULL,
	PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- How it stands with receivers, and when something is to be done for one: 0 is not before something else happens.
CREATE TABLE endpoints (
	id              TEXT PRIMARY KEY,
	customer        TEXT NOT NULL,
	channel         TEXT NOT NULL,
	target          TEXT NOT NULL,
	own             INTEGER NOT NULL CHECK (own IN (0, 1)),
	failures        INTEGER NOT NULL,
	failing_since   INTEGER NOT NULL,
	open_until      INTEGER NOT NULL,
	open_for        INTEGER NOT NULL, -- microseconds
	disabled_at     INTEGER NOT NULL,
	disabled_reason TEXT NOT NULL,
	in_flight       INTEGER NOT NULL CHECK (in_flight >= 0),
	served          INTEGER NOT NULL,
	paced_until     INTEGER NOT NULL,
	due             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoints_of_customer ON endpoints (customer);
CREATE INDEX endpoints_next ON endpoints (customer, served, id, due) WHERE due <> 0;
CREATE INDEX endpoints_due ON endpoints (customer, due) WHERE due > 0;

-- What a customer has of the senders, and when the first of its endpoints is due.
CREATE TABLE delivery_shares (
	customer  TEXT PRIMARY KEY,
	in_flight INTEGER NOT NULL CHECK (in_flight >= 0),
	served    INTEGER NOT NULL, -- the number of its last taking among all
	due       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_shares_next ON delivery_shares (served, customer, due, in_flight) WHERE due > 0;
CREATE INDEX delivery_shares_served ON delivery_shares (served);
`
