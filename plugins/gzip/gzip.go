// Package gzip is the compressor stage that writes the gzip format (RFC 1952). It
// owns the head and the tail of the one member that a stream becomes, whatever the
// number of cores; what stands between them is package compress's. It never writes
// a second member, because some readers stop after the first.
package gzip

import (
	"context"
	"encoding/binary"

	"github.com/cipherstream/cipherstream/plugins/internal/compress"
	"github.com/cipherstream/cipherstream/sdk"
)

// Settings are the settings of the stage.
type Settings struct {
	Level int `config:"level" default:"1" min:"1" max:"9" doc:"1 to 3 are fast, 5 and 6 small; 7 to 9 take several times longer and gain little."`
}

const doc = `Writes one gzip member (RFC 1952). A stream of up to 8,192 bytes is stored, not deflated; it is
a valid gzip file all the same. Behind an encryptor of records, where only base64 is left to
gain from, the stage uses Huffman coding alone, whatever the level.`

// Stage defines the compressor.
func Stage() sdk.Definition {
	return sdk.DefineCompressor(sdk.About{
		Name:       "gzip",
		Summary:    "Compresses with gzip (RFC 1952).",
		Doc:        doc,
		Concurrent: true,
	}, func(s Settings, _ sdk.Env) (sdk.Compressor, error) {
		return &compressor{level: s.Level}, nil
	})
}

type compressor struct {
	level  int
	stream *compress.Deflate
}

func (c *compressor) Bind(in sdk.Media) (sdk.Media, error) {
	if err := compress.Refuse("gzip", in); err != nil {
		return in, err
	}
	c.stream = compress.NewDeflate(c.level, in)
	in.ContentEncoding = "gzip"
	in.Extension += ".gz"
	return in, nil
}

func (c *compressor) Begin(out *sdk.Output) error {
	// Deflate, no flags, no time (so that equal input gives equal output), no hint
	// about speed, unknown system.
	out.Data = append(out.Data, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
	return nil
}

func (c *compressor) Compress(_ context.Context, piece []byte, out *sdk.Output) error {
	return c.stream.Compress(piece, out)
}

// Merge puts the checksum together and gathers small pieces.
func (c *compressor) Merge(out *sdk.Output) error { return c.stream.Merge(out) }

func (c *compressor) End(out *sdk.Output) error {
	if text, stored := c.stream.Whole(); stored {
		// One stored block, the last of the stream (RFC 1951, section 3.2.4).
		length := uint16(len(text))
		out.Data = append(out.Data, 1)
		out.Data = binary.LittleEndian.AppendUint16(out.Data, length)
		out.Data = binary.LittleEndian.AppendUint16(out.Data, ^length)
		out.Data = append(out.Data, text...)
	} else if err := c.stream.Finish(out); err != nil {
		return err
	}
	out.Data = binary.LittleEndian.AppendUint32(out.Data, c.stream.Sum())
	out.Data = binary.LittleEndian.AppendUint32(out.Data, uint32(c.stream.Size()))
	return nil
}
