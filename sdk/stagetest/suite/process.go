package suite

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// Running is a plugin process that serves one run. The host's processes are such, and so are those of a Program.
type Running interface {
	// Open builds the group. Secrets are texts that must not appear in a log.
	Open(ctx context.Context, request *pb.OpenRequest, secrets []string) error
	// Start runs the group and hands over its events up to Finished. The end of ctx cancels the group.
	Start(ctx context.Context, handle func(*pb.Event)) error
	Commit(ctx context.Context) (stage.Receipt, error)
	// Close ends the process.
	Close()
}

// Starter starts a process for one run. What it reads, writes and connects to is in dir.
type Starter func(ctx context.Context, dir string) (Running, error)

// processHarness tries a stage in processes of its own. It stands on both sides of the process: it writes the stage's
// input, and reads its output.
type processHarness struct {
	*harness
	manifest control.Manifest
	start    Starter
}

// Keys of the schema's metadata in streams of records and bytes.
const (
	metaShape = "cipherstream.shape"
	metaMedia = "cipherstream.media"
)

// trial is one run of a process.
type trial struct {
	// schema and records are the input; the records are released by whoever made them.
	schema  *arrow.Schema
	records []arrow.Record
	// cut ends the input without its end-of-stream; open leaves it open after the records.
	cut, open bool
	// checkpoints are the positions behind the records, where there are any.
	checkpoints []string
	// after cancels the run that long after the stage is at work; 0 does not.
	after time.Duration
	// refuse cancels the run when the sink has everything, instead of committing.
	refuse bool
}

// delivery is what came of a trial.
type delivery struct {
	opened bool // Open took the settings
	schema *arrow.Schema
	rows   [][]string
	data   []byte
	total  int64 // rows
	units  int
	// positions are the checkpoints in the output, and told is the last one that an event said.
	positions []position
	told      *pb.Checkpoint
	ended     bool // the output had its end-of-stream
	breach    string
	readErr   error
	finished  *pb.Finished
	receipt   *stage.Receipt
	visible   bool // the object was there before Commit
	prepared  bool
	// silence is the longest time without an event; stopped is how long the run went on after it was cancelled, if it
	// was.
	silence, stopped time.Duration
	cancelled        bool
	left             []string // what lies in the stage's directory after a run that failed
	err              error
}

// trial runs a process. Delivery.err is how the stage ended; the error is the suite's own.
func (h *processHarness) trial(ctx context.Context, t trial) (d delivery, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.options.Patience)
	defer cancel()
	dir, remove, err := tempDir()
	if err != nil {
		return d, err
	}
	defer remove()
	private := filepath.Join(dir, "d")
	if err := os.Mkdir(private, 0o700); err != nil {
		return d, err
	}
	settings, err := h.options.settings(private)
	if err != nil {
		return d, problemf("%v", err)
	}
	process, err := h.start(ctx, dir)
	if err != nil {
		return d, err
	}
	defer process.Close()

	request := &pb.OpenRequest{
		RunId:  "conformance",
		Stages: []*pb.Stage{{Id: "stage", Kind: string(h.manifest.Kind), Name: h.manifest.Name, Settings: settings}},
		Limits: &pb.Limits{BudgetBytes: 32 << 20, Workers: 2, BatchRows: 50, BatchBytes: 1 << 20, StallNanoseconds: int64(10 * time.Second)},
	}
	var listener *net.UnixListener
	if h.manifest.Kind != stage.KindSink {
		request.Output = filepath.Join(dir, "o")
		if listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: request.Output, Net: "unix"}); err != nil {
			return d, err
		}
		defer listener.Close()
	}
	if h.manifest.Kind != stage.KindSource {
		request.Input = filepath.Join(dir, "i")
	}
	if d.err = process.Open(ctx, request, secretsOf(h.manifest.Spec, settings)); d.err != nil {
		return d, nil
	}

	d.opened = true

	runContext, stop := context.WithCancel(ctx)
	defer stop()
	// The neighbour before the stage stays until the stage has ended, as in a run that is cancelled.
	feedContext, hangUp := context.WithCancel(ctx)
	defer hangUp()
	var wait sync.WaitGroup
	if request.Input != "" {
		wait.Go(func() { feed(feedContext, request.Input, t) })
	}
	// The stage is at work when its output has begun, or for a sink when it has said something: on a busy machine a run may
	// take longer to begin than it has until it is cancelled.
	working, over := make(chan struct{}), make(chan struct{})
	begun := sync.OnceFunc(func() { close(working) })
	if listener != nil {
		wait.Go(func() { h.drain(ctx, listener, &d, begun) })
	}
	var cancelledAt time.Time
	var cancelling sync.Mutex
	end := func() {
		cancelling.Lock()
		cancelledAt = time.Now()
		cancelling.Unlock()
		stop()
	}
	if t.after > 0 {
		wait.Go(func() {
			select {
			case <-working:
			case <-over:
				return
			}
			select {
			case <-time.After(t.after):
				end()
			case <-over:
			}
		})
	}
	last := time.Now()
	object := h.options.object(private)
	d.err = process.Start(runContext, func(e *pb.Event) {
		d.silence = max(d.silence, time.Since(last))
		last = time.Now()
		if listener == nil {
			begun()
		}
		if e.GetPrepared() != nil {
			d.prepared = true
			d.visible = object != "" && exists(object)
			if t.refuse {
				end()
				return
			}
			wait.Go(func() {
				receipt, err := process.Commit(ctx)
				if err == nil {
					d.receipt = &receipt
				}
			})
		}
		if f := e.GetFinished(); f != nil {
			d.finished = f
		}
		if c := e.GetCheckpoint(); c != nil {
			d.told = c
		}
	})
	close(over)
	cancelling.Lock()
	if d.cancelled = !cancelledAt.IsZero(); d.cancelled {
		d.stopped = time.Since(cancelledAt)
		d.silence = max(d.silence, cancelledAt.Sub(last))
	}
	cancelling.Unlock()
	hangUp()
	if d.err != nil && listener != nil {
		// What has failed has nothing more to send, and may never have connected.
		listener.Close()
		process.Close()
	}
	wait.Wait()
	d.data = h.steady(d.data)
	if d.receipt != nil {
		if h.manifest.In == stage.ShapeTable {
			d.breach = tableReceiptBreach(*d.receipt, object)
		} else {
			d.breach = receiptBreach(*d.receipt, d.dataOf(t), object)
		}
	}
	if d.err != nil || d.receipt == nil {
		d.left = filesIn(private)
	}
	if ctx.Err() != nil && d.err != nil {
		d.err = problemf("the run took longer than %s: %v", h.options.Patience, d.err)
		h.setHung("a run took longer than " + h.options.Patience.String())
	}
	h.inspect(d.err)
	return d, nil
}

// dataOf is the bytes that a sink was given.
func (delivery) dataOf(t trial) (data []byte) {
	for _, rec := range t.records {
		column := rec.Column(0).(*array.Binary)
		for i := range column.Len() {
			data = append(data, column.Value(i)...)
		}
	}
	return data
}

// inspect reports errors that are not coded as they should be.
func (h *processHarness) inspect(err error) {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return
	}
	if !codePattern.MatchString(f.Code) || !classes[f.Class] || f.Message == "" {
		h.report(CheckErrors, "a fault with the code %q, the class %q and the message %q", f.Code, f.Class, f.Message)
	}
	switch f.Code {
	case "internal":
		h.report(CheckErrors, "an error without a code: %s", f.Message)
	case "plugin.panic":
		h.report(CheckPanics, "%s", f.Message)
	case "plugin.contract":
		h.report(CheckKeepsRows, "%s", f.Message)
	case "plugin.record_ends":
		h.report(CheckEnds, "%s", f.Message)
	}
}

// feed writes the input. Errors are the echo of the stage's own end.
func feed(ctx context.Context, path string, t trial) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	writer, err := wire.NewWriter(conn, t.schema)
	if err != nil {
		return
	}
	for i, rec := range t.records {
		var custom arrow.Metadata
		if i < len(t.checkpoints) {
			custom = arrow.NewMetadata([]string{stage.MetaCheckpoint}, t.checkpoints[i:i+1])
		}
		if err := writer.WriteWithMetadata(rec, custom); err != nil {
			return
		}
	}
	switch {
	case t.open:
		<-ctx.Done()
	case !t.cut:
		_ = writer.Close()
	}
}

// drain reads the output to its end. It calls begun when that has begun.
func (h *processHarness) drain(ctx context.Context, listener *net.UnixListener, d *delivery, begun func()) {
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	conn, err := listener.Accept()
	if err != nil {
		d.readErr = err
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reader, err := wire.NewReader(conn)
	if err != nil {
		d.readErr = err
		return
	}
	d.schema = reader.Schema()
	begun()
	for {
		rec, err := reader.Read()
		if err == io.EOF {
			_ = conn.SetReadDeadline(time.Now().Add(wire.EndTimeout))
			if d.ended = !reader.More(); !d.ended {
				d.readErr = problemf("more came behind the end-of-stream; a stream has one schema, that of its beginning")
			}
			return
		}
		if err != nil {
			d.readErr = err
			return
		}
		if h.manifest.Out == stage.ShapeTable {
			if breach := schemaBreach(rec, d.schema); breach != "" {
				h.report(CheckSchema, "%s", breach)
			}
			d.rows = append(d.rows, cells(rec))
			d.total += rec.NumRows()
			if at := reader.Metadata().FindKey(stage.MetaCheckpoint); at >= 0 {
				d.positions = append(d.positions, position{reader.Metadata().Values()[at], d.total})
			}
		} else if column, ok := rec.Column(0).(*array.Binary); ok {
			for i := range column.Len() {
				d.data = append(d.data, column.Value(i)...)
			}
			d.units += column.Len()
		}
		rec.Release()
	}
}

// table makes a trial of an input of batches. The caller releases it.
func (h *processHarness) table(in input) trial {
	t := trial{schema: in.schema()}
	first := int64(0)
	for i, spec := range in.batches {
		t.records = append(t.records, in.record(memory.DefaultAllocator, t.schema, i, first))
		first += int64(spec.rows)
	}
	return t
}

// stream makes a trial of chunks of a byte stream.
func (h *processHarness) stream(in []chunk) (trial, error) {
	media, err := json.Marshal(h.options.Media)
	if err != nil {
		return trial{}, err
	}
	shape := stage.ShapeBytes
	if h.manifest.In == stage.ShapeRecords {
		shape = stage.ShapeRecords
	}
	meta := arrow.NewMetadata([]string{metaShape, metaMedia}, []string{string(shape), string(media)})
	t := trial{schema: arrow.NewSchema([]arrow.Field{{Name: string(shape), Type: arrow.BinaryTypes.Binary}}, &meta)}
	for _, c := range in {
		ends := c.ends
		if shape == stage.ShapeBytes {
			ends = []int{len(c.data)}
		}
		offsets := make([]int32, 1, len(ends)+1)
		for _, end := range ends {
			offsets = append(offsets, int32(end))
		}
		raw := unsafe.Slice((*byte)(unsafe.Pointer(&offsets[0])), 4*len(offsets))
		data := array.NewData(arrow.BinaryTypes.Binary, len(ends),
			[]*memory.Buffer{nil, memory.NewBufferBytes(raw), memory.NewBufferBytes(c.data)}, nil, 0, 0)
		column := array.NewBinaryData(data)
		data.Release()
		t.records = append(t.records, array.NewRecord(t.schema, []arrow.Array{column}, int64(len(ends))))
		column.Release()
	}
	return t, nil
}

// rows is how many rows the input has.
func (t trial) rows() (n int64) {
	for _, rec := range t.records {
		n += rec.NumRows()
	}
	return n
}

func (t trial) release() {
	for _, rec := range t.records {
		rec.Release()
	}
}

// outputBreach says what is wrong with what came out of a run that ended well.
func (h *processHarness) outputBreach(t trial, d delivery) error {
	if d.finished == nil {
		return problemf("the run ended without the event Finished")
	}
	if h.manifest.Kind == stage.KindSink {
		if !d.prepared {
			return problemf("the run of a sink ended without the event Prepared")
		}
		if d.receipt == nil {
			return problemf("Commit gave no receipt")
		}
		if d.breach != "" {
			h.report(CheckReceipt, "%s", d.breach)
		}
		if d.visible {
			h.report(CheckHidden, "the object is visible under its name before Commit")
		}
		if h.manifest.In == stage.ShapeTable {
			if given := t.rows(); d.finished.EncodedRows == nil || *d.finished.EncodedRows != given {
				h.report(CheckReceipt, "the sink was given %d rows, which encoded_rows of Finished must say; it says %d", given, d.finished.GetEncodedRows())
			}
		}
		return nil
	}
	if !d.ended {
		return problemf("the output did not end with an end-of-stream: %v", d.readErr)
	}
	if h.manifest.Out == stage.ShapeTable {
		return h.rowsBreach(t, d)
	}
	meta := d.schema.Metadata()
	shape, text := "", ""
	if i := meta.FindKey(metaShape); i >= 0 {
		shape = meta.Values()[i]
	}
	if i := meta.FindKey(metaMedia); i >= 0 {
		text = meta.Values()[i]
	}
	if shape != string(h.manifest.Out) {
		return problemf("the stage declares %s, but its output says that it is %q", h.manifest.Out, shape)
	}
	if d.schema.NumFields() != 1 || d.schema.Field(0).Type.ID() != arrow.BINARY {
		return problemf("an output of %s is one column of type binary, not %s", shape, d.schema)
	}
	var media stage.Media
	if err := json.Unmarshal([]byte(text), &media); err != nil {
		h.report(CheckMedia, "the description of the output's media type is not JSON: %v", err)
	} else if breach := mediaBreach(media); breach != "" {
		h.report(CheckMedia, "%s", breach)
	} else if h.manifest.Kind == stage.KindEncryptor && !media.Sealed {
		h.report(CheckMedia, "an encryptor must say that its stream is sealed (Media.Sealed)")
	}
	return nil
}

// rowsBreach compares the rows of a filter's output with those of its input.
func (h *processHarness) rowsBreach(t trial, d delivery) error {
	if h.manifest.Kind == stage.KindSource {
		h.sourceCheckpoints(d)
	}
	if h.manifest.Kind != stage.KindFilter || !h.manifest.KeepsRows {
		return nil
	}
	given, got := t.rows(), int64(0)
	for _, rows := range d.rows {
		got += int64(len(rows))
	}
	if given != got {
		h.report(CheckKeepsRows, "the filter declares that it keeps rows, but made %d of %d", got, given)
	}
	return nil
}

// attempt runs a trial that should go well, and releases it.
func (h *processHarness) attempt(ctx context.Context, t trial) (delivery, error) {
	defer t.release()
	d, err := h.trial(ctx, t)
	if err == nil {
		err = d.err
	}
	if err == nil {
		err = h.outputBreach(t, d)
	}
	return d, err
}

// differs compares two deliveries, whatever their batches.
func (d delivery) differs(other delivery) string {
	flat := func(d delivery) (all []string) {
		for _, rows := range d.rows {
			all = append(all, rows...)
		}
		return all
	}
	if text := differs([][]string{flat(d)}, [][]string{flat(other)}); text != "" {
		return text
	}
	return differsBytes([][]byte{d.data}, [][]byte{other.data})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
