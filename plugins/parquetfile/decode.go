package parquetfile

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/apache/arrow/go/v15/arrow/bitutil"
)

// The encodings: https://parquet.apache.org/docs/file-format/data-pages/encodings/.
// Every decoder is told how many values to give, which was checked against the
// row group, and fails when the bytes do not hold them.

// run reads the head of a run of the RLE/bit-packing hybrid: n values that are packed or
// equal, and what follows the head.
func run(b []byte, width int) (n int, packed bool, body, rest []byte, err error) {
	head, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, false, nil, nil, corrupt("a run of values has no valid length")
	}
	b = b[size:]
	need := uint64(width+7) / 8
	count := head >> 1
	if head&1 == 1 {
		packed, need, count = true, count*uint64(width), count*8
	}
	if head>>1 > 1<<31 || need > uint64(len(b)) && !packed {
		return 0, false, nil, nil, corrupt("a run of values is longer than its page")
	}
	if need > uint64(len(b)) {
		// Some writers leave out the end of the last group.
		need = uint64(len(b))
		count = need * 8 / uint64(max(width, 1))
	}
	if count == 0 {
		return 0, false, nil, nil, corrupt("a run of values is empty")
	}
	return int(count), packed, b[:need], b[need:], nil
}

// decodeLevels decodes n definition levels of one bit. The bitmap is nil if all are 1.
func decodeLevels(b []byte, n int) (bitmap []byte, ones int, err error) {
	for at := 0; at < n; {
		count, packed, body, rest, err := run(b, 1)
		if err != nil {
			return nil, 0, err
		}
		count = min(count, n-at)
		switch {
		case packed || body[0] != 1 && body[0] != 0:
			if !packed {
				return nil, 0, corrupt("a definition level is %d; a flat column has none above 1", body[0])
			}
			if bitmap == nil {
				bitmap = make([]byte, (n+7)/8)
				bitutil.SetBitsTo(bitmap, 0, int64(at), true)
			}
			bitutil.CopyBitmap(body, 0, count, bitmap, at)
			ones += bitutil.CountSetBits(body, 0, count)
		case body[0] == 1:
			if bitmap != nil {
				bitutil.SetBitsTo(bitmap, int64(at), int64(count), true)
			}
			ones += count
		default:
			if bitmap == nil {
				bitmap = make([]byte, (n+7)/8)
				bitutil.SetBitsTo(bitmap, 0, int64(at), true)
			}
		}
		at += count
		b = rest
	}
	return bitmap, ones, nil
}

// decodeIndexes decodes n indexes of a dictionary of that size.
func decodeIndexes(dst []uint32, b []byte, n, size int) ([]uint32, error) {
	if len(b) == 0 {
		return nil, corrupt("a page has no indexes for its %d values", n)
	}
	width := int(b[0])
	if width > 32 {
		return nil, corrupt("indexes of %d bits are announced", width)
	}
	b = b[1:]
	dst = slices.Grow(dst[:0], n)
	for len(dst) < n {
		if width == 0 {
			dst = append(dst, 0)
			continue
		}
		count, packed, body, rest, err := run(b, width)
		if err != nil {
			return nil, err
		}
		count = min(count, n-len(dst))
		b = rest
		if packed {
			at := len(dst)
			dst = dst[:at+count]
			unpack(dst[at:], body, width)
			continue
		}
		var v uint32
		for i, c := range body {
			v |= uint32(c) << (8 * i)
		}
		for range count {
			dst = append(dst, v)
		}
	}
	for _, v := range dst {
		if uint64(v) >= uint64(size) {
			return nil, corrupt("an index is %d; the dictionary has %d values", v, size)
		}
	}
	return dst, nil
}

// unpack reads bit-packed values, of at most 32 bits.
func unpack(dst []uint32, b []byte, width int) {
	var word uint64
	have := 0
	mask := uint64(1)<<width - 1
	for i := range dst {
		for have < width {
			if len(b) == 0 {
				dst[i] = 0
				have = width
				break
			}
			word |= uint64(b[0]) << have
			b = b[1:]
			have += 8
		}
		dst[i] = uint32(word & mask)
		word >>= width
		have -= width
	}
}

// decodeBooleans decodes n booleans of the RLE/bit-packing hybrid into bits.
func decodeBooleans(b []byte, n int) ([]byte, error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, corrupt("a page of booleans is shorter than it announces")
	}
	if n == 0 {
		return nil, nil
	}
	values, _, err := decodeLevels(b[4:], n)
	if values == nil && err == nil {
		values = make([]byte, (n+7)/8)
		bitutil.SetBitsTo(values, 0, int64(n), true)
	}
	return values, err
}

// deltas decodes the n integers of a DELTA_BINARY_PACKED sequence, whose arithmetic wraps
// around, and returns what follows it.
func deltas(b []byte, n int, emit func(int64)) (rest []byte, err error) {
	var head [3]uint64 // values in a block, miniblocks in a block, values
	for i := range head {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, corrupt("a sequence of differences has no valid head")
		}
		head[i], b = v, b[size:]
	}
	value, size := binary.Varint(b)
	if size <= 0 {
		return nil, corrupt("a sequence of differences has no first value")
	}
	b = b[size:]
	block, minis, total := head[0], head[1], head[2]
	if block == 0 || block%128 != 0 || block > 1<<20 || minis == 0 || minis > block || block%minis != 0 || block/minis%32 != 0 {
		return nil, corrupt("a sequence of differences has blocks of %d values in %d parts", block, minis)
	}
	if total != uint64(n) {
		return nil, corrupt("a sequence of differences announces %d values; the page has %d", total, n)
	}
	if n == 0 {
		return b, nil
	}
	emit(value)
	per := int(block / minis)
	for left := n - 1; left > 0; {
		least, size := binary.Varint(b)
		if size <= 0 || uint64(len(b)-size) < minis {
			return nil, corrupt("a sequence of differences ends early")
		}
		widths := b[size : size+int(minis)]
		b = b[size+int(minis):]
		for _, width := range widths {
			if left == 0 {
				break
			}
			w := int(width)
			if w > 64 || len(b) < w*per/8 {
				return nil, corrupt("a sequence of differences of %d bits ends early", w)
			}
			count := min(per, left)
			for i := range count {
				value += least + int64(bitsAt(b, i*w, w))
				emit(value)
			}
			left -= count
			b = b[w*per/8:]
		}
	}
	return b, nil
}

// bitsAt returns n bits from bit at, the lowest first. They lie within b.
func bitsAt(b []byte, at, n int) uint64 {
	if n == 0 {
		return 0
	}
	first, shift := at/8, at%8
	var v uint64
	if first+8 <= len(b) {
		v = binary.LittleEndian.Uint64(b[first:]) >> shift
	} else {
		for i := len(b) - 1; i >= first; i-- {
			v = v<<8 | uint64(b[i])
		}
		v >>= shift
	}
	if have := 64 - shift; n > have && first+8 < len(b) {
		v |= uint64(b[first+8]) << have
	}
	if n == 64 {
		return v
	}
	return v & (1<<n - 1)
}

func decodeDeltaIntegers(b []byte, n, width int) ([]byte, error) {
	dst := make([]byte, 0, n*width)
	_, err := deltas(b, n, func(v int64) {
		if width == 4 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
		} else {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
	})
	return dst, err
}

// lengths decodes lengths, none of them negative or longer than 2 GiB.
func lengths(b []byte, n int) (list []uint32, rest []byte, err error) {
	list = make([]uint32, 0, n)
	valid := true
	rest, err = deltas(b, n, func(v int64) {
		valid = valid && v >= 0 && bits.Len64(uint64(v)) < 32
		list = append(list, uint32(v))
	})
	if err == nil && !valid {
		err = corrupt("the length of a value is negative or beyond 2 GiB")
	}
	return list, rest, err
}

// decodeDeltaLengths turns DELTA_LENGTH_BYTE_ARRAY into PLAIN.
func decodeDeltaLengths(b []byte, n int) ([]byte, error) {
	list, data, err := lengths(b, n)
	if err != nil {
		return nil, err
	}
	dst := make([]byte, 0, 4*n+len(data))
	for _, l := range list {
		if uint64(l) > uint64(len(data)) {
			return nil, corrupt("a value of %d bytes is announced; the page has %d more", l, len(data))
		}
		dst = binary.LittleEndian.AppendUint32(dst, l)
		dst = append(dst, data[:l]...)
		data = data[l:]
	}
	return dst, nil
}

// decodeDeltaStrings turns DELTA_BYTE_ARRAY, in which a value begins like the one before it,
// into PLAIN. The values may be much larger than the page.
func (c *column) decodeDeltaStrings(b []byte, n int) ([]byte, error) {
	prefixes, b, err := lengths(b, n)
	if err != nil {
		return nil, err
	}
	suffixes, data, err := lengths(b, n)
	if err != nil {
		return nil, err
	}
	var size int64
	for i := range prefixes {
		size += 4 + int64(prefixes[i]) + int64(suffixes[i])
	}
	if err := c.source.budget.change(c.held, c.held+size); err != nil {
		return nil, err
	}
	c.held += size
	dst := make([]byte, 0, size)
	var last []byte
	for i, p := range prefixes {
		suffix := suffixes[i]
		if uint64(p) > uint64(len(last)) || uint64(suffix) > uint64(len(data)) {
			return nil, corrupt("a value of %d and %d bytes is announced; the one before has %d, the page %d more", p, suffix, len(last), len(data))
		}
		if c.width > 0 {
			if uint64(p)+uint64(suffix) != uint64(c.width) {
				return nil, corrupt("a value has %d bytes instead of %d", uint64(p)+uint64(suffix), c.width)
			}
		} else {
			dst = binary.LittleEndian.AppendUint32(dst, p+suffix)
		}
		start := len(dst)
		dst = append(dst, last[:p]...)
		dst = append(dst, data[:suffix]...)
		last, data = dst[start:], data[suffix:]
	}
	return dst, nil
}

// decodeSplit turns BYTE_STREAM_SPLIT, which has the first bytes of all values, then their second
// ones and so on, into PLAIN.
func decodeSplit(b []byte, n, width int) ([]byte, error) {
	if len(b)%width != 0 || len(b)/width < n {
		return nil, corrupt("a page announces %d values and has %d bytes for them", n, len(b))
	}
	stride := len(b) / width
	dst := make([]byte, n*width)
	for i := range n {
		for j := range width {
			dst[i*width+j] = b[j*stride+i]
		}
	}
	return dst, nil
}

// plainEnd returns where a PLAIN byte array at pos ends.
func plainEnd(b []byte, pos int) (end int, ok bool) {
	if len(b)-pos < 4 {
		return 0, false
	}
	n := binary.LittleEndian.Uint32(b[pos:])
	if uint64(n) > uint64(len(b)-pos-4) {
		return 0, false
	}
	return pos + 4 + int(n), true
}
