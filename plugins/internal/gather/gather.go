// Package gather copies chosen rows of a batch into a new one. It owns the copying, of any type of column; it never decides
// which rows, and never changes their order.
package gather

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// Rows copies rows, given by their indexes in rising order, into a new batch.
func Rows(mem memory.Allocator, in arrow.Record, indexes []int32) (arrow.Record, error) {
	if len(indexes) == 0 {
		return in.NewSlice(0, 0), nil // the buffers of a batch without rows may be missing
	}
	columns := make([]arrow.Array, in.NumCols())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, c := range in.Columns() {
		taken, err := gatherColumn(mem, c, indexes)
		if err != nil {
			return nil, err
		}
		columns[i] = taken
	}
	return array.NewRecord(in.Schema(), columns, int64(len(indexes))), nil
}

func gatherColumn(mem memory.Allocator, in arrow.Array, indexes []int32) (arrow.Array, error) {
	t := in.DataType()
	data := in.Data()
	var values []*memory.Buffer
	switch id := t.ID(); id {
	case arrow.NULL:
		return array.NewNull(len(indexes)), nil
	case arrow.BOOL:
		values = append(values, gatherBits(mem, data.Buffers()[1].Bytes(), data.Offset(), indexes))
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64, arrow.DATE32, arrow.DATE64, arrow.TIME32, arrow.TIME64, arrow.TIMESTAMP, arrow.DURATION,
		arrow.DECIMAL128, arrow.DECIMAL256, arrow.FIXED_SIZE_BINARY:
		width := t.(arrow.FixedWidthDataType).Bytes()
		values = append(values, gatherFixed(mem, data.Buffers()[1].Bytes()[data.Offset()*width:], width, indexes))
	case arrow.STRING, arrow.BINARY:
		var bytes []byte
		if b := data.Buffers()[2]; b != nil {
			bytes = b.Bytes()
		}
		values = gatherBytes(mem, arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())[data.Offset():], bytes,
			indexes)
	case arrow.LARGE_STRING, arrow.LARGE_BINARY:
		var bytes []byte
		if b := data.Buffers()[2]; b != nil {
			bytes = b.Bytes()
		}
		values = gatherBytes(mem, arrow.Int64Traits.CastFromBytes(data.Buffers()[1].Bytes())[data.Offset():], bytes,
			indexes)
	default:
		return gatherRuns(mem, in, indexes)
	}
	var valid *memory.Buffer
	nulls := 0
	if in.NullN() > 0 {
		valid = gatherBits(mem, in.NullBitmapBytes(), data.Offset(), indexes)
		bitmap := valid.Bytes()
		for i := range indexes {
			nulls += int(^bitmap[i>>3] >> (i & 7) & 1)
		}
	}
	out := array.NewData(t, len(indexes), append([]*memory.Buffer{valid}, values...), nil, nulls, 0)
	defer out.Release()
	if valid != nil {
		valid.Release()
	}
	for _, b := range values {
		b.Release()
	}
	return array.MakeFromData(out), nil
}

func newBuffer(mem memory.Allocator, size int) *memory.Buffer {
	b := memory.NewResizableBuffer(mem)
	b.Resize(size)
	return b
}

func gatherBits(mem memory.Allocator, bitmap []byte, offset int, indexes []int32) *memory.Buffer {
	b := newBuffer(mem, (len(indexes)+7)/8)
	out := b.Bytes()
	clear(out)
	for i, index := range indexes {
		bit := uint(offset) + uint(index)
		out[i>>3] |= bitmap[bit>>3] >> (bit & 7) & 1 << (i & 7)
	}
	return b
}

func gatherFixed(mem memory.Allocator, from []byte, width int, indexes []int32) *memory.Buffer {
	b := newBuffer(mem, len(indexes)*width)
	out := b.Bytes()
	switch width {
	case 1:
		for i, index := range indexes {
			out[i] = from[index]
		}
	case 2:
		pick(arrow.Int16Traits.CastFromBytes(out), arrow.Int16Traits.CastFromBytes(from), indexes)
	case 4:
		pick(arrow.Int32Traits.CastFromBytes(out), arrow.Int32Traits.CastFromBytes(from), indexes)
	case 8:
		pick(arrow.Int64Traits.CastFromBytes(out), arrow.Int64Traits.CastFromBytes(from), indexes)
	case 16:
		pick(arrow.Decimal128Traits.CastFromBytes(out), arrow.Decimal128Traits.CastFromBytes(from), indexes)
	default:
		for i, index := range indexes {
			copy(out[i*width:(i+1)*width], from[int(index)*width:])
		}
	}
	return b
}

func pick[T any](out, from []T, indexes []int32) {
	out = out[:len(indexes)]
	for i, index := range indexes {
		out[i] = from[index]
	}
}

// gatherBytes gathers values of variable length; the result is offsets and bytes.
func gatherBytes[T int32 | int64](mem memory.Allocator, offsets []T, bytes []byte, indexes []int32) []*memory.Buffer {
	width := arrow.Int32SizeBytes
	if any(T(0)) == any(int64(0)) {
		width = arrow.Int64SizeBytes
	}
	ends := newBuffer(mem, (len(indexes)+1)*width)
	var to []T
	switch out := any(&to).(type) {
	case *[]int32:
		*out = arrow.Int32Traits.CastFromBytes(ends.Bytes())
	case *[]int64:
		*out = arrow.Int64Traits.CastFromBytes(ends.Bytes())
	}
	var total T
	to[0] = 0
	for i, index := range indexes {
		total += offsets[index+1] - offsets[index]
		to[i+1] = total
	}
	values := newBuffer(mem, int(total))
	out := values.Bytes()
	for i, index := range indexes {
		copy(out[to[i]:to[i+1]], bytes[offsets[index]:offsets[index+1]])
	}
	return []*memory.Buffer{ends, values}
}

// gatherRuns gathers values of any type, a run of neighbours at a time.
func gatherRuns(mem memory.Allocator, in arrow.Array, indexes []int32) (arrow.Array, error) {
	var runs []arrow.Array
	defer func() {
		for _, r := range runs {
			r.Release()
		}
	}()
	for i := 0; i < len(indexes); {
		j := i + 1
		for j < len(indexes) && indexes[j] == indexes[j-1]+1 {
			j++
		}
		runs = append(runs, array.NewSlice(in, int64(indexes[i]), int64(indexes[j-1])+1))
		i = j
	}
	return array.Concatenate(runs, mem)
}
