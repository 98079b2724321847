package runner

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

var errClosed = net.ErrClosed

// sourceInput reads items from a source in this process.
type sourceInput struct {
	built     built
	group     *Group
	opened    bool
	delivered int64 // rows
}

func (s *sourceInput) open(ctx context.Context) (schema *arrow.Schema, err error) {
	source, ok := s.built.instance.(stage.Source)
	if !ok {
		return nil, fault.New("internal", fault.Internal, "stage %q is a %T, not a source", s.built.ID, s.built.instance)
	}
	defer s.named(&err)
	defer recoverPanic(&err, s.group.cfg.Log)
	s.opened = true
	return source.Open(ctx)
}

// estimate is about how many rows the source will deliver; 0 where it does not say.
func (s *sourceInput) estimate() (rows int64) {
	e, can := s.built.instance.(stage.RowEstimator)
	if !can {
		return 0
	}
	var panicked error // of something that nobody relies on: the log has it
	defer recoverPanic(&panicked, s.group.cfg.Log)
	return max(e.EstimateRows(), 0)
}

func (s *sourceInput) next(ctx context.Context) (it item, err error) {
	defer s.named(&err)
	defer recoverPanic(&err, s.group.cfg.Log)
	rec, err := s.built.instance.(stage.Source).Next(ctx)
	if err != nil {
		if err != io.EOF && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return item{}, err
	}
	it = item{rec: rec, rows: rec.NumRows()}
	s.delivered += it.rows
	if c, can := s.built.instance.(stage.Checkpointer); can {
		if it.checkpoint = c.Checkpoint(); it.checkpoint == "" {
			return it, nil
		}
		if problem := stage.CheckpointBreach(it.checkpoint); problem != "" {
			rec.Release()
			return item{}, fault.New("plugin.contract", fault.Plugin, "the source gave %s", problem)
		}
		s.group.checkpoint.Store(&Checkpoint{it.checkpoint, s.delivered})
	}
	return it, nil
}

func (s *sourceInput) close() (err error) {
	if !s.opened {
		return nil
	}
	defer s.named(&err)
	defer recoverPanic(&err, s.group.cfg.Log)
	return s.built.instance.(stage.Source).Close()
}

func (s *sourceInput) named(err *error) {
	if *err != nil && *err != io.EOF {
		*err = fault.InStage(*err, s.built.ID)
	}
}

// connCloser stands for an input that could not be read.
type connCloser struct{ conn net.Conn }

func (connCloser) next(context.Context) (item, error) { return item{}, errEndOfInput }
func (c connCloser) close() error                     { return c.conn.Close() }

// sinkOutput writes items to a sink in this process.
type sinkOutput struct {
	built built
	sink  stage.Sink
	group *Group
}

func (s *sinkOutput) write(ctx context.Context, it item) (written int64, err error) {
	defer func() {
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			err = fault.InStage(err, s.built.ID)
		}
	}()
	defer recoverPanic(&err, s.group.cfg.Log)
	for _, out := range it.outs {
		if len(out.Data) == 0 {
			continue
		}
		if err := s.sink.Write(ctx, out.Data); err != nil {
			return written, err
		}
		written += int64(len(out.Data))
	}
	return written, nil
}

// finish does nothing: the sink waits for Commit.
func (s *sinkOutput) finish() error { return nil }

// tableOutput gives batches to a sink of rows in this process.
type tableOutput struct {
	built built
	sink  stage.TableSink
	group *Group
	rows  int64 // that were written
}

func (t *tableOutput) write(ctx context.Context, it item) (_ int64, err error) {
	defer func() {
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		f := *fault.InStage(err, t.built.ID)
		if row, ok := f.Row(); ok {
			f.Message += fmt.Sprintf(", in row %d", t.rows+row+1)
		}
		err = &f
	}()
	defer recoverPanic(&err, t.group.cfg.Log)
	if err := t.sink.Write(ctx, stage.Rows{Record: it.rec, First: t.rows, Checkpoint: it.checkpoint}); err != nil {
		return 0, err
	}
	t.rows += it.rec.NumRows()
	return 0, nil
}

// finish accounts for the rows; the sink waits for Commit.
func (t *tableOutput) finish() error {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	t.group.encodes, t.group.encoded = true, t.rows
	return nil
}
