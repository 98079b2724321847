// Package formula is the typed expressions that columns are computed with: the language of the filter where (CEL's
// grammar, its comparisons and its meaning of NULL), with exact arithmetic on decimals, with dates, texts and casts.
// It owns the types of an expression, which are known before a row is read, and its value in every row: exact, or a coded
// fault that names the place in the expression. It never rounds unasked, never computes a decimal through a float, and
// never tells a value of a row in a message.
package formula

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/expression"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of expressions that are wrong.
const (
	CodeInvalid       = "expression.invalid"        // it cannot be read, or its types do not go together
	CodeUnknownColumn = "expression.unknown_column" // it names a column that is not there
)

// The codes of expressions that have no value in a row.
const (
	CodeOverflow   = "expression.overflow"         // a number has more digits than its type holds
	CodeNull       = "expression.null"             // something is computed with NULL
	CodeZero       = "expression.division_by_zero" // a number is divided by 0
	CodeInexact    = "expression.inexact"          // a cast would lose digits
	CodeConversion = "expression.conversion"       // a text does not spell what it is cast to
	CodeRange      = "expression.out_of_range"     // a date is outside the years 0 to 9999, or a place outside a text
)

// Limits of an expression. It comes from outside, and is evaluated for every row.
const (
	maxRunes = 4096
	maxNodes = 1000
	maxDepth = 64
)

// Row is what an expression is evaluated for: a batch, and which of its rows.
type Row struct {
	Columns []arrow.Array
	Index   int
}

// eval computes a value of the row.
type eval func(r *Row) (value, error)

// Formula is a compiled expression. It is used by several goroutines at once.
type Formula struct {
	// Type is that of the value, and Nullable whether it may be NULL.
	Type     Type
	Nullable bool

	eval eval
}

// node is a compiled part of an expression.
type node struct {
	t        Type
	nullable bool
	eval     eval

	// e is the part itself, for its place.
	e ast.Expr
	// number is the text of a literal number with a point or an exponent, or of a decimal parameter, and float
	// what it is next to a float; text is a literal text that is known.
	number  string
	float   float64
	text    *string
	literal bool // a number as it stands in the expression
}

// compiler takes an expression from its text to something that can be evaluated.
type compiler struct {
	text      []rune
	schema    *arrow.Schema
	params    config.Parameters
	names     []string
	info      *ast.SourceInfo
	functions map[string]function
	failed    *fault.Fault
	spans     map[int64][2]int
}

// Columns are the names that an expression uses as columns, as far as it can be read, each once.
func Columns(text string) []string {
	env, err := grammar()
	if err != nil {
		return nil
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil
	}
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var walk func(e ast.Expr)
	walk = func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			add(e.AsIdent())
		case ast.CallKind:
			if name, ok := rowName(e); ok {
				add(name)
				return
			}
			call := e.AsCall()
			if call.IsMemberFunction() {
				walk(call.Target())
			}
			for _, a := range call.Args() {
				walk(a)
			}
		case ast.ListKind:
			for _, a := range e.AsList().Elements() {
				walk(a)
			}
		}
	}
	walk(parsed.NativeRep().Expr())
	return names
}

// grammar reads expressions. It has no macros: nothing here loops.
func grammar() (*cel.Env, error) {
	return cel.NewCustomEnv(cel.ParserExpressionSizeLimit(maxRunes), cel.ParserRecursionLimit(4*maxDepth),
		cel.ExpressionNodeLimit(maxNodes), cel.ExpressionNestingDepthLimit(maxDepth))
}

// Compile reads an expression and finds its types. The fault says what is wrong, and where in the expression; the schema
// may have columns of which only the names are known, and then the expression is only checked.
func Compile(text string, params config.Parameters, schema *arrow.Schema) (*Formula, error) {
	c := &compiler{text: []rune(text), schema: schema, params: params, names: naming.Names(schema), functions: functions(), spans: map[int64][2]int{}}
	env, err := grammar()
	if err != nil {
		return nil, fmt.Errorf("formula: the language cannot be set up: %w", err)
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		for i, e := range issues.Errors() {
			if i == mostProblems {
				break
			}
			from := -1
			if e.Location != nil && e.Location.Line() > 0 && e.Location.Column() >= 0 {
				from = c.offset(e.Location.Line(), e.Location.Column())
			}
			c.fail(CodeInvalid, from, from+1, naming.Printable(strings.ReplaceAll(e.Message, " (in container '')", "")))
		}
		if c.failed == nil {
			c.fail(CodeInvalid, -1, -1, naming.Printable(issues.Err().Error()))
		}
		return nil, c.failed
	}
	tree := parsed.NativeRep()
	c.info = tree.SourceInfo()
	n := c.compile(tree.Expr())
	if c.failed != nil {
		return nil, c.failed
	}
	return &Formula{Type: n.t, Nullable: n.nullable || n.t.Kind == Null, eval: n.eval}, nil
}

const mostProblems = 5

// offset is a place that CEL gives, in characters of the whole text.
func (c *compiler) offset(line, column int) int {
	at := 0
	for ; line > 1 && at < len(c.text); at++ {
		if c.text[at] == '\n' {
			line--
		}
	}
	return at + column
}

// span is where a part of the expression stands, in characters; CEL knows of a call only its operator or its bracket.
func (c *compiler) span(e ast.Expr) (from, to int) {
	if known, ok := c.spans[e.ID()]; ok {
		return known[0], known[1]
	}
	from, to = len(c.text), 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		at, ok := c.info.GetOffsetRange(x.ID())
		if !ok || at.Start < 0 {
			return
		}
		from, to = min(from, int(at.Start)), max(to, int(at.Stop), int(at.Start)+1)
	}))
	if from >= to {
		from, to = 0, len(c.text)
	}
	to = min(to, len(c.text))
	switch e.Kind() {
	case ast.CallKind:
		from, to = c.widen(from, to)
	case ast.SelectKind: // located at its dot
		for to < len(c.text) && isWord(c.text[to]) {
			to++
		}
	}
	c.spans[e.ID()] = [2]int{from, to}
	return from, to
}

// widen takes the name of a function in front, and the brackets that are open, into a span.
func (c *compiler) widen(from, to int) (int, int) {
	open, quote := 0, rune(0)
	for i := from; i < to; i++ {
		switch r := c.text[i]; {
		case quote != 0:
			if r == '\\' {
				i++
			} else if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '(' || r == '[':
			open++
		case r == ')' || r == ']':
			open--
		}
	}
	for ; open > 0 && to < len(c.text); to++ {
		switch c.text[to] {
		case '(', '[':
			open++
		case ')', ']':
			open--
		}
	}
	for from > 0 && c.text[from] == '(' && isWord(c.text[from-1]) {
		from--
		for from > 0 && isWord(c.text[from-1]) {
			from--
		}
	}
	return from, to
}

func isWord(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// problem records what is wrong at a part.
func (c *compiler) problem(e ast.Expr, format string, args ...any) *node {
	from, to := c.span(e)
	c.fail(CodeInvalid, from, to, fmt.Sprintf(format, args...))
	return &node{e: e}
}

// hint says what to do about the first problem, unless something better is known.
func (c *compiler) hint(format string, args ...any) {
	if c.failed.Hint == "" {
		c.failed.WithHint(format, args...)
	}
}

// place names a place for messages, counted from 1.
func (c *compiler) place(from int) string {
	if from < 0 || from > len(c.text) {
		return ""
	}
	line, column := 1, from
	for i, r := range c.text[:from] {
		if r == '\n' {
			line, column = line+1, from-i-1
		}
	}
	if slices.Contains(c.text, '\n') {
		return fmt.Sprintf("line %d, column %d of the expression", line, column+1)
	}
	return fmt.Sprintf("column %d of the expression", column+1)
}

func (c *compiler) fail(code string, from, to int, message string) {
	place := c.place(from)
	if place != "" {
		message = place + ": " + message
	}
	if c.failed != nil {
		if strings.Count(c.failed.Message, "; ") < mostProblems {
			c.failed.Message += "; " + message
		}
		return
	}
	c.failed = fault.New(code, fault.Usage, "%s", message)
	if place != "" {
		c.failed.WithDetail(fault.DetailPlace, fmt.Sprintf("%d-%d", from, max(to, from+1)))
	}
	if habit := expression.Hint(string(c.text)); habit != "" {
		c.failed.WithHint("%s", habit)
	}
}

// rowFault makes the fault of a part that has no value in a row.
func (c *compiler) rowFault(e ast.Expr, code, message, hint string) error {
	from, to := c.span(e)
	f := fault.New(code, fault.Data, "%s: %s", c.place(from), message).
		WithDetail(fault.DetailPlace, fmt.Sprintf("%d-%d", from, to))
	if hint != "" {
		f.WithHint("%s", hint)
	}
	return f
}
