package suite

import (
	"context"
	"slices"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// twoPhases tries what is the same of every sink, whether it takes bytes or rows: how it is aborted and cancelled.
type twoPhases struct {
	*harness
	definition stage.Definition
	open       func(ctx context.Context) (*sinkStage, error)
	// write gives the sink a whole input.
	write func(ctx context.Context, s *sinkStage) error
	// piece is one long Write, and what gives its memory back when nobody reads it any more.
	piece func(s *sinkStage) (write func(ctx context.Context) error, release func())
}

// aborts ends what was begun in every phase; nothing may stay, on the disk or with the host.
func (b twoPhases) aborts(p *probe) {
	ended, cancel := context.WithCancel(p.ctx)
	cancel()
	for _, phase := range []struct {
		what string
		do   func(s *sinkStage) error
	}{
		{"after Open", func(*sinkStage) error { return nil }},
		{"after Write", func(s *sinkStage) error { return b.write(p.ctx, s) }},
		{"after a Write that failed", func(s *sinkStage) error {
			if err := b.write(p.ctx, s); err != nil {
				return err
			}
			return cancelled(b.write(ended, s))
		}},
	} {
		s, err := b.open(p.ctx)
		if err == nil {
			err = phase.do(s)
		}
		if !p.try(phase.what, err) {
			if s != nil {
				_ = s.abort(p.ctx)
				s.close()
			}
			continue
		}
		// The run's context has ended when a sink is aborted because of it.
		p.try("Abort "+phase.what, s.abort(ended))
		if left := s.left(); len(left) > 0 {
			p.fail("Abort %s left %s", phase.what,
				slices.MinFunc(left, func(a, b string) int { return len(a) - len(b) }))
		}
		if open := s.unreleased(); len(open) > 0 {
			b.report(CheckUndo, "after Abort %s the sink has not released %q", phase.what, open[0])
		}
		p.try("the second Abort "+phase.what, s.abort(p.ctx))
		s.close()
	}
	if i, err := b.newInstance(p.ctx, b.definition); err == nil {
		s := &sinkStage{instance: i, sink: i.made.(stage.Outcome)}
		p.try("Abort without Open", s.abort(p.ctx))
		s.close()
	}
	p.breaches(CheckAbort)
}

// committed looks back at a sink after Commit: it has released what it announced, and an Abort does nothing any more.
func (h *harness) committed(ctx context.Context, s *sinkStage) {
	if open := s.unreleased(); len(open) > 0 {
		h.report(CheckUndo, "after Commit the sink has not released %q", open[0])
	}
	if err := s.abort(ctx); err != nil {
		h.report(CheckAbort, "Abort after Commit gave an error: %v", err)
	}
	if s.object != "" && !s.visible() {
		h.report(CheckAbort, "after Commit, and an Abort that must do nothing then, the object is not there")
	}
}

// cancellation cancels a run while the sink writes, and while it commits.
func (b twoPhases) cancellation(p *probe) {
	for _, already := range []bool{true, false} {
		s, err := b.open(p.ctx)
		if err != nil {
			p.try("opening", err)
			return
		}
		write, release := b.piece(s)
		p.try("a write of a cancelled run", cancelled(s.callCancelled(p.ctx, "Write", already, write)))
		if b.hungReason() != "" {
			s.close()
			return // what was written may still be read
		}
		release()
		if err := s.abort(p.ctx); err != nil {
			p.try("Abort after the cancellation", err)
		}
		s.close()
	}
	s, err := b.open(p.ctx)
	if err != nil {
		return
	}
	defer s.close()
	err = s.callCancelled(p.ctx, "Commit", true,
		func(ctx context.Context) error { _, err := s.sink.Commit(ctx); return err })
	if err != nil && s.visible() {
		p.fail("Commit failed, and the object is visible")
	}
	p.try("a commit of a cancelled run", cancelled(err))
	if err != nil {
		_ = s.abort(p.ctx)
	}
}
