package formula

import (
	"math"
	"math/big"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
)

// signs are the operators as users write them.
var signs = map[string]string{
	operators.Add: "+", operators.Subtract: "-", operators.Multiply: "*", operators.Divide: "/", operators.Modulo: "%",
}

func (c *compiler) arithmetic(e ast.Expr, op string, a, b *node) *node {
	s, t := a.t, b.t
	sign := signs[op]
	switch {
	case s.Kind == Unknown || t.Kind == Unknown:
		return &node{}
	case s.Kind == Null || t.Kind == Null:
		return c.problem(e, "%s is computed with null", sign)
	case s.Kind == Text && t.Kind == Text && op == operators.Add:
		return c.binary(e, s, a, b, func(x, y value) (value, error) { return value{s: x.s + y.s}, nil })
	case s.class() == classTime || t.class() == classTime || s.class() == classSpan || t.class() == classSpan:
		if n := c.times(e, op, a, b); n != nil {
			return n
		}
		n := c.problem(e, "%s %s %s is not computed", s, sign, t)
		c.hint("use daysBetween(from, to), secondsBetween(from, to), addDays(d, n), addMonths(d, n), addYears(d, n) or addSeconds(t, n)")
		return n
	case s.class() != classNumber || t.class() != classNumber:
		n := c.problem(e, "%s %s %s is not computed", s, sign, t)
		if op == operators.Add {
			c.hint("texts are joined with +, and numbers added; string(x) makes a text of a number, decimal(x, precision, scale) a number of a text")
		}
		return n
	case s.Kind == Float || t.Kind == Float:
		return c.floats(e, op, a, b)
	case s.Kind == Int && t.Kind == Int:
		return c.integers(e, op, a, b)
	case s.Kind == Uint && t.Kind == Uint:
		return c.unsigned(e, op, a, b)
	case op == operators.Divide:
		n := c.problem(e, "%s / %s has no exact result", s, t)
		c.hint("say how many digits it has and how it is rounded: divide(a, b, 2, 'half_up'); the rules are half_up, half_even, half_down, up, down, floor and ceiling")
		return n
	case op == operators.Modulo:
		return c.problem(e, "%% is for integers")
	}
	return c.decimals(e, op, a, b)
}

func (c *compiler) floats(e ast.Expr, op string, a, b *node) *node {
	float := Type{Kind: Float}
	if a.t.Kind != Float && !a.literal || b.t.Kind != Float && !b.literal || op == operators.Modulo {
		n := c.problem(e, "%s %s %s is not computed: a float is no exact number", a.t, signs[op], b.t)
		c.hint("a float goes with floats only, because what comes of it is rounded; double(x) makes the nearest float of a number")
		return n
	}
	a, b = c.convert(a, float), c.convert(b, float)
	return c.binary(e, float, a, b, func(x, y value) (value, error) {
		switch op {
		case operators.Add:
			return value{f: x.f + y.f}, nil
		case operators.Subtract:
			return value{f: x.f - y.f}, nil
		case operators.Multiply:
			return value{f: x.f * y.f}, nil
		}
		return value{f: x.f / y.f}, nil
	})
}

func (c *compiler) overflow(e ast.Expr, t Type) error {
	hint := ""
	if t.Kind == Int || t.Kind == Uint {
		hint = "decimal(x, 38, 0) computes with more digits than int64 has"
	}
	return c.rowFault(e, CodeOverflow, "the result does not fit "+t.String(), hint)
}

func (c *compiler) zero(e ast.Expr) error {
	return c.rowFault(e, CodeZero, "division by 0", "test it first: y == 0 ? null : divide(x, y, 2, 'half_up')")
}

func (c *compiler) integers(e ast.Expr, op string, a, b *node) *node {
	t := Type{Kind: Int}
	far, zero := c.overflow(e, t), c.zero(e)
	return c.binary(e, t, a, b, func(x, y value) (value, error) {
		var n int64
		ok := true
		switch op {
		case operators.Add:
			n, ok = add64(x.n, y.n)
		case operators.Subtract:
			n = x.n - y.n
			ok = (n < x.n) == (y.n > 0)
		case operators.Multiply:
			n, ok = multiply64(x.n, y.n)
		default:
			if y.n == 0 {
				return x, zero
			}
			if ok = x.n != math.MinInt64 || y.n != -1; ok {
				n = x.n / y.n
				if op == operators.Modulo {
					n = x.n % y.n
				}
			}
		}
		if !ok {
			return x, far
		}
		return value{n: n}, nil
	})
}

func (c *compiler) unsigned(e ast.Expr, op string, a, b *node) *node {
	t := Type{Kind: Uint}
	far, zero := c.overflow(e, t), c.zero(e)
	return c.binary(e, t, a, b, func(v, w value) (value, error) {
		x, y := uint64(v.n), uint64(w.n)
		var n uint64
		ok := true
		switch op {
		case operators.Add:
			n = x + y
			ok = n >= x
		case operators.Subtract:
			n, ok = x-y, x >= y
		case operators.Multiply:
			n = x * y
			ok = x == 0 || n/x == y
		default:
			if y == 0 {
				return v, zero
			}
			n = x / y
			if op == operators.Modulo {
				n = x % y
			}
		}
		if !ok {
			return v, far
		}
		return value{n: int64(n)}, nil
	})
}

// decimals adds, subtracts and multiplies as SQL does: a sum has the larger scale and one more digit, a product the digits
// of both. Where that is more than a column holds, the scale stays, and a result that does not fit is a fault.
func (c *compiler) decimals(e ast.Expr, op string, a, b *node) *node {
	s, u := asDecimal(a), asDecimal(b)
	t := Type{Kind: Decimal, Scale: max(s.Scale, u.Scale)}
	t.Precision = max(s.Precision-s.Scale, u.Precision-u.Scale) + t.Scale + 1
	if op == operators.Multiply {
		t.Scale, t.Precision = s.Scale+u.Scale, s.Precision+u.Precision
	}
	if t.Scale > parse.MaxPrecision {
		n := c.problem(e, "the result has %d digits behind the point; a decimal has at most %d digits", t.Scale, parse.MaxPrecision)
		c.hint("round one of them first: round(x, 10, 'half_even')")
		return n
	}
	check := t.Precision > parse.MaxPrecision
	t.Precision = min(t.Precision, parse.MaxPrecision)
	far := c.overflow(e, t)
	a, b = c.convert(a, s), c.convert(b, u)
	up, down := max(u.Scale-s.Scale, 0), max(s.Scale-u.Scale, 0)
	return c.binary(e, t, a, b, func(x, y value) (value, error) {
		var v value
		switch op {
		case operators.Multiply:
			v = multiplyWhole(x, y)
		case operators.Subtract:
			v = addWhole(x.upscale(up), negateWhole(y.upscale(down)))
		default:
			v = addWhole(x.upscale(up), y.upscale(down))
		}
		if check && !v.fits(t.Precision) {
			return v, far
		}
		return v, nil
	})
}

func (c *compiler) negate(e ast.Expr, a *node) *node {
	far := c.overflow(e, a.t)
	switch a.t.Kind {
	case Unknown:
		return &node{}
	case Int:
		return c.strict(e, a.t, []*node{a}, func(v []value) (value, error) {
			if v[0].n == math.MinInt64 {
				return v[0], far
			}
			return value{n: -v[0].n}, nil
		})
	case Decimal:
		n := c.strict(e, a.t, []*node{a}, func(v []value) (value, error) { return negateWhole(v[0]), nil })
		n.literal, n.number, n.float = a.literal, a.number, -a.float
		return n
	case Float:
		return c.strict(e, a.t, []*node{a}, func(v []value) (value, error) { return value{f: -v[0].f}, nil })
	}
	return c.problem(e, "-(%s) is not computed", a.t)
}

// quotient is a / b with a scale and a rule of rounding.
func (c *compiler) quotient(e ast.Expr, a, b *node, scale int, rule string) *node {
	s, u := asDecimal(a), asDecimal(b)
	t := Type{Kind: Decimal, Scale: scale, Precision: max(s.Precision-s.Scale+u.Scale+1+scale, scale, 1)}
	check := t.Precision > parse.MaxPrecision
	t.Precision = min(t.Precision, parse.MaxPrecision)
	far, zero := c.overflow(e, t), c.zero(e)
	a, b = c.convert(a, s), c.convert(b, u)
	k := scale + u.Scale - s.Scale
	return c.binary(e, t, a, b, func(x, y value) (value, error) {
		dividend, divisor := x.whole(), y.whole()
		if divisor.Sign() == 0 {
			return x, zero
		}
		if k >= 0 {
			dividend = new(big.Int).Mul(dividend, powers()[k])
		} else {
			divisor = new(big.Int).Mul(divisor, powers()[-k])
		}
		v := divideWhole(dividend, divisor, rule)
		if check && !v.fits(t.Precision) {
			return v, far
		}
		return v, nil
	})
}
