package e2e

import (
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ending is what a proxy does to a connection at its limit.
type ending int32

const (
	closed ending = iota // as a program does that ends
	reset                // as a firewall does
	silent               // nothing more is passed on, and the connection stands
)

func (e ending) String() string { return [...]string{"closed", "reset", "silent"}[e] }

// unlimited is no limit.
const unlimited = math.MaxInt64

// proxy stands between the program and the server, and breaks a connection after a
// number of bytes.
type proxy struct {
	server, port int
	// limit is how many bytes from the server pass through a connection that comes, and asks how many
	// to the server. Without being set they are unlimited.
	limit, asks   atomic.Int64
	at            atomic.Int32 // ending
	passed, asked atomic.Int64 // what the last connection that ended got and sent
	// flowed is what all connections got so far.
	flowed atomic.Int64
	// piece is how many bytes from the server pass at a time, a millisecond after those before;
	// 0 lets everything through as it comes.
	piece atomic.Int64
	event atomic.Pointer[event]
}

// event is what happens once, as soon as connections got a number of bytes.
type event struct {
	after int64
	do    func()
}

func newProxy(t *testing.T, server int) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: server, port: listener.Addr().(*net.TCPAddr).Port}
	p.restore()
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
			wait.Go(func() { p.serve(client.(*net.TCPConn)) })
		}
	})
	return p
}

// restore lets everything through again.
func (p *proxy) restore() {
	p.limit.Store(unlimited)
	p.asks.Store(unlimited)
	p.piece.Store(0)
	p.at.Store(int32(closed))
	p.event.Store(nil)
}

// when has something done once, after that many bytes from the server from now on.
func (p *proxy) when(bytes int64, do func()) {
	p.event.Store(&event{after: p.flowed.Load() + bytes, do: do})
}

// through is a connection URL that leads through the proxy.
func (p *proxy) through(dsn string) string {
	return strings.Replace(dsn, fmt.Sprintf(":%d/", p.server), fmt.Sprintf(":%d/", p.port), 1)
}

func (p *proxy) serve(client *net.TCPConn) {
	defer client.Close()
	there, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.server))
	if err != nil {
		return
	}
	server := there.(*net.TCPConn)
	defer server.Close()
	at := ending(p.at.Load())
	// Both ends learn of it at once.
	var once sync.Once
	end := func(limited bool) {
		if limited && at == silent {
			// It ends when the program has had enough.
			_, _ = io.Copy(io.Discard, client)
		}
		once.Do(func() {
			if limited && at == reset {
				_ = client.SetLinger(0)
				_ = server.SetLinger(0)
			}
			client.Close()
			server.Close()
		})
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		asks := p.asks.Load()
		n, err := io.Copy(server, io.LimitReader(client, asks))
		p.asked.Store(n)
		end(n == asks && err == nil)
	})
	limit := p.limit.Load()
	n, err := io.Copy(client, io.LimitReader(&paced{p, server}, limit))
	p.passed.Store(n)
	end(n == limit && err == nil)
	wait.Wait()
}

// paced reads from the server as slowly as the proxy is told to.
type paced struct {
	*proxy
	from io.Reader
}

func (r *paced) Read(b []byte) (int, error) {
	if piece := r.piece.Load(); piece > 0 {
		<-time.After(time.Millisecond)
		b = b[:min(int64(len(b)), piece)]
	}
	n, err := r.from.Read(b)
	flowed := r.flowed.Add(int64(n))
	if e := r.event.Load(); e != nil && flowed >= e.after && r.event.CompareAndSwap(e, nil) {
		e.do()
	}
	return n, err
}
