package mysql

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// Settings of the source.
type Settings struct {
	URL    config.Secret  `config:"url,required" kind:"connection" doc:"Where the server is: mysql://user:password@host:3306/database. Special characters of user and password are percent-encoded; a ${secret.NAME} that stands for the password holds it plain, and is encoded exactly once, % signs included. The keys socket, tls, tls_ca, tls_cert, tls_key, tls_pin, server_public_key and cleartext_password may follow after '?' and mean the settings of the same names."`
	Socket string         `config:"socket" doc:"Path of the server's unix socket, used instead of the URL's host."`
	Call   string         `config:"call" code:"sql" doc:"Procedure to call: name or database.name. One of call, query and request is given."`
	Query  string         `config:"query" code:"sql" doc:"One statement that gives rows, with ? where args go."`
	Args   []config.Value `config:"args" max:"65535" doc:"Arguments in order: IN parameters of the procedure (null stands for an OUT parameter), or values for the query's question marks. They are bound, never pasted. A whole number is a BIGINT, a number with a point a DECIMAL, one with an exponent a DOUBLE."`

	Request Request `config:"request" doc:"What somebody asks for who may not write SQL: a table by name, or a call. Everything is checked against lists of what is allowed and against the database's own catalogue before anything is read."`

	Cursor config.Cursor `config:"cursor" doc:"Filled in where the pipeline keeps state. A table of request is read from the cursor on; a query and a call take it as \"${state.cursor}\" among args."`

	ResultSet config.Value `config:"result_set" default:"0" doc:"Which result set holds the data, from 1; the others are read, dropped and counted as result_sets_dropped. 0 is the only one, and a fault when there are several. With out, and with 0 of a procedure that gives no result set, the data is one row: what the OUT and INOUT parameters hold after the call, in columns of their names and types. Otherwise those values are dropped and counted as out_parameters_dropped."`
	Warnings  string       `config:"warnings" enum:"fail,cut,count" default:"cut" doc:"What the server's warnings do: fail the run; fail it when they say that something is missing from the result (GROUP_CONCAT cut, a text above max_allowed_packet, a query that ended early) and be counted as warnings otherwise; or be counted. Warnings that a procedure's later statements made the server forget are counted."`
	TimeZone  string       `config:"time_zone" default:"server" doc:"Time zone of the session: server for the server's own, an offset such as +10:00, or a name that the server knows. It decides what CURDATE() is, which instants a range on a TIMESTAMP covers, and what a TIMESTAMP's text shows, as in the practice's own client. A TIMESTAMP is an instant in that zone: where it is an offset, or where the server's clocks always were those of a zone of the IANA database, SYSTEM included, and text shows its local time. Of a base table it is exact; of a view, a query or a call the server gives local times, and one that clocks showed twice is counted as doubled_hours in text and refused in Parquet and Arrow. Where nobody knows the zone, a TIMESTAMP of a base table is an instant all the same, whose local time text shows by the server's own clocks, and that of a view, a query or a call is local time without a zone. The receipt names the zone."`
	Geometry  string       `config:"geometry" enum:"wkb,ewkb" default:"wkb" doc:"What becomes of GEOMETRY: well-known binary, or with ewkb its extended form, which holds the SRID. Coordinates are as stored, x before y: ST_AsWKB of MySQL turns those of geographic systems round."`
	Protocol  string       `config:"protocol" enum:"auto,binary,text" default:"auto" doc:"How rows travel: binary through a prepared statement, text, or binary with text where the server cannot prepare the statement."`
	ZeroDates string       `config:"zero_dates" enum:"null,error,text" default:"error" doc:"What becomes of zero, partial and impossible dates: NULL, a fault, or text. With text, every DATE, DATETIME and TIMESTAMP column is text. They are counted as zero_dates."`
	Snapshot  bool         `config:"snapshot" doc:"Read in a transaction with a consistent snapshot."`
	ReadOnly  bool         `config:"read_only" default:"true" doc:"Read in a READ ONLY transaction of a session that is READ ONLY, and refuse queries that begin with another word than one that reads. A procedure that makes a temporary table needs false: MySQL and MariaDB refuse CREATE TEMPORARY TABLE there. The account's grants are the real guard: FILE (SELECT INTO OUTFILE in a procedure), SET GLOBAL and a procedure that starts a READ WRITE transaction are not held back."`

	TLS     string `config:"tls" enum:"auto,disabled,skip-verify,verify-ca,verify-identity" default:"auto" doc:"Encryption of the connection: none; TLS with any certificate; TLS, checking the certificate's authority; and its host name too. Auto is verify-identity, except to localhost, 127.0.0.1, ::1 and unix sockets: there TLS is used when the server offers it, unchecked, and not on sockets. With disabled and skip-verify, whoever stands in between can read everything, and with skip-verify the password too."`
	TLSCA   string `config:"tls_ca" doc:"PEM file with the certificates of authorities to trust. Default: the system's."`
	TLSCert string `config:"tls_cert" doc:"PEM file with the client's certificate."`
	TLSKey  string `config:"tls_key" doc:"PEM file with the client certificate's key."`
	TLSPin  string `config:"tls_pin" doc:"The one key that the server's certificate may have, as sha256: and the hexadecimal SHA-256 of its SubjectPublicKeyInfo. With tls auto it stands for authority and name, as a server's own certificate needs. A connection that fails prints it."`

	ServerPublicKey   string `config:"server_public_key" doc:"PEM file with the server's RSA key (public_key.pem of MySQL's data directory), with which caching_sha2_password and sha256_password encrypt the password where there is no TLS. Without it that is refused, except on this machine."`
	ClearTextPassword bool   `config:"cleartext_password" doc:"Answer a server that asks for the password in clear text (mysql_clear_password: PAM, LDAP), over TLS whose certificate was checked."`

	ConnectTimeout  time.Duration `config:"connect_timeout" default:"10s" min:"1ms" doc:"Longest time until the session is ready: connection, TLS, authentication, session variables."`
	ReadTimeout     time.Duration `config:"read_timeout" default:"0s" min:"0s" doc:"Longest silence of the server, its thinking time included. 0s waits as long as the run may last."`
	KeepAlive       time.Duration `config:"keep_alive" default:"15s" min:"1s" doc:"Idle time after which TCP probes find out whether the server is still there; after four lost probes it is not."`
	NetWriteTimeout time.Duration `config:"net_write_timeout" default:"1h" min:"1s" max:"8760h" doc:"How long the server waits for a slow reader before it cuts the connection (net_write_timeout of the session)."`
	Timeout         time.Duration `config:"timeout" default:"0s" min:"0s" doc:"Longest time that the server may work on the statement (max_execution_time in MySQL, where it holds for SELECT only; max_statement_time in MariaDB). 0s leaves the server's own."`
	MaxRowSize      config.Size   `config:"max_row_size" default:"256MiB" min:"64KiB" max:"1GiB" doc:"Largest row that is taken, in bytes on the wire. Encoding and sealing such a row takes several times as much memory: above about 128MiB, raise --plugin-memory too."`

	Partitions      int           `config:"partitions" default:"1" min:"1" max:"32" doc:"Connections that read at once, all of one and the same snapshot. A table of request comes in ranges of its primary key, one after the other, so that its rows and their order are those of one connection. It needs an InnoDB table whose primary key begins with a whole number, no range on an indexed date, and an account that may LOCK TABLES: the snapshots are opened while the table is locked READ, for milliseconds, and nothing waits longer than a second for that lock. Where something is missing, one connection reads, and the receipt says why. For a call, see partition_days; a query has none. Every connection counts against the account's limits, and at most so many are open as are set, with one more for the lock."`
	PartitionBuffer config.Size   `config:"partition_buffer" default:"64MiB" min:"1MiB" max:"16GiB" doc:"Memory, in bytes of record batches, for rows that connections have read ahead of their turn; a connection that has read so far ahead waits. Each may hold a batch or two more."`
	PartitionDays   PartitionDays `config:"partition_days" doc:"Says that a row which the procedure of call gives belongs to one day, so that partitions may call it for a part of the range each. The rows are the same; their order is that of the parts, and within a part the procedure's."`
	MaxRows         int64         `config:"max_rows" default:"0" min:"0" doc:"A preview: the result ends after so many rows, and what the statement still does is killed on the server and not looked back at. 0 is all."`
}

// PartitionDays declares a procedure whose rows belong to one day each.
type PartitionDays struct {
	From   int    `config:"from" min:"0" default:"0" doc:"Which of args is the first day of the range, from 1."`
	To     int    `config:"to" min:"0" default:"0" doc:"Which of args is its last day. Both are days as YYYY-MM-DD; a range without one of them is read by one connection."`
	Tables string `config:"tables" doc:"Tables that the procedure reads, views and what functions read included: names, or database.name, with commas between. All of them are locked READ while the snapshots are opened; of a table that is left out, two calls may see different states."`
}

// checkStatement finds contradictions between settings of what is read, which the specification cannot.
func (s *Settings) checkStatement() error {
	switch {
	case s.Call == "" && s.Query == "" && !s.Request.given():
		return settingsFault("neither call nor query nor request is set").
			WithHint("name a procedure with call, or give a SELECT with query; request is for those who may write neither")
	case s.Call != "" && s.Query != "":
		return aboutSetting("/call", settingsFault("both call and query are set").WithHint("keep the one that is meant"))
	case s.Request.given() && (s.Call != "" || s.Query != "" || len(s.Args) > 0):
		return aboutSetting("/request", settingsFault("request stands beside call, query or args").
			WithHint("keep the one that is meant; a request has arguments of its own"))
	}
	return s.checkPartitions()
}

// checkPartitions finds contradictions between the settings of partitions and others.
func (s *Settings) checkPartitions() error {
	days := s.PartitionDays
	declared := days != PartitionDays{}
	switch {
	case declared && s.Call == "":
		return settingsFault("partition_days is about the arguments of a call, and call is not set").WithHint("leave it out").WithDetail(fault.DetailSetting, "/partition_days")
	case declared && (days.From < 1 || days.To < 1 || days.From > len(s.Args) || days.To > len(s.Args) || days.From == days.To):
		return settingsFault("partition_days names the arguments %d and %d, and there are %d", days.From, days.To, len(s.Args)).
			WithHint("from and to are two numbers from 1 to %d", len(s.Args))
	case declared && len(parseAllowList(days.Tables)) == 0:
		return settingsFault("partition_days names no tables").
			WithHint("name with tables those that the procedure reads: they are locked while the snapshots are opened")
	case s.Partitions > 1 && s.Query != "":
		return settingsFault("partitions needs a table or a call, and query is set").
			WithHint("read the table with request, or leave partitions out")
	case s.Partitions > 1 && s.Call != "" && !declared:
		return settingsFault("partitions needs partition_days for a call").
			WithHint("set it if every row of the procedure belongs to one day of its range, or leave partitions out")
	case s.Partitions > 1 && !s.ReadOnly:
		return settingsFault("partitions needs read_only: true, since what writes does not stay in its snapshot").
			WithHint("leave partitions or read_only out")
	}
	return nil
}

// check finds contradictions between settings of the connection.
func (s *Settings) check() error {
	switch {
	case !zonePattern().MatchString(s.TimeZone):
		return settingsFault("time_zone is neither server, an offset such as +10:00 nor the name of a zone")
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return settingsFault("tls_cert and tls_key go together, and one is missing")
	case s.TLSCA != "" && (s.TLS == mysqlurl.Disabled || s.TLS == mysqlurl.SkipVerify):
		return settingsFault("tls_ca has no effect with tls: %s, which checks no certificate", s.TLS).
			WithHint("leave tls out, or set it to verify-identity or verify-ca")
	case s.TLSPin != "" && (s.TLS == mysqlurl.Disabled || s.TLS == mysqlurl.SkipVerify):
		return settingsFault("tls_pin has no effect with tls: %s", s.TLS).WithHint("leave tls out")
	case s.ClearTextPassword && (s.TLS == mysqlurl.Disabled || s.TLS == mysqlurl.SkipVerify):
		return settingsFault("cleartext_password has no effect with tls: %s: it goes only to a server whose certificate was checked", s.TLS)
	case s.TLSCert != "" && s.TLS == mysqlurl.Disabled:
		return settingsFault("tls_cert has no effect with tls: disabled")
	}
	return nil
}

// decimalArg is the text of a DECIMAL argument.
type decimalArg string

// bytesArg is an argument that is bytes.
type bytesArg string

// arguments turns the values of args into nil, string, bool, int64, uint64,
// float64 or decimalArg.
func arguments(values []config.Value) ([]any, error) {
	args := make([]any, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case nil, string, bool, int64, uint64:
			args[i] = v
		case int:
			args[i] = int64(v)
		case float64:
			if math.IsInf(v, 0) || math.IsNaN(v) {
				return nil, argumentFault(i, "%v is not a number of SQL", v)
			}
			args[i] = v
		case json.Number:
			n, err := numberArgument(v.String())
			if err != nil {
				return nil, argumentFault(i, "%q is out of range", v.String())
			}
			args[i] = n
		default:
			return nil, argumentFault(i, "a %T is not a single value", value)
		}
	}
	return args, nil
}

func numberArgument(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	if strings.ContainsAny(text, "eE") {
		return strconv.ParseFloat(text, 64)
	}
	return decimalArg(text), nil
}

func argumentFault(i int, format string, args ...any) *fault.Fault {
	f := fault.New(codeArgument, fault.Usage, format, args...)
	f.Message = "argument " + strconv.Itoa(i+1) + ": " + f.Message
	return f
}
