package parquetfile

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// The encodings: https://parquet.apache.org/docs/file-format/data-pages/encodings/.
// What is packed into bits is unpacked by parquet-go. Its decoders make up what a page lacks, from
// the memory behind it or as zeros, and hold as much as a run announces: so every page is measured here
// first, and a decoder gets one that holds the values that it announces. Two of them are not used, because
// they read what others write wrongly: that of booleans in runs (a run ends within a byte) and
// that of differences of INT32 (DuckDB writes such of 33 bits).

// decode decodes n values of a page.
func (c *column) decode(data []byte, encoding format.Encoding, n int) (values, error) {
	ints := c.physical == format.Int32 || c.physical == format.Int64
	bytes := c.physical == format.ByteArray || c.physical == format.FixedLenByteArray
	switch {
	case encoding == format.Plain:
		return c.plain(data, n)
	case encoding == format.RLE && c.physical == format.Boolean:
		return decodeBooleans(data, n)
	case encoding == format.DeltaBinaryPacked && ints:
		return c.decodeDeltaIntegers(data, n)
	case encoding == format.DeltaLengthByteArray && c.physical == format.ByteArray:
		return c.decodeDeltaLengths(data, n)
	case encoding == format.DeltaByteArray && bytes:
		return c.decodeDeltaStrings(data, n)
	case encoding == format.ByteStreamSplit && c.width > 0:
		return decodeSplit(data, n, c.width)
	}
	return values{}, unsupported("%s values have the encoding %s", c.physical, encoding)
}

// plain measures PLAIN values, which are read where they lie.
func (c *column) plain(data []byte, n int) (values, error) {
	v := values{data: data, n: n}
	need := n * c.width
	switch c.physical {
	case format.Boolean:
		need = (n + 7) / 8
	case format.ByteArray:
		v.gap, v.ends = 4, make([]int32, 1, n+1)
		for end := 0; n > 0; n-- {
			if len(data)-end < v.gap || uint64(binary.LittleEndian.Uint32(data[end:])) > uint64(len(data)-end-v.gap) {
				return values{}, corrupt("a page ends in the middle of a value")
			}
			end += v.gap + int(binary.LittleEndian.Uint32(data[end:]))
			v.ends = append(v.ends, int32(end))
		}
	}
	if len(data) < need {
		return values{}, corrupt("a page announces %d values and has %d bytes for them", n, len(data))
	}
	return v, nil
}

// runs returns what n values of the RLE/bit-packing hybrid take of b. The last run may hold more
// than these.
func runs(b []byte, width, n int) ([]byte, error) {
	at := 0
	for left := n; left > 0; {
		head, size := binary.Uvarint(b[at:])
		if size <= 0 || head>>1 == 0 || head>>1 > 1<<31 {
			return nil, corrupt("a run of values has no valid length")
		}
		at += size
		count, need := int(head>>1), (width+7)/8
		if head&1 == 1 {
			count, need = count*8, count*width
			// Some writers fill the last run up, and some leave out its end.
			if missing := at + need - len(b); missing > 0 && missing < width {
				b = append(b[:len(b):len(b)], make([]byte, missing, missing+slack)...)
			}
		}
		if count > left+maxFill || need > len(b)-at {
			return nil, corrupt("a run of %d values is longer than its page, where %d are left", count, left)
		}
		at += need
		left -= count
	}
	return b[:at], nil
}

// maxFill bounds the values of a last run that are not in the page.
const maxFill = 1 << 12

// decodeBits decodes n values of one bit, such as the definition levels of a flat column. The
// bitmap is nil if all are 1.
func decodeBits(b []byte, n int) (bitmap []byte, ones int, err error) {
	if b, err = runs(b, 1, n); err != nil {
		return nil, 0, err
	}
	levels, err := (&rle.Encoding{BitWidth: 1}).DecodeLevels(make([]byte, 0, n), b)
	if err != nil || len(levels) < n {
		return nil, 0, corrupt("the runs of a page do not hold its %d values: %w", n, err)
	}
	for _, level := range levels[:n] {
		if level > 1 {
			return nil, 0, corrupt("a definition level is %d; a flat column has none above 1", level)
		}
		ones += int(level)
	}
	if ones == n {
		return nil, n, nil
	}
	bitmap = make([]byte, (n+7)/8)
	for i, level := range levels[:n] {
		bitmap[i>>3] |= level << (i & 7)
	}
	return bitmap, ones, nil
}

// decodeIndexes decodes n indexes of a dictionary of that size.
func decodeIndexes(b []byte, n, size int) ([]int32, error) {
	if n == 0 {
		return []int32{}, nil
	}
	if len(b) == 0 {
		return nil, corrupt("a page has no indexes for its %d values", n)
	}
	width := int(b[0])
	if width > 32 {
		return nil, corrupt("indexes of %d bits are announced", width)
	}
	indexes := make([]int32, n)
	if width > 0 {
		b, err := runs(b[1:], width, n)
		if err != nil {
			return nil, err
		}
		indexes, err = (&rle.Encoding{BitWidth: width}).DecodeInt32(indexes[:0], b)
		if err != nil || len(indexes) < n {
			return nil, corrupt("the runs of a page do not hold its %d indexes: %w", n, err)
		}
	}
	for _, i := range indexes[:n] {
		if uint64(uint32(i)) >= uint64(size) {
			return nil, corrupt("an index is %d; the dictionary has %d values", uint32(i), size)
		}
	}
	return indexes[:n], nil
}

// decodeBooleans decodes n booleans of the RLE/bit-packing hybrid.
func decodeBooleans(b []byte, n int) (values, error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return values{}, corrupt("a page of booleans is shorter than it announces")
	}
	bitmap, _, err := decodeBits(b[4:], n)
	if bitmap == nil && err == nil {
		bitmap = make([]byte, (n+7)/8)
		for i := range bitmap {
			bitmap[i] = 0xff
		}
	}
	return values{data: bitmap, n: n}, err
}

// sequence returns what n integers of DELTA_BINARY_PACKED take of b, and what follows.
func sequence(b []byte, n int) (integers, rest []byte, err error) {
	at := 0
	number := func() uint64 {
		v, size := binary.Uvarint(b[at:])
		if size <= 0 {
			err = corrupt("a sequence of differences ends early")
			return 0
		}
		at += size
		return v
	}
	block, parts, total := number(), number(), number()
	number() // the first value
	switch {
	case err != nil:
		return nil, nil, err
	case block == 0 || block%128 != 0 || block > 1<<16 || parts == 0 || parts > block || block%parts != 0 || block/parts%32 != 0:
		return nil, nil, corrupt("a sequence of differences has blocks of %d values in %d parts", block, parts)
	case total != uint64(n):
		return nil, nil, corrupt("a sequence of differences announces %d values; the page has %d", total, n)
	}
	per := int(block / parts)
	for left := n - 1; left > 0; {
		number() // the least difference
		if err != nil || len(b)-at < int(parts) {
			return nil, nil, corrupt("a sequence of differences ends early")
		}
		bits := b[at : at+int(parts)]
		at += int(parts)
		for i := 0; i < len(bits) && left > 0; i++ {
			if bits[i] > 64 || int(bits[i])*per/8 > len(b)-at {
				return nil, nil, corrupt("a sequence of differences of %d bits ends early", bits[i])
			}
			at += int(bits[i]) * per / 8
			left -= per
		}
	}
	return b[:at], b[at:], nil
}

// integers decodes n integers of DELTA_BINARY_PACKED, whose arithmetic wraps around, and returns what
// follows them. Those of 32 bits are decoded as of 64, and cut: some writers have differences of 33 bits,
// which parquet-go's other decoder is not made for.
func (c *column) integers(b []byte, n int) (list []int64, rest []byte, err error) {
	if err := c.hold(8 * int64(n)); err != nil {
		return nil, nil, err
	}
	b, rest, err = sequence(b, n)
	if err != nil {
		return nil, nil, err
	}
	list, err = (&delta.BinaryPackedEncoding{}).DecodeInt64(nil, b)
	if err != nil || len(list) != n {
		return nil, nil, corrupt("a sequence of differences does not hold its %d values: %w", n, err)
	}
	return list, rest, nil
}

func (c *column) decodeDeltaIntegers(b []byte, n int) (values, error) {
	list, _, err := c.integers(b, n)
	if err != nil || c.width == 8 {
		return values{data: arrow.Int64Traits.CastToBytes(list), n: n}, err
	}
	v := values{data: make([]byte, 0, 4*n), n: n}
	for _, x := range list {
		v.data = binary.LittleEndian.AppendUint32(v.data, uint32(x))
	}
	return v, nil
}

// lengths decodes n lengths, and returns their sum, which is no more than 2 GiB.
func (c *column) lengths(b []byte, n int) (list []int64, sum int64, rest []byte, err error) {
	list, rest, err = c.integers(b, n)
	for _, l := range list {
		if sum += l; l < 0 || l > math.MaxInt32 || sum > math.MaxInt32 {
			return nil, 0, nil, corrupt("the length of a value is negative, or the values have more than 2 GiB")
		}
	}
	return list, sum, rest, err
}

func (c *column) decodeDeltaLengths(b []byte, n int) (values, error) {
	list, sum, data, err := c.lengths(b, n)
	if err != nil {
		return values{}, err
	}
	if sum > int64(len(data)) {
		return values{}, corrupt("values of %d bytes are announced; the page has %d", sum, len(data))
	}
	v := values{data: data, n: n, ends: make([]int32, 1, n+1)}
	for i, l := range list {
		v.ends = append(v.ends, v.ends[i]+int32(l))
	}
	return v, nil
}

// decodeDeltaStrings decodes DELTA_BYTE_ARRAY, in which a value begins like the one before it. The
// values may be much larger than the page.
func (c *column) decodeDeltaStrings(b []byte, n int) (values, error) {
	prefixes, shared, b, err := c.lengths(b, n)
	if err != nil {
		return values{}, err
	}
	suffixes, own, data, err := c.lengths(b, n)
	if err != nil {
		return values{}, err
	}
	size := shared + own
	if size > math.MaxInt32 {
		return values{}, corrupt("the values of a page have more than 2 GiB")
	}
	if err := c.hold(size); err != nil {
		return values{}, err
	}
	v := values{data: make([]byte, 0, size), n: n, ends: make([]int32, 1, n+1)}
	start := 0
	for i, p := range prefixes {
		last := v.data[start:]
		start = len(v.data)
		if int(p) > len(last) || int(suffixes[i]) > len(data) {
			return values{}, corrupt("a value of %d and %d bytes is announced; the one before has %d, the page %d more", p, suffixes[i], len(last), len(data))
		}
		if c.width > 0 && int(p)+int(suffixes[i]) != c.width {
			return values{}, corrupt("a value has %d bytes instead of %d", int(p)+int(suffixes[i]), c.width)
		}
		v.data = append(append(v.data, last[:p]...), data[:suffixes[i]]...)
		v.ends = append(v.ends, int32(len(v.data)))
		data = data[suffixes[i]:]
	}
	return v, nil
}

// decodeSplit decodes BYTE_STREAM_SPLIT, which has the first bytes of all values, then their second
// ones and so on.
func decodeSplit(b []byte, n, width int) (values, error) {
	if len(b)%width != 0 || len(b)/width < n {
		return values{}, corrupt("a page announces %d values and has %d bytes for them", n, len(b))
	}
	stride := len(b) / width
	v := values{data: make([]byte, n*width), n: n}
	for i := range n {
		for j := range width {
			v.data[i*width+j] = b[j*stride+i]
		}
	}
	return v, nil
}
