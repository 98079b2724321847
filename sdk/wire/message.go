package wire

// Message is what the metadata of one message of an Arrow IPC stream says (Message.fbs).
type Message struct {
	// Version is the MetadataVersion: 3 for V4, 4 for V5.
	Version int16
	// Schema and RecordBatch say which of the two the message is; neither for other kinds.
	Schema, RecordBatch bool
	// HeaderAt is where the table of that kind is in the metadata, in bytes.
	HeaderAt int
	// BodyBytes is the length of the body that follows the metadata.
	BodyBytes int64
	// Rows is the number of rows of a record batch.
	Rows int64
}

// ParseMessage reads the metadata of a message, for callers that copy a stream without decoding it. The body is not
// looked at: that the result fits it is not checked. Errors are ErrMalformed and ErrUnsupported.
func ParseMessage(metadata []byte) (Message, error) {
	m, err := parseMessage(metadata)
	if err != nil {
		return Message{}, err
	}
	out := Message{
		Version: m.version, Schema: m.kind == headerSchema, RecordBatch: m.kind == headerRecordBatch,
		HeaderAt: m.header.pos, BodyBytes: m.bodyLength,
	}
	if out.RecordBatch {
		out.Rows = m.header.int64(batchLength, 0)
	}
	if f := m.header.f; f.err != nil {
		return Message{}, f.err
	}
	if out.Rows < 0 {
		return Message{}, malformed("record batch of %d rows", out.Rows)
	}
	return out, nil
}

// message is the metadata of a message. All of it but the header table has been checked.
type message struct {
	version    int16
	kind       uint8
	bodyLength int64
	header     table
	whole      table

	// inMemory says that the body lies at a position of shared memory.
	inMemory bool
	position uint64
}

func parseMessage(metadata []byte) (message, error) {
	f := &flatbuf{b: metadata}
	t := f.root()
	m := message{version: t.int16(messageVersion, 0), kind: t.uint8(messageHeaderType, 0),
		bodyLength: t.int64(messageBodyLength, 0), whole: t}
	header, ok := t.table(messageHeader)
	m.header = header
	switch {
	case f.err != nil:
		return message{}, f.err
	case m.version != metadataV4 && m.version != metadataV5:
		return message{}, unsupported("metadata version V%d; expected V4 or V5", int(m.version)+1)
	case !ok:
		return message{}, malformed("message without a header")
	case m.bodyLength < 0:
		return message{}, malformed("body of %d bytes", m.bodyLength)
	}
	return m, nil
}
