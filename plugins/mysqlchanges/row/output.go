package row

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// output is a column of the record that is being filled.
type output struct {
	field   arrow.Field
	column  *Column
	notNull bool
	decode  func(d *Decoder, in *input, out *output, v []byte) error

	width   int    // bytes of a value; 0 for variable length
	fixed   []byte // the values, little-endian
	offsets []int32
	values  []byte
	valid   []byte // a bit for each row; not kept before the first NULL
	rows    int
	nulls   int

	perSecond int64 // ticks of the column's unit
	microTick int   // microseconds of a tick
	fraction  int
	pad       int // BINARY is padded to so many bytes
	charset   *charset
	catalogue [][]byte // the labels of ENUM and SET by the catalogue
	labels    [][]byte // and those that hold
}

// null makes the value of the current row NULL, under which zeros lie.
func (o *output) null() {
	if o.valid == nil {
		o.valid = make([]byte, 0, o.rows/8+64)
	}
	for len(o.valid) <= o.rows>>3 { // up to here all were valid
		o.valid = append(o.valid, 0xff)
	}
	o.valid[o.rows>>3] &^= 1 << (o.rows & 7)
	o.nulls++
	for range o.width {
		o.fixed = append(o.fixed, 0)
	}
	if o.width == 0 {
		o.end()
	}
}

// end ends a value of variable length.
func (o *output) end() { o.offsets = append(o.offsets, int32(len(o.values))) }

// cut takes back what was appended behind so many rows.
func (o *output) cut(rows int) {
	if o.rows > rows {
		if o.valid != nil && rows>>3 < len(o.valid) && bit(o.valid, rows) == 0 {
			o.valid[rows>>3] |= 1 << (rows & 7)
			o.nulls--
		}
		o.rows = rows
	}
	if o.width > 0 {
		o.fixed = o.fixed[:rows*o.width]
	} else {
		o.offsets = o.offsets[:rows+1]
		o.values = o.values[:o.offsets[rows]]
	}
}

// begin makes room for as many rows as the last record had.
func (o *output) begin(rows, bytes int) {
	o.rows, o.nulls, o.valid = 0, 0, nil
	if o.width > 0 {
		o.fixed = make([]byte, 0, rows*o.width)
	} else {
		o.offsets = make([]int32, 1, rows+1)
		o.values = make([]byte, 0, bytes)
	}
}

// array hands the rows over.
func (o *output) array(rows int) arrow.Array {
	buffers := make([]*memory.Buffer, 1, 3)
	if o.nulls > 0 {
		for len(o.valid) < (rows+7)/8 {
			o.valid = append(o.valid, 0xff)
		}
		if tail := rows & 7; tail != 0 {
			o.valid[rows>>3] &= 1<<tail - 1
		}
		buffers[0] = memory.NewBufferBytes(o.valid)
	}
	if o.width > 0 {
		buffers = append(buffers, memory.NewBufferBytes(o.fixed))
	} else {
		buffers = append(buffers, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(o.offsets)), memory.NewBufferBytes(o.values))
	}
	data := array.NewData(o.field.Type, rows, buffers, nil, o.nulls, 0)
	defer data.Release()
	made := array.MakeFromData(data)
	o.begin(rows, min(len(o.values), 1<<20))
	return made
}
