package compress

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// Sealed text is base64 in JSON lines: nearly all of it is 64 letters that are equally
// likely, so the best that deflate can do is known beforehand. One fixed Huffman code,
// of about six bits a letter, saves counting the letters, and two letters are looked up
// at a time.
//
// letterBits are the lengths of the code, which use up all codes (RFC 1951, section
// 3.2.2); the longest is 9, so that the codes of six letters and the bits left over from
// before fit into 64 bits.
func letterBits() (lengths [257]uint8) {
	const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for _, c := range base64 {
		lengths[c] = 6
	}
	for _, c := range `+/9"` {
		lengths[c] = 7
	}
	lengths[':'] = 8
	for _, c := range "{}_=\n" {
		lengths[c] = 9
	}
	lengths[endOfBlock] = 9
	return lengths
}

const (
	endOfBlock    = 256
	longestLetter = 9
	// lengthBits is the width of the length in a table's entry; the code stands above it.
	lengthBits = 8
)

// letters is the code in the form that it is written in.
type letters struct {
	// header is the block's header: dynamic Huffman codes, not the last block.
	header     []byte
	headerBits uint
	// single and pair give the bits of one and of two bytes (the first one in the low
	// byte of the index) and how many these are; 0 for what has no code.
	single [257]uint32
	pair   [1 << 16]uint32
}

var sealedLetters = sync.OnceValue(newLetters)

func newLetters() *letters {
	lengths := letterBits()
	l := &letters{}
	code := uint32(0)
	for length := uint8(1); length <= longestLetter; length++ {
		for symbol, n := range lengths {
			if n == length {
				// The first bit of a code is its highest.
				l.single[symbol] = bits.Reverse32(code)>>(32-length)<<lengthBits | uint32(length)
				code++
			}
		}
		code <<= 1
	}
	for first, a := range l.single[:256] {
		for second, b := range l.single[:256] {
			if a != 0 && b != 0 {
				n := a & (1<<lengthBits - 1)
				l.pair[second<<8|first] = (b>>lengthBits<<n|a>>lengthBits)<<lengthBits | n + b&(1<<lengthBits-1)
			}
		}
	}
	l.writeHeader(lengths)
	return l
}

// writeHeader makes the block's header (section 3.2.7).
func (l *letters) writeHeader(lengths [257]uint8) {
	w := bitWriter{}
	w.put(0, 1) // not the last block
	w.put(2, 2) // dynamic codes
	w.put(0, 5) // 257 codes of literals and lengths
	w.put(0, 5) // 1 code of distances, which is not used
	// Eight lengths occur, each coded with three bits.
	used := map[uint8]uint32{}
	order := []uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1}
	w.put(uint32(len(order)-4), 4)
	for i, symbol := range []uint8{0, 1, 6, 7, 8, 9, 17, 18} {
		used[symbol] = bits.Reverse32(uint32(i)) >> 29
	}
	for _, symbol := range order {
		n := uint32(0)
		if _, ok := used[symbol]; ok {
			n = 3
		}
		w.put(n, 3)
	}
	all := append(lengths[:], 1) // the distance's
	for i := 0; i < len(all); {
		run := 0
		for i+run < len(all) && all[i+run] == 0 && run < 138 {
			run++
		}
		switch {
		case run >= 11:
			w.put(used[18], 3)
			w.put(uint32(run-11), 7)
		case run >= 3:
			w.put(used[17], 3)
			w.put(uint32(run-3), 3)
		default:
			w.put(used[all[i]], 3)
			run = 1
		}
		i += run
	}
	l.header, l.headerBits = w.bytes, w.n
}

// bitWriter writes bits from the lowest on.
type bitWriter struct {
	bytes []byte
	n     uint
}

func (w *bitWriter) put(value uint32, n uint) {
	for i := range n {
		if w.n%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.n/8] |= byte(value>>i&1) << (w.n % 8)
		w.n++
	}
}

// appendSealed appends piece as one block and a flush, or says that it has letters
// without a code.
func appendSealed(dst, piece []byte) ([]byte, bool) {
	l := sealedLetters()
	// Eight bytes are written at a time, whether they count or not.
	const slack = 16
	worst := len(l.header) + (len(piece)+1)*longestLetter/8 + slack
	at := len(dst)
	dst = slices.Grow(dst, worst)[:at+worst]
	out := dst[at:]
	// Whole bytes of the header are there; its last bits wait in held.
	n := copy(out, l.header[:l.headerBits/8])
	held, have := uint64(0), l.headerBits%8
	if have > 0 {
		held = uint64(l.header[n])
	}
	const mask = 1<<lengthBits - 1
	for len(piece) >= 6 {
		a := l.pair[binary.LittleEndian.Uint16(piece)]
		b := l.pair[binary.LittleEndian.Uint16(piece[2:])]
		c := l.pair[binary.LittleEndian.Uint16(piece[4:])]
		if a == 0 || b == 0 || c == 0 {
			return dst[:at], false
		}
		held |= uint64(a>>lengthBits) << have
		have += uint(a & mask)
		held |= uint64(b>>lengthBits) << have
		have += uint(b & mask)
		held |= uint64(c>>lengthBits) << have
		have += uint(c & mask)
		binary.LittleEndian.PutUint64(out[n:], held)
		n += int(have / 8)
		held >>= have &^ 7
		have %= 8
		piece = piece[6:]
	}
	put := func(entry uint32) {
		held |= uint64(entry>>lengthBits) << have
		have += uint(entry & mask)
		binary.LittleEndian.PutUint64(out[n:], held)
		n += int(have / 8)
		held >>= have &^ 7
		have %= 8
	}
	for _, c := range piece {
		if l.single[c] == 0 {
			return dst[:at], false
		}
		put(l.single[c])
	}
	put(l.single[endOfBlock])
	// A stored block of nothing ends the piece on a byte (section 3.2.4): the three bits
	// of its header are zero.
	out[n] = byte(held)
	n++
	if have+3 > 8 {
		out[n] = 0
		n++
	}
	n += copy(out[n:], []byte{0, 0, 0xff, 0xff})
	return dst[:at+n], true
}
