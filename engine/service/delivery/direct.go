package delivery

import (
	"context"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/object"
)

// When what was written is sent on its way: the first bytes at once, then so many, and fewer after so long.
const (
	flushBytes = 32 << 10
	flushAfter = 100 * time.Millisecond
)

// Direct sends the output of a run as it comes.
type Direct struct {
	To Response
	// Options are those of the run; the events and the gate in them are kept.
	Options engine.RunOptions
}

// Run runs. A slow client slows the run down: no more of it waits than the run may have in flight. The error is that of
// the run, and the response was cut then, if it had begun.
func (d Direct) Run(ctx context.Context, run Run) (*engine.Receipt, error) {
	s := &directSink{to: d.To, gate: d.Options.BeforeCommit, digest: object.NewDigest(), turn: newTurn()}
	options := d.Options
	options.BeforeCommit = s.beforeCommit
	receipt, err := run(ctx, s, options)
	s.end(err != nil)
	return receipt, err
}

// directSink is the sink of a Direct.
type directSink struct {
	to    Response
	gate  func(context.Context, *engine.Receipt) error
	begun atomic.Bool // the response
	whole atomic.Bool // it is finished
	rows  int64       // known before the commit

	// Of whoever has the turn, as the body is.
	turn
	object   engine.Object
	digest   *object.Digest
	body     Body
	waiting  int // bytes that were written and not flushed
	timer    *time.Timer
	flushErr error // of a flush that came later
	over     bool  // nobody may use the response any more
}

// Streams tells the run that its output is seen as it comes.
func (s *directSink) Streams() bool { return true }

// Open keeps the media type. The response begins with the first byte: what fails before can be told.
func (s *directSink) Open(ctx context.Context, o engine.Object) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	s.object = o
	return nil
}

// begin sends the header, once, unless the run has ended. The caller has the turn.
func (s *directSink) begin(ctx context.Context) (err error) {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.over:
		return fault.New(CodeClientGone, fault.Internal, "the answer has ended")
	case s.flushErr != nil:
		return gone(s.flushErr)
	case s.body != nil:
		return nil
	}
	s.begun.Store(true)
	s.body, err = s.to.Begin(Head{RunID: s.object.RunID, Media: s.object.Media, Length: -1})
	return gone(err)
}

func (s *directSink) Write(ctx context.Context, p []byte) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	first := s.body == nil
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer cutAt(ctx, s.to)()
	if _, err := s.digest.Beside(p, func(p []byte) error {
		_, err := s.body.Write(p)
		return err
	}); err != nil {
		return gone(err)
	}
	s.waiting += len(p)
	switch {
	case first, s.waiting >= flushBytes:
		return gone(s.flush())
	case s.timer == nil:
		s.timer = time.AfterFunc(flushAfter, s.flushLate)
	}
	return nil
}

// flush sends what waits. The caller has the turn.
func (s *directSink) flush() error {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.waiting = 0
	return s.body.Flush()
}

// flushLate sends what has waited for long, while the run has nothing new.
func (s *directSink) flushLate() {
	_ = s.take(context.Background()) // whoever has it gives it: what waits for the client is cut in the end
	defer s.give()
	if s.timer != nil && !s.over {
		s.flushErr = s.flush()
	}
}

// beforeCommit learns how many rows there are, and asks the caller's gate.
func (s *directSink) beforeCommit(ctx context.Context, soFar *engine.Receipt) error {
	s.rows = soFar.Rows
	if s.gate == nil {
		return nil
	}
	return s.gate(ctx, soFar)
}

// Commit finishes the response. An answer without a byte begins here.
func (s *directSink) Commit(ctx context.Context) (engine.Delivery, error) {
	if err := s.take(ctx); err != nil {
		return engine.Delivery{}, err
	}
	defer s.give()
	if err := s.begin(ctx); err != nil {
		return engine.Delivery{}, err
	}
	defer cutAt(ctx, s.to)()
	if err := s.flush(); err != nil {
		return engine.Delivery{}, gone(err)
	}
	digest := s.digest.SHA256()
	sum := hex.EncodeToString(digest[:])
	if err := s.to.Finish(Tail{Rows: s.rows, SHA256: sum}); err != nil {
		return engine.Delivery{}, gone(err)
	}
	s.whole.Store(true)
	return engine.Delivery{Bytes: s.digest.Size(), SHA256: sum, Location: location}, nil
}

// Abort cuts the response, if it has begun and is not whole.
func (s *directSink) Abort(context.Context) error {
	s.end(true)
	return nil
}

// end waits until nobody uses the response any more. Of a run that has failed, it is cut.
func (s *directSink) end(failed bool) {
	cut := func() {
		if failed && s.begun.Load() && !s.whole.Load() {
			s.to.Cut()
		}
	}
	cut() // whoever has the turn may wait for the client
	_ = s.take(context.Background())
	defer s.give()
	cut() // whoever had it may have begun the response meanwhile
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
