package mysql

import (
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of this package's faults.
const (
	codeSettings         = "mysql.settings"
	codeConnect          = "mysql.connect"
	codeAuth             = "mysql.auth"
	codeTLS              = "mysql.tls"
	codeConnectionLost   = "mysql.connection_lost"
	codeProtocol         = "mysql.protocol"
	codeQuery            = "mysql.query"
	codeSyntax           = "mysql.syntax"
	codeUnknownProcedure = "mysql.unknown_procedure"
	codeArgumentCount    = "mysql.argument_count"
	codeArgument         = "mysql.argument"
	codeUnknownTable     = "mysql.unknown_table"
	codeUnknownDatabase  = "mysql.unknown_database"
	codeAccessDenied     = "mysql.access_denied"
	codeReadOnly         = "mysql.read_only"
	codeTableChanged     = "mysql.table_changed"
	codeSignal           = "mysql.signal"
	codeKilled           = "mysql.killed"
	codeTimeout          = "mysql.timeout"
	codeLockWait         = "mysql.lock_wait"
	codeDeadlock         = "mysql.deadlock"
	codeSnapshot         = "mysql.snapshot"
	codePrepare          = "mysql.prepare"
	codeNoResultSet      = "mysql.no_result_set"
	codeType             = "mysql.type"
	codeValue            = "mysql.value"
	codeZeroDate         = "mysql.zero_date"
	codeTimeZone         = "mysql.time_zone"
	codeBrokenView       = "mysql.broken_view"
	codeWarning          = "mysql.warning"
	codeResultSets       = "mysql.result_sets"
	codeFloat            = "mysql.float"
	codeRowSize          = "mysql.row_size"

	// What is wrong with a request; codeArgumentCount and codeArgument are, too.
	codeRequest               = "mysql.request"
	codeTableNotAvailable     = "mysql.table_not_available"
	codeProcedureNotAvailable = "mysql.procedure_not_available"
	codeUnknownColumn         = "mysql.unknown_column"
	codeDateColumn            = "mysql.date_column"
	codeDateRange             = "mysql.date_range"
)

// serverError is an error packet (ERR_Packet of the MySQL client/server protocol).
type serverError struct {
	errno   uint16
	state   string
	message string
}

func (e *serverError) Error() string {
	return "ERROR " + strconv.Itoa(int(e.errno)) + " (" + e.state + "): " + e.message
}

// ServerFault is a row of ServerFaults: what a server's error number becomes.
type ServerFault struct {
	Code      string
	Class     fault.Class
	Retryable bool
	// Errnos are the server's error numbers, of MySQL and of MariaDB.
	Errnos []uint16
	// Hint says what to do.
	Hint string
}

// ServerFaults maps the error numbers of MySQL and MariaDB to codes. SQLSTATE
// class 45 is "mysql.signal" whatever its number is, and every number that is
// not listed is "mysql.query". The number, the SQLSTATE and the server's message
// are in the details "errno", "sqlstate" and "server_message".
var ServerFaults = []ServerFault{
	{codeAuth, fault.Connect, false, []uint16{1045, 1129, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 3118, 3955, 4151},
		"check user, password and authentication method of the account, and that it may connect from this host"},
	{codeConnect, fault.Connect, true, []uint16{1040, 1203, 1226},
		"the server has no free connection for this account; try again later or raise its limits"},
	{codeConnectionLost, fault.Source, true, []uint16{1053, 1077, 1152, 1153, 1156, 1158, 1159, 1160, 1161, 1184, 4031},
		"the server ended the connection; run again"},
	{codeUnknownProcedure, fault.Source, false, []uint16{1305},
		"check the procedure's name and database; an account without EXECUTE may be told the same"},
	{codeArgumentCount, fault.Source, false, []uint16{1318, 1210},
		"give as many arguments as the procedure has parameters"},
	{codeUnknownTable, fault.Source, false, []uint16{1146, 1051, 1109},
		"check the table's name and database"},
	{codeBrokenView, fault.Source, false, []uint16{1356},
		"a table, column or function that the view reads is gone, or the account that defined it may no longer read it"},
	{codeQuery, fault.Source, false, []uint16{1054},
		"check the column's name, and that it is one of the tables read"},
	{codeUnknownDatabase, fault.Source, false, []uint16{1049, 1046, 1102},
		"check the database's name in the connection URL"},
	{codeSyntax, fault.Source, false, []uint16{1064, 1149},
		"check the statement with the server's own client; one statement only"},
	{codeAccessDenied, fault.Source, false, []uint16{1044},
		"check the database's name, or grant the account SELECT and EXECUTE on it"},
	{codeAccessDenied, fault.Source, false, []uint16{1142, 1143, 1227, 1370, 1410, 1419},
		"check the name, since what is not there is denied as well, or grant the account what it needs: SELECT on tables, EXECUTE on procedures"},
	{codeReadOnly, fault.Source, false, []uint16{1792},
		"the statement writes, locks rows or makes a temporary table, and a source reads; " + readOnlyHint},
	{codeTableChanged, fault.Source, true, []uint16{1412},
		"a table was altered while it was read; run again"},
	{codeSignal, fault.Source, false, []uint16{1643, 1644, 1645},
		"the procedure reported this itself, with SIGNAL"},
	{codeKilled, fault.Source, false, []uint16{1317, 1927, 3169},
		"somebody, or a watchdog of the server, killed the query or its connection"},
	{codeTimeout, fault.Source, false, []uint16{1907, 1969, 3024},
		"raise the setting timeout, or the server's own limit"},
	{codeLockWait, fault.Source, true, []uint16{1205, 3572},
		"another transaction holds the rows; run again"},
	{codeDeadlock, fault.Source, true, []uint16{1213, 1614},
		"the server chose this transaction to break a deadlock; run again"},
}

// fault codes a server's error. doing says what was asked of it.
func (e *serverError) fault(doing string) *fault.Fault {
	entry := ServerFault{Code: codeQuery, Class: fault.Source, Hint: "see the server's message"}
	found := false
	for _, row := range ServerFaults {
		for _, errno := range row.Errnos {
			if errno == e.errno {
				entry, found = row, true
			}
		}
	}
	if !found && strings.HasPrefix(e.state, "45") {
		entry = ServerFault{Code: codeSignal, Class: fault.Source,
			Hint: "the procedure reported this itself, with SIGNAL"}
	}
	f := fault.New(entry.Code, entry.Class, "%s: the server answered %w", doing, e).
		WithHint("%s", entry.Hint).
		WithDetail("errno", strconv.Itoa(int(e.errno))).
		WithDetail("sqlstate", e.state).
		WithDetail("server_message", e.message)
	if entry.Retryable {
		f = f.WithRetry()
	}
	return f
}

// protocolFault reports that the peer does not speak the protocol.
func protocolFault(format string, args ...any) *fault.Fault {
	return fault.New(codeProtocol, fault.Source, "malformed data from the server: "+format, args...).
		WithHint("check that the address is a MySQL or MariaDB server, and any proxy in between")
}

// settingsFault reports settings that contradict each other.
func settingsFault(format string, args ...any) *fault.Fault {
	return fault.New(codeSettings, fault.Usage, format, args...)
}

// aboutSetting says of a fault which setting it is about, as a JSON Pointer, unless the fault says so itself.
func aboutSetting(pointer string, err error) error {
	f, ok := err.(*fault.Fault)
	if ok && f.Details[fault.DetailSetting] == "" {
		f.WithDetail(fault.DetailSetting, pointer)
	}
	return err
}
