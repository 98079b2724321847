package binlog

import (
	"strings"

	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of this package's faults.
const (
	// CodeNoLog: the server writes no binary log.
	CodeNoLog = "changes.no_log"
	// CodePosition: a position that cannot be read.
	CodePosition = "changes.position"
	// CodePositionLost: the server does not have any more what follows the position.
	CodePositionLost = "changes.position_lost"
	// CodeOtherHistory: the server's log is not the one that the position is of.
	CodeOtherHistory = "changes.other_history"
	// CodeServerID: another replica has the server id.
	CodeServerID = "changes.server_id"
	// CodeLog: the log, or how the server sends it, is not as it has to be.
	CodeLog = "changes.log"
	// CodeEventSize: an event of the log is larger than what is taken.
	CodeEventSize = "changes.event_size"
	// CodeConnectionLost: the server is not there any more.
	CodeConnectionLost = "changes.connection_lost"
)

const anew = "what was between is not in the log any more: reset the stream from 0, so that everything is copied first"

func malformed(format string, args ...any) *fault.Fault {
	return fault.New(CodeLog, fault.Source, "malformed data from the server: "+format, args...).
		WithHint("check the server's error log, its disks, and any proxy in between")
}

// errnoReadingLog is ER_SOURCE_FATAL_ERROR_READING_BINLOG: all that goes wrong on a server that sends its log.
const errnoReadingLog = 1236

// refused codes the server's answer to what asked for its log from a position on.
func refused(err error, from Position) error {
	number, message, is := mysql.ServerError(err)
	if !is {
		return err
	}
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(message, part) {
				return true
			}
		}
		return false
	}
	switch {
	case number == 1045 || number == 1142 || number == 1227:
		return fault.New("mysql.access_denied", fault.Source, "the account may not read the binary log: %w", err).
			WithHint("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO the account (MariaDB: BINLOG MONITOR as well)")
	case number != errnoReadingLog:
		return fault.New(CodeLog, fault.Source, "the server does not send its log: %w", err).WithHint("see the server's message")
	case has("same server_uuid", "same server_id"):
		return fault.New(CodeServerID, fault.Source, "another replica of the server has the same server id: %w", err).
			WithHint("leave server_id out, so that a free one is chosen, and let nothing but this stream follow the log with it").WithRetry()
	case has("purged", "Could not find first log file", "Could not find GTID state", "could not find next log", "Could not open log file"):
		return lost(from).WithDetail("server_message", message)
	case has("more GTIDs than", "not in the", "is missing the GTID", "diverged", "position > file size", "impossible position", "log event entry exceeded"):
		if has("exceeded") {
			break
		}
		return otherHistory(from).WithDetail("server_message", message)
	case has("truncated in the middle of event"):
		return fault.New(CodeLog, fault.Source, "the server cannot read its log: %w", err).
			WithHint("the server was killed while it wrote its log, and half an event stands at the end of a file: %s", anew)
	}
	return fault.New(CodeLog, fault.Source, "the server cannot read its log: %w", err).
		WithHint("see the server's message and its error log")
}

func lost(from Position) *fault.Fault {
	return fault.New(CodePositionLost, fault.Source, "the server has purged what follows %s from its binary log", from).
		WithHint("%s. Raise binlog_expire_logs_seconds above the longest time that the stream may stand", anew)
}

func otherHistory(from Position) *fault.Fault {
	return fault.New(CodeOtherHistory, fault.Source, "the server's binary log is not the one that the position %s is of", from).
		WithHint("the server was restored, rebuilt, or is another one: lead the URL to the server that was followed, or to a replica of it, or reset the stream from 0")
}
