package sqlite

import (
	"database/sql/driver"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// quoted is a name as SQL writes it, whatever is in it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (s *sink) createStatement() string {
	var b strings.Builder
	b.WriteString("CREATE TABLE " + quoted(s.settings.Table) + " (")
	for i, c := range s.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoted(c.name) + " " + string(c.declared))
		if c.notNull {
			b.WriteString(" NOT NULL")
		}
	}
	b.WriteString(")")
	return b.String()
}

func (s *sink) insertStatement() string {
	names := make([]string, len(s.columns))
	for i, c := range s.columns {
		names[i] = quoted(c.name)
	}
	places := strings.TrimSuffix(strings.Repeat("?,", len(names)), ",")
	return "INSERT INTO " + quoted(s.settings.Table) + " (" + strings.Join(names, ", ") + ") VALUES (" + places + ")"
}

// knownColumn is a column of a table that is there.
type knownColumn struct {
	name     string
	declared string
}

// known lists the columns of the table, if it is there; nil if not.
func (s *sink) known() (list []knownColumn, err error) {
	kind := ""
	err = s.db.query("SELECT type FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')", s.settings.Table,
		func(row []driver.Value) { kind, _ = row[0].(string) })
	switch {
	case err != nil:
		return nil, s.code(err)
	case kind == "":
		return nil, nil
	case kind != "table":
		return nil, fault.New("sqlite.not_a_table", fault.Sink, "%q in %s is a %s", s.settings.Table, s.path, kind).
			WithHint("give another table")
	}
	list = []knownColumn{}
	err = s.db.query("SELECT name, type FROM pragma_table_info(?)", s.settings.Table, func(row []driver.Value) {
		name, _ := row[0].(string)
		declared, _ := row[1].(string)
		list = append(list, knownColumn{name, declared})
	})
	return list, s.code(err)
}

// fits holds the columns against those of the table that they are added to. A type of another affinity would change
// values on their way: SQLite makes 1.5 of the text 1.50 in a NUMERIC column.
func (s *sink) fits(known []knownColumn) error {
	for _, c := range s.columns {
		var found *knownColumn
		var names []string
		for i := range known {
			names = append(names, known[i].name)
			if strings.EqualFold(known[i].name, c.name) {
				found = &known[i]
			}
		}
		switch {
		case found == nil:
			return fault.New("sqlite.missing_column", fault.Sink, "table %q in %s has no column %q; it has %s",
				s.settings.Table, s.path, c.name, strings.Join(names, ", ")).
				WithHint("leave the column out with the columns filter, or add it to the table")
		case affinityOf(found.declared) != c.declared:
			return fault.New("sqlite.column_type", fault.Sink, "column %q of table %q in %s is declared %q, in which SQLite would not keep the values as they are; expected a type such as %s",
				c.name, s.settings.Table, s.path, found.declared, c.declared).
				WithHint("convert the column with the columns filter, or give another table")
		}
	}
	return nil
}
