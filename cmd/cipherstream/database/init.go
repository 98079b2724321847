package database

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/draft"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysql/inspect"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of what no pipeline can be written of.
const (
	codeMayHaveEffects = "init.may_have_effects"
	codeColumns        = "init.columns"
	codeFileExists     = "init.file_exists"
)

type initOptions struct {
	from         session.Database
	query, call  string
	parameters   []string
	allowEffects bool
	output       string
	force        bool
}

func (a *app) initCommand() *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init TABLE | --query SQL | --call PROCEDURE",
		Short: "Write a pipeline of a table, a query or a procedure, and a test of it",
		Long: `Write a pipeline of a table or a view, of a query, or of the call of a procedure, with
the columns that it delivers as its contract, and a test of it with invented rows. Both
work as they are: lint, plan, check, test and run take them.

What looks like personal data, by names and types alone (in English and German), is
marked as personal and masked; the reason stands beside it. It is a suggestion: look at it.

A question mark in a query becomes a parameter of the pipeline, bound as it runs: called and
typed as the column that it is compared with, or as -p says, of each question mark in turn:
"-p since:date -p state". Two of one name are one parameter.

The columns are what the server says of them. A table and a query are prepared, which
executes nothing. What a procedure gives, a server knows only when it executes it: it is
called once, in a READ ONLY transaction, with the values of -p, which become defaults in
the pipeline, and NULL for the rest, and ended as soon as its result is described; no row
is taken. Grants apart, such a transaction
does not hold back everything, so that a procedure that is not declared to READ SQL DATA
(or NO SQL) is called with --allow-effects only. Of several results the first is described;
a run says then that result_set has to choose.

The files are NAME.yaml and NAME.test.yaml, in this folder, or as -o says. Files that are
there are not replaced without --force.`,
		Example: `  cipherstream init patients --dsn-file dsn.txt
  cipherstream init --query "SELECT id, total FROM invoices WHERE paid = 1 ORDER BY id" -o paid.yaml
  cipherstream init --query "SELECT id, total FROM invoices WHERE day >= ? ORDER BY id" -p since:date=2024-01-01
  cipherstream init --call appointments -p from_date=2024-01-01 --allow-effects`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return terminal.UsageFault("%s takes one table, but got %d arguments", c.CommandPath(), len(args)).
					WithHint("give the name of a table or a view, in quotes where it has spaces; a statement is given with --query")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			table := ""
			if len(args) == 1 {
				table = args[0]
			}
			return a.init(c.Context(), table, &o)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.from.Flags(c)
	f := c.Flags()
	f.StringVar(&o.query, "query", "", "write a pipeline of one statement that gives rows, `SQL`")
	f.StringVar(&o.call, "call", "", "write a pipeline that calls `PROCEDURE`")
	f.StringArrayVarP(&o.parameters, "parameter", "p", nil,
		"with --call: the value of a parameter of the procedure, `NAME=VALUE`, as it gets it by default (otherwise NULL); "+
			"with --query: the name, and type and default, of the parameter for a question mark, NAME[:TYPE][=VALUE] (repeatable)")
	f.BoolVar(&o.allowEffects, "allow-effects", false,
		"call a procedure although it is not declared to do nothing but read")
	f.StringVarP(&o.output, "output", "o", "",
		"write the pipeline to `FILE`, NAME.yaml, and its test to NAME.test.yaml beside it")
	f.BoolVar(&o.force, "force", false, "replace files that are there")
	_ = c.MarkFlagFilename("output", "yaml", "yml") // the flag exists
	return c
}

// validate finds what contradicts itself.
func (o *initOptions) validate(table string) error {
	given := 0
	for _, text := range []string{table, o.query, o.call} {
		if text != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return terminal.UsageFault("nothing is named that a pipeline could be written of").
			WithHint("give a table, --query SQL or --call PROCEDURE; cipherstream inspect lists what there is")
	case given > 1:
		return terminal.UsageFault("several of a table, --query and --call are given").
			WithHint("give the one that is meant")
	case table != "" && len(o.parameters) > 0:
		return terminal.UsageFault("-p is about a query or a call, and a table is given").WithHint("leave it out")
	case o.call == "" && o.allowEffects:
		return terminal.UsageFault("--allow-effects is about a call, and --call is not given").WithHint("leave it out")
	case mysql.Calls(o.query):
		return terminal.UsageFault("--query is a CALL, and only --call looks at what the procedure is declared to do").
			WithHint("write cipherstream init --call PROCEDURE, with the name alone; its parameters become the pipeline's")
	}
	if ext := filepath.Ext(o.output); o.output != "" && ext != ".yaml" && ext != ".yml" {
		return terminal.UsageFault("-o %s does not end in .yaml, by which a pipeline is known from a name of the catalogue", o.output).
			WithHint("write -o %s.yaml", strings.TrimSuffix(o.output, ext))
	}
	return nil
}

// files are the names of the pipeline and of its test.
func (o *initOptions) files(name string) (pipeline, test string) {
	pipeline = o.output
	if pipeline == "" {
		pipeline = name + ".yaml"
	}
	ext := filepath.Ext(pipeline)
	return pipeline, strings.TrimSuffix(pipeline, ext) + ".test" + ext
}

func (a *app) init(ctx context.Context, table string, o *initOptions) error {
	if err := o.validate(table); err != nil {
		return err
	}
	name, base := "", strings.TrimSuffix(filepath.Base(o.output), filepath.Ext(o.output))
	switch {
	case table != "":
		name = draft.Name(table, "table")
	case o.call != "":
		name = draft.Name(o.call, "call")
	case o.output != "":
		name = draft.Name(base, "query")
	default:
		name = "query"
	}
	file, test := o.files(name)
	if !o.force {
		for _, path := range []string{file, test} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				return fileExists(path)
			}
		}
	}
	src, err := open(ctx, &o.from)
	if err != nil {
		return err
	}
	defer src.session.Close()
	var p *draft.Pipeline
	switch {
	case table != "":
		p, err = src.draftTable(ctx, table)
	case o.query != "":
		p, err = src.draftQuery(ctx, o.query, o.parameters)
	default:
		p, err = src.draftCall(ctx, o)
	}
	if err != nil {
		return err
	}
	p.Name = name
	if err := checkColumns(p.Columns); err != nil {
		return err
	}
	if err := write(file, p.YAML(file, test), o.force); err != nil {
		return err
	}
	if err := write(test, p.Test(file, test), o.force); err != nil {
		if !o.force {
			_ = os.Remove(file) // one without the other is half of what was asked for
		}
		return err
	}
	return a.Print(func(w io.Writer) error { return a.tellDraft(w, p, src, file, test) })
}

// drafted is the answer of init for machines.
type drafted struct {
	Pipeline string           `json:"pipeline"`
	Test     string           `json:"test"`
	Columns  int              `json:"columns"`
	Personal []draftedPerson  `json:"personal"`
	Missing  *inspect.Missing `json:"missing,omitempty"`
}

type draftedPerson struct {
	Column string `json:"column"`
	Reason string `json:"reason"`
	Masked bool   `json:"masked"`
}

func (a *app) tellDraft(w io.Writer, p *draft.Pipeline, src *source, file, test string) error {
	out := drafted{Pipeline: file, Test: test, Columns: len(p.Columns), Personal: []draftedPerson{}}
	if p.Table != "" {
		out.Missing = src.about(p.Table)
	}
	for _, c := range p.Personal() {
		out.Personal = append(out.Personal, draftedPerson{c.Name, c.Personal.What, c.Masked()})
	}
	if a.JSON {
		return terminal.WriteJSON(w, out)
	}
	fmt.Fprintf(w, "%s: %s\n", diag.Printable(file), terminal.Counted(out.Columns, "column"))
	for _, c := range out.Personal {
		done := "and is masked"
		if !c.Masked {
			done = "and is NOT masked: a setting cannot name it; give it another name with a query"
		}
		fmt.Fprintf(w, "  %s looks like %s, %s\n", diag.Printable(c.Column), c.Reason, done)
	}
	fmt.Fprintf(w, "%s: a test of it, with invented rows\n", diag.Printable(test))
	if m := out.Missing; m != nil {
		if err := writeMissing(w, []inspect.Missing{*m}); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "next: cipherstream test %s\n", diag.Printable(test))
	return err
}

func fileExists(path string) error {
	return fault.New(codeFileExists, fault.Usage, "%s is there already", path).
		WithHint("give another name with -o, or replace it with --force")
}

// write writes a file. Without force one that is there stays as it is.
func write(path, text string, force bool) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, how, 0o666)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fileExists(path)
	case err != nil:
		return terminal.UsageFault("the file cannot be written: %w", err).
			WithHint("create its folder first, or choose another with -o")
	}
	_, err = f.WriteString(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		return nil
	}
	if !force {
		_ = os.Remove(path)
	}
	return fault.New(terminal.CodeOutput, fault.Sink, "%s cannot be written: %w", path, err)
}

// checkColumns refuses columns that no contract can name.
func checkColumns(columns []draft.Column) error {
	seen := map[string]bool{}
	for i, c := range columns {
		switch {
		case c.Name == "" || len(c.Name) > 256:
			return fault.New(codeColumns, fault.Usage,
				"column %d has a name of %d bytes, and a contract names columns of 1 to 256", i+1, len(c.Name)).
				WithHint("give it another name in the query, with AS")
		case seen[c.Name]:
			return fault.New(codeColumns, fault.Usage,
				"two columns are called %q, and a contract needs names that differ", diag.Printable(c.Name)).
				WithHint("give one of them another name in the query, with AS")
		}
		seen[c.Name] = true
	}
	if len(columns) == 0 {
		return fault.New(codeColumns, fault.Source, "it delivers no columns").
			WithHint("a pipeline is about what gives rows: a table, a SELECT, or a procedure that has one")
	}
	return nil
}

// columnsOf are the columns of a schema, with what a table says of them.
func columnsOf(schema *arrow.Schema, table *inspect.Table) []draft.Column {
	var list []draft.Column
	for _, f := range schema.Fields() {
		c := draft.Column{Name: f.Name, Type: inspect.ColumnType(f), Nullable: f.Nullable}
		if table != nil {
			if i := slices.IndexFunc(table.Columns, func(of inspect.Column) bool { return of.Name == f.Name }); i >= 0 {
				c.Description, c.Members = table.Columns[i].Comment, mysql.Members(table.Columns[i].MySQL)
			}
		}
		c.Personal = draft.Look(c.Name, c.Type)
		list = append(list, c)
	}
	return list
}

func (s *source) draftTable(ctx context.Context, name string) (*draft.Pipeline, error) {
	t := s.Table(name)
	if t == nil {
		if p := s.Procedure(name); p != nil {
			return nil, fault.New(codeUnknownTable, fault.Usage, "%q is a procedure", p.Name).
				WithHint("write cipherstream init --call %s", p.Name)
		}
		return nil, s.unknown(codeUnknownTable, "table or view", name, s.tableNames())
	}
	readable := t.Readable()
	if len(readable) == 0 {
		if m := s.about(t.Name); m != nil && t.View && len(t.Columns) == 0 {
			return nil, denied(codeBrokenView, m)
		} else if m != nil {
			return nil, denied(codeAccessDenied, m)
		}
		return nil, fault.New(codeColumns, fault.Source, "%s has no column that is visible", t.Name)
	}
	p := &draft.Pipeline{Title: t.Name, Description: t.Comment, Table: t.Name}
	if p.Description == "" {
		p.Description = "The rows of " + t.Name + "."
	}
	var names []string
	for _, c := range readable {
		names = append(names, c.Name)
	}
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	settings := s.settings
	settings.Request = mysql.Request{TableName: t.Name, AllowedTables: "*", Columns: string(list)}
	schema, err := mysql.Describe(ctx, settings)
	if err != nil {
		return nil, err
	}
	p.Columns = columnsOf(schema, t)
	return p, nil
}

func (s *source) draftQuery(ctx context.Context, query string, named []string) (*draft.Pipeline, error) {
	query = strings.TrimRight(strings.TrimSpace(query), "; \t\r\n")
	p := &draft.Pipeline{Title: "Query", Description: "The result of a query.", Query: query}
	marks, err := s.session.Placeholders(ctx, query)
	if err != nil {
		return nil, err
	}
	if p.Parameters, err = s.parametersOf(query, marks, named); err != nil {
		return nil, err
	}
	settings := s.settings
	settings.Query = query
	for _, parameter := range p.Parameters {
		settings.Args = append(settings.Args, parameter.Default)
	}
	schema, err := mysql.Describe(ctx, settings)
	if f := fault.From(err); f != nil {
		switch near := s.nearTable(f.Details["server_message"]); {
		case f.Code == "mysql.unknown_table" && near != "":
			return nil, f.WithHint("did you mean %s?", diag.Printable(near))
		case slices.Contains(settings.Args, nil) && f.Class == fault.Source:
			return nil, f.WithHint("%s; the server was asked with NULL for each question mark that -p has no value for: "+
				"give one with -p NAME:TYPE=VALUE where the statement needs it", f.Hint)
		}
		return nil, err
	}
	p.Columns = columnsOf(schema, nil)
	return p, nil
}

// parametersOf makes parameters of a query's question marks: as they were named, one for each, or, when none is named,
// as the columns that they are compared with.
func (s *source) parametersOf(query string, marks []mysql.Placeholder, named []string) ([]draft.Parameter, error) {
	if len(named) > 0 && len(named) != len(marks) {
		return nil, terminal.UsageFault("the query has %s, and -p is given %d times",
			terminal.Counted(len(marks), "question mark"), len(named)).
			WithHint("give -p NAME:TYPE once for each, in their order; a name may stand for several")
	}
	list := make([]draft.Parameter, len(marks))
	for i, mark := range marks {
		list[i] = draft.Parameter{Name: mark.Column, MySQL: cmp.Or(s.declared(query, mark.Column), mark.MySQL)}
		switch {
		case mark.Rows:
			list[i].Name, list[i].Description = "rows", "How many rows there are at most."
		case mark.Offset:
			list[i].Name, list[i].Description = "offset", "How many rows are passed over."
		case mark.Column == "":
			list[i].Description = "A value in the query."
		default:
			list[i].Description = "What " + mark.Column + " is compared with."
			if alone := count(marks, mark.Column) == 1; mark.From && !alone {
				list[i].Name += "_from"
			} else if mark.To && !alone {
				list[i].Name += "_to"
			}
		}
	}
	draft.NameParameters(list)
	for i, text := range named {
		if err := nameParameter(list[:i+1], text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// count is how many question marks are compared with a column.
func count(marks []mysql.Placeholder, column string) (n int) {
	for _, mark := range marks {
		if mark.Column == column {
			n++
		}
	}
	return n
}

// declared is the type of a column of that name in the tables that a query may be about; empty where there is none, or
// where two differ.
func (s *source) declared(query, column string) (declared string) {
	query = strings.ToLower(query)
	for _, t := range s.Tables {
		if !strings.Contains(query, strings.ToLower(t.Name)) {
			continue
		}
		for _, c := range t.Columns {
			if !strings.EqualFold(c.Name, column) {
				continue
			}
			if declared != "" && draft.ParameterType(declared) != draft.ParameterType(c.MySQL) {
				return ""
			}
			declared = c.MySQL
		}
	}
	return declared
}

var parameterName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`) })

// nameParameter gives the last of some parameters the name, type and value of NAME[:TYPE][=VALUE].
func nameParameter(list []draft.Parameter, text string) error {
	p := &list[len(list)-1]
	name, value, given := strings.Cut(text, "=")
	name, wanted, typed := strings.Cut(name, ":")
	if !parameterName().MatchString(name) || draft.Taken(name) {
		return terminal.UsageFault("-p takes NAME[:TYPE][=VALUE], and %q can be no name of a parameter",
			diag.Printable(name)).
			WithHint("lower-case letters, digits and underscores, a letter first; " +
				"output_format and the other parameters of every draft are taken")
	}
	if typed {
		if !slices.Contains(document.Types, wanted) {
			return terminal.UsageFault("-p %s: there is no type %q", name, diag.Printable(wanted)).
				WithHint("write one of %s", strings.Join(document.Types, ", "))
		}
		p.Type = wanted
	}
	p.Pipeline = name
	if i := slices.IndexFunc(list[:len(list)-1], func(of draft.Parameter) bool { return of.Pipeline == name }); i >= 0 {
		if given || typed && wanted != list[i].Type {
			return terminal.UsageFault("-p %s is given twice, and the second time with a value or a type of its own", name).
				WithHint("say both where it stands first; two of one name are one parameter")
		}
		p.Type, p.Default, p.Again = list[i].Type, list[i].Default, true
		return nil
	}
	if !given {
		return nil
	}
	var err error
	if p.Default, err = document.Type(p.Type).ParseValue(value); err != nil {
		return terminal.UsageFault("-p %s: %w", name, err)
	}
	return nil
}

// nearTable is what may be meant by the table that a server does not find: Table 'database.name' doesn't exist.
func (s *source) nearTable(message string) string {
	_, name, _ := strings.Cut(message, "'"+s.Name+".")
	name, _, _ = strings.Cut(name, "'")
	return strings.Join(diag.Nearest(name, s.tableNames()), " or ")
}

func (s *source) draftCall(ctx context.Context, o *initOptions) (*draft.Pipeline, error) {
	of := s.Procedure(o.call)
	if of == nil {
		return nil, s.unknown(codeUnknownProcedure, "procedure", o.call, s.procedureNames())
	}
	if m := s.about(of.Name); m != nil {
		return nil, denied(codeAccessDenied, m)
	}
	p := &draft.Pipeline{Title: of.Name, Description: of.Comment, Procedure: of.Name}
	if p.Description == "" {
		p.Description = "What the procedure " + of.Name + " gives."
	}
	for i, parameter := range of.Parameters {
		p.Parameters = append(p.Parameters, draft.Parameter{Name: parameter.Name, MySQL: parameter.MySQL,
			Out: parameter.Mode == "OUT", Description: fmt.Sprintf("Argument %d of the procedure, %s: %s.", i+1,
				cmp.Or(parameter.Name, "without a name"), parameter.MySQL)})
	}
	draft.NameParameters(p.Parameters)
	if err := setDefaults(p.Parameters, o.parameters); err != nil {
		return nil, err
	}
	if of.Access != "READS SQL DATA" && of.Access != "NO SQL" && !o.allowEffects {
		return nil, fault.New(codeMayHaveEffects, fault.Usage,
			"procedure %q is declared %q, and what it gives shows only when it is called", of.Name,
			strings.ToLower(of.Access)).
			WithHint("look at what it does (SHOW CREATE PROCEDURE), and then give --allow-effects: " +
				"it is called once, in a READ ONLY transaction, and ended before its first row")
	}
	settings := s.settings
	for _, parameter := range p.Parameters {
		settings.Args = append(settings.Args, parameter.Default)
	}
	if strings.Contains(of.Name, ".") {
		settings.Query = draft.CallStatement(of.Name, len(settings.Args))
	} else {
		settings.Call = of.Name
	}
	schema, err := mysql.Describe(ctx, settings)
	if f := fault.From(err); f != nil {
		if names := parameterNames(p.Parameters); names != "" && f.Class == fault.Source {
			f = f.WithHint("%s; it was called with NULL for what -p does not say: give values with -p NAME=VALUE, of %s",
				f.Hint, names)
		}
		return nil, f
	}
	p.Columns = columnsOf(schema, nil)
	return p, nil
}

// setDefaults gives parameters the values that the procedure is called with, which are their defaults in the pipeline.
func setDefaults(parameters []draft.Parameter, given []string) error {
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		i := slices.IndexFunc(parameters, func(p draft.Parameter) bool { return p.Pipeline == name && !p.Out })
		if !ok || i < 0 {
			f := terminal.UsageFault("-p takes NAME=VALUE, and %q is no parameter of the procedure",
				diag.Printable(name))
			if names := parameterNames(parameters); names != "" {
				return f.WithHint("its parameters are %s", names)
			}
			return f.WithHint("it has none: leave -p out")
		}
		var err error
		if parameters[i].Default, err = document.Type(parameters[i].Type).ParseValue(value); err != nil {
			return terminal.UsageFault("-p %s: %w", name, err)
		}
	}
	return nil
}

// parameterNames lists those that take a value.
func parameterNames(parameters []draft.Parameter) string {
	var names []string
	for _, p := range parameters {
		if !p.Out {
			names = append(names, p.Pipeline)
		}
	}
	return strings.Join(names, ", ")
}
