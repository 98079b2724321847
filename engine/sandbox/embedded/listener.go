//go:build gms_pure_go

package embedded

import (
	"context"
	"net"
	"sync"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// trackingListener knows the connections it accepted, because the library's
// Close leaves them open.
type trackingListener struct {
	net.Listener
	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	served sync.WaitGroup
}

// listenLoopback listens on a loopback address and refuses any other: the
// sandbox has one user with all rights.
func listenLoopback(ctx context.Context, addr string) (*trackingListener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fault.New(sandbox.CodeStart, fault.Usage, "the sandbox's address must be host:port, but is %q", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fault.New(sandbox.CodeStart, fault.Usage, "the sandbox listens on loopback only, such as 127.0.0.1:3306, not on %q", addr)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.New(sandbox.CodeStart, fault.Usage, "the sandbox cannot listen on %s: %w", addr, err).
			WithHint("choose another port; 0 takes a free one")
	}
	return &trackingListener{Listener: l, open: map[*trackedConn]struct{}{}}, nil
}

func (l *trackingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: c, owner: l}
	l.mu.Lock()
	l.open[t] = struct{}{}
	l.mu.Unlock()
	l.served.Add(1)
	return t, nil
}

// cutAll closes the accepted connections. The channel is closed when the library
// has let go of each.
func (l *trackingListener) cutAll() <-chan struct{} {
	l.mu.Lock()
	for c := range l.open {
		_ = c.Conn.Close() // wakes the connection's goroutine, which calls trackedConn.Close
	}
	l.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		l.served.Wait()
		close(idle)
	}()
	return idle
}

type trackedConn struct {
	net.Conn
	owner *trackingListener
	once  sync.Once
}

func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.owner.mu.Lock()
		delete(c.owner.open, c)
		c.owner.mu.Unlock()
		c.owner.served.Done()
	})
	return err
}
