package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	flatbuffers "github.com/google/flatbuffers/go"
)

// The "IPC File Format" of https://arrow.apache.org/docs/format/Columnar.html: the magic, padded to eight bytes, a
// stream with its marker, a footer that tells where the batches are, its length, and the magic again.
const (
	fileMagic = "ARROW1"
	// FileOpening is what a file begins with, in front of its stream.
	FileOpening = fileMagic + "\x00\x00"
)

// Slots of the table Footer of File.fbs, and the size of its struct Block.
const (
	footerVersion = 0
	footerSchema  = 1
	footerBatches = 3
	footerSlots   = 5
	blockBytes    = 24
)

// FileIndex collects what stands at the end of a file: the schema, and where its record batches are.
type FileIndex struct {
	message []byte // the metadata of the schema's message
	schema  Message
	blocks  []fileBlock
}

// fileBlock says where a record batch lies in the file.
type fileBlock struct {
	offset, body int64
	metadata     int32 // with the prefix of the message
}

// Add notes a message that begins at that offset of the file, with its metadata (what stands behind the prefix of eight
// bytes, and in front of the body) and what ParseMessage says of it.
func (x *FileIndex) Add(offset int64, metadata []byte, m Message) {
	switch {
	case m.Schema:
		x.message, x.schema = append([]byte(nil), metadata...), m
	case m.RecordBatch:
		x.blocks = append(x.blocks, fileBlock{offset: offset, body: m.BodyBytes, metadata: int32(prefixBytes + len(metadata))})
	}
}

// ErrNoSchema is the error of an index that was given no schema.
var ErrNoSchema = errors.New("wire: the stream has no schema")

// Footer renders what follows the end-of-stream marker.
//
// The footer refers to a Schema table. The schema's message has one, so the message goes into the footer as a vector of
// bytes, and the table in it is referred to.
func (x *FileIndex) Footer() ([]byte, error) {
	if x.message == nil {
		return nil, ErrNoSchema
	}
	b := flatbuffers.NewBuilder(1<<10 + len(x.message) + blockBytes*len(x.blocks))
	b.StartVector(1, len(x.message), 8)
	for i := len(x.message) - 1; i >= 0; i-- {
		b.PlaceByte(x.message[i])
	}
	// Offsets count from the end of the buffer; the bytes stand behind their length.
	schema := b.EndVector(len(x.message)) - 4 - flatbuffers.UOffsetT(x.schema.HeaderAt)
	b.StartVector(blockBytes, len(x.blocks), 8)
	for i := len(x.blocks) - 1; i >= 0; i-- {
		b.PlaceInt64(x.blocks[i].body)
		b.PlaceInt32(0)
		b.PlaceInt32(x.blocks[i].metadata)
		b.PlaceInt64(x.blocks[i].offset)
	}
	batches := b.EndVector(len(x.blocks))
	b.StartObject(footerSlots)
	b.PrependInt16Slot(footerVersion, x.schema.Version, 0)
	b.PrependUOffsetTSlot(footerSchema, schema, 0)
	b.PrependUOffsetTSlot(footerBatches, batches, 0)
	b.Finish(b.EndObject())
	footer := b.FinishedBytes()
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	return append(footer, fileMagic...), nil
}

// fileIndex is the index of a file that a Writer writes, and where it is in it.
type fileIndex struct {
	FileIndex
	offset int64
}

// NewFileWriter is NewWriter for a file: it starts with FileOpening, and Close ends it with the footer.
func NewFileWriter(w io.Writer, schema *arrow.Schema, opts ...Option) (*Writer, error) {
	return newWriter(w, schema, &fileIndex{}, opts)
}

// begin writes what stands in front of the stream.
func (x *fileIndex) begin(w io.Writer) error {
	_, err := w.Write([]byte(FileOpening))
	x.offset = int64(len(FileOpening))
	return err
}

// sent notes a message that has been written, with its prefix in head.
func (x *fileIndex) sent(head []byte) error {
	m, err := ParseMessage(head[prefixBytes:])
	if err != nil {
		return fmt.Errorf("wire: a message that was written: %w", err)
	}
	x.Add(x.offset, head[prefixBytes:], m)
	x.offset += int64(len(head)) + m.BodyBytes
	return nil
}
