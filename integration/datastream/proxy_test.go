package datastream

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is a network between a service and a server, which breaks when it is told to.
type proxy struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	open   map[net.Conn]bool
	silent bool
	moved  *sync.Cond
}

// between puts a proxy in front of a port of this machine. It ends with the test.
func between(t testing.TB, port int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: fmt.Sprintf("127.0.0.1:%d", port), open: map[net.Conn]bool{}}
	p.moved = sync.NewCond(&p.mu)
	var going sync.WaitGroup
	going.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			going.Go(func() { p.carry(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.hold(false)
		p.cut()
		going.Wait()
	})
	return p
}

// dsn is a connection URL that leads through it.
func (p *proxy) dsn(t testing.TB, direct string) string {
	t.Helper()
	port := p.to[strings.LastIndexByte(p.to, ':'):]
	through := strings.Replace(direct, port+"/", fmt.Sprintf(":%d/", p.listener.Addr().(*net.TCPAddr).Port), 1)
	if through == direct {
		t.Fatal("the URL has another port")
	}
	return through
}

func (p *proxy) carry(client net.Conn) {
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
	p.mu.Lock()
	delete(p.open, client)
	delete(p.open, server)
	p.mu.Unlock()
}

// copy carries bytes until one end has closed, and closes both.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		p.mu.Lock()
		for p.silent {
			p.moved.Wait()
		}
		p.mu.Unlock()
		if _, wrong := to.Write(piece[:n]); err != nil || wrong != nil {
			return
		}
	}
}

// cut resets every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// hold lets nothing through, without a word, or again all.
func (p *proxy) hold(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = silent
	p.moved.Broadcast()
}

// TestProxy: what is carried is what was sent; a proxy that holds is silent, and one that cuts resets.
func TestProxy(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	port := echo.Addr().(*net.TCPAddr).Port
	p := between(t, port)
	if got, want := p.dsn(t, fmt.Sprintf("mysql://a@127.0.0.1:%d/b", port)), fmt.Sprintf("mysql://a@%s/b", p.listener.Addr()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	c, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(text string) error { _, err := c.Write([]byte(text)); return err }
	hear := func() (string, error) {
		b := make([]byte, 5)
		_, err := io.ReadFull(c, b)
		return string(b), err
	}
	if err := say("hello"); err != nil {
		t.Fatal(err)
	}
	if got, err := hear(); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	p.hold(true)
	if err := say("again"); err != nil {
		t.Fatal(err)
	}
	heard := make(chan string)
	go func() {
		got, err := hear()
		heard <- fmt.Sprint(got, err)
	}()
	select {
	case got := <-heard:
		t.Errorf("a proxy that holds said %s", got)
	default:
	}
	p.hold(false)
	if got := <-heard; got != "again<nil>" {
		t.Errorf("%s", got)
	}
	p.cut()
	if _, err := hear(); err == nil || err == io.EOF {
		t.Errorf("a connection that is cut ends with %v", err)
	}
}
