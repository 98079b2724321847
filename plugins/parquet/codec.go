package parquet

import (
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// codec compresses pages. It is safe for concurrent use.
type codec struct {
	id   format.CompressionCodec
	zstd *zstd.Encoder
}

func newCodec(name string, workers int) (*codec, error) {
	switch name {
	case "none":
		return &codec{id: format.Uncompressed}, nil
	case "snappy":
		return &codec{id: format.Snappy}, nil
	}
	// A page is hardly ever larger than the window. The page has its own checksum. Indexes and
	// packed deltas repeat little, yet some of their bytes are much more frequent than others.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(workers),
		zstd.WithAllLitEntropyCompression(true), zstd.WithWindowSize(maxPageBytes), zstd.WithEncoderCRC(false),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("parquet: %w", err)
	}
	return &codec{id: format.Zstd, zstd: e}, nil
}

// compress returns src compressed, in dst's memory if it is large enough; for no
// compression it returns src.
func (c *codec) compress(dst, src []byte) []byte {
	switch c.id {
	case format.Snappy:
		if n := s2.MaxEncodedLen(len(src)); cap(dst) < n {
			dst = make([]byte, n)
		}
		return s2.EncodeSnappy(dst[:cap(dst)], src)
	case format.Zstd:
		return c.zstd.EncodeAll(src, dst[:0])
	}
	return src
}
