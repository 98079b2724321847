package mysqlsource

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestSessionVariables: what a server's defaults change in rows, columns and text, they
// do not change in what is read.
func TestSessionVariables(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		mariaDB := db.IsMariaDB()
		db.Exec("CREATE TABLE five (i INT PRIMARY KEY AUTO_INCREMENT, c CHAR(5), d DATE, a INT, b INT);" +
			"INSERT INTO five (c, d, a, b) VALUES ('a', '2024-03-03', 1, 3), ('b', '2024-03-04', 1, 3), ('c', '2024-03-05', 1, 3), ('d', '2024-03-06', 1, 3), ('e', '2024-03-07', 1, 3)")
		hostile := map[string]string{
			"sql_select_limit": "3", "group_concat_max_len": "4", "div_precision_increment": "9", "default_week_format": "1", "lc_time_names": "'de_DE'",
			"sql_mode": "CONCAT(@@GLOBAL.sql_mode, ',PAD_CHAR_TO_FULL_LENGTH')", "autocommit": "0", "sql_auto_is_null": "1", "max_sort_length": "8", "max_error_count": "0",
			"init_connect": "'SET SESSION timestamp = 86400, SESSION sql_select_limit = 2, NAMES latin1'",
		}
		isolation := "transaction_isolation"
		if mariaDB {
			hostile["default_regex_flags"], hostile["old_mode"], isolation = "'EXTENDED'", "'ZERO_DATE_TIME_CAST'", "tx_isolation"
			hostile["system_versioning_asof"] = "'2001-01-01 00:00:00'"
		} else {
			delete(hostile, "max_error_count")
			hostile["windowing_use_high_precision"], hostile["show_gipk_in_create_table_and_information_schema"] = "0", "0"
			db.Exec("SET SESSION sql_generate_invisible_primary_key = 1; CREATE TABLE keyless (a INT); INSERT INTO keyless VALUES (5)")
		}
		hostile[isolation] = "'READ-UNCOMMITTED'"
		var saved []string
		for name := range hostile {
			value := strings.TrimSuffix(db.Query("SELECT @@GLOBAL."+name), "\n")
			if strings.Trim(value, "0123456789") != "" || value == "" {
				value = "'" + value + "'"
			}
			if name == "system_versioning_asof" {
				value = "DEFAULT"
			}
			saved = append(saved, "SET GLOBAL "+name+" = "+value)
		}
		reader := db.Database() + "_r"
		db.Exec("CREATE USER " + reader + " IDENTIFIED BY 'pw'; GRANT SELECT ON *.* TO " + reader)
		t.Cleanup(func() { db.Exec(strings.Join(saved, ";") + "; DROP USER " + reader) })
		for name, value := range hostile {
			db.Exec("SET GLOBAL " + name + " = " + value)
		}
		for _, user := range []string{db.DSN(db.Database()), db.UserDSN(reader, "pw", db.Database())} { // init_connect is not for root
			got := mustRead(t, settings{"url": user, "request": settings{"table_name": "five", "allowed_tables": "*"}})
			if len(got.rows) != 5 || len(got.rows[0]) != 5 || got.rows[0][1] != "a" {
				t.Errorf("the table is %q", got.rows)
			}
			got = mustRead(t, settings{"url": user, "query": "SELECT (SELECT GROUP_CONCAT(c ORDER BY i) FROM five), a / b, WEEK(d), DAYNAME(d), " +
				"NOW() > '2020-01-01', 'é', CONCAT('[', c, ']'), @@" + isolation + ", @@autocommit FROM five WHERE i = 1"})
			wantRows(t, got, []string{"a,b,c,d,e", "0.3333", "9", "Sunday", "1", "é", "[a]", "REPEATABLE-READ", "1"})
			if !mariaDB {
				request := settings{"table_name": "keyless", "allowed_tables": "*"}
				if got := mustRead(t, settings{"url": user, "request": request}); got.counters["columns_invisible"] != 1 {
					t.Errorf("a generated primary key: counters %v", got.counters)
				}
				request["columns"] = "my_row_id,a"
				wantRows(t, mustRead(t, settings{"url": user, "request": request}), []string{"1", "5"})
			}
			for name := range hostile {
				if name == "sql_mode" || name == "init_connect" {
					continue
				}
				value := strings.Trim(hostile[name], "'")
				if got := mustRead(t, settings{"url": user, "query": "SELECT CONCAT(@@SESSION." + name + ", '')"}); got.rows[0][0] == value {
					t.Errorf("%s is still %q", name, value)
				}
			}
		}
	})
}
