package mysql

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// sound is a server on which nothing is to be said.
func sound() server {
	return server{
		variables: map[string]string{
			"version": "8.4.3", "max_allowed_packet": "67108864", "read_only": "OFF", "super_read_only": "OFF",
			"innodb_read_only": "OFF", "log_bin": "ON", "binlog_format": "ROW", "innodb_flush_log_at_trx_commit": "1",
			"sync_binlog": "1", "innodb_doublewrite": "ON", "innodb_flush_method": "O_DIRECT", "server_uuid": "u",
			"rpl_semi_sync_source_enabled": "ON", "transaction_isolation": "REPEATABLE-READ",
		},
		version: [3]int{8, 4, 3}, innodb: true, name: "record", tables: 9, ours: true, encrypted: true,
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	with := func(name, value string) func(*server) {
		return func(s *server) { s.variables[name] = value }
	}
	version := func(mariadb bool, version ...int) func(*server) {
		return func(s *server) { s.mariadb, s.version = mariadb, [3]int(version) }
	}
	for name, c := range map[string]struct {
		alter func(*server)
		says  string // of the refusal, or empty
	}{
		"sound":             {func(*server) {}, ""},
		"empty":             {func(s *server) { s.tables, s.ours = 0, false }, ""},
		"MySQL 5.7":         {version(false, 5, 7, 44), "it is MySQL"},
		"MySQL 8.0.16":      {version(false, 8, 0, 16), "it is MySQL"},
		"MySQL 8.0.17":      {version(false, 8, 0, 17), ""},
		"MySQL 9":           {version(false, 9, 0, 0), ""},
		"MariaDB 10.5":      {version(true, 10, 5, 99), "it is MariaDB"},
		"MariaDB 10.6":      {version(true, 10, 6, 0), ""},
		"MariaDB 11":        {version(true, 11, 0, 2), ""},
		"no InnoDB":         {func(s *server) { s.innodb = false }, "InnoDB"},
		"disabled":          {with("disabled_storage_engines", "MyISAM,InnoDB"), "InnoDB"},
		"read only":         {with("read_only", "ON"), "read-only"},
		"super read only":   {with("super_read_only", "ON"), "read-only"},
		"InnoDB read only":  {with("innodb_read_only", "ON"), "read-only"},
		"statements logged": {with("binlog_format", "STATEMENT"), "STATEMENT"},
		"packets":           {with("max_allowed_packet", "1048576"), "1048576"},
		"another program's": {func(s *server) { s.ours = false }, "another program"},
	} {
		s := sound()
		c.alter(&s)
		err := s.refusal()
		if c.says == "" && err != nil || c.says != "" && (!fault.Is(err, store.CodeServer) || !strings.Contains(err.Error(), c.says) || fault.From(err).Hint == "") {
			t.Errorf("%s: %v, want one that says %q", name, err, c.says)
		}
	}
}

// TestWarnings: each says what can be lost, and a sound server has none.
func TestWarnings(t *testing.T) {
	t.Parallel()
	with := func(pairs ...string) func(*server) {
		return func(s *server) {
			for i := 0; i < len(pairs); i += 2 {
				s.variables[pairs[i]] = pairs[i+1]
			}
		}
	}
	for name, c := range map[string]struct {
		alter func(*server)
		want  []string // settings
	}{
		"sound":        {func(*server) {}, nil},
		"flush 2":      {with("innodb_flush_log_at_trx_commit", "2"), []string{"innodb_flush_log_at_trx_commit"}},
		"flush 0":      {with("innodb_flush_log_at_trx_commit", "0"), []string{"innodb_flush_log_at_trx_commit"}},
		"binary log":   {with("sync_binlog", "0"), []string{"sync_binlog"}},
		"thousandth":   {with("sync_binlog", "1000"), []string{"sync_binlog"}},
		"none":         {with("log_bin", "OFF", "sync_binlog", "0", "rpl_semi_sync_source_enabled", "OFF"), nil},
		"doublewrite":  {with("innodb_doublewrite", "OFF"), []string{"innodb_doublewrite"}},
		"nothing":      {with("innodb_flush_method", "nosync"), []string{"innodb_flush_method"}},
		"asynchronous": {with("rpl_semi_sync_source_enabled", "OFF"), []string{"replication"}},
		"MariaDB's":    {with("rpl_semi_sync_source_enabled", "OFF", "rpl_semi_sync_master_enabled", "ON"), nil},
		"Galera":       {with("rpl_semi_sync_source_enabled", "OFF", "wsrep_on", "ON"), nil},
		"group":        {with("rpl_semi_sync_source_enabled", "OFF", "group_replication_group_name", "g"), nil},
		"many primaries": {with("group_replication_group_name", "g", "group_replication_single_primary_mode", "OFF"),
			[]string{"group_replication_single_primary_mode"}},
		"a replica": {func(s *server) { s.replica = true }, []string{"replica"}},
		"behind":    {func(s *server) { s.skew = -3 * time.Second }, []string{"clock"}},
		"ahead":     {func(s *server) { s.skew = 3 * time.Second }, []string{"clock"}},
		"close":     {func(s *server) { s.skew = time.Second }, nil},
		"open":      {func(s *server) { s.encrypted = false }, []string{"tls"}},
	} {
		s := sound()
		c.alter(&s)
		var got []string
		for _, w := range s.warnings() {
			got = append(got, w.Setting)
			if w.Text == "" || w.Hint == "" {
				t.Errorf("%s: a warning without text or hint: %+v", name, w)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: warned of %v, want %v", name, got, c.want)
		}
	}
}

// TestIdentity: what names the server in leases is no other server's, but for the nodes of one Galera cluster.
func TestIdentity(t *testing.T) {
	t.Parallel()
	s := sound()
	if got := s.identity(); !strings.Contains(got, "@@server_uuid") {
		t.Errorf("MySQL is %s", got)
	}
	s.mariadb = true
	if got := s.identity(); !strings.Contains(got, "@@server_id") || !strings.Contains(got, "@@hostname") || strings.Contains(got, "uid") {
		t.Errorf("an older MariaDB is %s", got)
	}
	s.variables = maps.Clone(s.variables)
	s.variables["server_uid"] = "x"
	if got := s.identity(); !strings.Contains(got, "@@server_id") || !strings.Contains(got, "@@server_uid") {
		t.Errorf("MariaDB is %s", got)
	}
	s.cluster = "0b3a-'x"
	if got := s.identity(); got != "'galera 0b3a-'" {
		t.Errorf("a cluster is %s", got)
	}
}

// TestSession: every connection has the same settings, whatever the server's are.
func TestSession(t *testing.T) {
	t.Parallel()
	s := sound()
	all := s.session()
	if all["transaction_isolation"] != "'READ-COMMITTED'" || all["tx_isolation"] != "" || all["wsrep_sync_wait"] != "" || all["time_zone"] != "'+00:00'" {
		t.Errorf("the settings are %v", all)
	}
	delete(s.variables, "transaction_isolation")
	s.variables["wsrep_on"] = "ON"
	all = s.session()
	if all["tx_isolation"] != "'READ-COMMITTED'" || all["transaction_isolation"] != "" || all["wsrep_sync_wait"] != "7" {
		t.Errorf("the settings of an older MariaDB in a cluster are %v", all)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	pinned := "sha256:" + strings.Repeat("ab", 32)
	for url, c := range map[string]struct {
		tls, plaintext bool
		refused        string
	}{
		"mysql://u:hunter2@127.0.0.1/record":                             {tls: true, plaintext: true},
		"mysql://u:hunter2@db.example/record":                            {tls: true},
		"mysql://u:hunter2@db.example/record?tls=disabled":               {},
		"mysql://u:hunter2@db.example/record?tls=skip-verify":            {tls: true},
		"mysql://u:hunter2@127.0.0.1/record?tls_pin=" + pinned:           {tls: true},
		"mysql://u:hunter2@/record?socket=/run/mysqld.sock":              {},
		"mysql://u:hunter2@db.example/":                                  {refused: "database"},
		"mysql://u:hunter2@db.example/record?tls=required":               {refused: "tls"},
		"mysql://u:hunter2@db.example/record?parseTime=hunter2":          {refused: "after '?'"},
		"mysql://u:hunter2@db.example/record?tls=disabled&tls_pin=x":     {refused: "tls_pin"},
		"mysql://u:hunter2@db.example/record?tls=skip-verify&tls_ca=x":   {refused: "tls_ca"},
		"mysql://u:hunter2@db.example/record?tls_pin=hunter2":            {refused: "tls_pin"},
		"mysql://u:hunter2@db.example/record?tls_ca=/nowhere/ca.pem":     {refused: "tls_ca"},
		"mysql://u:hunter2@db.example/record?tls_cert=/nowhere/cert.pem": {refused: "tls_cert"},
		"mysql://u:hunter2@/record?socket=/s&tls=verify-identity":        {refused: "host"},
		"mysql://u:x#hunter2@h/d":                                        {refused: "connection URL"},
		"hunter2":                                                        {refused: "connection URL"},
	} {
		target, err := parseURL(config.NewSecret(url))
		switch {
		case c.refused != "":
			if f := fault.From(err); !fault.Is(err, store.CodeURL) || !strings.Contains(f.Message, c.refused) || f.Hint == "" || strings.Contains(f.Message+f.Hint, "hunter2") {
				t.Errorf("%s: %v, want a refusal that says %q", url, err, c.refused)
			}
		case err != nil:
			t.Errorf("%s: %v", url, err)
		case (target.TLS != nil) != c.tls || target.AllowFallbackToPlaintext != c.plaintext:
			t.Errorf("%s: TLS %v, plain text %v", url, target.TLS != nil, target.AllowFallbackToPlaintext)
		}
	}
}
