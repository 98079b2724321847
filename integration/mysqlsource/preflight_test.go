package mysqlsource

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/preflight"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// followable are the options of a server of MySQL that can be followed.
var followable = []string{"--log-bin=binlog", "--server-id=7", "--binlog-row-metadata=FULL", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"}

// wants is a stream of one table.
func wants(table string) (o preflight.Options) {
	o.Tables = slices.Grow(o.Tables, 1)[:1]
	o.Tables[0].Table, o.Tables[0].Type, o.Tables[0].Channel = table, "t", "logs"
	return o
}

// TestPreflight checks servers of MySQL for what a stream of changes needs. Those of MariaDB are checked beside the package.
func TestPreflight(t *testing.T) {
	t.Parallel()
	db := servers.PrivateMySQL(t, followable...)
	db.Exec(`CREATE TABLE patients (id INT PRIMARY KEY, name VARCHAR(20), twice INT AS (id * 2) VIRTUAL);
CREATE TABLE parents (id INT PRIMARY KEY);
CREATE TABLE cascading (id INT PRIMARY KEY, parent INT, CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE);
CREATE TABLE keyless (id INT NOT NULL, UNIQUE (id));
CREATE TABLE isam (id INT PRIMARY KEY) ENGINE = MyISAM;
CREATE ROLE reader; GRANT SELECT ON ` + db.Database() + `.* TO reader;
CREATE USER enough IDENTIFIED BY 'follow'; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO enough; GRANT SELECT ON ` + db.Database() + `.* TO enough;
CREATE USER byrole IDENTIFIED BY 'follow' DEFAULT ROLE reader; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO byrole;
CREATE USER noslave IDENTIFIED BY 'follow'; GRANT REPLICATION CLIENT ON *.* TO noslave; GRANT SELECT ON ` + db.Database() + `.* TO noslave;
CREATE USER nothing IDENTIFIED BY 'follow'; GRANT SELECT ON ` + db.Database() + `.parents TO nothing;`)
	check := func(user, table string) []sdk.Finding {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s, err := mysql.Connect(ctx, mysql.Settings{URL: config.NewSecret(db.UserDSN(user, "follow", db.Database())), TLS: "skip-verify"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		list, err := preflight.Check(ctx, s, wants(table))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	judge := func(list []sdk.Finding, level, code, hint string) {
		t.Helper()
		found := 0
		for _, f := range list {
			if f.Level != "wrong" && f.Level != "warning" {
				continue
			}
			if found++; string(f.Level) != level || f.Fault.Code != code || !strings.Contains(f.Fault.Hint, hint) {
				t.Errorf("want %s %s (%s), found %s %v (%s)", level, code, hint, f.Level, f.Fault, f.Fault.Hint)
			}
		}
		if found != 1 && code != "" {
			t.Errorf("want %s %s, and found %d things", level, code, found)
		}
	}
	judge(check("enough", "patients"), "", "", "")
	judge(check("byrole", "patients"), "", "", "")
	judge(check("noslave", "patients"), "wrong", preflight.CodeGrants, "GRANT REPLICATION SLAVE ON *.* TO 'noslave'@'%'")
	judge(check("enough", "keyless"), "wrong", preflight.CodeKey, "PRIMARY KEY")
	judge(check("enough", "isam"), "wrong", preflight.CodeEngine, "ENGINE = InnoDB")
	if list := check("nothing", "patients"); len(list) < 2 {
		t.Errorf("an account without anything: %v", list)
	}
	if v := db.Version(); strings.HasPrefix(v, "8.") || strings.HasPrefix(v, "9.0") {
		judge(check("enough", "cascading"), "wrong", preflight.CodeCascade, "cascades: reconcile")
	}
	for _, c := range []struct{ variable, value, right, level, code string }{
		{"binlog_format", "'STATEMENT'", "'ROW'", "wrong", preflight.CodeLogFormat},
		{"binlog_row_image", "'MINIMAL'", "'FULL'", "wrong", preflight.CodeRowImage},
		{"binlog_row_value_options", "'PARTIAL_JSON'", "''", "wrong", preflight.CodePartialJSON},
		{"sync_binlog", "100", "1", "warning", preflight.CodeSyncBinlog},
		{"innodb_flush_log_at_trx_commit", "0", "1", "warning", preflight.CodeFlushLog},
		{"binlog_expire_logs_seconds", "60", "2592000", "wrong", preflight.CodeRetention},
		{"binlog_expire_logs_seconds", "86400", "2592000", "warning", preflight.CodeRetention},
	} {
		db.Exec("SET GLOBAL " + c.variable + " = " + c.value)
		judge(check("enough", "patients"), c.level, c.code, "SET PERSIST "+c.variable)
		db.Exec("SET GLOBAL " + c.variable + " = " + c.right)
	}
	// A log that is thrown away by nobody need not be kept for a time.
	db.Exec("SET GLOBAL binlog_expire_logs_seconds = 60; SET GLOBAL binlog_expire_logs_auto_purge = OFF")
	judge(check("enough", "patients"), "", "", "")
}

// TestPreflightOfAStart checks what only the start of a server of MySQL sets.
func TestPreflightOfAStart(t *testing.T) {
	t.Parallel()
	db := servers.PrivateMySQL(t, append(followable, "--binlog-ignore-db=other", "--binlog-error-action=IGNORE_ERROR", "--log-replica-updates=OFF")...)
	db.Exec(`CREATE TABLE patients (id INT PRIMARY KEY); CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1, SOURCE_USER = 'x'`)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := mysql.Connect(ctx, mysql.Settings{URL: config.NewSecret(db.DSN(db.Database())), TLS: "skip-verify"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := wants("patients")
	o.ServerID = 7
	list, err := preflight.Check(ctx, s, o)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, f := range list {
		if f.Level == "wrong" {
			codes = append(codes, f.Fault.Code)
		}
	}
	want := []string{preflight.CodeErrorAction, preflight.CodeServerID, preflight.CodeLogFilter, preflight.CodeReplicaLog}
	if strings.Join(codes, " ") != strings.Join(want, " ") {
		t.Errorf("found %v, want %v: %v", codes, want, list)
	}
}
