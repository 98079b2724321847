package mysqlchanges_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
)

// proxy stands between the source and a server, and cuts connections.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
	all      sync.WaitGroup
}

// newProxy makes one. Where spoil is not nil, it may change what the packets that come from the server hold.
func newProxy(t *testing.T, port int, spoil func(packet []byte)) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, open: map[net.Conn]bool{}}
	p.all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
			if err != nil {
				near.Close()
				continue
			}
			p.mu.Lock()
			p.open[near], p.open[far] = true, true
			p.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				p.all.Go(func() {
					if spoil != nil && pair[1] == far {
						copyPackets(pair[0], pair[1], spoil)
					} else {
						_, _ = io.Copy(pair[0], pair[1])
					}
					pair[0].Close()
					pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

// copyPackets copies packets of the protocol, which are not encrypted, until a connection ends.
func copyPackets(to io.Writer, from io.Reader, spoil func(packet []byte)) {
	const head = 4
	for {
		packet := make([]byte, head)
		if _, err := io.ReadFull(from, packet); err != nil {
			return
		}
		packet = append(packet, make([]byte, int(packet[0])|int(packet[1])<<8|int(packet[2])<<16)...)
		if _, err := io.ReadFull(from, packet[head:]); err != nil {
			return
		}
		spoil(packet[head:])
		if _, err := to.Write(packet); err != nil {
			return
		}
	}
}

// through is the URL of a database through the proxy.
func (p *proxy) through(s server) string {
	return strings.Replace(s.DSN(s.database), fmt.Sprintf(":%d/", s.Port()), fmt.Sprintf(":%d/", p.listener.Addr().(*net.TCPAddr).Port), 1)
}

// cut ends all connections.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.open)
	for c := range p.open {
		c.Close()
	}
	p.open = map[net.Conn]bool{}
	return n
}

// testCut: a run goes on where it was when its connections break, in the middle of transactions, without gap or double.
func testCut(t *testing.T, s server) {
	s.Exec(createA + "INSERT INTO a VALUES (-1, 'first')")
	p := newProxy(t, s.Port(), nil)
	with := ofA("a")
	with["url"] = p.through(s)
	st := &stream{t: t, copy: map[string]string{}, keep: true}
	defer st.close()
	if err := st.begin(s, with, sdk.Env{BatchRows: 10}); err != nil {
		t.Fatal(err)
	}
	st.until("the first row", func() bool { return st.copy["a/-1"] != "" })
	var want []string
	var script strings.Builder
	for i := range 3000 {
		if i%100 == 0 {
			script.WriteString("COMMIT; BEGIN;")
		}
		fmt.Fprintf(&script, "INSERT INTO a VALUES (%d, REPEAT('row ', 1500));", i)
		want = append(want, fmt.Sprintf("write a %d", i))
	}
	s.Exec(script.String() + "COMMIT")
	st.changes = nil
	cuts := 0
	for len(st.changes) < len(want) {
		n := st.batches
		st.until("a batch or two", func() bool { return st.batches >= n+2 || len(st.changes) >= len(want) })
		if cuts < 20 && p.cut() > 0 {
			cuts++
		}
	}
	if strings.Join(st.changes, "\n") != strings.Join(want, "\n") || cuts < 2 {
		t.Errorf("%d changes came, want %d; %d cuts", len(st.changes), len(want), cuts)
	}
	st.same(s, "a")
}

// testAnnounced: the host hears of every session and of its end, and can end the one of a dead process; a living run goes on.
func testAnnounced(t *testing.T, s server) {
	s.Exec(createA + "INSERT INTO a VALUES (1, 'x')")
	var announced []sdk.Resource
	released := 0
	host := sdk.Env{Announce: func(_ context.Context, r sdk.Resource) (func(), error) {
		announced = append(announced, r)
		return func() { released++ }, nil
	}}
	st := &stream{t: t, copy: map[string]string{}}
	defer st.close()
	if err := st.begin(s, ofA("a"), host); err != nil {
		t.Fatal(err)
	}
	s.Exec("INSERT INTO a VALUES (2, 'x')")
	st.until("the first rows", func() bool { return len(st.copy) == 2 })
	killer := &stream{t: t, position: st.position}
	defer killer.close()
	if err := killer.begin(s, ofA("a"), sdk.Env{}); err != nil {
		t.Fatal(err)
	}
	for id := 3; id <= 4; id++ {
		for _, r := range announced {
			if err := killer.source.(sdk.Undoer).Undo(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		n := len(announced)
		s.Exec(fmt.Sprintf("INSERT INTO a VALUES (%d, 'x')", id))
		st.until("a row behind it", func() bool { return len(st.copy) == id })
		if len(announced) <= n || released < n {
			t.Errorf("%d sessions are announced, after %d, and %d released", len(announced), n, released)
		}
	}
	st.same(s, "a")
	st.close()
	if len(announced) < 4 || released != len(announced) {
		t.Errorf("%d sessions were announced, %d released", len(announced), released)
	}
	for _, r := range announced {
		if strings.Contains(r.Name+r.Remedy+string(r.State), s.Password()) {
			t.Errorf("a password is announced: %+v", r)
		}
	}
}

// largeRows is how many rows the large transaction has: 5,000,000 take minutes.
var largeRows = flag.Int("stream-rows", 300_000, "rows of the large transaction")

// testLarge: memory is bounded whatever the transaction, compressed or not.
func testLarge(t *testing.T, s server) {
	s.Exec(createA + "INSERT INTO a VALUES (-1, 'first')")
	st := open(t, s, ofA("a"))
	st.keep = false
	st.until("the first row", func() bool { return st.copy["a/-1"] != "" })
	rows := *largeRows
	compress := "SET SESSION max_recursive_iterations = 10000000;"
	if !s.IsMariaDB() {
		compress = "SET SESSION binlog_transaction_compression = ON; SET SESSION cte_max_recursion_depth = 10000000;"
	}
	s.Exec(compress + fmt.Sprintf("INSERT INTO a WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i, REPEAT(SHA2(i, 256), 5) FROM n", rows-1))
	var before, now runtime.MemStats
	st.copy = map[string]string{}
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for seen := st.rows; st.rows < seen+rows; {
		if err := st.next(ctx); err != nil {
			t.Fatal(err)
		}
		clear(st.copy)
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse-min(now.HeapInuse, before.HeapInuse))
	}
	t.Logf("%d rows in %s, at most %d MiB more", rows, time.Since(began), most>>20)
	if most > 128<<20 {
		t.Errorf("%d MiB were taken", most>>20)
	}
}
