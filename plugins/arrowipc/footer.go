package arrowipc

import (
	"encoding/binary"
	"fmt"
	"math"

	flatbuffers "github.com/google/flatbuffers/go"
)

// opening starts a file: the magic, padded to eight bytes. The magic ends it too.
const (
	magic   = "ARROW1"
	opening = magic + "\x00\x00"
)

// Slots of the tables of Message.fbs and File.fbs, as offsets in a vtable.
const (
	messageHeader     = 4 + 2*2
	messageBodyLength = 4 + 2*3

	footerVersion = 0
	footerSchema  = 1
	footerBatches = 3
	footerSlots   = 4

	// metadataV5 is the version of the metadata that package wire writes.
	metadataV5 = 4
	// blockBytes is the size of the struct Block.
	blockBytes = 24
)

// block says where a record batch lies in the file.
type block struct {
	offset   int64
	metadata int32 // with the prefix of the message
	body     int64
}

// footer collects what stands at the end of a file: its schema, and where the record
// batches are.
type footer struct {
	schema []byte // the flatbuffer of the schema message
	blocks []block
	offset int64 // in the file, of the next message
}

// message is one message as it was written.
type message struct {
	flatbuffer []byte
	head       int // bytes in front of the body
	body       int64
}

// next takes a message off b, which this program has written.
func next(b []byte) (m message, rest []byte, err error) {
	if len(b) < 8 {
		return m, nil, fmt.Errorf("arrow: a message of %d bytes was written", len(b))
	}
	m.head = 8 + int(binary.LittleEndian.Uint32(b[4:]))
	m.flatbuffer = b[8:m.head]
	m.body = rootOf(m.flatbuffer).GetInt64Slot(messageBodyLength, 0)
	if int64(m.head)+m.body > int64(len(b)) || m.head > math.MaxInt32 {
		return m, nil, fmt.Errorf("arrow: a message of %d and %d bytes was written in %d", m.head, m.body, len(b))
	}
	return m, b[int64(m.head)+m.body:], nil
}

func rootOf(b []byte) *flatbuffers.Table {
	return &flatbuffers.Table{Bytes: b, Pos: flatbuffers.GetUOffsetT(b)}
}

func (f *footer) schemaMessage(b []byte) error {
	m, rest, err := next(b)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("arrow: the schema is not one message (%d more bytes): %w", len(rest), err)
	}
	f.schema = append([]byte(nil), m.flatbuffer...)
	f.offset += int64(len(b))
	return nil
}

// batchMessages takes what a record batch was written as: one message, or several.
func (f *footer) batchMessages(b []byte) error {
	for len(b) > 0 {
		m, rest, err := next(b)
		if err != nil {
			return err
		}
		f.blocks = append(f.blocks, block{f.offset, int32(m.head), m.body})
		f.offset += int64(m.head) + m.body
		b = rest
	}
	return nil
}

// append appends the footer, its length and the magic.
//
// The Footer table refers to a Schema table, and the schema message has one. Offsets in a
// flatbuffer count from where they stand, so the message is put behind the new tables as a whole and
// its Schema table is referred to there.
func (f *footer) append(dst []byte) []byte {
	var b []byte
	u16 := func(v int) { b = binary.LittleEndian.AppendUint16(b, uint16(v)) }
	u32 := func(v int) { b = binary.LittleEndian.AppendUint32(b, uint32(v)) }
	const (
		vtable    = 4 // behind the offset of the root
		tableSize = 4 + 2 + 2 + 4 + 4
		table     = vtable + 4 + 2*footerSlots + 4 // aligned to 8
		versionAt = 4
		schemaAt  = 8
		batchesAt = 12
	)
	u32(table)
	u16(4 + 2*footerSlots)
	u16(tableSize)
	slots := [footerSlots]int{footerVersion: versionAt, footerSchema: schemaAt, footerBatches: batchesAt}
	for _, at := range slots {
		u16(at)
	}
	u32(0)
	// The structs of the vector are aligned to 8, so that its length stands at 4 modulo 8.
	const vector = (table+tableSize+7)/8*8 + 4
	behind := vector + 4 + blockBytes*len(f.blocks)
	message := rootOf(f.schema)
	schema := behind + int(message.Pos) + int(message.Offset(messageHeader))
	schema += int(binary.LittleEndian.Uint32(f.schema[schema-behind:]))

	u32(table - vtable) // from the table back to its vtable
	u16(metadataV5)
	u16(0)
	u32(schema - (table + schemaAt))
	u32(vector - (table + batchesAt))
	for len(b) < vector {
		b = append(b, 0)
	}
	u32(len(f.blocks))
	for _, k := range f.blocks {
		b = binary.LittleEndian.AppendUint64(b, uint64(k.offset))
		u32(int(k.metadata))
		u32(0)
		b = binary.LittleEndian.AppendUint64(b, uint64(k.body))
	}
	b = append(b, f.schema...)

	dst = append(dst, b...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, magic...)
}
