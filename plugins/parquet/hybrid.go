package parquet

import "encoding/binary"

// minRun is how many equal values in a row are written as a run instead of one by
// one. It is a multiple of eight, the number of values in a bit-packed group.
const minRun = 16

// appendHybrid appends values of width bits in the RLE/bit-packing hybrid
// (https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE).
func appendHybrid(dst []byte, values []uint16, width int) []byte {
	for i := 0; i < len(values); {
		if n := runLength(values[i:]); n >= minRun || i+n == len(values) && n >= 8 {
			dst = appendRun(dst, values[i], n, width)
			i += n
			continue
		}
		// Groups of eight up to the next run, which must not begin in the middle of one.
		start := i
		for i < len(values) {
			if i > start && values[i] == values[min(i+minRun, len(values))-1] && runLength(values[i:]) >= minRun {
				break
			}
			i = min(i+8, len(values))
		}
		dst = appendPacked(dst, values[start:i], width)
	}
	return dst
}

func runLength(values []uint16) int {
	n := 1
	for n < len(values) && values[n] == values[0] {
		n++
	}
	return n
}

// appendRun appends n equal values.
func appendRun(dst []byte, value uint16, n, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for range (width + 7) / 8 {
		dst = append(dst, byte(value))
		value >>= 8
	}
	return dst
}

// appendPacked appends values bit by bit, filled up with zeros to a multiple of
// eight values.
func appendPacked(dst []byte, values []uint16, width int) []byte {
	groups := (len(values) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	end := len(dst) + groups*width
	var word uint64
	bits := 0
	for _, v := range values {
		word |= uint64(v) << bits
		bits += width
		for bits >= 32 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(word))
			word >>= 32
			bits -= 32
		}
	}
	for len(dst) < end {
		dst = append(dst, byte(word))
		word >>= 8
	}
	return dst[:end]
}

// appendLevels appends definition levels of one bit, taken from a bitmap: its bit
// order is the one of bit-packing. all is how many of n are 1.
func appendLevels(dst []byte, bitmap []byte, n, ones int) []byte {
	switch ones {
	case n:
		return appendRun(dst, 1, n, 1)
	case 0:
		return appendRun(dst, 0, n, 1)
	}
	groups := (n + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	return append(dst, bitmap[:groups]...)
}
