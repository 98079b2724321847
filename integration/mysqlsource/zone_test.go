package mysqlsource

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestTimeZone: what is read is what the practice's own client shows, on a server that is
// not at UTC.
func TestTimeZone(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("SET GLOBAL time_zone = '+10:00'")
		t.Cleanup(func() { db.Exec("SET GLOBAL time_zone = '+00:00'") })
		db.Exec("SET time_zone = '+10:00'; CREATE TABLE visit (id INT PRIMARY KEY, ts TIMESTAMP NULL, dt DATETIME);" +
			"INSERT INTO visit VALUES (1, '2026-02-28 23:59:59', '2026-02-28 23:59:59'), (2, '2026-03-01 00:30:00', '2026-03-01 00:30:00'), (3, '2026-03-01 11:00:00', '2026-03-01 11:00:00');" +
			// Of both days, where the test begins before a midnight and ends behind it.
			"CREATE TABLE today (d DATE); INSERT INTO today VALUES (CURDATE()), (CURDATE() + INTERVAL 1 DAY); CREATE VIEW of_today AS SELECT 1 AS n FROM today WHERE d = CURDATE()")
		ask := func(request settings, zone string) settings {
			request["allowed_tables"] = "*"
			return settings{"url": db.DSN(db.Database()), "request": request, "time_zone": zone}
		}
		march := func() settings {
			return settings{"table_name": "visit", "columns": "id,ts", "date_column": "ts", "from_date": "2026-03-01"}
		}
		for _, zone := range []string{"server", "+10:00"} {
			got := mustRead(t, ask(march(), zone))
			wantRows(t, got, []string{"2", "2026-03-01 00:30:00+1000"}, []string{"3", "2026-03-01 11:00:00+1000"})
			if ts := got.schema.Field(1).Type.(*arrow.TimestampType); ts.TimeZone != "+10:00" || got.facts["time_zone"] != "+10:00" {
				t.Errorf("%v, zone %q", ts, got.facts["time_zone"])
			}
			if client := db.Query("SELECT id, ts FROM visit WHERE ts >= '2026-03-01' ORDER BY id"); client != "2\t2026-03-01 00:30:00\n3\t2026-03-01 11:00:00\n" {
				t.Errorf("the client shows %q", client)
			}
		}
		for _, zone := range []string{"+00:00", "UTC"} { // which neither server has tables for
			got := mustRead(t, ask(march(), zone))
			wantRows(t, got, []string{"3", "2026-03-01 01:00:00Z"})
			if ts := got.schema.Field(1).Type.(*arrow.TimestampType); ts.TimeZone != "UTC" {
				t.Errorf("an instant is %v", ts)
			}
		}
		wantRows(t, mustRead(t, ask(settings{"table_name": "of_today"}, "server")), []string{"1"})
		_, err := read(t, ask(march(), "Nowhere/Nothing"))
		if f := wantFault(t, err, "mysql.time_zone"); !strings.Contains(f.Hint, "+10:00") {
			t.Errorf("the hint is %q", f.Hint)
		}
		_, err = read(t, ask(march(), "+00:00'; DROP TABLE visit; -- "))
		wantFault(t, err, "mysql.settings")
	})
}

func TestGeometry(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE g (g GEOMETRY); INSERT INTO g VALUES (ST_GeomFromText('POINT(1 2)', 4326))")
		if !db.IsMariaDB() {
			db.Exec("DELETE FROM g; INSERT INTO g VALUES (ST_GeomFromText('POINT(1 2)', 4326, 'axis-order=long-lat'))")
		}
		wkb := mustRead(t, settings{"url": db.DSN(db.Database()), "query": "SELECT g FROM g"})
		ewkb := mustRead(t, settings{"url": db.DSN(db.Database()), "query": "SELECT g FROM g", "geometry": "ewkb"})
		wantRows(t, wkb, []string{"AQEAAAAAAAAAAADwPwAAAAAAAABA"})
		wantRows(t, ewkb, []string{"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAAQA=="})
	})
}

// TestBrokenView: a view of what is gone says so, and not that there is no table.
func TestBrokenView(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE gone (id INT); CREATE VIEW stale AS SELECT id FROM gone; DROP TABLE gone")
		_, err := read(t, settings{"url": db.DSN(db.Database()), "request": settings{"table_name": "stale", "allowed_tables": "*"}})
		wantFault(t, err, "mysql.broken_view")
		_, err = read(t, settings{"url": db.DSN(db.Database()), "query": "SELECT * FROM stale"})
		wantFault(t, err, "mysql.broken_view")
	})
}

// TestStrangeColumnNames: a name with a comma can be asked for.
func TestStrangeColumnNames(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		db.Exec("CREATE TABLE s (`a,b` INT, a INT, b INT, `[` INT); INSERT INTO s VALUES (1, 2, 3, 4)")
		for columns, want := range map[string][]string{`["a,b", "b"]`: {"1", "3"}, "a,b": {"2", "3"}, "[": {"4"}, `["["]`: {"4"}} {
			got := mustRead(t, settings{"url": db.DSN(db.Database()), "request": settings{"table_name": "s", "columns": columns, "allowed_tables": "*"}})
			wantRows(t, got, want)
		}
	})
}
