package mysql

import (
	"regexp"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// zoneServer is the value of the setting time_zone that leaves the zone as the server has it.
const zoneServer = "server"

var zonePattern = regexp.MustCompile(`^[A-Za-z0-9_+:/-]{1,64}$`)

// setZone sets the session's time zone, when one is asked for, and finds out which holds.
// What SQL computes (CURDATE, a range on a TIMESTAMP) and what the text of a TIMESTAMP
// shows is then what a client of the practice's own shows.
func (ses *session) setZone(zone string) error {
	if zone != zoneServer {
		_, err := ses.run("SET SESSION time_zone = '" + zone + "'")
		if isErrno(err, 1298) {
			return fault.New(codeTimeZone, fault.Source, "the server does not know the time zone %s", shown(zone)).
				WithHint("write an offset such as +10:00, or load the server's time zone tables (mysql_tzinfo_to_sql)")
		}
		if err != nil {
			return err
		}
	}
	row, err := ses.run("SELECT @@SESSION.time_zone, @@system_time_zone")
	if err != nil {
		return err
	}
	if len(row) != 2 {
		return protocolFault("the server does not say its time zone")
	}
	name := row[0]
	if strings.EqualFold(name, "SYSTEM") {
		name = row[1]
		ses.facts["time_zone"] = "SYSTEM (" + name + ")"
	} else {
		ses.facts["time_zone"] = name
	}
	ses.utc = isUTC(name)
	return nil
}

// isUTC reports whether a zone is UTC at any time, under any of the names that a server
// gives it. GMT is not one: as the name of a system's zone it is London's in winter.
func isUTC(name string) bool {
	switch strings.ToUpper(name) {
	case "UTC", "+00:00", "-00:00", "ETC/UTC":
		return true
	}
	return false
}
