package formula

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
)

// constant is a part whose value is the same in every row.
func constant(t Type, v value) *node {
	return &node{t: t, nullable: v.null, known: &v, eval: func(*Row) (value, error) { return v, nil }}
}

// rowName is the name in row["name"].
func rowName(e ast.Expr) (string, bool) {
	call := e.AsCall()
	args := call.Args()
	if call.FunctionName() != operators.Index || len(args) != 2 || args[0].Kind() != ast.IdentKind || args[0].AsIdent() != "row" ||
		args[1].Kind() != ast.LiteralKind {
		return "", false
	}
	name, ok := args[1].AsLiteral().(types.String)
	return string(name), ok
}

// memberOf is the namespace and the name in params.NAME and params["NAME"], and of run and customer.
func memberOf(e ast.Expr) (space, name string, ok bool) {
	var of ast.Expr
	switch e.Kind() {
	case ast.SelectKind:
		of, name = e.AsSelect().Operand(), e.AsSelect().FieldName()
	case ast.CallKind:
		args := e.AsCall().Args()
		if e.AsCall().FunctionName() != operators.Index || len(args) != 2 || args[1].Kind() != ast.LiteralKind {
			return "", "", false
		}
		text, isText := args[1].AsLiteral().(types.String)
		if !isText {
			return "", "", false
		}
		of, name = args[0], string(text)
	default:
		return "", "", false
	}
	if of.Kind() != ast.IdentKind {
		return "", "", false
	}
	space = of.AsIdent()
	return space, name, space == spaceParams || space == spaceRun || space == spaceCustomer
}

func (c *compiler) compile(e ast.Expr) *node {
	at := len(c.parts)
	if c.explains {
		c.parts = append(c.parts, explainedPart{e: e, depth: c.depth})
		c.depth++
	}
	reads := c.reads
	var n *node
	if c.compiled++; c.compiled > maxSteps {
		n = c.tooCostly(e)
	} else {
		n = c.compileKind(e)
	}
	n.e = e
	if c.reads == reads && c.failed == nil && n.known == nil && n.eval != nil {
		// What fails is left to fail for a row, where something else may decide.
		if v, err := n.eval(c.deciding.row()); err == nil {
			n.known, n.eval = &v, func(*Row) (value, error) { return v, nil }
		}
	}
	if c.deciding != nil && n.known == nil && n.t.Kind == Text {
		n.eval = c.counted(e, n.eval)
	}
	if c.explains {
		c.depth--
		c.parts[at].n = n
	}
	return n
}

func (c *compiler) compileKind(e ast.Expr) *node {
	switch e.Kind() {
	case ast.IdentKind:
		if n, ok := c.scope[e.AsIdent()]; ok {
			bound := *n
			if bound.known == nil {
				c.reads++
			}
			return &bound
		}
		return c.column(e, e.AsIdent())
	case ast.LiteralKind:
		return c.literal(e)
	case ast.SelectKind:
		if n := c.member(e); n != nil {
			return n
		}
		if c.deciding != nil {
			n := c.problem(e, "only params, run and customer have members")
			c.hint("a parameter is params.NAME")
			return n
		}
		n := c.problem(e, "a column has no members")
		c.hint("a parameter is params.NAME; a column whose name has a point in it is row[\"its.name\"]")
		return n
	case ast.CallKind:
		return c.call(e)
	case ast.ListKind:
		return c.problem(e, "a list stands behind in only, as in x in [1, 2], and in front of exists and all")
	case ast.MapKind:
		return c.problem(e, "a map stands in front of a key only, as in {'M': 'male'}[sex]")
	}
	return c.problem(e, "there are no types to make values of")
}

func (c *compiler) tooCostly(e ast.Expr) *node {
	if c.failed == nil {
		c.problem(e, "the expression takes more than %d steps for a row", maxSteps)
		c.failed.Code = CodeTooCostly
		c.hint("write it without exists and all in one another")
	}
	return &node{}
}

// column reads a column.
func (c *compiler) column(e ast.Expr, name string) *node {
	if c.deciding != nil {
		return c.noColumn(e, name)
	}
	c.schema = naming.Assume(c.schema, name)
	found := naming.Find(c.schema, name)
	switch len(found) {
	case 0:
		before := c.failed
		n := c.problem(e, "there is no column %q%s", naming.Printable(name), naming.DidYouMean(name, c.names))
		if before == nil {
			c.failed.Code = CodeUnknownColumn
			c.hint("the columns are: %s; text stands in quotes", strings.Join(c.names, ", "))
		}
		return n
	case 1:
	default:
		return c.problem(e, "%d columns are called %q: write row[%q], row[%q] …", len(found), name, name+"#1", name+"#2")
	}
	index := found[0]
	f := c.schema.Field(index)
	t, ok := typeOf(f)
	if !ok {
		return c.problem(e, "column %q is %s, which expressions cannot read", f.Name, sdk.TypeName(f))
	}
	c.reads++
	n := &node{t: t, nullable: f.Nullable, isColumn: true, column: index, eval: func(r *Row) (value, error) { return read(r.Columns[index], r.Index), nil }}
	switch t.Kind {
	case Null:
		n.eval = func(*Row) (value, error) { return nullValue, nil }
	case Bool:
		n.over = columnConstant{index: index, op: equal, kind: boolConstant, bit: true}
	}
	return n
}

func (c *compiler) literal(e ast.Expr) *node {
	switch v := e.AsLiteral().(type) {
	case types.Null:
		return constant(Type{Kind: Null}, nullValue)
	case types.Bool:
		return constant(Type{Kind: Bool}, boolean(bool(v)))
	case types.Int:
		n := constant(Type{Kind: Int}, value{n: int64(v)})
		n.literal, n.number, n.float = true, strconv.FormatInt(int64(v), 10), float64(v)
		return n
	case types.Uint:
		return constant(Type{Kind: Uint}, value{n: int64(v)})
	case types.Double:
		text := strconv.FormatFloat(float64(v), 'g', -1, 64)
		if at, ok := c.info.GetOffsetRange(e.ID()); ok && at.Start >= 0 && at.Start < at.Stop && int(at.Stop) <= len(c.text) {
			written := string(c.text[at.Start:at.Stop])
			if f, err := strconv.ParseFloat(written, 64); err == nil && f == float64(v) {
				text = written
			}
		}
		return c.number(e, text, float64(v))
	case types.String:
		text := string(v)
		n := constant(Type{Kind: Text}, value{s: text})
		n.text = &text
		return n
	case types.Bytes:
		return constant(Type{Kind: Bytes}, value{s: string(v)})
	}
	return c.problem(e, "no such literal is known")
}

// number is a decimal with exactly the digits of its text; next to a float it is the nearest float.
func (c *compiler) number(e ast.Expr, text string, float float64) *node {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	power, err := strconv.Atoi(exponent)
	if exponent == "" {
		power, err = 0, nil
	}
	sign := ""
	if strings.HasPrefix(mantissa, "-") {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	scale := len(fraction) - power
	digits, ok := new(big.Int), false
	if err == nil && len(mantissa) <= 400 && scale <= parse.MaxPrecision && scale >= -parse.MaxPrecision {
		digits, ok = digits.SetString(sign+whole+fraction, 10)
	}
	if ok && scale < 0 {
		digits, scale = digits.Mul(digits, powers()[-scale]), 0
	}
	precision := 0
	if ok {
		precision = max(len(new(big.Int).Abs(digits).String()), scale, 1)
	}
	if !ok || precision > parse.MaxPrecision {
		if exponent != "" && !math.IsInf(float, 0) && float != 0 {
			// No decimal is between it and the float that it stands for.
			n := constant(Type{Kind: Float}, value{f: float})
			n.literal, n.number, n.float = true, text, float
			return n
		}
		return c.problem(e, "the number has more than %d digits", parse.MaxPrecision)
	}
	n := constant(Type{Kind: Decimal, Precision: precision, Scale: scale}, wholeValue(digits))
	n.literal, n.number, n.float = true, text, float
	return n
}

// parameter is the value of a parameter, which has one value in a run.
func (c *compiler) parameter(e ast.Expr, name string) *node {
	p, ok := c.params[name]
	if c.deciding != nil && c.deciding.values == nil {
		return c.undecided(name, p.Type)
	}
	if !ok {
		return c.problem(e, "there is no parameter %q%s", naming.Printable(name), naming.DidYouMean(name, slices.Collect(maps.Keys(c.params))))
	}
	t := Type{Kind: Text}
	switch p.Type {
	case "integer":
		t.Kind = Int
	case "boolean":
		t.Kind = Bool
	case "decimal":
		t.Kind = Unknown // its digits are its value's
	}
	if p.Unknown {
		c.reads++
		return &node{t: t, nullable: true, unknown: t.Kind == Text}
	}
	if p.Value == nil {
		if t.Kind == Unknown {
			t = Type{Kind: Decimal, Precision: 1} // which every other decimal goes with
		}
		return constant(t, nullValue)
	}
	return c.given(e, p.Value)
}

// given is a value that is the same in a whole run.
func (c *compiler) given(e ast.Expr, v any) *node {
	switch v := v.(type) {
	case bool:
		return constant(Type{Kind: Bool}, boolean(v))
	case int64:
		return constant(Type{Kind: Int}, value{n: v})
	case string:
		n := constant(Type{Kind: Text}, value{s: v})
		n.text = &v
		return n
	case json.Number:
		float, _ := v.Float64()
		return c.number(e, v.String(), float)
	}
	return constant(Type{Kind: Null}, nullValue)
}

var comparisons = map[string]operation{
	operators.Equals: equal, operators.NotEquals: notEqual, operators.Less: less, operators.LessEquals: lessEqual,
	operators.Greater: greater, operators.GreaterEquals: greaterEqual,
}

func (c *compiler) call(e ast.Expr) *node {
	call := e.AsCall()
	name, args := call.FunctionName(), call.Args()
	if name == operators.Index {
		if column, ok := rowName(e); ok {
			return c.column(e, column)
		}
		if n := c.member(e); n != nil {
			return n
		}
		if args[0].Kind() == ast.MapKind {
			return c.lookUp(e, args[0], args[1])
		}
		if c.deciding != nil {
			return c.problem(e, `expected a name in quotes: params["name"]`)
		}
		return c.problem(e, `expected the name of a column in quotes: row["name"]`)
	}
	if _, ok := loopVariable(e); ok {
		return c.loop(e)
	}
	if name == operators.In {
		return c.in(e, args[0], args[1])
	}
	if name == "has" && len(args) == 1 && !call.IsMemberFunction() {
		if space, name, ok := memberOf(args[0]); ok && (space == spaceParams || c.deciding != nil) {
			return c.has(args[0], space, name)
		}
		if args[0].Kind() == ast.SelectKind {
			return c.compile(args[0])
		}
		return c.problem(e, "has takes a parameter: has(params.NAME); a column is tested with != null")
	}
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	if name == "if" {
		name = operators.Conditional
	}
	f, ok := c.functions[name]
	if !ok && !strings.ContainsAny(name[:1], "_!-@") { // those of operators
		n := c.problem(e, "there is no function %q%s", naming.Printable(name), naming.DidYouMean(name, functionNames()))
		if instead := otherNames[strings.ToLower(name)]; instead != "" {
			c.hint("%s", instead)
		}
		return n
	}
	made := make([]*node, len(args))
	before := c.problems
	for i, a := range args {
		switch {
		case name == operators.LogicalAnd, name == operators.LogicalOr, name == operators.Conditional && i > 0:
			made[i] = c.side(a)
		default:
			made[i] = c.compile(a)
		}
	}
	if c.problems != before || c.failed != nil && c.deciding == nil {
		return &node{}
	}
	switch name {
	case operators.LogicalAnd, operators.LogicalOr:
		return c.logic(name == operators.LogicalOr, made[0], made[1])
	case operators.LogicalNot:
		return c.not(made[0])
	case operators.Conditional:
		return c.conditional(e, args, made)
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return c.arithmetic(e, name, made[0], made[1])
	case operators.Negate:
		return c.negate(e, made[0])
	}
	if o, is := comparisons[name]; is {
		return c.compare(e, o, made[0], made[1])
	}
	if !ok {
		return c.problem(e, "there is no function %q", naming.Printable(name))
	}
	if len(args) < f.least || f.most > 0 && len(args) > f.most {
		return c.problem(e, "expected %s", f.usage)
	}
	return f.compile(c, e, args, made)
}

// functionNames are the names of all functions, sorted.
func functionNames() []string { return slices.Sorted(maps.Keys(known())) }

// condition is a boolean that is false where it is NULL, as a condition is. It stands at e.
func (c *compiler) condition(e ast.Expr, n *node) *node {
	out := &node{t: Type{Kind: Bool}, e: e, known: n.known, over: n.over, eval: n.eval}
	switch n.t.Kind {
	case Bool, Unknown:
	case Null:
		if c.deciding == nil {
			out.eval = func(*Row) (value, error) { return value{}, nil }
			return out
		}
	default:
		what := "this"
		if n.isColumn {
			what = fmt.Sprintf("column %q", c.names[n.column])
		}
		c.problem(e, "%s is %s; expected true or false", what, n.t)
		switch n.t.class() {
		case classNumber:
			c.hint("a flag that is 0 or 1 is a number: compare it, as in flag == 1")
		case classText:
			c.hint("texts are joined with +, as in first + ' ' + last; a condition compares them, as in code == 'A'")
		}
		return out
	}
	if inner := n.eval; n.nullable || n.t.Kind == Null {
		isNull := c.noAnswer(e)
		if isNull != nil && n.known != nil && n.known.null {
			out.known = nil
		}
		out.eval = func(r *Row) (value, error) {
			v, err := inner(r)
			if v.null && err == nil {
				err = isNull
			}
			return value{n: v.n}, err // of NULL n is 0
		}
	}
	return out
}

// logic is && or ||. One side may decide while the other has no value.
func (c *compiler) logic(or bool, left, right *node) *node {
	left, right = c.condition(left.e, left), c.condition(right.e, right)
	out := &node{t: Type{Kind: Bool}}
	if left.overColumns() || right.overColumns() {
		out.over = newJunction(left.predicate(), right.predicate(), or)
	}
	a, b := left.eval, right.eval
	decides := int64(0)
	if or {
		decides = 1
	}
	out.eval = func(r *Row) (value, error) {
		x, failed := a(r)
		if failed == nil && x.n == decides {
			return x, nil
		}
		y, err := b(r)
		if err == nil && y.n == decides {
			return y, nil
		}
		if failed == nil {
			failed = err
		}
		return value{n: 1 - decides}, failed
	}
	return out
}

func (c *compiler) not(n *node) *node {
	n = c.condition(n.e, n)
	out := &node{t: Type{Kind: Bool}}
	if n.overColumns() {
		out.over = not{n.predicate()}
	}
	inner := n.eval
	out.eval = func(r *Row) (value, error) {
		v, err := inner(r)
		return value{n: 1 - v.n}, err
	}
	return out
}

// loopVariable is the variable of x.exists(v, …) and x.all(v, …).
func loopVariable(e ast.Expr) (string, bool) {
	call := e.AsCall()
	args := call.Args()
	if name := call.FunctionName(); !call.IsMemberFunction() || name != "exists" && name != "all" || len(args) != 2 || args[0].Kind() != ast.IdentKind {
		return "", false
	}
	return args[0].AsIdent(), true
}

// loop is exists or all: a chain of || or &&, with the variable as one element after the other.
func (c *compiler) loop(e ast.Expr) *node {
	call := e.AsCall()
	list, test, or := call.Target(), call.Args()[1], call.FunctionName() == "exists"
	if list.Kind() != ast.ListKind {
		return c.problem(list, "%s is for a list that stands in the expression: ['a', 'b'].exists(x, name.startsWith(x))", call.FunctionName())
	}
	name, _ := loopVariable(e)
	made := constant(Type{Kind: Bool}, boolean(!or))
	made.e = e
	for _, element := range list.AsList().Elements() {
		v := c.compile(element)
		outer := c.scope
		c.scope = map[string]*node{}
		maps.Copy(c.scope, outer)
		c.scope[name] = v
		n := c.side(test)
		c.scope = outer
		if c.failed != nil {
			return &node{t: Type{Kind: Bool}}
		}
		made = c.logic(or, made, n)
		made.e = e
	}
	return made
}

// lookUp is {key: value, …}[x]. A key that is not there is a fault of the row.
func (c *compiler) lookUp(e, table, key ast.Expr) *node {
	x := c.compile(key)
	none := c.rowFault(e, CodeKey, "the map has no such key", "add the key, or test it first: x in ['M', 'F'] ? {'M': 'male', 'F': 'female'}[x] : null")
	out := &node{t: Type{Kind: Null}, e: e, eval: func(*Row) (value, error) { return nullValue, none }}
	entries := table.AsMap().Entries()
	if len(entries) == 0 {
		return c.problem(table, "the map is empty")
	}
	for i, entry := range slices.Backward(entries) {
		k, v := c.compile(entry.AsMapEntry().Key()), c.compile(entry.AsMapEntry().Value())
		if c.failed != nil {
			return out
		}
		if k.known == nil || k.known.null {
			return c.problem(k.e, "a key of a map is a literal")
		}
		test := c.compare(e, equal, x, k)
		t, ok := c.common(v, out)
		switch {
		case c.failed != nil:
			return out
		case !ok:
			return c.problem(v.e, "this is %s, and a value behind it %s, which have no common type", v.t, out.t)
		}
		rest := out
		if i < len(entries)-1 {
			rest = c.convert(out, t)
		}
		yes, no := c.convert(v, t), rest.eval
		out = &node{t: t, e: e, nullable: v.nullable || i < len(entries)-1 && rest.nullable, eval: choose(test.eval, yes.eval, no)}
	}
	return out
}

// choose is yes where the test holds, and no elsewhere.
func choose(test, yes, no eval) eval {
	return func(r *Row) (value, error) {
		v, err := test(r)
		switch {
		case err != nil:
			return v, err
		case v.n == 1:
			return yes(r)
		}
		return no(r)
	}
}

func (c *compiler) conditional(e ast.Expr, args []ast.Expr, made []*node) *node {
	if len(made) != 3 {
		return c.problem(e, "expected condition ? value : other value")
	}
	test := c.condition(args[0], made[0])
	t, ok := c.common(made[1], made[2])
	if !ok {
		n := c.problem(e, "the two results are %s and %s, which have no common type", made[1].t, made[2].t)
		c.hint("convert one of them, with string(…), int(…), decimal(…, precision, scale), date(…) or timestamp(…)")
		return n
	}
	x, y := c.convert(made[1], t), c.convert(made[2], t)
	return &node{t: t, nullable: x.nullable || y.nullable || t.Kind == Null, eval: choose(test.eval, x.eval, y.eval)}
}

// common is the type that holds every value of both exactly.
func (c *compiler) common(a, b *node) (Type, bool) {
	s, t := a.t, b.t
	switch {
	case s.Kind == Unknown || t.Kind == Unknown:
		return Type{}, true
	case s == t, t.Kind == Null:
		return s, true
	case s.Kind == Null:
		return t, true
	case s.Kind == Float && b.literal:
		return s, true
	case t.Kind == Float && a.literal:
		return t, true
	case s.class() == classNumber && t.class() == classNumber && s.Kind != Float && t.Kind != Float:
		x, y := asDecimal(a), asDecimal(b)
		scale := max(x.Scale, y.Scale)
		p := max(x.Precision-x.Scale, y.Precision-y.Scale) + scale
		return Type{Kind: Decimal, Precision: p, Scale: scale}, p <= parse.MaxPrecision
	case s.Kind == t.Kind && (s.Kind == Timestamp && s.Zone == t.Zone || s.Kind == Span):
		s.Fraction = max(s.Fraction, t.Fraction)
		return s, true
	}
	return Type{}, false
}

// asDecimal is the decimal that holds every value of a number.
func asDecimal(n *node) Type {
	switch {
	case n.t.Kind == Int && n.literal:
		return Type{Kind: Decimal, Precision: len(strings.TrimPrefix(n.number, "-"))}
	case n.t.Kind == Int:
		return Type{Kind: Decimal, Precision: 19}
	case n.t.Kind == Uint:
		return Type{Kind: Decimal, Precision: 20}
	}
	return n.t
}

// convert makes the values those of a type that common has found.
func (c *compiler) convert(n *node, t Type) *node {
	s := n.t
	if s == t {
		return n
	}
	if s.Kind == Unknown || t.Kind == Unknown {
		return &node{t: t, nullable: n.nullable, eval: n.eval, e: n.e}
	}
	out := &node{t: t, nullable: n.nullable, eval: n.eval, e: n.e}
	inner := n.eval
	switch {
	case t.Kind == Float && n.literal:
		return constant(t, value{f: n.float})
	case t.Kind == Decimal && s.Kind == Uint:
		out.eval = func(r *Row) (value, error) {
			v, err := inner(r)
			if v.n < 0 && !v.null {
				v = wholeValue(new(big.Int).SetUint64(uint64(v.n)))
			}
			return upscaled(v, t.Scale), err
		}
	case t.Kind == Decimal:
		k := t.Scale - s.Scale
		if k == 0 {
			break
		}
		out.eval = func(r *Row) (value, error) {
			v, err := inner(r)
			return upscaled(v, k), err
		}
	case t.Kind == Timestamp || t.Kind == Span:
		factor := t.perSecond() / s.perSecond()
		if factor <= 1 || s.Kind == Null {
			break
		}
		far := c.rowFault(n.e, CodeRange, "a date or time is outside of what "+t.String()+" holds", "")
		out.eval = func(r *Row) (value, error) {
			v, err := inner(r)
			if v.null || err != nil {
				return v, err
			}
			product, ok := multiply64(v.n, factor)
			if !ok {
				return v, far
			}
			return value{n: product}, nil
		}
	}
	return out
}

func upscaled(v value, k int) value {
	if v.null {
		return v
	}
	return v.upscale(k)
}

// strict computes with values that are not NULL.
func (c *compiler) strict(e ast.Expr, t Type, args []*node, f func(v []value) (value, error)) *node {
	isNull := c.nullFault(e)
	evals := make([]eval, len(args))
	for i, a := range args {
		evals[i] = a.eval
		if a.t.Kind == Unknown {
			return &node{t: t} // it is only checked
		}
	}
	if len(evals) == 1 {
		a := evals[0]
		return &node{t: t, eval: func(r *Row) (value, error) {
			var v [1]value
			var err error
			if v[0], err = a(r); err != nil {
				return v[0], err
			}
			if v[0].null {
				return v[0], isNull
			}
			return f(v[:])
		}}
	}
	return &node{t: t, eval: func(r *Row) (value, error) {
		var fixed [4]value
		v := fixed[:0]
		for _, a := range evals {
			x, err := a(r)
			if err != nil {
				return x, err
			}
			if x.null {
				return x, isNull
			}
			v = append(v, x)
		}
		return f(v)
	}}
}

func (c *compiler) nullFault(e ast.Expr) error {
	if c.deciding != nil {
		return c.noAnswer(e)
	}
	return c.rowFault(e, CodeNull, "a value that is computed with is NULL",
		"say what becomes of NULL: coalesce(x, 0), or x == null ? null : x + 1")
}

// binary is strict for two values, without a slice.
func (c *compiler) binary(e ast.Expr, t Type, a, b *node, f func(x, y value) (value, error)) *node {
	if a.t.Kind == Unknown || b.t.Kind == Unknown {
		return &node{t: t}
	}
	isNull := c.nullFault(e)
	left, right := a.eval, b.eval
	return &node{t: t, eval: func(r *Row) (value, error) {
		x, err := left(r)
		if err != nil {
			return x, err
		}
		y, err := right(r)
		if err != nil {
			return y, err
		}
		if x.null || y.null {
			return nullValue, isNull
		}
		return f(x, y)
	}}
}

func (c *compiler) compare(e ast.Expr, o operation, a, b *node) *node {
	out := &node{t: Type{Kind: Bool}}
	if a.t.Kind == Unknown || b.t.Kind == Unknown {
		return out
	}
	x, y := a.t.class(), b.t.class()
	switch {
	case x == classNull || y == classNull:
		if o.ordered() && literalNull(e) {
			return c.problem(e, "null has no order; expected == null or != null")
		}
	case x == y:
	case x == classText && (y == classTime || y == classSpan):
		a = c.timeText(a, y)
	case y == classText && (x == classTime || x == classSpan):
		b = c.timeText(b, x)
	case !o.ordered() && c.deciding != nil && c.deciding.values != nil:
		// A value of the run or of the customer, whose type nobody declares, equals none of another type.
		return constant(out.t, boolean(o == notEqual))
	default:
		c.problem(e, "%s is compared with %s", a.t, b.t)
		if hint := comparisonHint(a, b); hint != "" {
			c.hint("%s", hint)
		}
	}
	if c.failed != nil {
		return out
	}
	if a.t.Kind == Float && b.literal {
		b = c.convert(b, a.t)
	} else if b.t.Kind == Float && a.literal {
		a = c.convert(a, b.t)
	}
	out.over = c.overComparison(o, a, b)
	order := ordering(a.t, b.t)
	isNull := c.noAnswer(e)
	left, right := a.eval, b.eval
	out.eval = func(r *Row) (value, error) {
		v, err := left(r)
		if err != nil {
			return v, err
		}
		w, err := right(r)
		if err != nil {
			return w, err
		}
		if v.null || w.null {
			// NULL equals NULL and nothing else, and has no order.
			if o.ordered() {
				return value{}, isNull
			}
			return boolean((v.null && w.null) == (o == equal)), nil
		}
		n, known := order(v, w)
		if !known {
			return boolean(o == notEqual), nil
		}
		return boolean(o.holds(n)), nil
	}
	return out
}

// comparisonHint says how to write a comparison of two classes that do not go together; empty where the expression does
// not show what is meant.
func comparisonHint(a, b *node) string {
	if a.t.class() > b.t.class() {
		a, b = b, a
	}
	switch [2]class{a.t.class(), b.t.class()} {
	case [2]class{classNumber, classText}:
		switch {
		case b.text != nil && b.e.Kind() == ast.LiteralKind:
			return "a number stands without quotes, as in id == 5"
		case a.literal && a.e.Kind() == ast.LiteralKind:
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

func literalNull(e ast.Expr) bool {
	return e.Kind() == ast.CallKind && slices.ContainsFunc(e.AsCall().Args(), func(a ast.Expr) bool {
		return a.Kind() == ast.LiteralKind && a.AsLiteral() == types.NullValue
	})
}

// ordering compares two values of types of one class.
func ordering(s, t Type) func(a, b value) (int, bool) {
	switch {
	case s.Kind == Null || t.Kind == Null:
		return func(value, value) (int, bool) { return 0, false }
	case s.Kind == Decimal && t.Kind == Decimal && s.Scale == t.Scale, s.Kind == Bool, s == t && (s.Kind == Int || s.Kind == Date),
		s.Kind == t.Kind && s.Kind >= Timestamp && s.perSecond() == t.perSecond():
		return func(a, b value) (int, bool) { return compareWhole(a, b), true }
	case s.Kind == Text || s.Kind == Bytes:
		return func(a, b value) (int, bool) { return strings.Compare(a.s, b.s), true }
	case s.class() == classNumber:
		if (s.Kind == Decimal || s.Kind == Int) && (t.Kind == Decimal || t.Kind == Int) {
			up, down := max(t.Scale-s.Scale, 0), max(s.Scale-t.Scale, 0)
			return func(a, b value) (int, bool) { return compareWhole(a.upscale(up), b.upscale(down)), true }
		}
		return func(a, b value) (int, bool) { return compareNumbers(a, s, b, t) }
	}
	return func(a, b value) (int, bool) {
		x, xn := seconds(a, s)
		y, yn := seconds(b, t)
		if x != y {
			return compare64(x, y), true
		}
		return compare64(xn, yn), true
	}
}

// seconds are a date's or a time's whole seconds since 1970 or since its beginning, and the nanoseconds behind them.
func seconds(v value, t Type) (whole, nanos int64) {
	if t.Kind == Date {
		return v.n * secondsPerDay, 0
	}
	per := t.perSecond()
	whole = floorDiv(v.n, per)
	return whole, (v.n - whole*per) * (1e9 / per)
}

// timeText reads a literal that is compared with a date or a time.
func (c *compiler) timeText(n *node, with class) *node {
	if n.known != nil && n.known.null { // a parameter that was not given
		return constant(Type{Kind: Null}, nullValue)
	}
	if n.unknown { // it may be a date or a time
		c.later()
		return &node{t: Type{Kind: Timestamp}, e: n.e}
	}
	if n.text == nil {
		c.problem(n.e, "text is compared with a date or time; expected a literal such as '2024-12-31', or date(…) or timestamp(…)")
		return n
	}
	var whole, nanos int64
	var status parse.Status
	t := Type{Kind: Timestamp}
	if with == classSpan {
		t.Kind = Span
		var all int64
		all, status = parse.Duration([]byte(*n.text), 1e9)
		whole = floorDiv(all, 1e9)
		nanos = all - whole*1e9
		if status != parse.OK {
			c.problem(n.e, "expected a time as 'HH:MM:SS', not %q", naming.Printable(*n.text))
			return n
		}
	} else if whole, nanos, status = parse.Instant([]byte(*n.text)); status != parse.OK {
		c.problem(n.e, "expected a date or timestamp as 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS', not %q", naming.Printable(*n.text))
		return n
	}
	for t.Fraction < 9 && nanos%(1e9/t.perSecond()) != 0 {
		t.Fraction += 3
	}
	product, ok := multiply64(whole, t.perSecond())
	sum, fits := add64(product, nanos/(1e9/t.perSecond()))
	if !ok || !fits && nanos != 0 {
		c.problem(n.e, "the time is too far away for its fractional digits")
		return n
	}
	if nanos == 0 {
		sum = product
	}
	out := constant(t, value{n: sum})
	out.e = n.e
	return out
}

// in is a chain of ==.
func (c *compiler) in(e, needle, list ast.Expr) *node {
	out := &node{t: Type{Kind: Bool}}
	v := c.compile(needle)
	if list.Kind() != ast.ListKind {
		return c.problem(list, "in expects a list: x in ['a', 'b']")
	}
	var tests []eval
	var over []predicate
	checked := false
	for _, element := range list.AsList().Elements() {
		n := c.compile(element)
		if c.failed != nil {
			return out
		}
		test := c.compare(element, equal, v, n)
		checked = checked || test.eval == nil
		tests, over = append(tests, test.eval), append(over, test.over)
	}
	if checked {
		return out
	}
	out.over = c.overIn(v, over)
	out.eval = func(r *Row) (value, error) {
		for _, test := range tests {
			if v, err := test(r); err != nil || v.n == 1 {
				return v, err
			}
		}
		return value{}, nil
	}
	return out
}
