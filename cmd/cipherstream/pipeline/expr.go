package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/plugins/formula/trial"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeNoValue says that the expression has no value in some of the rows, which were told.
const codeNoValue = "expression.no_value"

// mostRowBytes bounds the rows that are read from standard input: they are tried, not processed.
const mostRowBytes = 16 << 20

// attempt is what the flags of expr say.
type attempt struct {
	rows       []string
	columns    string
	pipeline   string
	parameters []string
	functions  bool
}

func (a *app) exprCommand() *cobra.Command {
	var o attempt
	c := &cobra.Command{
		Use:   "expr EXPRESSION",
		Short: "Try an expression on rows given here, and explain its types",
		Long: `Try an expression, as the filters where and derive take it: say its type and where that
comes from, part by part, and compute it for the rows that are given. Nothing is
started, and no database is needed.

A row is one JSON object. Numbers keep every digit; --row - reads rows from standard
input, one a line. Without --columns the types are those that hold the rows: int64,
decimals with the digits that are there, string, boolean. A date is text then, so
--columns gives the types: 'NAME:TYPE, …', and 'not null' behind a type. With
--pipeline they are those of a pipeline's contract, and params.NAME are its parameters.

The exit code is 2 when the expression is wrong, and 1 when a row has no value for it.`,
		Example: `  cipherstream expr 'price * quantity' --row '{"price": 12.50, "quantity": 3}'
  cipherstream expr "addMonths(born, 12) > '2024-12-31'" --columns 'born:date' --row '{"born": "2024-02-29"}'
  cipherstream expr --functions`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case o.functions && len(args) > 0:
				return terminal.UsageFault("--functions lists what expressions call, and takes no expression")
			case !o.functions && len(args) != 1:
				return terminal.UsageFault("%s takes one expression, but got %d arguments", c.CommandPath(), len(args)).
					WithHint("put it in quotes, which keep it from the shell: %s 'price * 2'", c.CommandPath())
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if o.functions {
				return a.listFunctions()
			}
			return a.expr(c.Context(), args[0], o)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := c.Flags()
	f.StringArrayVar(&o.rows, "row", nil,
		"compute it for `ROW`, a JSON object; - reads rows from standard input (repeatable)")
	f.StringVar(&o.columns, "columns", "",
		"`COLUMNS` of the rows, as 'id:int64, price:decimal(10,2) not null' (default those of the rows)")
	f.StringVar(&o.pipeline, "pipeline", "", "take the columns and the parameters of `PIPELINE`")
	f.StringArrayVarP(&o.parameters, "parameter", "p", nil, "set a parameter of the pipeline, as `NAME=VALUE` (repeatable)")
	f.BoolVar(&o.functions, "functions", false, "list the functions")
	session.Complete(c, "pipeline", a.completePipelines)
	return c
}

// expr tries an expression.
func (a *app) expr(ctx context.Context, text string, o attempt) error {
	lines, err := a.rowLines(o.rows)
	if err != nil {
		return err
	}
	columns, params, err := a.surroundings(ctx, text, lines, o)
	if err != nil {
		return err
	}
	schema, err := trial.Schema(columns)
	if err != nil {
		return err
	}
	f, parts, err := formula.Explain(text, params, schema)
	if err != nil {
		return a.exprProblem(text, err)
	}
	t := tried{Expression: text, Type: f.Type.String(), Nullable: f.Nullable, Columns: columns, formula: f, parts: parts}
	if len(lines) > 0 {
		if err := t.compute(schema, lines); err != nil {
			return err
		}
	}
	if err := a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, t.json())
		}
		return a.writeTried(w, &t)
	}); err != nil {
		return err
	}
	if failed := t.failed(); failed > 0 {
		return fault.New(codeNoValue, fault.Data, "%d of %s have no value: %w", failed,
			terminal.Counted(len(t.values), "row"), terminal.ErrTold)
	}
	return nil
}

// rowLines are the rows that are given, each a text.
func (a *app) rowLines(given []string) ([][]byte, error) {
	var lines [][]byte
	read := false
	for _, row := range given {
		if row != "-" {
			lines = append(lines, []byte(row))
			continue
		}
		if read || terminal.WasClosed(a.In) {
			return nil, fault.New(terminal.CodeNoInput, fault.Usage, "--row - has no standard input to read").
				WithHint("give it once, and rows in a pipe or a file: … --row - < rows.ndjson")
		}
		read = true
		text, err := io.ReadAll(io.LimitReader(a.In, mostRowBytes+1))
		if err != nil {
			return nil, fault.New(terminal.CodeNoInput, fault.Usage, "standard input cannot be read: %w", err)
		}
		if len(text) > mostRowBytes {
			return nil, terminal.UsageFault("standard input has more than %d MiB of rows", mostRowBytes>>20).
				WithHint("a few rows show what an expression does: head -n 10")
		}
		for line := range bytes.Lines(text) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

// surroundings are the columns and the parameters that the expression sees.
func (a *app) surroundings(ctx context.Context, text string, lines [][]byte,
	o attempt) ([]trial.Column, config.Parameters, error) {
	var columns []trial.Column
	params := config.Parameters{}
	switch {
	case o.pipeline != "" && o.columns != "":
		return nil, nil, terminal.UsageFault("--columns and --pipeline are both given").WithHint("give one of them")
	case o.pipeline != "":
		doc, err := a.loadDocument(ctx, o.pipeline)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range doc.Columns {
			columns = append(columns, trial.Column{Name: c.Name, Type: c.Type.String(), Nullable: c.Nullable})
		}
		if len(columns) == 0 {
			return nil, nil, terminal.UsageFault("pipeline %s declares no columns", doc.Metadata.Name).
				WithHint("give them with --columns")
		}
		params, err = trialParameters(doc, text, o.parameters, len(lines) > 0)
		return columns, params, err
	case len(o.parameters) > 0:
		return nil, nil, terminal.UsageFault("-p sets a parameter of a pipeline, and none is given").
			WithHint("name it with --pipeline, or write the value in the expression")
	case o.columns != "":
		var err error
		columns, err = trial.ParseColumns(o.columns)
		return columns, params, err
	}
	columns, err := trial.Guess(lines)
	return columns, params, err
}

func (a *app) loadDocument(ctx context.Context, pipeline string) (*document.Document, error) {
	e, err := a.Engine(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	doc, diags := load(e, pipeline)
	return doc, a.Check(e.Source, diags)
}

// trialParameters are a pipeline's parameters, with the values that are given, or else their defaults. Computing needs
// the values of those that the expression names.
func trialParameters(doc *document.Document, text string, given []string, computes bool) (config.Parameters, error) {
	values, err := (&request{parameters: given}).values()
	if err != nil {
		return nil, err
	}
	params := config.Parameters{}
	for _, p := range doc.Parameters {
		one := config.Parameter{Type: string(p.Type), Value: p.Default}
		if v, ok := values[p.Name]; ok {
			if one.Value, err = p.Type.ParseValue(v); err != nil {
				return nil, terminal.UsageFault("parameter %q: %v", p.Name, err)
			}
			delete(values, p.Name)
		} else if p.Required {
			one.Unknown = true
		}
		params[p.Name] = one
	}
	for name := range values {
		return nil, terminal.UsageFault("pipeline %s has no parameter %q", doc.Metadata.Name, name)
	}
	for _, name := range formula.Parameters(text) {
		if p, ok := params[name]; ok && p.Unknown && computes {
			return nil, terminal.UsageFault("the expression names the parameter %q, which has no default", name).
				WithHint("give it with -p %s=VALUE", name)
		}
	}
	return params, nil
}

// tried is what came of an attempt.
type tried struct {
	Expression string
	Type       string
	Nullable   bool
	Columns    []trial.Column

	formula *formula.Formula
	parts   []formula.Part
	values  []trial.Value
}

func (t *tried) compute(schema *arrow.Schema, lines [][]byte) error {
	rows, err := trial.Rows(schema, lines)
	if err != nil {
		return err
	}
	defer rows.Release()
	t.values, err = trial.Values(t.formula, rows)
	return err
}

func (t *tried) failed() (count int) {
	for _, v := range t.values {
		if v.Fault != nil {
			count++
		}
	}
	return count
}

// json is the attempt for machines. Places count characters from 0.
func (t *tried) json() any {
	type part struct {
		Text     string `json:"text"`
		From     int    `json:"from"`
		To       int    `json:"to"`
		Depth    int    `json:"depth"`
		Type     string `json:"type"`
		Nullable bool   `json:"nullable"`
		Why      string `json:"why"`
	}
	type column struct {
		Name     string `json:"name"`
		Type     string `json:"type"`
		Nullable bool   `json:"nullable"`
	}
	type row struct {
		Value *string         `json:"value"`
		Error json.RawMessage `json:"error,omitempty"`
	}
	out := struct {
		Expression string   `json:"expression"`
		Type       string   `json:"type"`
		Nullable   bool     `json:"nullable"`
		Columns    []column `json:"columns"`
		Parts      []part   `json:"parts"`
		Rows       []row    `json:"rows"`
	}{t.Expression, t.Type, t.Nullable, []column{}, []part{}, []row{}}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, column{c.Name, c.Type, c.Nullable})
	}
	for _, p := range t.parts {
		out.Parts = append(out.Parts, part{p.Text, p.From, p.To, p.Depth, p.Type.String(), p.Nullable, p.Why})
	}
	for i, v := range t.values {
		var r row
		if v.Fault != nil {
			var list bytes.Buffer
			if diag.WriteJSON(&list, diag.List{exprDiagnostic(t.Expression, v.Fault, fmt.Sprintf("row %d", i+1))}) == nil {
				r.Error = list.Bytes()
			}
		} else if !v.Null {
			r.Value = &t.values[i].Text
		}
		out.Rows = append(out.Rows, r)
	}
	return out
}

// writeTried writes the attempt for people.
func (a *app) writeTried(w io.Writer, t *tried) error {
	fmt.Fprintf(w, "%s, %s\n\n", t.Type, nullability(t.Nullable))
	var table [][]string
	for _, p := range t.parts {
		typ := p.Type.String()
		if p.Nullable && p.Type.Kind != formula.Null {
			typ += " or NULL"
		}
		table = append(table, []string{strings.Repeat("  ", p.Depth) + p.Text, typ, p.Why})
	}
	if err := terminal.WriteTable(w, "  ", table); err != nil || len(t.values) == 0 {
		return err
	}
	fmt.Fprintln(w)
	for i, v := range t.values {
		name := "row " + strconv.Itoa(i+1)
		switch {
		case v.Fault != nil:
			list := diag.List{exprDiagnostic(t.Expression, v.Fault, name)}
			options := a.TextOptions(a.Out, func(string) []byte { return []byte(t.Expression) })
			if err := diag.WriteText(w, list, options); err != nil {
				return err
			}
		case v.Null:
			fmt.Fprintf(w, "%s  NULL\n", name)
		default:
			fmt.Fprintf(w, "%s  %s\n", name, diag.Printable(v.Text))
		}
	}
	return nil
}

func nullability(nullable bool) string {
	if nullable {
		return "may be NULL"
	}
	return "never NULL"
}

// exprProblem is what is wrong with an expression, at its place.
func (a *app) exprProblem(text string, err error) error {
	d := exprDiagnostic(text, fault.From(err), "expression")
	return terminal.DiagnosticsError(diag.List{d}, func(string) []byte { return []byte(text) })
}

// placeInMessage is what a message says of the place, where nothing shows it.
var placeInMessage = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(line \d+, )?column \d+ of the expression: `) })

// exprDiagnostic is a fault with its place in the expression; where is what stands for the name of a file.
func exprDiagnostic(text string, f *fault.Fault, where string) diag.Diagnostic {
	p := diag.Position{File: where, Line: 1}
	var from, to int
	if n, _ := fmt.Sscanf(f.Details[fault.DetailPlace], "%d-%d", &from, &to); n == 2 {
		before := string([]rune(text)[:min(from, len([]rune(text)))])
		p.Line += strings.Count(before, "\n")
		p.Column = len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
		p.EndColumn = p.Column + to - from
	}
	d := diag.At(p, f.Code, "%s", placeInMessage().ReplaceAllString(f.Message, ""))
	d.Hint = f.Hint
	return d
}

// listFunctions lists what expressions call.
func (a *app) listFunctions() error {
	return a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, map[string]any{"functions": formula.Functions()})
		}
		group := ""
		var table [][]string
		for _, f := range formula.Functions() {
			if f.Group != group {
				if len(table) > 0 {
					table = append(table, []string{""})
				}
				group = f.Group
				table = append(table, []string{group})
			}
			table = append(table, []string{"  " + f.Usage, f.Doc})
		}
		return terminal.WriteTable(w, "", table)
	})
}
