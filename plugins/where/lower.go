package where

import (
	"math"
	"math/big"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
)

// lower turns a condition into nodes over columns as far as that is possible.
func (c *compiler) lower(e ast.Expr) (node, error) {
	if v, ok := c.constant(e); ok {
		if held, ok := v.(types.Bool); ok {
			return fixed(held), nil
		}
	}
	if e.Kind() != ast.CallKind {
		return c.rows(e)
	}
	call := e.AsCall()
	name, args := call.FunctionName(), call.Args()
	switch name {
	case operators.LogicalAnd, operators.LogicalOr:
		left, err := c.lower(args[0])
		if err != nil {
			return nil, err
		}
		right, err := c.lower(args[1])
		if err != nil {
			return nil, err
		}
		return newJunction(left, right, name == operators.LogicalOr), nil
	case operators.LogicalNot:
		inner, err := c.lower(args[0])
		if err != nil {
			return nil, err
		}
		return not{inner}, nil
	case funcHolds:
		index, _ := column(args[0].AsIdent())
		return columnConstant{index: index, op: equal, kind: compareBool, bit: true}, nil
	case funcMatches:
		if index, ok := columnOf(args[0]); ok && isText(c.schema.Field(index).Type) {
			pattern, _ := stringLiteral(args[1])
			return textMatch{index, c.patterns[pattern]}, nil
		}
	case funcIn:
		if n, ok := c.lowerIn(args[0], args[1]); ok {
			return n, nil
		}
	}
	if f := textFunctions[name]; f != nil {
		if index, ok := columnOf(args[0]); ok && isText(c.schema.Field(index).Type) {
			if argument, ok := stringLiteral(args[1]); ok {
				return textTest{index, name, argument}, nil
			}
		}
	}
	if o := operations[name]; o != 0 {
		if n, ok := c.lowerComparison(o, args[0], args[1]); ok {
			return n, nil
		}
	}
	return c.rows(e)
}

func isText(t arrow.DataType) bool { return t.ID() == arrow.STRING || t.ID() == arrow.LARGE_STRING }

func columnOf(e ast.Expr) (int, bool) {
	if e.Kind() != ast.IdentKind {
		return 0, false
	}
	return column(e.AsIdent())
}

// constant evaluates an expression that reads no column and no variable of a
// macro. What fails is left to fail row by row, where something else may decide.
func (c *compiler) constant(e ast.Expr) (ref.Val, bool) {
	if e.Kind() == ast.LiteralKind {
		return e.AsLiteral(), true
	}
	free := true
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		free = free && x.Kind() != ast.IdentKind && x.Kind() != ast.ComprehensionKind
	}))
	if !free {
		return nil, false
	}
	program, err := c.program(e)
	if err != nil {
		return nil, false
	}
	v, _, err := program.Eval(interpreter.EmptyActivation())
	return v, err == nil
}

func (c *compiler) lowerComparison(o operation, a, b ast.Expr) (node, bool) {
	left, leftIs := columnOf(a)
	right, rightIs := columnOf(b)
	switch {
	case leftIs && rightIs:
		return columnColumn{left, right, o}, true
	case leftIs:
		if v, ok := c.constant(b); ok {
			return lowerConstant(left, c.schema.Field(left).Type, o, v)
		}
	case rightIs:
		if v, ok := c.constant(a); ok {
			return lowerConstant(right, c.schema.Field(right).Type, o.mirror(), v)
		}
	}
	return nil, false
}

// lowerIn makes a chain of == over a column, or a look-up where the list is long.
func (c *compiler) lowerIn(e, list ast.Expr) (node, bool) {
	index, ok := columnOf(e)
	if !ok || list.Kind() != ast.ListKind {
		return nil, false
	}
	t := c.schema.Field(index).Type
	set := columnSet{index: index}
	elements := list.AsList().Elements()
	var chain node = fixed(false)
	for _, element := range elements {
		v, ok := c.constant(element)
		if !ok {
			return nil, false
		}
		n, ok := lowerConstant(index, t, equal, v)
		if !ok {
			return nil, false
		}
		if leaf, is := n.(columnConstant); is && len(elements) > longList && set.add(t, leaf) {
			continue
		}
		chain = newJunction(chain, n, true)
	}
	if set.texts != nil || set.numbers != nil {
		chain = newJunction(chain, set, true)
	}
	return chain, true
}

// longList is the length from which on looking values up beats comparing them.
const longList = 8

// lowerConstant compares a column with a constant.
func lowerConstant(index int, t arrow.DataType, o operation, v ref.Val) (node, bool) {
	if _, null := v.(types.Null); null {
		if o != equal && o != notEqual {
			return fixed(false), true
		}
		return nullTest{index, o == notEqual}, true
	}
	if t.ID() == arrow.NULL {
		return fixed(o == notEqual), true
	}
	leaf := columnConstant{index: index, op: o}
	switch t := t.(type) {
	case *arrow.BooleanType:
		b, ok := v.(types.Bool)
		leaf.kind, leaf.bit = compareBool, bool(b)
		return leaf, ok
	case *arrow.StringType, *arrow.LargeStringType:
		s, ok := v.(types.String)
		leaf.kind, leaf.bytes = compareBytes, []byte(s)
		return leaf, ok
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		s, ok := v.(types.Bytes)
		leaf.kind, leaf.bytes = compareBytes, s
		return leaf, ok
	case *arrow.Float32Type, *arrow.Float64Type:
		return leaf.withFloat(v)
	case *arrow.Decimal128Type:
		q, ok := exact(v)
		return leaf.withWhole(q, v, scaled(big.NewInt(1), int(t.Scale)), 128, true, ok)
	case *arrow.Decimal256Type:
		q, ok := exact(v)
		return leaf.withWhole(q, v, scaled(big.NewInt(1), int(t.Scale)), 256, true, ok)
	case *arrow.TimestampType:
		return leaf.withTime(v, big.NewRat(parse.PerSecond(t.Unit), 1), 64)
	case *arrow.Date32Type:
		return leaf.withTime(v, big.NewRat(1, secondsPerDay), 32)
	case *arrow.Date64Type:
		return leaf.withTime(v, big.NewRat(1e3, 1), 64)
	case *arrow.Time32Type:
		return leaf.withSpan(v, parse.PerSecond(t.Unit), 32)
	case *arrow.Time64Type:
		return leaf.withSpan(v, parse.PerSecond(t.Unit), 64)
	case *arrow.DurationType:
		return leaf.withSpan(v, parse.PerSecond(t.Unit), 64)
	}
	if number, ok := t.(arrow.FixedWidthDataType); ok && arrow.IsInteger(t.ID()) {
		q, ok := exact(v)
		return leaf.withWhole(q, v, big.NewRat(1, 1), number.BitWidth(), arrow.IsSignedInteger(t.ID()), ok)
	}
	return nil, false
}

// withTime compares with a moment; the column counts so many units in a second.
func (l columnConstant) withTime(v ref.Val, perSecond *big.Rat, width int) (node, bool) {
	var t types.Timestamp
	switch v := v.(type) {
	case types.Timestamp:
		t = v
	case types.String:
		var ok bool
		if t, ok = readTime(string(v)); !ok {
			return nil, false
		}
	default:
		return nil, false
	}
	q := new(big.Rat).SetFrac64(int64(t.Nanosecond()), 1e9)
	q.Add(q, new(big.Rat).SetInt64(t.Unix()))
	return l.withWhole(q, v, perSecond, width, true, true)
}

// withSpan compares with a time of day or a duration.
func (l columnConstant) withSpan(v ref.Val, perSecond int64, width int) (node, bool) {
	var d types.Duration
	switch v := v.(type) {
	case types.Duration:
		d = v
	case types.String:
		var ok bool
		if d, ok = readSpan(string(v)); !ok {
			return nil, false
		}
	default:
		return nil, false
	}
	return l.withWhole(new(big.Rat).SetFrac64(int64(d.Duration), 1e9), v, big.NewRat(perSecond, 1), width, true, true)
}

// withWhole compares a column that holds whole numbers of 1/units with q, which is
// nil for a float that is no number. A comparison with something between two whole
// numbers, or beyond what the column holds, becomes one that means the same.
func (l columnConstant) withWhole(q *big.Rat, v ref.Val, units *big.Rat, width int, signed,
	isNumber bool) (node, bool) {
	if !isNumber {
		return nil, false
	}
	if q == nil {
		f := float64(v.(types.Double))
		if math.IsNaN(f) {
			return fixed(l.op == notEqual), true
		}
		return l.beyond(f > 0), true
	}
	scaledUp := new(big.Rat).Mul(q, units)
	n := new(big.Int).Div(scaledUp.Num(), scaledUp.Denom()) // Euclidean: the floor, since Denom > 0
	if !scaledUp.IsInt() {
		switch l.op {
		case equal, notEqual:
			return fixed(l.op == notEqual), true
		case less:
			l.op = lessEqual
		case greaterEqual:
			l.op = greater
		}
	}
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(width))
	if signed {
		high.Rsh(high, 1)
		low.Neg(high)
	}
	switch {
	case n.Cmp(low) < 0:
		return l.beyond(false), true
	case n.Cmp(high) >= 0:
		return l.beyond(true), true
	}
	l.kind, l.whole = compareWhole, wholeOf(n)
	return l, true
}

// beyond compares with something above, or below, everything that the column holds.
func (l columnConstant) beyond(above bool) node {
	order := -1
	if !above {
		order = 1
	}
	switch {
	case !l.op.holds(order):
		return fixed(false)
	case l.op == notEqual:
		return fixed(true)
	}
	return nullTest{l.index, true}
}

// withFloat compares a column of floats.
func (l columnConstant) withFloat(v ref.Val) (node, bool) {
	l.kind = compareFloat
	switch v := v.(type) {
	case types.Double:
		l.float = float64(v)
		return l, true
	case literal:
		l.float = v.float
		return l, true
	}
	q, ok := exact(v)
	if !ok {
		return nil, false
	}
	f, isFloat := q.Float64()
	if isFloat {
		l.float = f
		return l, true
	}
	// Compare with the nearest float below.
	if math.IsInf(f, 1) {
		f = math.MaxFloat64
	} else if !math.IsInf(f, -1) && new(big.Rat).SetFloat64(f).Cmp(q) > 0 {
		f = math.Nextafter(f, math.Inf(-1))
	}
	l.float = f
	switch l.op {
	case equal, notEqual:
		return fixed(l.op == notEqual), true
	case less:
		l.op = lessEqual
	case greaterEqual:
		l.op = greater
	}
	return l, true
}
