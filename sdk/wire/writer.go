package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/apache/arrow/go/v15/arrow"
)

const continuation = 0xFFFFFFFF

// prefixBytes is the continuation marker and the metadata length, which start every message. An end-of-stream marker is
// a prefix with length zero.
const prefixBytes = 8

// Writer writes one Arrow IPC stream, or a file, which is one with more around it. It is not safe for concurrent use.
//
// The first failure breaks the stream, because a part of a message may be on the wire already: every later call returns
// the same error, and Close writes no end-of-stream marker. To abandon a stream that has not failed, close the
// connection and do not call Close: the reader then gets ErrTruncated.
type Writer struct {
	w       io.Writer
	schema  *arrow.Schema
	seen    *arrow.Schema // the schema of the last record that was found to fit
	columns []*layout
	cfg     config

	enc    encoder
	head   []byte
	gather net.Buffers
	small  *bufio.Writer // for writers without a vectored write
	file   *fileIndex    // of a file; nil for a stream
	err    error

	inPlace bool // the values of the last batch were in shared memory
}

// NewWriter starts a stream by writing its schema to w, which should be a *net.UnixConn or *net.TCPConn: these take a
// message in one vectored write. For any other writer the pieces of a message are joined in a buffer first.
//
// A schema with a column that cannot be carried gives ErrUnsupported and writes nothing.
func NewWriter(w io.Writer, schema *arrow.Schema, opts ...Option) (*Writer, error) {
	return newWriter(w, schema, nil, opts)
}

func newWriter(w io.Writer, schema *arrow.Schema, file *fileIndex, opts []Option) (*Writer, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	cols, err := layoutsOf(schema)
	if err != nil {
		return nil, err
	}
	meta, err := schemaMessage(schema)
	if err != nil {
		return nil, err
	}
	if len(meta) > MaxMetadataBytes-alignment {
		return nil, fmt.Errorf("%w: the schema takes %d bytes; expected at most %d", ErrTooLarge, len(meta), MaxMetadataBytes-alignment)
	}
	wr := &Writer{w: w, schema: schema, seen: schema, columns: cols, cfg: cfg, file: file}
	switch w.(type) {
	case *net.UnixConn, *net.TCPConn:
	default:
		wr.small = bufio.NewWriterSize(w, 64<<10)
	}
	if file != nil {
		if err := file.begin(w); err != nil {
			return nil, fmt.Errorf("wire: writing the start of a file: %w", err)
		}
	}
	if err := wr.send(continuation, nil, meta, nil); err != nil {
		return nil, fmt.Errorf("wire: writing the schema: %w", err)
	}
	return wr, nil
}

// Write sends a record, as several batches if it is above WithMaxBatchBytes. It returns when the bytes are handed to
// the connection; the record is not retained. The record's columns must have the names and types of the stream's
// schema.
//
// Errors are ErrSchema, ErrTooLarge, ErrMalformed (arrays that are inconsistent in themselves), ErrClosed, and those of
// the connection, wrapped.
func (w *Writer) Write(rec arrow.Record) error { return w.WriteWithMetadata(rec, arrow.Metadata{}) }

// InPlace reports whether the values of the batch that was written last were in memory that WriteMemory.Take has returned, and
// is the reader's now.
func (w *Writer) InPlace() bool { return w.inPlace }

// WriteWithMetadata is Write of a record with custom metadata. Where the record becomes several batches, the last has
// it.
func (w *Writer) WriteWithMetadata(rec arrow.Record, custom arrow.Metadata) error {
	if w.err != nil {
		return w.err
	}
	if w.err = w.write(rec, custom); w.err != nil {
		w.enc.reset()
	}
	return w.err
}

func (w *Writer) write(rec arrow.Record, custom arrow.Metadata) error {
	if s := rec.Schema(); s != w.seen {
		if err := fits(s, w.schema); err != nil {
			return err
		}
		w.seen = s
	}
	return w.rows(rec, 0, rec.NumRows(), custom)
}

func fits(got, want *arrow.Schema) error {
	if got.NumFields() != want.NumFields() {
		return fmt.Errorf("%w: it has %d columns; expected %d", ErrSchema, got.NumFields(), want.NumFields())
	}
	for i := range want.Fields() {
		g, f := got.Field(i), want.Field(i)
		if g.Name != f.Name || !arrow.TypeEqual(g.Type, f.Type) {
			return fmt.Errorf("%w: column %d is %.64q of type %s; expected %.64q of type %s", ErrSchema, i+1, g.Name,
				g.Type, f.Name, f.Type)
		}
	}
	return nil
}

// rows sends n rows from row lo, in halves, and halves of those, until each fits. So a single long row makes only the
// batches around it short; equal parts would all have to be as short as that row needs.
func (w *Writer) rows(rec arrow.Record, lo, n int64, custom arrow.Metadata) error {
	if n > 1 && (n > maxRows || w.size(rec, lo, n) > w.cfg.maxBatchBytes) {
		half := n / 2
		if half > 8 {
			half &^= 7 // bitmaps that start at a byte are not copied
		}
		if err := w.rows(rec, lo, half, arrow.Metadata{}); err != nil {
			return err
		}
		return w.rows(rec, lo+half, n-half, custom)
	}
	w.enc.reset()
	for i, l := range w.columns {
		d := rec.Column(i).Data()
		if err := w.enc.column(l, d, d.Offset()+int(lo), int(n)); err != nil {
			return err
		}
	}
	if w.enc.body > w.cfg.maxMessageBytes {
		return fmt.Errorf("%w: one row takes %d bytes; expected at most %d", ErrTooLarge, w.enc.body,
			w.cfg.maxMessageBytes)
	}
	metadata := w.enc.metadata(n, custom)
	if len(metadata) > MaxMetadataBytes-alignment {
		return fmt.Errorf("%w: the metadata of a batch takes %d bytes; expected at most %d", ErrTooLarge, len(metadata),
			MaxMetadataBytes-alignment)
	}
	marker, position, body := uint32(continuation), []byte(nil), w.enc.pieces
	if m := w.cfg.writeMemory; m != nil {
		at, inPlace, ok := m.place(body, w.enc.body)
		if w.inPlace = inPlace; ok {
			marker, position, body = atMemory, binary.LittleEndian.AppendUint64(nil, uint64(at)), nil
		}
	}
	if err := w.send(marker, position, metadata, body); err != nil {
		return fmt.Errorf("wire: writing a record batch: %w", err)
	}
	if int64(cap(w.enc.scratch)) > w.cfg.maxBatchBytes {
		w.enc.scratch = nil
	}
	return nil
}

func (w *Writer) size(rec arrow.Record, lo, n int64) (size int64) {
	for i, l := range w.columns {
		d := rec.Column(i).Data()
		size += bodySize(l, d, d.Offset()+int(lo), int(n))
	}
	return size
}

// send writes one message. Position is where its body lies in shared memory, and empty where it follows. The metadata is
// padded so that the body starts at a multiple of alignment in the stream; the
// format asks for 8 only.
func (w *Writer) send(marker uint32, position, metadata []byte, body [][]byte) error {
	total := (prefixBytes+len(metadata)+alignment-1)&^(alignment-1) + len(position)
	w.head = binary.LittleEndian.AppendUint32(w.head[:0], marker)
	w.head = binary.LittleEndian.AppendUint32(w.head, uint32(total-prefixBytes-len(position)))
	w.head = append(w.head, position...)
	w.head = append(w.head, metadata...)
	w.head = append(w.head, zeros[:total-len(w.head)]...)
	if w.file != nil {
		if err := w.file.sent(w.head); err != nil {
			return err
		}
	}

	if w.small != nil {
		if _, err := w.small.Write(w.head); err != nil {
			return err
		}
		for _, p := range body {
			if _, err := w.small.Write(p); err != nil {
				return err
			}
		}
		return w.small.Flush()
	}
	pieces := append(w.gather[:0], w.head)
	pieces = append(pieces, body...)
	w.gather = pieces
	_, err := w.gather.WriteTo(w.w)
	clear(pieces)
	w.gather = pieces[:0]
	return err
}

// Close ends the stream with the end-of-stream marker, and a file with its footer. It does not close the connection. A
// second Close does nothing; after a failed Write it writes nothing and returns that error.
func (w *Writer) Close() error {
	if errors.Is(w.err, ErrClosed) {
		return nil
	}
	if w.err != nil {
		return w.err
	}
	end := binary.LittleEndian.AppendUint32(nil, continuation)
	end = binary.LittleEndian.AppendUint32(end, 0)
	if w.file != nil {
		footer, err := w.file.Footer()
		if err != nil {
			w.err = err
			return err
		}
		end = append(end, footer...)
	}
	if _, err := w.w.Write(end); err != nil {
		w.err = fmt.Errorf("wire: writing the end-of-stream marker: %w", err)
		return w.err
	}
	w.err = ErrClosed
	return nil
}
