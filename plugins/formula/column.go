package formula

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Column computes the expression for all rows of a batch; ended is asked every few rows whether the work is to end. The
// fault of a row says which one, as fault.InRow. Columns are those of the schema that the expression was compiled for.
func (f *Formula) Column(mem memory.Allocator, columns []arrow.Array, rows int, ended func() error) (arrow.Array, error) {
	b := array.NewBuilder(mem, f.Type.Field("", true).Type)
	defer b.Release()
	b.Reserve(rows)
	put := f.Type.appender(b)
	r := Row{Columns: columns}
	for i := range rows {
		if i%checkEvery == checkEvery-1 {
			if err := ended(); err != nil {
				return nil, err
			}
		}
		r.Index = i
		v, err := f.eval(&r)
		if err == nil && !v.null && f.Type.Kind == Decimal && !v.fits(f.Type.Precision) {
			err = fault.New(CodeOverflow, fault.Data, "the result does not fit %s", f.Type)
		}
		if err != nil {
			return nil, inRow(err, i)
		}
		if v.null {
			b.AppendNull()
			continue
		}
		put(v)
	}
	return b.NewArray(), nil
}

// checkEvery is after how many rows cancellation is looked for.
const checkEvery = 256

// inRow is a copy of a part's fault, which is one for all rows.
func inRow(err error, row int) error {
	made := *fault.From(err)
	return made.InRow(row)
}

// appender appends values of the type, which are not NULL.
func (t Type) appender(b array.Builder) func(v value) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		return func(v value) { b.Append(v.n == 1) }
	case *array.Int64Builder:
		return func(v value) { b.Append(v.n) }
	case *array.Uint64Builder:
		return func(v value) { b.Append(uint64(v.n)) }
	case *array.Float64Builder:
		return func(v value) { b.Append(v.f) }
	case *array.Decimal128Builder:
		return func(v value) {
			if v.big == nil {
				b.Append(decimal128.FromI64(v.n))
				return
			}
			b.Append(decimal128.FromBigInt(v.big))
		}
	case *array.Decimal256Builder:
		return func(v value) { b.Append(decimal256.FromBigInt(v.whole())) }
	case *array.StringBuilder:
		return func(v value) { b.Append(v.s) }
	case *array.BinaryBuilder:
		return func(v value) { b.Append([]byte(v.s)) }
	case *array.Date32Builder:
		return func(v value) { b.Append(arrow.Date32(v.n)) }
	case *array.TimestampBuilder:
		return func(v value) { b.Append(arrow.Timestamp(v.n)) }
	case *array.DurationBuilder:
		return func(v value) { b.Append(arrow.Duration(v.n)) }
	}
	return func(value) { b.AppendNull() }
}

// Order compares values of a column's type as expressions do, with NULL before everything; false for a type that has no
// order.
func Order(f arrow.Field) (compare func(a arrow.Array, i int, b arrow.Array, j int) int, ok bool) {
	t, ok := typeOf(f)
	if !ok {
		return nil, false
	}
	order := ordering(t, t)
	return func(a arrow.Array, i int, b arrow.Array, j int) int {
		v, w := read(a, i), read(b, j)
		switch {
		case v.null && w.null:
			return 0
		case v.null:
			return -1
		case w.null:
			return 1
		}
		n, _ := order(v, w)
		return n
	}, true
}
