package mysql

// streamTable is that of what is set up of data streams, and who has each.
const streamTable = `CREATE TABLE IF NOT EXISTS streams (
		customer            VARCHAR(128) PRIMARY KEY,
		url                 TEXT NOT NULL,
		secret              BLOB,
		pins                TEXT NOT NULL,
		certificate         MEDIUMTEXT NOT NULL,
		organization_id     VARCHAR(255) NOT NULL,
		records_per_request INT NOT NULL,
		requests_per_minute INT NOT NULL,
		channels            TEXT NOT NULL,
		content_encoding    TINYINT NOT NULL CHECK (content_encoding IN (0, 1)),
		enabled             TINYINT NOT NULL CHECK (enabled IN (0, 1)),
		fault_code          VARCHAR(255) NOT NULL,
		fault_message       MEDIUMTEXT NOT NULL,
		fault_hint          TEXT NOT NULL,
		fault_at            BIGINT NOT NULL,
		created_at          BIGINT NOT NULL,
		updated_at          BIGINT NOT NULL,
		holder              VARCHAR(255) NOT NULL,
		fence               BIGINT NOT NULL,
		lease_until         BIGINT NOT NULL,
		logged              TINYINT NOT NULL CHECK (logged IN (0, 1))
	) {table}`

// streamSteps is the table of the steps of streamMigrations that were taken, by stream.
const streamSteps = `CREATE TABLE IF NOT EXISTS stream_schema (
		stream VARCHAR(64) NOT NULL,
		step   INT NOT NULL,
		at     BIGINT NOT NULL,
		PRIMARY KEY (stream, step)
	) {table}`

// streamMigrations lead from one version of a stream's own tables to the next, as migrations do of the record. {stream} begins
// their names.
var streamMigrations = []string{
	`CREATE TABLE IF NOT EXISTS {stream}state (
		id       TINYINT PRIMARY KEY CHECK (id = 1),
		position MEDIUMTEXT NOT NULL,
		fence    BIGINT NOT NULL,
		origin   VARCHAR(255) NOT NULL,
		floor    BIGINT NOT NULL
	) {table}`,
	`INSERT INTO {stream}state (id, position, fence, origin, floor) VALUES (1, '', 0, '', 0)`,
	`CREATE TABLE IF NOT EXISTS {stream}channels (
		channel         VARCHAR(128) PRIMARY KEY,
		sequence        BIGINT NOT NULL,
		acknowledged    BIGINT NOT NULL,
		acknowledged_at BIGINT NOT NULL,
		waiting         BIGINT NOT NULL CHECK (waiting >= 0),
		waiting_bytes   BIGINT NOT NULL CHECK (waiting_bytes >= 0),
		reset_above     BIGINT NOT NULL,
		reset_until     BIGINT NOT NULL,
		again           BIGINT NOT NULL CHECK (again >= 0),
		CHECK (acknowledged <= sequence),
		CHECK (again > 0 OR reset_above = 0 AND reset_until = 0)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS {stream}documents (
		channel  VARCHAR(128) NOT NULL,
		type     VARCHAR(128) NOT NULL,
		id_key   VARCHAR(255) NOT NULL,
		id       MEDIUMTEXT,
		sequence BIGINT NOT NULL,
		deleted  TINYINT NOT NULL CHECK (deleted IN (0, 1)),
		digest   BINARY(32) NOT NULL,
		PRIMARY KEY (channel, type, id_key),
		KEY documents_in_order (channel, sequence),
		KEY documents_of_type (channel, type, deleted, sequence)
	) {table}`,
	`CREATE TABLE IF NOT EXISTS {stream}waiting (
		channel      VARCHAR(128) NOT NULL,
		sequence     BIGINT NOT NULL,
		type         VARCHAR(128) NOT NULL,
		id           MEDIUMTEXT NOT NULL,
		deleted      TINYINT NOT NULL CHECK (deleted IN (0, 1)),
		committed_at BIGINT NOT NULL,
		bytes        BIGINT NOT NULL,
		sealed       LONGBLOB,
		PRIMARY KEY (channel, sequence)
	) {table}`,
}
