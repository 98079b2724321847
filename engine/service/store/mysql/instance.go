package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlrecord"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// pollEvery is how soon a change of who is let in, which another process has made, is seen at the latest, while the server
// answers.
const pollEvery = 500 * time.Millisecond

// accessCount is the record's count of changes of who is let in, and the server that has said so: after a fail-over to a
// server that lags, the count may be one that has been before.
type accessCount struct {
	server string
	count  int64
}

// versions makes of the record's count a number that changes with it.
type versions struct {
	number atomic.Uint64

	mu   sync.Mutex
	last accessCount
}

func (v *versions) now() uint64 { return v.number.Load() }

// changed takes a count that may be a new one. The zero value is none.
func (v *versions) changed(to accessCount) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if to != (accessCount{}) && to != v.last {
		v.last = to
		v.number.Add(1)
	}
}

// server is the one that answered last.
func (v *versions) server() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last.server
}

// countAccess counts a change of access, as part of it. No other is made before this one is.
func (s *Store) countAccess(ctx context.Context, conn session) (to accessCount, err error) {
	result, err := conn.ExecContext(ctx, "UPDATE record SET access = access + 1 WHERE id = 1")
	if err != nil {
		return to, err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return to, errors.Join(err, fault.New(store.CodeDamaged, fault.Internal, "the record's table record has not its one row").
			WithHint("restore the record from a copy"))
	}
	err = conn.QueryRowContext(ctx, "SELECT "+s.identity+", access FROM record WHERE id = 1").Scan(&to.server, &to.count)
	return to, err
}

// poll looks whether another process has changed who is let in, and whether another server answers.
func (s *Store) poll(ctx context.Context) error {
	var now accessCount
	err := s.db.QueryRowContext(ctx, "SELECT "+s.identity+", access FROM record WHERE id = 1").Scan(&now.server, &now.count)
	if err != nil {
		return coded(ctx, err)
	}
	if before := s.version.server(); before != "" && before != now.server {
		if err := s.meet(ctx); err != nil {
			return err
		}
	}
	s.version.changed(now)
	return nil
}

// heartbeat is when this process has last said that it is there, by its own clock.
type heartbeat struct{ at atomic.Pointer[time.Time] }

func (b *heartbeat) is(at time.Time) { b.at.Store(&at) }

// since is how long ago that was.
func (b *heartbeat) since() time.Duration {
	if at := b.at.Load(); at != nil {
		return time.Since(*at)
	}
	return store.LeaseTime
}

// tend says that this process is there, and ends the requests of those that have not said so for LeaseTime.
func (s *Store) tend(ctx context.Context) error {
	began := time.Now()
	if err := s.write(ctx, sqlrecord.Change{Do: s.say}); err != nil {
		return err
	}
	s.beat.is(began)
	for {
		more := false
		err := s.write(ctx, sqlrecord.Change{Do: func(tx sqlrecord.Tx) (err error) {
			more, err = s.bury(tx)
			return err
		}})
		if err != nil || !more {
			return err
		}
	}
}

// say notes that this process is there.
func (s *Store) say(tx sqlrecord.Tx) error {
	n, err := tx.Exec("UPDATE instances SET seen_at = "+micros+" WHERE id = ?", s.instance)
	if err == nil && n == 0 {
		_, err = tx.Insert("INSERT INTO instances (id, seen_at) VALUES (?, "+micros+")", s.instance)
	}
	return err
}

// bury ends the requests of one process that is gone, and forgets it. It reports whether there was one.
func (s *Store) bury(tx sqlrecord.Tx) (found bool, err error) {
	at, err := s.dialect.Clock(tx)
	if err != nil {
		return false, err
	}
	var gone string
	err = tx.Row("SELECT id FROM instances WHERE seen_at < "+micros+" - ? ORDER BY seen_at LIMIT 1 FOR UPDATE SKIP LOCKED",
		store.LeaseTime.Microseconds()).Scan(&gone)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, forget(tx, gone, at.Now)
}

// forget ends the requests of a process that still run, and removes it from the list.
func forget(tx sqlrecord.Tx, instance string, now time.Time) error {
	if err := sqlrecord.EndInterrupted(tx, now, "instance = ?", instance); err != nil {
		return err
	}
	_, err := tx.Exec("DELETE FROM instances WHERE id = ?", instance)
	return err
}

// leave ends what this process has left running.
func (s *Store) leave(ctx context.Context) error {
	_, err := s.attempt(ctx, sqlrecord.Change{Do: func(tx sqlrecord.Tx) error {
		at, err := s.dialect.Clock(tx)
		if err != nil {
			return err
		}
		return forget(tx, s.instance, at.Now)
	}})
	return coded(ctx, err)
}

// BeginRequest notes that a request runs, whatever its Status says. A second one with its id is CodeExists. A process that
// has stood still for so long that others may have taken it for gone says first that it is there.
func (s *Store) BeginRequest(ctx context.Context, r store.Request, audit ...store.Audit) error {
	if s.beat.since() >= store.LeaseTime {
		if err := s.tend(ctx); err != nil {
			return err
		}
	}
	return s.Record.BeginRequest(ctx, r, audit...)
}

// loop is a goroutine that is started once, and may be stopped twice.
type loop struct {
	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

func (l *loop) start(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel, l.done = cancel, make(chan struct{})
	go func() {
		defer close(l.done)
		run(ctx)
	}()
}

func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
		<-l.done
	}
}

// watch polls, and says that this process is there, until ctx ends.
func (s *Store) watch(ctx context.Context) {
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	well := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		err := s.poll(ctx)
		if err == nil && s.beat.since() >= store.RenewEvery {
			err = s.tend(ctx)
		}
		if err != nil && ctx.Err() == nil && well {
			s.log.WarnContext(ctx, fmt.Sprintf("%s does not answer as it should; it is asked again", "the record"), "error", err)
		}
		if err == nil && !well {
			s.log.InfoContext(ctx, "the record answers again")
		}
		well = err == nil
	}
}
