package preflight

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
)

// table is what the catalogue says of one.
type table struct {
	setting        *changerow.Table
	database, name string
	sort, engine   string
	rows, bytes    int64
	columns        []column
	key            []string
}

type column struct {
	name      string
	readable  bool
	generated bool
}

// quoted is the table's name in a statement.
func (t *table) quoted() string { return mysql.QuoteName(t.database) + "." + mysql.QuoteName(t.name) }

// checkTables looks at every table of the stream, and at the log's retention, which depends on how much they hold.
func (c *check) checkTables() error {
	var rows, bytes int64
	for i := range c.o.Tables {
		setting := &c.o.Tables[i]
		database, name := setting.Name()
		if database == "" {
			database = c.s.Database()
		}
		if database == "" {
			c.wrong(CodeDatabase, "table %s: neither the setting nor the connection URL names its database", setting.Table).
				WithHint("write database.%s, or put the database behind the URL's host: …:3306/database", setting.Table)
			continue
		}
		t, err := c.look(setting, database, name)
		if err != nil {
			return err
		}
		if t == nil {
			c.wrong(CodeUnknownTable, "table %s.%s is not there, or the account may not read it", database, name).
				WithHint("correct the name, or GRANT SELECT ON %s.%s TO %s", mysql.QuoteName(database), mysql.QuoteName(name), c.account())
			continue
		}
		rows, bytes = rows+t.rows, bytes+t.bytes
		if err := c.checkTable(t); err != nil {
			return err
		}
	}
	c.checkRetention(rows, bytes)
	return nil
}

// look finds a table in the catalogue, as the account sees it; nil where it does not.
func (c *check) look(setting *changerow.Table, database, name string) (t *table, err error) {
	err = Hold(c.ctx, c.s, database, name, func() (err error) {
		t, err = c.read(setting, database, name)
		return err
	})
	return t, err
}

func (c *check) read(setting *changerow.Table, database, name string) (*table, error) {
	where := fmt.Sprintf(" WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s", c.s.QuoteText(database), c.s.QuoteText(name))
	var t *table
	err := c.s.Rows(c.ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES"+where, func(row []string) {
		t = &table{setting: setting, database: row[0], name: row[1], sort: row[2], engine: row[3]}
		t.rows, _ = strconv.ParseInt(row[4], 10, 64) // of a view there are none
		t.bytes, _ = strconv.ParseInt(row[5], 10, 64)
	})
	if err != nil || t == nil {
		return nil, err
	}
	err = c.s.Rows(c.ctx, "SELECT COLUMN_NAME, PRIVILEGES, EXTRA FROM information_schema.COLUMNS"+where+" ORDER BY ORDINAL_POSITION", func(row []string) {
		extra := strings.ToUpper(row[2])
		t.columns = append(t.columns, column{name: row[0],
			readable:  slices.Contains(strings.Split(row[1], ","), "select"),
			generated: strings.Contains(extra, "VIRTUAL GENERATED") || strings.Contains(extra, "STORED GENERATED")})
	})
	if err != nil {
		return nil, err
	}
	// Not COLUMN_KEY, which calls a unique key primary where there is none.
	err = c.s.Rows(c.ctx, "SELECT COLUMN_NAME FROM information_schema.STATISTICS"+where+" AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX", func(row []string) {
		t.key = append(t.key, row[0])
	})
	return t, err
}

// checkTable looks at one table that is there.
func (c *check) checkTable(t *table) error {
	switch {
	case t.sort == "SYSTEM VERSIONED":
		c.wrong(CodeVersionedRows, "table %s is system-versioned: the log has rows of its history among those of the table", t.setting.Table).
			WithHint("ALTER TABLE %s DROP SYSTEM VERSIONING, or leave it out", t.quoted())
		return nil
	case t.sort != "BASE TABLE":
		c.wrong(CodeUnknownTable, "%s is a %s, of which the log has no rows", t.setting.Table, strings.ToLower(t.sort)).
			WithHint("name the tables that it reads")
		return nil
	case !strings.EqualFold(t.engine, "InnoDB"):
		c.wrong(CodeEngine, "table %s is kept by %s, which has no transactions: the log may have changes that are not there, and the reverse", t.setting.Table, t.engine).
			WithHint("ALTER TABLE %s ENGINE = InnoDB", t.quoted())
	}
	if len(t.key) == 0 {
		c.wrong(CodeKey, "table %s has no primary key, or none that the account may read, so that its rows have no ids", t.setting.Table).
			WithHint("ALTER TABLE %s ADD COLUMN number BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, or make a key of columns that it has; or leave it out", t.quoted())
	}
	var unreadable, generated []string
	for _, col := range t.columns {
		wanted := len(t.setting.Columns) == 0 || slices.Contains(t.setting.Columns, col.name)
		if !col.readable && (wanted || slices.Contains(t.key, col.name)) {
			unreadable = append(unreadable, mysql.QuoteName(col.name))
		}
		if col.generated && wanted {
			generated = append(generated, col.name)
		}
	}
	if len(unreadable) > 0 {
		c.wrong(CodeGrants, "the account may not read the columns %s of table %s", strings.Join(unreadable, ", "), t.setting.Table).
			WithHint("GRANT SELECT (%s) ON %s TO %s", strings.Join(unreadable, ", "), t.quoted(), c.account())
	}
	for _, name := range t.setting.Columns {
		if !slices.ContainsFunc(t.columns, func(col column) bool { return col.name == name }) {
			c.wrong(CodeColumn, "table %s has no column %q, or the account may not read it", t.setting.Table, name).
				WithHint("correct the name, as the table has it, or GRANT SELECT (%s) ON %s TO %s", mysql.QuoteName(name), t.quoted(), c.account())
		}
	}
	if len(generated) > 0 {
		c.report.Unchecked("table %s: the columns %s are computed by the server; the log has their values, and where a row's lacks one the stream stops there",
			t.setting.Table, strings.Join(generated, ", "))
	}
	return c.checkCascades(t)
}

// ForeignKey is one by which a server changes rows of a table without logging it.
type ForeignKey struct {
	Name    string
	Columns []string
	// Database, which is empty where it is the table's own, Parent and Referenced are what it refers to.
	Database, Parent string
	Referenced       []string
	// OnDelete and OnUpdate are CASCADE or SET NULL, or empty where the rule changes nothing.
	OnDelete, OnUpdate string
}

// does is its rules in words.
func (k *ForeignKey) does() string {
	var does []string
	if k.OnDelete != "" {
		does = append(does, "ON DELETE "+k.OnDelete)
	}
	if k.OnUpdate != "" {
		does = append(does, "ON UPDATE "+k.OnUpdate)
	}
	return strings.Join(does, " ")
}

// quotedName is a name as SHOW CREATE TABLE writes it, and quotedNames a list of them.
const (
	quotedName  = "(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\")"
	quotedNames = "(" + quotedName + "(?:, " + quotedName + ")*)"
)

var eachName = regexp.MustCompile(quotedName)

// foreignKey is a line of SHOW CREATE TABLE, which account and catalogue show the same: information_schema shows constraints
// only to who may write. It is compiled when it is needed: every plugin process would pay for it.
var foreignKey = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^  CONSTRAINT (` + quotedName + `) FOREIGN KEY \(` + quotedNames + `\) REFERENCES (?:(` + quotedName + `)\.)?(` + quotedName +
		`) \(` + quotedNames + `\)( ON DELETE (?:RESTRICT|CASCADE|SET NULL|NO ACTION|SET DEFAULT))?( ON UPDATE (?:RESTRICT|CASCADE|SET NULL|NO ACTION|SET DEFAULT))?,?$`)
})

// unquote takes the quotes off a name.
func unquote(name string) string {
	if len(name) < 2 {
		return name
	}
	quote := name[:1]
	return strings.ReplaceAll(name[1:len(name)-1], quote+quote, quote)
}

// silentKeys reads the foreign keys that change rows of a table out of its definition.
func silentKeys(definition string) (keys []ForeignKey) {
	for line := range strings.Lines(definition) {
		m := foreignKey().FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		k := ForeignKey{Name: unquote(m[1]), Columns: unquoteAll(m[2]), Database: unquote(m[3]), Parent: unquote(m[4]), Referenced: unquoteAll(m[5]),
			OnDelete: rule(m[6], " ON DELETE "), OnUpdate: rule(m[7], " ON UPDATE ")}
		if k.does() != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

func unquoteAll(list string) []string {
	names := eachName.FindAllString(list, -1)
	for i, name := range names {
		names[i] = unquote(name)
	}
	return names
}

// rule is what a rule does to rows; empty where it keeps them.
func rule(text, on string) string {
	text = strings.TrimPrefix(text, on)
	if text == "RESTRICT" || text == "NO ACTION" {
		return ""
	}
	return text
}

// SilentKeys are the foreign keys that change rows of a table behind the log's back. The account has to see its definition.
func SilentKeys(ctx context.Context, s *mysql.Session, database, table string) ([]ForeignKey, error) {
	definition := ""
	err := s.Rows(ctx, "SHOW CREATE TABLE "+mysql.QuoteName(database)+"."+mysql.QuoteName(table), func(row []string) {
		if len(row) > 1 {
			definition = row[1]
		}
	})
	return silentKeys(definition), err
}

// LogsCascades reports whether the server writes to its log what foreign keys change.
func LogsCascades(ctx context.Context, s *mysql.Session) (bool, error) {
	c := &check{ctx: ctx, s: s}
	err := c.readVariables()
	return c.logsCascades(), err
}

// logsCascades reports whether the server writes to its log what foreign keys change.
func (c *check) logsCascades() bool {
	native, there := c.variable("innodb_native_foreign_keys")
	return !c.s.MariaDB() && !c.older(9, 6) && !(there && on(native))
}

// checkCascades refuses tables whose rows a foreign key changes behind the log's back.
func (c *check) checkCascades(t *table) error {
	if c.logsCascades() {
		return nil
	}
	keys, err := c.cascades(t)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if c.o.Cascades == Reconcile {
			c.report.Fine("table %s: rows that the foreign key %s changes (%s of %s) are read again", t.setting.Table, k.Name, k.does(), k.Parent)
			continue
		}
		c.wrong(CodeCascade, "table %s: the foreign key %s (%s of %s) changes rows, and this server does not log that", t.setting.Table, k.Name, k.does(), k.Parent).
			WithHint("set cascades: reconcile, which reads those rows again; or ALTER TABLE %s DROP FOREIGN KEY %s, and add it again with RESTRICT",
				t.quoted(), mysql.QuoteName(k.Name))
	}
	return nil
}

func (c *check) cascades(t *table) ([]ForeignKey, error) {
	var definition string
	errno, err := c.rows("SHOW CREATE TABLE "+t.quoted(), func(row []string) {
		if len(row) > 1 {
			definition = row[1]
		}
	})
	if errno != 0 {
		c.report.Unchecked("whether foreign keys change rows of table %s: the server does not show its definition (error %d)", t.setting.Table, errno)
	}
	return silentKeys(definition), err
}
