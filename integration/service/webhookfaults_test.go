package service

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/required"
)

// rawTLS starts a server that does with each connection, after the handshake and the headers of the request, what it is told.
func rawTLS(t *testing.T, c tls.Certificate, do func(net.Conn)) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					do(conn)
				}
			}()
		}
	}()
	return "https://" + listener.Addr().String()
}

// TestWebhookFaults: whatever a receiver does, what was to come is given up with a code that says why, in little memory, and
// one that is well beside it gets its own.
func TestWebhookFaults(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	good := trusted.issue(t, nil)
	const head = "HTTP/1.1 200 OK\r\n"
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	hang := func(net.Conn) { <-over }
	var followed, sent atomic.Int64
	elsewhere := listenTLS(t, good, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	drip := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			for i := 0; ; i = (i + 1) % len(text) {
				if _, err := conn.Write([]byte{text[i]}); err != nil {
					return
				}
				select {
				case <-time.After(50 * time.Millisecond):
				case <-over:
					return
				}
			}
		}
	}
	reset := func(conn net.Conn) { _ = conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0) }
	write := func(text string) func(net.Conn) {
		return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
	}
	endless := func(text string, n *atomic.Int64) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			piece := []byte(strings.Repeat("x", 64<<10))
			for { // gigabytes, where they are taken
				m, err := conn.Write(piece)
				if n != nil {
					n.Add(int64(m))
				}
				if err != nil {
					return
				}
			}
		}
	}
	with := func(change func(*x509.Certificate)) string {
		return listenTLS(t, trusted.issue(t, change), func(http.ResponseWriter, *http.Request) { followed.Add(1) }).URL
	}
	stranger := newAuthority(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	plainly, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	spoken := &http.Server{ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = spoken.Serve(plainly) }()
	t.Cleanup(func() { spoken.Close() })

	type fault struct {
		name, url string
		delivered bool
		code      string // what it begins with
		http      int
	}
	faults := []fault{
		{"hangs before it answers", rawTLS(t, good, hang), false, "webhook.timeout", 0},
		{"drips its headers", rawTLS(t, good, drip(head+"X: y\r\n")), false, "webhook.timeout", 0},
		{"drips its body", rawTLS(t, good, func(conn net.Conn) { write(head + "Content-Length: 1000000\r\n\r\n")(conn); drip("x")(conn) }), true, "", 200},
		{"sends gigabytes", rawTLS(t, good, endless(head+"\r\n", &sent)), true, "", 200},
		{"sends gigabytes of headers", rawTLS(t, good, endless(head+"X: ", nil)), false, "webhook.", 0},
		{"resets", rawTLS(t, good, reset), false, "webhook.", 0},
		{"closes", rawTLS(t, good, func(net.Conn) {}), false, "webhook.", 0},
		{"speaks no HTTP", rawTLS(t, good, write("220 mail.example.com ESMTP\r\n")), false, "webhook.", 0},
		{"speaks no TLS", "https://" + plainly.Addr().String(), false, "webhook.tls", 0},
		{"does not listen", "https://" + closed.Addr().String(), false, "webhook.", 0},
		{"has an expired certificate", with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), false, "webhook.tls", 0},
		{"has one of another host", with(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example.com"} }), false, "webhook.tls", 0},
		{"has one that it has signed itself", with(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), false, "webhook.tls", 0},
		{"has one of an unknown authority", listenTLS(t, stranger.issue(t, nil), func(http.ResponseWriter, *http.Request) { followed.Add(1) }).URL, false, "webhook.tls", 0},
		{"has no name that resolves", "https://nowhere.invalid/hook", false, "webhook.", 0},
		{"is told by a redirect", rawTLS(t, good, write("HTTP/1.1 307 Temporary Redirect\r\nLocation: "+elsewhere.URL+"\r\nContent-Length: 0\r\n\r\n")), false, "webhook.redirect", 307},
		{"is well", rawTLS(t, good, write(head+"Content-Length: 0\r\n\r\n")), true, "", 200},
	}
	for _, status := range []int{201, 204, 299} {
		faults = append(faults, fault{fmt.Sprintf("answers %d", status), rawTLS(t, good, write(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status))), true, "", status})
	}
	for _, status := range []int{300, 301, 302, 303, 304, 308, 400, 401, 403, 404, 405, 408, 410, 413, 422, 425, 429, 451, 499, 500, 502, 503, 504, 599, 600, 999} {
		faults = append(faults, fault{fmt.Sprintf("answers %d", status), rawTLS(t, good, write(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status))), false, "webhook.", status})
	}

	tenants := make([]tenant, len(faults))
	for i := range faults {
		tenants[i] = tenant{id: fmt.Sprintf("f%d", i), dsn: unreached, more: ", bucket: results"}
	}
	d := deployIn(t, slices.Clone(trusted.variables), allowed+bucketHere(t), tenants...)
	all := make([]*hooks, len(faults))
	for i, f := range faults {
		all[i] = d.hooksOf(t, tenants[i].id)
		all[i].put(t, f.url, `,"retry_config":{"max_attempts":1},"timeout_seconds":1`)
	}
	began := time.Now()
	for i := range faults {
		all[i].must(t, http.MethodPost, "/test", "", nil)
	}
	for i, f := range faults {
		h := all[i]
		eventually(t, f.name+": its delivery to end", func() bool { return h.count(t, "status=dead")+h.count(t, "status=delivered") == 1 })
		got := h.list(t, "")[0]
		if want := map[bool]string{true: "delivered", false: "dead"}[f.delivered]; got.Status != want || !strings.HasPrefix(got.Code, f.code) || (f.code == "") != (got.Code == "") || f.http != got.HTTP {
			t.Errorf("a receiver that %s: %+v, want %s, %q and %d", f.name, got, want, f.code, f.http)
		}
		if log := h.whole(t, got.ID).Log; len(log) != 1 || log[0].Code != got.Code {
			t.Errorf("a receiver that %s: the log is %+v", f.name, log)
		}
	}
	t.Logf("%d receivers in %.1f s", len(faults), time.Since(began).Seconds())
	if n := followed.Load(); n != 0 {
		t.Errorf("%d requests came where they must not: behind a redirect, or past a certificate", n)
	}
	if n := sent.Load(); n > 16<<20 {
		t.Errorf("%d bytes of an answer were taken", n)
	}
	if peak := peakMemory(t, d.cmd.Process.Pid); peak > 512<<20 {
		t.Errorf("the service took %d MiB", peak>>20)
	}
}

// peakMemory is the most memory that a process had, on Linux.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		required.Missing(t, "the memory of a process is read as Linux tells it")
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kilobytes, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
