package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	protocol "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// greeting is what the server says first (Protocol::HandshakeV10).
type greeting struct {
	version      string
	connectionID uint32
	offersTLS    bool
}

func (g *greeting) mariaDB() bool { return strings.Contains(g.version, "MariaDB") }

const (
	largestGreeting = 64 << 10
	capabilityTLS   = 1 << 11
)

// connect opens an authenticated connection; the caller closes it. Its deadline
// is ctx's or the target's connect timeout, whichever comes first.
//
// The greeting is read and checked here before go-mysql sees it: its reader
// trusts the server's lengths, and whether to use TLS in mode preferred must be
// known before it begins.
func (t *target) connect(ctx context.Context) (conn net.Conn, g *greeting, err error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, t.connectTimeout)
	defer cancel()
	dialed, encrypted := false, false
	defer func() {
		if err != nil && parent.Err() != nil {
			err = context.Cause(parent)
		} else if err != nil {
			err = t.connectFault(ctx, err, dialed && t.useTLS(g), encrypted)
		}
	}()

	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: t.keepAlive, Interval: max(time.Second, t.keepAlive/3), Count: 4}}
	raw, err := dialer.DialContext(ctx, t.network, t.address)
	if err != nil {
		return nil, nil, err
	}
	dialed = true
	defer func() {
		if err != nil {
			raw.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = raw.SetDeadline(time.Time{})
		}
	}()

	first, err := readGreeting(raw)
	if err != nil {
		return nil, nil, err
	}
	if g, err = parseGreeting(first[headerSize:]); err != nil {
		return nil, nil, err
	}
	if t.tlsConfig != nil && !g.offersTLS && t.tlsMode != tlsPreferred {
		return nil, g, fault.New(codeTLS, fault.Connect, "the server at %s offers no TLS, and tls is %s", t.address, t.tlsMode).
			WithHint("set up TLS on the server, or lower the setting tls")
	}
	conn, err = t.authenticate(ctx, &replayConn{Conn: raw, pending: first}, g, &encrypted)
	return conn, g, err
}

func (t *target) useTLS(g *greeting) bool {
	return t.tlsConfig != nil && g != nil && g.offersTLS
}

// authenticate lets go-mysql do TLS and authentication on conn, and takes the
// connection back. The server says nothing after it has accepted us, so that
// go-mysql's read buffer is empty then.
func (t *target) authenticate(ctx context.Context, conn net.Conn, g *greeting, encrypted *bool) (_ net.Conn, err error) {
	defer func() {
		// go-mysql indexes into what the server sends without looking at its length.
		if v := recover(); v != nil {
			err = protocolFault("the authentication exchange cannot be read")
		}
	}()
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	options := func(c *client.Conn) error {
		c.UnsetCapability(protocol.CLIENT_DEPRECATE_EOF)
		c.UnsetCapability(protocol.CLIENT_QUERY_ATTRIBUTES)
		c.SetAttributes(map[string]string{"program_name": "cipherstream"})
		if t.useTLS(g) {
			config := t.tlsConfig.Clone()
			verify := config.VerifyConnection
			config.VerifyConnection = func(state tls.ConnectionState) error {
				if verify != nil {
					if err := verify(state); err != nil {
						return err
					}
				}
				*encrypted = true
				return nil
			}
			c.SetTLSConfig(config)
		}
		return errors.Join(
			// A collation that both MySQL and MariaDB know; SET NAMES follows.
			c.SetCollation("utf8mb4_general_ci"),
			c.SetCapability(protocol.CLIENT_MULTI_RESULTS),
			c.SetCapability(protocol.CLIENT_PS_MULTI_RESULTS),
		)
	}
	c, err := client.ConnectWithDialer(ctx, t.network, t.address, t.user, t.password, t.database, dial, options)
	if err != nil {
		return nil, err
	}
	taken := c.Conn.Conn
	if replay, ok := taken.(*replayConn); ok && len(replay.pending) == 0 {
		taken = replay.Conn
	}
	return taken, nil
}

// connectFault codes an error of connect. usedTLS says that TLS was to be used,
// encrypted that its handshake succeeded.
func (t *target) connectFault(ctx context.Context, err error, usedTLS, encrypted bool) error {
	var coded *fault.Fault
	var refused *protocol.MyError
	var server *serverError
	var unknownCA x509.UnknownAuthorityError
	var alert tls.AlertError
	if errors.Is(err, io.EOF) {
		err = errServerClosed
	}
	switch {
	case errors.As(err, &coded):
		return coded
	case errors.As(err, &refused):
		server = &serverError{errno: refused.Code, state: refused.State, message: refused.Message}
	case errors.As(err, &server):
	}
	if server != nil {
		f := server.fault(fmt.Sprintf("connecting to %s as user %q", t.address, t.user))
		f.Class = fault.Connect
		if f.Code == codeQuery {
			f.Code = codeConnect
		}
		return f
	}
	switch {
	case ctx.Err() != nil:
		return fault.New(codeConnect, fault.Connect, "no session with the server at %s within %s: %w", t.address, t.connectTimeout, err).
			WithHint("check host and port, firewalls, and the server's load; connect_timeout sets the time").WithRetry()
	case usedTLS && !encrypted, errors.As(err, &alert), errors.As(err, &unknownCA), strings.Contains(err.Error(), "remote error: tls:"):
		return fault.New(codeTLS, fault.Connect, "TLS with the server at %s failed: %w", t.address, err).
			WithHint("check tls, tls_ca, tls_cert and the server's certificate")
	case strings.Contains(err.Error(), "auth plugin"):
		return fault.New(codeAuth, fault.Connect, "the server at %s asks for a way of authentication that is not supported: %w", t.address, err).
			WithHint("supported are caching_sha2_password, sha256_password, mysql_native_password and MariaDB's client_ed25519")
	}
	return fault.New(codeConnect, fault.Connect, "no connection to the server at %s: %w", t.address, err).
		WithHint("check host, port and socket, and that the server is up").WithRetry()
}

// readGreeting reads the first packet, header included.
func readGreeting(conn net.Conn) ([]byte, error) {
	packet := make([]byte, headerSize, 256)
	if _, err := io.ReadFull(conn, packet); err != nil {
		return nil, err
	}
	n := int(packet[0]) | int(packet[1])<<8 | int(packet[2])<<16
	if n == 0 || n > largestGreeting {
		return nil, protocolFault("the first packet is %d bytes long, which no greeting is", n)
	}
	packet = append(packet, make([]byte, n)...)
	_, err := io.ReadFull(conn, packet[headerSize:])
	return packet, err
}

// parseGreeting reads a greeting, or the error that a server sends in its place.
func parseGreeting(p []byte) (*greeting, error) {
	if p[0] == 0xff {
		return nil, parseError(p)
	}
	if p[0] != 10 {
		return nil, protocolFault("protocol version %d, expected 10", p[0])
	}
	end := strings.IndexByte(string(p), 0)
	// After the version: connection id 4, scramble 8, zero 1, capabilities 2, character
	// set 1, status 2, capabilities 2, scramble length 1, reserved 10, scramble 13.
	const rest = 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10 + 13
	if end < 0 || len(p)-end-1 < rest {
		return nil, protocolFault("the greeting is truncated")
	}
	fields := p[end+1:]
	if int(fields[20])-8 > len(fields)-31 {
		return nil, protocolFault("the greeting's scramble is truncated")
	}
	return &greeting{
		version:      string(p[1:end]),
		connectionID: binary.LittleEndian.Uint32(fields),
		offersTLS:    binary.LittleEndian.Uint16(fields[13:])&capabilityTLS != 0,
	}, nil
}

// replayConn gives back what was read before it reads on.
type replayConn struct {
	net.Conn
	pending []byte
}

func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
