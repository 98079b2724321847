package where

import (
	"bytes"
	"math"
	"math/big"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
)

// decimalType is the type of decimal columns in expressions. It has comparisons
// and a text, and no arithmetic.
var decimalType = cel.OpaqueType("decimal")

// decimal is the value of a decimal column: n / 10^scale.
type decimal struct {
	n     *big.Int
	scale int
}

// literal is a number with a point or an exponent as it stands in the expression:
// its float for floats, its exact value for everything else.
type literal struct {
	float float64
	exact *big.Rat
	text  string // of a decimal parameter
}

func (d decimal) rat() *big.Rat { return scaled(d.n, -d.scale) }

// scaled returns n × 10^exponent.
func scaled(n *big.Int, exponent int) *big.Rat {
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exponent, -exponent))), nil)
	if exponent < 0 {
		return new(big.Rat).SetFrac(n, power)
	}
	return new(big.Rat).SetInt(power.Mul(power, n))
}

// Both are values of CEL; what they do not need says that there is no such thing.

func (d decimal) Type() ref.Type { return decimalType }
func (d decimal) Value() any     { return d }
func (d decimal) Equal(other ref.Val) ref.Val {
	order, ok, _ := compareAlike(d, other)
	return types.Bool(ok && order == 0)
}
func (d decimal) ConvertToNative(reflect.Type) (any, error) { return nil, errNoConversion }
func (d decimal) ConvertToType(t ref.Type) ref.Val {
	if t == types.StringType {
		return types.String(d.text())
	}
	return types.NewErr("%w", errNoConversion)
}

// text is the number in fixed-point notation with all digits of the scale.
func (d decimal) text() string { return d.rat().FloatString(max(d.scale, 0)) }

func (l literal) Type() ref.Type {
	if l.text != "" {
		return decimalType
	}
	return types.DoubleType
}
func (l literal) Value() any                                { return l.float }
func (l literal) Equal(other ref.Val) ref.Val               { return types.Double(l.float).Equal(other) }
func (l literal) ConvertToNative(reflect.Type) (any, error) { return nil, errNoConversion }
func (l literal) ConvertToType(t ref.Type) ref.Val {
	if t == types.StringType && l.text != "" {
		return types.String(l.text)
	}
	return types.Double(l.float).ConvertToType(t)
}

// plainError is an error whose text holds no values of rows.
type plainError string

func (e plainError) Error() string { return string(e) }

const (
	errNoConversion = plainError("no such conversion of a decimal")
	errUnlike       = plainError("values of unlike types are compared")
	errNoTime       = plainError("a date or time is compared with text that is none")
	errRange        = plainError("a date or time is outside the range of expressions")
)

// readLiteral reads the text of a number. Without an exact value it is false.
func readLiteral(text string, float float64) (literal, bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if len(exponent) > 5 || len(mantissa) > 400 {
		return literal{}, false
	}
	exact, ok := new(big.Rat).SetString(text)
	return literal{float: float, exact: exact}, ok
}

// exact returns the exact value of a number. It is nil for NaN and the
// infinities; ok is false for what is no number.
func exact(v ref.Val) (r *big.Rat, ok bool) {
	switch v := v.(type) {
	case types.Int:
		return new(big.Rat).SetInt64(int64(v)), true
	case types.Uint:
		return new(big.Rat).SetUint64(uint64(v)), true
	case types.Double:
		return new(big.Rat).SetFloat64(float64(v)), true
	case literal:
		return v.exact, true
	case decimal:
		return v.rat(), true
	}
	return nil, false
}

// compareAlike orders two values that are not NULL: below 0, 0 or above 0. NaN has
// no order, and ok is false. The error is that values of unlike types have none.
func compareAlike(a, b ref.Val) (order int, ok bool, err error) {
	switch x := a.(type) {
	case types.String:
		switch y := b.(type) {
		case types.String:
			return strings.Compare(string(x), string(y)), true, nil
		case types.Timestamp, types.Duration:
			order, ok, err = compareAlike(b, a)
			return -order, ok, err
		}
	case types.Bool:
		if y, is := b.(types.Bool); is {
			return int(one(bool(x))) - int(one(bool(y))), true, nil
		}
	case types.Bytes:
		if y, is := b.(types.Bytes); is {
			return bytes.Compare(x, y), true, nil
		}
	case types.Timestamp:
		switch y := b.(type) {
		case types.Timestamp:
			return x.Time.Compare(y.Time), true, nil
		case types.String:
			t, is := readTime(string(y))
			if !is {
				return 0, false, errNoTime
			}
			return x.Time.Compare(t.Time), true, nil
		}
	case types.Duration:
		switch y := b.(type) {
		case types.Duration:
			return compareInts(int64(x.Duration), int64(y.Duration)), true, nil
		case types.String:
			d, is := readSpan(string(y))
			if !is {
				return 0, false, errNoTime
			}
			return compareInts(int64(x.Duration), int64(d.Duration)), true, nil
		}
	case types.Int:
		if y, is := b.(types.Int); is {
			return compareInts(int64(x), int64(y)), true, nil
		}
	}
	return compareNumbers(a, b)
}

func compareInts(a, b int64) int {
	return int(one(a > b)) - int(one(a < b))
}

func compareNumbers(a, b ref.Val) (int, bool, error) {
	if x, y, ok := floats(a, b); ok {
		return int(one(x > y)) - int(one(x < y)), x == x && y == y, nil
	}
	x, xok := exact(a)
	y, yok := exact(b)
	switch {
	case !xok || !yok:
		return 0, false, errUnlike
	case x == nil:
		return infinite(a)
	case y == nil:
		order, ok, err := infinite(b)
		return -order, ok, err
	}
	return x.Cmp(y), true, nil
}

// floats returns both as floats if one is a float and the other is one too or is
// a literal, which next to a float stands for one.
func floats(a, b ref.Val) (x, y float64, ok bool) {
	f, fok := a.(types.Double)
	g, gok := b.(types.Double)
	if l, is := a.(literal); is && gok {
		return l.float, float64(g), true
	}
	if l, is := b.(literal); is && fok {
		return float64(f), l.float, true
	}
	return float64(f), float64(g), fok && gok
}

// infinite orders a float that is no number relative to all numbers.
func infinite(v ref.Val) (int, bool, error) {
	f := float64(v.(types.Double))
	switch {
	case math.IsInf(f, 1):
		return 1, true, nil
	case math.IsInf(f, -1):
		return -1, true, nil
	}
	return 0, false, nil
}

// readTime reads a date or a timestamp without a zone.
func readTime(text string) (types.Timestamp, bool) {
	seconds, nanos, status := parse.Instant([]byte(text))
	return timestamp(seconds, nanos), status == parse.OK && inTime(seconds)
}

// readSpan reads a time of day or a duration.
func readSpan(text string) (types.Duration, bool) {
	n, status := parse.Duration([]byte(text), 1e9)
	return duration(n), status == parse.OK
}
