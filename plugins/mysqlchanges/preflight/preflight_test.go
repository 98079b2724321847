package preflight_test

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/preflight"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// right are the options of a server that can be followed.
var right = []string{"--log-bin=binlog", "--server-id=7", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL", "--sync-binlog=1",
	"--innodb-flush-log-at-trx-commit=1", "--log-slave-updates=1", "--expire-logs-days=10"}

// schema is that of a database whose tables can be followed, and of tables that cannot.
const schema = `
CREATE TABLE patients (id INT PRIMARY KEY, name VARCHAR(20), born DATE, age INT AS (id + 1) VIRTUAL);
CREATE TABLE parents (id INT PRIMARY KEY);
CREATE TABLE children (id INT PRIMARY KEY, parent INT, CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parents (id));
CREATE TABLE cascading (id INT PRIMARY KEY, parent INT, CONSTRAINT ` + "`a``b (c)`" + ` FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE);
CREATE TABLE nulled (id INT PRIMARY KEY, parent INT, CONSTRAINT fk2 FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE SET NULL ON UPDATE NO ACTION);
CREATE TABLE renumbered (id INT PRIMARY KEY, parent INT, CONSTRAINT fk3 FOREIGN KEY (parent) REFERENCES parents (id) ON UPDATE CASCADE);
CREATE TABLE keyless (id INT NOT NULL, UNIQUE (id));
CREATE TABLE isam (id INT PRIMARY KEY) ENGINE = MyISAM;
CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING;
CREATE VIEW seen AS SELECT * FROM patients;
`

// follower makes an account with these privileges on everything and these on the database, and returns a URL for it.
func follower(t *testing.T, server *dbtest.Server, name, global, local string) string {
	t.Helper()
	server.Exec("CREATE USER " + name + "@'127.0.0.1' IDENTIFIED BY '" + password + "'")
	t.Cleanup(func() { server.Exec("DROP USER " + name + "@'127.0.0.1'") })
	if global != "" {
		server.Exec("GRANT " + global + " ON *.* TO " + name + "@'127.0.0.1'")
	}
	if local != "" {
		server.Exec("GRANT " + local + " TO " + name + "@'127.0.0.1'")
	}
	u, err := url.Parse(server.DSN(server.Database()))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return u.String()
}

const password = "follow"

// findings checks the server behind a URL.
func findings(t *testing.T, address string, o preflight.Options) []sdk.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := mysql.Connect(ctx, mysql.Settings{URL: config.NewSecret(address)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := preflight.Check(ctx, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func tables(names ...string) (list []changerow.Table) {
	for _, name := range names {
		list = append(list, changerow.Table{Table: name, Type: name, Channel: "entities"})
	}
	return list
}

// verdict is what a check has to find, beside what is unchecked or fine; everything else would be one too many.
type verdict struct{ level, code, says, hint string }

func judge(t *testing.T, list []sdk.Finding, want ...verdict) {
	t.Helper()
	var got []sdk.Finding
	for _, f := range list {
		if f.Level == "wrong" || f.Level == "warning" {
			got = append(got, f)
			if f.Fault.Hint == "" {
				t.Errorf("%s has no hint", f.Fault.Code)
			}
		}
	}
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		f, w := got[i], want[i]
		ok = string(f.Level) == w.level && f.Fault.Code == w.code && strings.Contains(f.Fault.Message, w.says) && strings.Contains(f.Fault.Hint, w.hint)
	}
	if !ok {
		t.Errorf("want %+v, found", want)
		for _, f := range list {
			t.Errorf("  %s %v (%s)", f.Level, f.Fault, f.Fault.Hint)
		}
	}
}

const monitors = "REPLICATION SLAVE, BINLOG MONITOR, REPLICATION MASTER ADMIN, SLAVE MONITOR"

func TestSettings(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t, right...)
	server.Exec(schema)
	address := follower(t, server, "follower", monitors, "SELECT ON "+server.Database()+".*")
	judge(t, findings(t, address, preflight.Options{Tables: tables("patients", "children")}))
	for _, c := range []struct {
		name, variable, value string
		want                  verdict
	}{
		{"statements", "binlog_format", "'STATEMENT'", verdict{"wrong", preflight.CodeLogFormat, "STATEMENT", "SET GLOBAL binlog_format = 'ROW'"}},
		{"mixed", "binlog_format", "'MIXED'", verdict{"wrong", preflight.CodeLogFormat, "MIXED", "SET GLOBAL binlog_format = 'ROW'"}},
		{"minimal image", "binlog_row_image", "'MINIMAL'", verdict{"wrong", preflight.CodeRowImage, "MINIMAL", "SET GLOBAL binlog_row_image = 'FULL'"}},
		{"no blobs", "binlog_row_image", "'NOBLOB'", verdict{"wrong", preflight.CodeRowImage, "NOBLOB", "SET GLOBAL binlog_row_image = 'FULL'"}},
		{"no metadata", "binlog_row_metadata", "'NO_LOG'", verdict{"warning", preflight.CodeRowMetadata, "NO_LOG", "SET GLOBAL binlog_row_metadata = 'FULL'"}},
		{"log not synced", "sync_binlog", "0", verdict{"warning", preflight.CodeSyncBinlog, "sync_binlog is 0", "SET GLOBAL sync_binlog = 1"}},
		{"tables not flushed", "innodb_flush_log_at_trx_commit", "2", verdict{"warning", preflight.CodeFlushLog, "is 2", "SET GLOBAL innodb_flush_log_at_trx_commit = 1"}},
		{"kept for minutes", "binlog_expire_logs_seconds", "600", verdict{"wrong", preflight.CodeRetention, "10m0s", "SET GLOBAL binlog_expire_logs_seconds = 604800"}},
		{"kept for a day", "expire_logs_days", "1", verdict{"warning", preflight.CodeRetention, "24h0m0s", "SET GLOBAL binlog_expire_logs_seconds = 604800"}},
	} {
		was := strings.TrimSpace(server.Query("SELECT QUOTE(@@GLOBAL." + c.variable + ")"))
		if c.value[0] != '\'' {
			was = strings.Trim(was, "'")
		}
		server.Exec("SET GLOBAL " + c.variable + " = " + c.value)
		t.Log(c.name)
		judge(t, findings(t, address, preflight.Options{Tables: tables("patients")}), c.want)
		server.Exec("SET GLOBAL " + c.variable + " = " + was)
	}
	judge(t, findings(t, address, preflight.Options{Tables: tables("patients")}))

	// The log is kept for long enough once nothing is to be copied any more.
	server.Exec("SET GLOBAL binlog_expire_logs_seconds = 600")
	judge(t, findings(t, address, preflight.Options{Tables: tables("patients"), Copied: true}),
		verdict{"warning", preflight.CodeRetention, "10m0s", "SET GLOBAL"})
	server.Exec("SET GLOBAL binlog_expire_logs_seconds = 0")
	judge(t, findings(t, address, preflight.Options{Tables: tables("patients"), ServerID: 7}),
		verdict{"wrong", preflight.CodeServerID, "the server's own", "another"})
}

func TestTables(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t, right...)
	server.Exec(schema)
	address := follower(t, server, "follower", monitors, "SELECT ON "+server.Database()+".*")
	for _, c := range []struct {
		table string
		want  verdict
	}{
		{"cascading", verdict{"wrong", preflight.CodeCascade, "a`b (c) (ON DELETE CASCADE of parents)", "DROP FOREIGN KEY `a``b (c)`"}},
		{"nulled", verdict{"wrong", preflight.CodeCascade, "fk2 (ON DELETE SET NULL of parents)", "cascades: reconcile"}},
		{"renumbered", verdict{"wrong", preflight.CodeCascade, "fk3 (ON UPDATE CASCADE of parents)", "cascades: reconcile"}},
		{"keyless", verdict{"wrong", preflight.CodeKey, "keyless", "PRIMARY KEY"}},
		{"isam", verdict{"wrong", preflight.CodeEngine, "MyISAM", "ENGINE = InnoDB"}},
		{"versioned", verdict{"wrong", preflight.CodeVersionedRows, "versioned", "DROP SYSTEM VERSIONING"}},
		{"seen", verdict{"wrong", preflight.CodeUnknownTable, "view", "tables"}},
		{"gone", verdict{"wrong", preflight.CodeUnknownTable, "gone", "GRANT SELECT"}},
		{server.Database() + "x.patients", verdict{"wrong", preflight.CodeUnknownTable, "patients", "GRANT SELECT"}},
	} {
		judge(t, findings(t, address, preflight.Options{Tables: tables(c.table)}), c.want)
	}
	judge(t, findings(t, address, preflight.Options{Tables: tables("cascading", "nulled", server.Database()+".renumbered"), Cascades: preflight.Reconcile}))
	some := changerow.Table{Table: "patients", Type: "p", Channel: "logs", Columns: []string{"id", "Name"}}
	judge(t, findings(t, address, preflight.Options{Tables: []changerow.Table{some}}),
		verdict{"wrong", preflight.CodeColumn, `"Name"`, "GRANT SELECT (`Name`)"})
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/"
	judge(t, findings(t, u.String(), preflight.Options{Tables: tables("patients")}), verdict{"wrong", preflight.CodeDatabase, "patients", "database.patients"})

	// All at once, and as one error.
	list := findings(t, address, preflight.Options{Tables: tables("keyless", "isam", "patients")})
	err = preflight.Err(list)
	if f := fault.From(err); f == nil || f.Code != preflight.CodeKey || !strings.Contains(f.Message, preflight.CodeEngine) {
		t.Error(err)
	}
	if err := preflight.Err(findings(t, address, preflight.Options{Tables: tables("patients")})); err != nil {
		t.Error(err)
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t, right...)
	server.Exec(schema)
	database := server.Database()
	patients := "SELECT ON " + database + ".patients"
	for _, c := range []struct {
		name, global, local string
		want                []verdict
	}{
		{"everything", "ALL PRIVILEGES", "", nil},
		{"enough", "REPLICATION SLAVE, REPLICATION CLIENT", patients, nil},
		{"noslave", "BINLOG MONITOR", patients, []verdict{{"wrong", preflight.CodeGrants, "lacks REPLICATION SLAVE,", "GRANT REPLICATION SLAVE ON *.* TO 'noslave'@'127.0.0.1'"}}},
		{"nomonitor", "REPLICATION SLAVE", patients, []verdict{{"wrong", preflight.CodeGrants, "lacks BINLOG MONITOR,", "GRANT BINLOG MONITOR ON *.*"}}},
		{"nothing", "", patients, []verdict{{"wrong", preflight.CodeGrants, "REPLICATION SLAVE and BINLOG MONITOR", "GRANT REPLICATION SLAVE, BINLOG MONITOR"}}},
		{"notable", "REPLICATION SLAVE, BINLOG MONITOR", "SELECT ON " + database + ".parents", []verdict{{"wrong", preflight.CodeUnknownTable, "may not read", "GRANT SELECT ON `" + database + "`.`patients` TO 'notable'@'127.0.0.1'"}}},
		{"nocolumn", "REPLICATION SLAVE, BINLOG MONITOR", "SELECT (id, born, age), INSERT ON " + database + ".patients",
			[]verdict{{"wrong", preflight.CodeGrants, "`name`", "GRANT SELECT (`name`) ON"}}},
		{"invisible", "REPLICATION SLAVE, BINLOG MONITOR", "SELECT (name) ON " + database + ".patients",
			[]verdict{{"wrong", preflight.CodeKey, "no primary key", ""}}},
	} {
		t.Log(c.name)
		judge(t, findings(t, follower(t, server, c.name, c.global, c.local), preflight.Options{Tables: tables("patients")}), c.want...)
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	t.Run("no log", func(t *testing.T) {
		t.Parallel()
		server := dbtest.MariaDB(t) // which keeps none, and is made for speed
		server.Exec("CREATE TABLE patients (id INT PRIMARY KEY)")
		list := findings(t, server.DSN(server.Database()), preflight.Options{Tables: tables("patients")})
		if f := fault.From(preflight.Err(list)); f == nil || f.Code != preflight.CodeLogOff || !strings.Contains(f.Hint, "log_bin") {
			t.Errorf("%v", f)
		}
	})
	t.Run("replica", func(t *testing.T) {
		t.Parallel()
		server := dbtest.Private(t, append(right, "--log-slave-updates=0", "--binlog-ignore-db=other")...)
		server.Exec("CREATE TABLE patients (id INT PRIMARY KEY)")
		filter := verdict{"wrong", preflight.CodeLogFilter, "binlog_ignore_db is other", "take binlog_ignore_db out"}
		judge(t, findings(t, server.DSN(server.Database()), preflight.Options{Tables: tables("patients")}), filter)
		server.Exec("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'x', MASTER_PASSWORD = 'x'")
		judge(t, findings(t, server.DSN(server.Database()), preflight.Options{Tables: tables("patients")}), filter,
			verdict{"wrong", preflight.CodeReplicaLog, "log_slave_updates is OFF", "log_slave_updates = ON"})
	})
	t.Run("filter", func(t *testing.T) {
		t.Parallel()
		server := dbtest.Private(t, append(right, "--binlog-do-db=practice")...)
		server.Exec("CREATE TABLE patients (id INT PRIMARY KEY)")
		judge(t, findings(t, server.DSN(server.Database()), preflight.Options{Tables: tables("patients")}),
			verdict{"wrong", preflight.CodeLogFilter, "binlog_do_db is practice", "take binlog_do_db out"})
	})
}

// TestTableThatChanges: a table that is truncated and altered all the time is there at every look, with its key.
func TestTableThatChanges(t *testing.T) {
	t.Parallel()
	server := dbtest.Private(t, right...)
	server.Exec(schema)
	ctx, stop := context.WithCancel(t.Context())
	var changing sync.WaitGroup
	changes := 0
	changing.Go(func() {
		for ; ctx.Err() == nil; changes++ {
			server.Exec("TRUNCATE TABLE patients; ALTER TABLE patients MODIFY name VARCHAR(20), FORCE;" +
				strings.Repeat("TRUNCATE TABLE patients;", 20))
		}
	})
	for range 100 {
		judge(t, findings(t, server.DSN(server.Database()), preflight.Options{Tables: tables("patients")}))
		if t.Failed() {
			break
		}
	}
	stop()
	changing.Wait()
	if changes < 3 {
		t.Errorf("the table was changed %d times 22", changes)
	}
}
