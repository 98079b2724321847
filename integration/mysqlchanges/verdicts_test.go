package mysqlchanges_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// testVerdicts: what cannot be followed exactly ends the run with a code, once everything before it is delivered, and does
// so again when it goes on from there. No other stream follows the server meanwhile: some of it ends them all.
func testVerdicts(t *testing.T, shared *servers.Server) {
	mariaDB := shared.IsMariaDB()
	for name, c := range map[string]struct {
		sql, code string
		only      string
	}{
		"alter":            {"ALTER TABLE a ADD x INT", "changes.table_changed", ""},
		"drop":             {"DROP TABLE a", "changes.table_changed", ""},
		"rename":           {"RENAME TABLE a TO b", "changes.table_changed", ""},
		"swap":             {"CREATE TABLE b LIKE a; RENAME TABLE a TO c, b TO a", "changes.table_changed", ""},
		"database":         {"", "changes.table_changed", ""},
		"statement format": {"SET SESSION binlog_format = 'STATEMENT'; UPDATE a SET v = 'by statement' WHERE id = 1", "changes.statement", ""},
		"minimal image":    {"SET SESSION binlog_row_image = 'MINIMAL'; UPDATE a SET v = 'other' WHERE id = 1", "changes.row_image", ""},
		"noblob image":     {"SET SESSION binlog_row_image = 'NOBLOB'; UPDATE a SET id = 5 WHERE id = 1", "changes.row_image", ""},
		"partial JSON":     {"SET SESSION binlog_row_value_options = 'PARTIAL_JSON'; UPDATE j SET v = JSON_SET(v, '$.a', 2)", "changes.partial_json", "mysql"},
		"XA":               {"XA START 'x'; INSERT INTO a VALUES (9, 'xa'); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x'", "changes.xa", ""},
		"partitions":       {"ALTER TABLE a ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 2", "changes.table_changed", ""},
		"two-phase ALTER":  {"SET SESSION binlog_alter_two_phase = ON; ALTER TABLE a ADD x INT", "changes.table_changed", "mariadb"},
		"replace":          {"CREATE OR REPLACE TABLE a (id INT PRIMARY KEY, v TEXT)", "changes.table_changed", "mariadb"},
	} {
		if c.only == "mysql" && mariaDB || c.only == "mariadb" && !mariaDB {
			continue
		}
		t.Run(name, func(t *testing.T) {
			own := shared.For(t)
			s := server{own, own.NewDatabase()}
			s.Exec(createA + "CREATE TABLE j (id INT PRIMARY KEY, v JSON) ENGINE=InnoDB; INSERT INTO a VALUES (1, 'x'), (2, 'y'); INSERT INTO j VALUES (1, '{\"a\": 1, \"b\": \"" + strings.Repeat("long ", 100) + "\"}')")
			st := open(t, s, ofA("a", "j"))
			st.until("the first copy", func() bool { return len(st.copy) == 3 })
			s.Exec("INSERT INTO a VALUES (3, 'before'), (4, 'before')")
			if c.sql == "" {
				c.sql = "DROP DATABASE " + s.database
			}
			s.Exec(c.sql)
			f := st.fails(c.code)
			if st.copy["a/3"] == "" || st.copy["a/4"] == "" {
				t.Errorf("what was before it was not delivered: %v", st.copy)
			}
			if !strings.Contains(f.Details["log_position"], "binlog.0") {
				t.Errorf("the fault does not say where: %v", f.Details)
			}
			if s.Query("SHOW DATABASES LIKE '"+s.database+"'") == "" || strings.Contains(c.code, "table_changed") {
				return // a run from there is refused because of the table itself
			}
			st.close()
			if err := st.begin(s, ofA("a", "j"), sdk.Env{}); err != nil {
				t.Fatal(err)
			}
			st.fails(c.code)
		})
	}
}

// testSpoilt: an event that says that the log lacks something, one of a type that nobody knows, and one that is damaged end
// the run with a code, with what was before them delivered, and nothing of them. Where the log is as it should be, the run
// goes on from there. A proxy makes them of an event of a row, because no server writes them when it is asked to.
func testSpoilt(t *testing.T, shared server) {
	const incident, unknown, first = 26, 120, 1 + 19
	for name, c := range map[string]struct {
		code   string
		spoil  func(event []byte)
		summed bool // the checksum is made anew
	}{
		"incident":     {"changes.incident", func(event []byte) { event[4] = incident }, true},
		"unknown type": {"changes.unknown_event", func(event []byte) { event[4] = unknown }, true},
		"a bit":        {binlog.CodeLog, func(event []byte) { event[len(event)-10] ^= 0x10 }, false},
		"length":       {binlog.CodeLog, func(event []byte) { event[9]++ }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := shared.For(t)
			s := server{own, own.NewDatabase()}
			s.Exec(createA + "INSERT INTO a VALUES (1, 'x')")
			marker := []byte("to be spoilt in " + s.database)
			p := newProxy(t, s.Port(), func(packet []byte) {
				if len(packet) < first || packet[0] != 0 || packet[1+4] != 23 && packet[1+4] != 30 || !bytes.Contains(packet, marker) {
					return
				}
				event := packet[1:]
				if c.spoil(event); c.summed {
					body := event[:len(event)-crc32.Size]
					binary.LittleEndian.PutUint32(event[len(body):], crc32.ChecksumIEEE(body))
				}
			})
			with := ofA("a")
			with["url"], with["tls"] = p.through(s), "disabled"
			st := open(t, s, with)
			st.until("the first copy", func() bool { return len(st.copy) == 1 })
			s.Exec("INSERT INTO a VALUES (2, 'before'); INSERT INTO a VALUES (3, '" + string(marker) + "'); INSERT INTO a VALUES (4, 'behind')")
			if f := st.fails(c.code); !strings.Contains(f.Message, "binlog.0") {
				t.Errorf("the fault does not say where: %v", f)
			}
			if st.copy["a/2"] == "" || len(st.copy) != 2 {
				t.Errorf("delivered are %v", st.copy)
			}
			st.close()
			if err := st.begin(s, ofA("a"), sdk.Env{}); err != nil {
				t.Fatal(err)
			}
			st.until("the rest", func() bool { return st.copy["a/4"] != "" })
			st.same(s, "a")
		})
	}
}

// testHarmless: what changes nothing that is followed is passed over.
func testHarmless(t *testing.T, s server) {
	s.Exec(createA + "INSERT INTO a VALUES (1, 'x')")
	st := open(t, s, ofA("a"))
	st.until("the first copy", func() bool { return len(st.copy) == 1 })
	s.Exec(`CREATE TABLE b (id INT PRIMARY KEY, p INT, KEY (p)) ENGINE=InnoDB; ALTER TABLE b ADD x INT; INSERT INTO b VALUES (1, 1, 1); RENAME TABLE b TO c; TRUNCATE c; DROP TABLE c;
ALTER TABLE a ADD INDEX by_v (v(10)); DROP INDEX by_v ON a; CREATE INDEX i ON a (v(5)); ALTER TABLE a COMMENT = 'patients', ALGORITHM = INPLACE; ANALYZE TABLE a; OPTIMIZE TABLE a;
CREATE VIEW w AS SELECT * FROM a; CREATE PROCEDURE p() UPDATE a SET v = 'called' WHERE id = 1; CALL p(); CREATE TABLE IF NOT EXISTS a (id INT);
CREATE TEMPORARY TABLE temporary (id INT); INSERT INTO temporary VALUES (1); DROP TEMPORARY TABLE temporary; CREATE TABLE copied (PRIMARY KEY (id)) AS SELECT id, v FROM a;
CREATE TRIGGER later BEFORE UPDATE ON a FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '!'); UPDATE a SET v = 'y'; FLUSH TABLES; FLUSH BINARY LOGS;
CREATE TABLE m (id INT) ENGINE=MyISAM; INSERT INTO m VALUES (1); BEGIN; SAVEPOINT s; INSERT INTO a VALUES (2, 'never'); ROLLBACK TO s; INSERT INTO a VALUES (3, 'kept'); COMMIT;
SET SESSION sql_log_bin = 0; SET SESSION sql_log_bin = 1`)
	if s.IsMariaDB() { // its ALTER in two phases: one that is done, one that fails behind its first phase, one of the stream
		s.Exec(`SET SESSION binlog_alter_two_phase = ON; CREATE TABLE two (id INT PRIMARY KEY, p INT) ENGINE=InnoDB; INSERT INTO two VALUES (1, 1), (2, 1);
ALTER TABLE two ADD x INT, ALGORITHM = COPY;
DELIMITER //
BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; ALTER TABLE two ADD UNIQUE (p), ALGORITHM = COPY; END //
DELIMITER ;
ALTER TABLE a COMMENT = 'in two phases', ALGORITHM = INPLACE`)
	}
	s.Exec("INSERT INTO a VALUES (100, 'last')")
	st.until("the last row", func() bool { return st.copy["a/100"] != "" })
	st.same(s, "a")
}

// testLost: a position behind which the server has purged its log, and one of another history, are told apart. It runs
// when no other test follows the server's log.
func testLost(t *testing.T, s server) {
	s.Exec(createA + "INSERT INTO a VALUES (1, 'x')")
	st := open(t, s, ofA("a"))
	st.until("the first copy", func() bool { return len(st.copy) == 1 })
	st.close()
	old := st.position
	resumed := func() error {
		st.position = old
		if err := st.begin(s, ofA("a"), sdk.Env{}); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return st.next(ctx)
	}
	s.Exec("INSERT INTO a VALUES (2, 'x'); FLUSH BINARY LOGS; INSERT INTO a VALUES (3, 'x'); FLUSH BINARY LOGS; INSERT INTO a VALUES (4, 'x')")
	c := session(t, s.Server)
	defer c.Close()
	end, err := binlog.Current(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	// A server keeps what a connection reads, and may notice late that one has ended.
	for deadline := time.Now().Add(time.Minute); !strings.HasPrefix(s.Query("SHOW BINARY LOGS"), end.File); {
		s.Exec("PURGE BINARY LOGS TO '" + end.File + "'")
		if time.Now().After(deadline) {
			t.Fatal("the server does not purge its log")
		}
	}
	wantFault(t, resumed(), binlog.CodePositionLost)
	st.close()
	if s.IsMariaDB() {
		s.Exec("RESET MASTER")
	} else {
		s.Exec("RESET BINARY LOGS AND GTIDS")
	}
	s.Exec("INSERT INTO a VALUES (5, 'x')")
	wantFault(t, resumed(), binlog.CodeOtherHistory)
}

func wantFault(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.From(err); err == nil || f.Code != code || f.Hint == "" {
		t.Errorf("ended with %v, want %s", err, code)
	}
}
