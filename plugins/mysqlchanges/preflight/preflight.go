// Package preflight checks whether a server of MySQL or MariaDB can be followed by its binary log without losing
// anything: what the log holds and for how long, what the account may do, and what the tables of a stream are like. Each
// finding has a code, says what was found and expected, and has the statement that mends it. It changes nothing on the
// server, and judges the server only: what a session may do against the server's settings shows in the log, event by event.
package preflight

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of findings.
const (
	CodeVersion       = "changes.version"
	CodeLogOff        = "changes.log_off"
	CodeLogFormat     = "changes.log_format"
	CodeRowImage      = "changes.row_image"
	CodePartialJSON   = "changes.partial_json"
	CodeRowMetadata   = "changes.row_metadata"
	CodeRetention     = "changes.retention"
	CodeSyncBinlog    = "changes.sync_binlog"
	CodeFlushLog      = "changes.flush_log"
	CodeErrorAction   = "changes.error_action"
	CodeLogFilter     = "changes.log_filter"
	CodeReplicaLog    = "changes.replica_log"
	CodeServerID      = "changes.server_id"
	CodeGrants        = "changes.grants"
	CodeDatabase      = "changes.database"
	CodeUnknownTable  = "changes.unknown_table"
	CodeColumn        = changerow.CodeColumn
	CodeKey           = changerow.CodeKey
	CodeEngine        = "changes.engine"
	CodeVersionedRows = "changes.versioned_rows"
	CodeCascade       = "changes.cascade"
)

// Reconcile is the value of the setting cascades that allows foreign keys that cascade.
const Reconcile = "reconcile"

// Options say what a stream wants of a server.
type Options struct {
	Tables []changerow.Table
	// Cascades is the setting of that name; any other value than Reconcile refuses.
	Cascades string
	// ServerID is the one that the reader will have; 0 is one that it finds free.
	ServerID uint32
	// Copied says that the first copy is done: retention is not held against its length then.
	Copied bool
}

// Check finds what keeps a server from being followed, and what makes it unwise, in the order in which a person would mend
// it. The error is that of a server that does not answer.
func Check(ctx context.Context, s *mysql.Session, o Options) ([]sdk.Finding, error) {
	c := &check{ctx: ctx, s: s, o: o}
	for _, part := range []func() error{c.readVariables, c.checkVersion, c.checkLog, c.checkLoss, c.checkGrants, c.checkStatus, c.checkReplicas, c.checkTables} {
		if err := part(); err != nil {
			return c.report.Findings, err
		}
	}
	return c.report.Findings, nil
}

// Err is the first finding that would end a run, which names the others; nil where there is none.
func Err(findings []sdk.Finding) error {
	var first *fault.Fault
	for _, f := range findings {
		switch {
		case f.Level != "wrong":
		case first == nil:
			whole := *f.Fault
			first = &whole
		default:
			first.Message += "; " + f.Fault.Message + " (" + f.Fault.Code + ": " + f.Fault.Hint + ")"
		}
	}
	if first == nil {
		return nil
	}
	return first
}

// check is one check of a server.
type check struct {
	ctx       context.Context
	s         *mysql.Session
	o         Options
	report    sdk.Report
	variables map[string]string // global ones, by their names in lower case
	grants    []string          // what the account was granted on everything, in upper case
	logOff    bool
}

func (c *check) wrong(code, format string, args ...any) *fault.Fault {
	f := fault.New(code, fault.Source, format, args...)
	c.report.Wrong(f)
	return f
}

func (c *check) warn(code, format string, args ...any) *fault.Fault {
	f := fault.New(code, fault.Source, format, args...)
	c.report.Warn(f)
	return f
}

// rows asks the server; false says that it answered with an error, which has that number.
func (c *check) rows(sql string, visit func(row []string)) (errno int, err error) {
	err = c.s.Rows(c.ctx, sql, visit)
	var f *fault.Fault
	if errors.As(err, &f) {
		if errno, bad := strconv.Atoi(f.Details["errno"]); bad == nil && errno > 0 {
			return errno, nil
		}
	}
	return 0, err
}

// readVariables reads the server's variables. That of the session are not those of others.
func (c *check) readVariables() error {
	c.variables = map[string]string{}
	return c.s.Rows(c.ctx, "SHOW GLOBAL VARIABLES", func(row []string) {
		if len(row) == 2 {
			c.variables[strings.ToLower(row[0])] = row[1]
		}
	})
}

// variable is the value of the first of some variables that the server has.
func (c *check) variable(names ...string) (value string, found bool) {
	for _, name := range names {
		if value, found = c.variables[name]; found {
			return value, true
		}
	}
	return "", false
}

// on reads a variable that is ON or 1.
func on(value string) bool { return strings.EqualFold(value, "ON") || value == "1" }

// set is the statement that sets a variable for good, and in MariaDB, which forgets it, where it has to stand as well.
func (c *check) set(name, value string) string {
	if c.s.MariaDB() {
		return "SET GLOBAL " + name + " = " + value + ", and " + name + " = " + strings.Trim(value, "'") + " under [mariadbd] in the server's my.cnf"
	}
	return "SET PERSIST " + name + " = " + value
}

// option is what has to stand in the server's file of options, for a variable that only a start sets.
func (c *check) option(line string) string {
	section := "[mysqld]"
	if c.s.MariaDB() {
		section = "[mariadbd]"
	}
	return line + " under " + section + " in the server's my.cnf, and restart the server"
}

// numbers are the first numbers of a version.
func numbers(version string) (n [3]int) {
	for i, part := range strings.SplitN(version, ".", 3) {
		end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			part = part[:end]
		}
		n[i], _ = strconv.Atoi(part)
	}
	return n
}

// older reports whether the server's version is below one.
func (c *check) older(than ...int) bool {
	version := numbers(c.s.Version())
	for i, n := range than {
		if version[i] != n {
			return version[i] < n
		}
	}
	return false
}

func (c *check) checkVersion() error {
	switch {
	case c.s.MariaDB() && c.older(10, 5):
		c.warn(CodeVersion, "the server is MariaDB %s, and streams are tested with 10.11", c.s.Version()).
			WithHint("upgrade the server to a version that its maker still supports")
	case !c.s.MariaDB() && c.older(8):
		c.wrong(CodeVersion, "the server is MySQL %s, and a stream needs 8.0", c.s.Version()).
			WithHint("upgrade the server, or use the source mysql-poll")
	case !c.s.MariaDB() && c.older(8, 0, 22):
		c.warn(CodeVersion, "the server is MySQL %s, where SELECT … FOR SHARE, with which the first copy reads, needs LOCK TABLES", c.s.Version()).
			WithHint("GRANT LOCK TABLES ON the databases of the stream TO %s, or upgrade the server", c.account())
	}
	return nil
}

// account is what a statement calls the account, as far as a person can complete it.
func (c *check) account() string {
	name := "the account"
	if c.s.Rows(c.ctx, "SELECT CURRENT_USER()", func(row []string) {
		if user, host, ok := strings.Cut(strings.Join(row, ""), "@"); ok {
			name = c.s.QuoteText(user) + "@" + c.s.QuoteText(host)
		}
	}) != nil {
		return "the account" // the next question will meet the error
	}
	return name
}

// checkLog looks at what the log holds.
func (c *check) checkLog() error {
	if value, _ := c.variable("log_bin"); !on(value) {
		c.logOff = true
		c.wrong(CodeLogOff, "the server keeps no binary log (log_bin is OFF)").
			WithHint("%s; or use the source mysql-poll", c.option("log_bin = binlog and server_id = 1"))
	}
	if value, ok := c.variable("binlog_format"); ok && !strings.EqualFold(value, "ROW") {
		c.wrong(CodeLogFormat, "binlog_format is %s, so that the log has statements instead of rows", value).
			WithHint("%s; connections that are open keep the old one, so restart what writes", c.set("binlog_format", "'ROW'"))
	}
	if value, ok := c.variable("binlog_row_image"); ok && !strings.EqualFold(value, "FULL") {
		c.wrong(CodeRowImage, "binlog_row_image is %s, so that the log lacks columns that a statement did not change", value).
			WithHint("%s; connections that are open keep the old one, so restart what writes", c.set("binlog_row_image", "'FULL'"))
	}
	if value, _ := c.variable("binlog_row_value_options"); strings.Contains(strings.ToUpper(value), "PARTIAL_JSON") {
		c.wrong(CodePartialJSON, "binlog_row_value_options is %s, so that the log has parts of JSON documents", value).
			WithHint("%s; connections that are open keep the old one, so restart what writes", c.set("binlog_row_value_options", "''"))
	}
	if value, ok := c.variable("binlog_row_metadata"); ok && strings.EqualFold(value, "NO_LOG") {
		c.warn(CodeRowMetadata, "binlog_row_metadata is NO_LOG: the log does not say which of its numbers are unsigned nor what its columns are called, and the tables as they are now have to say it").
			WithHint("%s, so that the two are held against one another", c.set("binlog_row_metadata", "'FULL'"))
	}
	return nil
}

// checkLoss looks at settings by which a server may lose what it has logged, or log what it loses.
func (c *check) checkLoss() error {
	if value, ok := c.variable("sync_binlog"); ok && value != "1" {
		c.warn(CodeSyncBinlog, "sync_binlog is %s: when the server's machine goes down, tables may hold changes that its log has lost, and the copy never gets them", value).
			WithHint("%s", c.set("sync_binlog", "1"))
	}
	if value, ok := c.variable("innodb_flush_log_at_trx_commit"); ok && value != "1" {
		c.warn(CodeFlushLog, "innodb_flush_log_at_trx_commit is %s: when the server goes down, its log may hold changes that the tables have lost, and the copy keeps them", value).
			WithHint("%s", c.set("innodb_flush_log_at_trx_commit", "1"))
	}
	if value, ok := c.variable("binlog_error_action"); ok && strings.EqualFold(value, "IGNORE_ERROR") {
		c.wrong(CodeErrorAction, "binlog_error_action is IGNORE_ERROR: the server goes on without its log when it cannot write it, and nothing says what is missing").
			WithHint("%s", c.set("binlog_error_action", "'ABORT_SERVER'"))
	}
	if value, ok := c.variable("server_id"); ok && value == "0" {
		c.wrong(CodeServerID, "server_id is 0, and a server without one sends its log to nobody").WithHint("%s", c.set("server_id", "1"))
	} else if id, err := strconv.ParseUint(value, 10, 32); ok && err == nil && c.o.ServerID != 0 && uint32(id) == c.o.ServerID {
		c.wrong(CodeServerID, "the setting server_id is %s, which is the server's own", value).WithHint("choose another one, or leave it 0")
	}
	return nil
}

// shortRetention is how long a log should be kept at least, so that a stream can stand for a long weekend.
const shortRetention = 4 * 24 * time.Hour

// retention is how long the server keeps its log; 0 is for ever.
func (c *check) retention() (kept time.Duration, name, value string) {
	// Where both are there, the one that is not 0 counts.
	for _, v := range []struct {
		name string
		unit time.Duration
	}{{"binlog_expire_logs_seconds", time.Second}, {"expire_logs_days", 24 * time.Hour}} {
		text := c.variables[v.name]
		if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 {
			return time.Duration(n * float64(v.unit)), v.name, text
		}
	}
	return 0, "", ""
}

// checkRetention holds how long the log is kept against how long the first copy will take.
func (c *check) checkRetention(rows, bytes int64) {
	if c.logOff {
		return
	}
	if value, _ := c.variable("binlog_expire_logs_auto_purge"); value != "" && !on(value) {
		return
	}
	if value, _ := c.variable("max_binlog_total_size", "binlog_space_limit"); value != "" && value != "0" {
		c.warn(CodeRetention, "the log is thrown away by its size, above %s bytes, however old it is", value).
			WithHint("let its age decide: %s", c.set("max_binlog_total_size", "0"))
	}
	kept, name, value := c.retention()
	if kept == 0 {
		return
	}
	mend := c.set("binlog_expire_logs_seconds", "604800")
	if _, ok := c.variable("binlog_expire_logs_seconds"); !ok {
		mend = c.set("expire_logs_days", "7")
	}
	needed := copyTime(rows, bytes)
	switch {
	case !c.o.Copied && kept < needed:
		c.wrong(CodeRetention, "%s is %s: the log is kept for %v, and the first copy, of about %d rows, may take %v", name, value, kept, rows, needed).
			WithHint("%s", mend)
	case kept < shortRetention:
		c.warn(CodeRetention, "%s is %s: the log is kept for %v, and a stream that stands for longer has to copy everything again", name, value, kept).
			WithHint("%s", mend)
	}
}

// The pace of a first copy on a slow machine, beside a receiver that does not hold it up, and what it takes at least.
const (
	slowRows  = 2_000
	slowBytes = 2 << 20
	leastCopy = time.Hour
)

// copyTime is how long a first copy may take.
func copyTime(rows, bytes int64) time.Duration {
	seconds := max(rows/slowRows, bytes/slowBytes)
	return max(leastCopy, time.Duration(seconds)*time.Second)
}
