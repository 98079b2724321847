package webhook

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// forbidden are targets at which nothing of a customer's may arrive. PORT stands for one that is listened on at every
// address of the machine. Names are those of forbiddenNames.
var forbidden = []string{
	// Written in the ways that some resolvers and libraries read.
	"127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "2130706433", "017700000001", "0177.0.0.1", "0x7f000001", "0x7f.0.0.1",
	"0x7f.1", "127.0.0.1.", "127.000.000.001", "0127.0.0.1", "00000000177.1", "4294967295", "0", "0.0.0.0", "0x0", "00", "[::]", "[::1]",
	"[0:0:0:0:0:0:0:1]", "[0000::0001]",
	// Networks that are not public.
	"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.1.1", "100.64.0.1", "169.254.0.1", "192.0.0.1", "192.0.2.1",
	"198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	// What machines of a platform ask for their credentials.
	"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "[fd00:ec2::254]", "metadata.example.com",
	"[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]",
	// IPv4 in IPv6: mapped, compatible, translated, 6to4, Teredo.
	"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]",
	"[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:a9fe:a9fe::]", "[2001:0:7f00:1::]", "[2001::7f00:1]",
	// Of IPv6: local ones, with zones, multicast, documentation, discard.
	"[fe80::1]", "[fe80::1%25lo]", "[::1%25lo]", "[fe80::1%25eth0]", "[fec0::1]", "[fc00::1]", "[fd12:3456:789a::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]",
	"[3fff::1]", "[5f00::1]",
	// By names: one address, several, one behind another name, another kind, on second look.
	"localhost", "LOCALHOST", "localhost.", "loop.example.com", "two.example.com", "mixed.example.com", "alias.example.com", "chain.example.com",
	"six.example.com", "mapped.example.com", "zero.example.com", "private.example.com", "nat64.example.com",
	// With signs that become others: full stops of other scripts, digits in circles, wide letters.
	"127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "①②⑦.⓪.⓪.①", "１２７.０.０.１", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "loop。example。com", "ｌｏｏｐ.example.com",
	// With somebody in front, or a path that looks like a host.
	"user@127.0.0.1", "user:pass@127.0.0.1", "example.com@127.0.0.1", "example.com%40127.0.0.1", "example.com%00.127.0.0.1", "127.0.0.1%23@example.com",
	"example.com\\@127.0.0.1", "127.0.0.1\t", "127.0.0.1%0d%0aHost:x",
}

var forbiddenNames = map[string][][]string{
	"metadata.example.com": {{"169.254.169.254"}},
	"loop.example.com":     {{"127.0.0.1"}},
	"two.example.com":      {{"127.0.0.1", "127.0.0.2", "::1"}},
	"mixed.example.com":    {{"169.254.169.254", "10.0.0.1", "127.0.0.1"}},
	"alias.example.com":    {{"loop.example.com", "127.0.0.1"}},
	"chain.example.com":    {{"a.example.com", "b.example.com", "localhost", "::1", "127.0.0.1"}},
	"six.example.com":      {{"::1"}},
	"mapped.example.com":   {{"::ffff:127.0.0.1"}},
	"zero.example.com":     {{"0.0.0.0", "::"}},
	"private.example.com":  {{"192.168.1.1", "fd00::1"}},
	"nat64.example.com":    {{"64:ff9b::7f00:1"}},
	"localhost":            {{"127.0.0.1", "::1"}},
}

func TestForbiddenTargets(t *testing.T) {
	t.Parallel()
	if len(forbidden) < 60 {
		t.Fatalf("%d targets", len(forbidden))
	}
	a := newAuthority(t)
	r := listen(t, ":0", nil)
	// That the listener is there, and would be reached.
	open := NewSender(SenderConfig{Allow: loopback, Roots: a.pool})
	if o := open.Send(t.Context(), Post{URL: "https://127.0.0.1:" + r.port() + "/"}); o.Code != CodeConnection || r.connections.Load() != 1 {
		t.Fatalf("%+v, %d connections", o, r.connections.Load())
	}
	s := NewSender(SenderConfig{Resolver: newNames(forbiddenNames).resolver(), Roots: a.pool})
	for _, host := range forbidden {
		for _, port := range []string{":" + r.port(), ""} {
			// What has no address there is: a name that no resolver of ours knows, as 0x7f000001.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			o := s.Send(ctx, Post{URL: "https://" + host + port + "/x", Timeout: 5 * time.Second})
			cancel()
			if o.Code != CodeAddress && o.Code != CodeDNS || o.HTTPStatus != 0 || o.Verdict == store.Accepted {
				t.Errorf("%s%s: %+v", host, port, o)
			}
			if strings.Contains(o.Message, "127.") || strings.Contains(o.Message, host) && host != "0" && host != "00" {
				t.Errorf("%s: the message has the address: %s", host, o.Message)
			}
		}
	}
	if n := r.connections.Load(); n != 1 {
		t.Errorf("%d connections to what is forbidden", n-1)
	}
}

// TestRebinding: a name that stands for an address that may be sent to when it is looked up first, and for another one
// then; and one that stands for both at once.
func TestRebinding(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is an address of the machine on Linux only")
	}
	a := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{a.certificate(t, time.Now().Add(time.Hour), "rebinds.example.com", "both.example.com")}}
	good := listen(t, "127.0.0.2:0", encrypted(cfg, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}))
	bad := listen(t, "127.0.0.1:"+good.port(), nil)
	s := NewSender(SenderConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, Roots: a.pool, Resolver: newNames(map[string][][]string{
		"rebinds.example.com": {{"127.0.0.2"}, {"127.0.0.1"}, {"127.0.0.1", "::1"}, {"127.0.0.2"}},
		"both.example.com":    {{"127.0.0.1", "127.0.0.2"}},
	}).resolver()})
	for i, want := range []string{"", CodeAddress, CodeAddress, ""} {
		if o := s.Send(t.Context(), Post{URL: "https://rebinds.example.com:" + good.port()}); o.Code != want {
			t.Errorf("attempt %d: %+v; want %q", i+1, o, want)
		}
	}
	if o := s.Send(t.Context(), Post{URL: "https://both.example.com:" + good.port()}); o.Verdict != store.Accepted {
		t.Errorf("%+v", o)
	}
	if n := bad.connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestAnswers: every status is answered by a real receiver, and comes to what the issue says.
func TestAnswers(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{a.certificate(t, time.Now().Add(time.Hour))}}
	r := listen(t, "127.0.0.1:0", encrypted(cfg, func(c net.Conn, r *http.Request) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %s Whatever\r\nRetry-After: 7200\r\nLocation: https://127.0.0.1/\r\n\r\n", strings.TrimPrefix(r.URL.Path, "/"))
	}))
	s := NewSender(SenderConfig{Allow: loopback, Roots: a.pool})
	again := map[int]bool{408: true, 425: true, 429: true}
	for status := 100; status <= 599; status++ {
		want := store.Outcome{Verdict: store.Final, HTTPStatus: status, Code: "webhook.status", Message: fmt.Sprintf("the receiver answered %d", status)}
		switch {
		case status == 101:
		case status < 200: // nothing follows it
			want = store.Outcome{Verdict: store.Again, Code: "webhook.connection", Message: "the receiver ended the connection before it had answered"}
		case status < 300:
			want = store.Outcome{Verdict: store.Accepted, HTTPStatus: status}
		case status < 400:
			want.Code = "webhook.redirect"
		case status == 410:
			want.Verdict = store.Gone
		case again[status], status >= 500:
			want.Verdict, want.After = store.Again, time.Hour
		}
		got := s.Send(t.Context(), Post{URL: "https://127.0.0.1:" + r.port() + "/" + strconv.Itoa(status)})
		if got.Duration <= 0 {
			t.Errorf("%d: it took no time", status)
		}
		if got.Duration = 0; got != want {
			t.Errorf("%d: got %+v, want %+v", status, got, want)
		}
	}
	if n := r.connections.Load(); n != 500 {
		t.Errorf("%d connections", n)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "3600": time.Hour, "3601": time.Hour, "99999999999999999999": time.Hour,
		"-1": 0, "1.5": 0, "+1": 0, "soon": 0, "Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second, "Sun, 01 Mar 2026 11:00:00 GMT": 0,
		"Mon, 02 Mar 2026 12:00:00 GMT": time.Hour,
	} {
		if got := Answered(503, text, now).After; got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if o := Answered(404, "10", now); o.After != 0 {
		t.Errorf("%+v", o)
	}
}

// endless writes the same bytes until nobody reads them.
func endless(c net.Conn, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// until holds a connection as long as the other side does.
func until(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestFaultyReceivers(t *testing.T) {
	t.Parallel()
	a, foreign := newAuthority(t), newAuthority(t)
	later := time.Now().Add(time.Hour)
	good := &tls.Config{Certificates: []tls.Certificate{a.certificate(t, later)}}
	cfg := func(a *authority, until time.Time, names ...string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.certificate(t, until, names...)}}
	}
	old := good.Clone()
	old.MaxVersion = tls.VersionTLS12
	older := good.Clone()
	older.MinVersion, older.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	raw := func(text string) func(net.Conn) {
		return encrypted(good, func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, text) })
	}
	ok := func(cfg *tls.Config) func(net.Conn) {
		return encrypted(cfg, func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
	for name, c := range map[string]struct {
		serve func(net.Conn)
		tls12 bool
		code  string
		want  store.Verdict
	}{
		"whole":               {serve: ok(good), want: store.Accepted},
		"hangs before TLS":    {serve: until, code: CodeTimeout, want: store.Again},
		"hangs in the middle": {serve: encrypted(good, func(c net.Conn, _ *http.Request) { until(c) }), code: CodeTimeout, want: store.Again},
		"drips its header": {serve: encrypted(good, func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX:")
			endless(c, "x", 10*time.Millisecond)
		}), code: CodeTimeout, want: store.Again},
		"drips provisional answers": {serve: encrypted(good, func(c net.Conn, _ *http.Request) { endless(c, "HTTP/1.1 102 Processing\r\n\r\n", 10*time.Millisecond) }), code: CodeTimeout, want: store.Again},
		"drips its body": {serve: encrypted(good, func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, head)
			endless(c, "x", 50*time.Millisecond)
		}), want: store.Accepted},
		"a body that has no end": {serve: encrypted(good, func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, head)
			endless(c, strings.Repeat("x", 1<<16), 0)
		}), want: store.Accepted},
		"a body that is cut off": {serve: raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"), want: store.Accepted},
		"a header that has no end": {serve: encrypted(good, func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			endless(c, "X-Y: "+strings.Repeat("z", 1000)+"\r\n", 0)
		}), code: CodeConnection, want: store.Again},
		"closes at once":           {serve: func(net.Conn) {}, code: CodeConnection, want: store.Again},
		"closes after the request": {serve: encrypted(good, func(net.Conn, *http.Request) {}), code: CodeConnection, want: store.Again},
		"resets": {serve: encrypted(good, func(c net.Conn, _ *http.Request) {
			_ = c.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			_ = c.(*tls.Conn).NetConn().Close()
		}),
			code: CodeConnection, want: store.Again},
		"speaks something else":         {serve: raw("220 mail.example.com ESMTP\r\n"), code: CodeConnection, want: store.Again},
		"two lengths":                   {serve: raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), code: CodeConnection, want: store.Again},
		"redirects":                     {serve: raw("HTTP/1.1 307 There\r\nLocation: https://169.254.169.254/\r\n\r\n"), code: CodeRedirect, want: store.Final},
		"no TLS":                        {serve: func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n"); until(c) }, code: CodeTLS, want: store.Again},
		"expired certificate":           {serve: ok(cfg(a, time.Now().Add(-24*time.Hour))), code: CodeTLS, want: store.Again},
		"certificate of another":        {serve: ok(cfg(a, later, "other.example.com")), code: CodeTLS, want: store.Again},
		"certificate of another signer": {serve: ok(cfg(foreign, later)), code: CodeTLS, want: store.Again},
		"TLS 1.2":                       {serve: ok(old), code: CodeTLS, want: store.Again},
		"TLS 1.2, as is set":            {serve: ok(old), tls12: true, want: store.Accepted},
		"TLS 1.1":                       {serve: ok(older), tls12: true, code: CodeTLS, want: store.Again},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := listen(t, "127.0.0.1:0", c.serve)
			s := NewSender(SenderConfig{Allow: loopback, Roots: a.pool})
			timeout := 20 * time.Second
			if c.code == CodeTimeout {
				timeout = 400 * time.Millisecond
			}
			o := s.Send(t.Context(), Post{URL: "https://127.0.0.1:" + r.port() + "/token-4711?key=4712", Body: []byte(`{"event":"x"}`), TLS12: c.tls12, Timeout: timeout})
			if o.Verdict != c.want || o.Code != c.code {
				t.Errorf("got %+v; want %s %q", o, c.want, c.code)
			}
			if o.Duration > 15*time.Second || strings.Contains(o.Message, "471") || strings.Contains(o.Message, "127.0.0.1") || (o.Message == "") != (o.Code == "") {
				t.Errorf("%+v", o)
			}
			if n := r.connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		r := listen(t, "127.0.0.1:0", nil)
		_ = r.Close()
		s := NewSender(SenderConfig{Allow: loopback, Roots: a.pool})
		if o := s.Send(t.Context(), Post{URL: "https://127.0.0.1:" + r.port()}); o.Code != CodeConnection || o.Verdict != store.Again {
			t.Errorf("%+v", o)
		}
	})
	t.Run("the service ends", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		r := listen(t, "127.0.0.1:0", encrypted(good, func(c net.Conn, _ *http.Request) { cancel(); until(c) }))
		s := NewSender(SenderConfig{Allow: loopback, Roots: a.pool})
		if o := s.Send(ctx, Post{URL: "https://127.0.0.1:" + r.port()}); o.Code != CodeStopped {
			t.Errorf("%+v", o)
		}
	})
}

// TestWhatIsSent: the request as a receiver sees it.
func TestWhatIsSent(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	a := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{a.certificate(t, time.Now().Add(time.Hour))}}
	got := make(chan *http.Request, 1)
	r := listen(t, "127.0.0.1:0", encrypted(cfg, func(c net.Conn, r *http.Request) {
		got <- r
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	signed := http.Header{}
	signed.Set("Webhook-Id", "del_1")
	signed.Set("Content-Type", "application/json")
	s := NewSender(SenderConfig{Allow: loopback, Roots: a.pool})
	o := s.Send(t.Context(), Post{URL: "https://127.0.0.1:" + r.port() + "/a?b=c", Body: []byte("{}"), Signed: signed,
		Custom: map[string]string{"Authorization": "Bearer abc", "x-clinic": "7"}})
	if o.Verdict != store.Accepted {
		t.Fatalf("%+v", o)
	}
	request := <-got
	if request.Method != "POST" || request.RequestURI != "/a?b=c" || request.ContentLength != 2 || request.Header.Get("Webhook-Id") != "del_1" ||
		request.Header.Get("Authorization") != "Bearer abc" || request.Header.Get("X-Clinic") != "7" || request.Header.Get("Accept-Encoding") != "" ||
		request.Header.Get("User-Agent") != "CipherStream-Webhook/1" || request.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %v", request.Method, request.RequestURI, request.Header)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 21 {
		many["X-"+strconv.Itoa(i)] = "x"
	}
	for _, bad := range []map[string]string{
		{"": "x"}, {"A B": "x"}, {"A:": "x"}, {"A\r\nB": "x"}, {"Ä": "x"}, {"X-A": "a\r\nX-B: c"}, {"X-A": "a\nb"}, {"X-A": "a\x00"}, {"X-A": "\x7f"}, {"X-A": " a"}, {"X-A": "a\t"}, {"X-A": "a\tb"}, {"X-A": ""}, {"X-A": "ä"},
		{"Host": "x"}, {"host": "x"}, {"HOST": "x"}, {"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"}, {"Keep-Alive": "1"},
		{"Upgrade": "h2c"}, {"TE": "trailers"}, {"Trailer": "X"}, {"Expect": "100-continue"}, {"Proxy-Authorization": "x"}, {"Content-Type": "text/plain"},
		{"Content-Encoding": "gzip"}, {"Accept-Encoding": "gzip"}, {"HTTP2-Settings": "x"}, {"User-Agent": "x"}, {"X-CipherStream-Signature": "x"}, {"x-cipherstream-other": "x"}, {"Webhook-Id": "x"},
		{"webhook-signature": "x"}, {"WEBHOOK-TIMESTAMP": "x"}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "x"}, {"Via": "x"}, {"Date": "x"}, {"X-A": "1", "x-a": "2"}, many,
		{"X-A": strings.Repeat("x", 9000)},
	} {
		if err := CheckHeaders(bad); !fault.Is(err, CodeHeaders) {
			t.Errorf("%v: %v", bad, err)
		}
		if o := NewSender(SenderConfig{}).Send(t.Context(), Post{URL: "https://127.0.0.1:1/", Custom: bad}); o.Code != CodeHeaders || o.Verdict != store.Final {
			t.Errorf("%v: %+v", bad, o)
		}
	}
	for _, good := range []map[string]string{nil, {"Authorization": "Bearer x"}, {"X-API-Key": "a b"}, {"Cookie": "a=b"}} {
		if err := CheckHeaders(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "x", "http://example.com", "https:", "https://", "https:///x", "https:example.com", "https://u@example.com", "https://u:p@example.com",
		"https://example.com/#", "https://example.com/#x", "https://exa mple.com", "https://example.com/\r\nx", "https://example.com:x/", "ftp://example.com", "https://[::1",
		"https://example.com/" + strings.Repeat("x", 2048)} {
		if err := CheckURL(bad); !fault.Is(err, CodeAddress) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"https://example.com", "https://example.com:8443/a/b?c=d", "https://bücher.example/", "https://[2a00::1]/"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}
