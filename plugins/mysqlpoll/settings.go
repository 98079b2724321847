package mysqlpoll

import (
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of faults.
const (
	codeSettings     = "changes.settings"
	codePosition     = "changes.position"
	codeUnknownTable = "changes.unknown_table"
	codeChanged      = "changes.changed_column"
)

// Settings of the source. Those of the connection and of values are named as the source mysql names them.
type Settings struct {
	URL    config.Secret     `config:"url,required" kind:"connection" doc:"Where the server is: mysql://user:password@host:3306/database, as the source mysql takes it. The account needs SELECT on the tables, and nothing else."`
	Socket string            `config:"socket" doc:"Path of the server's unix socket, used instead of the URL's host."`
	Tables []changerow.Table `config:"tables,required" min:"1" max:"300" doc:"The tables that are asked, and what becomes of their rows. Each needs a primary key, and a TIMESTAMP or DATETIME that every change of a row moves on."`

	Changed  map[string]string `config:"changed" doc:"The column that says when a row was changed, by the table's name as tables has it. It is ts_4_update for a table that is not named."`
	Interval time.Duration     `config:"interval" default:"10s" min:"100ms" max:"1h" doc:"How long the source waits between two rounds of questions."`
	Overlap  time.Duration     `config:"overlap" default:"5m" min:"0s" max:"168h" doc:"By how much a round goes back behind the latest change that it has seen, for transactions that were committed later than their rows say. It is the longest time that a transaction may take. A DATETIME goes back an hour more, because clocks are put back by that in autumn."`

	Position string `config:"position" doc:"Where to go on: a checkpoint that this source gave. Empty: the tables are copied first, and their changes follow from then on."`
	Again    string `config:"again" doc:"Documents to be read again, as JSON: {\"documents\": [{\"type\": …, \"id\": …}]}, at most 5,000. The run is bounded then, also with no documents: it copies what is left to copy, asks every table once, then delivers these documents as they are, and ends."`
	PageRows int64  `config:"page_rows" default:"10000" min:"1" max:"100000" doc:"Rows of a page of the first copy."`

	TimeZone  string `config:"time_zone" default:"server" doc:"Time zone in which a TIMESTAMP's text shows: server for the server's own, an offset such as +10:00, or a name that the server knows."`
	Geometry  string `config:"geometry" enum:"wkb,ewkb" default:"wkb" doc:"What becomes of GEOMETRY: well-known binary, or with ewkb its extended form, which holds the SRID."`
	ZeroDates string `config:"zero_dates" enum:"null,error,text" default:"error" doc:"What becomes of zero, partial and impossible dates: NULL, a fault, or text. With text, every DATE, DATETIME and TIMESTAMP column is text. They are counted as zero_dates."`

	TLS     string `config:"tls" enum:"auto,disabled,skip-verify,verify-ca,verify-identity" default:"auto" doc:"Encryption of the connection, as of the source mysql: auto is verify-identity, except to this machine."`
	TLSCA   string `config:"tls_ca" doc:"PEM file with the certificates of authorities to trust. Default: the system's."`
	TLSCert string `config:"tls_cert" doc:"PEM file with the client's certificate."`
	TLSKey  string `config:"tls_key" doc:"PEM file with the client certificate's key."`
	TLSPin  string `config:"tls_pin" doc:"The one key that the server's certificate may have, as sha256: and the hexadecimal SHA-256 of its SubjectPublicKeyInfo. A connection that fails prints it."`

	ServerPublicKey   string `config:"server_public_key" doc:"PEM file with the server's RSA key, with which the password is encrypted where there is no TLS."`
	ClearTextPassword bool   `config:"cleartext_password" doc:"Answer a server that asks for the password in clear text, over TLS whose certificate was checked."`

	ConnectTimeout  time.Duration `config:"connect_timeout" default:"10s" min:"1ms" doc:"Longest time until the session is ready."`
	Reconnect       time.Duration `config:"reconnect" default:"1m" min:"0s" max:"24h" doc:"For how long a connection that broke is tried to be made again before the run fails, with a fault that says that it may be run again."`
	ReadTimeout     time.Duration `config:"read_timeout" default:"0s" min:"0s" doc:"Longest silence of the server while it answers. 0s waits as long as the run may last."`
	KeepAlive       time.Duration `config:"keep_alive" default:"15s" min:"1s" doc:"Idle time after which TCP probes find out whether the server is still there."`
	NetWriteTimeout time.Duration `config:"net_write_timeout" default:"1h" min:"1s" max:"8760h" doc:"How long the server waits for this reader before it cuts the connection."`
	MaxRowSize      config.Size   `config:"max_row_size" default:"256MiB" min:"64KiB" max:"1GiB" doc:"Largest row that is taken, in bytes."`
}

// connection is what the session of the mysql package takes.
func (s *Settings) connection() mysql.Settings {
	return mysql.Settings{
		URL: s.URL, Socket: s.Socket, TimeZone: s.TimeZone, Geometry: s.Geometry, ZeroDates: s.ZeroDates,
		TLS: s.TLS, TLSCA: s.TLSCA, TLSCert: s.TLSCert, TLSKey: s.TLSKey, TLSPin: s.TLSPin,
		ServerPublicKey: s.ServerPublicKey, ClearTextPassword: s.ClearTextPassword,
		ConnectTimeout: s.ConnectTimeout, ReadTimeout: s.ReadTimeout, KeepAlive: s.KeepAlive, NetWriteTimeout: s.NetWriteTimeout, MaxRowSize: s.MaxRowSize,
	}
}

// usualColumn is what the column of changes is called in a practice's database.
const usualColumn = "ts_4_update"

func (s *Settings) changed(table string) string {
	if column, ok := s.Changed[table]; ok {
		return column
	}
	return usualColumn
}

// check finds contradictions between settings, and reads what documents are asked for; nil where the setting is not given.
func (s *Settings) check() (*changes.Again, error) {
	if err := changerow.CheckTables(s.Tables); err != nil {
		return nil, err
	}
	for table := range s.Changed {
		if !slices.ContainsFunc(s.Tables, func(t changerow.Table) bool { return t.Table == table }) {
			escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(table)
			return nil, settingFault("/changed/"+escaped, "changed names the table %q, which is not one of tables", table)
		}
	}
	a, err := changerow.ReadAgain(s.Again, s.Tables)
	if err != nil {
		return nil, settingFault("/again", "%w", err)
	}
	return a, nil
}

func settingFault(pointer, format string, args ...any) *fault.Fault {
	return fault.New(codeSettings, fault.Usage, format, args...).WithDetail(fault.DetailSetting, pointer).
		WithHint("see the settings of mysql-poll")
}
