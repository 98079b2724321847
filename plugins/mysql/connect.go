package mysql

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/mysqlurl"
)

// serverHandshake is what the server says first (Protocol::HandshakeV10).
type serverHandshake struct {
	version      string
	connectionID uint32
	offersTLS    bool
	capabilities uint32
	plugin       string // the way of authentication that the server begins with
	scramble     []byte
}

func (g *serverHandshake) mariaDB() bool { return strings.Contains(g.version, "MariaDB") }

const largestHandshake = 64 << 10

// connection is an authenticated connection.
type connection struct {
	*wire
	handshake *serverHandshake
	// protection says how it is protected, for the receipt.
	protection string
}

// connect opens an authenticated connection; the caller closes it. Its deadline
// is ctx's or the target's connect timeout, whichever comes first.
func (t *target) connect(ctx context.Context) (c *connection, err error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, t.connectTimeout)
	defer cancel()
	handshake := false // TLS is under way
	defer func() {
		if err != nil && parent.Err() != nil {
			err = context.Cause(parent)
		} else if err != nil {
			err = t.connectFault(ctx, err, handshake)
		}
	}()

	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: t.keepAlive, Interval: max(time.Second, t.keepAlive/3), Count: 4}}
	raw, err := dialer.DialContext(ctx, t.network, t.address)
	if err != nil {
		return nil, err
	}
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

	first, err := readHandshake(raw)
	if err != nil {
		return nil, err
	}
	g, err := parseHandshake(first)
	if err != nil {
		return nil, err
	}
	local := isLoopback(t.host, raw)
	mode := t.protection.resolve(local, g, t.network)
	l := &login{target: t, encrypted: mode != mysqlurl.Disabled,
		verified: mode == mysqlurl.VerifyCA || mode == mysqlurl.VerifyIdentity, local: local}
	c = &connection{wire: newWire(raw, bound{largestLogin, "the login"}, 0), handshake: g}
	c.seq = 1 // after the handshake
	var state *tls.ConnectionState
	if mode != mysqlurl.Disabled {
		if !g.offersTLS {
			return nil, t.noTLS(mode)
		}
		if err := c.write(handshakeHead(l.capabilities(g))); err != nil {
			return nil, err
		}
		seq := c.seq
		secured := tls.Client(raw, t.protection.config(mode, t.address))
		handshake = true
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		handshake = false
		is := secured.ConnectionState()
		state = &is
		c.wire = newWire(secured, bound{largestLogin, "the login"}, 0)
		c.seq = seq
	}
	c.protection = t.protection.describe(mode, t.network, local, state)
	l.c = c.wire
	return c, l.run(g)
}

// noTLS reports a server without TLS where it is wanted.
func (t *target) noTLS(mode string) error {
	f := fault.New(codeTLS, fault.Connect, "the server at %s offers no TLS, and tls is %s", t.address, mode)
	if t.protection.IsAuto() {
		f.Message += ", as it is to every host but this machine when nothing else is written"
	}
	return f.WithHint("set up TLS on the server; tls=disabled, written into the URL, lets everybody on the way read along")
}

// connectFault codes an error of connect; handshake says that TLS was being set up.
func (t *target) connectFault(ctx context.Context, err error, handshake bool) error {
	var coded *fault.Fault
	var server *serverError
	var alert tls.AlertError
	if errors.Is(err, io.EOF) {
		err = errServerClosed
	}
	if errors.As(err, &coded) && coded.Code != codeConnectionLost {
		return coded
	}
	if errors.As(err, &server) {
		f := server.fault(fmt.Sprintf("connecting to %s as user %q", t.address, t.user))
		f.Class = fault.Connect
		if f.Code == codeQuery {
			f.Code = codeConnect
		}
		return f
	}
	switch {
	case ctx.Err() != nil:
		return fault.New(codeConnect, fault.Connect, "no session with the server at %s within %s: %w", t.address,
			t.connectTimeout, err).
			WithHint("check host and port, firewalls, and the server's load; connect_timeout sets the time").WithRetry()
	case handshake, errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		return fault.New(codeTLS, fault.Connect, "TLS with the server at %s failed: %w", t.address, err).
			WithHint("check tls, tls_ca, tls_cert and the server's certificate")
	}
	return fault.New(codeConnect, fault.Connect, "no connection to the server at %s: %w", t.address, err).
		WithHint("check host, port and socket, and that the server is up").WithRetry()
}

// readHandshake reads the payload of the first packet.
func readHandshake(conn net.Conn) ([]byte, error) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, err
	}
	n := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if n == 0 || n > largestHandshake || header[3] != 0 {
		return nil, protocolFault("the first packet is %d bytes long and has number %d, which no handshake is", n, header[3])
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(conn, payload)
	return payload, err
}

// parseHandshake reads a handshake, or the error that a server sends in its place.
func parseHandshake(p []byte) (*serverHandshake, error) {
	if p[0] == headerError {
		return nil, parseError(p)
	}
	if p[0] != 10 {
		return nil, protocolFault("protocol version %d, expected 10", p[0])
	}
	end := bytes.IndexByte(p, 0)
	// After the version: connection id 4, scramble 8, zero 1, capabilities 2, character
	// set 1, status 2, capabilities 2, scramble length 1, reserved 10, scramble 13.
	const rest = 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10 + 13
	if end < 0 || len(p)-end-1 < rest {
		return nil, protocolFault("the handshake is truncated")
	}
	fields := p[end+1:]
	second := max(int(fields[20])-8, 13)
	if second > len(fields)-31 {
		return nil, protocolFault("the handshake's scramble is truncated")
	}
	g := &serverHandshake{
		version:      string(p[1:end]),
		connectionID: binary.LittleEndian.Uint32(fields),
		capabilities: uint32(binary.LittleEndian.Uint16(fields[13:])) | uint32(binary.LittleEndian.Uint16(fields[18:]))<<16,
		plugin:       pluginNative,
		scramble:     slices.Concat(fields[4:12], fields[31:31+second-1]),
	}
	g.offersTLS = g.capabilities&capabilityTLS != 0
	if g.capabilities&(capabilityProtocol41|capabilitySecureConnection) != capabilityProtocol41|capabilitySecureConnection {
		return nil, protocolFault("the server speaks the protocol of before MySQL 4.1")
	}
	if g.capabilities&capabilityPluginAuth != 0 {
		name, _, _ := bytes.Cut(fields[31+second:], []byte{0})
		g.plugin = string(name)
	}
	return g, nil
}
