package parquetfile

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/cipherstream/cipherstream/plugins/internal/sample"
	"github.com/cipherstream/cipherstream/sdk"
)

func BenchmarkRead(b *testing.B) {
	record := sample.Appointments(64*1024, 1)
	defer record.Release()
	for _, compression := range []string{"none", "snappy", "zstd"} {
		b.Run(compression, func(b *testing.B) {
			data := encode(b, record, `{"compression":"`+compression+`"}`)
			meter := sample.NewMeter(b)
			for b.Loop() {
				made, err := newSource(Settings{Path: "/bench.parquet", Memory: 256 << 20}, sdk.Env{})
				if err != nil {
					b.Fatal(err)
				}
				s := made.(*source)
				if _, err := s.begin(bytes.NewReader(data), int64(len(data))); err != nil {
					b.Fatal(err)
				}
				for {
					r, err := s.Next(context.Background())
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					meter.Rows += r.NumRows()
					r.Release()
				}
				meter.Size += int64(len(data))
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			meter.Report()
		})
	}
}
