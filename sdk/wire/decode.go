package wire

import (
	"bytes"
	"encoding/binary"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

var (
	emptyBuffer = memory.NewBufferBytes([]byte{})
	// zeroOffset stands in for the offsets of a column without rows: the format lets a writer leave that buffer empty.
	zeroOffset = memory.NewBufferBytes(make([]byte, 8))
)

// decoder builds the arrays of one record batch on top of its body. It releases its own references when it is done; the
// record holds its own by then.
type decoder struct {
	nodes, buffers []byte // what is left of the two vectors
	body           []byte
	shared         bool           // the peer can write the body at any time
	parent         *memory.Buffer // over body; nil if the body is empty

	arrays []*array.Data
	slices []*memory.Buffer
}

func (d *decoder) release() {
	for _, a := range d.arrays {
		a.Release()
	}
	for _, s := range d.slices {
		s.Release()
	}
}

// record decodes the header of a record batch message over its body. It never keeps a reference to the metadata.
func (d *decoder) record(t table, schema *arrow.Schema, columns []*layout) (arrow.Record, error) {
	if _, ok := t.at(batchCompression, 4); ok {
		return nil, unsupported("the body of a record batch is compressed; send it uncompressed")
	}
	rows := t.int64(batchLength, 0)
	d.nodes, _ = t.vector(batchNodes, structBytes)
	d.buffers, _ = t.vector(batchBuffers, structBytes)
	if t.f.err != nil {
		return nil, t.f.err
	}
	if rows < 0 || rows > maxRows {
		return nil, malformed("record batch of %d rows; expected 0 to %d", rows, maxRows)
	}
	cols := make([]arrow.Array, 0, len(columns))
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for _, l := range columns {
		data, err := d.array(l, rows, rows)
		if err != nil {
			return nil, err
		}
		cols = append(cols, array.MakeFromData(data))
	}
	if len(d.nodes) > 0 || len(d.buffers) > 0 {
		return nil, malformed("record batch has %d fields and %d buffers more than its schema", len(d.nodes)/structBytes, len(d.buffers)/structBytes)
	}
	return array.NewRecord(schema, cols, rows), nil
}

// array decodes one field. Its length must lie between least and most.
func (d *decoder) array(l *layout, least, most int64) (*array.Data, error) {
	if len(d.nodes) == 0 {
		return nil, malformed("record batch has no field node for %s", l)
	}
	length := int64(binary.LittleEndian.Uint64(d.nodes))
	nulls := int64(binary.LittleEndian.Uint64(d.nodes[8:]))
	d.nodes = d.nodes[structBytes:]
	if length < least || length > most {
		return nil, malformed("%s has %d values; expected %d to %d", l, length, least, most)
	}
	if l.shape == shapeNull {
		// All values of the type null are null, so the count is ignored. arrow-js sends -1 for a slice, meaning
		// unknown.
		return d.make(l, length, length, []*memory.Buffer{nil}, nil), nil
	}
	if nulls < 0 || nulls > length {
		return nil, malformed("%s has %d nulls among %d values", l, nulls, length)
	}
	if l.noNulls && nulls > 0 {
		return nil, malformed("%s has %d nulls; the entries and keys of a map cannot be null", l, nulls)
	}
	validity, err := d.validity(l, length, nulls)
	if err != nil {
		return nil, err
	}
	switch l.shape {
	case shapeBits, shapeFixed:
		need := length * int64(l.width)
		if l.shape == shapeBits {
			need = bitutil.BytesForBits(length)
		}
		values, _, err := d.buffer(l, "values", need)
		if err != nil {
			return nil, err
		}
		return d.make(l, length, nulls, []*memory.Buffer{validity, values}, nil), nil
	case shapeBytes:
		offsets, end, err := d.offsets(l, length)
		if err != nil {
			return nil, err
		}
		data, _, err := d.buffer(l, "data", end)
		if err != nil {
			return nil, err
		}
		return d.make(l, length, nulls, []*memory.Buffer{validity, offsets, data}, nil), nil
	case shapeList:
		offsets, end, err := d.offsets(l, length)
		if err != nil {
			return nil, err
		}
		child, err := d.array(l.children[0], end, maxRows)
		if err != nil {
			return nil, err
		}
		return d.make(l, length, nulls, []*memory.Buffer{validity, offsets}, []arrow.ArrayData{child}), nil
	case shapeFixedList:
		child, err := d.array(l.children[0], length*int64(l.width), maxRows)
		if err != nil {
			return nil, err
		}
		return d.make(l, length, nulls, []*memory.Buffer{validity}, []arrow.ArrayData{child}), nil
	default: // shapeStruct
		children := make([]arrow.ArrayData, len(l.children))
		for i, c := range l.children {
			child, err := d.array(c, length, length)
			if err != nil {
				return nil, err
			}
			children[i] = child
		}
		return d.make(l, length, nulls, []*memory.Buffer{validity}, children), nil
	}
}

func (d *decoder) make(l *layout, length, nulls int64, buffers []*memory.Buffer,
	children []arrow.ArrayData) *array.Data {
	data := array.NewData(l.dtype, int(length), buffers, children, int(nulls), 0)
	d.arrays = append(d.arrays, data)
	return data
}

// buffer takes the next buffer, which must lie inside the body and hold at least need bytes.
func (d *decoder) buffer(l *layout, what string, need int64) (*memory.Buffer, []byte, error) {
	if len(d.buffers) == 0 {
		return nil, nil, malformed("record batch has no buffer for the %s of %s", what, l)
	}
	offset := int64(binary.LittleEndian.Uint64(d.buffers))
	length := int64(binary.LittleEndian.Uint64(d.buffers[8:]))
	d.buffers = d.buffers[structBytes:]
	switch size := int64(len(d.body)); {
	case offset < 0 || length < 0 || offset > size || length > size-offset:
		return nil, nil, malformed("the %s of %s are %d bytes at offset %d of a body of %d", what, l, length, offset, size)
	case length < need:
		return nil, nil, malformed("the %s of %s are %d bytes; %d are needed", what, l, length, need)
	case length == 0:
		return emptyBuffer, nil, nil
	case offset%8 != 0:
		return nil, nil, malformed("the %s of %s start at offset %d; expected a multiple of 8", what, l, offset)
	}
	b := memory.SliceBuffer(d.parent, int(offset), int(length))
	d.slices = append(d.slices, b)
	return b, b.Bytes(), nil
}

// validity takes the validity bitmap, and checks that it has as many nulls as the node says: code that reads the array
// relies on the count alone where it is zero.
func (d *decoder) validity(l *layout, length, nulls int64) (*memory.Buffer, error) {
	if nulls == 0 {
		_, _, err := d.buffer(l, "validity bits", 0)
		return nil, err
	}
	buf, bits, err := d.buffer(l, "validity bits", bitutil.BytesForBits(length))
	if err != nil {
		return nil, err
	}
	buf, bits = d.own(buf, bits)
	if n := length - int64(bitutil.CountSetBits(bits, 0, int(length))); n != nulls {
		return nil, malformed("%s has %d nulls by its count and %d by its validity bits", l, nulls, n)
	}
	return buf, nil
}

// offsets takes the offsets of a column and returns the last. They must start at zero or above and never fall.
func (d *decoder) offsets(l *layout, length int64) (*memory.Buffer, int64, error) {
	if length == 0 {
		_, _, err := d.buffer(l, "offsets", 0)
		return zeroOffset, 0, err
	}
	buf, b, err := d.buffer(l, "offsets", (length+1)*int64(l.width))
	if err != nil {
		return nil, 0, err
	}
	buf, b = d.own(buf, b)
	var last int64
	var ok bool
	if l.width == 4 {
		last, ok = checkOffsets(arrow.Int32Traits.CastFromBytes(b)[:length+1])
	} else {
		last, ok = checkOffsets(arrow.Int64Traits.CastFromBytes(b)[:length+1])
	}
	if !ok {
		return nil, 0, malformed("the offsets of %s are negative or not in order", l)
	}
	return buf, last, nil
}

// own copies a buffer that the peer can still write, so that it stays as it is checked.
func (d *decoder) own(buf *memory.Buffer, b []byte) (*memory.Buffer, []byte) {
	if !d.shared {
		return buf, b
	}
	b = bytes.Clone(b)
	return memory.NewBufferBytes(b), b
}

// checkOffsets checks that offsets do not fall and are not negative, without a branch in the loop. It collects the
// signs of all offsets and of their differences: where no offset is negative a difference cannot overflow, and it is
// negative only where an offset is smaller than the one before it.
func checkOffsets[T int32 | int64](offsets []T) (last int64, ok bool) {
	prev, signs := offsets[0], offsets[0]
	for _, o := range offsets[1:] {
		signs |= o | (o - prev)
		prev = o
	}
	return int64(prev), signs >= 0
}
