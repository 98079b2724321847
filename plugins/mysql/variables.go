package mysql

import (
	"errors"
	"strconv"
	"strings"
)

// A sessionVariable is a system variable by which a server, an account or init_connect can
// change the rows, the columns or the text of a result, and what is done about it.
type sessionVariable struct {
	name string
	// value is what a session sets it to, as SQL; empty leaves it as the server has it.
	value string
	// on is "MySQL" or "MariaDB", or empty for both.
	on string
	// why says what it changes, or why it stays the server's.
	why string
}

// sessionVariables are those of MySQL 9 and MariaDB 10.11 and 11. Whatever changes what a
// result holds without an error is pinned; what is the practice's own way to read its data,
// as its own client shows it, stays, and what ends in an error needs no guard. time_zone,
// net_write_timeout and the time limits have settings of their own, SET NAMES sets the
// character set, and the isolation and access mode of transactions are in readonly.go.
var sessionVariables = []sessionVariable{
	{"autocommit", "1", "", "off, statements after a COMMIT begin transactions of their own"},
	{"sql_select_limit", "9223372036854775807", "", "cuts every SELECT after so many rows"},
	{"group_concat_max_len", "1073741824", "", "cuts GROUP_CONCAT after so many bytes, with a warning"},
	{"sql_auto_is_null", "0", "", "on, WHERE id IS NULL finds the row inserted last"},
	{"div_precision_increment", "4", "", "the digits that a division adds"},
	{"default_week_format", "0", "", "what WEEK() counts"},
	{"lc_time_names", "'en_US'", "", "the language of DAYNAME, MONTHNAME and DATE_FORMAT"},
	{"max_sort_length", "1024", "", "how much of a text ORDER BY looks at, and so which rows a LIMIT takes"},
	{"max_error_count", "64", "MariaDB", "how many warnings can be seen; 0 hides all of them"},
	{"timestamp", "DEFAULT", "", "a set one stops the clock of NOW() and CURDATE()"},
	{"sql_mode", "REPLACE(@@SESSION.sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')", "",
		"this mode pads CHAR values with spaces; the other modes stay, because queries and views are written for them"},
	{"windowing_use_high_precision", "1", "MySQL", "off, window functions add up with rounding errors"},
	{"show_gipk_in_create_table_and_information_schema", "1", "MySQL", "off, the catalogue hides a primary key that the server generated, so that nobody hears of an invisible column"},
	{"default_regex_flags", "''", "MariaDB", "what REGEXP finds"},
	{"old_mode", "'UTF8_IS_UTF8MB3'", "MariaDB", "how a TIME becomes a DATETIME, and what the name utf8 means"},
	{"system_versioning_asof", "DEFAULT", "MariaDB", "shows system-versioned tables as they were at another time"},

	{"max_error_count", "", "MySQL", "an account needs a privilege to set it; warnings are counted all the same"},
	{"sql_big_selects", "", "", "off, a large join is an error (1104), by which the server protects itself"},
	{"max_join_size", "", "", "likewise"},
	{"sql_safe_updates", "", "", "about UPDATE and DELETE only"},
	{"max_statement_time", "", "MariaDB", "ends in an error (1969) unless the setting timeout says otherwise"},
	{"max_execution_time", "", "MySQL", "ends in an error (3024) unless the setting timeout says otherwise"},
	{"max_recursive_iterations", "", "MariaDB",
		"ends a recursion early with warning 1931, which fails the run; unbounded, a mistake would never end"},
	{"cte_max_recursion_depth", "", "MySQL", "ends in an error (3636)"},
	{"max_allowed_packet", "", "", "a longer text is NULL with warning 1301, which fails the run; a session cannot change it"},
	{"optimizer_switch", "", "", "changes how rows are found, not which"},
	{"collation_connection", "", "", "how literals compare; columns have collations of their own, which win"},
	{"block_encryption_mode", "", "", "what AES_DECRYPT gives; the practice's values are encrypted with its own"},
	{"lc_messages", "", "", "the language of errors, which are known by number"},
	{"wait_timeout", "", "", "ends idle connections with an error; a reader that is slow is no idle connection"},
}

// unknownTo reports that a server knows a variable not, or the value not, which older ones
// have no need of: ER_UNKNOWN_SYSTEM_VARIABLE and ER_WRONG_VALUE_FOR_VAR. Dolt and the sandbox's
// server have one number, ER_UNKNOWN_ERROR, for much, and the first one's text.
func unknownTo(err error) bool {
	var server *serverError
	return isErrno(err, 1193) || isErrno(err, 1231) ||
		errors.As(err, &server) && server.errno == 1105 && strings.HasPrefix(server.message, "Unknown system variable ")
}

// pinned gives the assignments for a server.
func pinned(s *Settings, mariaDB bool) (assignments []string) {
	for _, v := range sessionVariables {
		if v.value != "" && (v.on == "" || (v.on == "MariaDB") == mariaDB) {
			assignments = append(assignments, v.name+" = "+v.value)
		}
	}
	seconds := int64((s.NetWriteTimeout.Seconds()) + 0.999999999)
	assignments = append(assignments, "net_write_timeout = "+strconv.FormatInt(seconds, 10))
	if s.Timeout > 0 && mariaDB {
		assignments = append(assignments, "max_statement_time = "+strconv.FormatFloat(s.Timeout.Seconds(), 'f', 6, 64))
	} else if s.Timeout > 0 {
		assignments = append(assignments,
			"max_execution_time = "+strconv.FormatInt(max(1, s.Timeout.Milliseconds()), 10))
	}
	return assignments
}

// pin sets the variables, all at once, or one by one where a server does not know each:
// what it does not know it cannot change.
func (ses *session) pin(s *Settings) error {
	assignments := pinned(s, ses.mariaDB)
	_, err := ses.run("SET SESSION " + strings.Join(assignments, ", SESSION "))
	if !unknownTo(err) {
		return err
	}
	for _, assignment := range assignments {
		if _, err := ses.run("SET SESSION " + assignment); err != nil && !unknownTo(err) {
			return err
		}
	}
	return nil
}
