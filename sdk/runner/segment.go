package runner

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// step is a middle stage of the group, bound and ready.
type step struct {
	built
	index int // in the group, for the watchdog

	filter     stage.Filter
	ender      stage.Ender // of the filter, if it has one
	encoder    stage.Encoder
	compressor stage.Compressor
	encryptor  stage.Encryptor
	merger     stage.Merger // of the compressor, if it has one

	gives *arrow.Schema // of the filter, as it has announced
}

// bind walks the stages between the ends, from the input's schema to what the
// group gives.
func (f *flow) bind(schema *arrow.Schema,
	media stage.Media) (steps []step, _ *arrow.Schema, _ stage.Media, shape stage.Shape, err error) {
	shape = stage.ShapeTable
	if schema == nil {
		shape = stage.ShapeBytes
	}
	for i, b := range f.group.built {
		kind := b.Definition.Kind
		if kind == stage.KindSource || kind == stage.KindSink {
			continue
		}
		s := step{built: b, index: i}
		if (schema != nil) != (b.Definition.In == stage.ShapeTable) {
			// The plan was good: what came is not what the stage before has declared. No stage is named,
			// so that the host blames that one.
			return nil, nil, media, shape, fault.New(LinkProtocol, fault.Plugin,
				"stage %q, a %s that takes %s, is given something else", b.ID, kind, b.Definition.In)
		}
		if err := f.bindStep(&s, &schema, &media); err != nil {
			return nil, nil, media, shape, fault.InStage(err, b.ID)
		}
		shape = b.Definition.Out
		steps = append(steps, s)
	}
	return steps, schema, media, shape, nil
}

func (f *flow) bindStep(s *step, schema **arrow.Schema, media *stage.Media) (err error) {
	defer recoverPanic(&err, f.group.cfg.Log)
	switch s.Definition.Kind {
	case stage.KindFilter:
		s.filter, _ = s.instance.(stage.Filter)
		s.ender, _ = s.instance.(stage.Ender)
		if s.filter != nil {
			*schema, err = s.filter.Bind(*schema)
			s.gives = *schema
			return err
		}
	case stage.KindEncoder:
		s.encoder, _ = s.instance.(stage.Encoder)
		if s.encoder != nil {
			*media, err = s.encoder.Bind(*schema)
			*schema = nil
			return err
		}
	case stage.KindCompressor:
		s.compressor, _ = s.instance.(stage.Compressor)
		s.merger, _ = s.instance.(stage.Merger)
		if s.compressor != nil {
			*media, err = s.compressor.Bind(*media)
			return err
		}
	case stage.KindEncryptor:
		s.encryptor, _ = s.instance.(stage.Encryptor)
		if s.encryptor != nil {
			*media, err = s.encryptor.Bind(*media)
			return err
		}
	}
	return fault.New("internal", fault.Internal, "stage %q is a %T, not a %s", s.ID, s.instance, s.Definition.Kind)
}

// segment is consecutive steps that one worker takes a batch through in one go,
// while it is warm in the core's cache.
type segment struct {
	flow    *flow
	steps   []step
	workers int
	// final says that what the segment makes is what the group gives.
	final bool

	// dispensable is true where a filter behind may end the segment. Finished and finish are of a segment that is such a
	// filter: what stands before it ends with the first, which the second brings about. They are nil in any other.
	dispensable bool
	finished    <-chan struct{}
	finish      func()
}

// finisher is the filter of the segment that can have enough; nil if there is none.
func (s *segment) finisher() stage.Finisher {
	if len(s.steps) != 1 || s.workers != 1 || s.steps[0].filter == nil {
		return nil
	}
	finisher, _ := s.steps[0].instance.(stage.Finisher)
	return finisher
}

// segments cuts the steps where order must be restored: around stages that are
// not concurrent, after a merger, and before a stage that needs to know a row's
// index when an earlier one may have dropped rows.
func (f *flow) segments(steps []step) []*segment {
	var list []*segment
	var current *segment
	counted := true // the number of rows so far is known before the batch is worked on
	for _, s := range steps {
		workers := 1
		if s.Definition.Concurrent {
			workers = f.group.cfg.Workers
		}
		needsIndex := s.encoder != nil || s.encryptor != nil
		chunks := s.encryptor != nil && s.Definition.In == stage.ShapeBytes
		if current == nil || workers == 1 || current.workers == 1 || needsIndex && !counted || chunks ||
			current.steps[len(current.steps)-1].merger != nil {
			current = &segment{flow: f, workers: workers}
			list = append(list, current)
			counted = true
		}
		current.steps = append(current.steps, s)
		if s.filter != nil && !s.Definition.KeepsRows {
			counted = false
		}
	}
	if current != nil {
		current.final = true
	}
	return list
}

// task is an item being worked on; done is closed when it is.
type task struct {
	item  item
	first int64
	done  chan struct{}
	// given is how many rows each step was given, and err why the task failed, where only
	// those who know the batches before can say in which row.
	given []int64
	err   error
}

// start runs the segment's goroutines: one takes items in order, the workers
// work, and one gives the results on in order.
func (s *segment) start(ctx context.Context, from <-chan item, to chan<- item, start func(func() error)) {
	work := make(chan *task)
	order := make(chan *task, s.workers)
	begun := make(chan struct{})
	// The collector returns rows to the totals; the first index is the feeder's.
	start(func() error {
		defer close(work)
		var first int64
		for {
			var it item
			var ok bool
			select {
			case it, ok = <-from:
			case <-s.finished:
			case <-ctx.Done():
				return nil
			}
			if !ok {
				if context.Cause(ctx) == nil {
					close(order)
				}
				return nil
			}
			t := &task{item: it, first: first, done: make(chan struct{})}
			if it.failed != nil {
				t.err = it.failed
				close(t.done)
				select {
				case order <- t:
					close(order) // nothing comes behind it
				case <-ctx.Done():
				}
				return nil
			}
			if s.steps[0].encryptor != nil && s.steps[0].Definition.In == stage.ShapeBytes {
				first += int64(len(it.outs))
			} else {
				first += it.rows
			}
			select {
			case order <- t:
			case <-ctx.Done():
				return nil
			}
			select {
			case work <- t:
			case <-ctx.Done():
				return nil
			}
		}
	})
	for i := range s.workers {
		w := &worker{segment: s, number: i, scratch: make([]stage.Output, len(s.steps))}
		start(func() error {
			// No stage is given a batch before its Begin has returned.
			select {
			case <-begun:
			case <-ctx.Done():
				return nil
			}
			for t := range work {
				if err := w.do(ctx, t); err != nil && !inRow(err) {
					return err
				} else if err != nil {
					t.err = err
				}
				close(t.done)
			}
			return nil
		})
	}
	start(func() error { return s.collect(ctx, begun, order, to) })
}

// collect gives results on in order, and surrounds them with what the steps
// write at the beginning and at the end. It closes begun after the beginning.
func (s *segment) collect(ctx context.Context, begun chan<- struct{}, order <-chan *task, to chan<- item) error {
	w := &worker{segment: s, number: s.flow.group.cfg.Workers, scratch: make([]stage.Output, len(s.steps))}
	send := func(it item) error {
		select {
		case to <- it:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	begin, err := w.edge(ctx, stage.Totals{}, true)
	if err != nil {
		return err
	}
	close(begun)
	if len(begin.outs) > 0 {
		if err := send(begin); err != nil {
			return err
		}
	}
	var total stage.Totals
	held := ""
	given := make([]int64, len(s.steps))
	for {
		var t *task
		var ok bool
		select {
		case t, ok = <-order:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !ok {
			break
		}
		select {
		case <-t.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if t.err != nil {
			select {
			case <-s.finished:
				continue // the batch was not needed
			default:
			}
			if err := s.locate(t.err, given); !s.dispensable {
				return err
			} else if err := send(item{failed: err}); err != nil {
				return err
			}
			<-ctx.Done() // the filter behind that is to end this, or whoever takes the failure
			return context.Cause(ctx)
		}
		for i, n := range t.given {
			given[i] += n
		}
		total.Rows += t.item.rows
		s.encoded(total.Rows)
		if err := w.merge(t.item.outs); err != nil {
			return err
		}
		if s.holds() && t.item.checkpoint != "" {
			held, t.item.checkpoint = t.item.checkpoint, ""
		}
		if err := send(t.item); err != nil {
			return err
		}
	}
	if !s.flow.enough.Load() {
		kept, err := w.endFilters(ctx, given, send)
		if err != nil {
			return err
		}
		total.Rows += kept
	}
	s.encoded(total.Rows)
	if held != "" {
		if err := send(item{rec: none(s.steps[len(s.steps)-1].gives), checkpoint: held}); err != nil {
			return err
		}
	}
	end, err := w.edge(ctx, total, false)
	if err != nil {
		return err
	}
	if len(end.outs) > 0 {
		if err := send(end); err != nil {
			return err
		}
	}
	close(to)
	return nil
}

// holds reports whether checkpoints wait for the end of the stream, because a filter may hold back rows that came
// before them.
func (s *segment) holds() bool {
	return slices.ContainsFunc(s.steps, func(s step) bool { return s.ender != nil && !s.Definition.KeepsRows })
}

// none is a batch without rows.
func none(schema *arrow.Schema) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	return b.NewRecord()
}

// worker carries batches through a segment's steps.
type worker struct {
	segment *segment
	number  int   // for the watchdog
	bytes   int64 // of the batch at hand, for the watchdog
	scratch []stage.Output
	given   []int64 // of the task at hand
	shared  bool    // the task at hand has had shared memory for what it makes
}

// inRow reports whether a fault is about a row of the batch.
func inRow(err error) bool {
	f := fault.From(err)
	_, is := f.Row()
	return is
}

// encoded accounts for the rows that an encoder of the segment was given, where it has one.
func (s *segment) encoded(rows int64) {
	for i := range s.steps {
		if s.steps[i].encoder != nil {
			g := s.flow.group
			g.mu.Lock()
			g.encodes, g.encoded = true, rows
			g.mu.Unlock()
		}
	}
}

// encodedBytes accounts for what a step has made, where it is an encoder.
func (s *segment) encodedBytes(by *step, made *stage.Output) {
	if by.encoder != nil {
		s.flow.group.encodedBytes.Add(int64(len(made.Data)))
	}
}

// locate says in which row of the stream a step has failed; given is how many rows each
// step was given before.
func (s *segment) locate(err error, given []int64) error {
	f := fault.InStage(err, "")
	row, _ := f.Row()
	for i := range s.steps {
		if s.steps[i].ID == f.Stage {
			located := *f
			located.Message += fmt.Sprintf(", in row %d", given[i]+row+1)
			return &located
		}
	}
	return err
}

// payload is what one step gives to the next.
type payload struct {
	rec   arrow.Record
	out   *stage.Output
	first int64
}

func (w *worker) do(ctx context.Context, t *task) error {
	in := t.item
	t.given = make([]int64, len(w.segment.steps))
	w.given, w.bytes, w.shared = t.given, in.cost, false
	var result item
	emit := func(p payload) {
		if p.rec != nil {
			result.rec = p.rec
			result.rows = p.rec.NumRows()
			return
		}
		result.outs = append(result.outs, p.out)
	}
	result.rows = in.rows
	var err error
	if in.rec != nil {
		in.rec.Retain()
		err = w.pass(ctx, 0, payload{rec: in.rec, first: t.first}, emit)
	} else {
		first := t.first
		for _, out := range in.outs {
			if err = w.pass(ctx, 0, payload{out: out, first: first}, emit); err != nil {
				break
			}
			first += int64(max(len(out.Ends), 1))
		}
	}
	if err != nil {
		return err
	}
	if result.rec != nil {
		result.cost, result.checkpoint = recordBytes(result.rec), in.checkpoint
	}
	for _, out := range result.outs {
		result.cost += w.segment.flow.bytesHeld(out)
	}
	w.segment.flow.budget.adjust(result.cost)
	w.segment.flow.done(in)
	if finish := w.segment.finish; finish != nil && w.segment.finisher().Finished() {
		// The position may be behind rows that were left out.
		result.checkpoint = ""
		finish()
	}
	t.item = result
	return nil
}

// pass takes a payload through step i and those after it. It owns p.rec.
func (w *worker) pass(ctx context.Context, i int, p payload, emit func(payload)) error {
	if i == len(w.segment.steps) {
		emit(p)
		return nil
	}
	s := &w.segment.steps[i]
	last := i == len(w.segment.steps)-1
	if s.filter != nil {
		w.given[i] += p.rec.NumRows()
		rec, err := w.apply(ctx, s, p.rec)
		p.rec.Release()
		if err != nil {
			return err
		}
		return w.pass(ctx, i+1, payload{rec: rec, first: p.first}, emit)
	}
	out := &w.scratch[i]
	var taken []byte
	if last {
		out = w.segment.flow.output()
	}
	out.Reset()
	if last && w.segment.final && !w.shared {
		taken, w.shared = w.segment.flow.madeIn(ctx, out), true
	}
	err := w.call(s, func() error {
		switch {
		case s.encoder != nil:
			defer p.rec.Release()
			return s.encoder.Encode(ctx, stage.Rows{Record: p.rec, First: p.first}, out)
		case s.compressor != nil:
			return s.compressor.Compress(ctx, p.out.Data, out)
		default:
			return s.encryptor.Seal(ctx, stage.Chunk{Data: p.out.Data, Ends: p.out.Ends, First: p.first}, out)
		}
	})
	w.segment.flow.settle(out, taken)
	if err != nil {
		return err
	}
	if err := checkEnds(s, out); err != nil {
		return err
	}
	w.segment.encodedBytes(s, out)
	err = w.pass(ctx, i+1, payload{out: out, first: p.first}, emit)
	if !last && cap(out.Data) > maxKept {
		*out = stage.Output{}
	}
	return err
}

// checkEnds refuses bytes after the last record's end: they would be lost.
func checkEnds(s *step, out *stage.Output) error {
	if s.Definition.Out != stage.ShapeRecords || len(out.Data) == 0 {
		return nil
	}
	if n := len(out.Ends); n == 0 || out.Ends[n-1] != len(out.Data) {
		return fault.InStage(fault.New("plugin.record_ends", fault.Plugin,
			"the stage gave %d bytes, but did not end its last record", len(out.Data)), s.ID)
	}
	return nil
}

func (w *worker) apply(ctx context.Context, s *step, in arrow.Record) (rec arrow.Record, err error) {
	err = w.call(s, func() error {
		rec, err = s.filter.Apply(ctx, in)
		if err == nil {
			err = s.checkBatch(rec)
		}
		if err == nil && s.Definition.KeepsRows && rec.NumRows() != in.NumRows() {
			err = fault.New("plugin.contract", fault.Plugin,
				"the filter declares that it keeps rows, but made %d of %d%s", rec.NumRows(), in.NumRows(), at(placeOfApply(s.instance)))
		}
		return err
	})
	return rec, err
}

// checkBatch holds a batch that a filter gives against what it has announced.
func (s *step) checkBatch(rec arrow.Record) error {
	if rec == nil {
		return fault.New("plugin.contract", fault.Plugin, "the filter gave no record batch%s", at(placeOfApply(s.instance)))
	}
	if rec.Schema() != s.gives && !rec.Schema().Equal(s.gives) {
		return fault.New("plugin.contract", fault.Plugin,
			"the filter gave a batch with another schema than it announced%s:\n%s\ninstead of\n%s", at(placeOfApply(s.instance)), rec.Schema(), s.gives)
	}
	if problem := unexpectedNull(rec); problem != "" {
		return fault.New("plugin.contract", fault.Plugin, "the filter gave %s%s", problem, at(placeOfApply(s.instance)))
	}
	return nil
}

// endFilters lets the filters give what they have held back, an earlier one first, because it goes through all
// steps after it. Given is how many rows each step was given so far. It returns how many rows came out.
func (w *worker) endFilters(ctx context.Context, given []int64, send func(item) error) (rows int64, err error) {
	for i := range w.segment.steps {
		s := &w.segment.steps[i]
		if s.ender == nil {
			continue
		}
		slot := w.segment.flow.group.watch.slot(s.index, w.number)
		var failed error // whether or not the stage returns it
		emit := func(rec arrow.Record) error {
			// What the stages behind do, and how long they wait, is not this one's.
			slot.leave()
			defer w.segment.flow.group.watch.enter(slot, 0)
			if failed == nil {
				failed = s.checkBatch(rec)
			}
			if failed == nil && s.Definition.KeepsRows && rec.NumRows() > 0 {
				failed = fault.New("plugin.contract", fault.Plugin,
					"the filter declares that it keeps rows, but made %d more at the end", rec.NumRows())
			}
			if failed == nil && rec.NumRows() > 0 {
				var out int64
				out, failed = w.sendOn(ctx, i+1, rec, given, send)
				rows += out
			}
			return failed
		}
		err := w.call(s, func() error {
			err := s.ender.End(ctx, emit)
			if failed != nil {
				return failed
			}
			return err
		})
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// sendOn takes a borrowed batch through step i and those after it, and sends what comes of it. It returns how many
// rows that are.
func (w *worker) sendOn(ctx context.Context, i int, rec arrow.Record, given []int64,
	send func(item) error) (int64, error) {
	var result item
	w.given, w.bytes, w.shared = make([]int64, len(w.segment.steps)), recordBytes(rec), false
	rec.Retain()
	err := w.pass(ctx, i, payload{rec: rec}, func(p payload) { result.rec, result.rows = p.rec, p.rec.NumRows() })
	if err != nil && inRow(err) {
		err = w.segment.locate(err, given)
	}
	if err != nil {
		return 0, err
	}
	for k, n := range w.given {
		given[k] += n
	}
	result.cost = recordBytes(result.rec)
	w.segment.flow.budget.adjust(result.cost)
	if err := send(result); err != nil {
		w.segment.flow.done(result)
		return 0, err
	}
	return result.rows, nil
}

// call runs one call of a stage under the watchdog, and names the stage in what
// goes wrong.
func (w *worker) call(s *step, f func() error) (err error) {
	watch := w.segment.flow.group.watch
	slot := watch.slot(s.index, w.number)
	watch.enter(slot, w.bytes)
	defer func() {
		slot.leave()
		if err != nil {
			err = fault.InStage(err, s.ID)
		}
	}()
	defer recoverPanic(&err, w.segment.flow.group.cfg.Log)
	return f()
}

// merge shows results to the merger, which is always a segment's last step.
func (w *worker) merge(outs []*stage.Output) error {
	s := &w.segment.steps[len(w.segment.steps)-1]
	if s.merger == nil {
		return nil
	}
	for _, out := range outs {
		if err := w.call(s, func() error { return s.merger.Merge(out) }); err != nil {
			return err
		}
	}
	return nil
}

// edge makes what the steps write before the first batch, or after the last one.
// A later step's beginning comes first, and an earlier step's end, because what
// a step writes goes through all steps after it.
func (w *worker) edge(ctx context.Context, total stage.Totals, begin bool) (item, error) {
	var result item
	n := len(w.segment.steps)
	for k := range n {
		i := k
		if begin {
			i = n - 1 - k
		}
		s := &w.segment.steps[i]
		out := w.segment.flow.output()
		err := w.call(s, func() error {
			switch {
			case s.encoder != nil && begin:
				return s.encoder.Begin(out)
			case s.encoder != nil:
				return s.encoder.End(total, out)
			case s.compressor != nil && begin:
				return s.compressor.Begin(out)
			case s.compressor != nil:
				return s.compressor.End(out)
			case s.encryptor != nil && begin:
				return s.encryptor.Begin(out)
			case s.encryptor != nil:
				return s.encryptor.End(out)
			}
			return nil
		})
		if err != nil {
			return item{}, err
		}
		if err := checkEnds(s, out); err != nil {
			return item{}, err
		}
		if len(out.Data) == 0 {
			continue
		}
		w.segment.encodedBytes(s, out)
		var outs []*stage.Output
		if err := w.pass(ctx, i+1, payload{out: out}, func(p payload) { outs = append(outs, p.out) }); err != nil {
			return item{}, err
		}
		if i < n-1 {
			if err := w.merge(outs); err != nil {
				return item{}, err
			}
		}
		result.outs = append(result.outs, outs...)
	}
	for _, out := range result.outs {
		result.cost += int64(cap(out.Data))
	}
	w.segment.flow.budget.adjust(result.cost)
	return result, nil
}
