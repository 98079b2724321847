package mysqlsource

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk"
)

// loadZone gives the server the table of a zone, as mysql_tzinfo_to_sql would, shifted by so many seconds.
func loadZone(t *testing.T, db *servers.Server, zone, as string, shift int) {
	t.Helper()
	if db.Query("SELECT COUNT(*) FROM mysql.time_zone_name WHERE Name = '"+as+"'") != "0\n" {
		return
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	offsets, moves := []int{}, []string{}
	for at := time.Unix(0, 0); at.Year() < 2038; {
		_, offset := at.In(location).Zone()
		if !slices.Contains(offsets, offset+shift) {
			offsets = append(offsets, offset+shift)
		}
		moves = append(moves, fmt.Sprintf("(@id, %d, %d)", at.Unix(), slices.Index(offsets, offset+shift)))
		_, next := at.In(location).ZoneBounds()
		if next.IsZero() {
			break
		}
		at = next
	}
	types := make([]string, len(offsets))
	for i, offset := range offsets {
		types[i] = fmt.Sprintf("(@id, %d, %d, 0, 'T')", i, offset)
	}
	db.Exec("INSERT INTO mysql.time_zone (Use_leap_seconds) VALUES ('N'); SET @id = LAST_INSERT_ID();" +
		"INSERT INTO mysql.time_zone_name VALUES ('" + as + "', @id);" +
		"INSERT INTO mysql.time_zone_transition_type VALUES " + strings.Join(types, ", ") + ";" +
		"INSERT INTO mysql.time_zone_transition VALUES " + strings.Join(moves, ", "))
}

// shown is how an instant of UTC is written with the offset of a zone.
func shown(t *testing.T, zone, instant string) string {
	t.Helper()
	at, err := time.Parse(time.DateTime+".999", instant)
	if err != nil {
		return instant
	}
	location := map[string]*time.Location{"+00:00": time.UTC, "+10:00": time.FixedZone("", 36000), "-03:30": time.FixedZone("", -12600)}[zone]
	if location == nil {
		if location, err = time.LoadLocation(zone); err != nil {
			t.Fatal(err)
		}
	}
	return at.In(location).Format("2006-01-02 15:04:05.999Z0700")
}

// TestInstants: a TIMESTAMP is the instant that was stored, whatever the session's zone is.
func TestInstants(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		loadZone(t, db, "Australia/Sydney", "Australia/Sydney", 0)
		loadZone(t, db, "Australia/Sydney", "Practice/Own", 600)
		db.Exec("SET time_zone = '+00:00', sql_mode = '';" +
			"CREATE TABLE seen (id INT PRIMARY KEY, ts TIMESTAMP NOT NULL DEFAULT '2000-01-01', fine TIMESTAMP(3) NULL, dt DATETIME);" +
			"INSERT INTO seen VALUES (1, '2026-04-04 15:30:00', '2026-04-04 15:30:00.125', '2026-01-01'), (2, '2026-04-04 16:30:00', '2026-04-04 16:30:00.125', NULL)," +
			"(3, '2026-07-01 00:00:00', NULL, NULL), (4, '1970-01-01 00:00:01', '2038-01-19 03:14:07.999', NULL);" +
			"CREATE TABLE zero (id INT, ts TIMESTAMP NULL); INSERT INTO zero VALUES (1, '0000-00-00');" +
			"CREATE VIEW of_seen AS SELECT id, ts, CURDATE() AS today FROM seen;\nDELIMITER //\n" +
			"CREATE PROCEDURE moves() BEGIN SET time_zone = '+05:00'; SELECT ts FROM seen; END //\n")
		url := db.DSN(db.Database())
		for zone, named := range map[string]string{"+00:00": "UTC", "+10:00": "+10:00", "-03:30": "-03:30", "Australia/Sydney": "Australia/Sydney"} {
			stored := [][]string{
				{"1", "2026-04-04 15:30:00", "2026-04-04 15:30:00.125"}, {"2", "2026-04-04 16:30:00", "2026-04-04 16:30:00.125"},
				{"3", "2026-07-01 00:00:00", "(null)"}, {"4", "1970-01-01 00:00:01", "2038-01-19 03:14:07.999"},
			}
			for _, row := range stored {
				row[1], row[2] = shown(t, zone, row[1]), shown(t, zone, row[2])
			}
			// A query and a view give local times, of which those of the doubled hour could be either instant.
			local := slices.Clone(stored)
			if zone == "Australia/Sydney" {
				local[1] = []string{"2", stored[0][1], stored[0][2]}
			}
			for _, protocol := range []string{"binary", "text"} {
				table := func(name, columns string) settings {
					return settings{"url": url, "time_zone": zone, "protocol": protocol, "request": settings{"table_name": name, "columns": columns, "allowed_tables": "*"}}
				}
				got := mustRead(t, table("seen", "id,ts,fine"))
				wantRows(t, got, stored...)
				if ts := got.schema.Field(1); ts.Type.(*arrow.TimestampType).TimeZone != named || ts.Nullable || ts.Name != "ts" {
					t.Errorf("%s: %v", zone, ts)
				}
				if fine := got.schema.Field(2); fine.Type.(*arrow.TimestampType).Unit != arrow.Millisecond || !fine.Nullable {
					t.Errorf("%s: %v", zone, fine)
				}
				if got.facts["time_zone"] != zone {
					t.Errorf("facts %v", got.facts)
				}
				if got := mustRead(t, table("of_seen", "id,ts")); len(got.rows) != 4 {
					t.Errorf("%s: %q", zone, got.rows)
				} else if slices.SortFunc(got.rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) }); got.rows[1][1] != local[1][1] {
					t.Errorf("%s: the view gives %q", zone, got.rows)
				}
				_, err := read(t, table("zero", "id,ts"))
				wantFault(t, err, "mysql.zero_date")
				null := table("zero", "id,ts")
				null["zero_dates"] = "null"
				wantRows(t, mustRead(t, null), []string{"1", "(null)"})
				text := table("zero", "id,ts")
				text["zero_dates"] = "text"
				wantRows(t, mustRead(t, text), []string{"1", "0000-00-00 00:00:00"})

				query := settings{"url": url, "time_zone": zone, "protocol": protocol, "query": "SELECT id, ts, fine FROM seen ORDER BY id"}
				got = mustRead(t, query)
				wantRows(t, got, local...)
				mark, _ := got.schema.Field(1).Metadata.GetValue(sdk.MetaLocalTime)
				if (mark == "true") != (zone == "Australia/Sydney") {
					t.Errorf("%s: %v", zone, got.schema.Field(1))
				}
				_, err = read(t, settings{"url": url, "time_zone": zone, "protocol": protocol, "call": "moves"})
				wantFault(t, err, "mysql.time_zone")
			}
		}
		// The days of a range are the session's: 2 April from 13:00 UTC of 1 April, and 5 April of 25 hours.
		got := mustRead(t, settings{"url": url, "time_zone": "Australia/Sydney", "request": settings{"table_name": "seen", "columns": "id",
			"date_column": "ts", "from_date": "2026-04-05", "to_date": "2026-07-01", "allowed_tables": "*"}})
		wantRows(t, got, []string{"1"}, []string{"2"}, []string{"3"})
		// A table of the server's own that is no zone of ours: local time, as its client shows it.
		got = mustRead(t, settings{"url": url, "time_zone": "Practice/Own", "query": "SELECT ts FROM seen WHERE id = 3"})
		if wantRows(t, got, []string{"2026-07-01 10:10:00Z"}); got.schema.Field(0).Type.(*arrow.TimestampType).TimeZone != "" {
			t.Errorf("%v", got.schema)
		}
	})
}
