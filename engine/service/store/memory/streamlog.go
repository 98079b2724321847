package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// streamData is the database of a stream. What can be counted is counted when it is asked for.
type streamData struct {
	position string
	fence    int64
	channels map[string]*streamChannel
}

type streamChannel struct {
	sequence, acknowledged int64
	acknowledgedAt         time.Time
	resetAbove, resetUntil int64
	documents              map[changes.Document]store.Indexed
	waiting                []store.Waiting
}

// streamLog is one use of it.
type streamLog struct {
	of     *Store
	data   *streamData
	closed atomic.Bool
}

// do is one question, or one change: with the record's lock held.
func (l *streamLog) do(ctx context.Context, do func() error) error {
	return l.of.do(ctx, false, nil, func() error {
		if l.closed.Load() {
			return closedStream()
		}
		return do()
	})
}

// write is a change, with the fence of its writer.
func (l *streamLog) write(ctx context.Context, fence int64, do func() error) error {
	return l.do(ctx, func() error {
		if err := store.CheckFence(fence, l.data.fence); err != nil {
			return err
		}
		err := do()
		if err == nil {
			l.data.fence = fence
		}
		return err
	})
}

// above are the documents whose latest numbers are above one and not above another, in their order.
func (c *streamChannel) above(above, until int64) (all []changes.Document) {
	for name, known := range c.documents {
		if known.Sequence > above && known.Sequence <= until {
			all = append(all, name)
		}
	}
	slices.SortFunc(all, func(a, b changes.Document) int {
		return cmp.Compare(c.documents[a].Sequence, c.documents[b].Sequence)
	})
	return all
}

// state is how far a channel is.
func (c *streamChannel) state() (state store.ChannelState) {
	state.Sequence, state.Acknowledged, state.AcknowledgedAt = c.sequence, c.acknowledged, c.acknowledgedAt
	state.Waiting = int64(len(c.waiting))
	for _, w := range c.waiting {
		state.WaitingBytes += int64(len(w.Sealed))
	}
	if len(c.waiting) > 0 {
		state.OldestAt = c.waiting[0].CommittedAt
	}
	if state.Again = int64(len(c.above(c.resetAbove, c.resetUntil))); state.Again > 0 {
		state.ResetAbove, state.ResetUntil = c.resetAbove, c.resetUntil
	}
	return state
}

func (l *streamLog) State(ctx context.Context) (state store.StreamState, err error) {
	err = l.do(ctx, func() error {
		state = store.StreamState{Position: l.data.position, Channels: map[string]store.ChannelState{}}
		for name, c := range l.data.channels {
			state.Channels[name] = c.state()
		}
		return nil
	})
	return state, err
}

func (l *streamLog) Append(ctx context.Context, fence int64, a store.Append) (numbered int, err error) {
	if err := a.Check(); err != nil {
		return 0, err
	}
	err = l.write(ctx, fence, func() error {
		for _, change := range a.Changes {
			name := changes.Document{Type: change.Type, ID: change.ID}
			c := l.data.channels[change.Channel]
			var known *store.Indexed
			if c != nil {
				if k, ok := c.documents[name]; ok {
					known = &k
				}
			}
			if !change.Numbers(known) {
				continue
			}
			if c == nil {
				c = &streamChannel{documents: map[changes.Document]store.Indexed{}}
				l.data.channels[change.Channel] = c
			}
			c.sequence++
			numbered++
			c.documents[name] = store.Indexed{Sequence: c.sequence, Deleted: change.Deleted, Digest: change.Digest}
			c.waiting = append(c.waiting, store.Waiting{
				Sequence: c.sequence, Type: change.Type, ID: change.ID, Deleted: change.Deleted,
				Sealed: bytes.Clone(change.Sealed), CommittedAt: instant(change.CommittedAt),
			})
		}
		if a.Position != "" {
			l.data.position = a.Position
		}
		return nil
	})
	return numbered, err
}

// channel asks of one, which is empty where nothing was ever written.
func (l *streamLog) channel(ctx context.Context, name string, ask func(*streamChannel)) error {
	return l.do(ctx, func() error {
		c := l.data.channels[name]
		if c == nil {
			c = &streamChannel{}
		}
		ask(c)
		return nil
	})
}

func (l *streamLog) Waiting(ctx context.Context, channel string, after int64, most int, size int64) (all []store.Waiting, err error) {
	err = l.channel(ctx, channel, func(c *streamChannel) {
		for _, w := range c.waiting {
			size -= int64(len(w.Sealed))
			switch {
			case w.Sequence <= after:
				size += int64(len(w.Sealed))
				continue
			case len(all) >= most, len(all) > 0 && size < 0:
				return
			}
			w.Sealed = bytes.Clone(w.Sealed)
			all = append(all, w)
		}
	})
	return all, err
}

func (l *streamLog) Acknowledge(ctx context.Context, fence int64, channel string, sequence int64) error {
	return l.write(ctx, fence, func() error {
		c := l.data.channels[channel]
		if c == nil {
			return store.ChannelState{}.CheckAcknowledged(channel, sequence)
		}
		if err := c.state().CheckAcknowledged(channel, sequence); err != nil || sequence == c.acknowledged {
			return err
		}
		c.acknowledged, c.acknowledgedAt = sequence, instant(l.of.jobs.now())
		c.waiting = slices.DeleteFunc(c.waiting, func(w store.Waiting) bool { return w.Sequence <= sequence })
		return nil
	})
}

func (l *streamLog) Documents(ctx context.Context, channel, kind string, until int64, most int) (ids []string, err error) {
	err = l.channel(ctx, channel, func(c *streamChannel) {
		for _, name := range c.above(0, c.sequence) {
			if d := c.documents[name]; name.Type == kind && !d.Deleted && d.Sequence <= until && len(ids) < most {
				ids = append(ids, name.ID)
			}
		}
	})
	return ids, err
}

func (l *streamLog) Above(ctx context.Context, channel string, above int64) (n int64, err error) {
	err = l.channel(ctx, channel, func(c *streamChannel) { n = int64(len(c.above(above, c.sequence))) })
	return n, err
}

func (l *streamLog) Reset(ctx context.Context, fence int64, channel string, above int64, anew bool) (again int64, err error) {
	if err := store.CheckReset(above, anew); err != nil {
		return 0, err
	}
	err = l.write(ctx, fence, func() error {
		if anew {
			l.data.position = ""
		}
		c := l.data.channels[channel]
		if c == nil {
			return nil
		}
		c.waiting = slices.DeleteFunc(c.waiting, func(w store.Waiting) bool { return w.Sequence > above })
		after := c.state().ResetStep(above)
		c.resetAbove, c.resetUntil = after.ResetAbove, after.ResetUntil
		again = c.state().Again
		return nil
	})
	return again, err
}

func (l *streamLog) Again(ctx context.Context, channel string, most int) (all []changes.Document, err error) {
	err = l.channel(ctx, channel, func(c *streamChannel) {
		all = c.above(c.resetAbove, c.resetUntil)
		all = all[:min(len(all), max(0, most))]
	})
	return all, err
}

func (l *streamLog) Close() error {
	l.closed.Store(true)
	return nil
}
