package mysql

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// fakePassword is what no server without proof of who it is may see.
const fakePassword = "S3cret-password"

// fakeServer speaks as much of the protocol as a test lets it.
type fakeServer struct {
	t    testing.TB
	port int
	cert *tls.Certificate // nil offers no TLS

	mu   sync.Mutex
	seen bytes.Buffer // what clients said, decrypted
}

// fakeConn is a connection to a fake server.
type fakeConn struct {
	net.Conn
	server *fakeServer
	seq    byte
	tls    bool
}

// newFakeServer serves every connection with script, which begins after the client's
// first packet. The handshake names plugin.
func newFakeServer(t testing.TB, cert *tls.Certificate, plugin string, script func(c *fakeConn)) *fakeServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{t: t, port: listener.Addr().(*net.TCPAddr).Port, cert: cert}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer conn.Close()
				c := &fakeConn{Conn: conn, server: s}
				if c.sendHandshake(plugin) {
					script(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wait.Wait()
	})
	return s
}

var fakeScramble = []byte("abcdefghijklmnopqrst")

// sendHandshake sends the handshake and takes the answer, by TLS when the client asks for it.
func (c *fakeConn) sendHandshake(plugin string) bool {
	capabilities := uint32(wantedCapabilities)
	if c.server.cert != nil {
		capabilities |= capabilityTLS
	}
	p := append([]byte("\x0a9.9.9-fake\x00\x07\x00\x00\x00"), fakeScramble[:8]...)
	p = append(p, 0)
	p = binary.LittleEndian.AppendUint16(p, uint16(capabilities))
	p = append(p, collation, 2, 0)
	p = binary.LittleEndian.AppendUint16(p, uint16(capabilities>>16))
	p = append(p, 21)
	p = append(p, make([]byte, 10)...)
	p = append(append(p, fakeScramble[8:]...), 0)
	c.send(append(append(p, plugin...), 0))
	first, ok := c.take()
	if !ok || binary.LittleEndian.Uint32(first)&capabilityTLS == 0 {
		return ok
	}
	secured := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{*c.server.cert}})
	if secured.Handshake() != nil {
		return false
	}
	c.Conn, c.tls = secured, true
	_, ok = c.take()
	return ok
}

func (c *fakeConn) send(payload []byte) bool {
	p := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	p[3] = c.seq
	c.seq++
	_, err := c.Write(append(p, payload...))
	return err == nil
}

// take reads a packet of the client.
func (c *fakeConn) take() ([]byte, bool) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(c, header); err != nil {
		return nil, false
	}
	payload := make([]byte, int(header[0])|int(header[1])<<8|int(header[2])<<16)
	_, err := io.ReadFull(c, payload)
	c.seq = header[3] + 1
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.seen.Write(payload)
	return payload, err == nil
}

// change asks for another plugin and gives the answer.
func (c *fakeConn) change(plugin string) ([]byte, bool) {
	p := append(append([]byte{headerSwitch}, plugin...), 0)
	c.send(append(append(p, fakeScramble...), 0))
	return c.take()
}

var fakeEOF = []byte{headerEOF, 0, 0, 2, 0}

// lengthEncodedText is a text of n zero bytes, and fakeColumn the definition of a column
// with such a name.
func lengthEncodedText(n int) []byte {
	return append(appendLengthEncoded(nil, uint64(n)), make([]byte, n)...)
}

func fakeColumn(n int) []byte {
	return slices.Concat([]byte{0, 0, 0, 0}, lengthEncodedText(n), []byte{0, 12, 63, 0, 0, 0, 0, 0, typeVarString, 0, 0, 0, 0, 0})
}

var fakeOK = []byte{headerOK, 0, 0, 2, 0, 0, 0}

// serve lets the client in and answers every statement with OK, but for what answer
// answers itself.
func (c *fakeConn) serve(answer func(c *fakeConn, sql string) bool) {
	c.send(fakeOK)
	for {
		p, ok := c.take()
		if !ok || p[0] == commandQuit {
			return
		}
		if answer != nil && answer(c, string(p[1:])) {
			continue
		}
		if strings.HasPrefix(string(p[1:]), "SELECT @@SESSION.time_zone") {
			for _, packet := range [][]byte{{2}, fakeColumn(1), fakeColumn(1), fakeEOF, []byte("\x06+00:00\x03UTC"), fakeEOF} {
				c.send(packet)
			}
			continue
		}
		if !c.send(fakeOK) {
			return
		}
	}
}

// url is the address of the server: on this machine, or as if it were elsewhere.
func (s *fakeServer) url(remote bool, query string) string {
	host := "127.0.0.1"
	if remote {
		host = "0.0.0.0" // leads to this machine, which its name does not say
	}
	return fmt.Sprintf("mysql://user:%s@%s:%d/?%s", fakePassword, host, s.port, query)
}

func (s *fakeServer) sawPassword() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.seen.String(), fakePassword)
}

// ownCertificate is what a server makes for itself.
func ownCertificate(t *testing.T) (*tls.Certificate, *authority) {
	t.Helper()
	ca := newAuthority(t, "own-ca")
	cert, key := ca.issue("own", []net.IP{net.IPv4zero})
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair, ca
}

// connectTo opens a session and gives its fault, or nil when the server let it in and
// everything it said was OK, which is no result set.
func connectTo(t *testing.T, with settings) *fault.Fault {
	t.Helper()
	with["query"], with["protocol"] = "SELECT 1", "text"
	_, err := readAll(t, with)
	if f := fault.From(err); f == nil || f.Code != codeNoResultSet {
		return f
	}
	return nil
}

// TestCertificates: away from this machine a certificate is checked unless something else
// is written, and the fault says how to pin it.
func TestCertificates(t *testing.T) {
	cert, ca := ownCertificate(t)
	s := newFakeServer(t, cert, pluginNative, func(c *fakeConn) { c.serve(nil) })
	plain := newFakeServer(t, nil, pluginNative, func(c *fakeConn) { c.serve(nil) })

	f := connectTo(t, settings{"url": s.url(true, "")})
	if f == nil || f.Code != codeTLS || f.Class != fault.Connect || f.Retryable {
		t.Fatalf("an unknown certificate: %+v", f)
	}
	pin := f.Details["tls_pin"]
	if len(pin) != len("sha256:")+64 || !strings.Contains(f.Hint, "tls_pin="+pin) {
		t.Fatalf("the pin is %q, the hint %q", pin, f.Hint)
	}
	other := "sha256:" + strings.Repeat("0", 64)
	authority := "tls_ca=" + url.QueryEscape(ca.file)
	for _, c := range []struct {
		server     *fakeServer
		remote     bool
		query      string
		code       string
		protection string
	}{
		{s, true, "tls_pin=" + pin, "", "TLS 1.3, certificate pinned"},
		{s, true, "tls_pin=" + strings.ToUpper(pin[7:]), codeSettings, ""},
		{s, true, "tls_pin=" + other, codeTLS, ""},
		{s, true, authority, "", "TLS 1.3, certificate verified for 0.0.0.0"},
		{s, true, authority + "&tls_pin=" + pin + "&tls=verify-ca", "", "TLS 1.3, certificate of a trusted authority and pinned"},
		{s, true, authority + "&tls_pin=" + other + "&tls=verify-ca", codeTLS, ""},
		{s, true, "tls=verify-ca", codeTLS, ""},
		{s, true, "tls=skip-verify", "", "TLS 1.3, certificate not checked"},
		{s, true, "tls=disabled", "", "plain text"},
		{s, false, "", "", "TLS 1.3 over loopback, certificate not checked"},
		{s, false, "tls_pin=" + other, codeTLS, ""}, // given, and so meant
		{s, false, authority, codeTLS, ""},          // for another name
		{s, false, "tls=disabled", "", "plain text over loopback"},
		{plain, true, "", codeTLS, ""},
		{plain, true, "tls=skip-verify", codeTLS, ""},
		{plain, true, "tls_pin=" + pin, codeTLS, ""},
		{plain, true, "tls=disabled", "", "plain text"},
		{plain, false, "", "", "plain text over loopback"},
		{plain, false, "tls_pin=" + pin, codeTLS, ""},
	} {
		p, err := newProbe(t, settings{"url": c.server.url(c.remote, c.query), "query": "SELECT 1", "protocol": "text"})
		if err == nil {
			_, err = p.Open(t.Context())
		}
		if f := fault.From(err); f.Code != c.code && !(c.code == "" && f.Code == codeNoResultSet) {
			t.Errorf("remote %t, %q: %+v, want %q", c.remote, c.query, f, c.code)
		} else if c.code == "" && p.facts["connection"] != c.protection {
			t.Errorf("remote %t, %q: %q, want %q", c.remote, c.query, p.facts["connection"], c.protection)
		}
	}
	if f := connectTo(t, settings{"url": plain.url(true, "")}); f == nil || !strings.Contains(f.Hint, "tls=disabled") {
		t.Errorf("no TLS: %+v", f)
	}
}

// TestClearText: a server that asks for the password in clear text gets it over TLS whose
// certificate was checked, by a setting, and never else.
func TestClearText(t *testing.T) {
	cert, _ := ownCertificate(t)
	asks := func(c *fakeConn) {
		answer, ok := c.change(pluginClearText)
		if !ok {
			return
		}
		if string(answer) != fakePassword+"\x00" {
			c.server.t.Errorf("the answer is %q", answer)
		}
		c.serve(nil)
	}
	s := newFakeServer(t, cert, pluginNative, asks)
	pin := connectTo(t, settings{"url": s.url(true, "")}).Details["tls_pin"]
	for _, c := range []struct {
		remote bool
		with   settings
	}{
		{false, settings{}},
		{false, settings{"cleartext_password": true}}, // unchecked TLS
		{false, settings{"tls": "disabled"}},
		{true, settings{"tls": "disabled"}},
		{true, settings{"tls": "skip-verify"}},
		{true, settings{"tls_pin": pin}},
	} {
		c.with["url"] = s.url(c.remote, "")
		if f := connectTo(t, c.with); f == nil || f.Code != codeAuth || !strings.Contains(f.Hint, "cleartext_password") {
			t.Errorf("%v: %+v", c.with, f)
		}
	}
	if s.sawPassword() {
		t.Fatal("the server has seen the password")
	}
	for _, remote := range []bool{false, true} {
		if f := connectTo(t, settings{"url": s.url(remote, "cleartext_password=true&tls_pin="+pin)}); f != nil {
			t.Errorf("by a setting, over checked TLS: %v", f)
		}
	}
	// A server whose default it is does not get it any sooner.
	eager := newFakeServer(t, nil, pluginClearText, func(c *fakeConn) { c.serve(nil) })
	if connectTo(t, settings{"url": eager.url(false, "")}); eager.sawPassword() {
		t.Error("a server whose default is clear text has seen the password")
	}
}

// TestPublicKeys: without TLS, a password goes out encrypted with a key that was given, or
// on this machine with the key that the server names.
func TestPublicKeys(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	file := filepath.Join(t.TempDir(), "public_key.pem")
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
	opens := func(c *fakeConn, sealed []byte) bool {
		plain, err := rsa.DecryptOAEP(sha1.New(), nil, private, sealed, nil)
		for i := range plain {
			plain[i] ^= fakeScramble[i%len(fakeScramble)]
		}
		return err == nil && string(plain) == fakePassword+"\x00"
	}
	for _, plugin := range []string{pluginSHA2, pluginSHA256} {
		s := newFakeServer(t, nil, pluginNative, func(c *fakeConn) {
			answer, ok := c.change(plugin)
			if ok && plugin == pluginSHA2 {
				c.send([]byte{headerMoreData, 0x04})
				answer, ok = c.take()
			}
			if ok && len(answer) == 1 { // it asks for the key
				c.send(append([]byte{headerMoreData}, public...))
				answer, ok = c.take()
			}
			if ok && !opens(c, answer) {
				c.server.t.Errorf("%s: the answer is %q", plugin, answer)
			}
			if ok {
				c.serve(nil)
			}
		})
		for _, c := range []struct {
			remote bool
			query  string
			ok     bool
		}{
			{false, "", true}, {false, "server_public_key=" + url.QueryEscape(file), true},
			{true, "tls=disabled", false}, {true, "tls=disabled&server_public_key=" + url.QueryEscape(file), true},
		} {
			f := connectTo(t, settings{"url": s.url(c.remote, c.query)})
			if (f == nil) != c.ok || f != nil && (f.Code != codeAuth || !strings.Contains(f.Hint, "server_public_key")) {
				t.Errorf("%s, remote %t, %q: %+v", plugin, c.remote, c.query, f)
			}
		}
		if s.sawPassword() {
			t.Errorf("%s: the password was sent as it is", plugin)
		}
	}
}

// TestHostileLogin: nothing that a server says in the login makes us wait, take memory or
// fall over.
func TestHostileLogin(t *testing.T) {
	more := func(c *fakeConn) {
		for c.send([]byte{headerMoreData, 0x03}) {
		}
	}
	for name, script := range map[string]func(c *fakeConn){
		"16 MiB": func(c *fakeConn) {
			_, _ = c.Write([]byte{0xff, 0xff, 0xff, c.seq})
			for filler := make([]byte, 1<<20); ; {
				if _, err := c.Write(filler); err != nil {
					return
				}
			}
		},
		"17 KiB":       func(c *fakeConn) { c.send(append([]byte{headerSwitch}, make([]byte, 17<<10)...)) },
		"empty packet": func(c *fakeConn) { c.send(nil) },
		"endless": func(c *fakeConn) {
			c.change(pluginSHA2)
			more(c)
		},
		"more for another plugin": more,
		"changes twice": func(c *fakeConn) {
			c.change(pluginNative)
			c.change(pluginNative)
		},
		"change without an end":  func(c *fakeConn) { c.send([]byte("\xfemysql_native_password")) },
		"no scramble":            func(c *fakeConn) { c.send([]byte("\xfemysql_native_password\x00")) },
		"short scramble":         func(c *fakeConn) { c.send([]byte("\xfecaching_sha2_password\x00abc\x00")) },
		"scramble of ed25519":    func(c *fakeConn) { c.send([]byte("\xfeclient_ed25519\x00abcdefghijklmnopqrst")) },
		"truncated OK":           func(c *fakeConn) { c.send([]byte{headerOK, 0}) },
		"another packet":         func(c *fakeConn) { c.send([]byte{0x77}) },
		"another sequence":       func(c *fakeConn) { c.seq += 5; c.send(fakeOK) },
		"full for another":       func(c *fakeConn) { c.send([]byte{headerMoreData, 0x04}) },
		"half of a fast message": func(c *fakeConn) { c.change(pluginSHA2); c.send([]byte{headerMoreData}) },
		"key that is none": func(c *fakeConn) {
			c.change(pluginSHA256)
			c.send([]byte("\x01-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
		},
	} {
		s := newFakeServer(t, nil, pluginNative, func(c *fakeConn) {
			script(c)
			_, _ = io.Copy(io.Discard, c) // until the client goes
		})
		if f := connectTo(t, settings{"url": s.url(false, ""), "connect_timeout": "20s"}); f == nil || f.Code != codeProtocol {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for name, script := range map[string]func(c *fakeConn){
		"old password": func(c *fakeConn) { c.send([]byte{headerSwitch}) },
		"another way":  func(c *fakeConn) { c.change("auth_gssapi_client") },
	} {
		s := newFakeServer(t, nil, "auth_gssapi_client", script)
		if f := connectTo(t, settings{"url": s.url(false, "")}); f == nil || f.Code != codeAuth || !strings.Contains(f.Hint, "supported are") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestHostileAnswers: what is read as a whole is read to a bound, whatever the largest row is.
func TestHostileAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   string
		answer func(c *fakeConn, sql string) bool
	}{
		{"a long definition", codeProtocol, func(c *fakeConn, sql string) bool {
			return c.send([]byte{1}) && c.send(fakeColumn(65<<10))
		}},
		{"definitions without end", codeProtocol, func(c *fakeConn, sql string) bool {
			c.send(appendLengthEncoded(nil, 1<<16))
			for p := fakeColumn(60 << 10); c.send(p); {
			}
			return true
		}},
		{"a session's answer of 2 MiB", codeProtocol, func(c *fakeConn, sql string) bool {
			return strings.HasPrefix(sql, "SELECT @@SESSION") && c.send([]byte{1}) && c.send(fakeColumn(1)) && c.send(fakeEOF) && c.send(lengthEncodedText(2<<20))
		}},
		{"a session's answer without end", codeProtocol, func(c *fakeConn, sql string) bool {
			if strings.HasPrefix(sql, "SELECT @@SESSION") && c.send([]byte{1}) && c.send(fakeColumn(1)) && c.send(fakeEOF) {
				for p := lengthEncodedText(900 << 10); c.send(p); {
				}
			}
			return false
		}},
		{"a long message", codeQuery, func(c *fakeConn, sql string) bool {
			return strings.HasPrefix(sql, "SELECT 1") && c.send(append([]byte("\xff\x01\x00#HY000"), make([]byte, 100<<10)...))
		}},
	} {
		s := newFakeServer(t, nil, pluginNative, func(f *fakeConn) { f.serve(c.answer) })
		f := connectTo(t, settings{"url": s.url(false, ""), "connect_timeout": "1m"})
		if f == nil || f.Code != c.code {
			t.Errorf("%s: %+v", c.name, f)
		} else if len(f.Message) > 2*longestMessage {
			t.Errorf("%s: a message of %d bytes", c.name, len(f.Message))
		}
	}
}
