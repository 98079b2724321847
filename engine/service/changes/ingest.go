package changes

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// mostAgainBytes bounds what a source is asked for at once, as JSON: a parameter of a pipeline has 64 KiB at most.
const mostAgainBytes = 60 << 10

// mostTries is how often a source is run in vain, without a single change or position, that breaks for a reason of ours: a
// process that dies, a defect. A server that is away is tried for ever.
const mostTries = 10

// reader runs the source of a stream. What a reset has asked for is read first, in runs that end; then follows the run that
// does not.
type reader struct {
	held   *held
	stream store.Stream
	sealer *sealer
	// progress says that something of the last run was written.
	progress bool
}

// run reads until ctx ends, or until it does not go on by itself.
func (r *reader) run(ctx context.Context) {
	h := r.held
	for pause, tries := firstPause, 0; ctx.Err() == nil; {
		r.progress = false
		err := r.read(ctx)
		if r.progress {
			pause, tries = firstPause, 0
		}
		f := fault.From(err)
		switch {
		case err == nil, ctx.Err() != nil:
			continue
		case notHere(err):
			h.stop(err) // another process may have it
			return
		case f.Code == store.CodeStreamLost:
			h.lose()
			return
		}
		tries++
		if !repeatable(f) || ours(f) && tries >= mostTries {
			h.fail(ctx, f)
			return
		}
		h.m.cfg.Observer.Failed(h.customer, f.Code)
		h.warn("the source of a stream could not be read, which is tried again", f)
		shown := h.m.shown(f)
		_ = asks(ctx, func(ctx context.Context) error { // for who asks only
			return h.book.note(ctx, func(m *memo) { m.Reading = &shown })
		})
		sleep(ctx, jitter(pause))
		pause = min(2*pause, mostPause)
	}
}

// ours reports whether a fault is one of the program, and not of what it works with.
func ours(f *fault.Fault) bool { return f.Class == fault.Plugin || f.Class == fault.Internal }

// repeatable reports whether a source that has failed is run again: where its fault may go away by itself.
func repeatable(f *fault.Fault) bool {
	return f.Retryable || f.Class == fault.Connect || f.Class == fault.Cancelled || ours(f) && f.Code != CodeTable && f.Code != CodeAgain
}

// read makes one run.
func (r *reader) read(ctx context.Context) error {
	h := r.held
	state, note, position, err := h.book.state(ctx)
	if err != nil {
		return unwritten(err)
	}
	if err := followed(note, position, r.stream.Channels); err != nil {
		return err
	}
	left := int64(0)
	for _, channel := range r.stream.Channels {
		left += state.Channels[channel].Again
	}
	s := &sink{reader: r, anew: note.Anew || position == "" && left > 0, waiting: map[string]store.ChannelState{}, begun: map[[2]string]int64{}}
	for _, channel := range r.stream.Channels {
		s.waiting[channel] = state.Channels[channel]
	}
	order := Order{RunID: engine.NewRunID("stream-"+h.customer, time.Now()), Position: position}
	var asked map[string][]changes.Document
	switch {
	case s.anew:
		order.Again = &changes.Again{}
	case left > 0:
		order.Again = &changes.Again{}
		if asked, err = r.again(ctx); err != nil {
			return unwritten(err)
		}
		for _, channel := range r.stream.Channels {
			order.Again.Documents = append(order.Again.Documents, asked[channel]...)
		}
	}
	source, err := h.m.cfg.Sources.Source(ctx, h.customer, order)
	if err != nil {
		return err
	}
	err = source.Run(ctx, s)
	switch {
	case s.failed != nil:
		return s.failed
	case err != nil:
		return err
	case order.Again == nil && ctx.Err() == nil:
		return fault.New(CodeSourceEnded, fault.Plugin, "the source has ended, which it does not do").WithRetry()
	case s.anew:
		return unwritten(asks(ctx, func(ctx context.Context) error {
			return h.book.note(ctx, func(m *memo) { m.Anew = false })
		}))
	}
	return r.answered(ctx, asked)
}

// followed refuses to go on from a position that does not cover a channel which is enabled: its documents were never read.
func followed(m memo, position string, channels []string) error {
	if position == "" {
		return nil
	}
	for _, channel := range channels {
		if !slices.Contains(m.Followed, channel) {
			return fault.New(CodeChannelNew, fault.Usage, "the channel %s was not read so far, and the stream has a position", channel).
				WithHint("disable the stream and reset it anew, which copies all channels: cipherstream data-stream reset --anew")
		}
	}
	return nil
}

// again are the next documents that a reset has left to be read.
func (r *reader) again(ctx context.Context) (map[string][]changes.Document, error) {
	asked := map[string][]changes.Document{}
	most, size := changes.MostAgain, mostAgainBytes
	for _, channel := range r.stream.Channels {
		if most == 0 || size <= 0 {
			break
		}
		var next []changes.Document
		err := asks(ctx, func(ctx context.Context) (err error) {
			next, err = r.held.book.log.Again(ctx, channel, most)
			return err
		})
		if err != nil {
			return nil, err
		}
		for i, d := range next {
			text, err := json.Marshal(d)
			if err != nil {
				return nil, err
			}
			if size -= len(text) + 1; size < 0 && i > 0 {
				next = next[:i]
				break
			}
		}
		asked[channel], most = next, most-len(next)
	}
	return asked, nil
}

// answered looks whether the documents that were asked for have come: where one has not, the source would be asked for ever.
func (r *reader) answered(ctx context.Context, asked map[string][]changes.Document) error {
	for channel, documents := range asked {
		if len(documents) == 0 {
			continue
		}
		var left []changes.Document
		err := asks(ctx, func(ctx context.Context) (err error) {
			left, err = r.held.book.log.Again(ctx, channel, 1)
			return err
		})
		if err != nil {
			return unwritten(err)
		}
		if len(left) > 0 && slices.Contains(documents, left[0]) {
			return fault.New(CodeAgain, fault.Plugin,
				"the source was asked for a document of the type %q in the channel %s, and has delivered neither it nor that it is deleted", left[0].Type, channel).
				WithHint("is the table of that type still one of the pipeline's? reset the stream anew where it is not meant to be")
		}
	}
	return nil
}

// unwritten marks an error of the record as one that may go away: the record says of what it is asked that it cannot be, and
// that is our doing, with codes of its own.
func unwritten(err error) error {
	f := fault.From(err)
	if f == nil || f.Code == store.CodeStreamLost || f.Code == store.CodeStreamDocument {
		return err
	}
	return fault.New(f.Code, fault.Connect, "%w", err).WithHint("%s", f.Hint).WithRetry()
}
