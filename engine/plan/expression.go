package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/plugins/formula"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of expressions that are wrong.
const (
	CodeExpression       = formula.CodeInvalid
	CodeExpressionType   = "expression.not_boolean"
	CodeExpressionFailed = "expression.failed"
	CodeRuleFailed       = "RULE_FAILED" // a rule that declares no code
)

// expression is a compiled condition.
type expression struct {
	node     *document.Node
	decision *formula.Decision
	params   []string // the parameters that it reads
	dynamic  bool     // it reads run or customer
}

// parameterTypes are the types of the declared parameters. Any of them may be null, also one that is required: a
// pipeline that extends another one can make a parameter required, and inherits the rules about it.
func parameterTypes(parameters []document.Parameter) config.Parameters {
	types := make(config.Parameters, len(parameters))
	for _, d := range parameters {
		types[d.Name] = config.Parameter{Type: string(d.Type)}
	}
	return types
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
	decision, problems := formula.CompileDecision(text, p.types)
	for _, f := range problems {
		p.expressionProblem(n, text, f)
	}
	if decision == nil {
		return nil
	}
	good := len(problems) == 0
	for _, m := range decision.Mentions {
		switch m.Space {
		case "params":
			good = p.knownParameter(p.names, m.Name, of(n, m)) && good
			e.use(m.Name)
		case "run", "customer":
			e.dynamic = true
		}
	}
	if t := decision.Type; good && t.Kind != formula.Bool && t.Kind != formula.Unknown {
		good = false
		p.diags.Add(diag.At(n.At, CodeExpressionType, "the expression gives %s; expected true or false", t))
	}
	if !good {
		return nil
	}
	e.decision = decision
	return e
}

// of is the place of a name of an expression.
func of(n *document.Node, m formula.Mention) diag.Position {
	if m.From < 0 {
		return n.At
	}
	return n.Inside(m.From, m.To)
}

func (e *expression) use(param string) {
	if !slices.Contains(e.params, param) {
		e.params = append(e.params, param)
	}
}

func (r *reporter) knownParameter(names []string, name string, at diag.Position) bool {
	if slices.Contains(names, name) {
		return true
	}
	r.diags.Add(diag.At(at, CodeUnknownParameter, "no parameter %q is declared", printable(name)).WithSuggestion(name, names).WithoutFix())
	return false
}

// expressionProblem reports a fault of the text of an expression.
func (p *preparer) expressionProblem(n *document.Node, text string, f *fault.Fault) {
	at, where := placeOf(n, text, f)
	d := diag.At(at, f.Code, "%s%s", diag.Printable(f.Message), where)
	if f.Hint != "" {
		d = d.WithHint("%s", diag.Printable(f.Hint))
	}
	p.diags.Add(d)
}

// placeOf is the place of a fault of an expression in the file, and in words where the file has none for it.
func placeOf(n *document.Node, text string, f *fault.Fault) (at diag.Position, where string) {
	var from, to int
	if count, _ := fmt.Sscanf(f.Details[fault.DetailPlace], "%d-%d", &from, &to); count != 2 {
		return n.At, ""
	}
	if at = n.Inside(from, to); at != n.At || from == 0 {
		return at, ""
	}
	line, column := 1, 1
	runes := []rune(text)
	for _, r := range runes[:min(from, len(runes))] {
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return at, fmt.Sprintf(" (line %d, column %d of the expression)", line, column)
}

// variables are the values that expressions can read, for given parameters: of run and customer all but the
// secrets.
func (p *planner) variables(params map[string]any) *formula.Values {
	return &formula.Values{Params: params, Other: func(space, name string) (any, bool) {
		values := p.run
		if space == "customer" {
			values = p.customer
		}
		v, there := values[name]
		plain, ok := plainValue(v)
		return plain, there && ok
	}}
}

// decide evaluates an expression with variables.
func (e *expression) decide(vars *formula.Values) (bool, error) { return e.decision.Decide(vars) }

func evalFailed(e *expression, err error) diag.Diagnostic {
	f := fault.From(err)
	at, where := placeOf(e.node, e.node.Text, f)
	d := diag.At(at, CodeExpressionFailed, "the expression cannot be decided: %s%s", diag.Printable(f.Message), where)
	if f.Code == formula.CodeNull {
		return d.WithHint("a parameter that was not given is null: check for that first, as in params.x == null || …")
	}
	return d.WithHint("%s", diag.Printable(f.Hint))
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
func (p *planner) checkRules(vars *formula.Values, wanted func(*expression) bool) {
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
func (p *planner) active(vars *formula.Values) []*preparedStage {
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
