package mysql

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// announced is what the source tells the host of its session, before it asks for the first row.
type announced struct {
	Address string `json:"address"`
	User    string `json:"user"`
	// ID is the connection's on the server, which gives it to another one after a restart.
	ID uint32 `json:"id"`
	// Server is what identify says of it.
	Server string `json:"server"`
	// Lock is the name of a user-level lock that the session holds to its end, and by which the server itself tells
	// whose the ID is. It is empty where the server has no such locks.
	Lock string `json:"lock,omitempty"`
}

// lockPrefix begins the names of the locks.
const lockPrefix = "cipherstream."

// announce tells the host of the session.
func (s *source) announce(ctx context.Context) (err error) {
	s.release, err = announce(ctx, s.env, s.target, s.session)
	return err
}

// announce marks a session on the server and tells the host of it. There is nothing to release where nobody is told.
func announce(ctx context.Context, env sdk.Env, t *target, ses *session) (release func(), err error) {
	if env.Announce == nil {
		return nil, nil
	}
	of := announced{Address: t.address, User: t.user, ID: ses.id, Server: ses.identity,
		Lock: lockPrefix + rand.Text()}
	stop := ses.watch(ctx)
	got, err := ses.run("SELECT GET_LOCK('" + of.Lock + "', 0)")
	stop()
	var server *serverError
	switch {
	case errors.As(err, &server), err == nil && strings.Join(got, "") != "1":
		// Such as a cluster that keeps its nodes alike, and a proxy.
		of.Lock = ""
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	state, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	return env.Announce(ctx, sdk.Resource{
		Name:   fmt.Sprintf("the session %d of user %q on the server at %s", of.ID, of.User, of.Address),
		Remedy: fmt.Sprintf("KILL %d, when SHOW PROCESSLIST shows that it is still this query", of.ID), State: state,
	})
}

// over says that the session is no more.
func (s *source) over() {
	if s.release != nil {
		s.release()
		s.release = nil
	}
}

// codeKill is the code of a session that does not end although it was killed.
const codeKill = "mysql.kill"

// undoPoll is how often it is looked whether a session has ended: one that was killed for undoWait, and one whose mark
// is gone, which is about to end, for undoEnds.
const (
	undoPoll = 20 * time.Millisecond
	undoWait = 5 * time.Second
	undoEnds = time.Second
)

// Undo is part of sdk.Undoer.
func (s *source) Undo(ctx context.Context, r sdk.Resource) error { return s.target.undo(ctx, r) }

// Undo ends a session that another process has announced (Session.Announce) and left behind; see sdk.Undoer.
func Undo(ctx context.Context, s Settings, r sdk.Resource) error {
	s.fillIn()
	t, err := newTarget(&s)
	if err != nil {
		return err
	}
	return t.undo(ctx, r)
}

// undo ends the session of a run whose process has died. It ends no other: the server itself says that the session is
// the one that holds the lock, whose name nobody can guess.
func (t *target) undo(ctx context.Context, r sdk.Resource) error {
	var of announced
	if err := json.Unmarshal(r.State, &of); err != nil || of.ID == 0 || of.Lock != "" && !isLockName(of.Lock) {
		return stage.Foreign("run %q announced something other than a session", r.RunID)
	}
	if of.Address != t.address || of.User != t.user {
		return stage.Elsewhere("the session is one of user %q at %s, and the source is user %q at %s", of.User,
			of.Address, t.user, t.address)
	}
	conn, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.conn.Close()
	killer := &session{c: conn.wire}
	killer.c.limit = ownAnswers
	defer killer.watch(ctx)()
	err = killer.end(ctx, of)
	var server *serverError
	if errors.As(err, &server) {
		return server.fault("ending the session of an earlier run")
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// isLockName reports whether announce makes such a name, which goes into a statement.
func isLockName(name string) bool {
	text, is := strings.CutPrefix(name, lockPrefix)
	return is && len(text) >= 26 && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// end kills the session that was announced, if it is there.
func (ses *session) end(ctx context.Context, of announced) error {
	identity, err := ses.identify()
	if err != nil {
		return err
	}
	if identity != of.Server {
		return fault.New(codeConnect, fault.Connect,
			"the address %s leads to another server than that of the session %d", of.Address, of.ID)
	}
	holder := func() (string, error) {
		if of.Lock == "" {
			return "", nil
		}
		row, err := ses.run("SELECT IS_USED_LOCK('" + of.Lock + "')")
		return strings.Join(row, ""), err
	}
	id := strconv.FormatUint(uint64(of.ID), 10)
	there := func() (is bool, err error) {
		err = ses.runRows("SHOW PROCESSLIST",
			func(row []string) { is = is || len(row) > 1 && row[0] == id && row[1] == of.User })
		return is, err
	}
	switch held, err := holder(); {
	case err != nil:
		return err
	case held == "":
		// The lock ends with the session, or before it by what a procedure does.
		ended, err := until(ctx, undoEnds, func() (bool, error) {
			is, err := there()
			return !is, err
		})
		if err == nil && !ended {
			err = stage.Foreign("the server has a session %s of this user, and nothing tells that it is the one of the run", id)
		}
		return err
	case held != id:
		return stage.Foreign("the mark of session %s is held by session %s", id, held)
	}
	_, err = ses.run("KILL " + id)
	var server *serverError
	if errors.As(err, &server) && server.errno == errnoNoSuchThread {
		return nil // it has ended by itself
	}
	if err != nil {
		return err
	}
	// It ends when it looks at what was asked of it.
	ended, err := until(ctx, undoWait, func() (bool, error) {
		held, err := holder()
		return held == "", err
	})
	if err == nil && !ended {
		err = fault.New(codeKill, fault.Source, "the session %s was killed and has not ended within %s", id, undoWait)
	}
	return err
}

// until asks again and again, for a time, whether something is so.
func until(ctx context.Context, wait time.Duration, ask func() (bool, error)) (is bool, err error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(undoPoll)
	defer tick.Stop()
	for {
		if is, err = ask(); is || err != nil {
			return is, err
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
	}
}
