package formula

import (
	"math"
	"math/big"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
)

// operation is a comparison as the set of orders for which it holds: bit 0 is
// less, bit 1 equal, bit 2 greater. What has no order, as NaN, is not equal.
type operation uint8

const (
	less         operation = 1
	equal        operation = 2
	lessEqual    operation = 3
	greater      operation = 4
	notEqual     operation = 5
	greaterEqual operation = 6
)

// holds reports whether the comparison holds for an order of -1, 0 or 1.
func (o operation) holds(order int) bool { return o>>(uint(order+1)&3)&1 == 1 }

// ordered reports whether it asks for an order.
func (o operation) ordered() bool { return o != equal && o != notEqual }

// mirror is the operation with its sides exchanged.
func (o operation) mirror() operation { return o&equal | o>>2&1 | o<<2&greater }

// predicate is a condition over columns as far as that is possible, and row by row where it is not.
func (n *node) predicate() predicate {
	switch {
	case n.known != nil:
		return fixed(n.known.n == 1)
	case n.over != nil:
		return n.over
	}
	return rowByRow{n.eval}
}

// overColumns reports whether a condition reads whole columns, or none.
func (n *node) overColumns() bool { return n.over != nil || n.known != nil }

// overComparison compares over columns; nil where that is not possible.
func (c *compiler) overComparison(o operation, a, b *node) predicate {
	switch {
	case a.isColumn && b.isColumn:
		return columnColumn{a.column, b.column, o, ordering(a.t, b.t)}
	case a.isColumn && b.known != nil:
		return overConstant(a.column, c.schema.Field(a.column).Type, o, *b.known, b.t)
	case b.isColumn && a.known != nil:
		return overConstant(b.column, c.schema.Field(b.column).Type, o.mirror(), *a.known, a.t)
	}
	return nil
}

// overIn is a chain of ==, with a look-up where the list is long; nil where one of them is not over columns.
func (c *compiler) overIn(n *node, tests []predicate) predicate {
	set := columnSet{index: n.column}
	long := n.isColumn && len(tests) > longList
	var chain predicate = fixed(false)
	for _, test := range tests {
		if test == nil {
			return nil
		}
		if leaf, is := test.(columnConstant); is && long && set.add(c.schema.Field(n.column).Type, leaf) {
			continue
		}
		chain = newJunction(chain, test, true)
	}
	if set.texts != nil || set.numbers != nil {
		chain = newJunction(chain, set, true)
	}
	return chain
}

// longList is the length from which on looking values up beats comparing them.
const longList = 8

// overConstant compares a column with a constant of a type that it compares with.
func overConstant(index int, t arrow.DataType, o operation, v value, of Type) predicate {
	if v.null {
		if o.ordered() {
			return fixed(false)
		}
		return nullTest{index, o == notEqual}
	}
	if t.ID() == arrow.NULL {
		return fixed(o == notEqual)
	}
	leaf := columnConstant{index: index, op: o}
	one := big.NewRat(1, 1)
	switch t := t.(type) {
	case *arrow.BooleanType:
		leaf.kind, leaf.bit = boolConstant, v.n == 1
		return leaf
	case *arrow.StringType, *arrow.LargeStringType, *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		leaf.kind, leaf.bytes = bytesConstant, []byte(v.s)
		return leaf
	case *arrow.Float32Type, *arrow.Float64Type:
		return leaf.withFloat(v, of)
	case *arrow.Decimal128Type:
		return leaf.withWhole(exact(v, of), v, new(big.Rat).SetInt(powers()[t.Scale]), 128, true)
	case *arrow.Decimal256Type:
		return leaf.withWhole(exact(v, of), v, new(big.Rat).SetInt(powers()[t.Scale]), 256, true)
	case *arrow.TimestampType:
		return leaf.withSeconds(v, of, big.NewRat(parse.PerSecond(t.Unit), 1), 64)
	case *arrow.Date32Type:
		return leaf.withSeconds(v, of, big.NewRat(1, secondsPerDay), 32)
	case *arrow.Date64Type:
		return leaf.withSeconds(v, of, big.NewRat(1e3, 1), 64)
	case *arrow.Time32Type:
		return leaf.withSeconds(v, of, big.NewRat(parse.PerSecond(t.Unit), 1), 32)
	case *arrow.Time64Type:
		return leaf.withSeconds(v, of, big.NewRat(parse.PerSecond(t.Unit), 1), 64)
	case *arrow.DurationType:
		return leaf.withSeconds(v, of, big.NewRat(parse.PerSecond(t.Unit), 1), 64)
	case arrow.FixedWidthDataType:
		return leaf.withWhole(exact(v, of), v, one, t.BitWidth(), arrow.IsSignedInteger(t.ID()))
	}
	return nil
}

// withSeconds compares with a moment or a time; the column counts so many units in a second.
func (l columnConstant) withSeconds(v value, of Type, perSecond *big.Rat, width int) predicate {
	whole, nanos := seconds(v, of)
	q := big.NewRat(nanos, 1e9)
	q.Add(q, new(big.Rat).SetInt64(whole))
	return l.withWhole(q, v, perSecond, width, true)
}

// withWhole compares a column that holds whole numbers of 1/units with q, which is
// nil for a float that is no number. A comparison with something between two whole
// numbers, or beyond what the column holds, becomes one that means the same.
func (l columnConstant) withWhole(q *big.Rat, v value, units *big.Rat, width int, signed bool) predicate {
	if q == nil {
		if math.IsNaN(v.f) {
			return fixed(l.op == notEqual)
		}
		return l.beyond(v.f > 0)
	}
	scaledUp := new(big.Rat).Mul(q, units)
	n := new(big.Int).Div(scaledUp.Num(), scaledUp.Denom()) // Euclidean: the floor, since Denom > 0
	if !scaledUp.IsInt() {
		switch l.op {
		case equal, notEqual:
			return fixed(l.op == notEqual)
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
		return l.beyond(false)
	case n.Cmp(high) >= 0:
		return l.beyond(true)
	}
	l.kind, l.whole = wholeConstant, wholeOf(n)
	return l
}

// beyond compares with something above, or below, everything that the column holds.
func (l columnConstant) beyond(above bool) predicate {
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
func (l columnConstant) withFloat(v value, of Type) predicate {
	l.kind, l.float = floatConstant, v.f
	if of.Kind == Float {
		return l
	}
	q := exact(v, of)
	f, isFloat := q.Float64()
	if l.float = f; isFloat {
		return l
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
		return fixed(l.op == notEqual)
	case less:
		l.op = lessEqual
	case greaterEqual:
		l.op = greater
	}
	return l
}
