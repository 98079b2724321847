package envelope

import (
	"testing"
)

// rate reports rows/s and MB/s of units of that size.
func rate(b *testing.B, size int) {
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(b.N)/seconds, "rows/s")
	b.ReportMetric(float64(b.N)*float64(size)/seconds/1e6, "MB/s")
}

// The size of a row is that of the table of the other benchmarks as NDJSON.
var unitSizes = []struct {
	name string
	size int
}{{"row", 589}, {"chunk", ChunkSize}}

func BenchmarkSeal(b *testing.B) {
	for _, c := range unitSizes {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			s, unit := sealer(b, ring(b, keyText(1))), text(c.size, 1)
			var out []byte
			for b.Loop() {
				out = s.Seal(out[:0], unit, 123456)
			}
			rate(b, c.size)
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, c := range unitSizes {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			r := ring(b, keyText(1))
			line := sealer(b, r).Seal(nil, text(c.size, 1), 123456)
			line = line[:len(line)-1]
			o := opener(b, r)
			for b.Loop() {
				if _, err := o.Open(line, 123456); err != nil {
					b.Fatal(err)
				}
			}
			rate(b, c.size)
		})
	}
}
