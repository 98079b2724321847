package sqlrecord

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"math/bits"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

// StreamDatabase is what the database of one stream stands on.
type StreamDatabase struct {
	Database
	// Prefix begins the names of its tables: state, channels, documents and waiting.
	Prefix string
	// Origin is an SQL expression that names who gives numbers here: this file, or this server. When it is another than
	// gave the last ones, the record may be a copy of one that went on: what was numbered there is not known here. The
	// numbers that follow are above all of those then, and what was not acknowledged gets such ones too; see renumber.
	Origin string
	// Close lets it go.
	Close func() error
}

// StreamLog is the database of one stream; see store.StreamLog.
type StreamLog struct{ db StreamDatabase }

// NewStreamLog is the one of a database, whose tables are there. Lost says that the stream had another one before, of which
// nothing is known.
func NewStreamLog(ctx context.Context, db StreamDatabase, lost bool) (*StreamLog, error) {
	l := &StreamLog{db}
	return l, l.begin(ctx, lost)
}

// begin looks whose numbers the database has.
func (l *StreamLog) begin(ctx context.Context, lost bool) error {
	same, err := l.same(ctx)
	if err != nil || same {
		return err
	}
	return l.db.Write(ctx, Change{Do: func(tx Tx) error {
		var fresh bool
		if err := tx.Row("SELECT origin = '' FROM " + l.db.Prefix + "state WHERE id = 1").Scan(&fresh); err != nil {
			return err
		}
		// A record that was restored, or whose server has taken another's place, knows nothing of streams that were made since.
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		if fresh && !lost && now.FirstRun <= 1 {
			_, err := tx.Exec("UPDATE " + l.db.Prefix + "state SET origin = " + l.db.Origin + " WHERE id = 1")
			return err
		}
		_, err = l.open(tx, 0, false)
		return err
	}})
}

// same reports whether who gives the numbers now has given the last ones.
func (l *StreamLog) same(ctx context.Context) (same bool, err error) {
	err = l.db.Read(ctx, func(rows *sql.Rows) error { return rows.Scan(&same) },
		"SELECT origin = "+l.db.Origin+" FROM "+l.db.Prefix+"state WHERE id = 1")
	return same, err
}

// streamHead is the row of the table state, which every change locks first.
type streamHead struct {
	position string
	floor    int64
}

// open begins a change. With fenced the writer's fence is checked, and noted.
func (l *StreamLog) open(tx Tx, fence int64, fenced bool) (head streamHead, err error) {
	var seen int64
	var same bool
	err = tx.Row("SELECT position, fence, floor, origin = "+l.db.Origin+" FROM "+l.db.Prefix+"state WHERE id = 1"+tx.dialect.ForUpdate).
		Scan(&head.position, &seen, &head.floor, &same)
	if err == nil && fenced {
		err = store.CheckFence(fence, seen)
	}
	if err == nil && !same {
		head.floor, err = l.renumber(tx, head.floor)
	}
	if err == nil && fenced && fence > seen {
		_, err = tx.Exec("UPDATE "+l.db.Prefix+"state SET fence = ? WHERE id = 1", fence)
	}
	return head, err
}

// renumber has all that was not acknowledged begin above a number that nobody can have come to, which is the time in
// microseconds. The order stays, and so does what a reset has left to read.
func (l *StreamLog) renumber(tx Tx, floor int64) (int64, error) {
	now, err := tx.Clock()
	if err != nil {
		return 0, err
	}
	channels, err := l.channels(tx)
	if err != nil {
		return 0, err
	}
	floor = max(floor, Micros(now.Now))
	for _, c := range channels {
		floor = max(floor, c.Sequence)
	}
	for name, c := range channels {
		shift := floor - c.Acknowledged
		for _, table := range []string{"waiting", "documents"} {
			if _, err := tx.Exec("UPDATE "+l.db.Prefix+table+" SET sequence = sequence + ? WHERE channel = ? AND sequence > ?",
				shift, name, c.Acknowledged); err != nil {
				return 0, err
			}
		}
		for _, number := range []*int64{&c.ResetAbove, &c.ResetUntil} {
			if *number > c.Acknowledged {
				*number += shift
			}
		}
		c.Sequence += shift
		if err := l.save(tx, name, c); err != nil {
			return 0, err
		}
	}
	_, err = tx.Exec("UPDATE "+l.db.Prefix+"state SET floor = ?, origin = "+l.db.Origin+" WHERE id = 1", floor)
	return floor, err
}

// streamChannel is a row of the table channels.
type streamChannel struct {
	store.ChannelState
	made bool // there is no row yet
}

func (c *streamChannel) columns() []column {
	return []column{
		{"sequence", &c.Sequence}, {"acknowledged", &c.Acknowledged}, {"acknowledged_at", moment{&c.AcknowledgedAt}},
		{"waiting", &c.Waiting}, {"waiting_bytes", &c.WaitingBytes},
		{"reset_above", &c.ResetAbove}, {"reset_until", &c.ResetUntil}, {"again", &c.Again},
	}
}

// The columns of the tables of a stream.
var (
	streamChannelColumns  = names("", (&streamChannel{}).columns()) + ", channel"
	updateStreamChannel   = "channels SET " + names(" = ?", (&streamChannel{}).columns()) + " WHERE channel = ?"
	streamDocumentColumns = "channel, type, id_key, id, sequence, deleted, digest"
	streamWaitingColumns  = "channel, sequence, type, id, deleted, committed_at, bytes, sealed"
)

// channels are all of a stream.
func (l *StreamLog) channels(tx Tx) (map[string]*streamChannel, error) {
	all := map[string]*streamChannel{}
	err := tx.Rows(func(rows *sql.Rows) error {
		c, name := &streamChannel{}, ""
		err := rows.Scan(append(values(c.columns()...), &name)...)
		all[name] = c
		return err
	}, "SELECT "+streamChannelColumns+" FROM "+l.db.Prefix+"channels")
	return all, err
}

// channel is one of them, and nil where nothing was written into it.
func (l *StreamLog) channel(tx Tx, name string) (*streamChannel, error) {
	all, err := l.channels(tx)
	return all[name], err
}

// save writes a channel.
func (l *StreamLog) save(tx Tx, name string, c *streamChannel) error {
	if c.Again == 0 {
		c.ResetAbove, c.ResetUntil = 0, 0
	}
	statement := "UPDATE " + l.db.Prefix + updateStreamChannel
	if c.made {
		statement = "INSERT INTO " + l.db.Prefix + "channels (" + streamChannelColumns + ") VALUES (" + marks(9) + ")"
	}
	_, err := tx.Exec(statement, append(values(c.columns()...), name)...)
	return err
}

// State is how far the stream is, at one moment.
func (l *StreamLog) State(ctx context.Context) (state store.StreamState, err error) {
	p := l.db.Prefix
	state.Channels = map[string]store.ChannelState{}
	err = l.db.Read(ctx, func(rows *sql.Rows) error {
		var name string
		var c streamChannel
		err := rows.Scan(append([]any{&state.Position, &name, moment{&c.OldestAt}}, values(c.columns()...)...)...)
		if name != "" {
			state.Channels[name] = c.ChannelState
		}
		return err
	}, "SELECT s.position, coalesce(c.channel, ''), (SELECT committed_at FROM "+p+`waiting w WHERE w.channel = c.channel ORDER BY w.sequence LIMIT 1),
		coalesce(c.sequence, 0), coalesce(acknowledged, 0), coalesce(acknowledged_at, 0), coalesce(waiting, 0), coalesce(waiting_bytes, 0),
		coalesce(reset_above, 0), coalesce(reset_until, 0), coalesce(again, 0) FROM `+p+"state s LEFT JOIN "+p+"channels c ON 1 = 1")
	return state, err
}

// Append numbers changes; see store.StreamLog.
func (l *StreamLog) Append(ctx context.Context, fence int64, a store.Append) (numbered int, err error) {
	if err := a.Check(); err != nil {
		return 0, err
	}
	err = l.db.Write(ctx, Change{Do: func(tx Tx) error {
		numbered = 0
		head, err := l.open(tx, fence, true)
		if err != nil {
			return err
		}
		channels, err := l.channels(tx)
		if err != nil {
			return err
		}
		known, err := l.indexed(tx, a.Changes)
		if err != nil {
			return err
		}
		n := numbering{head: head, channels: channels, known: known, touched: map[string]bool{}}
		for i := range a.Changes {
			n.number(&a.Changes[i])
		}
		if err := l.write(tx, &n); err != nil {
			return err
		}
		numbered = len(n.waiting)
		if a.Position == "" || a.Position == head.position {
			return nil
		}
		_, err = tx.Exec("UPDATE "+l.db.Prefix+"state SET position = ? WHERE id = 1", a.Position)
		return err
	}})
	return numbered, err
}

// documentName names a document of a stream.
type documentName struct{ channel, kind, id string }

func nameOf(c *store.Change) documentName { return documentName{c.Channel, c.Type, c.ID} }

// longestKey bounds an identifier that is its own key in the index, in bytes: servers index no text of any length.
const longestKey = 200

// idKey is an identifier as a key of the index, and whether it is another text: its beginning and its SHA-256, which is
// longer than any identifier that is its own key.
func idKey(id string) (key string, made bool) {
	if len(id) <= longestKey {
		return id, false
	}
	sum := sha256.Sum256([]byte(id))
	return strings.ToValidUTF8(id[:140], "") + ":" + hex.EncodeToString(sum[:]), true
}

// lookedUpTogether is how many documents a statement looks up.
const lookedUpTogether = 256

// indexed is what the index has of the documents of changes.
func (l *StreamLog) indexed(tx Tx, all []store.Change) (map[documentName]store.Indexed, error) {
	known := make(map[documentName]store.Indexed, len(all))
	type group struct{ channel, kind string }
	ids := map[group]map[string]string{} // by key
	for i := range all {
		g := group{all[i].Channel, all[i].Type}
		if ids[g] == nil {
			ids[g] = map[string]string{}
		}
		key, _ := idKey(all[i].ID)
		ids[g][key] = all[i].ID
	}
	for g, byKey := range ids {
		keys := make([]string, 0, len(byKey))
		for key := range byKey {
			keys = append(keys, key)
		}
		slices.Sort(keys) // every writer locks in one order, and reads the index from one end to the other
		for some := range slices.Chunk(keys, lookedUpTogether) {
			which, args := in("id_key", some)
			if err := tx.Rows(func(rows *sql.Rows) error {
				var key string
				var digest []byte
				var one store.Indexed
				err := rows.Scan(&key, &one.Sequence, &one.Deleted, &digest)
				copy(one.Digest[:], digest)
				known[documentName{g.channel, g.kind, byKey[key]}] = one
				return err
			}, "SELECT id_key, sequence, deleted, digest FROM "+l.db.Prefix+"documents WHERE channel = ? AND type = ? AND "+which,
				append([]any{g.channel, g.kind}, args...)...); err != nil {
				return nil, err
			}
		}
	}
	return known, nil
}

// numbering gives numbers to changes.
type numbering struct {
	head     streamHead
	channels map[string]*streamChannel
	known    map[documentName]store.Indexed
	touched  map[string]bool // channels
	waiting  []numbered
}

// numbered is a change with its number.
type numbered struct {
	*store.Change
	sequence int64
}

func (n *numbering) number(c *store.Change) {
	name := nameOf(c)
	var before *store.Indexed
	if known, ok := n.known[name]; ok {
		before = &known
	}
	if !c.Numbers(before) {
		return
	}
	channel := n.channels[c.Channel]
	if channel == nil {
		channel = &streamChannel{made: true}
		n.channels[c.Channel] = channel
	}
	n.touched[c.Channel] = true
	if before != nil && before.Sequence > channel.ResetAbove && before.Sequence <= channel.ResetUntil {
		channel.Again--
	}
	channel.Sequence = max(channel.Sequence, n.head.floor) + 1
	channel.Waiting++
	channel.WaitingBytes += int64(len(c.Sealed))
	n.known[name] = store.Indexed{Sequence: channel.Sequence, Deleted: c.Deleted, Digest: c.Digest}
	n.waiting = append(n.waiting, numbered{c, channel.Sequence})
}

// write writes what was numbered: the index, the documents that wait, and the channels.
func (l *StreamLog) write(tx Tx, n *numbering) error {
	documents, waiting := l.many(tx, "REPLACE", "documents", streamDocumentColumns), l.many(tx, "INSERT", "waiting", streamWaitingColumns)
	latest := make([]numbered, 0, len(n.waiting))
	for _, w := range n.waiting {
		if err := waiting.add(len(w.Sealed), w.Channel, w.sequence, w.Type, w.ID, w.Deleted, Micros(w.CommittedAt), len(w.Sealed), w.Sealed); err != nil {
			return err
		}
		if n.known[nameOf(w.Change)].Sequence == w.sequence { // else it is changed again here
			latest = append(latest, w)
		}
	}
	// The index is gone through from one end to the other, and not to and fro.
	slices.SortFunc(latest, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
	for _, w := range latest {
		key, made := idKey(w.ID)
		id := sql.NullString{String: w.ID, Valid: made}
		if err := documents.add(len(w.ID), w.Channel, w.Type, key, id, w.sequence, w.Deleted, w.Digest[:]); err != nil {
			return err
		}
	}
	if err := errors.Join(documents.flush(), waiting.flush()); err != nil {
		return err
	}
	for name := range n.touched {
		if err := l.save(tx, name, n.channels[name]); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of a statement that writes several rows. There are few texts of it: the numbers of rows are powers of two.
const (
	writtenTogether      = 128
	writtenTogetherBytes = 1 << 20
)

// manyRows writes rows in statements of several.
type manyRows struct {
	tx    Tx
	begin string
	width int
	args  []any
	bytes int
}

func (l *StreamLog) many(tx Tx, verb, table, columns string) *manyRows {
	return &manyRows{tx: tx, width: strings.Count(columns, ",") + 1, begin: verb + " INTO " + l.db.Prefix + table + " (" + columns + ") VALUES "}
}

// add takes a row, of about so many bytes.
func (m *manyRows) add(size int, row ...any) error {
	if m.bytes += size; m.bytes > writtenTogetherBytes {
		if err := m.flush(); err != nil {
			return err
		}
		m.bytes = size
	}
	if m.args = append(m.args, row...); len(m.args) < writtenTogether*m.width {
		return nil
	}
	return m.flush()
}

func (m *manyRows) flush() error {
	row := "(" + marks(m.width) + ")"
	for args := m.args; len(args) > 0; {
		n := 1 << (bits.Len(uint(len(args)/m.width)) - 1)
		if _, err := m.tx.Exec(m.begin+strings.TrimSuffix(strings.Repeat(row+", ", n), ", "), args[:n*m.width]...); err != nil {
			return err
		}
		args = args[n*m.width:]
	}
	m.args, m.bytes = m.args[:0], 0
	return nil
}

// Waiting are the first documents behind a number; see store.StreamLog.
func (l *StreamLog) Waiting(ctx context.Context, channel string, after int64, most int, size int64) (all []store.Waiting, err error) {
	same, err := l.same(ctx)
	if err == nil && !same { // they are to have other numbers
		err = l.begin(ctx, false)
	}
	if err != nil {
		return nil, err
	}
	// Their sizes first: a row is read only when it is one of those.
	last := int64(-1)
	if err := l.db.Read(ctx, func(rows *sql.Rows) error {
		var sequence, bytes int64
		err := rows.Scan(&sequence, &bytes)
		if size -= bytes; last < 0 || size >= 0 {
			last = sequence
		}
		return err
	}, "SELECT sequence, bytes FROM "+l.db.Prefix+"waiting WHERE channel = ? AND sequence > ? ORDER BY sequence LIMIT ?",
		channel, after, max(0, most)); err != nil || last < 0 {
		return nil, err
	}
	err = l.db.Read(ctx, func(rows *sql.Rows) error {
		var w store.Waiting
		err := rows.Scan(&w.Sequence, &w.Type, &w.ID, &w.Deleted, moment{&w.CommittedAt}, &w.Sealed)
		all = append(all, w)
		return err
	}, "SELECT sequence, type, id, deleted, committed_at, sealed FROM "+l.db.Prefix+
		"waiting WHERE channel = ? AND sequence > ? AND sequence <= ? ORDER BY sequence", channel, after, last)
	return all, err
}

// Acknowledge removes what the receiver has; see store.StreamLog.
func (l *StreamLog) Acknowledge(ctx context.Context, fence int64, channel string, sequence int64) error {
	return l.db.Write(ctx, Change{Do: func(tx Tx) error {
		if _, err := l.open(tx, fence, true); err != nil {
			return err
		}
		c, err := l.channel(tx, channel)
		if err != nil {
			return err
		}
		if c == nil {
			return store.ChannelState{}.CheckAcknowledged(channel, sequence)
		}
		if err := c.CheckAcknowledged(channel, sequence); err != nil || sequence == c.Acknowledged {
			return err
		}
		now, err := tx.Clock()
		if err != nil {
			return err
		}
		c.Acknowledged, c.AcknowledgedAt = sequence, now.Now
		if err := l.remove(tx, channel, c, "sequence <= ?", sequence); err != nil {
			return err
		}
		return l.save(tx, channel, c)
	}})
}

// remove removes documents that wait.
func (l *StreamLog) remove(tx Tx, channel string, c *streamChannel, which string, sequence int64) error {
	from := " FROM " + l.db.Prefix + "waiting WHERE channel = ? AND " + which
	var n, bytes int64
	if err := tx.Row("SELECT count(*), coalesce(sum(bytes), 0)"+from, channel, sequence).Scan(&n, &bytes); err != nil || n == 0 {
		return err
	}
	c.Waiting -= n
	c.WaitingBytes -= bytes
	_, err := tx.Exec("DELETE"+from, channel, sequence)
	return err
}

// Documents are the identifiers of a type's documents; see store.StreamLog.
func (l *StreamLog) Documents(ctx context.Context, channel, kind string, until int64, most int) (ids []string, err error) {
	err = l.db.Read(ctx, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT coalesce(id, id_key) FROM "+l.db.Prefix+"documents WHERE channel = ? AND type = ? AND deleted = 0 AND sequence <= ? ORDER BY sequence LIMIT ?",
		channel, kind, until, max(0, most))
	return ids, err
}

// Above counts the documents whose latest number is above one.
func (l *StreamLog) Above(ctx context.Context, channel string, above int64) (n int64, err error) {
	err = l.db.Read(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) },
		"SELECT count(*) FROM "+l.db.Prefix+"documents WHERE channel = ? AND sequence > ?", channel, above)
	return n, err
}

// Reset has documents read again; see store.StreamLog.
func (l *StreamLog) Reset(ctx context.Context, fence int64, channel string, above int64, anew bool) (again int64, err error) {
	if err := store.CheckReset(above, anew); err != nil {
		return 0, err
	}
	err = l.db.Write(ctx, Change{Do: func(tx Tx) error {
		again = 0
		if _, err := l.open(tx, fence, true); err != nil {
			return err
		}
		if anew {
			if _, err := tx.Exec("UPDATE " + l.db.Prefix + "state SET position = '' WHERE id = 1"); err != nil {
				return err
			}
		}
		c, err := l.channel(tx, channel)
		if err != nil || c == nil {
			return err
		}
		if err := l.remove(tx, channel, c, "sequence > ?", above); err != nil {
			return err
		}
		c.ChannelState = c.ResetStep(above)
		if err := tx.Row("SELECT count(*) FROM "+l.db.Prefix+"documents WHERE channel = ? AND sequence > ? AND sequence <= ?",
			channel, c.ResetAbove, c.ResetUntil).Scan(&c.Again); err != nil {
			return err
		}
		again = c.Again
		return l.save(tx, channel, c)
	}})
	return again, err
}

// Again are the documents that a reset has left to read; see store.StreamLog.
func (l *StreamLog) Again(ctx context.Context, channel string, most int) (all []changes.Document, err error) {
	p := l.db.Prefix
	err = l.db.Read(ctx, func(rows *sql.Rows) error {
		var one changes.Document
		err := rows.Scan(&one.Type, &one.ID)
		all = append(all, one)
		return err
	}, "SELECT d.type, coalesce(d.id, d.id_key) FROM "+p+"documents d JOIN "+p+`channels c ON c.channel = d.channel
		WHERE d.channel = ? AND d.sequence > c.reset_above AND d.sequence <= c.reset_until ORDER BY d.sequence LIMIT ?`, channel, max(0, most))
	return all, err
}

// Close lets the database go. What others have open of it stays open.
func (l *StreamLog) Close() error { return l.db.Close() }
