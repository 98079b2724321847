package envelope

import "golang.org/x/sys/cpu"

// What a step of putAVX2 takes, and what it makes of that.
const (
	vectorBytes   = 24
	vectorLetters = 32
	// vectorReads is how much it reads.
	vectorReads = 28
)

// hasVectors says whether the processor has what putAVX2 uses.
var hasVectors = cpu.X86.HasAVX2

// putAVX2 writes the letters of n groups of 24 bytes, n being at least 1.
//
//go:noescape
func putAVX2(out, src *byte, n int)

// putVectors writes the letters of most of src, where the processor can, and returns what is left of both. Out has room
// for all of src.
func putVectors(out, src []byte) (restOut, restSrc []byte) {
	if !hasVectors || len(src) < vectorReads {
		return out, src
	}
	n := 1 + (len(src)-vectorReads)/vectorBytes
	_ = out[n*vectorLetters-1]
	putAVX2(&out[0], &src[0], n)
	return out[n*vectorLetters:], src[n*vectorBytes:]
}
