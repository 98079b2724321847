// Package gzip is the compressor stage that writes the gzip format (RFC 1952). It
// owns the one member that a stream becomes, whatever the number of cores: pieces
// are deflated independently, each ended by a sync flush, and their checksums
// combined. It never writes a second member, because some readers stop after the
// first, and never keeps more than one batch of small pieces.
package gzip

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Level int `config:"level" default:"3" min:"1" max:"9" doc:"1 to 3 are fast, 5 and 6 small; 7 to 9 take several times longer and gain little."`
}

const doc = `Writes one gzip member (RFC 1952). A stream of up to 8,192 bytes is stored, not deflated; it is
a valid gzip file all the same. Behind an encryptor of records, where only base64 is left to
gain from, the stage uses Huffman coding alone, whatever the level.`

const (
	// storedLimit is the size up to which a whole stream is stored.
	storedLimit = 8192
	// smallPiece is the size below which a piece waits for its neighbours: deflated on
	// its own, it would find too little to refer back to.
	smallPiece = 32 << 10
	// gatherLimit is how much waits before it is deflated.
	gatherLimit = 128 << 10
)

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
	level    int
	deflater sync.Pool

	// What follows belongs to Merge and End, which run one after another.
	gathered []byte
	deflated bool
	sum      uint32
	size     int64
	scratch  []byte
}

// note is what Compress tells Merge about a piece.
type note struct {
	sum  uint32
	size int64
	// small is true when the output holds the piece as it came.
	small bool
}

// deflater is a flate writer whose destination can be let go of.
type deflater struct {
	out *sdk.Output
	w   *flate.Writer
}

func (d *deflater) Write(p []byte) (int, error) { return d.out.Write(p) }

func (c *compressor) Bind(in sdk.Media) (sdk.Media, error) {
	if in.ContentEncoding != "" {
		return in, fault.New("gzip.compressed_input", fault.Usage, "the stream is already compressed (%s)", in.ContentEncoding).
			WithHint("keep one compressor in the pipeline")
	}
	if in.Sealed {
		c.level = flate.HuffmanOnly
	}
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
	n := note{sum: crc32.ChecksumIEEE(piece), size: int64(len(piece)), small: len(piece) < smallPiece}
	out.Note = n
	if n.small {
		out.Data = append(out.Data, piece...)
		return nil
	}
	return c.deflate(piece, out)
}

// deflate appends blocks that stand for piece and end on a byte.
func (c *compressor) deflate(piece []byte, out *sdk.Output) error {
	d, ok := c.deflater.Get().(*deflater)
	if !ok {
		d = &deflater{}
		w, err := flate.NewWriter(d, c.level)
		if err != nil {
			return fmt.Errorf("gzip: level %d: %w", c.level, err)
		}
		d.w = w
	}
	d.out = out
	defer func() {
		d.out = nil
		c.deflater.Put(d)
	}()
	d.w.Reset(d)
	if _, err := d.w.Write(piece); err != nil {
		return fmt.Errorf("gzip: deflating %d bytes: %w", len(piece), err)
	}
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("gzip: deflating %d bytes: %w", len(piece), err)
	}
	return nil
}

// Merge puts the checksum together and gathers small pieces.
func (c *compressor) Merge(out *sdk.Output) error {
	n, ok := out.Note.(note)
	if !ok {
		return fault.New("gzip.note", fault.Internal, "a piece came to Merge without the note of Compress")
	}
	c.sum = combine(c.sum, n.sum, n.size)
	c.size += n.size
	if n.small {
		c.gathered = append(c.gathered, out.Data...)
		out.Data = out.Data[:0]
		if len(c.gathered) < gatherLimit {
			return nil
		}
		return c.release(out)
	}
	if len(c.gathered) == 0 {
		c.deflated = true
		return nil
	}
	// What was gathered comes before this piece.
	c.scratch = append(c.scratch[:0], out.Data...)
	out.Data = out.Data[:0]
	if err := c.release(out); err != nil {
		return err
	}
	out.Data = append(out.Data, c.scratch...)
	return nil
}

// release deflates what was gathered.
func (c *compressor) release(out *sdk.Output) error {
	c.deflated = true
	err := c.deflate(c.gathered, out)
	c.gathered = c.gathered[:0]
	return err
}

func (c *compressor) End(out *sdk.Output) error {
	switch {
	case !c.deflated && c.size <= storedLimit:
		// One stored block, the last of the stream (RFC 1951, section 3.2.4).
		length := uint16(len(c.gathered))
		out.Data = append(out.Data, 1)
		out.Data = binary.LittleEndian.AppendUint16(out.Data, length)
		out.Data = binary.LittleEndian.AppendUint16(out.Data, ^length)
		out.Data = append(out.Data, c.gathered...)
	default:
		if len(c.gathered) > 0 {
			if err := c.release(out); err != nil {
				return err
			}
		}
		// An empty block with fixed codes, the last of the stream.
		out.Data = append(out.Data, 3, 0)
	}
	out.Data = binary.LittleEndian.AppendUint32(out.Data, c.sum)
	out.Data = binary.LittleEndian.AppendUint32(out.Data, uint32(c.size))
	return nil
}
