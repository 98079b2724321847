package mysql

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// noDate is a date key that no packet can hold together with a valid date.
const noDate = math.MaxUint32

// column is the column of a batch that is being filled. What every row touches
// comes first.
type column struct {
	kind    kind
	notNull bool
	data    []byte  // fixed-width values, little-endian
	valid   []byte  // validity bitmap, all ones at the start
	offsets []int32 // ends of variable-length values; offsets[0] is 0
	values  []byte  // variable-length values; all of it is usable
	used    int     // bytes of values in use
	nulls   int

	// Of a TIMESTAMP that comes as local time: its zone, nil for UTC, and the local times of which
	// the last one's offset holds.
	zone                           *zone.Zone
	clocksFrom, clocksUntil, ahead int64

	lastDate uint32 // key of the date that lastDays is of
	lastDays int64

	perSecond int64  // ticks of the column's unit
	microTick uint32 // microseconds of a tick
	fraction  int
	precision int
	scale     int

	width       int // bytes of a fixed-width value; 0 for variable length
	offsetBytes []byte
	name        string
	typ         arrow.DataType
}

// batch fills one record batch after the other with the rows of a result set.
type batch struct {
	mem     memory.Allocator
	schema  *arrow.Schema
	columns []column
	zero    zeroPolicy

	rows     int // in the batch
	maxRows  int
	varBytes int // bytes of variable-length values in the batch
	maxBytes int
	open     bool

	rowWidth  int
	delivered int64  // rows in earlier batches
	part      string // of the result that the rows are of; empty for all of it
	zeroDates int64  // zero dates since zeroDates was last taken
	scratch   []byte
}

// newBatch prepares a batch of at most maxRows rows; it is full, too, when the
// row that takes it over maxBytes is in.
func newBatch(mem memory.Allocator, schema *arrow.Schema, mappings []columnMapping, zero zeroPolicy, maxRows,
	maxBytes int) *batch {
	b := &batch{mem: mem, schema: schema, zero: zero, columns: make([]column, len(mappings)), maxBytes: maxBytes}
	for i := range mappings {
		p := &mappings[i]
		c := &b.columns[i]
		*c = column{
			kind: p.kind, notNull: !p.field.Nullable, lastDate: noDate,
			fraction: p.fraction, precision: p.precision, scale: p.scale,
			name: p.field.Name, typ: p.field.Type, zone: p.zone,
		}
		switch p.unit {
		case arrow.Second:
			c.perSecond, c.microTick = 1, 1e6
		case arrow.Millisecond:
			c.perSecond, c.microTick = 1e3, 1e3
		default:
			c.perSecond, c.microTick = 1e6, 1
		}
		if t, ok := p.field.Type.(arrow.FixedWidthDataType); ok {
			c.width = t.Bytes()
			b.rowWidth += c.width
		} else if p.kind != kindNull {
			b.rowWidth += arrow.Int32SizeBytes
		}
	}
	b.maxRows = min(maxRows, max(1, maxBytes/max(1, b.rowWidth)))
	return b
}

// begin takes memory for the next rows.
func (b *batch) begin() {
	for i := range b.columns {
		c := &b.columns[i]
		c.nulls = 0
		if c.kind == kindNull {
			continue
		}
		c.valid = b.mem.Allocate((b.maxRows + 7) / 8)
		for j := range c.valid {
			c.valid[j] = 0xff
		}
		if c.width > 0 {
			c.data = b.mem.Allocate(b.maxRows * c.width)
			continue
		}
		c.offsetBytes = b.mem.Allocate((b.maxRows + 1) * arrow.Int32SizeBytes)
		c.offsets = arrow.Int32Traits.CastFromBytes(c.offsetBytes)
		c.offsets[0] = 0
		// The last batch's size is the best guess for this one's.
		c.values = usable(b.mem.Allocate(bufferSize(min(max(1, c.used), largestPooled))))
		c.used = 0
	}
	b.rows, b.varBytes, b.open = 0, 0, true
}

func usable(b []byte) []byte { return b[:cap(b)] }

// full reports whether the batch should be handed on.
func (b *batch) full() bool {
	return b.rows == b.maxRows || b.rows*b.rowWidth+b.varBytes >= b.maxBytes
}

// setNull makes the value of the current row NULL.
func (b *batch) setNull(i int) error {
	c := &b.columns[i]
	if c.notNull {
		return fault.New(codeValue, fault.Data,
			"column %q, %s: NULL, though the server declares the column NOT NULL", c.name, b.place()).
			WithHint("make the expression nullable for the server, for instance NULLIF(column, NULL)")
	}
	if c.kind == kindNull {
		return nil
	}
	c.nulls++
	row := b.rows
	c.valid[row>>3] &^= 1 << (row & 7)
	// The memory may hold old values, which nobody should find under a NULL.
	switch c.width {
	case 0:
		c.offsets[row+1] = int32(c.used)
	case 1:
		c.data[row] = 0
	case 4:
		binary.LittleEndian.PutUint32(c.data[row*4:], 0)
	case 8:
		binary.LittleEndian.PutUint64(c.data[row*8:], 0)
	default:
		clear(c.data[row*c.width : (row+1)*c.width])
	}
	return nil
}

// appendBytes makes v the value of the current row of a variable-length column.
func (b *batch) appendBytes(c *column, v []byte) {
	if len(c.values)-c.used < len(v) {
		c.values = usable(b.mem.Reallocate(bufferSize(max(2*len(c.values), c.used+len(v))), c.values))
	}
	copy(c.values[c.used:], v)
	c.used += len(v)
	b.varBytes += len(v)
	c.offsets[b.rows+1] = int32(c.used)
}

// put64 makes v the value of the current row of an 8-byte column.
func (b *batch) put64(c *column, v int64) {
	binary.LittleEndian.PutUint64(c.data[b.rows*8:], uint64(v))
}

// place says which row of the result set the current one is, from 1.
func (b *batch) place() string {
	row := "row " + strconv.FormatInt(b.delivered+int64(b.rows)+1, 10)
	if b.part != "" {
		row += " of " + b.part
	}
	return row
}

// malformed reports that column i of the current row cannot be read.
func (b *batch) malformed(i int) error {
	c := &b.columns[i]
	return protocolFault("column %q, %s: not a value of type %s", c.name, b.place(), c.typ)
}

// outOfRange reports that a value does not fit the column's type.
func (b *batch) outOfRange(i int, what string) error {
	c := &b.columns[i]
	return fault.New(codeValue, fault.Data, "column %q, %s: %s does not fit the declared type, which became %s",
		c.name, b.place(), what, c.typ).
		WithHint("CAST the column in the query to a type that holds all its values")
}

// record hands over the rows so far; the caller releases it. It must not be
// called without rows.
func (b *batch) record() arrow.Record {
	arrays := make([]arrow.Array, len(b.columns))
	for i := range b.columns {
		arrays[i] = b.columns[i].array(b.mem, b.rows)
	}
	record := array.NewRecord(b.schema, arrays, int64(b.rows))
	for _, a := range arrays {
		a.Release()
	}
	b.delivered += int64(b.rows)
	b.rows, b.open = 0, false
	return record
}

// array hands the column's buffers over to an array.
func (c *column) array(mem memory.Allocator, rows int) arrow.Array {
	if c.kind == kindNull {
		return array.NewNull(rows)
	}
	buffers := make([]*memory.Buffer, 0, 3)
	if c.nulls == 0 {
		mem.Free(c.valid)
		buffers = append(buffers, nil)
	} else {
		valid := c.valid[:(rows+7)/8]
		if tail := rows & 7; tail != 0 {
			valid[len(valid)-1] &= 1<<tail - 1
		}
		buffers = append(buffers, memory.NewBufferWithAllocator(valid, mem))
	}
	if c.width > 0 {
		buffers = append(buffers, memory.NewBufferWithAllocator(c.data[:rows*c.width], mem))
	} else {
		buffers = append(buffers,
			memory.NewBufferWithAllocator(c.offsetBytes[:(rows+1)*arrow.Int32SizeBytes], mem),
			memory.NewBufferWithAllocator(c.values[:c.used], mem))
	}
	data := array.NewData(c.typ, rows, buffers, nil, c.nulls, 0)
	defer data.Release()
	for _, buffer := range buffers {
		if buffer != nil {
			buffer.Release()
		}
	}
	c.valid, c.data, c.offsets, c.offsetBytes, c.values = nil, nil, nil, nil, nil
	return array.MakeFromData(data)
}

// release gives the memory of unfinished rows back.
func (b *batch) release() {
	if !b.open {
		return
	}
	b.open = false
	for i := range b.columns {
		c := &b.columns[i]
		for _, buffer := range [][]byte{c.valid, c.data, c.offsetBytes, c.values} {
			if buffer != nil {
				b.mem.Free(buffer)
			}
		}
		c.valid, c.data, c.offsets, c.offsetBytes, c.values = nil, nil, nil, nil, nil
	}
}
