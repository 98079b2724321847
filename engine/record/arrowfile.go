package record

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/cipherstream/cipherstream/sdk/wire"
)

// An Arrow IPC file is the magic, padded to eight bytes, an IPC stream, a footer that
// tells where the batches are, its length and the magic again
// (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format).
const (
	arrowMagic   = "ARROW1"
	arrowOpening = arrowMagic + "\x00\x00"
)

const (
	streamPrefix  = 8 // continuation marker and length of the metadata
	continuation  = math.MaxUint32
	copyBuffer    = 256 << 10
	blockBytes    = 24 // of the struct Block (File.fbs)
	footerFields  = 5
	footerVersion = 0
	footerSchema  = 1
	footerBatches = 3
)

// arrowFile makes an Arrow IPC file of the messages of an IPC stream, as they are.
type arrowFile struct {
	file   *os.File
	out    *bufio.Writer
	offset int64
	schema []byte // the metadata of the schema message
	blocks []block
	rows   int64
	bytes  int64
}

// block says where a batch lies in the file.
type block struct {
	offset   int64
	metadata int32 // with the prefix of the message
	body     int64
}

func newArrowFile(file *os.File) (*arrowFile, error) {
	f := &arrowFile{file: file, out: bufio.NewWriterSize(file, copyBuffer)}
	return f, f.write([]byte(arrowOpening))
}

func (f *arrowFile) write(p []byte) error {
	n, err := f.out.Write(p)
	f.offset += int64(n)
	return err
}

// message notes that a message with this metadata begins at offset.
func (f *arrowFile) message(offset int64, metadata []byte, m wire.Message) {
	switch {
	case m.Schema:
		f.schema = append([]byte(nil), metadata...)
	case m.RecordBatch:
		f.blocks = append(f.blocks, block{offset, int32(streamPrefix + len(metadata)), m.BodyBytes})
		f.rows += m.Rows
		f.bytes += m.BodyBytes
	}
}

// finish writes the footer of a stream that has ended with its marker.
//
// The footer refers to a Schema table. The schema message has one, so that message goes
// into the footer as a vector of bytes, and the table in it is referred to.
func (f *arrowFile) finish() error {
	m, err := wire.ParseMessage(f.schema)
	if err != nil {
		return errNoSchema
	}
	b := flatbuffers.NewBuilder(1<<10 + len(f.schema) + blockBytes*len(f.blocks))
	b.StartVector(1, len(f.schema), 8)
	for i := len(f.schema) - 1; i >= 0; i-- {
		b.PlaceByte(f.schema[i])
	}
	// Offsets count from the end of the buffer; the bytes stand behind their length.
	schema := b.EndVector(len(f.schema)) - 4 - flatbuffers.UOffsetT(m.HeaderAt)
	b.StartVector(blockBytes, len(f.blocks), 8)
	for i := len(f.blocks) - 1; i >= 0; i-- {
		b.PlaceInt64(f.blocks[i].body)
		b.PlaceInt32(0)
		b.PlaceInt32(f.blocks[i].metadata)
		b.PlaceInt64(f.blocks[i].offset)
	}
	batches := b.EndVector(len(f.blocks))
	b.StartObject(footerFields)
	b.PrependInt16Slot(footerVersion, m.Version, 0)
	b.PrependUOffsetTSlot(footerSchema, schema, 0)
	b.PrependUOffsetTSlot(footerBatches, batches, 0)
	b.Finish(b.EndObject())
	footer := b.FinishedBytes()
	end := binary.LittleEndian.AppendUint32(nil, uint32(len(footer)))
	for _, p := range [][]byte{footer, end, []byte(arrowMagic)} {
		if err := f.write(p); err != nil {
			return err
		}
	}
	return f.out.Flush()
}

var errNoSchema = errors.New("the stream has no schema")

// ending is how a stream ended.
type ending int

const (
	endedWhole     ending = iota // with its end-of-stream marker
	endedTruncated               // without: its writer went away
	endedForeign                 // it is no Arrow stream
	endedRefused                 // its reader went away
)

// copyStream copies an Arrow IPC stream to a reader, byte by byte as it comes, and into
// the file. What is no Arrow stream is copied too, for its reader to refuse. The error
// is the file's own.
func copyStream(to io.Writer, f *arrowFile, from io.Reader) (ending, error) {
	var head []byte
	buffer := make([]byte, copyBuffer)
	both := func(p []byte) (refused bool, err error) {
		if len(p) == 0 {
			return false, nil
		}
		if _, err := to.Write(p); err != nil {
			return true, nil
		}
		return false, f.write(p)
	}
	for {
		offset := f.offset
		head = append(head[:0], make([]byte, streamPrefix)...)
		n, err := io.ReadFull(from, head)
		if err != nil {
			_, err := both(head[:n])
			return endedTruncated, err
		}
		length := int32(binary.LittleEndian.Uint32(head[4:]))
		marked := binary.LittleEndian.Uint32(head) == continuation
		if marked && length == 0 {
			refused, err := both(head)
			return endingOf(refused, endedWhole), err
		}
		var m wire.Message
		ok := marked && length > 0 && length <= wire.MaxMetadataBytes
		if ok {
			head = append(head, make([]byte, length)...)
			if n, err = io.ReadFull(from, head[streamPrefix:]); err != nil {
				_, err := both(head[:streamPrefix+n])
				return endedTruncated, err
			}
			m, err = wire.ParseMessage(head[streamPrefix:])
			ok = err == nil
		}
		if refused, err := both(head); refused || err != nil {
			return endingOf(refused, endedTruncated), err
		}
		left := m.BodyBytes
		if !ok {
			left = math.MaxInt64
		}
		for left > 0 {
			n, err := from.Read(buffer[:min(left, copyBuffer)])
			left -= int64(n)
			if refused, err := both(buffer[:n]); refused || err != nil {
				return endingOf(refused, endedTruncated), err
			}
			if err != nil {
				if !ok {
					return endedForeign, nil
				}
				return endedTruncated, nil
			}
		}
		f.message(offset, head[streamPrefix:], m)
	}
}

func endingOf(refused bool, otherwise ending) ending {
	if refused {
		return endedRefused
	}
	return otherwise
}
