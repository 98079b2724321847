package mysqlsource

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestTimestampArguments: an argument for a TIMESTAMP is local time of the session. What it cannot hold is refused, also
// where the server's mode would make another time of it.
func TestTimestampArguments(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		loadZone(t, db, "Australia/Sydney", "Australia/Sydney", 0)
		db.Exec("DELIMITER //\nCREATE PROCEDURE says(t TIMESTAMP(3)) SELECT CAST(t AS CHAR) AS t//\n")
		mode := strings.TrimSuffix(db.Query("SELECT @@GLOBAL.sql_mode"), "\n")
		db.Exec("SET GLOBAL sql_mode = ''")
		t.Cleanup(func() { db.Exec("SET GLOBAL sql_mode = '" + mode + "'") })
		for _, c := range []struct {
			zone, argument string
			taken          bool
		}{
			{"+10:00", "1970-01-01 10:00:00", false}, {"+10:00", "1970-01-01 10:00:01", true}, {"+10:00", "1970-01-01 05:00:00", false},
			{"+10:00", "2038-01-19 13:14:07.999", true}, {"+10:00", "2038-01-19 13:14:08", false}, {"-10:00", "2038-01-19", false},
			{"+00:00", "1970-01-01 00:00:01", true}, {"+00:00", "2038-01-19 03:14:07", true}, {"+00:00", "2026-10-04 02:30:00", true},
			{"Australia/Sydney", "2026-10-04 02:30:00", false}, {"Australia/Sydney", "2026-10-04 03:00:00", true}, {"Australia/Sydney", "2026-04-05 02:30:00.5", true},
		} {
			got, err := read(t, settings{"url": db.DSN(db.Database()), "time_zone": c.zone,
				"request": settings{"procedure_name": "says", "arguments": `["` + c.argument + `"]`, "allowed_procedures": "*"}})
			if !c.taken {
				if f := wantFault(t, err, "mysql.argument"); !strings.Contains(f.Message, "argument 1 (t timestamp(3))") || !strings.Contains(f.Message, c.zone) {
					t.Errorf("%s at %s: %v", c.argument, c.zone, f)
				}
				continue
			}
			if err != nil || !strings.HasPrefix(got.rows[0][0], c.argument) {
				t.Errorf("%s at %s: %v, %v", c.argument, c.zone, got.rows, err)
			}
		}
	})
}
