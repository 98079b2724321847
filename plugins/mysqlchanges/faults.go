package mysqlchanges

import (
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of this package's faults, beside those of the packages below it.
const (
	codeSettings = "changes.settings"
	codePosition = binlog.CodePosition
	// codeUnknownTable: a table that is not there, or is none.
	codeUnknownTable = "changes.unknown_table"
	// codeKey: a table without a primary key.
	codeKey = "changes.key"
	// codeTableChanged: a table was altered, dropped, renamed or replaced.
	codeTableChanged = "changes.table_changed"
	// codeStatement: a statement has changed rows, and the log has the statement instead of the rows.
	codeStatement = "changes.statement"
	// codeRowImage: rows of the log lack columns.
	codeRowImage = "changes.row_image"
	// codePartialJSON: rows of the log have parts of JSON documents only.
	codePartialJSON = "changes.partial_json"
	// codeXA: a transaction in two phases, over several servers.
	codeXA = "changes.xa"
	// codeRolledBack: rows are in the log that are not valid.
	codeRolledBack = "changes.rolled_back"
	// codeIncident: the server says that its log lacks something.
	codeIncident = "changes.incident"
	// codeEvent: an event of the log is of a sort that nobody here knows.
	codeEvent = "changes.unknown_event"
	// codePositionSize: the position is longer than one may be.
	codePositionSize = "changes.position_size"
)

// copyAnew is what to do about rows that cannot be known from the log any more.
const copyAnew = "then reset the stream from 0, so that everything is copied first"

// stop is a fault about the transaction at a place of the log. What was delivered before it is good.
func stop(code string, at binlog.Position, format string, args ...any) *fault.Fault {
	f := fault.New(code, fault.Source, format, args...)
	f.Message += ", in the transaction at " + at.String()
	return f.WithDetail("log_file", at.File).WithDetail("log_position", at.String())
}
