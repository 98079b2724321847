package formula

import (
	"math"
	"math/big"
	"math/bits"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/plugins/internal/scaled"
)

// value is one value of a row. Its type is known from the expression; which fields count depends on it.
type value struct {
	null bool
	n    int64    // a boolean (0, 1), an integer (uint64 by its bits), a date, a timestamp, a time, a decimal that fits
	big  *big.Int // a decimal that does not fit n; never changed once made
	f    float64
	s    string // text and binary
}

var nullValue = value{null: true}

func boolean(b bool) value {
	if b {
		return value{n: 1}
	}
	return value{}
}

// whole is a decimal's digits as one number.
func (v value) whole() *big.Int {
	if v.big != nil {
		return v.big
	}
	return big.NewInt(v.n)
}

func wholeValue(b *big.Int) value {
	if b.IsInt64() {
		return value{n: b.Int64()}
	}
	return value{big: b}
}

// powers are the powers of ten that decimals need, made by the first expression that needs one.
var powers = sync.OnceValue(func() *[2*parse.MaxPrecision + 2]*big.Int {
	var p [2*parse.MaxPrecision + 2]*big.Int
	p[0] = big.NewInt(1)
	for i := 1; i < len(p); i++ {
		p[i] = new(big.Int).Mul(p[i-1], big.NewInt(10))
	}
	return &p
})

// smallPowers is how many powers of ten fit an int64; scaled.Pow10 has them.
const smallPowers = 19

// multiply64 is false where the product does not fit.
func multiply64(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	// The product of the unsigned readings, corrected for signs, has to be the sign's extension.
	h := int64(hi)
	if a < 0 {
		h -= b
	}
	if b < 0 {
		h -= a
	}
	return int64(lo), h == int64(lo)>>63
}

func add64(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

// upscale multiplies a decimal by 10^k.
func (v value) upscale(k int) value {
	if k == 0 {
		return v
	}
	if v.big == nil && k < smallPowers {
		if n, ok := multiply64(v.n, int64(scaled.Pow10[k])); ok {
			return value{n: n}
		}
	}
	return wholeValue(new(big.Int).Mul(v.whole(), powers()[k]))
}

func addWhole(a, b value) value {
	if a.big == nil && b.big == nil {
		if n, ok := add64(a.n, b.n); ok {
			return value{n: n}
		}
	}
	return wholeValue(new(big.Int).Add(a.whole(), b.whole()))
}

func multiplyWhole(a, b value) value {
	if a.big == nil && b.big == nil {
		if n, ok := multiply64(a.n, b.n); ok {
			return value{n: n}
		}
	}
	return wholeValue(new(big.Int).Mul(a.whole(), b.whole()))
}

func negateWhole(a value) value {
	if a.big == nil && a.n != math.MinInt64 {
		return value{n: -a.n}
	}
	return wholeValue(new(big.Int).Neg(a.whole()))
}

func compareWhole(a, b value) int {
	if a.big == nil && b.big == nil {
		return compare64(a.n, b.n)
	}
	return a.whole().Cmp(b.whole())
}

// compare64 is -1, 0 or 1, without a branch.
func compare64(a, b int64) int { return int(one(a > b)) - int(one(a < b)) }

// fits reports whether a decimal has at most that many digits.
func (v value) fits(precision int) bool {
	if v.big == nil {
		if precision >= smallPowers {
			return true
		}
		return v.n < int64(scaled.Pow10[precision]) && v.n > -int64(scaled.Pow10[precision])
	}
	return v.big.CmpAbs(powers()[precision]) < 0
}

// text is a decimal in fixed-point notation with all digits of its scale.
func (v value) decimalText(scale int) string {
	digits := v.whole().String()
	if scale == 0 {
		return digits
	}
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

// roundings are the rules by which digits are cut off.
var roundings = map[string]func(remainderTwice, divisor *big.Int, odd, negative bool) bool{
	"half_up":   func(r, d *big.Int, _, _ bool) bool { return r.Cmp(d) >= 0 },
	"half_even": func(r, d *big.Int, odd, _ bool) bool { c := r.Cmp(d); return c > 0 || c == 0 && odd },
	"half_down": func(r, d *big.Int, _, _ bool) bool { return r.Cmp(d) > 0 },
	"down":      func(_, _ *big.Int, _, _ bool) bool { return false },
	"up":        func(r, _ *big.Int, _, _ bool) bool { return r.Sign() != 0 },
	"floor":     func(r, _ *big.Int, _, negative bool) bool { return r.Sign() != 0 && negative },
	"ceiling":   func(r, _ *big.Int, _, negative bool) bool { return r.Sign() != 0 && !negative },
}

// divideWhole divides and rounds by a rule; the divisor is not 0.
func divideWhole(a, b *big.Int, rule string) value {
	negative := (a.Sign() < 0) != (b.Sign() < 0)
	x, y := new(big.Int).Abs(a), new(big.Int).Abs(b)
	q, r := x.QuoRem(x, y, new(big.Int))
	if roundings[rule](r.Lsh(r, 1), y, q.Bit(0) == 1, negative) {
		q.Add(q, big.NewInt(1))
	}
	if negative {
		q.Neg(q)
	}
	return wholeValue(q)
}

// read returns a value of a column.
func read(a arrow.Array, i int) value {
	if a.IsNull(i) {
		return nullValue
	}
	switch a := a.(type) {
	case *array.Int64:
		return value{n: a.Value(i)}
	case *array.Int32:
		return value{n: int64(a.Value(i))}
	case *array.Decimal128:
		n := a.Value(i)
		if lo := int64(n.LowBits()); n.HighBits() == lo>>63 {
			return value{n: lo}
		}
		return value{big: n.BigInt()}
	case *array.String:
		return value{s: a.Value(i)}
	case *array.Date32:
		return value{n: int64(a.Value(i))}
	case *array.Timestamp:
		return value{n: int64(a.Value(i))}
	case *array.Boolean:
		return boolean(a.Value(i))
	case *array.Int8:
		return value{n: int64(a.Value(i))}
	case *array.Int16:
		return value{n: int64(a.Value(i))}
	case *array.Uint8:
		return value{n: int64(a.Value(i))}
	case *array.Uint16:
		return value{n: int64(a.Value(i))}
	case *array.Uint32:
		return value{n: int64(a.Value(i))}
	case *array.Uint64:
		return value{n: int64(a.Value(i))}
	case *array.Float32:
		return value{f: float64(a.Value(i))}
	case *array.Float64:
		return value{f: a.Value(i)}
	case *array.Decimal256:
		return wholeValue(a.Value(i).BigInt())
	case *array.LargeString:
		return value{s: a.Value(i)}
	case *array.Binary:
		return value{s: string(a.Value(i))}
	case *array.LargeBinary:
		return value{s: string(a.Value(i))}
	case *array.FixedSizeBinary:
		return value{s: string(a.Value(i))}
	case *array.Date64:
		return value{n: floorDiv(int64(a.Value(i)), secondsPerDay*1000)}
	case *array.Duration:
		return value{n: int64(a.Value(i))}
	case *array.Time32:
		return value{n: int64(a.Value(i))}
	case *array.Time64:
		return value{n: int64(a.Value(i))}
	}
	return nullValue // an array of nothing but NULL
}

const secondsPerDay = 86400

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// exact is the exact value of a number; nil for NaN and the infinities.
func exact(v value, t Type) *big.Rat {
	switch t.Kind {
	case Int:
		return new(big.Rat).SetInt64(v.n)
	case Uint:
		return new(big.Rat).SetUint64(uint64(v.n))
	case Float:
		return new(big.Rat).SetFloat64(v.f)
	}
	return new(big.Rat).SetFrac(v.whole(), powers()[t.Scale])
}

// compareNumbers orders two numbers of any types by their exact values; false where one of them is NaN.
func compareNumbers(a value, s Type, b value, t Type) (int, bool) {
	if s.Kind == Float && t.Kind == Float {
		switch {
		case a.f < b.f:
			return -1, true
		case a.f > b.f:
			return 1, true
		}
		return 0, a.f == b.f
	}
	x, y := exact(a, s), exact(b, t)
	switch {
	case x == nil:
		return infinite(a.f)
	case y == nil:
		order, ok := infinite(b.f)
		return -order, ok
	}
	return x.Cmp(y), true
}

func infinite(f float64) (int, bool) {
	switch {
	case math.IsInf(f, 1):
		return 1, true
	case math.IsInf(f, -1):
		return -1, true
	}
	return 0, false
}
