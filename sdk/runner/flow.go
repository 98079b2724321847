package runner

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// item is one batch on its way through the group: a record of the table shape,
// or the outputs that were made of one.
type item struct {
	rec  arrow.Record
	outs []*stage.Output
	// held is the record whose memory outs alias, when they came over a socket.
	held arrow.Record
	// rows is what the item counts for: table rows, records, or pieces.
	rows int64
	// cost is what the item holds of the budget.
	cost int64
	// checkpoint is the source's position behind these rows; "" is none. It ends where rows become bytes.
	checkpoint string
	// failed stands in the place of a batch that could not be made, where a filter behind may not need it.
	failed error
}

var errEndOfInput = io.EOF

// batches is where a group's items come from; next returns errEndOfInput after the last.
type batches interface {
	next(ctx context.Context) (item, error)
	close() error
}

// drain is where they go.
type drain interface {
	write(ctx context.Context, it item) (bytes int64, err error)
	finish() error
}

// flow is the state of one Run.
type flow struct {
	group  *Group
	budget *budget
	free   chan *stage.Output // outputs to be used again
	memory *wire.WriteMemory  // that the group's output is made in; nil when there is none
	cancel context.CancelCauseFunc

	// enough is set when the group behind has said that it needs no more rows.
	enough atomic.Bool

	mu    sync.Mutex
	first error
}

// fail records the first failure and stops everything; what follows is its echo.
func (f *flow) fail(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	if f.first == nil {
		f.first = err
	}
	f.mu.Unlock()
	f.cancel(err)
}

func (f *flow) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

func (f *flow) output() *stage.Output {
	select {
	case out := <-f.free:
		out.Reset()
		return out
	default:
		return &stage.Output{}
	}
}

// madeIn gives an output memory that the next group reads, and returns that memory; nil when there is none. It waits until the
// next group gives some back: that costs less than to send what is made over the socket, and nothing is made that only waits.
// A batch has one slot at most, and at most so many batches behind it are made as there are workers (segment.start); so with
// one slot more, one comes back.
func (f *flow) madeIn(ctx context.Context, out *stage.Output) []byte {
	if f.memory == nil {
		return nil
	}
	var taken []byte
	if f.memory.Slots() > f.group.cfg.Workers {
		taken = f.memory.Await(ctx)
	} else {
		taken = f.memory.Take()
	}
	if taken != nil {
		out.Data = taken
	}
	return taken
}

// bytesHeld is what an output holds. Of shared memory that are the pages that were touched.
func (f *flow) bytesHeld(out *stage.Output) int64 {
	if f.memory != nil && f.memory.Holds(out.Data) {
		return int64(len(out.Data))
	}
	return int64(cap(out.Data))
}

// settle gives memory back from which a stage has moved what it made, because it is more than the memory holds.
func (f *flow) settle(out *stage.Output, taken []byte) {
	if taken != nil && unsafe.SliceData(out.Data) != unsafe.SliceData(taken) {
		f.memory.Put(taken)
	}
}

// maxKept is the largest output that is kept for reuse: one huge row must not
// hold its memory for the rest of the run.
const maxKept = 16 << 20

// done gives back what a finished item holds.
func (f *flow) done(it item) {
	if it.rec != nil {
		it.rec.Release()
	}
	if it.held != nil {
		it.held.Release()
	} else {
		for _, out := range it.outs {
			if f.memory != nil && f.memory.Put(out.Data) {
				out.Data = nil
			}
			if cap(out.Data) > maxKept {
				continue
			}
			select {
			case f.free <- out:
			default:
			}
		}
	}
	f.budget.release(it.cost)
}

// run binds the stages in order and moves the data. Closing comes last and in
// reverse, whatever happened.
func (f *flow) run(ctx context.Context) (err error) {
	g := f.group
	var conn *net.UnixConn
	if g.cfg.Output != "" {
		if conn, err = dial(ctx, g.cfg.Output, g.cfg.OutputPeer); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		defer conn.Close()
	}

	in, schema, media, err := f.openInput(ctx)
	if in != nil {
		defer func() {
			if closeErr := in.close(); err == nil && closeErr != nil && !errors.Is(closeErr, errClosed) {
				err = closeErr
			}
		}()
	}
	// The cause is recorded before the connection closes: the neighbour reports that
	// at once, and the host's answer to it must not be taken for the cause here.
	defer func() { f.fail(err) }()
	if err != nil {
		return err
	}

	steps, schema, media, shape, err := f.bind(schema, media)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.media = media
	g.mu.Unlock()

	var out drain
	if conn != nil {
		if err := f.welcomed(ctx, conn); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		if f.memory != nil {
			defer f.memory.Close() // nobody works any more
			if shape == stage.ShapeTable {
				ballast := make([]byte, memoryBallast)
				defer runtime.KeepAlive(ballast)
			}
		}
		if out, err = newOutput(conn, f.memory, shape, schema, media); err != nil {
			return err
		}
	} else if out, err = f.openSink(ctx, shape, schema, media); err != nil {
		return err
	}
	return f.pump(ctx, in, steps, out)
}

// memoryBallast is memory of the heap that is never touched, and so never taken from the system, where batches of tables leave
// over shared memory: they would be in the heap of the writer otherwise, which is so small without them that the collector
// runs three times as often. Where lines leave it saves nothing, and costs 7 MiB of garbage in every process.
const memoryBallast = 16 << 20

// welcomed waits for the reader's answer to the hello, and for its memory.
func (f *flow) welcomed(ctx context.Context, conn *net.UnixConn) error {
	expected := f.group.cfg.OutputPeer
	if err := expected.AwaitWelcome(ctx, conn); err != nil {
		return PeerFault(err)
	}
	if !expected.Memory {
		return nil
	}
	var err error
	f.memory, err = takeMemory(ctx, conn)
	return err
}

// pump connects input, segments and output, and waits for all of them.
func (f *flow) pump(ctx context.Context, in batches, steps []step, out drain) (err error) {
	var wait sync.WaitGroup
	var finishes []context.CancelCauseFunc
	tells := func() bool { return false } // ends what tells the neighbour before that no more is needed
	defer func() {
		// Whatever ends the output ends everything before it.
		f.fail(err)
		wait.Wait()
		tells()
		for _, finish := range finishes {
			finish(nil)
		}
	}()
	// What a finished filter has ended has not failed.
	starter := func(ctx context.Context) func(func() error) {
		return func(work func() error) {
			wait.Add(1)
			go func() {
				defer wait.Done()
				if err := work(); context.Cause(ctx) != errFinished {
					f.fail(err)
				}
			}()
		}
	}

	segments := f.segments(steps)
	before := ctx // of what stands before all segments
	contexts := make([]context.Context, len(segments))
	for i := len(segments) - 1; i >= 0; i-- {
		contexts[i] = before
		if finisher := segments[i].finisher(); finisher != nil {
			upstream, finish := context.WithCancelCause(before)
			finishes = append(finishes, finish)
			segments[i].finished, segments[i].finish = upstream.Done(), func() { finish(errFinished) }
			before = upstream
		}
		if i > 0 {
			segments[i-1].dispensable = before != ctx
		}
	}
	// The group behind may need no more rows: then the source ends, and what it has given until then goes through, so that
	// every group is given what the one before has made.
	reading, stop := context.WithCancelCause(before)
	finishes = append(finishes, stop)
	enough := func() { stop(errFinished) }
	if neighbour, linked := in.(*input); linked {
		enough = sync.OnceFunc(neighbour.enough)
		tells = context.AfterFunc(before, func() {
			if context.Cause(before) == errFinished {
				enough()
			}
		})
	}
	if o, linked := out.(*output); linked {
		expected := f.group.cfg.OutputPeer.MayFinish
		stop, err := o.heed(expected, func() {
			// Only a filter may leave rows out: from any other stage the word would cut them short.
			if !expected {
				f.fail(fault.New(LinkEarlyEnd, fault.Plugin,
					"the stage after says that it needs no more rows, and neither it nor one behind it is a filter"))
				return
			}
			f.enough.Store(true)
			enough()
		})
		if err != nil {
			return err
		}
		defer stop()
	}
	if lone(in, out, segments) {
		return f.straight(ctx, reading, in, out)
	}
	source := make(chan item)
	starter(before)(func() error { return f.feed(before, reading, in, morselOf(steps), source, before != ctx) })
	flowing := (<-chan item)(source)
	for i, seg := range segments {
		next := make(chan item)
		seg.start(contexts[i], flowing, next, starter(contexts[i]))
		flowing = next
	}
	for {
		select {
		case it, ok := <-flowing:
			if !ok {
				// A channel that closes because its writer failed is not the end.
				if err := context.Cause(ctx); err != nil {
					return err
				}
				return out.finish()
			}
			if err := f.put(ctx, it, out); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lone reports whether a sink is alone in its group.
func lone(in batches, out drain, segments []*segment) bool {
	_, from := in.(*input)
	_, to := out.(*output)
	return from && !to && len(segments) == 0
}

// straight gives the items of another process to a sink. One goroutine does it: a second one would have to be woken for each
// item, and what the next item is made of goes on beside it in the other process anyhow.
func (f *flow) straight(ctx, reading context.Context, in batches, out drain) error {
	for {
		it, err := f.read(ctx, reading, in)
		if err == errEndOfInput {
			return out.finish()
		}
		if err != nil {
			return err
		}
		f.group.rows.Add(it.rows)
		if err := f.put(ctx, it, out); err != nil {
			return err
		}
	}
}

// put gives an item to the output, and back what it held.
func (f *flow) put(ctx context.Context, it item, out drain) error {
	n, err := out.write(ctx, it)
	f.group.bytes.Add(n)
	f.done(it)
	return err
}

// How many rows a group that encodes works on at once, so that the encoded text is still in
// the core's cache when it is compressed, sealed or written, and little of it is in flight:
// lines, which are many times as large as what they are made of, and what a document encoder
// makes its own units of, record batches for instance.
const morselLines, morselRows = 1024, 2048

// morselOf is how many rows these steps work on at once; 0 is whole batches.
func morselOf(steps []step) int64 {
	for i := range steps {
		switch s := &steps[i]; {
		case s.encoder == nil:
		case s.Definition.Out == stage.ShapeRecords:
			return morselLines
		default:
			return morselRows
		}
	}
	return 0
}

// errFinished is why the context of what stands before a finished filter has ended.
var errFinished = errors.New("a filter behind needs no more rows")

// feed reads the input, as long as reading goes on, and lets batches in as the budget allows. With dispensable a filter
// behind may end it.
func (f *flow) feed(ctx, reading context.Context, in batches, morsel int64, to chan<- item, dispensable bool) error {
	if dispensable {
		// The neighbour of another process would take the end of its reader for a failure.
		if _, own := in.(*sourceInput); !own {
			defer f.exhaust(ctx, in)
		}
	}
	read := func() (item, error) { return f.read(ctx, reading, in) }
	if morsel > 0 && !dispensable {
		ahead, done := f.readAhead(ctx, read)
		defer done()
		read = ahead
	}
	for {
		it, err := read()
		if err == errEndOfInput {
			close(to)
			return nil
		}
		if err != nil && dispensable && ctx.Err() == nil {
			return f.give(ctx, item{failed: err}, to)
		}
		if err != nil {
			return err
		}
		if morsel > 0 {
			it.checkpoint = "" // it goes no further than an encoder
		}
		f.group.rows.Add(it.rows)
		for it.rec != nil && morsel > 0 && it.rows > morsel {
			head := it
			head.rec, head.rows, head.cost = it.rec.NewSlice(0, morsel), morsel, it.cost/it.rows*morsel
			tail := it.rec.NewSlice(morsel, it.rows)
			it.rec.Release()
			it.rec, it.rows, it.cost = tail, it.rows-morsel, it.cost-head.cost
			if err := f.give(ctx, head, to); err != nil {
				f.done(it)
				return err
			}
		}
		if err := f.give(ctx, it, to); err != nil {
			return err
		}
	}
}

// exhaust reads the rest of an input that is not needed any more: what was under way, or all of it where the neighbour does
// not heed that it was told.
func (f *flow) exhaust(ctx context.Context, in batches) {
	for context.Cause(ctx) == errFinished {
		it, err := in.next(context.WithoutCancel(ctx))
		if err != nil {
			return // the neighbour says itself what has happened to it
		}
		f.group.rows.Add(it.rows)
		f.done(it)
	}
}

func (f *flow) give(ctx context.Context, it item, to chan<- item) error {
	select {
	case to <- it:
		return nil
	case <-ctx.Done():
		f.done(it)
		return context.Cause(ctx)
	}
}

func (f *flow) openInput(ctx context.Context) (batches, *arrow.Schema, stage.Media, error) {
	g := f.group
	if g.listener == nil {
		s := &sourceInput{built: g.built[0], group: g}
		schema, err := s.open(ctx)
		if err != nil {
			return s, nil, stage.Media{}, err
		}
		if g.cfg.Opened != nil {
			g.cfg.Opened(schema, s.estimate())
		}
		return s, schema, stage.Media{}, nil
	}
	conn, err := accept(ctx, g.listener, g.cfg.InputPeer, g.cfg.Log)
	if err != nil {
		return nil, nil, stage.Media{}, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	var memory *wire.ReadMemory
	if g.cfg.InputPeer.Memory {
		memory, err = giveMemory(conn, g.cfg.Log)
	}
	var in *input
	if err == nil {
		in, err = newInput(conn, memory)
	}
	if err != nil {
		if memory != nil {
			memory.Close()
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return connCloser{conn}, nil, stage.Media{}, err
	}
	if in.shape != stage.ShapeTable {
		return in, nil, in.media, nil
	}
	return in, in.reader.Schema(), stage.Media{}, nil
}

func (f *flow) openSink(ctx context.Context, shape stage.Shape, schema *arrow.Schema,
	media stage.Media) (_ drain, err error) {
	g := f.group
	last := g.built[len(g.built)-1]
	var open func() error
	var out drain
	switch sink := last.instance.(type) {
	case stage.Sink:
		open = func() error { return sink.Open(ctx, stage.Object{Media: media, RunID: g.cfg.RunID}) }
		g.sink, out = sink, &sinkOutput{built: last, sink: sink, group: g}
	case stage.TableSink:
		open = func() error { return sink.Open(ctx, stage.Table{Schema: schema, RunID: g.cfg.RunID}) }
		g.sink, out = sink, &tableOutput{built: last, sink: sink, group: g}
	default:
		return nil, fault.New("internal", fault.Internal, "stage %q is a %T, not a sink", last.ID, last.instance)
	}
	if _, rows := g.sink.(stage.TableSink); !last.Definition.In.Accepts(shape) || rows != (shape == stage.ShapeTable) {
		return nil, fault.New(LinkProtocol, fault.Plugin, "stage %q, a sink that takes %s, is given %s", last.ID, last.Definition.In, shape)
	}
	defer g.inSink(&err)
	defer recoverPanic(&err, g.cfg.Log)
	g.sinkOpen = true
	if err := open(); err != nil {
		return nil, err
	}
	if s, ok := last.instance.(stage.Streamer); ok {
		g.mu.Lock()
		g.streams = s.Streams()
		g.mu.Unlock()
	}
	return out, nil
}
