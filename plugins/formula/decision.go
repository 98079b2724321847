package formula

import (
	"fmt"
	"regexp/syntax"

	"cel.dev/cel-go/common/ast"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// maxText is how many bytes of text a condition about parameters takes in: it is decided for every request, by the
// process that serves them all. A regular expression takes its text in once for every patternStep of its instructions,
// among which a repetition counts as often as it may repeat.
const (
	maxText     = 1 << 20
	patternStep = 16
)

// Decision is a condition about parameters, about a run and about whose data it is: params.NAME, run.NAME and
// customer.NAME. It sees no row. What a NULL decides in a row, nothing decides here: <, startsWith and the like of
// null, and a boolean that is null, have no answer. It is used by several goroutines at once.
type Decision struct {
	// Mentions are the names that it uses, in their order.
	Mentions []Mention
	// Type is that of its value: Bool, or Unknown before the values are known. Of any other it decides nothing.
	Type Type

	text   string
	tree   *ast.AST
	params config.Parameters // those that it reads, without values
	root   eval              // nil where types depend on values, which are compiled with them
}

// Values are what a decision is about.
type Values struct {
	// Params are the parameters: nil, bool, string (also a date), int64 or json.Number.
	Params map[string]any
	// Other are the values of run and customer, of the same types; false where there is none of that name.
	Other func(space, name string) (value any, ok bool)
}

// occasion is one evaluation of a decision.
type occasion struct {
	values *Values
	left   int // of maxText
}

// deciding is what a compiler knows of a decision.
type deciding struct {
	values *Values // nil before they are known
	late   bool    // some types depend on them
	on     *Row
}

func (d *deciding) row() *Row {
	if d == nil {
		return nil
	}
	return d.on
}

// handles counts bytes of text that are handled, and is false when there were too many. In rows it counts none.
func (r *Row) handles(bytes int) bool {
	if r == nil || r.of == nil {
		return true
	}
	r.of.left -= bytes
	return r.of.left >= 0
}

// CompileDecision reads a condition about parameters of these types; their values are not looked at, and one that is
// not there, or has no type, may be of any. The faults are all that is wrong, with their places; the decision is nil
// when the text cannot be read, and cannot be decided when there are faults.
func CompileDecision(text string, params config.Parameters) (*Decision, []*fault.Fault) {
	c := newDeciding(text, params, &deciding{})
	tree := c.parse()
	if tree == nil {
		return nil, []*fault.Fault{c.failed}
	}
	d := &Decision{Mentions: mentioned(tree), text: text, tree: tree, params: config.Parameters{}}
	for _, m := range d.Mentions {
		if m.Space == spaceParams {
			d.params[m.Name] = config.Parameter{Type: params[m.Name].Type}
		}
	}
	n := c.compile(tree.Expr())
	d.Type = n.t
	if n.t.Kind == Bool && c.failed == nil {
		n = c.condition(tree.Expr(), n)
		if !c.deciding.late {
			d.root = n.eval
		}
	}
	if c.failed != nil {
		return d, append([]*fault.Fault{c.failed}, c.more...)
	}
	return d, nil
}

func newDeciding(text string, params config.Parameters, d *deciding) *compiler {
	return &compiler{text: []rune(text), params: params, functions: known(), spans: map[int64][2]int{}, deciding: d}
}

// Decide is whether the condition holds. The error is a fault that says why that cannot be decided, and where.
func (d *Decision) Decide(values *Values) (bool, error) {
	r := &Row{of: &occasion{values: values, left: maxText}}
	root := d.root
	if root == nil {
		params := make(config.Parameters, len(d.params))
		for name, p := range d.params {
			p.Value = values.Params[name]
			params[name] = p
		}
		c := newDeciding(d.text, params, &deciding{values: values, on: r})
		c.info = d.tree.SourceInfo()
		e := d.tree.Expr()
		n := c.compile(e)
		if c.failed == nil {
			n = c.condition(e, n)
		}
		if c.failed != nil {
			return false, c.failed
		}
		root = n.eval
	}
	v, err := root(r)
	return err == nil && v.n == 1, err
}

// later says that a type depends on values.
func (c *compiler) later() {
	if c.deciding != nil {
		c.deciding.late = true
	}
}

// side compiles a side of && or ||, or a result of a conditional. Where the types of values turn out not to go
// together, it has no value, and the rest may decide without it, as in a row.
func (c *compiler) side(e ast.Expr) *node {
	if c.deciding == nil || c.deciding.values == nil || c.failed != nil {
		return c.compile(e)
	}
	n := c.compile(e)
	if c.failed == nil || c.compiled > maxSteps {
		return n
	}
	why := c.failed
	c.failed, c.more, c.problems = nil, nil, 0
	return &node{t: Type{Kind: Null}, nullable: true, e: e, eval: func(*Row) (value, error) { return nullValue, why }}
}

// undecided is a parameter whose value is not known yet.
func (c *compiler) undecided(name, of string) *node {
	c.reads++
	n := &node{nullable: true}
	switch of {
	case "string", "date":
		n.t.Kind, n.unknown = Text, true
	case "integer":
		n.t.Kind = Int
	case "boolean":
		n.t.Kind = Bool
	default: // the digits of a decimal are its value's
		c.later()
		return n
	}
	n.eval = func(r *Row) (value, error) {
		switch v := r.of.values.Params[name].(type) {
		case bool:
			return boolean(v), nil
		case int64:
			return value{n: v}, nil
		case string:
			return value{s: v}, nil
		}
		return nullValue, nil
	}
	return n
}

// member is a value of params, run or customer; nil where the expression sees none of these.
func (c *compiler) member(e ast.Expr) *node {
	space, name, ok := memberOf(e)
	switch {
	case !ok:
		return nil
	case space == spaceParams:
		return c.parameter(e, name)
	case c.deciding == nil:
		return nil
	case c.deciding.values == nil:
		c.reads++
		c.later()
		return &node{nullable: true}
	}
	v, ok := c.deciding.values.Other(space, name)
	if !ok {
		n := c.problem(e, "%s.%s has no value here", space, naming.Printable(name))
		c.hint("test it first: has(%s.%s) && …", space, naming.Printable(name))
		return n
	}
	return c.given(e, v)
}

// has is whether a parameter was given, and whether run or customer have a value of that name.
func (c *compiler) has(e ast.Expr, space, name string) *node {
	out := &node{t: Type{Kind: Bool}}
	if space != spaceParams {
		if c.deciding.values == nil {
			c.reads++
			c.later()
			return out
		}
		_, ok := c.deciding.values.Other(space, name)
		return constant(out.t, boolean(ok))
	}
	p := c.compile(e)
	if p.eval == nil {
		return out
	}
	inner := p.eval
	out.eval = func(r *Row) (value, error) {
		v, err := inner(r)
		return boolean(!v.null), err
	}
	return out
}

// noColumn is a name that stands alone in a condition that sees no row.
func (c *compiler) noColumn(e ast.Expr, name string) *node {
	n := c.problem(e, "nothing is called %q here", naming.Printable(name))
	if _, ok := c.params[name]; ok {
		c.hint("did you mean params.%s? text stands in quotes", name)
	} else {
		c.hint("a condition sees params.NAME, run.NAME and customer.NAME; text stands in quotes")
	}
	return n
}

// noAnswer is the fault of a decision that depends on null; nil in rows, where NULL decides.
func (c *compiler) noAnswer(e ast.Expr) error {
	if c.deciding == nil {
		return nil
	}
	return c.rowFault(e, CodeNull, "a value in it is null", "")
}

// costly is the fault of a decision that takes in too much text; nil in rows.
func (c *compiler) costly(e ast.Expr) error {
	if c.deciding == nil {
		return nil
	}
	return c.rowFault(e, CodeTooCostly, fmt.Sprintf("the condition takes in more than %d bytes of text", maxText), "")
}

// timesOf is how often a regular expression takes its text in; once in rows, where nothing counts it.
func (c *compiler) timesOf(pattern string) int {
	if c.deciding == nil {
		return 1
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 1
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 1
	}
	return len(program.Inst)/patternStep + 1
}

// counted counts the text that a part gives.
func (c *compiler) counted(e ast.Expr, inner eval) eval {
	if inner == nil {
		return nil
	}
	costly := c.costly(e)
	return func(r *Row) (value, error) {
		v, err := inner(r)
		if err == nil && !r.handles(len(v.s)) {
			err = costly
		}
		return v, err
	}
}
