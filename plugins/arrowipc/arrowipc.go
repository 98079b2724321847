// Package arrowipc is the encoder stage that writes Arrow IPC
// (https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc),
// as a stream or as a file. The bytes are package wire's.
// Column data goes out as it lies in memory; nothing is converted or compressed.
package arrowipc

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/zone"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// Settings are the settings of the stage.
type Settings struct {
	Layout string `config:"layout" enum:"file,stream" default:"file" doc:"A file can be opened at any record batch (pyarrow.ipc.open_file, Feather version 2); a stream is read from its start to its end (pyarrow.ipc.open_stream)."`
}

const doc = `Record batches as Arrow holds them in memory, so that any Arrow library maps them without a conversion; types,
nullability and the metadata of the fields stay what they are. Nothing is compressed: a compressor stage does that better
for the whole. A batch has about two thousand rows.`

// Stage defines the encoder.
func Stage() sdk.Definition {
	return sdk.DefineEncoder(sdk.About{
		Name:    "arrow",
		Summary: "Writes an Arrow IPC file or stream.",
		Doc:     doc,
		Out:     sdk.ShapeBytes,
	}, func(s Settings, _ sdk.Env) (sdk.Encoder, error) {
		return &encoder{file: s.Layout == "file"}, nil
	})
}

// encoder is the implementation of sdk.Encoder.
type encoder struct {
	file   bool
	schema *arrow.Schema
	guard  *zone.Guard
	writer *wire.Writer
	out    *sdk.Output // of the current call
}

// Write takes what the wire writer sends.
func (e *encoder) Write(p []byte) (int, error) { return e.out.Write(p) }

func (e *encoder) Bind(in *arrow.Schema) (sdk.Media, error) {
	e.schema, e.guard = in, zone.NewGuard(in)
	media := sdk.Media{Type: "application/vnd.apache.arrow.stream", Extension: ".arrows"}
	if e.file {
		media = sdk.Media{Type: "application/vnd.apache.arrow.file", Extension: ".arrow"}
	}
	_, err := wire.NewWriter(io.Discard, in)
	return media, code(err)
}

func (e *encoder) Begin(out *sdk.Output) error {
	e.out = out
	begin := wire.NewWriter
	if e.file {
		begin = wire.NewFileWriter
	}
	var err error
	e.writer, err = begin(e, e.schema)
	return code(err)
}

func (e *encoder) Encode(ctx context.Context, rows sdk.Rows, out *sdk.Output) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if rows.NumRows() == 0 {
		return nil
	}
	if err := e.guard.Check(rows.Record, rows.First); err != nil {
		return err
	}
	e.out = out
	return code(e.writer.Write(rows))
}

func (e *encoder) End(_ sdk.Totals, out *sdk.Output) error {
	e.out = out
	return code(e.writer.Close())
}

// code makes a fault of an error of the writer.
func code(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wire.ErrUnsupported):
		return fault.New("encoder.unsupported_type", fault.Data, "%w", err).
			WithHint("leave the column out with the columns filter, or convert it at the source")
	case errors.Is(err, wire.ErrTooLarge):
		return fault.New("encoder.too_large", fault.Data, "%w", err).
			WithHint("leave the long column out with the columns filter")
	case errors.Is(err, wire.ErrSchema):
		return fault.New("encoder.schema_changed", fault.Internal, "%w", err)
	}
	return err
}
