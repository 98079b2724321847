package mysql

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotYet says that a server has sent nothing by the time that was set. Nothing is lost.
var ErrNotYet = errNotYet

// ServerError is the number and the message of an error that the server answered with, somewhere in err's chain.
func ServerError(err error) (number uint16, message string, is bool) {
	var server *serverError
	if !errors.As(err, &server) {
		return 0, "", false
	}
	return server.errno, server.message, true
}

// Command sends a command of the protocol that is answered by OK or an error, such as COM_REGISTER_SLAVE. What it is
// called is for messages.
func (s *Session) Command(ctx context.Context, what string, command byte, payload []byte) error {
	if err := s.idle(); err != nil {
		return err
	}
	defer s.ses.watch(ctx)()
	c := s.ses.c
	c.limit = ownAnswers
	if err := c.command(command, payload); err != nil {
		return s.failed(ctx, what, err)
	}
	p, err := c.next()
	switch {
	case err != nil:
	case len(p) > 0 && p[0] == headerError:
		err = parseError(p)
	case len(p) == 0 || p[0] != headerOK:
		err = protocolFault("the answer to %s is neither OK nor an error", what)
	}
	return s.failed(ctx, what, err)
}

// Follow sends a command that the server answers with packets until the connection ends, such as COM_BINLOG_DUMP. From
// then on the session is good for nothing but them. A server that is silent for longer than idle is taken for lost; 0
// waits forever.
func (s *Session) Follow(ctx context.Context, command byte, payload []byte, idle time.Duration) (*Packets, error) {
	if err := s.idle(); err != nil {
		return nil, err
	}
	defer s.ses.watch(ctx)()
	if err := s.ses.c.command(command, payload); err != nil {
		return nil, s.failed(ctx, "asking for the log", err)
	}
	s.ses.c.idle = idle
	return &Packets{c: s.ses.c, watch: s.ses.watch}, nil
}

// Packets are what a server sends without being asked for each. A packet is read in pieces, however large it is. It is an
// io.Reader of the packet that Next has gone to, and ends with io.EOF there.
type Packets struct {
	c     *wire
	watch func(context.Context) func()

	left int  // bytes of the current piece
	more bool // another piece follows it
}

// Watch makes reads fail when ctx ends, until the returned function is called. The session is of no use after that.
func (p *Packets) Watch(ctx context.Context) (release func()) { return p.watch(ctx) }

// Next goes to the next packet, and past what is left of this one. Where nothing has come by the time until, it is
// ErrNotYet; the zero time waits for as long as the session does. An error that the server sends is returned, and the
// one that it ends such a stream with, without an error, is io.EOF.
func (p *Packets) Next(until time.Time) error {
	if _, err := io.Copy(io.Discard, p); err != nil {
		return err
	}
	if !until.IsZero() {
		if err := p.c.await(until); err != nil {
			return err
		}
	}
	n, err := p.c.header()
	if err != nil {
		return err
	}
	p.left, p.more = n, n == fullPayload
	var first [1]byte
	if _, err := io.ReadFull(p, first[:]); err != nil {
		return withoutEOF(err, "an empty packet")
	}
	switch first[0] {
	case headerOK:
		return nil
	case headerEOF:
		return io.EOF
	case headerError:
		message, err := io.ReadAll(io.LimitReader(p, longestMessage+16))
		if err != nil {
			return err
		}
		return parseError(append(first[:], message...))
	}
	return protocolFault("a packet of the log begins with 0x%02x", first[0])
}

// Read reads from the current packet.
func (p *Packets) Read(b []byte) (int, error) {
	for p.left == 0 {
		if !p.more {
			return 0, io.EOF
		}
		n, err := p.c.header()
		if err != nil {
			return 0, err
		}
		p.left, p.more = n, n == fullPayload
	}
	c := p.c
	b = b[:min(len(b), p.left)]
	if c.r < c.w {
		n := copy(b, c.buf[c.r:c.w])
		c.r += n
		p.left -= n
		return n, nil
	}
	if len(b) >= len(c.buf) {
		n, err := c.read(b)
		p.left -= n
		return n, err
	}
	if err := c.fill(1); err != nil {
		return 0, err
	}
	return p.Read(b)
}

// withoutEOF codes the end of a packet where more had to come.
func withoutEOF(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return protocolFault("%s in the server's log", what)
	}
	return err
}
