package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// Reader reads one Arrow IPC stream. Read is not safe for concurrent use; records may be released, and Outstanding and
// Holders called, from any goroutine.
type Reader struct {
	r       *bufio.Reader
	cfg     config
	pool    *pool
	schema  *arrow.Schema
	columns []*layout
	meta    []byte
	custom  arrow.Metadata // of the last batch
	err     error
}

// readAhead is the size of the read buffer: enough for the prefix and the metadata of a usual message in one read. The
// bytes of a body that happen to be in it are copied; the rest of the body is read directly into its block.
const readAhead = 8 << 10

// NewReader reads the schema that starts a stream. It may read ahead, so what follows the stream on r is lost.
//
// Errors are those of Read, and ErrUnsupported for a column of a type that is not carried.
func NewReader(r io.Reader, opts ...Option) (_ *Reader, err error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	rd := &Reader{r: bufio.NewReaderSize(r, readAhead), cfg: cfg, pool: newPool(cfg.poolBytes, cfg.trace)}
	// Extension types are code of others, which is called with parameters that the peer chose.
	defer recovered(&err, "reading the schema")
	m, err := rd.message()
	if err != nil {
		if err == io.EOF {
			err = malformed("the stream ended before its schema")
		}
		return nil, err
	}
	if m.kind != headerSchema || m.bodyLength != 0 || m.inMemory {
		return nil, malformed("the first message is of kind %d with a body of %d bytes; expected a schema without one", m.kind, m.bodyLength)
	}
	if rd.schema, err = parseSchema(m.header); err != nil {
		return nil, err
	}
	if rd.columns, err = layoutsOf(rd.schema); err != nil {
		return nil, err
	}
	return rd, nil
}

// Schema is the schema of the stream, with the metadata of the schema and its fields.
func (r *Reader) Schema() *arrow.Schema { return r.schema }

// Read returns the next record batch. The caller owns it and must release it; what is taken from it is valid until
// then.
//
// io.EOF means that the stream ended with its end-of-stream marker. Other errors are ErrTruncated, ErrMalformed,
// ErrUnsupported, ErrTooLarge, and those of the connection, wrapped. After any error the stream is over and the same
// error is returned again.
func (r *Reader) Read() (arrow.Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	rec, err := r.read()
	r.err = err
	return rec, err
}

// Metadata is the custom metadata of the batch that Read has returned last.
func (r *Reader) Metadata() arrow.Metadata { return r.custom }

func (r *Reader) read() (rec arrow.Record, err error) {
	r.custom = arrow.Metadata{}
	m, err := r.message()
	if err != nil {
		return nil, err
	}
	switch m.kind {
	case headerRecordBatch:
	case headerDictionaryBatch:
		return nil, unsupported("the stream holds a dictionary, which no column of its schema uses")
	default:
		return nil, malformed("message of kind %d; expected a record batch", m.kind)
	}
	if m.bodyLength > r.cfg.maxMessageBytes {
		return nil, fmt.Errorf("%w: a record batch has a body of %d bytes; expected at most %d", ErrTooLarge, m.bodyLength, r.cfg.maxMessageBytes)
	}
	if r.custom, err = customMetadata(m.whole); err != nil {
		return nil, err
	}
	var d decoder
	defer recovered(&err, "building a record batch")
	defer d.release()
	if m.bodyLength > 0 {
		b, err := r.bodyOf(m)
		if err != nil {
			return nil, err
		}
		d.body, d.shared = b.data[:m.bodyLength], m.inMemory
		// A new buffer has one reference, which belongs to the decoder.
		d.parent = memory.NewBufferWithAllocator(d.body, b)
		d.slices = append(d.slices, d.parent)
	}
	return d.record(m.header, r.schema, r.columns)
}

// recovered turns a panic into an error. After the checks only extension types, which are code of others, are known to
// panic. It is there for what the checks overlook as well: a peer must not be able to end this process.
func recovered(err *error, doing string) {
	if p := recover(); p != nil {
		*err = malformed("%s: %v", doing, p)
	}
}

// message reads the prefix and the metadata of the next message; io.EOF is the end-of-stream marker.
func (r *Reader) message() (message, error) {
	var prefix [prefixBytes]byte
	if _, err := io.ReadFull(r.r, prefix[:]); err != nil {
		return message{}, readError("reading the start of a message", err)
	}
	c := binary.LittleEndian.Uint32(prefix[:])
	inMemory := c == atMemory && r.cfg.readMemory != nil
	if c != continuation && !inMemory {
		return message{}, malformed("a message starts with %08x; expected %08x (not an Arrow stream, or one from before Arrow 0.15)", c, uint32(continuation))
	}
	n := int32(binary.LittleEndian.Uint32(prefix[4:]))
	switch {
	case n == 0 && !inMemory:
		return message{}, io.EOF
	case n < 0:
		return message{}, malformed("metadata of %d bytes", n)
	case n > MaxMetadataBytes:
		return message{}, fmt.Errorf("%w: metadata of %d bytes; expected at most %d", ErrTooLarge, n, MaxMetadataBytes)
	}
	var position [8]byte
	if inMemory {
		if _, err := io.ReadFull(r.r, position[:]); err != nil {
			return message{}, readError("reading where a body is", err)
		}
	}
	if cap(r.meta) < int(n) {
		r.meta = make([]byte, n)
	}
	r.meta = r.meta[:n]
	if _, err := io.ReadFull(r.r, r.meta); err != nil {
		return message{}, readError("reading the metadata of a message", err)
	}
	m, err := parseMessage(r.meta)
	m.inMemory, m.position = inMemory, binary.LittleEndian.Uint64(position[:])
	return m, err
}

// bodyOf is the body of a message, read or in shared memory.
func (r *Reader) bodyOf(m message) (*block, error) {
	if !m.inMemory {
		return r.body(int(m.bodyLength))
	}
	data, slot, err := r.cfg.readMemory.lend(m.position, m.bodyLength)
	if err != nil {
		return nil, err
	}
	return r.pool.lent(&block{pool: r.pool, data: data, memory: r.cfg.readMemory, slot: slot}), nil
}

// body reads a body of n bytes. The length is the peer's claim, so a large body is read in steps that double: never
// more than growBytes, or twice what has arrived, is allocated before the bytes are there.
func (r *Reader) body(n int) (*block, error) {
	size := int(min(int64(n), r.cfg.growBytes))
	b := r.pool.get(size)
	for have := 0; ; {
		if _, err := io.ReadFull(r.r, b.data[have:size]); err != nil {
			r.pool.put(b)
			return nil, readError("reading the body of a record batch", err)
		}
		if size == n {
			return b, nil
		}
		have, size = size, min(n, 2*size)
		larger := r.pool.get(size)
		copy(larger.data, b.data[:have])
		r.pool.put(b)
		b = larger
	}
}

// EndTimeout is how long a reader waits for the end of a connection whose stream has ended.
const EndTimeout = time.Second

// More reports whether anything follows the end-of-stream marker. Nothing may, but some libraries write a second stream
// there when the schema changes. It returns when the connection has ended, or a byte has come.
func (r *Reader) More() bool {
	_, err := r.r.ReadByte()
	return err == nil
}

// Outstanding is the number of body buffers that records still hold. It is zero once every record is released.
func (r *Reader) Outstanding() int { return r.pool.outstanding() }

// Holders tells, for every outstanding buffer, when and from where it was read. It is empty without WithHolderTrace.
func (r *Reader) Holders() []Holder { return r.pool.list() }
