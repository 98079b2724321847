package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// change is something to be written, whole or not at all.
type change struct {
	// do makes the change. It may be called again, when another change that shared its commit has failed.
	do func(sqlrecord.Tx) error
	// made is called when the change is on disk, or may be, before its writer hears of it. It may be nil.
	made func()
}

// mostTogether is how many changes share a commit at most.
const mostTogether = 128

// writer makes changes, one commit after another, and all that wait in one.
type writer struct {
	conn  *prepared
	tx    sqlrecord.Tx
	there func() error // whether the database is still where it was opened
	queue chan *waiting
	ended chan struct{} // closed when the loop has ended

	mu   sync.RWMutex // held for reading while the queue is written to
	done bool
	err  error // of the connection's end
}

// waiting is a change whose writer waits for the result.
type waiting struct {
	change
	ctx    context.Context
	result chan error
}

func startWriter(on *sql.Conn, dialect *sqlrecord.Dialect, there func() error) *writer {
	conn := prepare(on)
	// Statements are not interrupted: a change that has begun is made, and takes milliseconds.
	tx := sqlrecord.NewTx(context.Background(), conn, dialect)
	w := &writer{
		conn: conn, tx: tx, there: there, queue: make(chan *waiting, mostTogether), ended: make(chan struct{}),
	}
	go w.loop()
	return w
}

// stop waits for the changes that were given, and closes the connection. It may be called twice.
func (w *writer) stop() error {
	w.mu.Lock()
	if !w.done {
		w.done = true
		close(w.queue)
	}
	w.mu.Unlock()
	<-w.ended
	return w.err
}

func (w *writer) stopped() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.done
}

// write has a change made. When ctx ends before it has begun it is not made, and afterwards its end is waited for, so
// that the result is always known.
func (w *writer) write(ctx context.Context, c change) error {
	one := &waiting{change: c, ctx: ctx, result: make(chan error, 1)}
	if err := w.enqueue(one); err != nil {
		return err
	}
	return <-one.result
}

func (w *writer) enqueue(one *waiting) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.done {
		return errClosed()
	}
	select {
	case w.queue <- one:
		return nil
	case <-one.ctx.Done():
		return one.ctx.Err()
	}
}

func (w *writer) loop() {
	defer close(w.ended)
	for first := range w.queue {
		together := []*waiting{first}
		for len(together) < mostTogether && len(w.queue) > 0 {
			if next, ok := <-w.queue; ok {
				together = append(together, next)
			}
		}
		w.make(together)
	}
	w.err = w.conn.Close()
}

// make commits changes together. When something breaks that is not a change's own refusal, none of them is made, and
// each is tried by itself.
func (w *writer) make(together []*waiting) {
	results, begun, err := w.commit(together)
	if err != nil && begun && len(together) > 1 {
		for _, one := range together {
			w.make([]*waiting{one})
		}
		return
	}
	for i, one := range together {
		result := err
		if err == nil {
			result = results[i]
		}
		// After an error nobody knows what the disk has.
		if one.made != nil && (result == nil || err != nil && begun) {
			one.made()
		}
		one.result <- result
	}
}

// commit makes changes in one transaction. Results are their refusals. After an error nothing was changed, as far as
// SQLite knows; begun says whether anything was tried, or somebody else has the database and does not let it go.
func (w *writer) commit(together []*waiting) (results []error, begun bool, err error) {
	if err := w.there(); err != nil {
		return nil, false, err
	}
	if _, err := w.tx.Exec("BEGIN IMMEDIATE"); err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			// SQLite has rolled back by itself after some errors, and says so.
			_, _ = w.tx.Exec("ROLLBACK")
		}
	}()
	results = make([]error, len(together))
	for i, one := range together {
		if results[i] = one.ctx.Err(); results[i] != nil {
			continue
		}
		if _, err := w.tx.Exec("SAVEPOINT one"); err != nil {
			return nil, true, err
		}
		err := one.do(w.tx)
		var refusal *fault.Fault
		if err != nil && !errors.As(err, &refusal) {
			return nil, true, err
		}
		if err != nil {
			results[i] = err
			if _, err := w.tx.Exec("ROLLBACK TO one"); err != nil {
				return nil, true, err
			}
		}
		if _, err := w.tx.Exec("RELEASE one"); err != nil {
			return nil, true, err
		}
	}
	_, err = w.tx.Exec("COMMIT")
	return results, true, err
}
