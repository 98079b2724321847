package where

import (
	"regexp"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
)

// class is a group of types whose values compare with each other.
type class uint8

const (
	classOther class = iota // lists, maps: nothing compares with them
	classAny                // not known before evaluation
	classNull
	classNumber
	classText
	classBool
	classBytes
	classTime
	classSpan
)

func classOf(t *cel.Type) class {
	switch t.Kind() {
	case types.DynKind, types.AnyKind, types.TypeParamKind:
		return classAny
	case types.NullTypeKind:
		return classNull
	case types.IntKind, types.UintKind, types.DoubleKind:
		return classNumber
	case types.OpaqueKind:
		if t.TypeName() == decimalType.TypeName() {
			return classNumber
		}
	case types.StringKind:
		return classText
	case types.BoolKind:
		return classBool
	case types.BytesKind:
		return classBytes
	case types.TimestampKind:
		return classTime
	case types.DurationKind:
		return classSpan
	}
	return classOther
}

// typeName is how messages call a type.
func typeName(t *cel.Type) string {
	switch t.Kind() {
	case types.TimestampKind:
		return "a date or timestamp"
	case types.DurationKind:
		return "a time or duration"
	case types.StringKind:
		return "text"
	}
	return cel.FormatCELType(t)
}

// check holds the arguments of our functions, which take anything as far as CEL
// knows, against what they compare.
func (c *compiler) check(e ast.Expr) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.CallKind {
			return
		}
		call := x.AsCall()
		name, args := call.FunctionName(), call.Args()
		switch {
		case operations[name] != 0:
			c.checkComparison(x, args[0], args[1], operations[name])
		case name == funcIn:
			c.checkIn(x, args[0], args[1])
		case name == funcMatches || textFunctions[name] != nil:
			c.checkText(name, args[0], args[1])
		}
	}))
}

func (c *compiler) typeOf(e ast.Expr) *cel.Type { return c.checked.GetType(e.ID()) }

func (c *compiler) checkComparison(at, a, b ast.Expr, o operation) {
	x, y := classOf(c.typeOf(a)), classOf(c.typeOf(b))
	switch {
	case x == classOther || y == classOther:
	case x == classNull || y == classNull:
		if o != equal && o != notEqual && !c.absent[a.ID()] && !c.absent[b.ID()] {
			c.problem(at.ID(), "null has no order; expected == null or != null")
		}
		return
	case x == classAny || y == classAny || x == y:
		return
	case y == classText && (x == classTime || x == classSpan):
		c.checkTime(b, x)
		return
	case x == classText && (y == classTime || y == classSpan):
		c.checkTime(a, y)
		return
	}
	c.problem(at.ID(), "%s is compared with %s", typeName(c.typeOf(a)), typeName(c.typeOf(b)))
	if hint := comparisonHint(a, b, x, y); hint != "" && c.failed.Hint == "" {
		c.failed.WithHint("%s", hint)
	}
}

// comparisonHint says how to write a comparison of two classes that do not go together; empty where the expression
// does not show what is meant.
func comparisonHint(a, b ast.Expr, x, y class) string {
	if x > y {
		a, b, x, y = b, a, y, x
	}
	switch [2]class{x, y} {
	case [2]class{classNumber, classText}:
		switch {
		case b.Kind() == ast.LiteralKind:
			return "a number stands without quotes, as in id == 5"
		case a.Kind() == ast.LiteralKind, a.Kind() == ast.CallKind && a.AsCall().FunctionName() == funcNumber:
			return "text stands in quotes, as in code == '5'"
		}
	case [2]class{classNumber, classBool}, [2]class{classText, classBool}:
		return "a boolean is compared with true or false, without quotes"
	case [2]class{classNumber, classTime}:
		return "a date stands in quotes, as in day >= '2024-12-31'"
	case [2]class{classNumber, classSpan}:
		return "a time of day stands in quotes, as in begins >= '08:30:00'"
	}
	return ""
}

// checkTime checks a text that is compared with a date or a time.
func (c *compiler) checkTime(e ast.Expr, with class) {
	text, ok := stringLiteral(e)
	if text == unknownText {
		return
	}
	_, isTime := readTime(text)
	_, isSpan := readSpan(text)
	switch {
	case !ok:
		c.problem(e.ID(), "text is compared with a date or time; expected a literal such as '2024-12-31', or a conversion such as timestamp(…)")
	case with == classTime && !isTime:
		c.problem(e.ID(), "expected a date or timestamp as 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS', not %q",
			naming.Printable(text))
	case with == classSpan && !isSpan:
		c.problem(e.ID(), "expected a time as 'HH:MM:SS', not %q", naming.Printable(text))
	}
}

func (c *compiler) checkIn(at, v, list ast.Expr) {
	if list.Kind() == ast.ListKind {
		for _, element := range list.AsList().Elements() {
			c.checkComparison(element, v, element, equal)
		}
		return
	}
	switch t := c.typeOf(list); t.Kind() {
	case types.DynKind:
	case types.ListKind:
		a, b := classOf(c.typeOf(v)), classOf(t.Parameters()[0])
		if a != b && a != classAny && b != classAny && a != classNull && b != classNull {
			c.problem(at.ID(), "%s is looked for in %s", typeName(c.typeOf(v)), typeName(t))
		}
	default:
		c.problem(list.ID(), "in expects a list, not %s", typeName(t))
	}
}

func (c *compiler) checkText(name string, text, argument ast.Expr) {
	for _, e := range []ast.Expr{text, argument} {
		switch t := c.typeOf(e); classOf(t) {
		case classText, classAny, classNull:
		default:
			c.problem(e.ID(), "%s expects text, not %s", name[len("@where_"):], typeName(t))
			return
		}
	}
	if name != funcMatches {
		return
	}
	pattern, ok := stringLiteral(argument)
	if !ok {
		c.problem(argument.ID(), "matches expects a regular expression in quotes")
		return
	}
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		c.problem(argument.ID(), "%s", naming.Printable(err.Error()))
		return
	}
	c.patterns[pattern] = compiled
}
