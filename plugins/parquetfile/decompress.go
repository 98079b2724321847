package parquetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// decompress fills dst, whose length was announced, with src decompressed. For no
// compression it returns src.
func (s *source) decompress(dst, src []byte, codec format.CompressionCodec) ([]byte, error) {
	wrong := func(err error) ([]byte, error) {
		if err == nil {
			err = errors.New("it has another length")
		}
		return nil, corrupt("a page does not decompress to the %d bytes that it announces: %w", len(dst), err)
	}
	switch codec {
	case format.Uncompressed:
		if len(src) != len(dst) {
			return nil, corrupt("a page has %d bytes and announces %d", len(src), len(dst))
		}
		return src, nil
	case format.Snappy:
		if n, err := s2.DecodedLen(src); err != nil || n != len(dst) {
			return wrong(err)
		}
		got, err := s2.Decode(dst, src)
		if err != nil || len(got) != len(dst) {
			return wrong(err)
		}
		return got, nil
	case format.Zstd:
		if s.zstd == nil {
			// The output is bounded by the capacity that it is given.
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return nil, fmt.Errorf("parquet: %w", err)
			}
			s.zstd = d
		}
		got, err := s.zstd.DecodeAll(src, dst[:0:len(dst)])
		if err != nil || len(got) != len(dst) {
			return wrong(err)
		}
		return got, nil
	case format.Gzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return wrong(err)
		}
		if _, err := io.ReadFull(r, dst); err != nil {
			return wrong(err)
		}
		// The checksum stands behind the last byte.
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return wrong(err)
		}
		return dst, nil
	}
	if codec < format.Uncompressed || codec > format.Lz4Raw {
		return nil, corrupt("its pages have the compression %d, which does not exist", codec)
	}
	return nil, unsupported("its pages are compressed with %s", codec).
		WithHint("write the file with zstd, snappy or gzip")
}
