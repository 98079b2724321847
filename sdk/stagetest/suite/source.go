package suite

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// sourceHarness tries sources.
type sourceHarness struct {
	*harness
	definition stage.Definition
}

// sourceStage is a source that has been opened.
type sourceStage struct {
	*instance
	source stage.Source
	schema *arrow.Schema
}

func (h *sourceHarness) open(ctx context.Context) (*sourceStage, error) {
	i, err := h.newInstance(ctx, h.definition)
	if err != nil {
		return nil, err
	}
	s := &sourceStage{instance: i, source: i.made.(stage.Source)}
	err = i.call(ctx, "Open", func(ctx context.Context) (err error) {
		s.schema, err = s.source.Open(ctx)
		if err == nil && s.schema == nil {
			return problemf("Open gave no schema")
		}
		return err
	})
	if err != nil {
		_ = s.end(ctx)
		return nil, err
	}
	return s, nil
}

// end closes the source and looks at what it left.
func (s *sourceStage) end(ctx context.Context) error {
	defer s.instance.close()
	return s.call(ctx, "Close", func(context.Context) error { return s.source.Close() })
}

func (s *sourceStage) next(ctx context.Context) (rec arrow.Record, err error) {
	err = s.call(ctx, "Next", func(ctx context.Context) (err error) {
		rec, err = s.source.Next(ctx)
		switch {
		case err == nil && rec == nil:
			return problemf("Next gave neither a batch nor an error")
		case err != nil && rec != nil:
			return problemf("Next gave a batch and the error %v", err)
		}
		return err
	})
	if err == nil {
		if breach := schemaBreach(rec, s.schema); breach != "" {
			s.harness.report(CheckSchema, "%s", breach)
		}
		if c, can := s.source.(stage.Checkpointer); can {
			if breach := stage.CheckpointBreach(c.Checkpoint()); breach != "" {
				s.harness.report(CheckCheckpoints, "the source gave %s", breach)
			}
		}
	}
	return rec, err
}

// mostBatches bounds how much of an endless source is read.
const mostBatches = 10_000

// all reads a source to its end, and holds every batch until then.
func (h *sourceHarness) all(ctx context.Context) (rows [][]string, changed string, err error) {
	s, err := h.open(ctx)
	if err != nil {
		return nil, "", err
	}
	var held []arrow.Record
	for err == nil && len(held) < mostBatches {
		var rec arrow.Record
		if rec, err = s.next(ctx); err == nil {
			held = append(held, rec)
			rows = append(rows, cells(rec))
		}
	}
	if err == nil {
		err = problemf("no end after %d batches: give settings with which the source ends", mostBatches)
	}
	if h.hungReason() != "" {
		s.instance.close()
		return nil, "", err
	}
	var later [][]string
	for _, rec := range held {
		later = append(later, cells(rec))
		rec.Release()
	}
	changed = differs(later, rows)
	if err == io.EOF {
		err = nil
		for range 2 {
			if rec, again := s.next(ctx); again != io.EOF {
				if rec != nil {
					rec.Release()
				}
				h.report(CheckEOF, "after io.EOF, Next gave %v instead of io.EOF again", again)
			}
		}
	}
	if closeErr := s.end(ctx); err == nil {
		err = closeErr
	}
	if buffers, bytes := s.memory.held(); buffers > 0 {
		h.report(CheckLeak, "%d buffers (%d bytes) of env.Memory are still held after Close", buffers, bytes)
	}
	if s.memory.double {
		h.report(CheckLeak, "a buffer of env.Memory was freed twice")
	}
	return rows, changed, err
}

func (h *sourceHarness) checks() []Check {
	return []Check{
		h.check(CheckCancel, func(p *probe) { h.cancellation(p) }),
		h.check(CheckPlain, func(p *probe) {
			_, _, err := h.all(p.ctx)
			p.try("reading to the end", err)
		}),
		h.check(CheckOwned, func(p *probe) {
			_, changed, err := h.all(p.ctx)
			if p.try("reading to the end", err) && changed != "" {
				p.fail("a batch that was delivered changed later: %s", changed)
			}
		}),
		h.reportsOf(CheckEOF),
		h.check(CheckClose, func(p *probe) { h.closes(p) }),
		h.undo(h.definition),
		h.reportsOf(CheckLeak),
		h.leaks(func(ctx context.Context) error { _, _, err := h.all(ctx); return err }),
		h.reportsOf(CheckSchema), h.reportsOf(CheckCheckpoints), h.reportsOf(CheckPanics), h.reportsOf(CheckErrors), h.accepts(),
	}
}

// closes closes a source twice, before its end and before its beginning.
func (h *sourceHarness) closes(p *probe) {
	i, err := h.newInstance(p.ctx, h.definition)
	if err == nil {
		defer i.close()
		err = i.call(p.ctx, "Close of a source that was not opened",
			func(context.Context) error { return i.made.(stage.Source).Close() })
	}
	p.try("closing without opening", err)

	s, err := h.open(p.ctx)
	if err != nil {
		p.try("opening", err)
		return
	}
	rec, err := s.next(p.ctx)
	if rec != nil {
		rec.Release()
	}
	if err != nil && err != io.EOF {
		p.try("the first batch", err)
	}
	p.try("closing before the end", s.end(p.ctx))
	p.try("closing twice", s.call(p.ctx, "the second Close", func(context.Context) error { return s.source.Close() }))
	if buffers, bytes := s.memory.held(); buffers > 0 {
		p.fail("%d buffers (%d bytes) of env.Memory are still held after Close in the middle", buffers, bytes)
	}
}

// cancellation cancels a source while it is read: it must end within a second, whether it is busy or waits.
func (h *sourceHarness) cancellation(p *probe) {
	const what = "reading on after the cancellation"
	s, err := h.open(p.ctx)
	if err != nil {
		p.try("opening", err)
		return
	}
	first, err := s.next(p.ctx)
	if first != nil {
		first.Release()
	}
	began := time.Now()
	for err == nil {
		err = s.callCancelled(p.ctx, "Next", true, func(ctx context.Context) error {
			rec, err := s.source.Next(ctx)
			if rec != nil {
				rec.Release()
			}
			return err
		})
		if err == nil && time.Since(began) > h.options.Prompt {
			err = problemf("Next still delivers batches %s after the cancellation", h.options.Prompt)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	p.try(what, cancelled(err))
	if h.hungReason() != "" {
		s.instance.close()
		return
	}
	p.try("closing after the cancellation", s.end(p.ctx))

	if i, err := h.newInstance(p.ctx, h.definition); err == nil {
		defer i.close()
		source := i.made.(stage.Source)
		err = i.callCancelled(p.ctx, "Open", true,
			func(ctx context.Context) error { _, err := source.Open(ctx); return err })
		p.try("opening after the cancellation", cancelled(err))
		if h.hungReason() == "" {
			p.try("closing", i.call(p.ctx, "Close", func(context.Context) error { return source.Close() }))
		}
	}
}
