package sqlite_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// BenchmarkAppend writes pieces of ten thousand changes of 300 bytes, of a database that has two hundred thousand documents: those of a
// first copy, in the order of their keys, and changes of documents that are there, in none.
func BenchmarkAppend(b *testing.B) {
	const piece, index = 10_000, 200_000
	for _, kind := range []string{"copy", "changes"} {
		b.Run(kind, func(b *testing.B) {
			s := open(b, dataDir(b))
			ctx := b.Context()
			if _, err := s.PutStream(ctx, store.Stream{Customer: "c"}, store.Audit{}); err != nil {
				b.Fatal(err)
			}
			log, err := s.Log(ctx, "c")
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := log.Close(); err != nil {
					b.Error(err)
				}
			})
			next := int64(0)
			write := func(id func(i int) int) {
				all := make([]store.Change, piece)
				for i := range all {
					next++
					all[i] = store.Change{
						Channel: "entities", Type: "appointment", ID: fmt.Sprintf("%09d", id(i)), Digest: sha256.Sum256(fmt.Append(nil, next)),
						Sealed: bytes.Repeat([]byte{byte(i)}, 300),
					}
				}
				if _, err := log.Append(ctx, 1, store.Append{Position: fmt.Sprint(next), Changes: all}); err != nil {
					b.Fatal(err)
				}
			}
			copied := 0
			if kind == "changes" {
				for copied < index {
					write(func(i int) int { return copied + i })
					copied += piece
					if err := log.Acknowledge(ctx, 1, "entities", next); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if kind == "copy" {
					write(func(i int) int { return copied + i })
					copied += piece
				} else {
					write(func(i int) int { return int(uint64(next*2654435761) % index) })
				}
				b.StopTimer()
				if err := log.Acknowledge(ctx, 1, "entities", next); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(piece*b.N)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}
