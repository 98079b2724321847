package mysqlchanges

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/preflight"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// table is one that is followed, as the server has it when a run begins.
type table struct {
	database, name string
	setting        changerow.Table
	columns        []row.Column
	key            []string // columns of the primary key, in its order
	// names are the columns of records, which are those of documents and then those of the key that these lack.
	names  []string
	schema *arrow.Schema
	shape  string // all of the above that decides what an image of a row means

	mapper *changerow.Mapper
	// rows decodes what is delivered, keys no more than keys.
	rows, keys *row.Decoder
	after      changerow.Rows
	before     changerow.Rows
}

// catalogue is the tables of a stream by their names.
type catalogue struct {
	list []*table
	fold bool // the server's names of tables have no case
	by   map[[2]string]*table
	// parents are those whose changes change rows of tables silently, where that is to be reconciled.
	parents map[[2]string]*parent
}

// Has and HasDatabase make it statement.Tables.
func (c *catalogue) Has(database, name string) bool {
	return c.find(database, name) != nil || c.parents[c.name(database, name)] != nil
}

func (c *catalogue) HasDatabase(database string) bool {
	for _, p := range c.parents {
		if c.folded(p.database) == c.folded(database) {
			return true
		}
	}
	return slices.ContainsFunc(c.list, func(t *table) bool { return c.folded(t.database) == c.folded(database) })
}

func (c *catalogue) find(database, name string) *table {
	return c.by[c.name(database, name)]
}

func (c *catalogue) folded(name string) string {
	if c.fold {
		return strings.ToLower(name)
	}
	return name
}

// ofType is the table whose documents have a type.
func (c *catalogue) ofType(kind string) *table {
	return c.list[slices.IndexFunc(c.list, func(t *table) bool { return t.setting.Type == kind })]
}

// shapes is what all tables are like.
func (c *catalogue) shapes() string {
	var b strings.Builder
	for _, t := range c.list {
		b.WriteString(t.shape)
	}
	b.WriteString(c.cascading())
	return b.String()
}

// names is which tables they are.
func (c *catalogue) names() string {
	list := make([]string, len(c.list))
	for i, t := range c.list {
		list[i] = t.database + "." + t.name
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// readCatalogue reads what the server knows of the tables.
func readCatalogue(ctx context.Context, s *mysql.Session, settings *Settings) (*catalogue, error) {
	c := &catalogue{by: map[[2]string]*table{}, parents: map[[2]string]*parent{}}
	if err := s.Rows(ctx, "SELECT @@lower_case_table_names", func(cells []string) { c.fold = cells[0] != "0" }); err != nil {
		return nil, err
	}
	for _, setting := range settings.Tables {
		t := &table{setting: setting}
		if t.database, t.name = setting.Name(); t.database == "" {
			t.database = s.Database()
		}
		if t.database == "" {
			return nil, fault.New(codeUnknownTable, fault.Usage, "nothing says in which database the table %q is", setting.Table).
				WithHint("name it in the connection URL, or write database.table")
		}
		if c.find(t.database, t.name) != nil {
			return nil, fault.New(changerow.CodeTables, fault.Usage, "the table %q is named twice", setting.Table).WithHint("a table has one type of documents")
		}
		if err := preflight.Hold(ctx, s, t.database, t.name, func() error { return t.read(ctx, s) }); err != nil {
			return nil, err
		}
		c.list = append(c.list, t)
		c.by[c.name(t.database, t.name)] = t
	}
	if settings.Cascades == preflight.Reconcile {
		return c, c.readCascades(ctx, s)
	}
	return c, nil
}

// where is the condition of the table in the server's catalogue, behind the name of the column of its database.
func (t *table) where(s *mysql.Session) string {
	return s.QuoteText(t.database) + " AND TABLE_NAME = " + s.QuoteText(t.name)
}

// readColumns reads what the table's columns are.
func (t *table) readColumns(ctx context.Context, s *mysql.Session) error {
	var wrong error
	err := s.Rows(ctx, strings.Replace(row.ColumnQuery, "? AND TABLE_NAME = ?", t.where(s), 1), func(cells []string) {
		column, err := row.ColumnOf(cells)
		if err != nil {
			wrong = err
		}
		t.columns = append(t.columns, column)
	})
	return firstOf(err, wrong)
}

// read reads the table's columns and key.
func (t *table) read(ctx context.Context, s *mysql.Session) error {
	if err := t.readColumns(ctx, s); err != nil {
		return err
	}
	in, kind := t.where(s), ""
	if err := s.Rows(ctx, "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+in, func(cells []string) { kind = cells[0] }); err != nil {
		return err
	}
	if kind != "BASE TABLE" || len(t.columns) == 0 {
		return unknown(t)
	}
	err := s.Rows(ctx, "SELECT COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE CONSTRAINT_NAME = 'PRIMARY' AND TABLE_SCHEMA = "+in+" ORDER BY ORDINAL_POSITION",
		func(cells []string) { t.key = append(t.key, cells[0]) })
	if err != nil {
		return err
	}
	if len(t.key) == 0 {
		return fault.New(codeKey, fault.Source, "the table %s.%s has no primary key, so that its rows have no ids", t.database, t.name).
			WithHint("ALTER TABLE %s.%s ADD PRIMARY KEY (…), or leave the table out", mysql.QuoteName(t.database), mysql.QuoteName(t.name))
	}
	t.choose()
	return t.describe()
}

func unknown(t *table) error {
	return fault.New(codeUnknownTable, fault.Source, "there is no table %s.%s that the account may read", t.database, t.name).
		WithHint("check its name, and GRANT SELECT on it; views have no changes in the log: name the tables under them")
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// choose decides which columns are read. Invisible ones are when they are named, or of the key.
func (t *table) choose() {
	if len(t.setting.Columns) == 0 {
		for _, c := range t.columns {
			if !c.Invisible {
				t.setting.Columns = append(t.setting.Columns, c.Name)
			}
		}
	}
	t.names = slices.Clone(t.setting.Columns)
	for _, name := range t.key {
		if !slices.Contains(t.names, name) {
			t.names = append(t.names, name)
		}
	}
}

// describe writes the table's shape down.
func (t *table) describe() error {
	var b strings.Builder
	for _, c := range t.columns {
		for _, part := range []string{c.Name, c.ColumnType, c.Charset, c.Collation} {
			b.WriteString(part)
			b.WriteByte(0)
		}
		for _, flag := range []bool{c.Nullable, c.Generated} {
			if flag {
				b.WriteByte('+')
			} else {
				b.WriteByte('-')
			}
		}
	}
	b.WriteString(strings.Join(t.key, "\x00"))
	t.shape = b.String()
	return nil
}

// readSchema is the schema of the table's records.
func (t *table) readSchema(ctx context.Context, s *mysql.Session) (*arrow.Schema, error) {
	quoted := make([]string, len(t.names))
	for i, name := range t.names {
		quoted[i] = mysql.QuoteName(name)
	}
	reader, err := s.Read(ctx, "SELECT "+strings.Join(quoted, ", ")+" FROM "+mysql.QuoteName(t.database)+"."+mysql.QuoteName(t.name)+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	if _, err := reader.Next(ctx); !isEnd(err) {
		return nil, firstOf(err, reader.Close())
	}
	return reader.Schema(), nil
}

// prepare makes what turns rows of the table into documents.
func (t *table) prepare(ctx context.Context, s *mysql.Session, settings *Settings) error {
	wanted, err := t.indexes(t.names)
	if err != nil {
		return err
	}
	if t.schema, err = t.readSchema(ctx, s); err != nil {
		return err
	}
	if t.mapper, err = changerow.NewMapper(t.setting, t.schema, t.key); err != nil {
		return err
	}
	options := settings.decoding(s)
	if t.rows, err = row.NewDecoder(t.columns, wanted, t.schema, options); err != nil {
		return err
	}
	var fields []arrow.Field
	for _, name := range t.key {
		fields = append(fields, t.schema.Field(t.schema.FieldIndices(name)[0]))
	}
	keys, err := t.indexes(t.key)
	if err != nil {
		return err
	}
	t.keys, err = row.NewDecoder(t.columns, keys, arrow.NewSchema(fields, nil), options)
	return err
}

// indexes are the places of columns in the table.
func (t *table) indexes(names []string) ([]int, error) {
	list := make([]int, len(names))
	for i, name := range names {
		list[i] = slices.IndexFunc(t.columns, func(c row.Column) bool { return c.Name == name })
		if list[i] < 0 {
			return nil, fault.New(changerow.CodeColumn, fault.Usage, "the table %q has no column %q", t.setting.Table, name).
				WithHint("columns are named exactly as the table has them")
		}
	}
	return list, nil
}
