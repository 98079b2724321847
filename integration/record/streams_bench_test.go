package record

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
)

// BenchmarkStreamAppend writes pieces of ten thousand new documents of 300 bytes to a server.
func BenchmarkStreamAppend(b *testing.B) {
	for name, server := range kinds {
		b.Run(name, func(b *testing.B) {
			on := server(b)
			s := open(b, on.DSN(on.Database()), mysql.Options{})
			ctx := b.Context()
			if _, err := s.PutStream(ctx, store.Stream{Customer: "c"}, store.Audit{}); err != nil {
				b.Fatal(err)
			}
			log, err := s.Log(ctx, "c")
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			all := make([]store.Change, 10_000)
			next := int64(0)
			for b.Loop() {
				for i := range all {
					next++
					all[i] = store.Change{
						Channel: "entities", Type: "appointment", ID: fmt.Sprintf("%09d", next), Digest: sha256.Sum256(fmt.Append(nil, next)),
						Sealed: bytes.Repeat([]byte{byte(i)}, 300),
					}
				}
				if _, err := log.Append(ctx, 1, store.Append{Position: fmt.Sprint(next), Changes: all}); err != nil {
					b.Fatal(err)
				}
				if err := log.Acknowledge(ctx, 1, "entities", next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}
