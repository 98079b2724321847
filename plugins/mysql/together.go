package mysql

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Sessions that are to see one state open their snapshots while another session holds LOCK TABLES … READ of the tables.
// A transaction that has changed a row holds the table's metadata lock until the engine has committed it, also while it waits
// between log and engine for a replica; so the lock is had when no change of the tables is half done, and none begins as
// long as it is held. Whatever else is committed meanwhile, the snapshots show the same rows of these tables.
//
// The lock asks for LOCK TABLES, and does not wait for those who read. FLUSH TABLES … WITH READ LOCK asks for RELOAD besides,
// and makes everybody who reads the tables wait for the longest of the statements that run.
//
// Other nodes of a Galera cluster write past such a lock, so there one connection reads. Where a proxy sends transactions to
// another server than the lock, the sessions say so, each from within its transaction.
//
// # Why not by the place in the log
//
// MariaDB says which place of its log a snapshot has (SHOW STATUS LIKE 'Binlog_snapshot_%'), and needs no lock for it. But
// snapshots that say the same place were seen to have other rows, when several sessions asked for their status at once; the
// answer seems to be one for all sessions, so that a monitor's SHOW STATUS would be enough. Nothing tells a place that is
// another's. A snapshot of MySQL has no place at all, and its gtid_executed has a transaction only after it is visible.

const (
	// lockSeconds is how long the lock is waited for, and with it whoever wants to write to the tables.
	lockSeconds = 1
	lockTries   = 3
	// lockPause is the pause after the first try; the next one is twice as long.
	lockPause = 100 * time.Millisecond
	// lockHeld is how long the lock is held at most; the usual time is that of three statements.
	lockHeld = 2 * time.Second
)

// together opens a snapshot in the source's session and in those of others, all of them of one state of the tables, whose names
// are quoted. It says why where that cannot be; the sessions are as they were then.
func (s *source) together(ctx context.Context, others []*source, tables []string) (why string, err error) {
	cluster, err := s.session.run("SHOW SESSION VARIABLES LIKE 'wsrep_on'")
	if err != nil && !isServerError(err) {
		return "", err
	}
	if len(cluster) == 2 && (cluster[1] == "ON" || cluster[1] == "1") {
		return "the server is a node of a Galera cluster, where a lock does not hold the others", nil
	}
	keeper, err := s.openAlike(ctx)
	if err != nil {
		return "", err
	}
	defer func() {
		_ = keeper.c.command(commandQuit, nil) // which ends the lock, too
		keeper.c.conn.Close()
	}()
	defer keeper.watch(ctx)()
	if _, err := keeper.run("SET SESSION lock_wait_timeout = " + strconv.Itoa(lockSeconds)); err != nil {
		return "", err
	}
	for try := 1; ; try++ {
		_, err := keeper.run("LOCK TABLES " + strings.Join(tables, " READ, ") + " READ")
		switch {
		case err == nil:
			err := s.openSnapshots(ctx, keeper, others)
			if err != nil && fault.From(err).Code == codeSnapshot {
				return "the server gives no consistent snapshot", nil
			}
			return "", err
		case isErrno(err, errnoLockWait) && try == lockTries:
			return "transactions that change the tables did not let them be locked within a second", nil
		case isErrno(err, errnoLockWait):
		case isErrno(err, 1044), isErrno(err, 1142), isErrno(err, 1227):
			return "the account may not LOCK TABLES, without which its connections would not see one state", nil
		default:
			return "", err
		}
		pause := time.NewTimer(lockPause << (try - 1))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return "", context.Cause(ctx)
		}
	}
}

// errnoLockWait is ER_LOCK_WAIT_TIMEOUT.
const errnoLockWait = 1205

// openSnapshots begins the transactions while the keeper holds the lock, and takes it away.
func (s *source) openSnapshots(ctx context.Context, keeper *session, others []*source) error {
	sessions := []*session{s.session}
	for _, w := range others {
		sessions = append(sessions, w.session)
	}
	began := time.Now()
	locked, err := keeper.identify()
	if err != nil {
		return err
	}
	failures := make([]error, len(sessions))
	var wait sync.WaitGroup
	for i, ses := range sessions {
		wait.Go(func() {
			if i > 0 { // the first one is watched
				defer ses.watch(ctx)()
			}
			ses.c.setDeadline(began.Add(lockHeld))
			defer ses.c.setDeadline(time.Time{})
			failures[i] = ses.beginTransaction(&Settings{Snapshot: true, ReadOnly: true})
			if failures[i] != nil {
				return
			}
			identity, err := ses.identify()
			if failures[i] = err; err == nil && identity != locked {
				failures[i] = s.anotherServer()
			}
		})
	}
	wait.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	// That the lock was held until now, the server says.
	_, err = keeper.run("UNLOCK TABLES")
	if err == nil && time.Since(began) > lockHeld {
		s.env.Log.Warn("the tables were locked for long", "milliseconds", time.Since(began).Milliseconds())
	}
	return err
}

// notOneState reports a procedure that left the snapshot.
func notOneState(doing string) error {
	return fault.New(codeSnapshot, fault.Source,
		"%s: it ended the transaction that it was called in, and with it the snapshot that the calls share", doing).
		WithHint("leave partitions out for this procedure, or take COMMIT and what implies it out of it")
}
