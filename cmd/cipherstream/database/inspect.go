package database

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/plugins/mysql/inspect"
)

func (a *app) inspectCommand() *cobra.Command {
	var from session.Database
	c := &cobra.Command{
		Use:   "inspect [NAME]",
		Short: "List the tables, views and procedures that an account can read",
		Long: `List the tables, views and procedures of the database that the connection URL names, as
far as the account sees them: columns, keys, and about how many rows there are by the
server's statistics. With NAME, one of them in detail: what every column is in MySQL and
what it becomes, its indexes, its foreign keys and those of the database's other tables
that refer to it, or a procedure's parameters. With --json, all of that of all of them.

Only the server's catalogue is read, never a row. What the account may not see or read is
said, with the statement that grants it.`,
		Example: "  cipherstream inspect --dsn-file dsn.txt\n  cipherstream inspect patients --json",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return terminal.UsageFault("%s takes one name, but got %d arguments", c.CommandPath(), len(args)).
					WithHint("give the name of a table, a view or a procedure, in quotes where it has spaces")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			src, err := open(c.Context(), &from)
			if err != nil {
				return err
			}
			defer src.session.Close()
			if len(args) == 1 {
				return a.inspectOne(c, src, args[0])
			}
			if !a.JSON {
				return a.Print(src.write)
			}
			for i := range src.Tables {
				if err := src.Describe(c.Context(), src.session, &src.Tables[i]); err != nil {
					return err
				}
			}
			return a.Print(func(w io.Writer) error { return terminal.WriteJSON(w, src.Database) })
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	from.Flags(c)
	return c
}

// one is a table or a procedure for machines.
type one struct {
	Table     *inspect.Table     `json:"table,omitempty"`
	Procedure *inspect.Procedure `json:"procedure,omitempty"`
	Missing   []inspect.Missing  `json:"missing"`
}

func (a *app) inspectOne(c *cobra.Command, src *source, name string) error {
	found := one{Table: src.Table(name), Procedure: src.Procedure(name), Missing: []inspect.Missing{}}
	if found.Table == nil && found.Procedure == nil {
		return src.unknown(codeUnknownTable, "table, view or procedure", name, append(src.tableNames(),
			src.procedureNames()...))
	}
	if found.Table != nil {
		if err := src.Describe(c.Context(), src.session, found.Table); err != nil {
			return err
		}
	}
	for _, m := range src.Missing {
		if found.Table != nil && m.About == found.Table.Name || found.Procedure != nil &&
			m.About == found.Procedure.Name {
			found.Missing = append(found.Missing, m)
		}
	}
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, found)
		}
		if found.Table != nil {
			if err := writeOneTable(w, found.Table); err != nil {
				return err
			}
		}
		if found.Procedure != nil {
			if err := writeOneProcedure(w, found.Procedure); err != nil {
				return err
			}
		}
		return writeMissing(w, found.Missing)
	})
}

// write lists a database for people.
func (s *source) write(w io.Writer) error {
	fmt.Fprintf(w, "%s on %s, as %s\n", diag.Printable(s.Name), diag.Printable(s.Server), diag.Printable(s.Account))
	if len(s.Tables) > 0 {
		fmt.Fprintln(w, "\nTables and views")
		rows := [][]string{{"NAME", "KIND", "ROWS", "COLUMNS", "PRIMARY KEY", "COMMENT"}}
		for i := range s.Tables {
			t := &s.Tables[i]
			rows = append(rows, []string{t.Name, kindOf(t), about(t.Rows), strconv.Itoa(len(t.Columns)),
				strings.Join(t.Key(), ", "), t.Comment})
		}
		if err := terminal.WriteTable(w, "  ", rows); err != nil {
			return err
		}
	}
	if len(s.Procedures) > 0 {
		fmt.Fprintln(w, "\nProcedures")
		rows := [][]string{{"NAME", "DECLARED", "PARAMETERS", "COMMENT"}}
		for _, p := range s.Procedures {
			var parameters []string
			for _, of := range p.Parameters {
				parameters = append(parameters, of.Name)
			}
			rows = append(rows, []string{p.Name, strings.ToLower(p.Access), strings.Join(parameters, ", "), p.Comment})
		}
		if err := terminal.WriteTable(w, "  ", rows); err != nil {
			return err
		}
	}
	if len(s.Tables)+len(s.Procedures) == 0 {
		fmt.Fprintln(w, "\nThe account sees no table, view or procedure.")
	}
	return writeMissing(w, s.Missing)
}

func kindOf(t *inspect.Table) string {
	if t.View {
		return "view"
	}
	return "table"
}

// about is a number of rows that nobody has counted.
func about(rows *int64) string {
	if rows == nil {
		return ""
	}
	digits := strconv.FormatInt(*rows, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return "~" + digits
}

// writeMissing says what the account may not see or read.
func writeMissing(w io.Writer, list []inspect.Missing) error {
	for i, m := range list {
		lead := "\n"
		if i > 0 {
			lead = ""
		}
		if _, err := fmt.Fprintf(w, "%snot shown: %s\n", lead, diag.Printable(m.Message)); err != nil {
			return err
		}
		if m.Mend != "" {
			fmt.Fprintf(w, "  help: %s\n", diag.Printable(m.Mend))
		}
	}
	return nil
}

func writeOneTable(w io.Writer, t *inspect.Table) error {
	facts := []string{kindOf(t)}
	if t.Rows != nil {
		facts = append(facts, about(t.Rows)+" rows")
	}
	if t.Engine != "" {
		facts = append(facts, t.Engine)
	}
	fmt.Fprintf(w, "%s: %s\n", diag.Printable(t.Name), diag.Printable(strings.Join(facts, ", ")))
	if t.Comment != "" {
		fmt.Fprintf(w, "  %s\n", diag.Printable(t.Comment))
	}
	fmt.Fprintln(w, "\nColumns")
	rows := [][]string{{"NAME", "MYSQL", "BECOMES", "NULL", "", "COMMENT"}}
	for _, c := range t.Columns {
		null := "no"
		if c.Nullable {
			null = "yes"
		}
		var notes []string
		for _, note := range []struct {
			text string
			is   bool
		}{{"generated", c.Generated}, {"invisible", c.Invisible}, {"not readable", !c.Readable}} {
			if note.is {
				notes = append(notes, note.text)
			}
		}
		rows = append(rows, []string{c.Name, c.MySQL, c.Type, null, strings.Join(notes, ", "), c.Comment})
	}
	if err := terminal.WriteTable(w, "  ", rows); err != nil {
		return err
	}
	if err := writeSection(w, "Keys", keyRows(t.Keys)); err != nil {
		return err
	}
	if err := writeSection(w, "Foreign keys", foreignKeyRows(t.ForeignKeys, false)); err != nil {
		return err
	}
	return writeSection(w, "Referred to by", foreignKeyRows(t.ReferencedBy, true))
}

// writeSection writes rows under a title; nothing where there are none.
func writeSection(w io.Writer, title string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", title)
	return terminal.WriteTable(w, "  ", rows)
}

func keyRows(keys []inspect.Key) (rows [][]string) {
	for _, k := range keys {
		kind := "index"
		switch {
		case k.Primary:
			kind = "primary"
		case k.Unique:
			kind = "unique"
		}
		columns := make([]string, len(k.Columns))
		for i, name := range k.Columns {
			if columns[i] = name; name == "" {
				columns[i] = "(an expression)"
			}
		}
		rows = append(rows, []string{kind, k.Name, strings.Join(columns, ", ")})
	}
	return rows
}

// foreignKeyRows say of each key its name, its columns and what they refer to, with the table that has it where that
// is not the one shown.
func foreignKeyRows(keys []inspect.ForeignKey, ofOthers bool) (rows [][]string) {
	for _, k := range keys {
		to := k.ReferencedTable
		if k.ReferencedDatabase != "" {
			to = k.ReferencedDatabase + "." + to
		}
		columns, refers := strings.Join(k.Columns, ", "), to+" ("+strings.Join(k.ReferencedColumns, ", ")+")"
		if ofOthers {
			columns, refers = k.Table+" ("+columns+")", strings.Join(k.ReferencedColumns, ", ")
		}
		rows = append(rows, []string{k.Name, columns, "to " + refers})
	}
	return rows
}

func writeOneProcedure(w io.Writer, p *inspect.Procedure) error {
	fmt.Fprintf(w, "%s: procedure, %s\n", diag.Printable(p.Name), strings.ToLower(p.Access))
	if p.Comment != "" {
		fmt.Fprintf(w, "  %s\n", diag.Printable(p.Comment))
	}
	if len(p.Parameters) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nParameters")
	var rows [][]string
	for _, of := range p.Parameters {
		rows = append(rows, []string{of.Mode, of.Name, of.MySQL})
	}
	return terminal.WriteTable(w, "  ", rows)
}
