package parquet

import (
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/bitutil"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// span is n rows of a batch's column.
type span struct {
	data  arrow.ArrayData
	lo, n int
	// row is the index of the first row in the stream.
	row   int64
	nulls int
	// bitmap marks the rows that are not null, its bit at being the first row; it is
	// nil if nulls is 0 or n.
	bitmap []byte
	at     int
}

// values returns the values of the span, with something in place of nulls.
func values[T arrow.FixedWidthType](s *span) []T {
	return arrow.GetValues[T](s.data, 1)[s.lo : s.lo+s.n]
}

// valid reports whether the i-th row of the span is not null.
func (s *span) valid(i int) bool {
	bit := s.at + i
	return s.bitmap == nil || s.bitmap[bit>>3]>>(bit&7)&1 == 1
}

// rowOf returns the index in the stream of the k-th value that is not null.
func (s *span) rowOf(k int) int64 {
	for i := range s.n {
		if !s.valid(i) {
			continue
		}
		if k == 0 {
			return s.row + int64(i)
		}
		k--
	}
	return s.row
}

// append takes the rows of a batch. The first one has the index first in the stream.
func (c *column) append(l *lane, a arrow.Array, first int64) error {
	data := a.Data()
	var bitmap []byte
	if a.NullN() > 0 && c.kind != kindNull {
		bitmap = a.NullBitmapBytes()
	}
	for lo := 0; lo < a.Len(); {
		s := span{data: data, lo: lo, n: min(a.Len()-lo, maxPageRows-c.open.rows), row: first + int64(lo),
			at: data.Offset() + lo}
		// Long byte arrays come in pieces of about a page.
		for c.size != nil && s.n > 1 && c.size(&s) > c.pageBytes {
			s.n /= 2
		}
		switch {
		case c.kind == kindNull:
			s.nulls = s.n
		case bitmap != nil:
			s.nulls = s.n - bitutil.CountSetBits(bitmap, s.at, s.n)
		}
		if s.nulls > 0 {
			s.bitmap = bitmap
		}
		if s.nulls > 0 && !c.optional {
			return nullInRequired(c.name, &s)
		}
		c.open.note(s.n, s.nulls, s.bitmap, s.at)
		if s.nulls < s.n {
			if err := c.put(c, l, &s); err != nil {
				return err
			}
			if err := c.judge(l); err != nil {
				return err
			}
		}
		if c.pageFull() {
			if err := c.endPage(l); err != nil {
				return err
			}
		}
		lo += s.n
	}
	return nil
}

// pageFull reports whether the open page should end.
func (c *column) pageFull() bool {
	p := &c.open
	switch {
	case p.rows >= maxPageRows:
		return true
	case c.use == useDictionary:
		return 2*len(p.indexes) >= c.pageBytes
	}
	return p.plainSize() >= c.pageBytes
}

// compact returns the values of src that are not null, in dst's memory if it is large
// enough.
func compact[D, S integerLike](dst []D, src []S, s *span) []D {
	dst = slices.Grow(dst[:0], len(src))[:len(src)]
	if s.bitmap == nil {
		for i, v := range src {
			dst[i] = D(v)
		}
		return dst
	}
	n := 0
	for i, v := range src {
		dst[n] = D(v)
		bit := s.at + i
		n += int(s.bitmap[bit>>3] >> (bit & 7) & 1)
	}
	return dst[:n]
}

type integerLike interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// words32 and words64 return the values of a span whose width is that of the page,
// without a copy where nothing is null.
func words32(l *lane, s *span) []int32 {
	v := values[int32](s)
	if s.bitmap != nil {
		l.i32 = compact(l.i32, v, s)
		v = l.i32
	}
	return v
}

func words64(l *lane, s *span) []int64 {
	v := values[int64](s)
	if s.bitmap != nil {
		l.i64 = compact(l.i64, v, s)
		v = l.i64
	}
	return v
}

// add32 and add64 take values of INT32, FLOAT, INT64 and DOUBLE columns.
func (c *column) add32(v []int32) {
	p := &c.open
	if !c.looksUp() {
		p.plain = append(p.plain, arrow.GetBytes(v)...)
		c.bound32(v)
		return
	}
	p.size += 4 * len(v)
	for _, x := range v {
		p.indexes = append(p.indexes, c.dictionary.word32(uint32(x)))
	}
}

func (c *column) add64(v []int64) {
	p := &c.open
	if !c.looksUp() {
		p.plain = append(p.plain, arrow.GetBytes(v)...)
		c.bound64(v)
		return
	}
	p.size += 8 * len(v)
	for _, x := range v {
		p.indexes = append(p.indexes, c.dictionary.word64(uint64(x)))
	}
}

func (c *column) bound32(v []int32) {
	if c.order == orderFloat {
		for _, f := range arrow.GetData[float32](arrow.GetBytes(v)) {
			c.open.bounds.addFloat(float64(f))
		}
		return
	}
	addIntegers(&c.open.bounds, v)
}

func (c *column) bound64(v []int64) {
	if c.order == orderFloat {
		for _, f := range arrow.GetData[float64](arrow.GetBytes(v)) {
			c.open.bounds.addFloat(f)
		}
		return
	}
	addIntegers(&c.open.bounds, v)
}

func nullInRequired(name string, s *span) error {
	row := s.row
	for i := range s.n {
		if !s.valid(i) {
			row += int64(i)
			break
		}
	}
	return fault.New("encoder.null_in_required", fault.Data,
		"column %q is declared NOT NULL and holds NULL, in row %d", name, row+1).
		WithHint("declare the column as nullable at the source")
}

func outOfRange(name, as string, row int64) error {
	return fault.New("encoder.out_of_range", fault.Data,
		"column %q holds a value that does not fit %s, in row %d", name, as, row+1).
		WithHint("correct the value at the source, or convert the column in the query")
}

func tooLarge(name string, size int) error {
	return fault.New("encoder.too_large", fault.Data,
		"column %q holds values that make a page of %d bytes; a Parquet page has at most 2 GiB", name, size).
		WithHint("leave the column out with the columns filter")
}
