package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// parallel reads the parts of a result with several sessions, and gives their rows part after part. A session that is done
// with a part takes the next one that nobody has taken, so that the part whose turn it is always has a session. Rows of
// later parts are kept until it is their turn; when there are as many bytes of them as may be, sessions wait, but for that
// of the part whose turn it is.
type parallel struct {
	ctx    context.Context // of the sessions; ends with the first error
	cancel context.CancelCauseFunc
	parts  []part
	most   int64 // bytes that may be kept
	wait   sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	schema  *arrow.Schema // nil until a part has begun
	taken   int           // parts that have been taken
	turn    int           // the part whose rows are given
	kept    []keptRows    // of every part
	bytes   int64         // of all of them
	err     error         // why it ended

	// What the caller of next alone touches.
	flushAfter time.Duration
	group      regroup
	full       []arrow.Record // batches that are to be given
}

// keptRows are rows of a part that nobody has taken yet.
type keptRows struct {
	records []arrow.Record
	done    bool // no more will come
}

var errParallelClosed = errors.New("mysql: the source is closed")

func newParallel(ctx context.Context, parts []part, most int64, flushAfter time.Duration) *parallel {
	p := &parallel{parts: parts, most: most, flushAfter: flushAfter, kept: make([]keptRows, len(parts))}
	p.changed = sync.NewCond(&p.mu)
	p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return p
}

// start begins to read. The sessions are the parallel's from now on.
func (p *parallel) start(workers []*source) {
	for _, w := range workers {
		p.wait.Go(func() { p.work(w) })
	}
}

// begun waits until the columns are known.
func (p *parallel) begun(ctx context.Context) (*arrow.Schema, error) {
	defer context.AfterFunc(ctx, func() { p.fail(context.Cause(ctx)) })()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.schema == nil && p.err == nil {
		p.changed.Wait()
	}
	return p.schema, p.err
}

// next gives the next rows in order, which the caller releases. After an error, io.EOF included, no session is left.
func (p *parallel) next(ctx context.Context) (arrow.Record, error) {
	defer context.AfterFunc(ctx, func() { p.fail(context.Cause(ctx)) })()
	for len(p.full) == 0 {
		record, err := p.await()
		switch {
		case err == nil:
			p.group.add(record, func(batch arrow.Record) { p.full = append(p.full, batch) })
		case err == errNotYet:
			p.full = append(p.full, p.group.take())
		case err == io.EOF && p.group.rows > 0:
			p.full = append(p.full, p.group.take())
		case err == io.EOF:
			p.wait.Wait()
			return nil, err
		default:
			p.close()
			return nil, err
		}
	}
	batch := p.full[0]
	p.full = p.full[1:]
	return batch, nil
}

// await gives the next rows of the part whose turn it is, or errNotYet when others wait for them for too long.
func (p *parallel) await() (arrow.Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	late := false
	var timer *time.Timer
	for {
		switch {
		case p.err != nil:
			return nil, p.err
		case p.turn == len(p.parts):
			return nil, io.EOF
		}
		switch now := &p.kept[p.turn]; {
		case len(now.records) > 0:
			record := now.records[0]
			now.records[0] = nil
			now.records = now.records[1:]
			p.bytes -= recordBytes(record)
			p.changed.Broadcast()
			return record, nil
		case now.done:
			p.turn++
			p.changed.Broadcast()
			continue
		case late:
			return nil, errNotYet
		}
		if p.group.rows > 0 && timer == nil {
			timer = time.AfterFunc(p.flushAfter, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				late = true
				p.changed.Broadcast()
			})
			defer timer.Stop()
		}
		p.changed.Wait()
	}
}

// close ends the sessions, whose queries are killed where they are not over, and lets go of all rows. It may be called
// twice.
func (p *parallel) close() {
	p.fail(errParallelClosed)
	p.wait.Wait()
	for i := range p.kept {
		for _, record := range p.kept[i].records {
			record.Release()
		}
		p.kept[i].records = nil
	}
	for _, batch := range p.full {
		batch.Release()
	}
	p.full = nil
	p.group.release()
}

// fail ends everything; the first error counts.
func (p *parallel) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		p.cancel(err)
		p.changed.Broadcast()
	}
}

// work reads one part after the other in one session, and ends it.
func (p *parallel) work(w *source) {
	defer w.session.watch(p.ctx)()
	for {
		i, is := p.take()
		if !is {
			w.leave()
			return
		}
		if err := p.read(w, i); err != nil {
			if w.batch != nil {
				w.batch.release()
			}
			p.fail(w.failed(p.ctx, err))
			return
		}
	}
}

// take gives the first part that nobody has taken.
func (p *parallel) take() (i int, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.taken == len(p.parts) {
		return 0, false
	}
	p.taken++
	return p.taken - 1, true
}

// read reads one part to its end.
func (p *parallel) read(w *source, i int) error {
	w.ended, w.sets = false, 0
	w.query, w.args = p.parts[i].query, p.parts[i].args
	schema, err := w.execute()
	if err != nil {
		return err
	}
	if w.batch.schema, err = p.agree(schema, w.batch); err != nil {
		return err
	}
	w.batch.part = fmt.Sprintf("part %d of %d of the result", i+1, len(p.parts))
	for end := false; !end; {
		end, err = w.fill()
		if n := w.batch.zeroDates; n > 0 {
			w.env.Count("zero_dates", n)
			w.batch.zeroDates = 0
		}
		if err != nil {
			return err
		}
		if w.batch.rows == 0 {
			continue
		}
		if err := p.keep(i, w.batch.record()); err != nil {
			return err
		}
	}
	w.batch = nil
	if err := w.finish(); err != nil {
		return err
	}
	if w.leftTransaction {
		return notOneState(w.doing)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept[i].done = true
	p.changed.Broadcast()
	return nil
}

// agree gives the schema of all parts.
func (p *parallel) agree(schema *arrow.Schema, b *batch) (*arrow.Schema, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.schema == nil:
		p.schema = schema
		p.group.like(b)
		p.changed.Broadcast()
	case !p.schema.Equal(schema):
		return nil, fault.New(codeTableChanged, fault.Source, "two parts of the result have different columns").
			WithHint("a table was altered while it was read, or a procedure's columns depend on its range; " +
				"leave partitions out for such a procedure").WithRetry()
	}
	return p.schema, nil
}

// keep takes rows of a part, and waits until the part's session may read more.
func (p *parallel) keep(i int, record arrow.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := &p.kept[i]
	mine.records = append(mine.records, record)
	p.bytes += recordBytes(record)
	p.changed.Broadcast()
	for p.err == nil && p.bytes >= p.most && (i != p.turn || len(mine.records) > 1) {
		p.changed.Wait()
	}
	return p.err
}

// recordBytes is the memory that a record holds.
func recordBytes(record arrow.Record) (n int64) {
	for _, column := range record.Columns() {
		for _, b := range column.Data().Buffers() {
			if b != nil {
				n += int64(b.Cap())
			}
		}
	}
	return n
}
