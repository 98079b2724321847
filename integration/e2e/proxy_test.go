package e2e

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between the program and the server, and cuts a connection after a
// number of bytes from the server.
type proxy struct {
	port int
	// limit is for the connections that come; passed is what the last one got.
	limit, passed atomic.Int64
}

func newProxy(t *testing.T, server int) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{port: listener.Addr().(*net.TCPAddr).Port}
	var wait sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		wait.Wait()
	})
	wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { p.serve(client, server) })
		}
	})
	return p
}

func (p *proxy) serve(client net.Conn, port int) {
	defer client.Close()
	server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return
	}
	defer server.Close()
	var wait sync.WaitGroup
	wait.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	limit := p.limit.Load()
	n, _ := io.Copy(client, io.LimitReader(server, limit))
	p.passed.Store(n)
	// Both ends learn of it at once.
	client.Close()
	server.Close()
	wait.Wait()
}
