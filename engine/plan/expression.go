package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
	expressions "github.com/cipherstream/cipherstream/sdk/expression"
)

// The codes of expressions that are wrong.
const (
	CodeExpression       = "expression.invalid"
	CodeExpressionType   = "expression.not_boolean"
	CodeExpressionFailed = "expression.failed"
	CodeRuleFailed       = "RULE_FAILED" // a rule that declares no code
)

// Limits of an expression: whoever writes a pipeline must not be able to keep the planner busy.
const (
	maxExpressionRunes = 4096
	maxExpressionNodes = 1000
	maxExpressionDepth = 32
	maxExpressionCost  = 100_000 // in CEL's units, about one per comparison
)

// expression is a compiled condition.
type expression struct {
	node    *document.Node
	program cel.Program
	params  []string // the parameters that it reads
	dynamic bool     // it reads run or customer, or parameters by a computed name
}

// conditionTypes are the types that a condition may have. Whether its value is null is only known when it is evaluated.
var conditionTypes = []*cel.Type{cel.BoolType, cel.NullableType(cel.BoolType), cel.DynType}

// newEnv declares what expressions see. Every parameter is a variable of its own
// with a dotted name, so that it has its declared type; params itself serves
// has(params.x).
func newEnv(parameters []document.Parameter) (*cel.Env, error) {
	names := cel.MapType(cel.StringType, cel.DynType)
	options := []cel.EnvOption{
		cel.Variable("params", names), cel.Variable("run", names), cel.Variable("customer", names),
		cel.ParserExpressionSizeLimit(maxExpressionRunes), cel.ParserRecursionLimit(4 * maxExpressionDepth),
		cel.ExpressionNodeLimit(maxExpressionNodes), cel.ExpressionNestingDepthLimit(maxExpressionDepth),
		cel.CrossTypeNumericComparisons(true),
	}
	for _, d := range parameters {
		t := cel.DynType
		switch d.Type {
		case document.TypeString, document.TypeDate:
			t = cel.StringType
		case document.TypeInteger:
			t = cel.IntType
		case document.TypeBoolean:
			t = cel.BoolType
		case document.TypeDecimal:
			t = cel.DoubleType
		}
		if d.Type != "" {
			// A parameter that cannot be null may be compared with null all the same: a pipeline that extends another
			// one can make a parameter required, and inherits the rules about it.
			t = cel.NullableType(t)
		}
		options = append(options, cel.Variable("params."+d.Name, t))
	}
	return cel.NewEnv(options...)
}

// nullable reports whether a parameter may be null.
func nullable(d *document.Parameter) bool { return !d.Required && d.Default == nil }

// compile compiles an expression. It returns nil when it has reported problems.
func (p *preparer) compile(n *document.Node) *expression {
	e := &expression{node: n}
	text := n.Text
	if n.Kind == document.Boolean {
		text = fmt.Sprint(n.Value) // YAML knows more spellings than CEL
	}
	if strings.Contains(text, "${") {
		var ok bool
		if text, ok = p.literal(n, "this is an expression", bindHint(config.CodeCEL)); !ok {
			return nil
		}
	}
	checked, issues := p.env.Compile(text)
	if err := issues.Err(); err != nil {
		for _, problem := range issues.Errors() {
			p.expressionProblem(n, problem)
		}
		return nil
	}
	info := checked.NativeRep().SourceInfo()
	good := true
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		// A selection is located at its dot, an index at its bracket.
		after := func(length int) diag.Position {
			at := info.GetStartLocation(x.ID())
			if at.Column() < 0 || at.Line() != 1 {
				return n.At
			}
			return n.Inside(at.Column()+1, at.Column()+1+length)
		}
		switch x.Kind() {
		case ast.IdentKind:
			name := x.AsIdent()
			if param, ok := strings.CutPrefix(name, "params."); ok {
				e.use(param)
			}
			e.dynamic = e.dynamic || name == "run" || name == "customer"
		case ast.SelectKind:
			// CEL has resolved params.x to one name where x is declared. A select on params that is left is
			// has(params.x), or a parameter that does not exist.
			if s := x.AsSelect(); isParams(s.Operand()) {
				good = p.knownParameter(p.names, s.FieldName(), after(utf8.RuneCountInString(s.FieldName()))) && good
				e.use(s.FieldName())
			}
		case ast.CallKind:
			c := x.AsCall()
			if len(c.Args()) != 2 || c.FunctionName() != "_[_]" || !isParams(c.Args()[0]) {
				return
			}
			if key := c.Args()[1]; key.Kind() == ast.LiteralKind {
				if name, ok := key.AsLiteral().Value().(string); ok {
					good = p.knownParameter(p.names, name, after(1)) && good
					e.use(name)
				}
			} else {
				e.dynamic = true
			}
		}
	}))
	if t := checked.OutputType(); good && !slices.ContainsFunc(conditionTypes, t.IsEquivalentType) {
		p.diags.Add(diag.At(n.At, CodeExpressionType, "the expression gives %s; expected true or false", wrapperPattern.ReplaceAllString(cel.FormatCELType(t), "$1")))
		return nil
	}
	if !good {
		return nil
	}
	program, err := p.env.Program(checked, cel.CostLimit(maxExpressionCost))
	if err != nil {
		p.diags.Add(diag.At(n.At, CodeExpression, "%s", firstLine(err)))
		return nil
	}
	e.program = program
	return e
}

func (e *expression) use(param string) {
	if !slices.Contains(e.params, param) {
		e.params = append(e.params, param)
	}
}

func isParams(x ast.Expr) bool { return x.Kind() == ast.IdentKind && x.AsIdent() == "params" }

func (r *reporter) knownParameter(names []string, name string, at diag.Position) bool {
	if slices.Contains(names, name) {
		return true
	}
	r.diags.Add(diag.At(at, CodeUnknownParameter, "no parameter %q is declared", printable(name)).WithSuggestion(name, names).WithoutFix())
	return false
}

// The library's messages name nullable types and operators in its own way.
var (
	wrapperPattern  = regexp.MustCompile(`wrapper\((\w+)\)`)
	operatorPattern = regexp.MustCompile(`'_?([^_' \w]+)_'`)
)

func (p *preparer) expressionProblem(n *document.Node, problem *cel.Error) {
	at, where := n.At, ""
	if line, column := problem.Location.Line(), problem.Location.Column(); line > 0 && column >= 0 {
		if inside := n.Inside(column, column+1); line == 1 && inside != n.At {
			at = inside
		} else {
			where = fmt.Sprintf(" (line %d, column %d of the expression)", line, column+1)
		}
	}
	message := strings.ReplaceAll(problem.Message, " (in container '')", "")
	message = wrapperPattern.ReplaceAllString(operatorPattern.ReplaceAllString(message, "'$1'"), "$1")
	d := diag.At(at, CodeExpression, "%s%s", printable(message), where)
	habit := expressions.Hint(n.Text)
	switch {
	case habit != "":
		d = d.WithHint("%s", habit)
	case strings.Contains(message, "undeclared reference"):
		d = d.WithHint("expressions see params.NAME, run.NAME and customer.NAME; text stands in quotes")
	case strings.Contains(message, "no matching overload"):
		d = d.WithHint("compare values of one type: dates and other text in quotes, numbers and true/false without")
	}
	p.diags.Add(d)
}

// variables are the values that expressions can read, for given parameters.
func (p *planner) variables(params map[string]any) map[string]any {
	all := make(map[string]any, len(params))
	vars := map[string]any{"params": all, "run": visible(p.run), "customer": visible(p.customer)}
	for name, v := range params {
		value := celValue(v)
		vars["params."+name] = value
		if v != nil {
			all[name] = value
		}
	}
	return vars
}

// decide evaluates an expression with variables.
func (e *expression) decide(vars map[string]any) (bool, error) {
	out, _, err := e.program.Eval(vars)
	if err != nil {
		return false, err
	}
	b, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("the result is %s; expected true or false", out.Type().TypeName())
	}
	return b, nil
}

// visible are the values of a namespace that an expression may read: all but the secrets.
func visible(values map[string]any) map[string]any {
	out := make(map[string]any, len(values))
	for name, v := range values {
		if _, ok := plainValue(v); ok {
			out[name] = celValue(v)
		}
	}
	return out
}

// comparableDigits is how many digits of a decimal a float64 tells apart.
const comparableDigits = 15

func celValue(v any) any {
	n, ok := v.(json.Number)
	if !ok {
		return v
	}
	digits := strings.TrimLeft(strings.NewReplacer("-", "", ".", "").Replace(n.String()), "0")
	f, err := n.Float64()
	if len(digits) > comparableDigits || err != nil {
		return types.NewErr("a decimal of more than %d digits cannot be compared exactly", comparableDigits)
	}
	return f
}

func evalFailed(e *expression, err error) diag.Diagnostic {
	return diag.At(e.node.At, CodeExpressionFailed, "the expression cannot be decided: %s", firstLine(err)).
		WithHint("a parameter that was not given is null: check for that first, as in params.x == null || …")
}

// firstLine keeps an error of the expression library to its first line.
func firstLine(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return printable(text)
}

func printable(text string) string {
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return diag.Printable(text)
}

// compileAll compiles the rules and the conditions of the stages; an entry is
// nil where there is none, or where it is wrong.
func (p *preparer) compileAll() {
	for _, r := range p.config.Document.Rules {
		p.rules = append(p.rules, p.compile(r.Check))
	}
	for _, s := range p.config.Document.Stages {
		var when *expression
		if s.When != nil {
			before := len(p.diags)
			when = p.compile(s.When)
			p.at(before, s.Pointer+"/when")
		}
		p.whens = append(p.whens, when)
	}
}

// readsOnly reports whether an expression reads none but these parameters.
func (e *expression) readsOnly(params map[string]any) bool {
	for _, name := range e.params {
		if _, there := params[name]; !there {
			return false
		}
	}
	return !e.dynamic
}

// checkRules evaluates those of the pipeline's rules that are wanted, and reports which the parameters break.
func (p *planner) checkRules(vars map[string]any, wanted func(*expression) bool) {
	for i, e := range p.rules {
		if !wanted(e) {
			continue
		}
		r := &p.config.Document.Rules[i]
		ok, err := e.decide(vars)
		if err != nil {
			p.diags.Add(evalFailed(e, err))
		} else if !ok {
			d := diag.Diagnostic{Code: r.Code, Severity: diag.Error, Parameter: r.Parameter, Message: r.Message}
			p.diags.Add(d.WithRelated(r.Check.At, "the rule is here"))
		}
	}
}

// active returns the stages that are switched on.
func (p *planner) active(vars map[string]any) []*preparedStage {
	out := make([]*preparedStage, 0, len(p.stages))
	for i, e := range p.whens {
		on := true
		if e != nil {
			var err error
			if on, err = e.decide(vars); err != nil {
				p.diags.Add(evalFailed(e, err))
			}
		}
		if on {
			out = append(out, p.stages[i])
		}
	}
	return out
}
