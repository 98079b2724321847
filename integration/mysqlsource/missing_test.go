package mysqlsource

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestHiddenColumns: a table of which the account may read some columns is no table of
// those, and invisible columns are told of.
func TestHiddenColumns(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		name := db.Database()
		user := name + "_u"
		db.Exec("CREATE TABLE nine (a INT, b INT, c INT, d INT); INSERT INTO nine VALUES (1, 2, 3, 4);" +
			"CREATE TABLE unseen (a INT, b INT INVISIBLE); INSERT INTO unseen (a, b) VALUES (1, 2);" +
			"CREATE USER " + user + " IDENTIFIED BY 'pw'; GRANT SELECT (a, c) ON " + name + ".nine TO " + user + "; GRANT SELECT ON " + name + ".unseen TO " + user)
		t.Cleanup(func() { db.Exec("DROP USER " + user) })
		ask := func(table, columns string) settings {
			request := settings{"table_name": table, "allowed_tables": "*"}
			if columns != "" {
				request["columns"] = columns
			}
			return settings{"url": db.UserDSN(user, "pw", name), "request": request}
		}
		_, err := read(t, ask("nine", ""))
		if f := wantFault(t, err, "mysql.access_denied"); f.Details["parameter"] != "columns" {
			t.Errorf("%+v", f)
		}
		wantRows(t, mustRead(t, ask("nine", "a,c")), []string{"1", "3"})
		got := mustRead(t, ask("unseen", ""))
		wantRows(t, got, []string{"1"})
		if got.counters["columns_invisible"] != 1 || !strings.Contains(got.log.String(), "level=WARN") {
			t.Errorf("counters %v, log %q", got.counters, got.log.String())
		}
		if got = mustRead(t, ask("unseen", "a,b")); got.counters["columns_invisible"] != 0 {
			t.Errorf("counters %v", got.counters)
		}
	})
}

func TestFurtherResultSets(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("DELIMITER //\nCREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 2 AS b; END //\n")
		url := db.DSN(db.Database())
		_, err := read(t, settings{"url": url, "call": "two"})
		if f := wantFault(t, err, "mysql.result_sets"); !strings.Contains(f.Hint, "from 1 to 2") {
			t.Errorf("the hint is %q", f.Hint)
		}
		got := mustRead(t, settings{"url": url, "call": "two", "result_set": 2})
		wantRows(t, got, []string{"2"})
		if got.counters["result_sets_dropped"] != 1 {
			t.Errorf("counters %v", got.counters)
		}
	})
}

// TestWarnings: what the server cut is not delivered as if it were whole.
func TestWarnings(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE w (v VARCHAR(9)); INSERT INTO w VALUES ('1a'), ('2b'), ('3c');\nDELIMITER //\n" +
			"CREATE PROCEDURE cuts() BEGIN SET SESSION group_concat_max_len = 4; SELECT GROUP_CONCAT(v ORDER BY v) FROM w; END //\n")
		url := db.DSN(db.Database())
		for _, protocol := range []string{"binary", "text"} {
			for _, policy := range []string{"cut", "fail"} {
				_, err := read(t, settings{"url": url, "call": "cuts", "warnings": policy, "protocol": protocol})
				if f := wantFault(t, err, "mysql.warning"); !strings.Contains(f.Message, "1260") {
					t.Errorf("%s: %v", policy, f)
				}
			}
			got := mustRead(t, settings{"url": url, "call": "cuts", "warnings": "count", "protocol": protocol})
			if wantRows(t, got, []string{"1a,2"}); got.counters["warnings"] != 1 || !strings.Contains(got.log.String(), "1260") {
				t.Errorf("counters %v, log %q", got.counters, got.log.String())
			}
			_, err := read(t, settings{"url": url, "query": "SELECT REPEAT('x', 2000000000)", "protocol": protocol})
			wantFault(t, err, "mysql.warning") // NULL, for it is too long

			const compares = "SELECT COUNT(*) FROM w WHERE v > 1" // warns of texts that are no numbers
			got = mustRead(t, settings{"url": url, "query": compares, "protocol": protocol})
			if wantRows(t, got, []string{"2"}); got.counters["warnings"] < 3 {
				t.Errorf("counters %v", got.counters)
			}
			_, err = read(t, settings{"url": url, "query": compares, "warnings": "fail", "protocol": protocol})
			wantFault(t, err, "mysql.warning")
			if got := mustRead(t, settings{"url": url, "query": "SELECT v FROM w", "warnings": "fail", "protocol": protocol}); got.counters["warnings"] != 0 {
				t.Errorf("counters %v", got.counters)
			}
		}
	})
}

// TestOutParameters: procedures of the form of sakila's, which give a result and count its
// rows in an OUT parameter.
func TestOutParameters(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE inventory (id INT, film INT, store INT); INSERT INTO inventory VALUES (1, 7, 1), (2, 7, 1), (3, 7, 2);\nDELIMITER //\n" +
			"CREATE PROCEDURE film_in_stock(IN p_film INT, IN p_store INT, OUT p_count INT) BEGIN SELECT id FROM inventory WHERE film = p_film AND store = p_store ORDER BY id;" +
			" SELECT COUNT(*) FROM inventory WHERE film = p_film AND store = p_store INTO p_count; END //\n" +
			"CREATE PROCEDURE doubles(INOUT a VARCHAR(9), IN b INT, INOUT c DECIMAL(5,2)) BEGIN SELECT CONCAT(a, b) AS ab, c + c AS cc; SET a = 'x'; END //\n")
		for _, protocol := range []string{"binary", "text"} {
			for _, c := range []struct {
				procedure, arguments string
				rows                 [][]string
				dropped              int64
			}{
				{"film_in_stock", "[7, 1]", [][]string{{"1"}, {"2"}}, 1},
				{"doubles", `["it's", 5, 1.25]`, [][]string{{"it's5", "2.5"}}, 2},
			} {
				got := mustRead(t, settings{"url": db.DSN(db.Database()), "protocol": protocol,
					"request": settings{"procedure_name": c.procedure, "arguments": c.arguments, "allowed_procedures": "*"}})
				if wantRows(t, got, c.rows...); got.counters["out_parameters_dropped"] != c.dropped {
					t.Errorf("%s: counters %v", c.procedure, got.counters)
				}
			}
		}
	})
}
