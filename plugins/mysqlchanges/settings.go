package mysqlchanges

import (
	"time"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings of the source. Those of the connection and of values are named as the source mysql names them.
type Settings struct {
	URL    config.Secret     `config:"url,required" kind:"connection" doc:"Where the server is: mysql://user:password@host:3306/database, as the source mysql takes it. The account needs SELECT on the tables, REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR as well)."`
	Socket string            `config:"socket" doc:"Path of the server's unix socket, used instead of the URL's host."`
	Tables []changerow.Table `config:"tables,required" min:"1" max:"300" doc:"The tables that are followed, and what becomes of their rows. Each needs a primary key."`

	Position string `config:"position" doc:"Where to go on: a checkpoint that this source gave. Empty: the tables are copied first, and their changes follow from then on."`
	Again    string `config:"again" doc:"Documents to be read again, as JSON: {\"documents\": [{\"type\": …, \"id\": …}]}, at most 5,000. The run is bounded then, also with no documents: it copies what is left to copy, delivers the log up to where it was when the run began, then these documents as they are there, and ends."`

	PageRows int64  `config:"page_rows" default:"10000" min:"1" max:"100000" doc:"Rows of a page of the first copy. The rows of a page are locked against writers while it is read, which is why a page is short."`
	ServerID int64  `config:"server_id" default:"0" min:"0" max:"4294967295" doc:"The id under which the server lists this reader among its replicas. No other replica may have it. 0 chooses a free one."`
	Cascades string `config:"cascades" enum:"refuse,reconcile" default:"refuse" doc:"What becomes of foreign keys that change rows of a table of the stream in cascades, which MariaDB, and MySQL before 9.6, do not write to the log: the run is refused, or with reconcile a delete, or another key, of a row that such a foreign key refers to has the whole table of the children read again, from a place of the log behind it: each of its documents is delivered once more, and those that are not there any more are deleted. That costs a read of the table, locked page by page, and as many documents as it has, whatever has changed; changes that come close together share one. The account needs SELECT on the parents too, which may be tables that the stream does not have."`

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

	ConnectTimeout  time.Duration `config:"connect_timeout" default:"10s" min:"1ms" doc:"Longest time until a session is ready."`
	Reconnect       time.Duration `config:"reconnect" default:"1m" min:"0s" max:"24h" doc:"For how long a connection that broke is tried to be made again before the run fails, with a fault that says that it may be run again."`
	Heartbeat       time.Duration `config:"heartbeat" default:"5s" min:"100ms" max:"10m" doc:"How often a server that has nothing to send says that it is there. After three of them in vain, and ten seconds, the connection is made anew."`
	KeepAlive       time.Duration `config:"keep_alive" default:"15s" min:"1s" doc:"Idle time after which TCP probes find out whether the server is still there."`
	NetWriteTimeout time.Duration `config:"net_write_timeout" default:"1h" min:"1s" max:"8760h" doc:"How long the server waits for this reader before it cuts the connection, which is then made anew where it was."`
	MaxRowSize      config.Size   `config:"max_row_size" default:"256MiB" min:"64KiB" max:"1GiB" doc:"Largest event of the log, and largest row, that is taken, in bytes."`
}

// connection is what the sessions of the mysql package take.
func (s *Settings) connection() mysql.Settings {
	return mysql.Settings{
		URL: s.URL, Socket: s.Socket, TimeZone: s.TimeZone, Geometry: s.Geometry, ZeroDates: s.ZeroDates, ReadOnly: true, Protocol: "auto", Warnings: "cut",
		TLS: s.TLS, TLSCA: s.TLSCA, TLSCert: s.TLSCert, TLSKey: s.TLSKey, TLSPin: s.TLSPin,
		ServerPublicKey: s.ServerPublicKey, ClearTextPassword: s.ClearTextPassword,
		ConnectTimeout: s.ConnectTimeout, KeepAlive: s.KeepAlive, NetWriteTimeout: s.NetWriteTimeout, MaxRowSize: s.MaxRowSize,
	}
}

// decoding is what the log's rows are decoded with.
func (s *Settings) decoding(session *mysql.Session) row.Options {
	return row.Options{MariaDB: session.MariaDB(), ZeroDates: s.ZeroDates, Geometry: s.Geometry, Zone: session.Zone(), LargestRow: int(s.MaxRowSize)}
}

// again reads the setting of that name; nil where it is not given.
func (s *Settings) again() (*changes.Again, error) {
	a, err := changerow.ReadAgain(s.Again, s.Tables)
	if err != nil {
		return nil, settingFault("/again", "%w", err)
	}
	return a, nil
}

func settingFault(pointer, format string, args ...any) *fault.Fault {
	return fault.New(codeSettings, fault.Usage, format, args...).WithDetail(fault.DetailSetting, pointer).
		WithHint("see the settings of mysql-changes")
}
