package run

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"

	flatbuffers "github.com/google/flatbuffers/go"
)

// An Arrow IPC file is the magic, padded to eight bytes, an IPC stream, a footer that
// tells where the batches are, its length and the magic again
// (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format).
const (
	arrowMagic   = "ARROW1"
	arrowOpening = arrowMagic + "\x00\x00"
)

const (
	streamPrefix   = 8 // continuation marker and length of the metadata
	continuation   = math.MaxUint32
	maxMetadata    = 16 << 20 // as package wire has it
	schemaHeader   = 1        // kinds of messages (Message.fbs)
	batchHeader    = 3
	copyBuffer     = 256 << 10
	blockBytes     = 24 // of the struct Block (File.fbs)
	footerFields   = 5
	footerVersion  = 0
	footerSchema   = 1
	footerBatches  = 3
	messageVersion = 0 // slots of Message (Message.fbs)
	messageKind    = 1
	messageHeader  = 2
	messageBody    = 3
	batchRows      = 0 // slot of RecordBatch
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
func (f *arrowFile) message(offset int64, metadata []byte, m message) {
	switch m.kind {
	case schemaHeader:
		f.schema = append([]byte(nil), metadata...)
	case batchHeader:
		f.blocks = append(f.blocks, block{offset, int32(streamPrefix + len(metadata)), m.body})
		f.rows += m.rows
		f.bytes += m.body
	}
}

// finish writes the footer of a stream that has ended with its marker.
//
// The footer refers to a Schema table. The schema message has one, so that message goes
// into the footer as a vector of bytes, and the table in it is referred to.
func (f *arrowFile) finish() error {
	m, ok := parseMessage(f.schema)
	if !ok {
		return errNoSchema
	}
	b := flatbuffers.NewBuilder(1<<10 + len(f.schema) + blockBytes*len(f.blocks))
	b.StartVector(1, len(f.schema), 8)
	for i := len(f.schema) - 1; i >= 0; i-- {
		b.PlaceByte(f.schema[i])
	}
	// Offsets count from the end of the buffer; the bytes stand behind their length.
	schema := b.EndVector(len(f.schema)) - 4 - flatbuffers.UOffsetT(m.header)
	b.StartVector(blockBytes, len(f.blocks), 8)
	for i := len(f.blocks) - 1; i >= 0; i-- {
		b.PlaceInt64(f.blocks[i].body)
		b.PlaceInt32(0)
		b.PlaceInt32(f.blocks[i].metadata)
		b.PlaceInt64(f.blocks[i].offset)
	}
	batches := b.EndVector(len(f.blocks))
	b.StartObject(footerFields)
	b.PrependInt16Slot(footerVersion, m.version, 0)
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
		var m message
		ok := marked && length > 0 && length <= maxMetadata
		if ok {
			head = append(head, make([]byte, length)...)
			if n, err = io.ReadFull(from, head[streamPrefix:]); err != nil {
				_, err := both(head[:streamPrefix+n])
				return endedTruncated, err
			}
			m, ok = parseMessage(head[streamPrefix:])
		}
		if refused, err := both(head); refused || err != nil {
			return endingOf(refused, endedTruncated), err
		}
		left := m.body
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

// message is what the metadata of a message says.
type message struct {
	version int16
	kind    byte
	header  int   // where its header, a table, is in the metadata
	body    int64 // bytes
	rows    int64 // of a record batch
}

// parseMessage reads the metadata of a message (Message.fbs). Nothing is believed that
// does not lie within it.
func parseMessage(b []byte) (m message, ok bool) {
	root, ok := uint32At(b, 0)
	if !ok {
		return m, false
	}
	version, ok1 := slot(b, root, messageVersion, 2)
	kind, ok2 := slot(b, root, messageKind, 1)
	header, ok3 := slot(b, root, messageHeader, 4)
	body, ok4 := slot(b, root, messageBody, 8)
	if !ok1 || !ok2 || !ok3 || !ok4 || kind < 0 || header < 0 {
		return m, false
	}
	if version >= 0 {
		m.version = int16(binary.LittleEndian.Uint16(b[version:]))
	}
	m.kind = b[kind]
	if body >= 0 {
		m.body = int64(binary.LittleEndian.Uint64(b[body:]))
	}
	distance, _ := uint32At(b, header) // slot has checked it
	m.header = header + distance
	rows, ok := slot(b, m.header, batchRows, 8)
	if !ok || m.body < 0 {
		return m, false
	}
	if m.kind == batchHeader && rows >= 0 {
		m.rows = int64(binary.LittleEndian.Uint64(b[rows:]))
	}
	return m, m.rows >= 0
}

// uint32At reads an offset.
func uint32At(b []byte, at int) (int, bool) {
	if at < 0 || at > len(b)-4 {
		return 0, false
	}
	v := binary.LittleEndian.Uint32(b[at:])
	return int(v), int64(v) <= int64(len(b))
}

// slot returns the place of a table's field of that size, and -1 when it is left out.
func slot(b []byte, table, n, size int) (at int, ok bool) {
	if table < 0 || table > len(b)-4 {
		return 0, false
	}
	vtable := table - int(int32(binary.LittleEndian.Uint32(b[table:])))
	if vtable < 0 || vtable > len(b)-4 {
		return 0, false
	}
	length := int(binary.LittleEndian.Uint16(b[vtable:]))
	entry := 4 + 2*n
	if vtable+length > len(b) {
		return 0, false
	}
	if entry+2 > length {
		return -1, true
	}
	offset := int(binary.LittleEndian.Uint16(b[vtable+entry:]))
	if offset == 0 {
		return -1, true
	}
	at = table + offset
	return at, at <= len(b)-size
}
