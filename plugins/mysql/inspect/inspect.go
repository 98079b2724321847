// Package inspect reads what a database of MySQL or MariaDB says of itself, as far as an account can see it: tables,
// views and procedures, their columns, keys and parameters, and about how many rows there are. It reads the server's
// catalogue and has statements prepared; it never reads a row of the database. What the account may not see or read
// is said, with the grant that mends it.
package inspect

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// CodeNoDatabase is the code of a connection URL that names no database.
const CodeNoDatabase = "inspect.no_database"

// Database is what an account sees of one.
type Database struct {
	// Server is the server's version, Account who asks, as the server knows it.
	Server  string `json:"server"`
	Account string `json:"account"`
	Name    string `json:"database"`
	// Tables and Procedures are in the order of their names.
	Tables     []Table     `json:"tables"`
	Procedures []Procedure `json:"procedures"`
	// Missing is what the account may not see or read.
	Missing []Missing `json:"missing"`

	fold bool // the case of tables' names does not matter
}

// Table is a table or a view.
type Table struct {
	Name string `json:"name"`
	View bool   `json:"view"`
	// Engine is that of a table, such as InnoDB.
	Engine string `json:"engine,omitempty"`
	// Rows is about how many there are, by the server's statistics; nil where they do not say, as of a view.
	Rows    *int64   `json:"rows_estimate"`
	Comment string   `json:"comment,omitempty"`
	Columns []Column `json:"columns"`
	// Keys are the indexes, the primary key first.
	Keys []Key `json:"keys"`
	// ForeignKeys are the table's own, ReferencedBy those of tables of the same database, itself among them, that refer
	// to it; in the order of their tables' and their own names.
	ForeignKeys  []ForeignKey `json:"foreign_keys"`
	ReferencedBy []ForeignKey `json:"referenced_by"`
}

// Column is one of a table.
type Column struct {
	Name string `json:"name"`
	// MySQL is the type as declared, Type the one that it becomes, in the words of a pipeline's columns. Type is
	// empty before Describe, and where the account may not read the column.
	MySQL    string `json:"mysql_type"`
	Type     string `json:"type,omitempty"`
	Nullable bool   `json:"nullable"`
	// Generated columns are computed by the server; those that are not visible are not among SELECT *.
	Generated bool   `json:"generated,omitempty"`
	Invisible bool   `json:"invisible,omitempty"`
	Readable  bool   `json:"readable"`
	Comment   string `json:"comment,omitempty"`
}

// Key is an index.
type Key struct {
	Name    string `json:"name"`
	Primary bool   `json:"primary,omitempty"`
	Unique  bool   `json:"unique"`
	// Columns are in the order of the index; one that is an expression is empty.
	Columns []string `json:"columns"`
}

// ForeignKey says that columns of one table hold those of a row of another.
type ForeignKey struct {
	Name string `json:"name"`
	// Table has the key. Columns are its, in the key's order, and those alone that the account sees.
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
	// ReferencedDatabase is that of ReferencedTable; empty where it is Table's. ReferencedColumns are as many as Columns.
	ReferencedDatabase string   `json:"referenced_database,omitempty"`
	ReferencedTable    string   `json:"referenced_table"`
	ReferencedColumns  []string `json:"referenced_columns"`
}

// Procedure is a stored procedure.
type Procedure struct {
	Name    string `json:"name"`
	Comment string `json:"comment,omitempty"`
	// Access is what it is declared to do with data, as the server writes it, which holds nobody to it: "READS SQL
	// DATA", "NO SQL", "MODIFIES SQL DATA", or "CONTAINS SQL", which is what it says where nothing was declared.
	Access string `json:"access,omitempty"`
	// Callable says that the account may call it.
	Callable bool `json:"callable"`
	// Hidden says that the catalogue shows the account no more than its name.
	Hidden     bool        `json:"hidden,omitempty"`
	Parameters []Parameter `json:"parameters"`
}

// Parameter is one of a procedure.
type Parameter struct {
	Name string `json:"name"`
	// Mode is IN, OUT or INOUT.
	Mode  string `json:"mode"`
	MySQL string `json:"mysql_type"`
}

// Missing is something that the account may not see or read.
type Missing struct {
	// About is the table or procedure; empty where it is the database.
	About   string `json:"about,omitempty"`
	Message string `json:"message"`
	// Mend is the statement that grants it, or what else to do.
	Mend string `json:"mend,omitempty"`
}

// Key is the primary key's columns; nil where there is none.
func (t *Table) Key() []string {
	if len(t.Keys) > 0 && t.Keys[0].Primary {
		return t.Keys[0].Columns
	}
	return nil
}

// Readable lists the columns that the account may read and that are visible.
func (t *Table) Readable() (list []Column) {
	for _, c := range t.Columns {
		if c.Readable && !c.Invisible {
			list = append(list, c)
		}
	}
	return list
}

// Table finds one by its name; nil where there is none that the account sees.
func (d *Database) Table(name string) *Table {
	return find(d.Tables, name, d.fold, func(t *Table) string { return t.Name })
}

// Procedure finds one by its name, whose case does not matter; nil where there is none that the account sees.
func (d *Database) Procedure(name string) *Procedure {
	return find(d.Procedures, name, true, func(p *Procedure) string { return p.Name })
}

// find looks for exactly that name, and then, where fold says so, for one of other case.
func find[T any](list []T, name string, fold bool, nameOf func(*T) string) *T {
	i := slices.IndexFunc(list, func(t T) bool { return nameOf(&t) == name })
	if i < 0 && fold {
		i = slices.IndexFunc(list, func(t T) bool { return strings.EqualFold(nameOf(&t), name) })
	}
	if i < 0 {
		return nil
	}
	return &list[i]
}

// ColumnType is a column's type in the words of a pipeline's columns, where a time has no zone, and an untyped NULL
// is text.
func ColumnType(f arrow.Field) string {
	if f.Type.ID() == arrow.NULL {
		return "string"
	}
	text, _, _ := strings.Cut(sdk.TypeName(f), " in ")
	return text
}

// reader reads one database's part of the catalogue.
type reader struct {
	ctx context.Context
	s   *mysql.Session
	d   *Database
	err error
}

// Read reads what the account sees of the connection's database. The types that columns become are for Describe.
func Read(ctx context.Context, s *mysql.Session) (*Database, error) {
	d := &Database{Server: s.Version(), Name: s.Database(), Tables: []Table{}, Procedures: []Procedure{},
		Missing: []Missing{}}
	r := &reader{ctx: ctx, s: s, d: d}
	if d.Name == "" {
		return nil, r.noDatabase()
	}
	r.rows("SELECT CURRENT_USER(), @@lower_case_table_names", func(row []string) {
		d.Account, d.fold = row[0],
			row[1] != "0"
	})
	r.tables()
	r.columns()
	r.keys()
	r.foreignKeys()
	grants, err := s.Grants(ctx)
	if r.err == nil {
		r.err = err
	}
	r.procedures(grants)
	if r.err != nil {
		return nil, r.err
	}
	d.judge(s, grants)
	return d, nil
}

// rows visits the rows of a statement, unless one before it has failed.
func (r *reader) rows(sql string, visit func(row []string)) {
	if r.err == nil {
		r.err = r.s.Rows(r.ctx, sql, visit)
	}
}

// own visits the rows of a query whose first two columns are a database and the name of something in it, and whose
// text ends in a condition on the former. The server compares by a collation that takes names for equal that are not;
// so they are compared again. The row is without the first column.
func (r *reader) own(sql, order string, visit func(row []string)) {
	r.rows(sql+" = "+r.s.QuoteText(r.d.Name)+order, func(row []string) {
		if row[0] == r.d.Name || r.d.fold && strings.EqualFold(row[0], r.d.Name) {
			visit(row[1:])
		}
	})
}

func (r *reader) noDatabase() error {
	var names []string
	r.rows("SHOW DATABASES", func(row []string) {
		if !slices.Contains([]string{"information_schema", "performance_schema", "mysql", "sys"},
			strings.ToLower(row[0])) {
			names = append(names, row[0])
		}
	})
	if r.err != nil {
		return r.err
	}
	f := fault.New(CodeNoDatabase, fault.Usage, "the connection URL names no database")
	if len(names) == 0 {
		return f.WithHint("write mysql://user:password@host:3306/database; the account sees none, so it has to be granted something first")
	}
	return f.WithHint("write mysql://user:password@host:3306/%s; the account sees: %s", names[0], strings.Join(names,
		", "))
}

func (r *reader) tables() {
	r.own("SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, TABLE_COMMENT FROM information_schema.TABLES"+
		" WHERE TABLE_TYPE IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') AND TABLE_SCHEMA", " ORDER BY TABLE_NAME",
		func(row []string) {
			t := Table{Name: row[0], View: row[1] == "VIEW", Engine: row[2], Comment: row[4], Columns: []Column{},
				Keys: []Key{}, ForeignKeys: []ForeignKey{}, ReferencedBy: []ForeignKey{}}
			if t.View {
				t.Comment = "" // VIEW, or what is wrong with it
			} else if n, err := strconv.ParseInt(row[3], 10, 64); err == nil {
				t.Rows = &n
			}
			r.d.Tables = append(r.d.Tables, t)
		})
}

// table is the one that a row of the catalogue is about.
func (r *reader) table(name string) *Table {
	return find(r.d.Tables, name, false, func(t *Table) string { return t.Name })
}

func (r *reader) columns() {
	r.own("SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, EXTRA, PRIVILEGES, COLUMN_COMMENT"+
		" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA", " ORDER BY TABLE_NAME, ORDINAL_POSITION", func(row []string) {
		if t := r.table(row[0]); t != nil {
			extra := strings.ToUpper(row[4])
			t.Columns = append(t.Columns, Column{Name: row[1], MySQL: row[2], Nullable: row[3] == "YES",
				Generated: strings.Contains(extra, "VIRTUAL GENERATED") || strings.Contains(extra, "STORED GENERATED"),
				Invisible: strings.Contains(extra, "INVISIBLE"), Readable: slices.Contains(strings.Split(row[5], ","),
					"select"), Comment: row[6]})
		}
	})
}

func (r *reader) keys() {
	r.own("SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA",
		" ORDER BY TABLE_NAME, INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX", func(row []string) {
			t := r.table(row[0])
			if t == nil {
				return
			}
			if n := len(t.Keys); n == 0 || t.Keys[n-1].Name != row[1] {
				t.Keys = append(t.Keys, Key{Name: row[1], Primary: row[1] == "PRIMARY", Unique: row[2] == "0"})
			}
			k := &t.Keys[len(t.Keys)-1]
			k.Columns = append(k.Columns, row[3])
		})
}

func (r *reader) foreignKeys() {
	r.own("SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME,"+
		" REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA",
		" ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION", func(row []string) {
			t := r.table(row[0])
			if t == nil {
				return
			}
			if n := len(t.ForeignKeys); n == 0 || t.ForeignKeys[n-1].Name != row[1] {
				key := ForeignKey{Name: row[1], Table: t.Name, ReferencedDatabase: row[3], ReferencedTable: row[4]}
				if row[3] == r.d.Name || r.d.fold && strings.EqualFold(row[3], r.d.Name) {
					key.ReferencedDatabase = ""
				}
				t.ForeignKeys = append(t.ForeignKeys, key)
			}
			key := &t.ForeignKeys[len(t.ForeignKeys)-1]
			key.Columns, key.ReferencedColumns = append(key.Columns, row[2]), append(key.ReferencedColumns, row[5])
		})
	for i := range r.d.Tables {
		for _, key := range r.d.Tables[i].ForeignKeys {
			if to := r.d.Table(key.ReferencedTable); to != nil && key.ReferencedDatabase == "" {
				to.ReferencedBy = append(to.ReferencedBy, key)
			}
		}
	}
}

func (r *reader) procedures(grants mysql.Grants) {
	r.own("SELECT ROUTINE_SCHEMA, ROUTINE_NAME, SQL_DATA_ACCESS, ROUTINE_COMMENT FROM information_schema.ROUTINES"+
		" WHERE ROUTINE_TYPE = 'PROCEDURE' AND ROUTINE_SCHEMA", " ORDER BY ROUTINE_NAME", func(row []string) {
		r.d.Procedures = append(r.d.Procedures, Procedure{Name: row[0], Access: row[1], Comment: row[2],
			Parameters: []Parameter{},
			Callable:   len(grants) == 0 || grants.Execute(r.d.Name, row[0])})
	})
	r.own("SELECT SPECIFIC_SCHEMA, SPECIFIC_NAME, PARAMETER_NAME, PARAMETER_MODE, DTD_IDENTIFIER FROM information_schema.PARAMETERS"+
		" WHERE ROUTINE_TYPE = 'PROCEDURE' AND SPECIFIC_SCHEMA", " ORDER BY SPECIFIC_NAME, ORDINAL_POSITION",
		func(row []string) {
			if p := r.d.Procedure(row[0]); p != nil {
				p.Parameters = append(p.Parameters, Parameter{row[1], row[2], row[3]})
			}
		})
	for _, name := range grants.Procedures(r.d.Name) { // MySQL hides those that a role lets the account call
		if r.d.Procedure(name) == nil {
			r.d.Procedures = append(r.d.Procedures, Procedure{Name: name, Callable: true, Hidden: true,
				Parameters: []Parameter{}})
		}
	}
}

// judge says what the account may not see or read.
func (d *Database) judge(s *mysql.Session, grants mysql.Grants) {
	account := "the account"
	if user, host, ok := strings.Cut(d.Account, "@"); ok {
		account = s.QuoteText(user) + "@" + s.QuoteText(host)
	}
	whole := mysql.QuoteName(d.Name) + ".*"
	missing := func(about, mend, format string, args ...any) {
		d.Missing = append(d.Missing, Missing{about, fmt.Sprintf(format, args...), mend})
	}
	switch {
	case len(grants) == 0:
		missing("", "",
			"the server does not show the account's grants, so what is not listed may be there all the same")
	default:
		if !grants.OnDatabase("SELECT", d.Name) {
			missing("", "GRANT SELECT ON "+whole+" TO "+account,
				"the account was not granted SELECT on the whole database: tables and views that it may do nothing with are not listed")
		}
		if !grants.OnDatabase("EXECUTE", d.Name) {
			missing("", "GRANT EXECUTE ON "+whole+" TO "+account,
				"the account was not granted EXECUTE on the whole database: procedures that it may do nothing with are not listed")
		}
	}
	for i := range d.Tables {
		t := &d.Tables[i]
		name := mysql.QuoteName(d.Name) + "." + mysql.QuoteName(t.Name)
		var closed []string
		for _, c := range t.Columns {
			if !c.Readable {
				closed = append(closed, mysql.QuoteName(c.Name))
			}
		}
		switch {
		case len(t.Columns) == 0 && t.View:
			missing(t.Name, "mend the view, or grant its definer what it reads",
				"view %s shows no columns: what it reads is gone, or the account that defined it may not read it",
				t.Name)
		case len(t.Columns) == 0:
			missing(t.Name, "GRANT SELECT ON "+name+" TO "+account, "table %s: the account sees none of its columns",
				t.Name)
		case len(closed) == len(t.Columns):
			missing(t.Name, "GRANT SELECT ON "+name+" TO "+account, "%s: the account may not read it", t.Name)
		case len(closed) > 0:
			missing(t.Name, "GRANT SELECT ("+strings.Join(closed, ", ")+") ON "+name+" TO "+account,
				"%s: the account may not read %s", t.Name, strings.Join(closed, ", "))
		}
	}
	for _, p := range d.Procedures {
		name := mysql.QuoteName(d.Name) + "." + mysql.QuoteName(p.Name)
		switch {
		case !p.Callable:
			missing(p.Name, "GRANT EXECUTE ON PROCEDURE "+name+" TO "+account,
				"procedure %s: the account may not call it", p.Name)
		case p.Hidden:
			missing(p.Name, "GRANT EXECUTE ON PROCEDURE "+name+" TO "+account,
				"procedure %s: the account may call it by a role, and the server does not show its parameters to such an account", p.Name)
		}
	}
}

// Describe finds out which types the columns of a table become, by having the server prepare a statement that reads
// those that the account may read. A server that refuses is what Missing says then.
func (d *Database) Describe(ctx context.Context, s *mysql.Session, t *Table) error {
	var names []string
	for _, c := range t.Columns {
		if c.Readable {
			names = append(names, mysql.QuoteName(c.Name))
		}
	}
	if len(names) == 0 {
		return nil // Missing has it
	}
	schema, err := s.Columns(ctx, "SELECT "+strings.Join(names, ", ")+" FROM "+mysql.QuoteName(t.Name))
	if _, message, refused := mysql.ServerError(err); refused {
		d.Missing = append(d.Missing, Missing{t.Name, t.Name + " cannot be read: the server answered " + message,
			"mend the view, or grant the account, or the view's definer, SELECT on what it reads"})
		return nil
	}
	if err != nil {
		return err
	}
	next := 0
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Readable && next < schema.NumFields() {
			c.Type = ColumnType(schema.Field(next))
			next++
		}
	}
	return nil
}
