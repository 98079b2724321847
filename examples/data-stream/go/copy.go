package main

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// Channels are what a stream may have.
var Channels = []string{"entities", "logs"}

// Document is one that came: with a body it is as it stands there, without one it is gone.
type Document struct {
	Type, ID string
	Sequence int64
	Body     []byte
}

// Copy is what has come, in a file. A document that is gone stays as a row without a body, with the number that said so.
type Copy struct {
	db *sql.DB
	// oneByOne lets requests that come at once, such as one whose sender is gone and the one of the next, wait for each other.
	oneByOne sync.Mutex
}

const tables = `
CREATE TABLE IF NOT EXISTS channels (channel TEXT PRIMARY KEY, max_sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (channel TEXT, type TEXT, id TEXT, sequence INTEGER NOT NULL, document TEXT,
	PRIMARY KEY (channel, type, id)) WITHOUT ROWID;`

// Open opens the file, and makes it where there is none.
func Open(path string) (*Copy, error) {
	// What was answered has to be there after a power loss too, or it would never be sent again: synchronous is FULL.
	settings := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(tables); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Copy{db: db}, nil
}

// Close closes the file.
func (c *Copy) Close() error { return c.db.Close() }

// Last is the number up to which a channel is there: 0 is nothing.
func (c *Copy) Last(ctx context.Context, channel string) (last int64, err error) {
	err = c.db.QueryRowContext(ctx, "SELECT max_sequence FROM channels WHERE channel = ?", channel).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return last, err
}

// Take takes documents of a channel, ascending by their numbers, in one transaction, and returns up to which number the
// channel is there then. Those that are there already are passed over. It takes one at least, and no more when it is late.
func (c *Copy) Take(ctx context.Context, channel string, documents []Document, late time.Time) (last int64, err error) {
	c.oneByOne.Lock()
	defer c.oneByOne.Unlock()
	if last, err = c.Last(ctx, channel); err != nil {
		return 0, err
	}
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	write, err := tx.PrepareContext(ctx, `INSERT INTO documents (channel, type, id, sequence, document) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET sequence = excluded.sequence, document = excluded.document`)
	if err != nil {
		return 0, err
	}
	defer write.Close()
	for i, d := range documents {
		if d.Sequence <= last {
			continue
		}
		if i > 0 && time.Now().After(late) {
			break
		}
		body := sql.NullString{String: string(d.Body), Valid: d.Body != nil}
		if _, err := write.ExecContext(ctx, channel, d.Type, d.ID, d.Sequence, body); err != nil {
			return 0, err
		}
		last = d.Sequence
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO channels VALUES (?, ?) ON CONFLICT DO UPDATE SET max_sequence = excluded.max_sequence`, channel, last); err != nil {
		return 0, err
	}
	return last, tx.Commit()
}
