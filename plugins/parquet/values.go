package parquet

import (
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// putFunc takes the values of a span that are not null into the open page.
type putFunc func(c *column, l *lane, s *span) error

func put32(c *column, l *lane, s *span) error {
	c.add32(words32(l, s))
	return nil
}

func put64(c *column, l *lane, s *span) error {
	c.add64(words64(l, s))
	return nil
}

// widen takes integers of less than 32 bits.
func widen[S int8 | int16 | uint8 | uint16](c *column, l *lane, s *span) error {
	l.i32 = compact(l.i32, values[S](s), s)
	c.add32(l.i32)
	return nil
}

// multiply64 and multiply32 take a time in another unit.
func multiply64(factor int64) putFunc {
	if factor == 1 {
		return put64
	}
	return func(c *column, l *lane, s *span) error {
		l.i64 = compact(l.i64, values[int64](s), s)
		for i, v := range l.i64 {
			if v > math.MaxInt64/factor || v < math.MinInt64/factor {
				return outOfRange(c.name, c.described, s.rowOf(i))
			}
			l.i64[i] = v * factor
		}
		c.add64(l.i64)
		return nil
	}
}

// timeOfDay takes durations as times of a day that has so many units.
func timeOfDay(factor, day int64) putFunc {
	return func(c *column, l *lane, s *span) error {
		l.i64 = compact(l.i64, values[int64](s), s)
		for i, v := range l.i64 {
			if v < 0 || v >= day/factor {
				return fault.New("encoder.out_of_range", fault.Data,
					"column %q holds a duration below 00:00:00 or of 24 hours and more, which is no time of day, in row %d",
					c.name, s.rowOf(i)+1).
					WithHint("write durations as integers (durations: %s), or correct the value at the source",
						durationsInteger)
			}
			l.i64[i] = v * factor
		}
		c.add64(l.i64)
		return nil
	}
}

func multiply32(factor int32) putFunc {
	return func(c *column, l *lane, s *span) error {
		l.i32 = compact(l.i32, values[int32](s), s)
		for i, v := range l.i32 {
			if v > math.MaxInt32/factor || v < math.MinInt32/factor {
				return outOfRange(c.name, c.described, s.rowOf(i))
			}
			l.i32[i] = v * factor
		}
		c.add32(l.i32)
		return nil
	}
}

// putDate64 takes milliseconds that are whole days.
func putDate64(c *column, l *lane, s *span) error {
	const day = 86400 * 1000
	l.i64 = compact(l.i64, values[int64](s), s)
	l.i32 = l.i32[:0]
	for i, v := range l.i64 {
		if v%day != 0 || v/day > math.MaxInt32 || v/day < math.MinInt32 {
			return outOfRange(c.name, c.described, s.rowOf(i))
		}
		l.i32 = append(l.i32, int32(v/day))
	}
	c.add32(l.i32)
	return nil
}

func putBool(c *column, _ *lane, s *span) error {
	bits, p := s.data.Buffers()[1].Bytes(), &c.open
	for i := range s.n {
		if !s.valid(i) {
			continue
		}
		if p.bits&7 == 0 {
			p.plain = append(p.plain, 0)
		}
		bit := s.data.Offset() + s.lo + i
		v := bits[bit>>3] >> (bit & 7) & 1
		p.plain[p.bits>>3] |= v << (p.bits & 7)
		p.bits++
		p.bounds.addRange(int64(v), int64(v))
	}
	return nil
}

// putShortDecimal takes decimals of up to 18 digits, of either width in Arrow.
func putShortDecimal[D decimal128.Num | decimal256.Num](precision int32) putFunc {
	limit := decimal128.GetScaleMultiplier(int(precision)).LowBits()
	return func(c *column, l *lane, s *span) error {
		l.i64 = l.i64[:0]
		for i, v := range values[D](s) {
			if !s.valid(i) {
				continue
			}
			n, ok := int64Of(v)
			if !ok || n >= int64(limit) || n <= -int64(limit) {
				return outOfRange(c.name, c.described, s.row+int64(i))
			}
			l.i64 = append(l.i64, n)
		}
		if c.width == 8 {
			c.add64(l.i64)
			return nil
		}
		l.i32 = l.i32[:0]
		for _, v := range l.i64 {
			l.i32 = append(l.i32, int32(v))
		}
		c.add32(l.i32)
		return nil
	}
}

// int64Of returns the value if 64 bits hold it.
func int64Of[D decimal128.Num | decimal256.Num](v D) (int64, bool) {
	switch v := any(v).(type) {
	case decimal128.Num:
		n := int64(v.LowBits())
		return n, v.HighBits() == n>>63
	case decimal256.Num:
		w := v.Array()
		n := int64(w[0])
		sign := uint64(n >> 63)
		return n, w[1] == sign && w[2] == sign && w[3] == sign
	}
	return 0, false
}

func putDecimal128(precision int32) putFunc {
	limit := decimal128.GetScaleMultiplier(int(precision))
	low := limit.Negate()
	return func(c *column, l *lane, s *span) error {
		var b [16]byte
		for i, v := range values[decimal128.Num](s) {
			if !s.valid(i) {
				continue
			}
			if !v.Less(limit) || !low.Less(v) {
				return outOfRange(c.name, c.described, s.row+int64(i))
			}
			binary.BigEndian.PutUint64(b[:], uint64(v.HighBits()))
			binary.BigEndian.PutUint64(b[8:], v.LowBits())
			c.addFixed(b[16-c.width:])
		}
		return nil
	}
}

func putDecimal256(precision int32) putFunc {
	limit := decimal256.GetScaleMultiplier(int(precision))
	low := limit.Negate()
	return func(c *column, l *lane, s *span) error {
		var b [32]byte
		for i, v := range values[decimal256.Num](s) {
			if !s.valid(i) {
				continue
			}
			if !v.Less(limit) || !low.Less(v) {
				return outOfRange(c.name, c.described, s.row+int64(i))
			}
			for j, w := range v.Array() {
				binary.BigEndian.PutUint64(b[24-8*j:], w)
			}
			c.addFixed(b[32-c.width:])
		}
		return nil
	}
}

// addFixed takes a value of a FIXED_LEN_BYTE_ARRAY column.
func (c *column) addFixed(v []byte) {
	p := &c.open
	if c.looksUp() {
		p.size += len(v)
		p.indexes = append(p.indexes, c.dictionary.bytes(v))
		return
	}
	p.plain = append(p.plain, v...)
	p.bounds.addBytes(v, false)
}

func putFixedBinary(c *column, _ *lane, s *span) error {
	data := s.data.Buffers()[1].Bytes()
	for i := range s.n {
		if s.valid(i) {
			from := (s.data.Offset() + s.lo + i) * c.width
			c.addFixed(data[from : from+c.width])
		}
	}
	return nil
}

// offsets returns the n+1 offsets of a span of texts or byte arrays.
func offsets[O int32 | int64](s *span) []O {
	return arrow.GetOffsets[O](s.data, 1)[s.lo : s.lo+s.n+1]
}

// sizeOf returns the bytes of a span of texts or byte arrays.
func sizeOf[O int32 | int64](s *span) int {
	o := offsets[O](s)
	return int(o[len(o)-1]) - int(o[0])
}

// maxShared is the mean length from which byte arrays are not looked up in a
// dictionary.
const maxShared = 1024

// putVariable takes texts and byte arrays.
func putVariable[O int32 | int64](c *column, l *lane, s *span) error {
	ends := offsets[O](s)
	var data []byte
	if b := s.data.Buffers()[2]; b != nil {
		data = b.Bytes()
	}
	size := int(ends[s.n]) - int(ends[0])
	if size > maxShared*s.n && c.looksUp() {
		if err := c.toValues(l); err != nil {
			return err
		}
	}
	check := c.text && !ascii(data[ends[0]:ends[s.n]])
	p := &c.open
	if !c.looksUp() {
		p.plain = slices.Grow(p.plain, size+4*s.n)
	}
	for i := range s.n {
		if !s.valid(i) {
			continue
		}
		value := data[ends[i]:ends[i+1]]
		if check && !utf8.Valid(value) {
			if !c.replace {
				return format.InvalidUTF8(c.name, s.row+int64(i))
			}
			c.count(format.CounterInvalidUTF8, 1)
			l.bytes = format.AppendValid(l.bytes[:0], value)
			value = l.bytes
		}
		if len(value) > math.MaxInt32 {
			return tooLarge(c.name, len(value))
		}
		if c.looksUp() {
			p.size += 4 + len(value)
			p.indexes = append(p.indexes, c.dictionary.bytes(value))
			continue
		}
		p.plain = binary.LittleEndian.AppendUint32(p.plain, uint32(len(value)))
		p.plain = append(p.plain, value...)
		p.bounds.addBytes(value, false)
	}
	return nil
}

// ascii reports whether all of text is ASCII.
func ascii(text []byte) bool {
	const high = 0x8080808080808080
	for ; len(text) >= 32; text = text[32:] {
		w := binary.LittleEndian.Uint64(text) | binary.LittleEndian.Uint64(text[8:]) |
			binary.LittleEndian.Uint64(text[16:]) | binary.LittleEndian.Uint64(text[24:])
		if w&high != 0 {
			return false
		}
	}
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unsupported is the fault for a type that Parquet has no place for.
func unsupported(f arrow.Field, why string) *fault.Fault {
	return fault.New("encoder.unsupported_type", fault.Data, "column %q has the type %s: %s", f.Name, sdk.TypeName(f),
		why)
}
