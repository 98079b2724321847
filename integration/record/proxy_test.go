package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a record and its server, sees the statements, and can cut a connection at one of them.
type proxy struct {
	listener net.Listener

	mu    sync.Mutex
	to    string // the server's address
	conns map[net.Conn]bool
	cut   *cut
}

// cut is a statement at which a connection is cut: the nth of a transaction, from 1, without the one that begins it.
type cut struct {
	nth int
	// answered: the server has the statement, and its answer is what is lost.
	answered bool
	// refusal is an error that COMMIT is answered with, instead of a cut: the server does not get it.
	refusal uint16
	// statement is the one that was cut, and empty while there was none.
	statement string
}

func startProxy(t *testing.T, port int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: map[net.Conn]bool{}}
	p.lead(port)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.hangUp()
		wg.Wait()
	})
	return p
}

func (p *proxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// lead has new connections lead to a server.
func (p *proxy) lead(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = fmt.Sprintf("127.0.0.1:%d", port)
}

// hangUp cuts all connections.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// arm has the next transaction cut; disarm says at which statement one was.
func (p *proxy) arm(nth int, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = &cut{nth: nth, answered: answered}
}

// refuse has the next COMMIT answered with an error.
func (p *proxy) refuse(number uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = &cut{refusal: number}
}

// refused is the error that a statement is to be answered with, or 0.
func (p *proxy) refused(statement string) uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil || statement != "COMMIT" || p.cut.statement != "" {
		return 0
	}
	if p.cut.refusal != 0 {
		p.cut.statement = statement
	}
	return p.cut.refusal
}

func (p *proxy) disarm() (statement string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	statement, p.cut = p.cut.statement, nil
	return statement
}

// due says whether a statement is where the connection is cut.
func (p *proxy) due(nth int, statement string) (before, after bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil || p.cut.refusal != 0 || p.cut.nth != nth || p.cut.statement != "" {
		return false, false
	}
	p.cut.statement = statement
	return !p.cut.answered, p.cut.answered
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	p.keep(client)
	p.keep(server)
	var drop atomic.Bool // the next answer is lost
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || drop.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	defer func() { <-done }()
	defer server.Close()
	nth, ours := -1, false // of the transaction's statement; -1 is outside of any
	for {
		header := make([]byte, 4)
		if _, err := io.ReadFull(client, header); err != nil {
			return
		}
		length := int(binary.LittleEndian.Uint32(append(header[:3:3], 0)))
		body := make([]byte, length)
		if _, err := io.ReadFull(client, body); err != nil {
			return
		}
		packet := append(header, body...)
		const query = 0x03 // COM_QUERY
		if header[3] == 0 && length > 1 && body[0] == query {
			statement := string(body[1:])
			switch {
			case statement == "START TRANSACTION":
				nth, ours = 0, false
			case nth >= 0:
				nth++
				if nth == 1 {
					ours = !strings.Contains(statement, "instances") // what a process says of itself
				}
				before, after := false, false
				if ours {
					before, after = p.due(nth, statement)
				}
				if before {
					return
				}
				drop.Store(after)
				number := uint16(0)
				if ours {
					number = p.refused(statement)
				}
				if number != 0 {
					text := string([]byte{0xff, byte(number), byte(number >> 8)}) + "#40001it says no" // an ERR packet
					if _, err := client.Write(append([]byte{byte(len(text)), 0, 0, 1}, text...)); err != nil {
						return
					}
					continue
				}
				if statement == "COMMIT" || statement == "ROLLBACK" {
					nth = -1
				}
			}
		}
		if _, err := server.Write(packet); err != nil {
			return
		}
	}
}
