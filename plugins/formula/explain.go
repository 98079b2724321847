package formula

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Part is a part of an expression, for people who ask where its type comes from.
type Part struct {
	// Text is the part as it stands in the expression, from character From to before character To.
	Text     string
	From, To int
	// Depth is of how many parts it is a part; that of the whole expression is 0.
	Depth int
	// Type is that of its value, and Nullable whether it may be NULL.
	Type     Type
	Nullable bool
	// Why says where the type comes from.
	Why string
}

// Explain is Compile, and the parts of the expression: every part stands before its own parts, in their order. What does
// not compile has none.
func Explain(text string, params config.Parameters, schema *arrow.Schema) (*Formula, []Part, error) {
	c := newCompiler(text, params, schema)
	c.explains = true
	f, err := c.formula()
	if err != nil {
		return nil, nil, err
	}
	return f, c.explained(), nil
}

// explainedPart is a part with what its explanation is made of.
type explainedPart struct {
	e     ast.Expr
	n     *node
	depth int
}

// explained says of every part where its type comes from.
func (c *compiler) explained() []Part {
	parts := make([]Part, len(c.parts))
	for i, p := range c.parts {
		from, to := c.span(p.e)
		parts[i] = Part{
			Text: strings.Join(strings.Fields(string(c.text[from:to])), " "), From: from, To: to, Depth: p.depth,
			Type: p.n.t, Nullable: p.n.nullable || p.n.t.Kind == Null,
		}
		var of []*node
		for _, inner := range c.parts[i+1:] {
			if inner.depth <= p.depth {
				break
			}
			if inner.depth == p.depth+1 {
				of = append(of, inner.n)
			}
		}
		parts[i].Why = c.why(p.e, p.n, of)
	}
	return parts
}

// why says where the type of a part comes from; of are its own parts.
func (c *compiler) why(e ast.Expr, n *node, of []*node) string {
	if _, _, is := memberOf(e); is {
		return "a parameter, which has one value in a run"
	}
	switch e.Kind() {
	case ast.IdentKind:
		if !n.isColumn && n.t.Kind != Unknown {
			return "an element of the list"
		}
		return "a column"
	case ast.LiteralKind:
		return whyLiteral(e, n)
	case ast.CallKind:
	default:
		return ""
	}
	if _, is := rowName(e); is {
		return "a column"
	}
	if _, is := loopVariable(e); is {
		return "a chain of || or &&, with one element after the other"
	}
	switch name := e.AsCall().FunctionName(); name {
	case operators.Index:
		return "holds every value of the map, exactly"
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return whyArithmetic(name, n.t, of)
	case operators.Negate:
		return "the type of what is negated"
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
		return "a side that is NULL does not hold"
	case operators.Conditional:
		return "holds every value of both results, exactly"
	case operators.In:
		return "a chain of =="
	case operators.Equals, operators.NotEquals:
		return "NULL equals NULL, and nothing else"
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return "does not hold where a side is NULL"
	case "has":
		return "whether the parameter was given"
	default:
		return whyFunction(name, n, c.functions[name])
	}
}

func whyLiteral(e ast.Expr, n *node) string {
	switch e.AsLiteral().(type) {
	case types.Null:
		return "null has no type of its own"
	case types.Double:
		return "a literal: exactly the digits that it has; next to a float, the nearest float"
	}
	if n.t.Kind == Text {
		return "a literal; next to a date or a time, that date or time"
	}
	return "a literal"
}

func whyArithmetic(op string, t Type, of []*node) string {
	switch t.Kind {
	case Int, Uint:
		why := "64 bits; what does not fit fails the run"
		if op == operators.Divide {
			why = "64 bits; / cuts the rest off"
		}
		return why
	case Float:
		return "a float beside floats and literals only, as what comes of it is rounded"
	case Text:
		return "texts are joined"
	case Timestamp, Span:
		return "the time between or later, with the digits of both"
	case Decimal:
		if len(of) == 2 {
			return whyDecimal(op, t, asDecimal(of[0]), asDecimal(of[1]))
		}
	case Unknown:
		return "not known before a part of it is"
	}
	return ""
}

// whyDecimal tells the rule of precision and scale with the numbers of this case.
func whyDecimal(op string, t, a, b Type) string {
	why := fmt.Sprintf("%s %s %s: ", a, signs[op], b)
	digits := a.Precision + b.Precision
	if op == operators.Multiply {
		why += fmt.Sprintf("the digits of both, %d + %d, %d + %d of them behind the point",
			a.Precision, b.Precision, a.Scale, b.Scale)
	} else {
		digits = max(a.Precision-a.Scale, b.Precision-b.Scale) + t.Scale + 1
		why += fmt.Sprintf("the larger scale, %d, the larger whole part, %d, and one digit more", t.Scale, digits-t.Scale-1)
	}
	if digits > parse.MaxPrecision {
		why += fmt.Sprintf("; at most %d digits, and what does not fit fails the run", parse.MaxPrecision)
	}
	return why
}

// whyFunction is how a function is called, and what its type depends on.
func whyFunction(name string, n *node, f function) string {
	why := f.usage
	switch name {
	case "coalesce":
		why += ": the first that is not NULL; holds every value of all, exactly"
	case "divide", "round":
		why += ": the scale and the rounding that are asked for"
	case "abs", "addDays", "addMonths", "addYears", "addSeconds", "truncate":
		why += ": the type of the first"
	case "decimal", "int", "date", "timestamp", "string":
		why += ": a cast, exact or it fails the run"
	case "double":
		why += ": the nearest float"
	}
	return why
}
