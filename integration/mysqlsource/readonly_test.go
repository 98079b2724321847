package mysqlsource

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const readOnlyTables = `CREATE TABLE t (i INT PRIMARY KEY); INSERT INTO t VALUES (1), (2);
CREATE TABLE m (i INT) ENGINE=MyISAM; INSERT INTO m VALUES (1), (2);
DELIMITER //
CREATE FUNCTION takes() RETURNS INT MODIFIES SQL DATA DETERMINISTIC BEGIN DELETE FROM t; RETURN 1; END //
CREATE PROCEDURE deletes() BEGIN DELETE FROM t; SELECT 1; END //
CREATE PROCEDURE commits_first() BEGIN COMMIT; DELETE FROM t; SELECT 1; END //
CREATE PROCEDURE changes_mode_first() BEGIN SET SESSION TRANSACTION READ WRITE; DELETE FROM t; SELECT 1; END //
CREATE PROCEDURE rolls_back_first() BEGIN ROLLBACK; DELETE FROM m; SELECT 1; END //
CREATE PROCEDURE drops() BEGIN DROP TABLE t; SELECT 1; END //
CREATE PROCEDURE truncates() BEGIN TRUNCATE t; SELECT 1; END //
CREATE PROCEDURE prepares() BEGIN PREPARE s FROM 'DELETE FROM t'; EXECUTE s; SELECT 1; END //
CREATE PROCEDURE no_autocommit() BEGIN SET autocommit = 0; DELETE FROM t; COMMIT; SELECT 1; END //
CREATE PROCEDURE temporary() BEGIN CREATE TEMPORARY TABLE tt AS SELECT i FROM t; SELECT i FROM tt ORDER BY i; END //
CREATE PROCEDURE commits() BEGIN COMMIT; SELECT i FROM t ORDER BY i; END //
CREATE PROCEDURE breaks_out() BEGIN SET SESSION TRANSACTION READ WRITE; COMMIT; SELECT 1; END //
CREATE PROCEDURE starts() BEGIN START TRANSACTION READ WRITE; DELETE FROM t; SELECT 1; END //
DELIMITER ;
`

// TestReadingReads: nothing that a pipeline can say without read_only: false writes, with
// an account that may do everything.
func TestReadingReads(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec(readOnlyTables)
		url := db.DSN(db.Database())
		for _, with := range []settings{
			{"query": "DELETE FROM t"}, {"query": "INSERT INTO t VALUES (3)"}, {"query": "DROP TABLE t"}, {"query": "CREATE TABLE x (i INT)"},
			{"query": "/*! DELETE FROM t */"}, {"query": "SELECT takes()"}, {"query": "EXPLAIN ANALYZE DELETE FROM t"}, {"query": "CALL deletes()"},
			{"query": "SELECT i FROM t FOR UPDATE"}, {"query": "SET GLOBAL max_connections = 77"}, {"query": "SELECT 1 INTO OUTFILE 'x'"},
			{"call": "deletes"}, {"call": "commits_first"}, {"call": "changes_mode_first"}, {"call": "rolls_back_first"}, {"call": "drops"},
			{"call": "truncates"}, {"call": "prepares"}, {"call": "no_autocommit"}, {"call": "temporary"},
			{"request": settings{"procedure_name": "deletes", "allowed_procedures": "*"}},
			{"call": "deletes", "snapshot": true},
		} {
			with["url"] = url
			_, err := read(t, with)
			f := fault.From(err)
			if f == nil || f.Code != "mysql.read_only" && !(f.Code == "mysql.syntax" && strings.HasPrefix(with["query"].(string), "EXPLAIN ANALYZE")) {
				t.Errorf("%v: %+v", with, f)
			} else if f.Code == "mysql.read_only" && !strings.Contains(f.Hint, "read_only: false") {
				t.Errorf("%v: the hint is %q", with, f.Hint)
			}
			if got := db.Query("SELECT (SELECT COUNT(*) FROM t), (SELECT COUNT(*) FROM m), @@GLOBAL.max_connections = 77"); got != "2\t2\t0\n" {
				t.Fatalf("%v: the server has now %q", with, got)
			}
		}
	})
}

func TestReadOnlyFalse(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec(readOnlyTables)
		for _, snapshot := range []bool{false, true} {
			got := mustRead(t, settings{"url": db.DSN(db.Database()), "call": "temporary", "read_only": false, "snapshot": snapshot})
			wantRows(t, got, []string{"1"}, []string{"2"})
		}
	})
}

// TestTransactionEnded: what gets out of its transaction is told, and what could write
// fails.
func TestTransactionEnded(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec(readOnlyTables)
		with := func(procedure string) settings { return settings{"url": db.DSN(db.Database()), "call": procedure} }
		got := mustRead(t, with("commits"))
		wantRows(t, got, []string{"1"}, []string{"2"})
		if got.counters["transactions_ended"] != 1 || !strings.Contains(got.log.String(), "level=WARN") {
			t.Errorf("counters %v, log %q", got.counters, got.log.String())
		}
		for _, procedure := range []string{"breaks_out", "starts"} {
			_, err := read(t, with(procedure))
			if f := wantFault(t, err, "mysql.read_only"); !strings.Contains(f.Message, "took the read-only mode away") {
				t.Errorf("%s: %v", procedure, f)
			}
		}
		if got := db.Query("SELECT COUNT(*) FROM t"); got != "2\n" {
			t.Errorf("%s rows are left", got)
		}
		if got := mustRead(t, settings{"url": db.DSN(db.Database()), "query": "SELECT i FROM t"}); got.counters["transactions_ended"] != 0 {
			t.Errorf("counters of a query: %v", got.counters)
		}
	})
}

func TestAccountThatMayWrite(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec(readOnlyTables)
		name := db.Database()
		db.Exec("CREATE USER " + name + "_r IDENTIFIED BY 'pw'; GRANT SELECT, EXECUTE ON " + name + ".* TO " + name + "_r;" +
			"CREATE USER " + name + "_w IDENTIFIED BY 'pw'; GRANT SELECT, EXECUTE ON " + name + ".* TO " + name + "_w;" +
			"CREATE ROLE " + name + "_role; GRANT INSERT, UPDATE (i) ON " + name + ".t TO " + name + "_role; GRANT " + name + "_role TO " + name + "_w;")
		if db.IsMariaDB() {
			db.Exec("SET DEFAULT ROLE " + name + "_role FOR " + name + "_w")
		} else {
			db.Exec("SET DEFAULT ROLE " + name + "_role TO " + name + "_w")
		}
		t.Cleanup(func() { db.Exec("DROP ROLE " + name + "_role; DROP USER " + name + "_r, " + name + "_w") })
		for user, want := range map[string]string{"_r": "", "_w": "INSERT, UPDATE"} {
			got := mustRead(t, settings{"url": db.UserDSN(name+user, "pw", name), "query": "SELECT i FROM t"})
			if got.facts["account_may_write"] != want {
				t.Errorf("%s: %q, want %q", user, got.facts["account_may_write"], want)
			}
		}
	})
}
