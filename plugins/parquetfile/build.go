package parquetfile

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/parquet-go/parquet-go/format"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// fit returns how many of the next n rows, at least one, take no more than limit bytes, and
// lie in the open page.
func (c *column) fit(n, limit int) (int, error) {
	if c.page.rows == 0 {
		if err := c.nextPage(); err != nil {
			return 0, err
		}
	}
	p := &c.page
	n = min(n, p.rows)
	size, next := 0, p.next
	for i := range n {
		if !p.present(i) {
			continue
		}
		if size += len(c.value(next)); size > limit && i > 0 {
			return i, nil
		}
		next++
	}
	return n, nil
}

// present reports whether the i-th of the next rows is not null.
func (p *page) present(i int) bool {
	bit := p.at + i
	return p.valid == nil || p.valid[bit>>3]>>(bit&7)&1 == 1
}

// value returns a value of the open page. Booleans are read as bits instead.
func (c *column) value(i int) []byte {
	p := &c.page
	if p.indexes != nil {
		i = int(uint32(p.indexes[i]))
	}
	v := &p.values
	if v.ends != nil {
		return v.data[int(v.ends[i])+v.gap : v.ends[i+1]]
	}
	return v.data[i*c.width : (i+1)*c.width]
}

// build collects the values of one array.
type build struct {
	n, nulls int
	valid    *memory.Buffer
	fixed    *memory.Buffer // values or offsets
	data     []byte         // of byte arrays
}

// read returns the next n rows as an array.
func (c *column) read(n int) (arrow.Array, error) {
	mem := c.source.memory
	b := &build{}
	release := func(buffer *memory.Buffer) {
		if buffer != nil {
			buffer.Release()
		}
	}
	defer func() {
		release(b.valid)
		release(b.fixed)
	}()
	size := 0
	switch c.kind {
	case kindNull:
	case kindBool:
		size = int(bitutil.BytesForBits(int64(n)))
	case kindBytes:
		size = 4 * (n + 1)
	default:
		size = c.out * n
	}
	b.fixed = memory.NewResizableBuffer(mem)
	b.fixed.Resize(size)
	clear(b.fixed.Bytes())
	if c.optional && c.kind != kindNull {
		b.valid = memory.NewResizableBuffer(mem)
		b.valid.Resize(int(bitutil.BytesForBits(int64(n))))
		clear(b.valid.Bytes())
	}
	for b.n < n {
		if c.page.rows == 0 {
			if err := c.nextPage(); err != nil {
				return nil, err
			}
		}
		if err := c.take(b, min(n-b.n, c.page.rows)); err != nil {
			return nil, err
		}
	}
	if c.kind == kindNull {
		return array.NewNull(n), nil
	}
	var valid *memory.Buffer
	if b.nulls > 0 {
		valid = b.valid
	}
	buffers := []*memory.Buffer{valid, b.fixed}
	if c.kind == kindBytes {
		data := memory.NewResizableBuffer(mem)
		defer data.Release()
		data.Resize(len(b.data))
		copy(data.Bytes(), b.data)
		buffers = append(buffers, data)
	}
	d := array.NewData(c.typ, n, buffers, nil, b.nulls, 0)
	defer d.Release()
	return array.MakeFromData(d), nil
}

// take moves n rows from the open page, which has them.
func (c *column) take(b *build, n int) error {
	p := &c.page
	present := n
	if p.valid != nil {
		present = bitutil.CountSetBits(p.valid, p.at, n)
	}
	if b.valid != nil {
		if p.valid != nil {
			bitutil.CopyBitmap(p.valid, p.at, n, b.valid.Bytes(), b.n)
		} else {
			bitutil.SetBitsTo(b.valid.Bytes(), int64(b.n), int64(n), true)
		}
	}
	var err error
	switch c.kind {
	case kindNull:
	case kindBool:
		c.takeBits(b, n)
	case kindBytes:
		err = c.takeBytes(b, n)
	default:
		err = c.takeFixed(b, n, present)
	}
	if err != nil {
		return err
	}
	b.n += n
	b.nulls += n - present
	c.row += int64(n)
	p.at += n
	if p.rows -= n; p.rows == 0 {
		p.valid, p.values, p.indexes = nil, values{}, nil
	}
	return nil
}

func (c *column) takeBits(b *build, n int) {
	p := &c.page
	to := b.fixed.Bytes()
	for i := range n {
		if p.present(i) {
			bitutil.SetBitTo(to, b.n+i, p.values.data[p.next>>3]>>(p.next&7)&1 == 1)
			p.next++
		}
	}
}

func (c *column) takeBytes(b *build, n int) error {
	p := &c.page
	offsets := arrow.Int32Traits.CastFromBytes(b.fixed.Bytes())
	for i := range n {
		if p.present(i) {
			value := c.value(p.next)
			p.next++
			if len(b.data)+len(value) > math.MaxInt32 {
				return corrupt("the values of a batch have more than 2 GiB")
			}
			b.data = append(b.data, value...)
		}
		offsets[b.n+i+1] = int32(len(b.data))
	}
	return nil
}

// takeFixed leaves zeros, which b has, where a row is null.
func (c *column) takeFixed(b *build, n, present int) error {
	p := &c.page
	out := b.fixed.Bytes()[b.n*c.out : (b.n+n)*c.out]
	if c.kind == kindCopy && present == n && p.indexes == nil && p.values.ends == nil {
		copy(out, p.values.data[p.next*c.width:])
		p.next += n
		return nil
	}
	for i := range n {
		if !p.present(i) {
			continue
		}
		if !c.convert(out[i*c.out:(i+1)*c.out], c.value(p.next)) {
			return fault.New(codeCorrupt, fault.Source, "a value does not fit %s, in row %d", c.typ,
				c.source.before+c.row+int64(i)+1)
		}
		p.next++
	}
	return nil
}

// convert turns a PLAIN value into Arrow's, if the type holds it.
func (c *column) convert(dst, v []byte) bool {
	switch c.kind {
	case kindCopy:
		copy(dst, v)
	case kindInt8, kindInt16, kindUint8, kindUint16:
		n := int32(binary.LittleEndian.Uint32(v))
		switch {
		case c.kind == kindInt8 && n == int32(int8(n)), c.kind == kindUint8 && n == int32(uint8(n)):
			dst[0] = byte(n)
		case c.kind == kindInt16 && n == int32(int16(n)), c.kind == kindUint16 && n == int32(uint16(n)):
			binary.LittleEndian.PutUint16(dst, uint16(n))
		default:
			return false
		}
	case kindDecimal128, kindDecimal256:
		words, ok := c.decimalWords(v)
		if !ok || !fitsPrecision(words, c.precision) {
			return false
		}
		for i := range c.out / 8 {
			binary.LittleEndian.PutUint64(dst[8*i:], words[i])
		}
	}
	return true
}

// decimalWords returns a decimal as a two's complement of 256 bits, the lowest word first.
func (c *column) decimalWords(v []byte) (words [4]uint64, ok bool) {
	switch c.physical {
	case format.Int32:
		return signed(int64(int32(binary.LittleEndian.Uint32(v)))), true
	case format.Int64:
		return signed(int64(binary.LittleEndian.Uint64(v))), true
	}
	if len(v) == 0 {
		return words, false
	}
	fill := byte(int8(v[0]) >> 7)
	for len(v) > 32 {
		if v[0] != fill || v[1]>>7 != fill&1 {
			return words, false
		}
		v = v[1:]
	}
	var b [32]byte
	for i := range b[:32-len(v)] {
		b[i] = fill
	}
	copy(b[32-len(v):], v)
	for i := range words {
		words[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	return words, true
}

func signed(v int64) [4]uint64 {
	s := uint64(v >> 63)
	return [4]uint64{uint64(v), s, s, s}
}

// fitsPrecision reports whether a decimal has at most that many digits.
func fitsPrecision(w [4]uint64, precision int32) bool {
	if s := uint64(int64(w[1]) >> 63); precision <= 38 && w[2] == s && w[3] == s {
		limit := decimal128.GetScaleMultiplier(int(precision))
		v := decimal128.New(int64(w[1]), w[0])
		return v.Less(limit) && limit.Negate().Less(v)
	} else if precision <= 38 {
		return false
	}
	limit := decimal256.GetScaleMultiplier(int(precision))
	v := decimal256.New(w[3], w[2], w[1], w[0])
	return v.Less(limit) && limit.Negate().Less(v)
}
