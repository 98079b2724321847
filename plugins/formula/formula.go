// Package formula is the one language of pipelines: the expressions that columns are computed with (derive), the
// conditions that rows are chosen with (where), and those of a pipeline about its parameters (when, and rules). Their
// grammar is CEL's (cel.dev); the types and the meaning are its own: exact arithmetic on decimals, dates, texts and
// casts, and NULL. It owns the types of an expression, which are known before a row is read, and its value in every row:
// exact, or a coded fault that names the place in the expression. Conditions are evaluated over whole columns where that
// is possible. It never rounds unasked, never computes a decimal through a float, and never tells a value of a row in a
// message.
//
// It is a library, and no stage: of all that is under plugins, the planner imports this alone. What it is made of, the
// texts of numbers and dates, is shared with the stages, and no promise to authors of plugins, as it would be in sdk.
package formula

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/parser"
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
	CodeTooCostly     = "expression.too_costly"     // it takes too many steps for a row
)

// The codes of expressions that have no value in a row.
const (
	CodeOverflow   = "expression.overflow"         // a number has more digits than its type holds
	CodeNull       = "expression.null"             // something is computed with NULL
	CodeZero       = "expression.division_by_zero" // a number is divided by 0
	CodeInexact    = "expression.inexact"          // a cast would lose digits
	CodeConversion = "expression.conversion"       // a text does not spell what it is cast to
	CodeRange      = "expression.out_of_range"     // a date is outside the years 0 to 9999, or a place outside a text
	CodeKey        = "expression.no_key"           // a map has not the key that is looked for
)

// Limits of an expression. It comes from outside, and is evaluated for every row.
const (
	maxRunes = 4096
	maxNodes = 1000
	maxDepth = 256 // of the parser's own calls, some for each bracket
	// maxSteps is how many parts are evaluated for a row: those of exists and all count for every element.
	maxSteps = 10_000
	// maxForeignRunes bounds what is read of the expressions of other plugins, for the parameters that they name.
	maxForeignRunes = 64 << 10
)

// Row is what an expression is evaluated for: a batch, and which of its rows.
type Row struct {
	Columns []arrow.Array
	Index   int

	of *occasion // what a condition about parameters is evaluated for, instead of a row
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
	// known is the value where it is the same in every row, isColumn whether the part is the column of that index, and over
	// a condition over whole columns, where the part is one.
	known    *value
	isColumn bool
	column   int
	over     predicate

	// number is the text of a literal number with a point or an exponent, or of a decimal parameter, and float
	// what it is next to a float; text is a literal text that is known.
	number  string
	float   float64
	text    *string
	literal bool // a number as it stands in the expression
	unknown bool // a text that is not known yet
}

// compiler takes an expression from its text to something that can be evaluated.
type compiler struct {
	text      []rune
	schema    *arrow.Schema
	params    config.Parameters
	names     []string
	info      *ast.SourceInfo
	functions map[string]function
	failed    *fault.Fault   // the first problem
	latest    *fault.Fault   // the problem that a hint is about
	more      []*fault.Fault // the others of a condition about parameters
	problems  int            // how many there are
	spans     map[int64][2]int
	// reads counts what differs from row to row, or is not known yet, and compiled the parts.
	reads, compiled int
	// scope are the variables of exists and all.
	scope map[string]*node

	// explains is whether parts are kept, and depth is that of the one under way.
	explains bool
	depth    int
	parts    []explainedPart

	// deciding is nil but for a condition about parameters.
	deciding *deciding
}

func newCompiler(text string, params config.Parameters, schema *arrow.Schema) *compiler {
	return &compiler{text: []rune(text), schema: schema, params: params, names: naming.Names(schema), functions: known(),
		spans: map[int64][2]int{}}
}

// Columns are the names that an expression uses as columns, as far as it can be read, each once.
func Columns(text string) []string { return names(text, "") }

// Parameters are the names that an expression uses as parameters, as far as it can be read, each once.
func Parameters(text string) []string { return names(text, spaceParams) }

func names(text, space string) []string {
	var names []string
	for _, m := range Mentions(text) {
		if m.Space == space && !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

// Mention is a name that an expression uses.
type Mention struct {
	// Space is params, run or customer, and empty for a column.
	Space, Name string
	// From and To are where it stands: from character From to before character To.
	From, To int
}

// The namespaces of names that are no columns.
const (
	spaceParams   = "params"
	spaceRun      = "run"
	spaceCustomer = "customer"
)

// Mentions are the names that an expression uses, in their order; none where it cannot be read. It may be one of
// another plugin's, with functions of its own, and longer than one of this language.
func Mentions(text string) []Mention {
	parsed, errs := reader().Parse(common.NewTextSource(text))
	if len(errs.GetErrors()) > 0 {
		return nil
	}
	return mentioned(parsed)
}

// mentioned are the names that an expression uses, in their order.
func mentioned(parsed *ast.AST) (list []Mention) {
	info := parsed.SourceInfo()
	tell := func(space, name string, e ast.Expr) {
		m := Mention{Space: space, Name: name, From: -1, To: -1}
		if e.Kind() == ast.CallKind { // at the name in the brackets
			e = e.AsCall().Args()[1]
		}
		if at, ok := info.GetOffsetRange(e.ID()); ok && at.Start >= 0 {
			m.From, m.To = int(at.Start), int(at.Stop)
			if e.Kind() == ast.SelectKind { // located at its dot
				m.From++
				m.To = m.From + len([]rune(name))
			}
		}
		list = append(list, m)
	}
	var walk func(e ast.Expr)
	scope := map[string]int{} // the variables of exists and all
	walk = func(e ast.Expr) {
		if space, name, ok := memberOf(e); ok {
			tell(space, name, e)
			return
		}
		switch e.Kind() {
		case ast.IdentKind:
			if scope[e.AsIdent()] == 0 {
				tell("", e.AsIdent(), e)
			}
		case ast.SelectKind:
			walk(e.AsSelect().Operand())
		case ast.CallKind:
			if name, ok := rowName(e); ok {
				tell("", name, e)
				return
			}
			call := e.AsCall()
			if name, ok := loopVariable(e); ok {
				walk(call.Target())
				scope[name]++
				walk(call.Args()[1])
				scope[name]--
				return
			}
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
		case ast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				walk(entry.AsMapEntry().Key())
				walk(entry.AsMapEntry().Value())
			}
		case ast.StructKind:
			for _, field := range e.AsStruct().Fields() {
				walk(field.AsStructField().Value())
			}
		}
	}
	walk(parsed.Expr())
	return list
}

// grammar reads expressions, and reader those of other languages too. They have no macros: exists and all are compiled
// for every element of their list.
var (
	grammar = sync.OnceValue(func() *parser.Parser { return grammarOf(maxRunes) })
	reader  = sync.OnceValue(func() *parser.Parser { return grammarOf(maxForeignRunes) })
)

func grammarOf(runes int) *parser.Parser {
	p, err := parser.NewParser(parser.ExpressionSizeCodePointLimit(runes), parser.MaxRecursionDepth(maxDepth))
	if err != nil {
		panic("formula: the language cannot be set up: " + err.Error()) // the options are fixed
	}
	return p
}

// Compile reads an expression and finds its types. The fault says what is wrong, and where in the expression; the schema
// may have columns of which only the names are known, and then the expression is only checked.
func Compile(text string, params config.Parameters, schema *arrow.Schema) (*Formula, error) {
	return newCompiler(text, params, schema).formula()
}

// formula reads the text and compiles it.
func (c *compiler) formula() (*Formula, error) {
	n, err := c.tree()
	if err != nil {
		return nil, err
	}
	return &Formula{Type: n.t, Nullable: n.nullable || n.t.Kind == Null, eval: n.eval}, nil
}

// tree is the whole expression, compiled.
func (c *compiler) tree() (*node, error) {
	tree := c.parse()
	if tree == nil {
		return nil, c.failed
	}
	n := c.compile(tree.Expr())
	if c.failed != nil {
		return nil, c.failed
	}
	return n, nil
}

// parse reads the text; nil when it has reported what is wrong with it.
func (c *compiler) parse() *ast.AST {
	tree, issues := grammar().Parse(common.NewTextSource(string(c.text)))
	if errs := issues.GetErrors(); len(errs) > 0 {
		// What follows the first is mostly about what the parser made of it.
		from, length := -1, 0
		message := errs[0].Message
		if at := errs[0].Location; at != nil && at.Line() > 0 {
			from = min(c.offset(at.Line(), max(at.Column(), 0)), len(c.text))
			message, length = plainSyntax(message)
		}
		c.fail(CodeInvalid, from, from+length, naming.Printable(message))
		return nil
	}
	c.info = tree.SourceInfo()
	nodes := 0
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(ast.Expr) { nodes++ }))
	if nodes > maxNodes {
		c.fail(CodeInvalid, -1, -1, fmt.Sprintf("the expression has %d parts; at most %d are possible", nodes, maxNodes))
		return nil
	}
	return tree
}

const mostProblems = 5

// syntaxPattern takes apart what the parser says about a token.
var syntaxPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^Syntax error: (token recognition error|extraneous input|mismatched input|no viable alternative at input|missing .*) ?(?:at:? )?'(.*?)'(?: expecting .*)?$`)
})

// plainSyntax says what the parser says, in plain words, and how many characters it is about.
func plainSyntax(message string) (plain string, length int) {
	m := syntaxPattern().FindStringSubmatch(message)
	if m == nil {
		return message, 1
	}
	token := strings.TrimSpace(m[2])
	switch {
	case token == "<EOF>":
		return "something is missing at the end", 1
	case m[1] == "token recognition error":
		return fmt.Sprintf("%q is nothing that expressions have", token), max(len([]rune(token)), 1)
	case m[1] == "no viable alternative at input":
		return fmt.Sprintf("%q is not expected here", token), 1
	}
	return fmt.Sprintf("%q is not expected here", token), max(len([]rune(token)), 1)
}

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
	if c.latest.Hint == "" {
		c.latest.WithHint(format, args...)
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
	c.problems++
	place := c.place(from)
	if c.failed != nil && c.deciding == nil {
		if strings.Count(c.failed.Message, "; ") < mostProblems {
			c.failed.Message += "; " + c.placed(place, message)
		}
		return
	}
	f := fault.New(code, fault.Usage, "%s", c.placed(place, message))
	if place != "" {
		f.WithDetail(fault.DetailPlace, fmt.Sprintf("%d-%d", from, max(to, from+1)))
	}
	c.latest = f
	if c.failed != nil {
		if len(c.more) < mostProblems {
			c.more = append(c.more, f)
		}
		return
	}
	c.failed = f
	if c.deciding != nil && c.deciding.values != nil {
		return // it was written rightly
	}
	if habit := expression.Hint(string(c.text)); habit != "" {
		f.WithHint("%s", habit)
	}
}

// placed is a message with its place. Those about a condition of a pipeline stand at their place in the file.
func (c *compiler) placed(place, message string) string {
	if place == "" || c.deciding != nil {
		return message
	}
	return place + ": " + message
}

// rowFault makes the fault of a part that has no value in a row.
func (c *compiler) rowFault(e ast.Expr, code, message, hint string) error {
	from, to := c.span(e)
	f := fault.New(code, fault.Data, "%s", c.placed(c.place(from), message)).
		WithDetail(fault.DetailPlace, fmt.Sprintf("%d-%d", from, to))
	if hint != "" {
		f.WithHint("%s", hint)
	}
	return f
}
