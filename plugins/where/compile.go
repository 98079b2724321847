package where

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/expression"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Limits of an expression. It comes from outside, and is evaluated for every row.
const (
	maxRunes = 4096
	maxNodes = 1000
	maxDepth = 64
	maxCost  = 10_000 // of one row, in CEL's units, about one per comparison
)

// compiler takes an expression from its text to something that can be evaluated.
type compiler struct {
	text     []rune
	schema   *arrow.Schema
	params   config.Parameters
	names    []string
	patterns map[string]*regexp.Regexp
	literals map[string]literal
	env      *cel.Env

	factory ast.ExprFactory
	info    *ast.SourceInfo
	nextID  int64
	used    map[int]bool   // columns
	absent  map[int64]bool // nodes that are parameters which were not given
	checked *ast.AST
	failed  *fault.Fault
}

// variable is the name of a column in the expression that is evaluated. Users
// cannot write it, so columns may be called like types, or anything else.
func variable(column int) string { return "@c" + strconv.Itoa(column) }

// column is the inverse of variable.
func column(name string) (int, bool) {
	number, ok := strings.CutPrefix(name, "@c")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n, err == nil
}

// compile parses, rewrites and checks. The fault says where in the expression
// what is wrong.
func compile(text string, params config.Parameters, schema *arrow.Schema) (*compiler, error) {
	c := &compiler{text: []rune(text), schema: schema, params: params, names: naming.Names(schema), patterns: map[string]*regexp.Regexp{},
		literals: map[string]literal{}, factory: ast.NewExprFactory(), used: map[int]bool{}, absent: map[int64]bool{}}
	env, err := environment(c.patterns, c.literals)
	if err != nil {
		return nil, fmt.Errorf("where: the language cannot be set up: %w", err)
	}
	parsed, issues := env.Parse(text)
	if c.take(issues) {
		return nil, c.failed
	}
	tree := parsed.NativeRep()
	c.info, c.nextID = tree.SourceInfo(), ast.MaxID(tree)+1
	c.rewrite(tree.Expr(), nil)
	c.condition(tree.Expr())
	if c.failed != nil {
		return nil, c.failed
	}
	var variables []cel.EnvOption
	for index := range c.used {
		t := expressionType(c.schema.Field(index).Type)
		if naming.Unknown(c.schema.Field(index)) {
			t = cel.DynType
		}
		if t == nil {
			return nil, fault.New("where.unsupported_type", fault.Usage, "column %q is %s, which expressions cannot read", c.schema.Field(index).Name, sdk.TypeName(c.schema.Field(index)))
		}
		variables = append(variables, cel.Variable(variable(index), t))
	}
	if c.env, err = env.Extend(variables...); err != nil {
		return nil, fmt.Errorf("where: the columns cannot be declared: %w", err)
	}
	checked, issues := c.env.Check(parsed)
	if c.take(issues) {
		return nil, c.failed
	}
	c.checked = checked.NativeRep()
	if t := checked.OutputType(); t.Kind() != types.BoolKind {
		c.problem(c.root().ID(), "the expression gives %s; expected true or false", typeName(t))
		if t.Kind() == types.IntKind {
			c.failed.WithHint("a flag that is 0 or 1 is a number: compare it, as in flag == 1")
		}
		return nil, c.failed
	}
	c.check(c.root())
	if c.failed != nil {
		return nil, c.failed
	}
	return c, nil
}

func (c *compiler) root() ast.Expr {
	return c.checked.Expr()
}

// expressionType is what a column is in expressions; nil if they cannot read it.
func expressionType(t arrow.DataType) *cel.Type {
	switch t.ID() {
	case arrow.NULL:
		return cel.NullType
	case arrow.BOOL:
		return cel.BoolType
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32:
		return cel.IntType
	case arrow.UINT64:
		return cel.UintType
	case arrow.FLOAT32, arrow.FLOAT64:
		return cel.DoubleType
	case arrow.DECIMAL128, arrow.DECIMAL256:
		return decimalType
	case arrow.STRING, arrow.LARGE_STRING:
		return cel.StringType
	case arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY:
		return cel.BytesType
	case arrow.DATE32, arrow.DATE64, arrow.TIMESTAMP:
		return cel.TimestampType
	case arrow.TIME32, arrow.TIME64, arrow.DURATION:
		return cel.DurationType
	}
	return nil
}

// rewrite puts columns for names and our functions for CEL's. The scope is the
// variables of macros such as exists.
func (c *compiler) rewrite(e ast.Expr, scope []string) {
	switch e.Kind() {
	case ast.IdentKind:
		if name := e.AsIdent(); !slices.Contains(scope, name) {
			c.useColumn(e, name)
		}
	case ast.SelectKind:
		if isParameter(e, scope) {
			c.useParameter(e)
			return
		}
		c.rewrite(e.AsSelect().Operand(), scope)
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			c.rewrite(element, scope)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			c.rewrite(entry.AsMapEntry().Key(), scope)
			c.rewrite(entry.AsMapEntry().Value(), scope)
		}
	case ast.StructKind:
		c.problem(e.ID(), "there are no types to make values of")
	case ast.ComprehensionKind:
		m := e.AsComprehension()
		inner := append(slices.Clone(scope), m.IterVar(), m.IterVar2(), m.AccuVar())
		c.rewrite(m.IterRange(), scope)
		c.rewrite(m.AccuInit(), inner)
		c.rewrite(m.LoopCondition(), inner)
		c.rewrite(m.LoopStep(), inner)
		c.rewrite(m.Result(), inner)
	case ast.CallKind:
		c.rewriteCall(e, scope)
	}
}

func (c *compiler) rewriteCall(e ast.Expr, scope []string) {
	call := e.AsCall()
	name, args := call.FunctionName(), call.Args()
	// row["any name"]
	if name == operators.Index && len(args) == 2 && args[0].Kind() == ast.IdentKind && args[0].AsIdent() == "row" && !slices.Contains(scope, "row") {
		if text, ok := stringLiteral(args[1]); ok {
			c.useColumn(e, text)
			return
		}
		c.problem(e.ID(), `expected the name of a column in quotes: row["name"]`)
		return
	}
	if call.IsMemberFunction() {
		c.rewrite(call.Target(), scope)
		args = append([]ast.Expr{call.Target()}, args...)
	}
	if last := len(args) - 1; name == "matches" && last == 1 && isParameter(args[last], scope) {
		c.problem(args[last].ID(), "a pattern stands in the expression; a parameter cannot be one")
		if c.failed.Hint == "" {
			c.failed.WithHint("contains, startsWith and endsWith take a parameter as the text to look for")
		}
	}
	for _, a := range call.Args() {
		c.rewrite(a, scope)
	}
	switch name {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
		for _, a := range args {
			c.condition(a)
		}
	case operators.Conditional:
		c.condition(args[0])
	}
	if ours := replaced[name]; ours != "" && len(args) == 2 {
		if operations[ours] != 0 || ours == funcIn {
			c.keepText(args[0])
			c.keepText(args[1])
		}
		e.SetKindCase(c.factory.NewCall(e.ID(), ours, args...))
	}
}

// useColumn makes e the column of that name.
func (c *compiler) useColumn(e ast.Expr, name string) {
	c.schema = naming.Assume(c.schema, name)
	found := naming.Find(c.schema, name)
	switch len(found) {
	case 0:
		c.problem(e.ID(), "there is no column %q%s", naming.Printable(name), naming.DidYouMean(name, c.names))
		if c.failed.Code == codeExpression {
			c.failed.Code = "where.unknown_column"
			if c.failed.Hint == "" {
				c.failed.WithHint("the columns are: %s; text stands in quotes", strings.Join(c.names, ", "))
			}
		}
	case 1:
		c.used[found[0]] = true
		e.SetKindCase(c.factory.NewIdent(e.ID(), variable(found[0])))
	default:
		c.problem(e.ID(), "%d columns are called %q: write row[%q], row[%q] …", len(found), name, name+"#1", name+"#2")
	}
}

// wrap makes e a call with what e was as its first argument.
func (c *compiler) wrap(e ast.Expr, function string, more ...ast.Expr) {
	inner := c.factory.NewUnspecifiedExpr(c.nextID)
	at, _ := c.info.GetOffsetRange(e.ID())
	c.info.SetOffsetRange(c.nextID, at)
	c.nextID++
	inner.SetKindCase(e)
	e.SetKindCase(c.factory.NewCall(e.ID(), function, append([]ast.Expr{inner}, more...)...))
}

// condition makes a column that stands as a condition false where it is NULL, and so a
// parameter that was not given.
func (c *compiler) condition(e ast.Expr) {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Conditional {
		c.condition(e.AsCall().Args()[1])
		c.condition(e.AsCall().Args()[2])
	}
	if c.absent[e.ID()] {
		e.SetKindCase(c.factory.NewLiteral(e.ID(), types.False))
		delete(c.absent, e.ID())
	}
	if e.Kind() != ast.IdentKind {
		return
	}
	if index, ok := column(e.AsIdent()); ok {
		if f := c.schema.Field(index); f.Type.ID() != arrow.BOOL && !naming.Unknown(f) {
			c.problem(e.ID(), "column %q is %s; expected true or false", c.names[index], sdk.TypeName(f))
			c.failed.WithHint("a flag that is 0 or 1 is a number: compare it, as in %s == 1", c.names[index])
			return
		}
		c.wrap(e, funcHolds)
	}
}

// keepText keeps the text of literals with a point or an exponent, of which CEL
// knows the nearest float only.
func (c *compiler) keepText(e ast.Expr) {
	switch e.Kind() {
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			c.keepText(element)
		}
	case ast.LiteralKind:
		v, ok := e.AsLiteral().(types.Double)
		if !ok {
			return
		}
		text := strconv.FormatFloat(float64(v), 'g', -1, 64)
		if at, ok := c.info.GetOffsetRange(e.ID()); ok && at.Start >= 0 && at.Start < at.Stop && int(at.Stop) <= len(c.text) {
			written := string(c.text[at.Start:at.Stop])
			if f, err := strconv.ParseFloat(written, 64); err == nil && f == float64(v) {
				text = written
			}
		}
		number, ok := readLiteral(text, float64(v))
		if !ok {
			c.problem(e.ID(), "the number is too long, or its exponent too large")
			return
		}
		c.literals[text] = number
		argument := c.factory.NewLiteral(c.nextID, types.String(text))
		c.nextID++
		c.wrap(e, funcNumber, argument)
	}
}

const codeExpression = "where.expression"

// problem records what is wrong at a node.
func (c *compiler) problem(id int64, format string, args ...any) {
	place := ""
	if c.info != nil {
		if at := c.info.GetStartLocation(id); at.Line() > 0 && at.Column() >= 0 {
			place = c.place(at.Line(), at.Column())
		}
	}
	c.fail(place, fmt.Sprintf(format, args...))
	if c.info != nil {
		if at, ok := c.info.GetOffsetRange(id); ok {
			c.mark(int(at.Start), int(at.Stop))
		}
	}
}

// mark says which part of the expression the first problem is about, in characters.
func (c *compiler) mark(from, to int) {
	if c.failed.Details[fault.DetailPlace] == "" && from >= 0 && from <= len(c.text) {
		c.failed.WithDetail(fault.DetailPlace, fmt.Sprintf("%d-%d", from, max(to, from+1)))
	}
}

// place names a place for messages; CEL counts columns from 0.
func (c *compiler) place(line, column int) string {
	if slices.Contains(c.text, '\n') {
		return fmt.Sprintf("line %d, column %d of the expression: ", line, column+1)
	}
	return fmt.Sprintf("column %d of the expression: ", column+1)
}

func (c *compiler) fail(place, message string) {
	if c.failed == nil {
		c.failed = fault.New(codeExpression, fault.Usage, "%s%s", place, message).
			WithDetail(fault.DetailSetting, "/expression")
		if habit := expression.Hint(string(c.text)); habit != "" {
			c.failed.WithHint("%s", habit)
		}
		return
	}
	c.failed.Message += "; " + place + message
}

// CEL's messages name operators in its own way.
var (
	operatorPattern  = regexp.MustCompile(`'_?([^_' \w]+)_'`)
	containerPattern = regexp.MustCompile(` \(in container '[^']*'\)`)
)

const mostProblems = 5

// take records CEL's own findings; it reports whether there are any.
func (c *compiler) take(issues *cel.Issues) bool {
	if issues.Err() == nil {
		return false
	}
	for i, e := range issues.Errors() {
		if i == mostProblems {
			break
		}
		message := operatorPattern.ReplaceAllString(containerPattern.ReplaceAllString(e.Message, ""), "'$1'")
		place := ""
		if e.Location != nil && e.Location.Line() > 0 && e.Location.Column() >= 0 {
			place = c.place(e.Location.Line(), e.Location.Column())
		}
		c.fail(place, naming.Printable(message))
		if e.Location != nil && e.Location.Line() == 1 {
			c.mark(e.Location.Column(), e.Location.Column()+1)
		}
	}
	if c.failed == nil {
		c.fail("", naming.Printable(issues.Err().Error()))
	}
	if c.failed.Hint == "" && strings.Contains(c.failed.Message, "no matching overload") {
		c.failed.WithHint("the values are of types that do not go together; decimals have no arithmetic, and uint64 columns need literals such as 5u")
	}
	return true
}

func stringLiteral(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}
