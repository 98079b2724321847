package formula

import (
	"bytes"
	"math/big"
	"regexp"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
)

// nullTest is x == null, or x != null.
type nullTest struct {
	index int
	not   bool
}

func (nullTest) cheap() bool { return true }
func (n nullTest) eval(b *batch, _ []uint64) (truth, error) {
	out := b.take()
	putValid(b.columns[n.index], out)
	if !n.not {
		invert(out)
	}
	return truth{holds: out}, nil
}

// constantKind says which constant a columnConstant holds.
type constantKind uint8

const (
	wholeConstant constantKind = iota
	floatConstant
	bytesConstant
	boolConstant
)

// whole is a whole number in two's complement, the lowest word first.
type whole [4]uint64

func wholeOf(n *big.Int) whole { return decimal256.FromBigInt(n).Array() }

// columnConstant compares a column with a constant of the column's own kind.
type columnConstant struct {
	index int
	op    operation
	kind  constantKind
	whole whole
	float float64
	bytes []byte
	bit   bool
}

func (columnConstant) cheap() bool { return true }

func (l columnConstant) eval(b *batch, _ []uint64) (truth, error) {
	out := b.take()
	a := b.columns[l.index]
	// != is what == is not, NULL included.
	op := l.op
	if op == notEqual {
		op = equal
	}
	switch l.kind {
	case wholeConstant:
		l.evalWhole(a, op, out)
	case floatConstant:
		if narrow, ok := a.(*array.Float32); ok {
			compareConstant(b.widen(narrow), l.float, op, out)
		} else {
			compareConstant(a.(*array.Float64).Float64Values(), l.float, op, out)
		}
	case bytesConstant:
		values := bytesOf(a)
		if op == equal {
			eachRow(out, b.rows, func(i int) bool { return string(values.at(i)) == string(l.bytes) })
		} else {
			eachRow(out, b.rows, func(i int) bool { return op.holds(bytes.Compare(values.at(i), l.bytes)) })
		}
	case boolConstant:
		bits, offset := a.Data().Buffers()[1].Bytes(), a.Data().Offset()
		falses := -one(op.holds(compareBools(false, l.bit)))
		trues := -one(op.holds(compareBools(true, l.bit)))
		for i := range out {
			w := loadWord(bits, offset+i*64)
			out[i] = w&trues | ^w&falses
		}
	}
	dropNulls(a, out)
	if l.op == notEqual {
		invert(out)
	}
	return truth{holds: out}, nil
}

func compareBools(a, b bool) int { return int(one(a)) - int(one(b)) }

func (l columnConstant) evalWhole(a arrow.Array, op operation, out []uint64) {
	n := int64(l.whole[0])
	switch a := a.(type) {
	case *array.Int8:
		compareConstant(a.Int8Values(), int8(n), op, out)
	case *array.Int16:
		compareConstant(a.Int16Values(), int16(n), op, out)
	case *array.Int32:
		compareConstant(a.Int32Values(), int32(n), op, out)
	case *array.Int64:
		compareConstant(a.Int64Values(), n, op, out)
	case *array.Uint8:
		compareConstant(a.Uint8Values(), uint8(n), op, out)
	case *array.Uint16:
		compareConstant(a.Uint16Values(), uint16(n), op, out)
	case *array.Uint32:
		compareConstant(a.Uint32Values(), uint32(n), op, out)
	case *array.Uint64:
		compareConstant(a.Uint64Values(), l.whole[0], op, out)
	case *array.Date32:
		compareConstant(a.Date32Values(), arrow.Date32(n), op, out)
	case *array.Date64:
		compareConstant(a.Date64Values(), arrow.Date64(n), op, out)
	case *array.Timestamp:
		compareConstant(a.TimestampValues(), arrow.Timestamp(n), op, out)
	case *array.Time32:
		compareConstant(a.Time32Values(), arrow.Time32(n), op, out)
	case *array.Time64:
		compareConstant(a.Time64Values(), arrow.Time64(n), op, out)
	case *array.Duration:
		compareConstant(a.DurationValues(), arrow.Duration(n), op, out)
	case *array.Decimal128:
		values, c := a.Values(), decimal128.New(int64(l.whole[1]), l.whole[0])
		eachRow(out, len(values), func(i int) bool { return op.holds(compare128(values[i], c)) })
	case *array.Decimal256:
		values, c := a.Values(), decimal256.New(l.whole[3], l.whole[2], l.whole[1], l.whole[0])
		eachRow(out, len(values), func(i int) bool { return op.holds(values[i].Cmp(c)) })
	}
}

func compare128(a, b decimal128.Num) int {
	if a.HighBits() != b.HighBits() {
		return compare64(a.HighBits(), b.HighBits())
	}
	return int(one(a.LowBits() > b.LowBits())) - int(one(a.LowBits() < b.LowBits()))
}

// columnColumn compares two columns.
type columnColumn struct {
	left, right int
	op          operation
	order       func(a, b value) (int, bool)
}

func (columnColumn) cheap() bool { return true }

func (l columnColumn) eval(b *batch, _ []uint64) (truth, error) {
	x, y := b.columns[l.left], b.columns[l.right]
	op := l.op
	if op == notEqual {
		op = equal
	}
	t := truth{holds: b.take()}
	if x.DataType().ID() == arrow.NULL || y.DataType().ID() == arrow.NULL {
		fill(t.holds, 0)
	} else if !b.compareColumns(x, y, op, t.holds) {
		// Types that have no common form: one pair of values after the other. Those of NULL are dropped below.
		eachRow(t.holds, b.rows, func(i int) bool {
			order, known := l.order(read(x, i), read(y, i))
			return known && op.holds(order)
		})
	}
	dropNulls(x, t.holds)
	dropNulls(y, t.holds)
	if op == equal {
		// NULL equals NULL.
		valid := b.take()
		defer b.give(valid)
		putValid(x, valid)
		other := b.take()
		defer b.give(other)
		putValid(y, other)
		for i := range valid {
			t.holds[i] |= ^valid[i] &^ other[i]
		}
	}
	if l.op == notEqual {
		invert(t.holds)
	}
	return t, nil
}

// compareColumns compares columns of a common form; without one it is false.
func (b *batch) compareColumns(x, y arrow.Array, op operation, out []uint64) bool {
	s, t := x.DataType(), y.DataType()
	if arrow.TypeEqual(s, t) {
		switch x := x.(type) {
		case *array.Decimal128:
			p, q := x.Values(), y.(*array.Decimal128).Values()
			eachRow(out, b.rows, func(i int) bool { return op.holds(compare128(p[i], q[i])) })
			return true
		case *array.Decimal256:
			p, q := x.Values(), y.(*array.Decimal256).Values()
			eachRow(out, b.rows, func(i int) bool { return op.holds(p[i].Cmp(q[i])) })
			return true
		case *array.Uint64:
			comparePairs(x.Uint64Values(), y.(*array.Uint64).Uint64Values(), op, out)
			return true
		case *array.Float64:
			comparePairs(x.Float64Values(), y.(*array.Float64).Float64Values(), op, out)
			return true
		case *array.Float32:
			comparePairs(x.Float32Values(), y.(*array.Float32).Float32Values(), op, out)
			return true
		}
		if p, ok := b.integers(x, 0); ok {
			q, _ := b.integers(y, 1)
			comparePairs(p, q, op, out)
			return true
		}
	}
	switch {
	case arrow.IsBinaryLike(s.ID()) || arrow.IsLargeBinaryLike(s.ID()) || s.ID() == arrow.FIXED_SIZE_BINARY:
		// Text is compared with text, and bytes with bytes, whatever their layouts.
		p, q := bytesOf(x), bytesOf(y)
		eachRow(out, b.rows, func(i int) bool { return op.holds(bytes.Compare(p.at(i), q.at(i))) })
		return true
	case arrow.IsInteger(s.ID()) && arrow.IsInteger(t.ID()):
		p, pok := b.integers(x, 0)
		q, qok := b.integers(y, 1)
		if pok && qok {
			comparePairs(p, q, op, out)
			return true
		}
	}
	return false
}

// textMatch is x.matches(pattern).
type textMatch struct {
	index   int
	pattern *regexp.Regexp
}

func (textMatch) cheap() bool { return true }
func (l textMatch) eval(b *batch, _ []uint64) (truth, error) {
	out := b.take()
	a := b.columns[l.index]
	values := bytesOf(a)
	putValid(a, out)
	for i := range b.rows {
		if bit := uint64(1) << (i & 63); out[i>>6]&bit != 0 && !l.pattern.Match(values.at(i)) {
			out[i>>6] &^= bit
		}
	}
	return truth{holds: out}, nil
}

// textTest is x.startsWith(argument) and the like.
type textTest struct {
	index    int
	test     textTestKind
	argument []byte
}

type textTestKind uint8

const (
	testContains textTestKind = iota
	testStartsWith
	testEndsWith
)

func (textTest) cheap() bool { return true }
func (l textTest) eval(b *batch, _ []uint64) (truth, error) {
	out := b.take()
	a := b.columns[l.index]
	values, argument := bytesOf(a), l.argument
	switch l.test { // outside of the loop, so that nothing is called through a pointer
	case testStartsWith:
		eachRow(out, b.rows, func(i int) bool { return bytes.HasPrefix(values.at(i), argument) })
	case testEndsWith:
		eachRow(out, b.rows, func(i int) bool { return bytes.HasSuffix(values.at(i), argument) })
	default:
		eachRow(out, b.rows, func(i int) bool { return bytes.Contains(values.at(i), argument) })
	}
	dropNulls(a, out)
	return truth{holds: out}, nil
}

// columnSet is x in a long list.
type columnSet struct {
	index   int
	texts   map[string]struct{}
	numbers map[int64]struct{}
}

func (columnSet) cheap() bool { return true }

// add takes a constant into the set, if it is one of text or of integers.
func (s *columnSet) add(t arrow.DataType, l columnConstant) bool {
	switch {
	case l.kind == bytesConstant:
		if s.texts == nil {
			s.texts = map[string]struct{}{}
		}
		s.texts[string(l.bytes)] = struct{}{}
		return true
	case l.kind == wholeConstant && arrow.IsInteger(t.ID()) && t.ID() != arrow.UINT64:
		if s.numbers == nil {
			s.numbers = map[int64]struct{}{}
		}
		s.numbers[int64(l.whole[0])] = struct{}{}
		return true
	}
	return false
}

func (s columnSet) eval(b *batch, _ []uint64) (truth, error) {
	out := b.take()
	a := b.columns[s.index]
	if s.texts != nil {
		values := bytesOf(a)
		eachRow(out, b.rows, func(i int) bool { _, ok := s.texts[string(values.at(i))]; return ok })
	} else {
		values, _ := b.integers(a, 0)
		eachRow(out, b.rows, func(i int) bool { _, ok := s.numbers[values[i]]; return ok })
	}
	dropNulls(a, out)
	return truth{holds: out}, nil
}
