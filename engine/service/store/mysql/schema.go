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
}

// repeated say that a step was run before, and that nobody has recorded it: the row is there, a column, an index, a
// trigger; or that what it removes is not.
var repeated = []uint16{erDuplicate, 1050, 1060, 1061, 1091, 1359, 1360, 1826, 3822}

// forbidden say that the account may make no trigger, as is usual where others run the server. The audit is append-only
// without it too, as far as this program goes; it is warned of.
var forbidden = []uint16{1142, 1227, 1419}

const isTrigger = "CREATE TRIGGER "

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
	lock := migrationLock(on.name)
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", lock, lockTime).Scan(&got); err != nil {
		return coded(ctx, err)
	}
	if got.Int64 != 1 {
		return fault.New(store.CodeServer, fault.Connect, "another process has been bringing the record up to date for %d s", lockTime).
			WithHint("wait for it, or see what it waits for: SHOW PROCESSLIST").WithRetry()
	}
	defer func() {
		if _, err := conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(?)", lock); err != nil {
			discard(conn) // the lock is the connection's
		}
	}()
	options := tableOptions(on)
	if _, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS record_schema (
		step INT PRIMARY KEY,
		at   BIGINT NOT NULL
	) `+options); err != nil {
		return coded(ctx, err)
	}
	var version int
	if err := conn.QueryRowContext(ctx, "SELECT coalesce(max(step), 0) FROM record_schema").Scan(&version); err != nil {
		return coded(ctx, err)
	}
	if version > len(migrations) {
		return fault.New(store.CodeNewer, fault.Usage,
			"the record has version %d of its schema, and this program knows none after %d", version, len(migrations)).
			WithHint("a newer version of the program has written it: run that one, or restore a copy from before")
	}
	for step := version + 1; step <= len(migrations); step++ {
		statement := strings.ReplaceAll(migrations[step-1], "{table}", options)
		_, err := conn.ExecContext(ctx, statement)
		n := numberOf(err)
		may := slices.Contains(repeated, n) || strings.HasPrefix(statement, isTrigger) && slices.Contains(forbidden, n)
		if err != nil && !may {
			return coded(ctx, err)
		}
		_, err = conn.ExecContext(ctx, "INSERT INTO record_schema (step, at) VALUES (?, "+micros+")", step)
		if err != nil && !isDuplicate(err) {
			return coded(ctx, err)
		}
	}
	return nil
}

// grantHint is what the account needs.
const grantHint = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, TRIGGER ON the record's database.* TO the account"

// mayWrite tries out whether the account may change every table, without changing any.
func mayWrite(ctx context.Context, conn *sql.Conn) error {
	columns := map[string]string{}
	err := pairs(ctx, conn, columns, `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = database() AND ordinal_position = 1 AND table_name NOT IN ('record_schema', 'audit')`)
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
