package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// Codes of link faults. The two "ended" codes are echoes: the neighbour knows
// the cause, so the host prefers its fault to these.
const (
	UpstreamEnded   = "link.upstream_ended"
	DownstreamEnded = "link.downstream_ended"
	LinkProtocol    = "link.protocol"
	// LinkEarlyEnd is the code of a reader that needs no more rows although nothing there may leave any out.
	LinkEarlyEnd = "link.early_end"
	// LinkStranger is the code of a data socket at which somebody else listens.
	LinkStranger = "link.stranger"
)

// Schema metadata of the records and bytes shapes.
const (
	metaShape = "cipherstream.shape"
	metaMedia = "cipherstream.media"
)

func listen(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fault.New("link.listen", fault.Internal, "cannot listen on the data socket: %w", err)
	}
	return l, nil
}

// accept waits for the one upstream neighbour. Whoever else connects is turned away, which the log is told once.
func accept(ctx context.Context, l *net.UnixListener, from peer.Expected, log *slog.Logger) (*net.UnixConn, error) {
	said := false
	conn, err := peer.Accept(ctx, l, from, func(err error) {
		// One that went away before it was answered is the stage before, which has failed and says so itself.
		gone := errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
		if !said && !gone {
			said = true
			log.Warn("a process that is not the stage before connected to the data socket, and was turned away",
				"process", err.Error())
		}
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fault.New(UpstreamEnded, fault.Plugin, "the stage before did not connect: %w", err)
	}
	return conn, nil
}

// sendBuffer is how much of a data socket's stream the system is asked to hold, so that a writer of batches sleeps less
// often in the middle of one. The system grants what it allows (net.core.wmem_max on Linux).
const sendBuffer = 1 << 20

// dial connects to the downstream neighbour, and sends no more than the hello.
func dial(ctx context.Context, path string, to peer.Expected) (*net.UnixConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fault.New(DownstreamEnded, fault.Plugin, "cannot connect to the stage after: %w", errors.Unwrap(err))
	}
	conn := c.(*net.UnixConn)
	_ = conn.SetWriteBuffer(sendBuffer) // it works with a smaller one too
	if err := to.SendHello(conn); err != nil {
		conn.Close()
		return nil, PeerFault(err)
	}
	return conn, nil
}

// PeerFault is the fault of a writer that does not find its reader at the other end.
func PeerFault(err error) error {
	var stranger *peer.StrangerError
	if errors.As(err, &stranger) {
		return fault.New(LinkStranger, fault.Plugin, "somebody else listens at the data socket of the stage after: %w",
			err).
			WithHint("a program of this user, or of root, has taken the socket's place; nothing was sent to it")
	}
	return fault.New(DownstreamEnded, fault.Plugin, "the stage after ended before it took anything: %w", err)
}

// memorySlots is how many batches may be in the memory between two groups at once: one for each worker, and one each that is on
// its way, was read, and is worked on by the reader.
func memorySlots() int { return min(3+runtime.GOMAXPROCS(0), 32) }

// giveMemory makes memory for what comes over a connection, and sends it to the writer. It is nil where there is none,
// which the writer is told.
func giveMemory(conn *net.UnixConn, log *slog.Logger) (*wire.ReadMemory, error) {
	memory, file, err := wire.NewReadMemory(conn, memorySlots())
	if err != nil {
		log.Debug("batches go over the socket", "error", err.Error())
	} else {
		defer file.Close()
	}
	if err := peer.SendFile(conn, file); err != nil {
		if memory != nil {
			memory.Close()
		}
		return nil, fault.New(UpstreamEnded, fault.Plugin, "the stage before ended before it sent anything: %w", err)
	}
	return memory, nil
}

// takeMemory is the writer's side of giveMemory.
func takeMemory(ctx context.Context, conn *net.UnixConn) (*wire.WriteMemory, error) {
	file, err := peer.ReceiveFile(ctx, conn)
	if err != nil {
		return nil, PeerFault(err)
	}
	if file == nil {
		return nil, nil
	}
	defer file.Close()
	memory, err := wire.NewWriteMemory(file)
	if err != nil {
		return nil, fault.New(LinkProtocol, fault.Plugin, "the stage after sends memory that cannot be used: %w", err)
	}
	return memory, nil
}

// input reads items from the upstream neighbour.
type input struct {
	conn   *net.UnixConn
	memory *wire.ReadMemory // nil when there is none
	reader *wire.Reader
	shape  stage.Shape
	media  stage.Media
}

func newInput(conn *net.UnixConn, memory *wire.ReadMemory) (*input, error) {
	r, err := wire.NewReader(conn, wire.WithReadMemory(memory))
	if err != nil {
		return nil, readFault(err)
	}
	in := &input{conn: conn, memory: memory, reader: r, shape: stage.ShapeTable}
	meta := r.Schema().Metadata()
	if i := meta.FindKey(metaShape); i >= 0 {
		in.shape = stage.Shape(meta.Values()[i])
	}
	switch in.shape {
	case stage.ShapeTable:
		return in, nil
	case stage.ShapeRecords, stage.ShapeBytes:
		if r.Schema().NumFields() != 1 || r.Schema().Field(0).Type.ID() != arrow.BINARY {
			return nil, fault.New(LinkProtocol, fault.Plugin,
				"the stage before sends %s, which must be one column of type binary, not %s", in.shape, r.Schema())
		}
	default:
		return nil, fault.New(LinkProtocol, fault.Plugin, "the stage before sends the unknown shape %q", in.shape)
	}
	if i := meta.FindKey(metaMedia); i >= 0 {
		if err := json.Unmarshal([]byte(meta.Values()[i]), &in.media); err != nil {
			return nil, fault.New(LinkProtocol, fault.Plugin, "the stage before describes its media type badly: %w", err)
		}
	}
	return in, nil
}

func (in *input) next(ctx context.Context) (item, error) {
	rec, err := in.reader.Read()
	if err == io.EOF {
		// A writer that keeps its side open past its end has nothing more to say.
		_ = in.conn.SetReadDeadline(time.Now().Add(wire.EndTimeout))
		if in.reader.More() {
			return item{}, fault.New(LinkProtocol, fault.Plugin,
				"the stage before sends more behind the end of its stream; a stream has one schema, that of its beginning")
		}
		return item{}, errEndOfInput
	}
	if err != nil {
		if ctx.Err() != nil {
			return item{}, context.Cause(ctx)
		}
		return item{}, readFault(err)
	}
	it := item{rows: rec.NumRows()}
	if in.shape == stage.ShapeTable {
		if problem := unexpectedNull(rec); problem != "" {
			rec.Release()
			return item{}, fault.New(LinkProtocol, fault.Plugin, "the stage before sends %s", problem)
		}
		if at := in.reader.Metadata().FindKey(stage.MetaCheckpoint); at >= 0 {
			it.checkpoint = in.reader.Metadata().Values()[at]
		}
		if problem := stage.CheckpointBreach(it.checkpoint); problem != "" {
			rec.Release()
			return item{}, fault.New(LinkProtocol, fault.Plugin, "the stage before sends %s", problem)
		}
		it.rec = rec
		return it, nil
	}
	it.held = rec
	out, err := viewOf(rec.Column(0).(*array.Binary), in.shape)
	if err != nil {
		rec.Release()
		return item{}, err
	}
	it.outs = []*stage.Output{out}
	return it, nil
}

// unexpectedNull says where a batch has a null that its schema rules out; empty when nowhere.
func unexpectedNull(rec arrow.Record) string {
	for i, f := range rec.Schema().Fields() {
		if column := rec.Column(i); !f.Nullable && f.Type.ID() != arrow.NULL && column.NullN() > 0 {
			return fmt.Sprintf("%d nulls in the column %q, which is not null by its schema", column.NullN(), f.Name)
		}
	}
	return ""
}

func (in *input) close() error {
	if in.memory != nil {
		in.memory.Close()
	}
	return in.conn.Close()
}

// wordEnough is what a reader sends back that needs no more batches; every other byte is the number of a slot of shared memory
// that it gives back. A writer that heeds it ends its stream well and soon; one that does not goes on to its end, and the
// reader takes all of it.
const wordEnough = 0xFF

// enough tells the neighbour that no more batches are needed. One that is gone needs not be told.
func (in *input) enough() { _, _ = in.conn.Write([]byte{wordEnough}) }

// viewOf views a binary column as one run of bytes, without copying.
func viewOf(column *array.Binary, shape stage.Shape) (*stage.Output, error) {
	if column.NullN() > 0 {
		return nil, fault.New(LinkProtocol, fault.Plugin, "the stage before sends null %s", shape)
	}
	n := column.Len()
	if n == 0 {
		return &stage.Output{}, nil
	}
	data := column.ValueBytes()
	out := &stage.Output{Data: data[:len(data):len(data)]}
	if shape == stage.ShapeRecords {
		out.Ends = make([]int, n)
		offsets := column.ValueOffsets()
		for i := range n {
			out.Ends[i] = int(offsets[i+1] - offsets[0])
		}
	}
	return out, nil
}

func readFault(err error) error {
	if errors.Is(err, wire.ErrTruncated) || errors.Is(err, net.ErrClosed) {
		return fault.New(UpstreamEnded, fault.Plugin, "the stage before ended without finishing its stream")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return fault.New(UpstreamEnded, fault.Plugin, "the connection to the stage before broke: %w", op.Err)
	}
	return fault.New(LinkProtocol, fault.Plugin, "the stage before sent something that is not a valid Arrow stream: %w",
		err)
}

// output writes items to the downstream neighbour.
type output struct {
	conn    *net.UnixConn
	memory  *wire.WriteMemory // nil when there is none
	writer  *wire.Writer
	shape   stage.Shape
	schema  *arrow.Schema
	offsets []int32
}

func newOutput(conn *net.UnixConn, memory *wire.WriteMemory, shape stage.Shape, table *arrow.Schema,
	media stage.Media) (*output, error) {
	out := &output{conn: conn, memory: memory, shape: shape, schema: table}
	if shape != stage.ShapeTable {
		text, err := json.Marshal(media)
		if err != nil {
			return nil, err
		}
		meta := arrow.NewMetadata([]string{metaShape, metaMedia}, []string{string(shape), string(text)})
		out.schema = arrow.NewSchema([]arrow.Field{{Name: string(shape), Type: arrow.BinaryTypes.Binary}}, &meta)
	}
	w, err := wire.NewWriter(conn, out.schema, wire.WithWriteMemory(memory))
	if err != nil {
		return nil, writeFault(err)
	}
	out.writer = w
	return out, nil
}

func (o *output) write(_ context.Context, it item) (int64, error) {
	if it.rec != nil {
		var custom arrow.Metadata
		if it.checkpoint != "" {
			custom = arrow.NewMetadata([]string{stage.MetaCheckpoint}, []string{it.checkpoint})
		}
		if err := o.writer.WriteWithMetadata(it.rec, custom); err != nil {
			return 0, writeFault(err)
		}
		return recordBytes(it.rec), nil
	}
	var written int64
	for _, out := range it.outs {
		if err := o.writePieces(out); err != nil {
			return written, err
		}
		written += int64(len(out.Data))
		if len(out.Data) > 0 && o.writer.InPlace() {
			out.Data = nil // it is the reader's now
		}
	}
	return written, nil
}

// maxPiece keeps a batch's offsets, which are 32 bits, and its message small. What is made in shared memory is sent in one
// piece, because the memory is the reader's then.
const maxPiece = max(16<<20, wire.SlotBytes)

// writePieces sends one output as batches of at most maxPiece bytes, a longer
// record alone.
func (o *output) writePieces(out *stage.Output) error {
	if o.shape == stage.ShapeBytes {
		for start := 0; start < len(out.Data); start += maxPiece {
			end := min(start+maxPiece, len(out.Data))
			o.offsets = append(o.offsets[:0], 0, int32(end-start))
			if err := o.send(out.Data[start:end]); err != nil {
				return err
			}
		}
		return nil
	}
	start := 0
	for first := 0; first < len(out.Ends); {
		o.offsets = append(o.offsets[:0], 0)
		last := first
		for last < len(out.Ends) && (last == first || out.Ends[last]-start <= maxPiece) {
			if out.Ends[last]-start > math.MaxInt32 {
				return fault.New("link.record_too_large", fault.Data, "a record of %s bytes is larger than a batch can hold (2 GiB)",
					strconv.Itoa(out.Ends[last]-start))
			}
			o.offsets = append(o.offsets, int32(out.Ends[last]-start))
			last++
		}
		end := out.Ends[last-1]
		if err := o.send(out.Data[start:end]); err != nil {
			return err
		}
		first, start = last, end
	}
	return nil
}

func (o *output) send(data []byte) error {
	n := len(o.offsets) - 1
	offsets := unsafe.Slice((*byte)(unsafe.Pointer(&o.offsets[0])), len(o.offsets)*arrow.Int32SizeBytes)
	d := array.NewData(arrow.BinaryTypes.Binary, n,
		[]*memory.Buffer{nil, memory.NewBufferBytes(offsets), memory.NewBufferBytes(data)}, nil, 0, 0)
	column := array.NewBinaryData(d)
	d.Release()
	rec := array.NewRecord(o.schema, []arrow.Array{column}, int64(n))
	column.Release()
	defer rec.Release()
	if err := o.writer.Write(rec); err != nil {
		return writeFault(err)
	}
	return nil
}

// heed calls enough when the neighbour says that it needs no more batches, and takes what it gives back of shared memory. It
// listens until stop, which waits for it. With expected false the neighbour has no reason to say so, and one that does is
// heard when it matters: when no slot is free.
func (o *output) heed(expected bool, enough func()) (stop func(), err error) {
	if o.memory != nil && !expected {
		return func() {}, o.memory.ReceiveFrom(o.conn, func(word byte) {
			if word == wordEnough {
				enough()
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if o.memory != nil {
			defer o.memory.Over()
		}
		var words [64]byte
		for {
			n, err := o.conn.Read(words[:])
			if o.memory != nil {
				o.memory.Receive(words[:n])
			}
			if bytes.IndexByte(words[:n], wordEnough) >= 0 {
				enough()
			}
			if err != nil {
				return
			}
		}
	}()
	return func() {
		_ = o.conn.SetReadDeadline(time.Now()) // a connection that is closed has ended it, too
		<-ended
	}, nil
}

// finish sends the end-of-stream: everything before it was good, and nothing comes behind it.
func (o *output) finish() error {
	if err := o.writer.Close(); err != nil {
		return writeFault(err)
	}
	// One that is gone by now has all it wanted, or says itself what it missed.
	_ = o.conn.CloseWrite()
	return nil
}

func writeFault(err error) error {
	var op *net.OpError
	if errors.As(err, &op) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
		return fault.New(DownstreamEnded, fault.Plugin, "the stage after ended before it had everything")
	}
	return fault.New(LinkProtocol, fault.Plugin, "cannot send a batch to the stage after: %w", err)
}

// recordBytes is the size of a record's buffers. A slice counts with its parent's
// buffers, which is what it keeps alive.
func recordBytes(rec arrow.Record) int64 {
	var n int64
	for _, c := range rec.Columns() {
		n += dataBytes(c.Data())
	}
	return n
}

func dataBytes(d arrow.ArrayData) int64 {
	var n int64
	for _, b := range d.Buffers() {
		if b != nil {
			n += int64(b.Len())
		}
	}
	for _, c := range d.Children() {
		n += dataBytes(c)
	}
	return n
}
