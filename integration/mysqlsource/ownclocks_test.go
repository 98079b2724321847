package mysqlsource

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/csv"
)

// ownClocks is a system's zone that is in no database: ten minutes off those of the east of Australia, summer time included.
const ownClocks = "PRA-10:10PRD-11:10,M10.1.0,M4.1.0/3"

// TestOwnClocks: where the system's zone has a name that nobody can resolve, a TIMESTAMP of a table is the instant that was
// stored all the same, in the doubled hour too, and text shows what the client shows. Of a query the server gives local times.
func TestOwnClocks(t *testing.T) {
	for name, db := range servers.PrivateIn(t, ownClocks) {
		t.Run(name, func(t *testing.T) {
			db := db.For(t)
			db.Exec("SET time_zone = '+00:00', sql_mode = '';" +
				"CREATE TABLE moments (id INT PRIMARY KEY AUTO_INCREMENT, ts TIMESTAMP NULL, milli TIMESTAMP(3) NULL, fine TIMESTAMP(6) NULL, dt DATETIME, INDEX (ts));" +
				"INSERT INTO moments (ts) VALUES ('1970-01-01 00:00:01'), ('2026-01-15 12:00:00'), ('2026-07-15 12:00:00'), (NULL), ('2038-01-19 03:14:07')," +
				"('2026-04-04 14:49:59'), ('2026-04-04 14:50:00'), ('2026-04-04 15:20:00'), ('2026-04-04 15:49:59'), ('2026-04-04 15:50:00')," + // clocks go back at 15:50,
				"('2026-04-04 16:20:00'), ('2026-04-04 16:49:59'), ('2026-04-04 16:50:00')," + // and show an hour twice
				"('2026-10-03 15:49:59'), ('2026-10-03 15:50:00');" +
				"UPDATE moments SET milli = ts + INTERVAL 125000 MICROSECOND, fine = ts + INTERVAL 250001 MICROSECOND WHERE id <> 5;" +
				"UPDATE moments SET dt = '2026-04-05 02:30:00';" +
				"CREATE TABLE zero (id INT, ts TIMESTAMP(2) NULL); INSERT INTO zero VALUES (1, '0000-00-00'), (2, NULL), (3, '2026-04-04 15:20:00.25');" +
				"SET time_zone = SYSTEM; CREATE TABLE days (id INT PRIMARY KEY, ts TIMESTAMP); INSERT INTO days VALUES (1, '2026-02-28 23:59:59'), (2, '2026-03-01 00:00:00'), (3, '2026-03-02 00:00:00')")
			want := strings.Split(strings.TrimSuffix(db.Query("SET time_zone = '+00:00'; SELECT id, ts, milli, fine, dt FROM moments ORDER BY id"), "\n"), "\n")
			client := db.Query("SELECT * FROM moments ORDER BY id")
			if !strings.Contains(client, "8\t2026-04-05 02:30:00\t2026-04-05 02:30:00.125\t") || !strings.Contains(client, "11\t2026-04-05 02:30:00\t") {
				t.Fatalf("the server's clocks are others:\n%s", client)
			}
			url := db.DSN(db.Database())
			table := func(name, columns, protocol string) settings {
				return settings{"url": url, "protocol": protocol, "request": settings{"table_name": name, "columns": columns, "allowed_tables": "*"}}
			}
			for _, protocol := range []string{"binary", "text"} {
				got := mustRead(t, table("moments", "id,ts,milli,fine,dt", protocol))
				for i, line := range want {
					fields := strings.Split(line, "\t")
					for column, text := range fields {
						if text == "NULL" {
							fields[column] = "(null)"
							continue
						}
						if column == 0 {
							continue
						}
						if strings.Contains(text, ".") {
							text = strings.TrimRight(text, "0")
						}
						fields[column] = text + "Z"
					}
					if fmt.Sprint(got.rows[i]) != fmt.Sprint(fields) {
						t.Errorf("%s: row %d is %q, want %q", protocol, i+1, got.rows[i], fields)
					}
				}
				for i, unit := range []arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond} {
					if kind := got.schema.Field(i + 1).Type.(*arrow.TimestampType); kind.TimeZone != "UTC" || kind.Unit != unit {
						t.Errorf("%s: column %d is %v", protocol, i+1, kind)
					}
				}
				if kind := got.schema.Field(4).Type.(*arrow.TimestampType); kind.TimeZone != "" {
					t.Errorf("%s: the DATETIME is %v", protocol, kind)
				}
				if zone := got.facts["time_zone"]; !strings.HasPrefix(zone, "SYSTEM (PR") {
					t.Errorf("the receipt names %q", zone)
				}
				text := string(encoded(t, table("moments", "id,ts,milli,fine,dt", protocol), csv.Stage(), `{"header": false, "delimiter": "tab", "line_end": "lf"}`))
				if want := strings.ReplaceAll(client, "NULL", ""); text != want {
					t.Errorf("%s: the text is\n%s\nthe client shows\n%s", protocol, text, want)
				}

				_, err := read(t, table("zero", "id,ts", protocol))
				wantFault(t, err, "mysql.zero_date")
				null := table("zero", "id,ts", protocol)
				null["zero_dates"] = "null"
				wantRows(t, mustRead(t, null), []string{"1", "(null)"}, []string{"2", "(null)"}, []string{"3", "2026-04-04 15:20:00.25Z"})
				asText := table("zero", "id,ts", protocol)
				asText["zero_dates"] = "text"
				wantRows(t, mustRead(t, asText), []string{"1", "0000-00-00 00:00:00.00"}, []string{"2", "(null)"}, []string{"3", "2026-04-05 02:30:00.25"})

				march := table("days", "id", protocol)
				march["request"].(settings)["date_column"], march["request"].(settings)["from_date"], march["request"].(settings)["to_date"] = "ts", "2026-03-01", "2026-03-01"
				wantRows(t, mustRead(t, march), []string{"2"})

				query := mustRead(t, settings{"url": url, "protocol": protocol, "query": "SELECT ts FROM moments WHERE id IN (8, 11) ORDER BY id"})
				wantRows(t, query, []string{"2026-04-05 02:30:00Z"}, []string{"2026-04-05 02:30:00Z"})
				if kind := query.schema.Field(0).Type.(*arrow.TimestampType); kind.TimeZone != "" {
					t.Errorf("of a query: %v", kind)
				}
			}
		})
	}
}
