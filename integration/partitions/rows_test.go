package partitions

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// keys are tables of some rows whose key is hard to cut in one way or another.
var keys = []struct {
	name, columns, insert string
	parts                 bool // there are several
}{
	{"dense", "id INT PRIMARY KEY, v VARCHAR(20)", "SELECT n, CONCAT('v', n) FROM numbers", true},
	{"negative", "id BIGINT PRIMARY KEY, v INT", "SELECT CAST(n AS SIGNED) * 7 - 5000, n FROM numbers", true},
	{"widest", "id BIGINT PRIMARY KEY, v INT", "SELECT IF(n % 2, -9223372036854775807 + CAST(n AS SIGNED), 9223372036854775807 - n), n FROM numbers", true},
	{"unsigned", "id BIGINT UNSIGNED PRIMARY KEY, v INT", "SELECT 18446744073709551615 - n * 461168601842738, n FROM numbers", true},
	{"skewed", "id BIGINT PRIMARY KEY, v INT", "SELECT IF(n = 1, 9000000000000000000, n), n FROM numbers", true},
	{"islands", "id BIGINT PRIMARY KEY, v INT", "SELECT n % 4 * 1000000000000 + n, n FROM numbers", true},
	{"composite", "a SMALLINT, b VARCHAR(9), v INT, PRIMARY KEY (a, b)", "SELECT n % 50, CONCAT('x', n), n FROM numbers", true},
	{"few values", "a TINYINT, b INT, v INT, PRIMARY KEY (a, b)", "SELECT n % 2, n, n FROM numbers", true},
	{"one value", "a TINYINT, b INT, v INT, PRIMARY KEY (a, b)", "SELECT 7, n, n FROM numbers", false},
	{"all sorts", "id INT PRIMARY KEY, t VARCHAR(300), b BLOB, d DECIMAL(40,10), e DECIMAL(9,2) NULL, f DOUBLE, g TINYINT NULL, h TIME(3), i BIT(9), j YEAR, k CHAR(3) NULL",
		"SELECT n, REPEAT('ä', n * n % 300), IF(n % 7, REPEAT(x'00ff', n % 90), NULL), n / 3, IF(n % 3, n, NULL), n / 7, IF(n > 1500, 1, NULL), SEC_TO_TIME(n), n % 512, 2000 + n % 100, IF(n % 500, 'abc', NULL) FROM numbers", true},
	{"zero and more", "id INT UNSIGNED PRIMARY KEY, v INT", "SELECT n - 1, NULL FROM numbers", true},
	{"one row", "id INT PRIMARY KEY", "SELECT -5", false},
	{"no row", "id INT PRIMARY KEY", "SELECT 1 FROM numbers WHERE n < 0", false},
	{"timestamps", "id INT PRIMARY KEY, at TIMESTAMP(3) NULL, d DATE", "SELECT n, FROM_UNIXTIME(1700000000 + n * 1000.25), '2026-01-01' + INTERVAL n % 100 DAY FROM numbers", true},
}

// numbers makes a table of numbers from 1.
func numbers(db *servers.Server, count int) {
	db.Exec(fmt.Sprintf(`CREATE TABLE numbers (n BIGINT UNSIGNED PRIMARY KEY); SET SESSION %s = 1000000;
INSERT INTO numbers WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c; ANALYZE TABLE numbers`,
		map[bool]string{false: "cte_max_recursion_depth", true: "max_recursive_iterations"}[db.IsMariaDB()], count))
}

// TestRows: with several connections, rows and their order are those of one, whatever the key is like.
func TestRows(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		numbers(db, 3000)
		for _, k := range keys {
			db.Exec(fmt.Sprintf("CREATE TABLE `%[1]s` (%[2]s); INSERT INTO `%[1]s` %[3]s; ANALYZE TABLE `%[1]s`", k.name, k.columns, k.insert))
			with := table(db.DSN(db.Database()), k.name)
			want := read(t, with)
			for _, more := range []settings{{"partitions": 2}, {"partitions": 5, "partition_buffer": "1MiB"}, {"partitions": 3, "protocol": "text"}} {
				got := read(t, with.with(more))
				if !slices.Equal(got.rows, want.rows) || !got.schema.Equal(want.schema) {
					t.Errorf("%s %v: %d rows, want the %d of one connection", k.name, more, len(got.rows), len(want.rows))
				}
				if !slices.Equal(got.batches, want.batches) {
					t.Errorf("%s %v: the batches have %d rows, want %d", k.name, more, got.batches, want.batches)
				}
				if fact := got.facts["partitions"]; !strings.HasPrefix(fact, fmt.Sprint(more["partitions"])+" connections, ") || strings.Contains(fact, " 1 parts") == k.parts {
					t.Errorf("%s %v: the receipt says %q", k.name, more, fact)
				}
				if got.facts["snapshot"] == "" {
					t.Errorf("%s %v: the receipt does not tell of the snapshot: %v", k.name, more, got.facts)
				}
			}
		}
		// A range that no index picks is a condition beside that of the parts.
		with := table(db.DSN(db.Database()), "timestamps")
		for name, value := range map[string]any{"date_column": "at", "from_date": "2023-11-20", "to_date": "2023-12-10", "columns": "d,id"} {
			with["request"].(map[string]any)[name] = value
		}
		want, got := read(t, with), read(t, with.with(settings{"partitions": 4}))
		if len(want.rows) == 0 || !slices.Equal(got.rows, want.rows) || !strings.HasPrefix(got.facts["partitions"], "4 connections") {
			t.Errorf("a range: %d rows, want %d; %v", len(got.rows), len(want.rows), got.facts)
		}
	})
}

// TestOneConnection: where the rows have no ranges, or no one snapshot, one connection reads, and the receipt says why.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *servers.Server) {
		numbers(db, 200)
		db.Exec("CREATE TABLE texts (k VARCHAR(20) PRIMARY KEY, d DATE, KEY (d)); INSERT INTO texts SELECT CONCAT('k', n), '2026-01-01' + INTERVAL n DAY FROM numbers;" +
			"CREATE TABLE dated (k INT PRIMARY KEY, d DATE, KEY (d)); INSERT INTO dated SELECT n, '2026-01-01' + INTERVAL n DAY FROM numbers;" +
			"CREATE TABLE heap (k INT PRIMARY KEY) ENGINE = MyISAM; INSERT INTO heap SELECT n FROM numbers; CREATE TABLE keyless (k INT); INSERT INTO keyless SELECT n FROM numbers;" +
			"CREATE VIEW seen AS SELECT * FROM numbers;\nDELIMITER //\nCREATE PROCEDURE p() SELECT * FROM numbers//\n")
		user := db.Database() + "r"
		db.Exec("CREATE USER " + user + "@'%' IDENTIFIED BY 'Secret-1'; GRANT SELECT ON `" + db.Database() + "`.* TO " + user + "@'%'")
		url := db.DSN(db.Database())
		for name, c := range map[string]struct {
			url     string
			request map[string]any
			more    settings
			why     string
		}{
			"text key":    {url, map[string]any{"table_name": "texts"}, nil, "the primary key begins with a column of type varchar"},
			"date index":  {url, map[string]any{"table_name": "dated", "date_column": "d", "from_date": "2026-02-01"}, nil, "an index on the date"},
			"MyISAM":      {url, map[string]any{"table_name": "heap"}, nil, "no InnoDB table"},
			"no key":      {url, map[string]any{"table_name": "keyless"}, nil, "no InnoDB table"},
			"view":        {url, map[string]any{"table_name": "seen"}, nil, "no InnoDB table"},
			"procedure":   {url, map[string]any{"procedure_name": "p"}, nil, "a procedure is asked for"},
			"preview":     {url, map[string]any{"table_name": "numbers"}, settings{"max_rows": 10}, "a preview"},
			"LOCK TABLES": {db.UserDSN(user, "Secret-1", db.Database()), map[string]any{"table_name": "numbers"}, nil, "the account may not LOCK TABLES"},
		} {
			c.request["allowed_tables"], c.request["allowed_procedures"] = "*", "*"
			with := settings{"url": c.url, "request": c.request}.with(c.more)
			want, got := read(t, with), read(t, with.with(settings{"partitions": 4}))
			if !slices.Equal(got.rows, want.rows) || len(got.rows) == 0 {
				t.Errorf("%s: %d rows, want %d", name, len(got.rows), len(want.rows))
			}
			if fact := got.facts["partitions"]; !strings.HasPrefix(fact, "1 connection: ") || !strings.Contains(fact, c.why) {
				t.Errorf("%s: the receipt says %q, want %q", name, fact, c.why)
			}
			if want.facts["partitions"] != "" {
				t.Errorf("%s: without the setting the receipt says %q", name, want.facts["partitions"])
			}
		}
		// With LOCK TABLES and SELECT alone, there are four.
		db.Exec("GRANT LOCK TABLES ON `" + db.Database() + "`.* TO " + user + "@'%'")
		got := read(t, table(db.UserDSN(user, "Secret-1", db.Database()), "numbers").with(settings{"partitions": 4}))
		if len(got.rows) != 200 || !strings.HasPrefix(got.facts["partitions"], "4 connections") {
			t.Errorf("with LOCK TABLES: %d rows, %v", len(got.rows), got.facts)
		}
		db.Exec("DROP USER " + user + "@'%'")
	})
}
