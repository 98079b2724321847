package wire

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	flatbuffers "github.com/google/flatbuffers/go"
)

// zeros is the source of padding, and of the single offset of a column without rows.
var zeros [alignment]byte

// encoder turns a range of rows into the field nodes, buffer descriptors and body pieces of one record batch message.
// The pieces are slices of the columns' own buffers.
type encoder struct {
	nodes   []fieldNode
	buffers []bufferRange
	pieces  [][]byte
	body    int64 // bytes in pieces

	scratch []byte // what had to be copied for this batch
	fb      *flatbuffers.Builder
}

// structBytes is the size of the structs FieldNode and Buffer of Message.fbs.
const structBytes = 16

// fieldNode and bufferRange are those two structs.
type fieldNode struct{ length, nulls int64 }

type bufferRange struct{ offset, length int64 }

func (e *encoder) reset() {
	e.nodes, e.buffers = e.nodes[:0], e.buffers[:0]
	clear(e.pieces)
	e.pieces, e.body = e.pieces[:0], 0
	e.scratch = e.scratch[:0]
}

// buffer appends a buffer of the body with its padding.
func (e *encoder) buffer(b []byte) {
	e.buffers = append(e.buffers, bufferRange{e.body, int64(len(b))})
	if len(b) == 0 {
		return
	}
	e.pieces = append(e.pieces, b)
	e.body += int64(len(b))
	if pad := -e.body & (alignment - 1); pad > 0 {
		e.pieces = append(e.pieces, zeros[:pad])
		e.body += pad
	}
}

// take returns n bytes of scratch memory. They are valid, and not moved, until reset.
func (e *encoder) take(n int) []byte {
	if n > cap(e.scratch)-len(e.scratch) {
		e.scratch = make([]byte, 0, max(n, 2*cap(e.scratch), 4096))
	}
	at := len(e.scratch)
	e.scratch = e.scratch[:at+n]
	return e.scratch[at : at+n : at+n]
}

// column encodes n values of d from position off of its buffers, which counts from the buffers' start and so includes
// d.Offset().
func (e *encoder) column(l *layout, d arrow.ArrayData, off, n int) error {
	if n > maxRows {
		return fmt.Errorf("%w: %s has %d values in one batch; expected at most %d", ErrTooLarge, l, n, maxRows)
	}
	if off < d.Offset() || off+n > d.Offset()+d.Len() {
		return malformed("%s has %d values; at least %d are needed", l, d.Len(), off+n-d.Offset())
	}
	if l.shape == shapeNull {
		e.nodes = append(e.nodes, fieldNode{int64(n), int64(n)})
		return nil
	}
	if err := e.validity(l, d, off, n); err != nil {
		return err
	}
	switch l.shape {
	case shapeBits:
		return e.bits(l, bufferBytes(d, 1), off, n)
	case shapeFixed:
		values := bufferBytes(d, 1)
		from, to := off*l.width, (off+n)*l.width
		if to > len(values) && n > 0 {
			return malformed("%s has %d bytes of values; %d are needed", l, len(values), to)
		}
		if n == 0 {
			from, to = 0, 0
		}
		e.buffer(values[from:to])
	case shapeBytes:
		from, to, err := e.offsets(l, bufferBytes(d, 1), off, n)
		if err != nil {
			return err
		}
		data := bufferBytes(d, 2)
		if to > int64(len(data)) {
			return malformed("%s has %d bytes of data; its offsets go to %d", l, len(data), to)
		}
		e.buffer(data[from:to])
	case shapeList:
		from, to, err := e.offsets(l, bufferBytes(d, 1), off, n)
		if err != nil {
			return err
		}
		return e.child(l, d, 0, from, to-from)
	case shapeFixedList:
		return e.child(l, d, 0, int64(off)*int64(l.width), int64(n)*int64(l.width))
	case shapeStruct:
		for i := range l.children {
			if err := e.child(l, d, i, int64(off), int64(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// child encodes n values of a child, from position off among them.
func (e *encoder) child(l *layout, d arrow.ArrayData, i int, off, n int64) error {
	if len(d.Children()) <= i {
		return malformed("%s has %d child arrays; expected %d", l, len(d.Children()), len(l.children))
	}
	c := d.Children()[i]
	return e.column(l.children[i], c, c.Offset()+int(off), int(n))
}

// validity encodes the field node and the validity bitmap, which is left out when nothing is null.
func (e *encoder) validity(l *layout, d arrow.ArrayData, off, n int) error {
	bitmap := bufferBytes(d, 0)
	nulls := 0
	if d.NullN() != 0 && len(bitmap) > 0 {
		if off+n > 8*len(bitmap) {
			return malformed("%s has a validity bitmap of %d bytes; %d values are needed", l, len(bitmap), off+n)
		}
		// The count of d is of all its rows, and may be wrong, which the reader would refuse: so the rows sent are
		// counted.
		nulls = n - bitutil.CountSetBits(bitmap, off, n)
	}
	e.nodes = append(e.nodes, fieldNode{int64(n), int64(nulls)})
	if nulls == 0 {
		e.buffer(nil)
		return nil
	}
	if l.noNulls {
		return malformed("%s has %d nulls; the entries and keys of a map cannot be null", l, nulls)
	}
	return e.bits(l, bitmap, off, n)
}

// bits encodes n bits from bit off. Only bits that do not start at a byte are copied.
func (e *encoder) bits(l *layout, from []byte, off, n int) error {
	if n == 0 {
		e.buffer(nil)
		return nil
	}
	if off+n > 8*len(from) {
		return malformed("%s has a bitmap of %d bytes; %d bits are needed", l, len(from), off+n)
	}
	size := int(bitutil.BytesForBits(int64(n)))
	if off%8 == 0 {
		e.buffer(from[off/8 : off/8+size])
		return nil
	}
	b := e.take(size)
	b[size-1] = 0
	bitutil.CopyBitmap(from, off, n, b, 0)
	e.buffer(b)
	return nil
}

// offsets encodes the n+1 offsets from position off and returns the range that they span. Offsets are copied only if
// they do not start at zero.
func (e *encoder) offsets(l *layout, b []byte, off, n int) (from, to int64, err error) {
	if n == 0 {
		// The format asks for one offset even then; arrays without rows are allowed to have none.
		e.buffer(zeros[:l.width])
		return 0, 0, nil
	}
	if (off+n+1)*l.width > len(b) {
		return 0, 0, malformed("%s has %d bytes of offsets; %d are needed", l, len(b), (off+n+1)*l.width)
	}
	b = b[off*l.width : (off+n+1)*l.width]
	if l.width == 4 {
		from, to = shiftOffsets(e, b, arrow.Int32Traits.CastFromBytes(b))
	} else {
		from, to = shiftOffsets(e, b, arrow.Int64Traits.CastFromBytes(b))
	}
	if from < 0 || to < from {
		return 0, 0, malformed("%s has offsets from %d to %d", l, from, to)
	}
	return from, to, nil
}

func shiftOffsets[T int32 | int64](e *encoder, raw []byte, offsets []T) (from, to int64) {
	first := offsets[0]
	if first != 0 {
		raw = e.take(len(raw))
		shifted := arrow.GetData[T](raw)
		for i, o := range offsets {
			shifted[i] = o - first
		}
	}
	e.buffer(raw)
	return int64(first), int64(offsets[len(offsets)-1])
}

// bodySize estimates how many bytes column adds to the body for the same range: it may be a few padded bitmaps too
// high, and never too low. The writer splits a record by it before anything is encoded. Arrays that are inconsistent
// column refuses.
func bodySize(l *layout, d arrow.ArrayData, off, n int) int64 {
	padded := func(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }
	var size int64
	if l.shape != shapeNull && d.NullN() != 0 {
		size += padded(int64(n)/8 + 1)
	}
	child := func(i int, off, n int64) {
		if i < len(d.Children()) {
			c := d.Children()[i]
			size += bodySize(l.children[i], c, c.Offset()+int(off), int(n))
		}
	}
	switch l.shape {
	case shapeBits:
		size += padded(int64(n)/8 + 1)
	case shapeFixed:
		size += padded(int64(n) * int64(l.width))
	case shapeBytes, shapeList:
		size += padded((int64(n) + 1) * int64(l.width))
		from, to := span(bufferBytes(d, 1), l.width, off, n)
		if l.shape == shapeBytes {
			size += padded(to - from)
		} else {
			child(0, from, to-from)
		}
	case shapeFixedList:
		child(0, int64(off)*int64(l.width), int64(n)*int64(l.width))
	case shapeStruct:
		for i := range l.children {
			child(i, int64(off), int64(n))
		}
	}
	return size
}

// span is the range between two offsets; empty where there are none.
func span(b []byte, width, off, n int) (from, to int64) {
	switch {
	case n == 0 || (off+n+1)*width > len(b):
		return 0, 0
	case width == 4:
		o := arrow.Int32Traits.CastFromBytes(b)
		from, to = int64(o[off]), int64(o[off+n])
	default:
		o := arrow.Int64Traits.CastFromBytes(b)
		from, to = o[off], o[off+n]
	}
	if from < 0 || to < from {
		return 0, 0
	}
	return from, to
}

func bufferBytes(d arrow.ArrayData, i int) []byte {
	if bufs := d.Buffers(); i < len(bufs) && bufs[i] != nil {
		return bufs[i].Bytes()
	}
	return nil
}

// metadata renders the Message flatbuffer of the encoded batch. It is valid until the next call.
func (e *encoder) metadata(rows int64, custom arrow.Metadata) []byte {
	if e.fb == nil {
		e.fb = flatbuffers.NewBuilder(4096)
	}
	b := e.fb
	b.Reset()
	b.StartVector(structBytes, len(e.buffers), 8)
	for i := len(e.buffers) - 1; i >= 0; i-- {
		b.Prep(8, structBytes)
		b.PrependInt64(e.buffers[i].length)
		b.PrependInt64(e.buffers[i].offset)
	}
	buffers := b.EndVector(len(e.buffers))
	b.StartVector(structBytes, len(e.nodes), 8)
	for i := len(e.nodes) - 1; i >= 0; i-- {
		b.Prep(8, structBytes)
		b.PrependInt64(e.nodes[i].nulls)
		b.PrependInt64(e.nodes[i].length)
	}
	nodes := b.EndVector(len(e.nodes))

	b.StartObject(5)
	b.PrependInt64Slot(batchLength, rows, 0)
	b.PrependUOffsetTSlot(batchNodes, nodes, 0)
	b.PrependUOffsetTSlot(batchBuffers, buffers, 0)
	batch := b.EndObject()

	metadata := keyValues(b, custom)

	b.StartObject(5)
	b.PrependUOffsetTSlot(messageMetadata, metadata, 0)
	b.PrependInt64Slot(messageBodyLength, e.body, 0)
	b.PrependUOffsetTSlot(messageHeader, batch, 0)
	b.PrependInt16Slot(messageVersion, metadataV5, 0)
	b.PrependByteSlot(messageHeaderType, headerRecordBatch, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

// keyValues writes custom metadata, a vector of KeyValue; 0 where there is none.
func keyValues(b *flatbuffers.Builder, custom arrow.Metadata) flatbuffers.UOffsetT {
	if custom.Len() == 0 {
		return 0
	}
	pairs := make([]flatbuffers.UOffsetT, custom.Len())
	for i, key := range custom.Keys() {
		k, v := b.CreateString(key), b.CreateString(custom.Values()[i])
		b.StartObject(2)
		b.PrependUOffsetTSlot(keyValueKey, k, 0)
		b.PrependUOffsetTSlot(keyValueValue, v, 0)
		pairs[i] = b.EndObject()
	}
	return b.CreateVectorOfTables(pairs)
}
