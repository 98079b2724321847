package changes

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Bounds of what is written in one transaction where it is no batch of the source's.
const truncateTogether = 2000

// roomEvery is how often a reader that is paused looks by itself whether there is room.
const roomEvery = 2 * time.Second

// sink takes the table of one run of a source, and writes every batch with the position behind it in one transaction.
type sink struct {
	reader *reader
	// anew: everything is copied because of a reset, and numbered although it is as it was.
	anew bool
	// waiting is what waits of each channel, at most: it is looked at when it seems to be too much.
	waiting map[string]store.ChannelState
	// begun are types of which all documents come, with the last number of their channel before the first of them.
	begun map[[2]string]int64
	// failed is what was wrong here, which the run may say in other words.
	failed error
}

// Open takes the table of package sdk/changes, and nothing else.
func (s *sink) Open(_ context.Context, table engine.Table) error {
	want := changes.Schema()
	wrong := table.Schema == nil || table.Schema.NumFields() != want.NumFields()
	for i := 0; !wrong && i < want.NumFields(); i++ {
		got := table.Schema.Field(i)
		wrong = got.Name != want.Field(i).Name || !arrow.TypeEqual(got.Type, want.Field(i).Type)
	}
	if wrong {
		return s.fail(fault.New(CodeTable, fault.Plugin, "the source does not deliver a table of changes").
			WithHint("the pipeline of a stream has one stage, a source such as mysql-changes"))
	}
	return nil
}

func (s *sink) fail(err error) error {
	s.failed = err
	return err
}

// columns of a batch.
type columns struct {
	channel, kind, id, operation, origin, document *array.String
	committed                                      *array.Timestamp
}

// Write writes a batch.
func (s *sink) Write(ctx context.Context, rows engine.Rows) error {
	err := s.write(ctx, rows)
	if err != nil && ctx.Err() == nil { // otherwise the run has ended, and says why
		return s.fail(err)
	}
	return err
}

func (s *sink) write(ctx context.Context, rows engine.Rows) error {
	text := func(i int) *array.String {
		c, _ := rows.Column(i).(*array.String)
		return c
	}
	committed, _ := rows.Column(changes.ColumnCommittedAt).(*array.Timestamp)
	c := columns{channel: text(changes.ColumnChannel), kind: text(changes.ColumnType), id: text(changes.ColumnID),
		operation: text(changes.ColumnOperation), origin: text(changes.ColumnOrigin), document: text(changes.ColumnDocument), committed: committed}
	batch := make([]store.Change, 0, rows.NumRows())
	for row := range int(rows.NumRows()) {
		channel := c.channel.Value(row)
		if !slices.Contains(Channels, channel) {
			return fault.New(CodeTable, fault.Plugin, "the source has delivered a document of the channel %q, which there is none of", channel)
		}
		if !enabled(s.reader.stream, channel) {
			continue
		}
		switch operation, kind := c.operation.Value(row), c.kind.Value(row); operation {
		case changes.OpTruncate, changes.OpBegin, changes.OpEnd:
			if err := s.append(ctx, "", batch); err != nil {
				return err
			}
			batch = batch[:0]
			if err := s.all(ctx, operation, channel, kind, s.committedAt(c, row)); err != nil {
				return err
			}
			continue
		}
		change, err := s.change(c, row)
		if err != nil {
			return err
		}
		batch = append(batch, change)
	}
	return s.append(ctx, rows.Checkpoint, batch)
}

func (s *sink) committedAt(c columns, row int) time.Time {
	if c.committed.IsNull(row) {
		return time.Time{}
	}
	return time.UnixMicro(int64(c.committed.Value(row))).UTC()
}

// change is a row as it is written.
func (s *sink) change(c columns, row int) (store.Change, error) {
	channel, kind, id := c.channel.Value(row), c.kind.Value(row), c.id.Value(row)
	origin, operation := c.origin.Value(row), c.operation.Value(row)
	switch origin {
	case changes.OriginLog, changes.OriginCopy, changes.OriginAgain, changes.OriginPoll:
	default:
		return store.Change{}, fault.New(CodeTable, fault.Plugin, "the source has delivered a document of the origin %q, which there is none of", origin)
	}
	change := store.Change{Channel: channel, Type: kind, ID: id, CommittedAt: s.committedAt(c, row)}
	switch {
	case operation == changes.OpDelete:
		change.Deleted, change.Again = true, origin == changes.OriginAgain
		s.seal(&change, tombstone(kind, id))
		return change, nil
	case operation != changes.OpWrite || c.document.IsNull(row):
		return store.Change{}, fault.New(CodeTable, fault.Plugin, "the source has delivered the operation %q, or none of its document", operation)
	}
	document := []byte(c.document.Value(row))
	if len(document) > mostDocument {
		return store.Change{}, fault.New(CodeDocumentTooLarge, fault.Data,
			"a document of the type %q has %d bytes, and a request may have one of %d", kind, len(document), mostDocument).
			WithHint("leave out the column that is so long (columns of the table, in the pipeline), and reset the stream anew")
	}
	if len(document) == 0 || document[0] != '{' || !json.Valid(document) {
		return store.Change{}, fault.New(CodeTable, fault.Plugin, "the source has delivered a document of the type %q that is no JSON object", kind)
	}
	// What the log has is a change, whatever it has changed. A row that was read may be as it was known; a reset wants its
	// number all the same.
	// So does one of all documents of its type: what has no new number then is gone.
	_, all := s.begun[[2]string{channel, kind}]
	change.Same = origin == changes.OriginPoll || origin == changes.OriginCopy && !s.anew && !all
	s.seal(&change, document)
	return change, nil
}

func (s *sink) seal(change *store.Change, text []byte) {
	change.Digest = sha256.Sum256(text)
	change.Sealed = s.reader.sealer.seal(change.Channel, change.Type, change.ID, text)
}

// tombstone is the document of one that was deleted.
func tombstone(kind, id string) []byte {
	text := append([]byte(nil), `{"id":`...)
	text = appendText(text, id)
	text = append(text, `,"type":`...)
	text = appendText(text, kind)
	return append(text, `,"deleted":true}`...)
}

// all takes an operation about all documents of a type. What was before it is written.
func (s *sink) all(ctx context.Context, operation, channel, kind string, at time.Time) error {
	name := [2]string{channel, kind}
	switch operation {
	case changes.OpBegin:
		var state store.StreamState
		err := asks(ctx, func(ctx context.Context) (err error) {
			state, err = s.reader.held.book.log.State(ctx)
			return err
		})
		s.begun[name] = state.Channels[channel].Sequence
		return unwritten(err)
	case changes.OpEnd:
		before, ok := s.begun[name]
		if !ok {
			return fault.New(CodeTable, fault.Plugin, "the source has ended all documents of the type %q, which it has not begun", kind)
		}
		delete(s.begun, name)
		return s.remove(ctx, channel, kind, before, at)
	}
	return s.remove(ctx, channel, kind, math.MaxInt64, at)
}

// remove writes the delete of every document of a type that is not deleted and has no number above one, in pieces. Where
// that is cut off, the position stands before it, and a later run does the rest.
func (s *sink) remove(ctx context.Context, channel, kind string, until int64, at time.Time) error {
	for {
		var ids []string
		err := asks(ctx, func(ctx context.Context) (err error) {
			ids, err = s.reader.held.book.log.Documents(ctx, channel, kind, until, truncateTogether)
			return err
		})
		if err != nil {
			return unwritten(err)
		}
		if len(ids) == 0 {
			return nil
		}
		piece := make([]store.Change, len(ids))
		for i, id := range ids {
			piece[i] = store.Change{Channel: channel, Type: kind, ID: id, Deleted: true, CommittedAt: at}
			s.seal(&piece[i], tombstone(kind, id))
		}
		if err := s.append(ctx, "", piece); err != nil {
			return err
		}
	}
}

// append writes changes, and the position behind them, when there is room.
func (s *sink) append(ctx context.Context, position string, batch []store.Change) error {
	h := s.reader.held
	if len(batch) == 0 && position == "" {
		return nil
	}
	if err := s.wait(ctx, batch); err != nil {
		return err
	}
	numbered := 0
	err := asks(ctx, func(ctx context.Context) (err error) {
		numbered, err = h.book.append(ctx, position, batch, func(m *memo) {
			m.Followed, m.Anew, m.Reading = s.reader.stream.Channels, s.anew, nil
		})
		return err
	})
	if err != nil {
		return unwritten(err)
	}
	s.reader.progress = true
	if numbered == 0 {
		return nil
	}
	h.m.cfg.Observer.Numbered(h.customer, numbered)
	for _, change := range batch {
		c := s.waiting[change.Channel]
		c.Waiting, c.WaitingBytes = c.Waiting+1, c.WaitingBytes+int64(len(change.Sealed))
		s.waiting[change.Channel] = c
	}
	h.tellSenders()
	return nil
}

// wait waits until less waits for the receiver than may, of every channel: they have one reader.
func (s *sink) wait(ctx context.Context, batch []store.Change) error {
	h := s.reader.held
	for len(batch) > 0 && h.m.full(s.waiting) != nil {
		state, _, _, err := h.book.state(ctx)
		if err != nil {
			return unwritten(err)
		}
		for channel := range s.waiting {
			s.waiting[channel] = state.Channels[channel]
		}
		if h.m.full(s.waiting) == nil {
			break
		}
		await(ctx, h.room, roomEvery)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// full are the channels of which as much waits as may.
func (m *Manager) full(waiting map[string]store.ChannelState) (full []string) {
	for _, channel := range Channels {
		if c := waiting[channel]; c.Waiting >= m.cfg.Limits.Documents || c.WaitingBytes >= m.cfg.Limits.Bytes {
			full = append(full, channel)
		}
	}
	return full
}

// Commit ends a run that has come to its end; all was written already.
func (s *sink) Commit(context.Context) (engine.Delivery, error) { return engine.Delivery{}, nil }

// Abort leaves what was written, which a later run goes on from.
func (s *sink) Abort(context.Context) error { return nil }

// Streams says that what is written can be seen before Commit.
func (s *sink) Streams() bool { return true }
