package where

import (
	"encoding/json"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
)

// paramsName is what expressions call the parameters of the pipeline. A column of that
// name is still one by itself: columns have no members.
const paramsName = "params"

// isParameter reports whether e is params.NAME or has(params.NAME). The scope is the
// variables of macros.
func isParameter(e ast.Expr, scope []string) bool {
	if e.Kind() != ast.SelectKind || slices.Contains(scope, paramsName) {
		return false
	}
	operand := e.AsSelect().Operand()
	return operand.Kind() == ast.IdentKind && operand.AsIdent() == paramsName
}

// useParameter makes e the value of a parameter: a literal, which is a value whatever
// stands in it. A run has one value of each, so that what is compared with columns runs
// over whole columns like any other literal.
func (c *compiler) useParameter(e ast.Expr) {
	selected := e.AsSelect()
	name := selected.FieldName()
	parameter, ok := c.params[name]
	if !ok {
		var names []string
		for known := range c.params {
			names = append(names, known)
		}
		c.problem(e.ID(), "there is no parameter %q%s", naming.Printable(name), naming.DidYouMean(name, names))
		return
	}
	value := parameter.Value
	if parameter.Unknown {
		value = example(parameter.Type)
	}
	if selected.IsTestOnly() {
		e.SetKindCase(c.factory.NewLiteral(e.ID(), types.Bool(value != nil)))
		return
	}
	switch v := value.(type) {
	case nil:
		c.absent[e.ID()] = true
		e.SetKindCase(c.factory.NewLiteral(e.ID(), types.NullValue))
	case bool:
		e.SetKindCase(c.factory.NewLiteral(e.ID(), types.Bool(v)))
	case int64:
		e.SetKindCase(c.factory.NewLiteral(e.ID(), types.Int(v)))
	case string:
		e.SetKindCase(c.factory.NewLiteral(e.ID(), types.String(v)))
	case json.Number:
		c.useDecimal(e, v.String())
	}
}

// useDecimal makes e a number that keeps the digits of its text. It compares like a literal
// with a point: exactly, and next to a float as the nearest float.
func (c *compiler) useDecimal(e ast.Expr, text string) {
	float, err := json.Number(text).Float64()
	number, ok := readLiteral(text, float)
	if err != nil || !ok {
		c.problem(e.ID(), "the number is too long")
		return
	}
	number.text = text
	c.literals[text] = number
	argument := c.factory.NewLiteral(c.nextID, types.String(text))
	c.nextID++
	e.SetKindCase(c.factory.NewCall(e.ID(), funcDecimal, argument))
}

// unknownText stands for a text that is not known: it may be a date, too.
const unknownText = "\x00"

// example is a value of a type, to check with where none is known yet.
func example(typ string) any {
	switch typ {
	case "date":
		return "2000-01-01"
	case "integer":
		return int64(0)
	case "boolean":
		return false
	case "decimal":
		return json.Number("0.5")
	}
	return unknownText
}
