package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// server is what is to be known of the server that answers.
type server struct {
	// variables are its settings (SHOW GLOBAL VARIABLES), those of variableNames that it has.
	variables map[string]string
	mariadb   bool
	version   [3]int
	innodb    bool
	replica   bool // it takes changes from another server
	cluster   string
	// skew is by how much its clock is ahead of ours.
	skew time.Duration
	// tables are in the database, and ours reports whether they are a record's.
	tables    int
	ours      bool
	name      string // of the database
	encrypted bool   // the connection is, or nobody can stand between
}

var variableNames = []string{
	"version", "transaction_isolation", "max_allowed_packet", "read_only", "super_read_only", "innodb_read_only",
	"disabled_storage_engines", "log_bin", "binlog_format", "innodb_flush_log_at_trx_commit", "sync_binlog",
	"innodb_doublewrite", "innodb_flush_method", "wsrep_on", "server_uuid", "server_uid", "group_replication_group_name",
	"rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled", "group_replication_single_primary_mode",
}

// look asks a server what it is. Local says that nobody can stand between.
func look(ctx context.Context, conn *sql.Conn, local bool) (s server, err error) {
	s.variables = map[string]string{}
	names := "'" + strings.Join(variableNames, "', '") + "'"
	if err := pairs(ctx, conn, s.variables, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+names+")"); err != nil {
		return s, err
	}
	version := s.variables["version"]
	s.mariadb = strings.Contains(version, "MariaDB")
	// Only the first numbers are the server's; what follows is the packager's.
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &s.version[0], &s.version[1], &s.version[2])
	status := map[string]string{}
	if err := pairs(ctx, conn, status, "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_state_uuid', 'Ssl_cipher')"); err != nil {
		return s, err
	}
	s.encrypted = status["Ssl_cipher"] != "" || local
	if s.is("wsrep_on") {
		s.cluster = status["wsrep_cluster_state_uuid"]
	}
	var support string
	err = conn.QueryRowContext(ctx, "SELECT support FROM information_schema.engines WHERE engine = 'InnoDB'").Scan(&support)
	if err != nil && err != sql.ErrNoRows {
		return s, err
	}
	s.innodb = support == "YES" || support == "DEFAULT"
	before := time.Now()
	var now int64
	if err := conn.QueryRowContext(ctx, "SELECT "+micros+", coalesce(database(), '')").Scan(&now, &s.name); err != nil {
		return s, err
	}
	// The server's time is of a moment between the question and the answer.
	s.skew = sqlrecord.Instant(now).Sub(before.Add(time.Since(before) / 2))
	err = conn.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(table_name = 'record_schema'), 0) > 0
		FROM information_schema.tables WHERE table_schema = database()`).Scan(&s.tables, &s.ours)
	if err != nil {
		return s, err
	}
	s.replica = isReplica(ctx, conn)
	return s, nil
}

// pairs reads rows of a name and a value.
func pairs(ctx context.Context, conn *sql.Conn, into map[string]string, query string) error {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	return sqlrecord.Each(rows, func(rows *sql.Rows) error {
		var name string
		var value sql.NullString
		err := rows.Scan(&name, &value)
		into[name] = value.String
		return err
	})
}

// isReplica reports whether the server follows another one, as far as this account may know.
func isReplica(ctx context.Context, conn *sql.Conn) bool {
	rows, err := conn.QueryContext(ctx, "SHOW REPLICA STATUS")
	if err != nil {
		return false // it may not ask, or the server is older than the statement
	}
	defer rows.Close()
	return rows.Next()
}

func (s server) is(variable string) bool {
	return s.variables[variable] == "ON" || s.variables[variable] == "1"
}

func (s server) number(variable string) int64 {
	n, _ := strconv.ParseInt(s.variables[variable], 10, 64) // one that is none is 0
	return n
}

// String names the server for people.
func (s server) String() string {
	if s.mariadb {
		return "MariaDB " + s.variables["version"]
	}
	return "MySQL " + s.variables["version"]
}

// The oldest versions that a record works on: those with SKIP LOCKED, and with a collation that takes every byte for
// itself and pads nothing.
var (
	oldestMySQL   = [3]int{8, 0, 17}
	oldestMariaDB = [3]int{10, 6, 0}
)

// leastPacket is what a record's largest row needs, and more.
const leastPacket = 4 << 20

// refusal says why a record cannot stand on the server.
func (s server) refusal() error {
	refuse := func(hint, format string, args ...any) error {
		return fault.New(store.CodeServer, fault.Usage, "the record cannot be on this server: "+format, args...).WithHint("%s", hint)
	}
	oldest := oldestMySQL
	if s.mariadb {
		oldest = oldestMariaDB
	}
	older := false
	for i := range oldest {
		if s.version[i] != oldest[i] {
			older = s.version[i] < oldest[i]
			break
		}
	}
	switch {
	case older:
		return refuse("use MySQL 8.0.17 or later, or MariaDB 10.6 or later", "it is %s", s)
	case !s.innodb || strings.Contains(strings.ToLower(s.variables["disabled_storage_engines"]), "innodb"):
		return refuse("allow InnoDB: the record needs transactions", "it has no InnoDB tables")
	case s.is("innodb_read_only"), s.is("read_only"), s.is("super_read_only"):
		return refuse("let the connection URL lead to the primary", "it is read-only, as a replica is")
	case s.is("log_bin") && s.variables["binlog_format"] == "STATEMENT":
		return refuse("set binlog_format to ROW or MIXED", "binlog_format is STATEMENT, with which InnoDB takes no changes at READ COMMITTED")
	case s.number("max_allowed_packet") < leastPacket:
		return refuse(fmt.Sprintf("set max_allowed_packet to %d or more", leastPacket), "max_allowed_packet is %s", s.variables["max_allowed_packet"])
	case s.tables > 0 && !s.ours:
		return refuse("make a database for the record alone: CREATE DATABASE cipherstream",
			"the database %q has tables of another program", s.name)
	}
	return nil
}

// session is what is set on every connection, whatever the server's own settings are.
func (s server) session() map[string]string {
	all := map[string]string{
		"autocommit": "1", "completion_type": "'NO_CHAIN'", "time_zone": "'+00:00'",
		// What does not fit is refused, and never cut. Words of SQL may be names in double quotes.
		"sql_mode":         "'STRICT_ALL_TABLES,ANSI_QUOTES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
		"sql_safe_updates": "0", "sql_select_limit": "18446744073709551615",
		// A deadlock is seen at once; this is for a transaction whose process has stopped.
		"innodb_lock_wait_timeout": "5", "lock_wait_timeout": "25",
	}
	isolation := "tx_isolation" // MariaDB before 11.1
	if _, ok := s.variables["transaction_isolation"]; ok {
		isolation = "transaction_isolation"
	}
	all[isolation] = "'READ-COMMITTED'"
	if s.is("wsrep_on") {
		all["wsrep_sync_wait"] = "7" // what another node has acknowledged is seen by this one
	}
	return all
}

// identity is the expression that names the server in leases. A number that was given by one server may be given again by
// another that takes its place without having got all of its changes, but then it is not the same lease.
//
// MySQL has server_uuid, which is no other server's. MariaDB has none: its name is made of server_id, which replication
// requires to differ, gtid_domain_id, and server_uid, which is made of the network card's address and the port (where the
// version has none, of the host's name and the port). A Galera cluster loses nothing that was committed when a node is
// lost, and any of its nodes may be the next to answer: all of them have the cluster's name.
func (s server) identity() string {
	_, uid := s.variables["server_uid"]
	switch {
	case s.cluster != "":
		return "'galera " + strings.Map(hexOrDash, s.cluster) + "'"
	case !s.mariadb:
		return "concat('mysql ', @@server_uuid)"
	case uid:
		return "concat('mariadb ', @@server_id, ' ', @@gtid_domain_id, ' ', @@server_uid)"
	}
	return "concat('mariadb ', @@server_id, ' ', @@gtid_domain_id, ' ', @@hostname, ' ', @@port)"
}

// hexOrDash leaves of a text what a UUID has.
func hexOrDash(r rune) rune {
	if strings.ContainsRune("0123456789abcdefABCDEF-", r) {
		return r
	}
	return -1
}

// Warning is something about the server that can lose what was acknowledged, or is not as it should be.
type Warning struct {
	// Setting names the server's setting, or what else it is about.
	Setting    string
	Text, Hint string
}

// mostSkew is by how much clocks may differ without a word.
const mostSkew = 2 * time.Second

// warnings say what the server can lose.
func (s server) warnings() []Warning {
	var all []Warning
	warn := func(when bool, setting, text, hint string) {
		if when {
			all = append(all, Warning{setting, text, hint})
		}
	}
	flush := s.variables["innodb_flush_log_at_trx_commit"]
	warn(flush == "2", "innodb_flush_log_at_trx_commit",
		"the record can lose the last second of acknowledged changes when the machine of its server fails (innodb_flush_log_at_trx_commit is 2)",
		"set innodb_flush_log_at_trx_commit to 1")
	warn(flush == "0", "innodb_flush_log_at_trx_commit",
		"the record can lose the last second of acknowledged changes when its server ends, or its machine fails (innodb_flush_log_at_trx_commit is 0)",
		"set innodb_flush_log_at_trx_commit to 1")
	binary := s.is("log_bin")
	warn(binary && s.variables["sync_binlog"] != "1", "sync_binlog",
		"when the machine of the record's server fails, replicas can have other changes than the server that comes back, and a "+
			"restored copy can lack the last ones (sync_binlog is "+s.variables["sync_binlog"]+")", "set sync_binlog to 1")
	warn(s.variables["innodb_doublewrite"] == "OFF", "innodb_doublewrite",
		"a page of the record that is half written when the machine of its server fails cannot be mended (innodb_doublewrite is OFF)",
		"set innodb_doublewrite to ON")
	warn(s.variables["innodb_flush_method"] == "nosync", "innodb_flush_method",
		"the record's server puts nothing on disk by itself: all of it can be lost when its machine fails (innodb_flush_method is nosync)",
		"set innodb_flush_method to O_DIRECT or fsync")
	_, group := s.variables["group_replication_group_name"]
	group = group && s.variables["group_replication_group_name"] != ""
	waits := s.is("rpl_semi_sync_master_enabled") || s.is("rpl_semi_sync_source_enabled")
	warn(binary && !waits && !group && !s.is("wsrep_on"), "replication",
		"when a replica of the record's server takes its place, the changes that it had not got are lost, though they were "+
			"acknowledged: replication does not wait (semi-synchronous replication is off)",
		"without replicas this says nothing; otherwise turn on semi-synchronous replication, or use Galera or group replication")
	warn(group && s.variables["group_replication_single_primary_mode"] == "OFF", "group_replication_single_primary_mode",
		"every member of the group takes changes: a worker whose connection moves to another one loses its jobs",
		"use single-primary mode, or let the connection URL lead to one member")
	warn(s.replica, "replica", "the record's server is itself a replica of another one: what comes from there can change the record",
		"let the connection URL lead to the primary")
	warn(s.skew.Abs() > mostSkew, "clock",
		fmt.Sprintf("the clock of the record's server is %v off this machine's", s.skew.Round(time.Millisecond)),
		"set both by NTP; leases and times of jobs are the server's, expiry of keys and links this machine's")
	warn(!s.encrypted, "tls", "the connection to the record's server is not encrypted",
		"leave out tls=disabled, or see to it that nobody can listen")
	return all
}
