package mysql

import (
	"encoding/binary"
	"sort"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// regroup cuts the rows of several parts into the batches that one connection would have made of them: formats whose bytes show
// where a batch ends (an Arrow stream, the row groups of a Parquet file) are then the same, too. Rows are copied unless a
// record is a batch already.
type regroup struct {
	mem      memory.Allocator
	rowWidth int
	maxRows  int
	maxBytes int

	pieces []piece
	rows   int // of all pieces
	bytes  int // of variable-length values in them
}

// piece is rows of a record.
type piece struct {
	record   arrow.Record
	from, to int
}

// like sets the limits of a batch.
func (g *regroup) like(b *batch) {
	g.mem, g.rowWidth, g.maxRows, g.maxBytes = b.mem, b.rowWidth, b.maxRows, b.maxBytes
}

// add takes a record, and calls give with every batch that is full; what is left waits.
func (g *regroup) add(record arrow.Record, give func(arrow.Record)) {
	defer record.Release()
	for from, rows := 0, int(record.NumRows()); from < rows; {
		left := min(rows-from, g.maxRows-g.rows)
		n := 1 + sort.Search(left-1, func(n int) bool { return g.fills(record, from, from+n+1) })
		record.Retain()
		g.pieces = append(g.pieces, piece{record, from, from + n})
		g.rows += n
		g.bytes += valueBytes(record, from, from+n)
		if from += n; g.rows == g.maxRows || g.rows*g.rowWidth+g.bytes >= g.maxBytes {
			give(g.take())
		}
	}
}

// fills reports whether a batch is full when rows of a record are added to what waits.
func (g *regroup) fills(record arrow.Record, from, to int) bool {
	return (g.rows+to-from)*g.rowWidth+g.bytes+valueBytes(record, from, to) >= g.maxBytes
}

// valueBytes is the size of the variable-length values of rows.
func valueBytes(record arrow.Record, from, to int) (n int) {
	for _, column := range record.Columns() {
		switch column.(type) {
		case *array.String, *array.Binary:
			offsets := arrow.Int32Traits.CastFromBytes(column.Data().Buffers()[1].Bytes())
			n += int(offsets[to] - offsets[from])
		}
	}
	return n
}

// take makes a record of what waits; there are rows.
func (g *regroup) take() arrow.Record {
	defer g.release()
	if p := g.pieces[0]; len(g.pieces) == 1 && p.from == 0 && p.to == int(p.record.NumRows()) {
		p.record.Retain()
		return p.record
	}
	schema := g.pieces[0].record.Schema()
	columns := make([]arrow.Array, schema.NumFields())
	for i := range columns {
		columns[i] = g.column(i, schema.Field(i).Type)
		defer columns[i].Release()
	}
	return array.NewRecord(schema, columns, int64(g.rows))
}

// release lets go of what waits.
func (g *regroup) release() {
	for _, p := range g.pieces {
		p.record.Release()
	}
	g.pieces, g.rows, g.bytes = g.pieces[:0], 0, 0
}

// column copies the values of one column.
func (g *regroup) column(i int, typ arrow.DataType) arrow.Array {
	if typ.ID() == arrow.NULL {
		return array.NewNull(g.rows)
	}
	var buffers []*memory.Buffer
	valid, nulls := g.validity(i)
	buffers = append(buffers, valid)
	if fixed, ok := typ.(arrow.FixedWidthDataType); ok {
		width := fixed.Bytes()
		data := g.mem.Allocate(g.rows * width)
		at := 0
		for _, p := range g.pieces {
			at += copy(data[at:], p.record.Column(i).Data().Buffers()[1].Bytes()[p.from*width:p.to*width])
		}
		buffers = append(buffers, memory.NewBufferWithAllocator(data, g.mem))
	} else {
		offsets, size := g.mem.Allocate((g.rows+1)*arrow.Int32SizeBytes), 0
		for _, p := range g.pieces {
			from, to := offsetsOf(p, i)
			size += int(to - from)
		}
		values := g.mem.Allocate(size)
		row, at := 0, int32(0)
		for _, p := range g.pieces {
			from, to := offsetsOf(p, i)
			source := p.record.Column(i).Data().Buffers()
			old := arrow.Int32Traits.CastFromBytes(source[1].Bytes())
			for _, end := range old[p.from:p.to] {
				binary.LittleEndian.PutUint32(offsets[row*arrow.Int32SizeBytes:], uint32(end-from+at))
				row++
			}
			if to > from {
				copy(values[at:], source[2].Bytes()[from:to])
			}
			at += to - from
		}
		binary.LittleEndian.PutUint32(offsets[row*arrow.Int32SizeBytes:], uint32(at))
		buffers = append(buffers, memory.NewBufferWithAllocator(offsets, g.mem), memory.NewBufferWithAllocator(values, g.mem))
	}
	data := array.NewData(typ, g.rows, buffers, nil, nulls, 0)
	defer data.Release()
	for _, b := range buffers {
		if b != nil {
			b.Release()
		}
	}
	return array.MakeFromData(data)
}

// offsetsOf are the first and the last offset of a piece's values.
func offsetsOf(p piece, i int) (from, to int32) {
	offsets := arrow.Int32Traits.CastFromBytes(p.record.Column(i).Data().Buffers()[1].Bytes())
	return offsets[p.from], offsets[p.to]
}

// validity copies the bits of one column, nil where there is no NULL.
func (g *regroup) validity(i int) (valid *memory.Buffer, nulls int) {
	for _, p := range g.pieces {
		if bits := p.record.Column(i).NullBitmapBytes(); len(bits) > 0 {
			nulls += p.to - p.from - bitutil.CountSetBits(bits, p.from, p.to-p.from)
		}
	}
	if nulls == 0 {
		return nil, 0
	}
	bits := g.mem.Allocate((g.rows + 7) / 8)
	clear(bits)
	at := 0
	for _, p := range g.pieces {
		if old := p.record.Column(i).NullBitmapBytes(); len(old) > 0 {
			bitutil.CopyBitmap(old, p.from, p.to-p.from, bits, at)
		} else {
			bitutil.SetBitsTo(bits, int64(at), int64(p.to-p.from), true)
		}
		at += p.to - p.from
	}
	return memory.NewBufferWithAllocator(bits, g.mem), nulls
}
