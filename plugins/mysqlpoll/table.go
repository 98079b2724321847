package mysqlpoll

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/changerow"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/row"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/snapshot"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// table is one that is asked.
type table struct {
	snapshot.Table
	setting changerow.Table
	digest  string
	changed row.Column
	indexed bool // there is an index that begins with the column of changes
	at      int  // of that column in records
	mapper  *changerow.Mapper
	rows    changerow.Rows
}

// look reads what the server knows of a table.
func look(ctx context.Context, s *mysql.Session, settings *Settings, setting changerow.Table) (*table, error) {
	t := &table{setting: setting}
	t.Database, t.Name = setting.Name()
	if t.Database == "" {
		t.Database = s.Database()
	}
	if t.Database == "" {
		return nil, fault.New(codeUnknownTable, fault.Usage, "nothing says in which database the table %q is", setting.Table).
			WithHint("name it in the connection URL, or write database.table")
	}
	t.digest = digest(t.Database, t.Name)
	in := s.QuoteText(t.Database) + " AND TABLE_NAME = " + s.QuoteText(t.Name)
	var columns []row.Column
	var wrong error
	err := s.Rows(ctx, strings.Replace(row.ColumnQuery, "? AND TABLE_NAME = ?", in, 1), func(cells []string) {
		column, err := row.ColumnOf(cells)
		if err != nil {
			wrong = err
		}
		columns = append(columns, column)
	})
	if err != nil || wrong != nil {
		return nil, firstOf(err, wrong)
	}
	if len(columns) == 0 {
		return nil, fault.New(codeUnknownTable, fault.Source, "there is no table %s.%s that the account may read", t.Database, t.Name).
			WithHint("check its name, and GRANT SELECT ON %s TO the account", t.quoted())
	}
	column := func(name string) int {
		return slices.IndexFunc(columns, func(c row.Column) bool { return c.Name == name })
	}
	changed := settings.changed(setting.Table)
	err = s.Rows(ctx, "SELECT INDEX_NAME, COLUMN_NAME, SEQ_IN_INDEX FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = "+in+" ORDER BY INDEX_NAME, SEQ_IN_INDEX", func(cells []string) {
		if i := column(cells[1]); cells[0] == "PRIMARY" && i >= 0 {
			t.Key = append(t.Key, columns[i])
		}
		t.indexed = t.indexed || cells[1] == changed && cells[2] == "1"
	})
	if err != nil {
		return nil, err
	}
	if len(t.Key) == 0 {
		// A server whose catalogue knows no indexes, as that of the sandbox, marks the column all the same. Of several it could
		// not be told which one comes first.
		var marked []row.Column
		err = s.Rows(ctx, "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE COLUMN_KEY = 'PRI' AND TABLE_SCHEMA = "+in, func(cells []string) {
			if i := column(cells[0]); i >= 0 {
				marked = append(marked, columns[i])
			}
		})
		if err != nil {
			return nil, err
		}
		if len(marked) == 1 {
			t.Key, t.Unforced = marked, true
		}
	}
	if len(t.Key) == 0 {
		return nil, fault.New(changerow.CodeKey, fault.Source, "the table %s.%s has no primary key that the account may read, so that its rows have no ids", t.Database, t.Name).
			WithHint("ALTER TABLE %s ADD PRIMARY KEY (…), or leave the table out", t.quoted())
	}
	i := column(changed)
	if i < 0 || columns[i].DataType != "timestamp" && columns[i].DataType != "datetime" {
		return nil, fault.New(codeChanged, fault.Source, "the table %s.%s has no TIMESTAMP or DATETIME called %q that says when a row was changed", t.Database, t.Name, changed).
			WithHint("name the column that does: changed: {%s: COLUMN}; or leave the table out", setting.Table)
	}
	t.changed = columns[i]
	if len(t.setting.Columns) == 0 {
		for _, c := range columns {
			if !c.Invisible {
				t.setting.Columns = append(t.setting.Columns, c.Name)
			}
		}
	}
	t.Columns = slices.Clone(t.setting.Columns)
	for _, name := range append([]string{changed}, t.key()...) {
		if !slices.Contains(t.Columns, name) {
			t.Columns = append(t.Columns, name)
		}
	}
	t.at = slices.Index(t.Columns, changed)
	for _, name := range t.Columns {
		if column(name) < 0 {
			return nil, fault.New(changerow.CodeColumn, fault.Usage, "the table %s.%s has no column %q that the account may read", t.Database, t.Name, name).
				WithHint("write it as the table has it, or GRANT SELECT on it")
		}
	}
	reader, err := s.Read(ctx, t.selected()+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	schema := reader.Schema()
	for err == nil {
		var record arrow.Record
		if record, err = reader.Next(ctx); err == nil {
			record.Release()
		}
	}
	if err := firstOf(notEnd(err), reader.Close()); err != nil {
		return nil, err
	}
	t.mapper, err = changerow.NewMapper(t.setting, schema, t.key())
	return t, err
}

func (t *table) quoted() string { return mysql.QuoteName(t.Database) + "." + mysql.QuoteName(t.Name) }

func (t *table) key() []string {
	names := make([]string, len(t.Key))
	for i := range t.Key {
		names[i] = t.Key[i].Name
	}
	return names
}

func (t *table) selected() string {
	columns := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		columns[i] = mysql.QuoteName(name)
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + t.quoted()
}
