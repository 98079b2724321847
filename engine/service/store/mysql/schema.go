package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// migrations lead from one version of the schema to the next, the first from an empty database. Each is one statement,
// because the server commits DDL by itself; it is recorded after it was run, so that one that was run and not recorded is
// run again: it may be repeated, or fails with a number of repeated. One that was released is never changed. The tables
// have the columns that SQLite's have, and what several processes need besides: the columns instance, and the tables
// record and instances. Times are microseconds since 1970 and 0 is never.
var migrations = []string{
	// What is counted and locked for the whole record: its one row is made by the next step. Access counts changes of who is
	// let in. Server is the one that the record was last met on, and first_run the least number of a run that it begins.
	`CREATE TABLE IF NOT EXISTS record (
		id        TINYINT PRIMARY KEY,
		access    BIGINT NOT NULL,
		server    VARCHAR(255) NOT NULL,
		first_run BIGINT NOT NULL
	) {table}`,
	`INSERT INTO record (id, access, server, first_run) VALUES (1, 0, '', 1)`,
	`CREATE TABLE IF NOT EXISTS "keys" (
		seq          BIGINT AUTO_INCREMENT PRIMARY KEY,
		id           VARCHAR(255) NOT NULL,
		hash         BINARY(32) NOT NULL,
		kind         VARCHAR(16) NOT NULL CHECK (kind IN ('live', 'demo', 'admin')),
		customer     VARCHAR(255) NOT NULL,
		label        TEXT NOT NULL,
		scopes       TEXT NOT NULL,
		created_at   BIGINT NOT NULL,
		expires_at   BIGINT NOT NULL,
		last_used_at BIGINT NOT NULL,
		revoked_at   BIGINT NOT NULL,
		UNIQUE KEY keys_id (id),
		UNIQUE KEY keys_hash (hash),
		KEY keys_of_customer (customer),
		CONSTRAINT keys_customer CHECK ((customer = '') = (kind = 'admin'))
	) {table}`,
	`CREATE TABLE IF NOT EXISTS disabled (
		customer VARCHAR(255) PRIMARY KEY
	) {table}`,
	// Active_of is what an index over some rows is elsewhere: at most one key of a customer seals.
	`CREATE TABLE IF NOT EXISTS sealing_keys (
		seq          BIGINT AUTO_INCREMENT PRIMARY KEY,
		id           VARCHAR(255) NOT NULL,
		customer     VARCHAR(255) NOT NULL,
		sealed       BLOB NOT NULL,
		state        VARCHAR(16) NOT NULL CHECK (state IN ('new', 'active', 'retired')),
		created_at   BIGINT NOT NULL,
		activated_at BIGINT NOT NULL,
		retired_at   BIGINT NOT NULL,
		active_of    VARCHAR(255) GENERATED ALWAYS AS (CASE WHEN state = 'active' THEN customer END) STORED,
		UNIQUE KEY sealing_keys_id (id),
		UNIQUE KEY one_active_sealing_key (active_of),
		KEY sealing_keys_of_customer (customer)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS sealing_uses (
		customer VARCHAR(255) NOT NULL,
		id       VARCHAR(255) NOT NULL,
		uses     BIGINT NOT NULL CHECK (uses >= 0),
		PRIMARY KEY (customer, id)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS requests (
		id          VARCHAR(255) PRIMARY KEY,
		run_id      VARCHAR(255) NOT NULL,
		customer    VARCHAR(255) NOT NULL,
		key_id      VARCHAR(255) NOT NULL,
		"procedure" VARCHAR(255) NOT NULL,
		mode        VARCHAR(64) NOT NULL,
		reason      VARCHAR(255) NOT NULL,
		format      VARCHAR(64) NOT NULL,
		status      VARCHAR(16) NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
		started_at  BIGINT NOT NULL,
		ended_at    BIGINT NOT NULL,
		"rows"      BIGINT NOT NULL,
		bytes       BIGINT NOT NULL,
		sha256      VARCHAR(64) NOT NULL,
		code        VARCHAR(255) NOT NULL,
		message     MEDIUMTEXT NOT NULL,
		receipt     MEDIUMBLOB,
		instance    VARCHAR(64) NOT NULL DEFAULT '',
		KEY requests_running (status, instance),
		KEY requests_ended (ended_at)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS audit (
		seq        BIGINT AUTO_INCREMENT PRIMARY KEY,
		at         BIGINT NOT NULL,
		who        VARCHAR(255) NOT NULL,
		what       VARCHAR(255) NOT NULL,
		customer   VARCHAR(255) NOT NULL,
		address    VARCHAR(255) NOT NULL,
		request_id VARCHAR(255) NOT NULL,
		run_id     VARCHAR(255) NOT NULL,
		outcome    VARCHAR(255) NOT NULL,
		details    MEDIUMTEXT NOT NULL,
		KEY audit_of_customer (customer, at),
		KEY audit_at (at)
	) {table}`,
	`CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit FOR EACH ROW
		SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is append-only'`,
	`CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit FOR EACH ROW
		SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is append-only'`,
	// The processes that use the record, and when each was last heard of.
	`CREATE TABLE IF NOT EXISTS instances (
		id      VARCHAR(64) PRIMARY KEY,
		seen_at BIGINT NOT NULL,
		KEY instances_seen (seen_at)
	) {table}`,
	jobTable,
	`CREATE TABLE IF NOT EXISTS job_transitions (
		job         VARCHAR(255) NOT NULL,
		number      BIGINT NOT NULL CHECK (number > 0),
		event       VARCHAR(32) NOT NULL,
		from_status VARCHAR(16) NOT NULL,
		to_status   VARCHAR(16) NOT NULL,
		at          BIGINT NOT NULL,
		attempt     INT NOT NULL,
		code        VARCHAR(255) NOT NULL,
		PRIMARY KEY (job, number)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS shares (
		customer VARCHAR(128) PRIMARY KEY,
		queued   BIGINT NOT NULL CHECK (queued >= 0),
		running  BIGINT NOT NULL CHECK (running >= 0),
		served   BIGINT NOT NULL,
		KEY shares_next (running, served, customer, queued),
		KEY shares_served (served)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS past_runs (
		customer    VARCHAR(128) NOT NULL,
		"procedure" VARCHAR(255) NOT NULL,
		"rows"      BIGINT NOT NULL,
		bytes       BIGINT NOT NULL,
		PRIMARY KEY (customer, "procedure")
	) {table}`,
	`CREATE TABLE IF NOT EXISTS idempotency (
		customer        VARCHAR(128) NOT NULL,
		route           VARCHAR(255) NOT NULL,
		idempotency_key VARCHAR(255) NOT NULL,
		body            BINARY(32) NOT NULL,
		request         VARCHAR(255) NOT NULL,
		job             VARCHAR(255) NOT NULL,
		at              BIGINT NOT NULL,
		PRIMARY KEY (customer, route, idempotency_key),
		KEY idempotency_at (at)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS outbox (
		seq        BIGINT PRIMARY KEY,
		customer   VARCHAR(128) NOT NULL,
		job        VARCHAR(255) NOT NULL,
		event      VARCHAR(64) NOT NULL,
		transition BIGINT NOT NULL,
		at         BIGINT NOT NULL
	) {table}`,
	// A server gives the numbers of AUTO_INCREMENT before a transaction is made, and so in another order than they are seen.
	// Those of the outbox are given by a row, which a transaction has until it is made.
	`CREATE TABLE IF NOT EXISTS counters (
		name  VARCHAR(32) PRIMARY KEY,
		value BIGINT NOT NULL
	) {table}`,
	`INSERT INTO counters (name, value) VALUES ('outbox', 0)`,
	`CREATE TABLE IF NOT EXISTS leftovers (
		seq      BIGINT AUTO_INCREMENT PRIMARY KEY,
		job      VARCHAR(255) NOT NULL,
		customer VARCHAR(128) NOT NULL,
		bucket   VARCHAR(255) NOT NULL,
		since    BIGINT NOT NULL
	) {table}`,
	`ALTER TABLE outbox ADD COLUMN data MEDIUMBLOB`,
	`CREATE TABLE IF NOT EXISTS webhooks (
		customer      VARCHAR(128) PRIMARY KEY,
		url           TEXT NOT NULL,
		events        TEXT NOT NULL,
		enabled       TINYINT NOT NULL CHECK (enabled IN (0, 1)),
		headers       MEDIUMBLOB,
		durable       TINYINT NOT NULL CHECK (durable IN (0, 1)),
		max_attempts  INT NOT NULL,
		multiplier    DOUBLE NOT NULL,
		initial_delay BIGINT NOT NULL,
		timeout       BIGINT NOT NULL,
		batch         TINYINT NOT NULL CHECK (batch IN (0, 1)),
		per_minute    INT NOT NULL,
		tls12         TINYINT NOT NULL CHECK (tls12 IN (0, 1)),
		created_at    BIGINT NOT NULL,
		updated_at    BIGINT NOT NULL
	) {table}`,
	`CREATE TABLE IF NOT EXISTS webhook_secrets (
		customer     VARCHAR(128) NOT NULL,
		pending      TINYINT NOT NULL CHECK (pending IN (0, 1)),
		id           VARCHAR(255) NOT NULL,
		sealed       BLOB NOT NULL,
		created_at   BIGINT NOT NULL,
		activates_at BIGINT NOT NULL,
		PRIMARY KEY (customer, pending)
	) {table}`,
	deliveryTable,
	`CREATE TABLE IF NOT EXISTS delivery_attempts (
		delivery    BIGINT NOT NULL,
		number      INT NOT NULL CHECK (number > 0),
		at          BIGINT NOT NULL,
		duration    BIGINT NOT NULL,
		http_status INT NOT NULL,
		code        VARCHAR(255) NOT NULL,
		message     TEXT NOT NULL,
		PRIMARY KEY (delivery, number)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS endpoints (
		id              VARCHAR(64) PRIMARY KEY,
		customer        VARCHAR(128) NOT NULL,
		channel         VARCHAR(16) NOT NULL,
		target          TEXT NOT NULL,
		own             TINYINT NOT NULL CHECK (own IN (0, 1)),
		failures        BIGINT NOT NULL,
		failing_since   BIGINT NOT NULL,
		open_until      BIGINT NOT NULL,
		open_for        BIGINT NOT NULL,
		disabled_at     BIGINT NOT NULL,
		disabled_reason TEXT NOT NULL,
		in_flight       INT NOT NULL CHECK (in_flight >= 0),
		served          BIGINT NOT NULL,
		paced_until     BIGINT NOT NULL,
		due             BIGINT NOT NULL,
		KEY endpoints_next (customer, served, id, due),
		KEY endpoints_due (customer, due)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS delivery_shares (
		customer  VARCHAR(128) PRIMARY KEY,
		in_flight INT NOT NULL CHECK (in_flight >= 0),
		served    BIGINT NOT NULL,
		due       BIGINT NOT NULL,
		KEY delivery_shares_next (served, customer, due, in_flight)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS notices (
		customer VARCHAR(128) NOT NULL,
		name     VARCHAR(128) NOT NULL,
		at       BIGINT NOT NULL,
		PRIMARY KEY (customer, name)
	) {table}`,
	// Rows of the audit may be removed that are older than this, and no others.
	`INSERT INTO counters (name, value) VALUES ('audit_kept', 0)`,
	`CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit FOR EACH ROW
		IF OLD.at >= coalesce((SELECT value FROM counters WHERE name = 'audit_kept'), 0)
		THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is append-only'; END IF`,
	`DROP TRIGGER IF EXISTS audit_is_not_removed`,
	scheduleTable,
	streamTable,
	streamSteps,
	// How far the jobs of schedules have come, and which job is of which schedule.
	`ALTER TABLE schedules ADD COLUMN state_epoch VARCHAR(64) NOT NULL DEFAULT ''`,
	`ALTER TABLE schedules ADD COLUMN state_revision BIGINT NOT NULL DEFAULT 0`,
	`ALTER TABLE schedules ADD COLUMN state MEDIUMBLOB`,
	`ALTER TABLE schedules ADD COLUMN state_job VARCHAR(255) NOT NULL DEFAULT ''`,
	`ALTER TABLE schedules ADD COLUMN state_at BIGINT NOT NULL DEFAULT 0`,
	`ALTER TABLE jobs ADD COLUMN schedule VARCHAR(255) NOT NULL DEFAULT ''`,
	`ALTER TABLE jobs ADD COLUMN state_epoch VARCHAR(64) NOT NULL DEFAULT ''`,
}

// deliveryTable is that of deliveries. What waits for an endpoint is found in deliveries_first and deliveries_queued, whatever
// else is there.
const deliveryTable = `CREATE TABLE IF NOT EXISTS deliveries (
		seq         BIGINT AUTO_INCREMENT PRIMARY KEY,
		id          VARCHAR(255) NOT NULL,
		customer    VARCHAR(128) NOT NULL,
		channel     VARCHAR(16) NOT NULL CHECK (channel IN ('webhook', 'mail')),
		target      TEXT NOT NULL,
		own         TINYINT NOT NULL CHECK (own IN (0, 1)),
		event       VARCHAR(64) NOT NULL,
		job         VARCHAR(255) NOT NULL,
		data        MEDIUMBLOB,
		state       VARCHAR(16) NOT NULL CHECK (state IN ('waiting', 'sending', 'delivered', 'dead')),
		batch       VARCHAR(320) NOT NULL,
		attempts    INT NOT NULL,
		tries       INT NOT NULL,
		created_at  BIGINT NOT NULL,
		next_at     BIGINT NOT NULL,
		last_at     BIGINT NOT NULL,
		ended_at    BIGINT NOT NULL,
		http_status INT NOT NULL,
		code        VARCHAR(255) NOT NULL,
		message     TEXT NOT NULL,
		fence       BIGINT NOT NULL,
		endpoint    VARCHAR(64) NOT NULL,
		holder      VARCHAR(255) NOT NULL,
		server      VARCHAR(255) NOT NULL,
		lease_until BIGINT NOT NULL,
		behind      TINYINT NOT NULL,
		UNIQUE KEY deliveries_id (id),
		KEY deliveries_of_customer (customer, seq, state, event, created_at),
		KEY deliveries_of_job (job, endpoint, state, seq),
		KEY deliveries_first (endpoint, state, behind, next_at, seq),
		KEY deliveries_queued (endpoint, state, seq),
		KEY deliveries_batch (batch, state),
		KEY deliveries_leased (state, lease_until),
		KEY deliveries_ended (ended_at),
		KEY deliveries_counted (state, created_at),
		CONSTRAINT deliveries_end CHECK ((ended_at = 0) = (state IN ('waiting', 'sending'))),
		CONSTRAINT deliveries_holder CHECK (holder = '' OR state = 'sending'),
		CONSTRAINT deliveries_behind CHECK (behind = 0 OR behind = 1 AND state = 'waiting')
	) {table}`

// jobTable is that of jobs. Lists and their totals are found in jobs_created and jobs_updated alone, whatever the filter;
// what is to be claimed in jobs_waiting, and whether there is anything in jobs_ready.
const jobTable = `CREATE TABLE IF NOT EXISTS jobs (
		seq             BIGINT AUTO_INCREMENT PRIMARY KEY,
		id              VARCHAR(255) NOT NULL,
		customer        VARCHAR(128) NOT NULL,
		"procedure"     VARCHAR(255) NOT NULL,
		type            VARCHAR(32) NOT NULL,
		priority        INT NOT NULL,
		status          VARCHAR(16) NOT NULL CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
		reason          VARCHAR(64) NOT NULL,
		request         MEDIUMBLOB,
		format          VARCHAR(64) NOT NULL,
		compression     VARCHAR(64) NOT NULL,
		encrypted       TINYINT NOT NULL CHECK (encrypted IN (0, 1)),
		from_date       TEXT NOT NULL,
		to_date         TEXT NOT NULL,
		modifier        TEXT NOT NULL,
		webhook_url     TEXT NOT NULL,
		request_id      VARCHAR(255) NOT NULL,
		key_id          VARCHAR(255) NOT NULL,
		address         VARCHAR(255) NOT NULL,
		trace           TEXT NOT NULL,
		created_at      BIGINT NOT NULL,
		started_at      BIGINT NOT NULL,
		completed_at    BIGINT NOT NULL,
		updated_at      BIGINT NOT NULL,
		not_before      BIGINT NOT NULL,
		attempts        INT NOT NULL,
		runs            BIGINT NOT NULL,
		transition      BIGINT NOT NULL CHECK (transition > 0),
		"rows"          BIGINT NOT NULL,
		bytes           BIGINT NOT NULL,
		estimated_rows  BIGINT NOT NULL,
		estimated_bytes BIGINT NOT NULL,
		cancel_asked    BIGINT NOT NULL,
		error_code      VARCHAR(255) NOT NULL,
		error_message   MEDIUMTEXT NOT NULL,
		suggestion      TEXT NOT NULL,
		bucket          VARCHAR(255) NOT NULL,
		object_key      TEXT NOT NULL,
		file_name       TEXT NOT NULL,
		media_type      VARCHAR(255) NOT NULL,
		size            BIGINT NOT NULL,
		sha256          VARCHAR(64) NOT NULL,
		total_rows      BIGINT NOT NULL,
		sealing_key     VARCHAR(255) NOT NULL,
		manifest        MEDIUMBLOB,
		data_as_of      BIGINT NOT NULL,
		peak_memory     DOUBLE NOT NULL,
		cpu_seconds     DOUBLE NOT NULL,
		object_expires  BIGINT NOT NULL,
		object_removed  BIGINT NOT NULL,
		holder          VARCHAR(255) NOT NULL,
		server          VARCHAR(255) NOT NULL,
		lease_until     BIGINT NOT NULL,
		object_until    BIGINT NOT NULL,
		object_going    TINYINT NOT NULL CHECK (object_going IN (0, 1)),
		UNIQUE KEY jobs_id (id),
		KEY jobs_created (customer, created_at, id, status, "procedure"),
		KEY jobs_updated (customer, updated_at, id, status, "procedure", created_at),
		KEY jobs_waiting (customer, status, priority DESC, seq, not_before),
		KEY jobs_ready (customer, status, not_before),
		KEY jobs_leased (status, lease_until),
		KEY jobs_active (status, "procedure", created_at),
		KEY jobs_objects (status, object_removed, object_until),
		KEY jobs_ended (completed_at),
		CONSTRAINT jobs_end CHECK ((completed_at = 0) = (status IN ('queued', 'running'))),
		CONSTRAINT jobs_runs CHECK (runs >= attempts),
		CONSTRAINT jobs_object CHECK (object_key = '' OR status = 'completed'),
		CONSTRAINT jobs_holder CHECK ((holder = '') = (status <> 'running'))
	) {table}`

// repeated say that a step was run before, and that nobody has recorded it: the row is there, a column, an index, a
// trigger; or that what it removes is not.
var repeated = []uint16{erDuplicate, 1050, 1060, 1061, 1091, 1359, 1360, 1826, 3822}

// forbidden say that the account may make no trigger, as is usual where others run the server. The audit is append-only
// without it too, as far as this program goes; it is warned of.
var forbidden = []uint16{1142, 1227, 1419}

func isTrigger(statement string) bool {
	return strings.HasPrefix(statement, "CREATE TRIGGER ") || strings.HasPrefix(statement, "DROP TRIGGER ")
}

// tableOptions follow each table. Text is compared byte by byte, and nothing is padded: identifiers are what they are.
func tableOptions(s server) string {
	collation := "utf8mb4_0900_bin"
	if s.mariadb {
		collation = "utf8mb4_nopad_bin"
	}
	return "ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE " + collation
}

// migrationLock is what one process at a time holds, of those that use a database.
func migrationLock(database string) string {
	hash := sha256.Sum256([]byte(database))
	return "cipherstream record " + hex.EncodeToString(hash[:16])
}

// lockTime is how long another process is waited for, in seconds, that brings the tables up to date.
const lockTime = 300

// migrate brings the tables to the version of the last migration. A newer one is refused: what a newer program has written
// this one would read wrongly.
func migrate(ctx context.Context, conn *sql.Conn, on server, migrations []string) error {
	return alone(ctx, conn, on, func() error {
		options := tableOptions(on)
		if _, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS record_schema (
		step INT PRIMARY KEY,
		at   BIGINT NOT NULL
	) `+options); err != nil {
			return coded(ctx, err)
		}
		return take(ctx, conn, "the record", migrations, strings.NewReplacer("{table}", options),
			"SELECT coalesce(max(step), 0) FROM record_schema", "INSERT INTO record_schema (step, at) VALUES (?, "+micros+")")
	})
}

// streamVersion asks for the version of a stream's tables; 0 is none.
const streamVersion = "SELECT coalesce(max(step), 0) FROM stream_schema WHERE stream = ?"

// migrateStream does the same with a stream's own tables.
func migrateStream(ctx context.Context, conn *sql.Conn, on server, prefix string, migrations []string) error {
	return alone(ctx, conn, on, func() error {
		return take(ctx, conn, "a stream", migrations, strings.NewReplacer("{table}", tableOptions(on), "{stream}", prefix),
			streamVersion, "INSERT INTO stream_schema (stream, step, at) VALUES (?, ?, "+micros+")", prefix)
	})
}

// alone has one process at a time bring tables up to date.
func alone(ctx context.Context, conn *sql.Conn, on server, do func() error) error {
	lock := migrationLock(on.name)
	var got sql.NullInt64
	err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", lock, lockTime).Scan(&got)
	// A cluster has no such lock over its nodes, and may refuse it. It runs one DDL after the other, and each may be repeated.
	if err != nil && on.cluster == "" {
		return coded(ctx, err)
	}
	if got.Int64 != 1 && on.cluster == "" {
		return fault.New(store.CodeServer, fault.Connect, "another process has been bringing the record up to date for %d s", lockTime).
			WithHint("wait for it, or see what it waits for: SHOW PROCESSLIST").WithRetry()
	}
	defer func() {
		if _, err := conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(?)", lock); err != nil {
			discard(conn) // the lock is the connection's
		}
	}()
	return do()
}

// take takes the steps that were not taken yet. Version asks for the last one that was, and note notes one; of is an argument
// of both that comes first.
func take(ctx context.Context, conn *sql.Conn, what string, migrations []string, names *strings.Replacer, version, note string, of ...any) error {
	var last int
	if err := conn.QueryRowContext(ctx, version, of...).Scan(&last); err != nil {
		return coded(ctx, err)
	}
	if last > len(migrations) {
		return newerSchema(what, last, len(migrations))
	}
	for step := last + 1; step <= len(migrations); step++ {
		statement := names.Replace(migrations[step-1])
		_, err := conn.ExecContext(ctx, statement)
		n := numberOf(err)
		may := slices.Contains(repeated, n) || isTrigger(statement) && slices.Contains(forbidden, n)
		if err != nil && !may {
			return coded(ctx, err)
		}
		_, err = conn.ExecContext(ctx, note, append(slices.Clone(of), step)...)
		if err != nil && !isDuplicate(err) {
			return coded(ctx, err)
		}
	}
	return nil
}

func newerSchema(what string, version, known int) error {
	return fault.New(store.CodeNewer, fault.Usage, "%s has version %d of its schema, and this program knows none after %d", what, version, known).
		WithHint("a newer version of the program has written it: run that one, or restore a copy from before")
}

// grantHint is what the account needs.
const grantHint = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, TRIGGER ON the record's database.* TO the account"

// mayWrite tries out whether the account may change every table, without changing any. Those of streams, of which there may be
// many, are made by it.
func mayWrite(ctx context.Context, conn *sql.Conn) error {
	columns := map[string]string{}
	err := pairs(ctx, conn, columns, `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = database() AND ordinal_position = 1 AND table_name NOT IN ('record_schema', 'audit')
		AND table_name NOT LIKE 'stream!_%!_%' ESCAPE '!'`)
	for table, column := range columns {
		for _, statement := range []string{
			`UPDATE "` + table + `" SET "` + column + `" = "` + column + `" WHERE 1 = 0`, `DELETE FROM "` + table + `" WHERE 1 = 0`,
		} {
			if err == nil {
				_, err = conn.ExecContext(ctx, statement)
			}
		}
	}
	return coded(ctx, err)
}
