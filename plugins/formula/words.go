package formula

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow/go/v15/arrow"
)

// A set of rows is a bitmap of 64-bit words, row 0 being the lowest bit of the
// first. Bits beyond the last row mean nothing until the end.

// one is 1 for true; the compiler makes it one instruction, without a branch.
func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// loadWord returns 64 bits of an Arrow bitmap from a bit on; what lies beyond it is 0.
func loadWord(bitmap []byte, bit int) uint64 {
	at, shift := bit>>3, uint(bit&7)
	if at+9 <= len(bitmap) {
		w := binary.LittleEndian.Uint64(bitmap[at:])
		if shift == 0 {
			return w
		}
		return w>>shift | uint64(bitmap[at+8])<<(64-shift)
	}
	var w uint64
	for i := 0; i < 9 && at+i < len(bitmap); i++ {
		b := uint64(bitmap[at+i])
		if i*8 >= int(shift) {
			w |= b << (uint(i*8) - shift)
		} else {
			w |= b >> shift
		}
	}
	return w
}

// fill sets all words.
func fill(out []uint64, w uint64) {
	for i := range out {
		out[i] = w
	}
}

// invert makes the set its complement.
func invert(out []uint64) {
	for i := range out {
		out[i] = ^out[i]
	}
}

// dropNulls takes the rows where a is NULL out of the set.
func dropNulls(a arrow.Array, out []uint64) {
	if a.DataType().ID() == arrow.NULL {
		fill(out, 0)
		return
	}
	if a.NullN() == 0 {
		return
	}
	valid, offset := a.NullBitmapBytes(), a.Data().Offset()
	for i := range out {
		out[i] &= loadWord(valid, offset+i*64)
	}
}

// putValid makes out the set of rows where a is not NULL.
func putValid(a arrow.Array, out []uint64) {
	fill(out, ^uint64(0))
	dropNulls(a, out)
}

func appendIndexes(indexes []int32, set []uint64) []int32 {
	for i, w := range set {
		for w != 0 {
			indexes = append(indexes, int32(i*64+bits.TrailingZeros64(w)))
			w &= w - 1
		}
	}
	return indexes
}
