package contract

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk"
)

// convert turns the values of a column into those of a type that holds them all.
// The caller releases the result.
type convert func(mem memory.Allocator, in arrow.Array) arrow.Array

// widen decides how a field becomes the expected column: the field that comes of it,
// and how its values do, nil when they stay as they are. The problem says why they
// do not.
func widen(from arrow.Field, p expectedColumn) (to arrow.Field, how convert, problem string) {
	have := shapeOf(from)
	if p.anyFraction && have.name == p.shape.name {
		p.shape.scale = have.scale
	}
	if problem := compare(have, p.shape); problem != "" {
		return from, nil, problem
	}
	to = from
	if have == p.shape {
		return to, nil, ""
	}
	expected := p.field.Type
	switch t := from.Type.(type) {
	case *arrow.NullType:
		to.Type, to.Metadata = expected, parse.Describe(from.Metadata, p.field.Metadata.ToMap())
		return to, func(mem memory.Allocator, in arrow.Array) arrow.Array {
			return array.MakeArrayOfNull(mem, expected, in.Len())
		}, ""
	case *arrow.StringType, *arrow.LargeStringType:
		to.Metadata = parse.Describe(from.Metadata, p.field.Metadata.ToMap())
		return to, nil, ""
	case *arrow.TimestampType:
		if _, clocks := from.Metadata.GetValue(sdk.MetaClocks); clocks || !isUTC(t.TimeZone) {
			return to, nil, "" // an instant, whose local time is written
		}
		to.Type = &arrow.TimestampType{Unit: t.Unit}
		return to, relabel(to.Type), ""
	case *arrow.Time64Type:
		to.Type = &arrow.DurationType{Unit: t.Unit}
		return to, relabel(to.Type), ""
	case *arrow.Time32Type:
		to.Type = &arrow.DurationType{Unit: t.Unit}
		return to, rewrite(to.Type, wider[int32, int64]), ""
	case *arrow.Decimal128Type:
		to.Type = expected
		if expected.ID() == arrow.DECIMAL256 {
			return to, rewrite(expected, wideDecimals), ""
		}
		return to, relabel(expected), ""
	case *arrow.Decimal256Type:
		// 256 bits stay 256 bits: no value has to be looked at.
		to.Type = &arrow.Decimal256Type{Precision: p.shape.digits, Scale: p.shape.scale}
		return to, relabel(to.Type), ""
	}
	to.Type = expected
	return to, integer(from.Type.ID(), expected), ""
}

// relabel gives values another type of the same layout.
func relabel(to arrow.DataType) convert {
	return func(_ memory.Allocator, in arrow.Array) arrow.Array {
		d := in.Data()
		data := array.NewData(to, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
		defer data.Release()
		return array.MakeFromData(data)
	}
}

type whole interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

func wider[S, D whole](out []D, in []S) {
	out = out[:len(in)]
	for i, v := range in {
		out[i] = D(v)
	}
}

func wideDecimals(out []decimal256.Num, in []decimal128.Num) {
	for i, v := range in {
		out[i] = decimal256.FromDecimal128(v)
	}
}

// rewrite gives values another width. Those of NULLs are rewritten too: they are any
// value of the type.
func rewrite[S, D whole | decimal128.Num | decimal256.Num](to arrow.DataType, values func(out []D, in []S)) convert {
	return func(mem memory.Allocator, in arrow.Array) arrow.Array {
		from, n := in.Data(), in.Len()
		made := memory.NewResizableBuffer(mem)
		defer made.Release()
		made.Resize(n * to.(arrow.FixedWidthDataType).Bytes())
		if n > 0 {
			values(arrow.GetData[D](made.Bytes()), arrow.GetValues[S](from, 1))
		}
		buffers := []*memory.Buffer{nil, made}
		if in.NullN() > 0 {
			valid := memory.NewResizableBuffer(mem)
			defer valid.Release()
			valid.Resize(int(bitutil.BytesForBits(int64(n))))
			memory.Set(valid.Bytes(), 0)
			bitutil.CopyBitmap(in.NullBitmapBytes(), from.Offset(), n, valid.Bytes(), 0)
			buffers[0] = valid
		}
		data := array.NewData(to, n, buffers, nil, in.NullN(), 0)
		defer data.Release()
		return array.MakeFromData(data)
	}
}

// integer widens an integer type; compare has said that every value fits.
func integer(from arrow.Type, to arrow.DataType) convert {
	switch from {
	case arrow.INT8:
		return integerFrom[int8](to)
	case arrow.INT16:
		return integerFrom[int16](to)
	case arrow.INT32:
		return integerFrom[int32](to)
	case arrow.UINT8:
		return integerFrom[uint8](to)
	case arrow.UINT16:
		return integerFrom[uint16](to)
	}
	return integerFrom[uint32](to)
}

func integerFrom[S int8 | int16 | int32 | uint8 | uint16 | uint32](to arrow.DataType) convert {
	switch to.ID() {
	case arrow.INT16:
		return rewrite(to, wider[S, int16])
	case arrow.INT32:
		return rewrite(to, wider[S, int32])
	case arrow.UINT16:
		return rewrite(to, wider[S, uint16])
	case arrow.UINT32:
		return rewrite(to, wider[S, uint32])
	case arrow.UINT64:
		return rewrite(to, wider[S, uint64])
	}
	return rewrite(to, wider[S, int64])
}
