package compress

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func TestCombine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<17)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	for range 300 {
		whole := text[:r.IntN(len(text))]
		at := r.IntN(len(whole) + 1)
		got := combine(crc32.ChecksumIEEE(whole[:at]), crc32.ChecksumIEEE(whole[at:]), int64(len(whole)-at))
		if want := crc32.ChecksumIEEE(whole); got != want {
			t.Fatalf("%d+%d bytes: %#x, want %#x", at, len(whole)-at, got, want)
		}
	}
}
