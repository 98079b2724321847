package parquet

import (
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/rle"
)

// FuzzHybrid holds the hybrid encoding against parquet-go's decoder.
func FuzzHybrid(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(2), uint8(1))
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabcdeffffffffffffffffffffff"), uint8(9), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, width, repeat uint8) {
		w := int(width)%16 + 1
		var values []uint16
		for i, b := range data {
			v := (uint16(b) * 257) & (1<<w - 1)
			for range 1 + int(repeat)*(i%3)%40 {
				values = append(values, v)
			}
		}
		got, err := (&rle.Encoding{BitWidth: w}).DecodeInt32(nil, appendHybrid(nil, values, w))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) < len(values) {
			t.Fatalf("%d values came back of %d", len(got), len(values))
		}
		for i, v := range values {
			if got[i] != int32(v) {
				t.Fatalf("value %d is %d, want %d", i, got[i], v)
			}
		}
		if extra := got[len(values):]; len(extra) > 7 || slices.Max(append(extra, 0)) > 0 {
			t.Fatalf("more values: %v", extra)
		}
	})
}
