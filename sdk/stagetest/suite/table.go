package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// tableHarness tries stages that take tables: filters and encoders.
type tableHarness struct {
	*harness
	definition stage.Definition
	// arrow says that the output is Arrow's own format, whose bits behind the end of a bitmap are nobody's.
	arrow bool
}

// made is what a stage made of a stream: rows of a filter, or bytes of an encoder, batch by batch. The beginning and
// the end of an encoder's bytes are pieces of their own, and so are the batches that a filter gives at its end.
type made struct {
	rows   [][]string
	pieces [][]byte
}

func (m made) differs(other made) string {
	if d := differs(m.rows, other.rows); d != "" {
		return d
	}
	return differsBytes(m.pieces, other.pieces)
}

// way is how batches are given to a stage.
type way int

const (
	kept     way = iota // every batch lives until the end of the stream
	borrowed            // every batch's memory is overwritten as soon as the stage may no longer read it
	reversed            // the last batch comes first
	together            // several goroutines at once
)

// tableStage is a filter or an encoder.
type tableStage struct {
	*instance
	b       *tableHarness
	filter  stage.Filter
	encoder stage.Encoder
	out     *arrow.Schema
}

// bind makes the stage and binds it.
func (h *tableHarness) bind(ctx context.Context, schema *arrow.Schema) (*tableStage, error) {
	i, err := h.newInstance(ctx, h.definition)
	if err != nil {
		return nil, err
	}
	t := &tableStage{instance: i, b: h}
	t.filter, _ = i.made.(stage.Filter)
	t.encoder, _ = i.made.(stage.Encoder)
	err = i.call(ctx, "Bind", func(context.Context) (err error) {
		if h.definition.Kind == stage.KindFilter {
			t.out, err = t.filter.Bind(schema)
			if err == nil && t.out == nil {
				return problemf("Bind gave no schema")
			}
			return err
		}
		media, err := t.encoder.Bind(schema)
		if err == nil {
			h.arrow = strings.HasPrefix(media.Type, "application/vnd.apache.arrow.")
			if breach := mediaBreach(media); breach != "" {
				h.report(CheckMedia, "%s", breach)
			}
		}
		return err
	})
	if err != nil {
		i.close()
		return nil, err
	}
	return t, nil
}

// one gives a batch to the stage and looks at everything that can be seen of it. With wipe, the batch's memory is
// overwritten when the stage may no longer read it. It consumes rec.
func (t *tableStage) one(ctx context.Context, rec arrow.Record, first int64, out *stage.Output,
	wipe bool) (rows []string, piece []byte, err error) {
	b := t.b
	sealed := sealOf(rec)
	finish := func() {
		if breach := sealed.open(); breach != "" {
			b.report(CheckUntouched, "%s", breach)
		}
	}
	if b.definition.Kind == stage.KindEncoder {
		err = t.call(ctx, "Encode", func(ctx context.Context) error {
			return t.encoder.Encode(ctx, stage.Rows{Record: rec, First: first}, out)
		})
		n := int(rec.NumRows())
		buffers := slices.Clone(sealed.buffers)
		finish()
		if wipe {
			for _, buffer := range buffers {
				fill(buffer.Bytes())
			}
		}
		if err != nil {
			return nil, nil, err
		}
		return nil, t.take(out, n, wipe), nil
	}
	var got arrow.Record
	err = t.call(ctx, "Apply", func(ctx context.Context) (err error) {
		got, err = t.filter.Apply(ctx, rec)
		return err
	})
	finish()
	if err != nil {
		return nil, nil, err
	}
	if got == nil {
		return nil, nil, problemf("Apply gave no batch")
	}
	defer got.Release()
	if breach := schemaBreach(got, t.out); breach != "" {
		b.report(CheckSchema, "%s", breach)
	}
	if b.definition.KeepsRows && got.NumRows() != sealed.rows {
		b.report(CheckKeepsRows, "the filter declares that it keeps rows, but made %d of %d", got.NumRows(),
			sealed.rows)
	}
	return cells(got), nil, nil
}

// end ends a filter that has an end, and returns the batches that it gives then.
func (t *tableStage) end(ctx context.Context) (rows [][]string, err error) {
	ender, has := t.made.(stage.Ender)
	if !has || t.filter == nil {
		return nil, nil
	}
	err = t.call(ctx, "End", func(ctx context.Context) error {
		return ender.End(ctx, func(got arrow.Record) error {
			if got == nil {
				t.b.report(CheckSchema, "End gave no batch")
				return nil
			}
			if breach := schemaBreach(got, t.out); breach != "" {
				t.b.report(CheckSchema, "%s", breach)
			}
			if t.b.definition.KeepsRows && got.NumRows() > 0 {
				t.b.report(CheckKeepsRows, "the filter declares that it keeps rows, but made %d more at the end",
					got.NumRows())
			}
			rows = append(rows, cells(got))
			return nil
		})
	})
	return rows, err
}

// take copies what an encoder has written, checks the ends of its records, and wipes what the stage may not keep.
func (t *tableStage) take(out *stage.Output, rows int, wipe bool) []byte {
	if breach := endsBreach(t.b.definition.Out, out, rows); breach != "" {
		t.b.report(CheckEnds, "%s", breach)
	}
	piece := append([]byte{}, out.Data...)
	if wipe {
		fill(out.Data[:cap(out.Data)])
	}
	return piece
}

// endsBreach says what is wrong with the ends of records in an output; rows is their number, -1 if it is free.
func endsBreach(shape stage.Shape, out *stage.Output, rows int) string {
	if shape != stage.ShapeRecords {
		return ""
	}
	last := 0
	for _, end := range out.Ends {
		if end <= last {
			return fmt.Sprintf("the ends of records must rise, but %d follows %d", end, last)
		}
		last = end
	}
	switch {
	case last > len(out.Data):
		return fmt.Sprintf("a record ends at %d of %d bytes", last, len(out.Data))
	case last < len(out.Data):
		return fmt.Sprintf("%d bytes stand behind the last record's end: EndRecord was not called for them",
			len(out.Data)-last)
	case rows >= 0 && len(out.Ends) != rows:
		return fmt.Sprintf("%d rows became %d records", rows, len(out.Ends))
	}
	return ""
}

// run takes a stream through a new stage.
func (h *tableHarness) run(ctx context.Context, in input, how way) (m made, err error) {
	m, _, err = h.runCounted(ctx, in, how)
	return m, err
}

// runCounted returns the bytes of env.Memory that were not given back, too.
func (h *tableHarness) runCounted(ctx context.Context, in input, how way) (m made, left int, err error) {
	schema := in.schema()
	t, err := h.bind(ctx, schema)
	if err != nil {
		return made{}, 0, err
	}
	defer t.close()
	memory := newGuard()
	firsts, total := make([]int64, len(in.batches)), int64(0)
	for i, batch := range in.batches {
		firsts[i] = total
		total += int64(batch.rows)
	}
	m.rows, m.pieces = make([][]string, len(in.batches)), make([][]byte, len(in.batches))
	wipe := how == borrowed
	edge := func(what string, f func(out *stage.Output) error) ([]byte, error) {
		if h.definition.Kind != stage.KindEncoder {
			return nil, nil
		}
		out := &stage.Output{}
		if err := t.call(ctx, what, func(context.Context) error { return f(out) }); err != nil {
			return nil, err
		}
		return t.take(out, -1, wipe), nil
	}
	begin, err := edge("Begin", func(out *stage.Output) error { return t.encoder.Begin(out) })
	if err != nil {
		return made{}, 0, err
	}

	shared := &stage.Output{}
	give := func(i int, out *stage.Output) (err error) {
		rec := in.record(memory, schema, i, firsts[i])
		defer rec.Release()
		m.rows[i], m.pieces[i], err = t.one(ctx, rec, firsts[i], out, wipe)
		return err
	}
	var keep []arrow.Record
	switch how {
	case together:
		err = severally(len(in.batches), func(i int) error { return give(i, &stage.Output{}) })
	case reversed:
		for i := len(in.batches) - 1; i >= 0 && err == nil; i-- {
			err = give(i, &stage.Output{})
		}
	case borrowed:
		for i := 0; i < len(in.batches) && err == nil; i++ {
			shared.Reset()
			err = give(i, shared)
		}
	default:
		for i := 0; i < len(in.batches) && err == nil; i++ {
			rec := in.record(memory, schema, i, firsts[i])
			keep = append(keep, rec)
			m.rows[i], m.pieces[i], err = t.one(ctx, rec, firsts[i], &stage.Output{}, false)
		}
	}
	var end []byte
	if err == nil {
		end, err = edge("End", func(out *stage.Output) error { return t.encoder.End(stage.Totals{Rows: total}, out) })
	}
	if err == nil && h.hungReason() == "" {
		var last [][]string
		last, err = t.end(ctx)
		m.rows = append(m.rows, last...)
	}
	for _, rec := range keep {
		rec.Release()
	}
	if h.hungReason() != "" {
		return made{}, 0, err
	}
	if buffers, bytes := memory.held(); buffers > 0 {
		h.report(CheckLeak, "at the end of the stream %d buffers (%d bytes) of batches that the stage was given are still held", buffers, bytes)
	}
	if memory.double {
		h.report(CheckUntouched, "a buffer of a borrowed batch was freed twice")
	}
	if err != nil {
		return made{}, 0, err
	}
	if h.definition.Kind == stage.KindEncoder {
		m.pieces = append(append([][]byte{begin}, m.pieces...), end)
		for i := range m.pieces {
			m.pieces[i] = h.steady(m.pieces[i])
		}
	}
	_, left = t.memory.held()
	return m, left, nil
}

// severally calls f for every index from several goroutines, which start at the same moment.
func severally(n int, f func(i int) error) error {
	const goroutines = 4
	var next atomic.Int64
	var wait sync.WaitGroup
	ready := make(chan struct{})
	errs := make(chan error, n)
	for range goroutines {
		wait.Go(func() {
			<-ready
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					errs <- err
				}
			}
		})
	}
	close(ready)
	wait.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func (h *tableHarness) checks() []Check {
	plain := h.options.input(plainBatches()...)
	run := func(name string, body func(p *probe)) Check { return h.check(name, body) }
	tried := func(p *probe, what string, in input) (made, bool) {
		m, err := h.run(p.ctx, in, kept)
		return m, p.try(what, err)
	}
	checks := []Check{
		run(CheckCancel, func(p *probe) { h.cancellation(p) }),
		run(CheckPlain, func(p *probe) { tried(p, "plain rows", plain) }),
		run(CheckTypes, func(p *probe) {
			for _, f := range valueTypes() {
				in := input{h.options.fields(f), []batch{{rows: 20, nulls: someNulls}}}
				tried(p, typeName(f), in)
			}
		}),
		run(CheckNulls, func(p *probe) {
			for _, f := range valueTypes() {
				in := input{fields: h.options.fields(f)}
				for _, nulls := range []pattern{noNulls, allNulls, alternate, lastNull} {
					in.batches = append(in.batches, batch{rows: 17, nulls: nulls})
				}
				tried(p, "null patterns of "+typeName(f), in)
			}
			in := h.options.input(batch{rows: 9, nulls: allNulls})
			tried(p, "only nulls", in)
		}),
		run(CheckZeroRows, func(p *probe) {
			for _, f := range valueTypes() {
				tried(p, "a batch without rows of "+typeName(f), input{h.options.fields(f), []batch{{}, {rows: 2}, {}}})
			}
			empty := h.options.input(batch{}, batch{})
			m, ok := tried(p, "batches without rows", empty)
			for i, rows := range m.rows {
				if ok && len(rows) > 0 && i < len(empty.batches) {
					p.fail("a batch without rows became %d rows", len(rows))
				}
			}
		}),
		run(CheckZeroBatches, func(p *probe) { tried(p, "a stream without batches", h.options.input()) }),
		run(CheckOneRow, func(p *probe) { tried(p, "one row", h.options.input(batch{rows: 1})) }),
		run(CheckHuge, func(p *probe) {
			for _, t := range []arrow.DataType{arrow.BinaryTypes.String, arrow.BinaryTypes.Binary} {
				f := arrow.Field{Name: "value", Type: t, Nullable: true}
				tried(p, "values of 1 MiB of "+t.String(),
					input{h.options.fields(f), []batch{{rows: 3, long: 1 << 20}}})
			}
		}),
		run(CheckSliced, func(p *probe) { h.sliced(p) }),
		run(CheckBorrowed, func(p *probe) {
			h.compare(p, plain, kept, borrowed, "a batch's memory, or an output's, was overwritten after the call, and the result changed: the stage keeps a reference")
		}),
		run(CheckRepeat, func(p *probe) {
			h.compare(p, plain, kept, kept, "the same rows became something else the second time")
		}),
	}
	if h.definition.Concurrent {
		checks = append(checks, run(CheckConcurrent, func(p *probe) {
			in := h.options.input(append(plainBatches(), plainBatches()...)...)
			h.compare(p, in, kept, reversed,
				"About.Concurrent says that batches may come in any order, but their order changes the result")
			for range 3 {
				h.compare(p, in, kept, together,
					"About.Concurrent allows calls from several goroutines, but they change the result")
			}
		}))
	}
	checks = append(checks,
		run(CheckLeak, func(p *probe) { h.leak(p) }),
		h.leaks(func(ctx context.Context) error { _, err := h.run(ctx, plain, kept); return err }),
	)
	if h.definition.Kind == stage.KindFilter {
		checks = append(checks, h.reportsOf(CheckSchema))
		if h.definition.KeepsRows {
			checks = append(checks, h.reportsOf(CheckKeepsRows))
		}
	} else {
		checks = append(checks, h.reportsOf(CheckMedia))
		if h.definition.Out == stage.ShapeRecords {
			checks = append(checks, h.reportsOf(CheckEnds))
		}
	}
	return append(checks, h.reportsOf(CheckUntouched), h.reportsOf(CheckPanics), h.reportsOf(CheckErrors), h.accepts())
}

// compare runs a stream in two ways, which must give the same.
func (h *tableHarness) compare(p *probe, in input, one, other way, breach string) {
	want, err := h.run(p.ctx, in, one)
	if !p.try("plain rows", err) {
		return
	}
	got, err := h.run(p.ctx, in, other)
	if !p.try("plain rows again", err) {
		return
	}
	if d := got.differs(want); d != "" {
		p.fail("%s: %s", breach, d)
	}
}

// sliced compares batches that begin in the middle of their buffers with equal ones that do not.
func (h *tableHarness) sliced(p *probe) {
	for _, f := range valueTypes() {
		whole := input{h.options.fields(f), []batch{{rows: 21, nulls: someNulls}, {rows: 9, nulls: alternate}}}
		slice := input{whole.fields, slices.Clone(whole.batches)}
		slice.batches[0].front, slice.batches[1].front = 3, mostFront
		want, err := h.run(p.ctx, whole, kept)
		if !p.try("whole batches of "+typeName(f), err) {
			continue
		}
		got, err := h.run(p.ctx, slice, kept)
		if !p.try("slices of "+typeName(f), err) {
			continue
		}
		if d := got.differs(want); d != "" && !h.arrow {
			p.fail("a slice of %s became something else than the same rows in a batch of their own: %s", typeName(f), d)
		}
	}
}

func (h *tableHarness) leak(p *probe) {
	few, many := h.options.input(plainBatches()...), h.options.input(slices.Repeat(plainBatches(), 3)...)
	_, before, err := h.runCounted(p.ctx, few, kept)
	if !p.try("plain rows", err) {
		return
	}
	_, after, err := h.runCounted(p.ctx, many, kept)
	if p.try("more plain rows", err) && after > before {
		p.fail("%d bytes of env.Memory are held after %d batches, and %d after %d: batches or builders are not released",
			before, len(few.batches), after, len(many.batches))
	}
	p.breaches(CheckLeak)
}

func (h *tableHarness) cancellation(p *probe) {
	in := h.options.input(batch{rows: 2000, nulls: someNulls})
	schema := in.schema()
	for _, already := range []bool{true, false} {
		what := "a batch whose run is cancelled while it is worked on"
		if already {
			what = "a batch of a run that was cancelled before"
		}
		t, err := h.bind(p.ctx, schema)
		if err != nil {
			p.try(what, err)
			return
		}
		rec := in.record(newGuard(), schema, 0, 0)
		if h.definition.Kind == stage.KindEncoder {
			err = t.call(p.ctx, "Begin", func(context.Context) error { return t.encoder.Begin(&stage.Output{}) })
		}
		if err == nil {
			err = t.callCancelled(p.ctx, "a call with rows", already, func(ctx context.Context) error {
				if h.definition.Kind == stage.KindEncoder {
					return t.encoder.Encode(ctx, stage.Rows{Record: rec}, &stage.Output{})
				}
				got, err := t.filter.Apply(ctx, rec)
				if got != nil {
					got.Release()
				}
				return err
			})
		}
		p.try(what, cancelled(err))
		t.close()
		if h.hungReason() != "" {
			return // rec may still be read
		}
		rec.Release()
	}
}
