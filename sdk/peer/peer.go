//go:build unix

// Package peer answers who is at the other end of a unix socket. It owns what both ends of a data socket ask of each
// other before a row crosses it: the user, the process where the system tells it, and two random words that only the
// host has given away. It never reads or writes what comes after.
//
// The directory of a socket keeps other users out, and the view of a confined plugin those that are not its neighbours.
// What is left are processes of the same user that are not confined, and root.
package peer

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Process is the one at the other end. UID is -1 and PID 0 where the system does not say it; of a process that is in
// none of this one's process namespaces the number is 0 as well, as a confined plugin finds it.
type Process struct{ UID, PID int }

// Expected is who has to be there. The zero value is any process of this user.
type Expected struct {
	// PID is the process, or the one whose process group it is in; 0 is unknown.
	PID int
	// Hello is what the writer sends first, and Welcome what the reader answers. Both are empty, or as NewWord makes
	// them.
	Hello, Welcome []byte
	// Timeout is how long a side that is not known by its process may take to say its word; 0 is for ever.
	Timeout time.Duration
	// Memory says that the reader sends memory behind its Welcome, with SendFile: both are processes of the host's own
	// program. Nothing in this package looks at it.
	Memory bool
	// MayFinish tells a writer that the reader may say that it needs no more batches: there is a filter at the other end,
	// or behind it. Nothing in this package looks at it.
	MayFinish bool
}

// NewWord makes a word that nobody guesses.
func NewWord() []byte {
	word := make([]byte, 32)
	_, _ = rand.Read(word) // never fails (crypto/rand)
	return word
}

// StrangerError says that somebody else is at the other end.
type StrangerError struct {
	Process
	reason string
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("process %d of user %d %s", e.PID, e.UID, e.reason)
}

// admit checks what the system says of the other end, and reports whether that is enough to know it.
func (e Expected) admit(conn *net.UnixConn) (p Process, known bool, err error) {
	if p, err = Of(conn); err != nil {
		return p, false, err
	}
	if p.UID >= 0 && p.UID != os.Geteuid() {
		return p, false, &StrangerError{p, "is another user's"}
	}
	if p.PID == 0 || e.PID == 0 {
		return p, false, nil
	}
	if p.PID != e.PID {
		if group, err := syscall.Getpgid(p.PID); err != nil || group != e.PID {
			return p, false, &StrangerError{p, fmt.Sprintf("is not of the process group %d", e.PID)}
		}
	}
	return p, true, nil
}

// await waits for a word.
func (e Expected) await(conn *net.UnixConn, p Process, known bool, word []byte) error {
	if !known && e.Timeout > 0 {
		if err := conn.SetReadDeadline(time.Now().Add(e.Timeout)); err != nil {
			return err
		}
	}
	heard := make([]byte, len(word))
	if _, err := io.ReadFull(conn, heard); errors.Is(err, os.ErrDeadlineExceeded) {
		return &StrangerError{p, "does not say its word"}
	} else if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(heard, word) != 1 {
		return &StrangerError{p, "says another word"}
	}
	return conn.SetReadDeadline(time.Time{})
}

// SendHello is the first thing that a writer does with its connection. The error of somebody else is a StrangerError.
func (e Expected) SendHello(conn *net.UnixConn) error {
	if _, _, err := e.admit(conn); err != nil {
		return err
	}
	if len(e.Hello) == 0 {
		return nil
	}
	_, err := conn.Write(e.Hello)
	return err
}

// AwaitWelcome waits for the reader's answer to the hello. A writer sends nothing before it.
func (e Expected) AwaitWelcome(ctx context.Context, conn *net.UnixConn) error {
	if len(e.Welcome) == 0 {
		return nil
	}
	p, known, err := e.admit(conn)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return e.await(conn, p, known, e.Welcome)
}

// mostPending bounds the connections that have not said their word.
const mostPending = 64

// Accept waits for the writer that is expected, and closes the listener. Whoever else connects is turned away, which
// turnedAway is told, one at a time; it holds nobody up. The error is that of the listener, or the end of ctx.
func Accept(ctx context.Context, l *net.UnixListener, e Expected, turnedAway func(error)) (*net.UnixConn, error) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	m := &meeting{expected: e, turnedAway: turnedAway, listener: l}
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return m.end(ctx, err)
		}
		m.meet(conn)
	}
}

// meeting is what goes on at a listener.
type meeting struct {
	expected   Expected
	turnedAway func(error)
	listener   *net.UnixListener
	hearing    sync.WaitGroup

	mu      sync.Mutex
	pending []*net.UnixConn // the oldest first
	taken   *net.UnixConn
}

func (m *meeting) meet(conn *net.UnixConn) {
	p, known, err := m.expected.admit(conn)
	if err != nil {
		m.refuse(conn, err)
		return
	}
	m.mu.Lock()
	m.pending = append(m.pending, conn)
	if len(m.pending) > mostPending {
		m.pending[0].Close() // whoever hears it removes it
	}
	m.mu.Unlock()
	m.hearing.Go(func() {
		err := m.expected.await(conn, p, known, m.expected.Hello)
		if err == nil && len(m.expected.Welcome) > 0 {
			_, err = conn.Write(m.expected.Welcome)
		}
		m.conclude(conn, err)
	})
}

// conclude takes a connection, the first that is good, or turns it away.
func (m *meeting) conclude(conn *net.UnixConn, err error) {
	m.mu.Lock()
	for i, other := range m.pending {
		if other == conn {
			m.pending = append(m.pending[:i], m.pending[i+1:]...)
			break
		}
	}
	take := err == nil && m.taken == nil
	if take {
		m.taken = conn
	}
	over := m.taken != nil
	m.mu.Unlock()
	switch {
	case take:
		m.listener.Close()
	case over:
		conn.Close()
	default:
		m.refuse(conn, err)
	}
}

func (m *meeting) refuse(conn *net.UnixConn, err error) {
	conn.Close()
	if m.turnedAway != nil && !errors.Is(err, net.ErrClosed) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.turnedAway(err)
	}
}

// end is when the listener has been closed.
func (m *meeting) end(ctx context.Context, err error) (*net.UnixConn, error) {
	m.listener.Close()
	m.mu.Lock()
	for _, conn := range m.pending {
		conn.Close()
	}
	m.mu.Unlock()
	m.hearing.Wait()
	switch {
	case m.taken != nil && ctx.Err() == nil:
		return m.taken, nil
	case m.taken != nil:
		m.taken.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, err
}
