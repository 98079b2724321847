// Package zip is the compressor stage that writes a zip archive of one entry
// (PKWARE's APPNOTE.TXT 6.3.10), as a stream. It owns the records around the
// entry's data; what stands between them is package compress's. It never goes back
// in what it has written, and never writes a second entry.
package zip

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/plugins/internal/compress"
	"github.com/cipherstream/cipherstream/sdk"
)

// Settings are the settings of the stage.
type Settings struct {
	Level    int    `config:"level" default:"1" min:"1" max:"9" doc:"1 to 3 are fast, 5 and 6 small; 7 to 9 take several times longer and gain little."`
	Name     string `config:"name" default:"data" min:"1" max:"200" doc:"Name of the entry, without the ending, which comes from the format: data becomes data.csv, and data.ndjson where it is sealed."`
	Modified string `config:"modified" doc:"Time of the entry's last change (RFC 3339), from 1980 to 2107; kept in UTC, in steps of two seconds. Default: the start of 1980, so that equal data makes an equal archive."`
}

// sealedExtension is that of an entry of sealed lines.
const sealedExtension = ".ndjson"

const doc = `Writes a zip archive of one entry. An entry of up to 8,192 bytes is stored, not deflated.

The archive is written as a stream: the sizes of a deflated entry stand behind its data and in the
directory at the end. Sizes of 4 GiB and more are in the Zip64 form, smaller ones in the usual one.
Extracted by a tool that keeps permissions, the file can be read by its owner alone.

Behind an encryptor, where only base64 is left to gain from, the stage uses Huffman coding
alone, whatever the level.`

// Stage defines the compressor.
func Stage() sdk.Definition {
	return sdk.DefineCompressor(sdk.About{
		Name:       "zip",
		Summary:    "Compresses into a zip archive of one entry.",
		Doc:        doc,
		Concurrent: true,
	}, newCompressor)
}

func newCompressor(s Settings, _ sdk.Env) (sdk.Compressor, error) {
	if err := checkName(s.Name); err != nil {
		return nil, err
	}
	modified, err := parseTime(s.Modified)
	if err != nil {
		return nil, err
	}
	return &compressor{level: s.Level, name: s.Name, modified: modified}, nil
}

type compressor struct {
	level    int
	name     string
	modified time.Time

	stream *compress.Deflate
	entry  entry
	// begun is true when the entry's local header has been written, which waits for
	// the method.
	begun   bool
	scratch []byte
}

func (c *compressor) Bind(in sdk.Media) (sdk.Media, error) {
	if err := compress.Refuse("zip", in); err != nil {
		return in, err
	}
	c.stream = compress.NewDeflate(c.level, in)
	extension := in.Extension
	if in.Sealed {
		// Whatever was sealed, what is in the archive are sealed lines.
		extension = sealedExtension
	}
	c.entry = entry{name: c.name + extension, modified: c.modified}
	if err := checkName(c.entry.name); err != nil {
		return in, err
	}
	in.Type = compress.TypeZip
	in.Extension = ".zip"
	return in, nil
}

func (c *compressor) Begin(*sdk.Output) error { return nil }

func (c *compressor) Compress(_ context.Context, piece []byte, out *sdk.Output) error {
	return c.stream.Compress(piece, out)
}

// Merge puts the checksum together and gathers small pieces.
func (c *compressor) Merge(out *sdk.Output) error {
	if err := c.stream.Merge(out); err != nil {
		return err
	}
	c.deflated(out)
	return nil
}

// deflated counts the blocks in out and puts the local header before the first.
func (c *compressor) deflated(out *sdk.Output) {
	c.entry.packed += uint64(len(out.Data))
	if c.begun || len(out.Data) == 0 {
		return
	}
	c.begun = true
	c.entry.method, c.entry.streamed = methodDeflate, true
	c.scratch = append(c.scratch[:0], out.Data...)
	out.Data = c.entry.appendLocal(out.Data[:0])
	out.Data = append(out.Data, c.scratch...)
	c.scratch = nil
}

func (c *compressor) End(out *sdk.Output) error {
	text, stored := c.stream.Whole()
	if !stored {
		if err := c.stream.Finish(out); err != nil {
			return err
		}
		c.deflated(out)
	}
	c.entry.sum, c.entry.size = c.stream.Sum(), uint64(c.stream.Size())
	if stored {
		c.entry.packed = c.entry.size
		out.Data = c.entry.appendLocal(out.Data)
		out.Data = append(out.Data, text...)
	}
	out.Data = c.entry.appendEnd(out.Data)
	return nil
}
