package mysql

// scheduleTable is that of schedules. Lengths of time are microseconds.
const scheduleTable = `CREATE TABLE IF NOT EXISTS schedules (
		id             VARCHAR(255) PRIMARY KEY,
		customer       VARCHAR(128) NOT NULL,
		name           VARCHAR(255) NOT NULL,
		document       TINYINT NOT NULL CHECK (document IN (0, 1)),
		"procedure"    VARCHAR(255) NOT NULL,
		request        MEDIUMBLOB,
		cron           VARCHAR(255) NOT NULL,
		zone           VARCHAR(255) NOT NULL,
		overlap        VARCHAR(16) NOT NULL CHECK (overlap IN ('skip', 'queue')),
		missed         VARCHAR(16) NOT NULL CHECK (missed IN ('once', 'skip')),
		jitter         BIGINT NOT NULL,
		"window"       TINYINT NOT NULL CHECK ("window" IN (0, 1)),
		window_first   BIGINT NOT NULL,
		window_overlap BIGINT NOT NULL,
		enabled        TINYINT NOT NULL CHECK (enabled IN (0, 1)),
		created_at     BIGINT NOT NULL,
		updated_at     BIGINT NOT NULL,
		next_tick      BIGINT NOT NULL,
		due_at         BIGINT NOT NULL,
		last_tick      BIGINT NOT NULL,
		last_job       VARCHAR(255) NOT NULL,
		last_outcome   VARCHAR(255) NOT NULL,
		settled        TINYINT NOT NULL CHECK (settled IN (0, 1)),
		next_since     VARCHAR(32) NOT NULL,
		UNIQUE KEY schedules_name (customer, name),
		KEY schedules_due (due_at, id),
		KEY schedules_ticked (last_tick),
		KEY schedules_open (settled, id)
	) {table}`
