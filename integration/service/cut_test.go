package service

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// seen is what a client made of an answer.
type seen struct {
	Status int
	ID     string
	Bytes  int64
	// Error is what the client reports; empty is an answer that looks whole to it.
	Error string
}

// failed reports whether the client knows that it has not got what it asked for.
func (s seen) failed() bool { return s.Error != "" || s.Status >= 400 }

// reader is a client: it asks for a procedure's rows, and takes all that comes.
type reader func(t *testing.T, key, body string) seen

const path = "/v1/procedures/custom_table"

// raw speaks HTTP over a connection, and takes its end for the end of the body where nothing says otherwise.
func raw(address, version string, headers ...string) reader {
	return func(t *testing.T, key, body string) seen {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = fmt.Fprintf(c, "POST %s HTTP/%s\r\nHost: service\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
			path, version, key, len(body), strings.Join(append(headers, ""), "\r\n"), body)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil || len(strings.Fields(line)) < 2 {
			return seen{Error: fmt.Sprintf("no status line: %v", err)}
		}
		s := seen{}
		s.Status, _ = strconv.Atoi(strings.Fields(line)[1])
		length, chunked := int64(-1), false
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				s.Error = "the header has no end"
				return s
			}
			if line == "\r\n" {
				break
			}
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch strings.ToLower(name) {
			case "x-request-id":
				s.ID = value
			case "content-length":
				length, _ = strconv.ParseInt(value, 10, 64)
			case "transfer-encoding":
				chunked = value == "chunked"
			}
		}
		var from io.Reader = r
		if length >= 0 {
			from = io.LimitReader(r, length)
		}
		rest, err := io.ReadAll(from)
		s.Bytes = int64(len(rest))
		switch {
		case err != nil:
			s.Error = err.Error()
		case chunked && !strings.Contains(string(rest[max(0, len(rest)-300):]), "\r\n0\r\n"):
			s.Error = "no last chunk"
		case !chunked && length >= 0 && s.Bytes != length:
			s.Error = fmt.Sprintf("%d of %d bytes", s.Bytes, length)
		}
		return s
	}
}

// inGo is net/http of Go.
func inGo(client *http.Client, base string) reader {
	return func(t *testing.T, key, body string) seen {
		t.Helper()
		a := (&deployment{URL: base}).send(t, client, key, http.MethodPost, path, body)
		s := seen{Status: a.StatusCode, ID: a.Header.Get("X-Request-Id"), Bytes: int64(len(a.body))}
		if a.broken != nil {
			s.Error = a.broken.Error()
		}
		return s
	}
}

// curl is curl; its exit code is its word.
func curl(base string, args ...string) reader {
	return func(t *testing.T, key, body string) seen {
		t.Helper()
		dir := t.TempDir()
		run := exec.CommandContext(t.Context(), needs(t, "curl"), append([]string{"-sS", "-X", "POST", base + path, "-H", "Authorization: Bearer " + key,
			"-H", "Content-Type: application/json", "-d", body, "-o", filepath.Join(dir, "body"), "-w", "%{http_code} %header{x-request-id}"}, args...)...)
		out, err := run.Output()
		status, id, _ := strings.Cut(string(out), " ")
		s := seen{ID: strings.TrimSpace(id)}
		s.Status, _ = strconv.Atoi(status)
		if info, err := os.Stat(filepath.Join(dir, "body")); err == nil {
			s.Bytes = info.Size()
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			s.Error = fmt.Sprintf("exit code %d: %s", exit.ExitCode(), exit.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// script is a program that is given URL, key and body, and prints what it has seen.
func script(base string, command func(t *testing.T) []string) reader {
	return func(t *testing.T, key, body string) seen {
		t.Helper()
		args := command(t)
		out, err := tool(t, t.TempDir(), nil, args[0], append(args[1:], base+path, key, body)...)
		if err != nil {
			t.Fatal(err)
		}
		var s seen
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return s
	}
}

const inHTTPClient = `
import http.client, json, sys, urllib.parse
url, key, body = sys.argv[1:]
where = urllib.parse.urlsplit(url)
c = http.client.HTTPConnection(where.hostname, where.port)
c.request("POST", where.path, body, {"Authorization": "Bearer " + key, "Content-Type": "application/json"})
r = c.getresponse()
size, error = 0, ""
try:
    size = len(r.read())
except http.client.HTTPException as e:
    error, size = repr(e)[:200], len(getattr(e, "partial", b""))
except OSError as e:
    error = repr(e)
print(json.dumps({"status": r.status, "id": r.headers["X-Request-Id"], "bytes": size, "error": error}))
`

const inURLLib = `
import http.client, json, sys, urllib.error, urllib.request
url, key, body = sys.argv[1:]
r = urllib.request.Request(url, body.encode(), {"Authorization": "Bearer " + key, "Content-Type": "application/json"})
size, error = 0, ""
try:
    a = urllib.request.urlopen(r)
except urllib.error.HTTPError as e:
    a = e
try:
    while piece := a.read(65536):
        size += len(piece)
except (http.client.HTTPException, OSError) as e:
    error = repr(e)[:200]
print(json.dumps({"status": a.status, "id": a.headers["X-Request-Id"], "bytes": size, "error": error}))
`

const inFetch = `
const [url, key, body] = process.argv.slice(1);
const r = await fetch(url, {method: 'POST', body, headers: {Authorization: 'Bearer ' + key, 'Content-Type': 'application/json'}});
let bytes = 0, error = '';
try {
  for await (const piece of r.body) bytes += piece.length;
} catch (e) {
  error = String(e);
}
console.log(JSON.stringify({status: r.status, id: r.headers.get('X-Request-Id'), bytes, error}));
`

// nginxServer is Debian's nginx in front of a service. It returns a client of it: of what it does by default, and of HTTP/1.1
// to the service.
func nginxServer(t *testing.T, upstream string) (byDefault, newer *http.Client) {
	t.Helper()
	binary := needs(t, "nginx")
	dir, err := os.MkdirTemp("/tmp", "csng") // a socket needs a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("  %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	server := func(socket, more string) string {
		return fmt.Sprintf("  server {\n    listen unix:%s/%s;\n    location / { proxy_pass http://%s; %s }\n  }\n", dir, socket, upstream, more)
	}
	text := user + "daemon off;\nworker_processes 1;\npid " + dir + "/pid;\nerror_log stderr warn;\nevents {}\nhttp {\n  access_log off;\n" + temp +
		server("old", "") + server("new", "proxy_http_version 1.1;") + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(binary, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	said := &saidLines{}
	run.Stderr = said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = run.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = run.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("nginx said:\n%s", said)
		}
	})
	client := func(socket string) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, socket))
			}}}
	}
	eventually(t, "nginx", func() bool {
		select {
		case <-ended:
			t.Fatalf("nginx did not start:\n%s", said)
		default:
		}
		c, err := net.DialTimeout("unix", filepath.Join(dir, "new"), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return client("old"), client("new")
}

// testCutStreams: whoever reads an answer that fails late knows that it is not whole, and is told why when he asks.
func testCutStreams(t *testing.T, s *shared) {
	old, newer := nginxServer(t, s.address())
	readers := map[string]reader{
		"HTTP/1.0":                   raw(s.address(), "1.0"),
		"HTTP/1.0 keep-alive":        raw(s.address(), "1.0", "Connection: keep-alive"),
		"HTTP/1.1 close":             raw(s.address(), "1.1", "Connection: close"),
		"curl":                       curl(s.URL),
		"curl HTTP/1.0":              curl(s.URL, "--http1.0"),
		"Go":                         inGo(plainly, s.URL),
		"nginx by default":           inGo(old, "http://nginx"),
		"nginx HTTP/1.1 to upstream": inGo(newer, "http://nginx"),
		"Node fetch": script(s.URL, func(t *testing.T) []string {
			return []string{needs(t, "node"), "--input-type=module", "-e", inFetch, "--"}
		}),
		"Python http.client": script(s.URL, func(t *testing.T) []string { return []string{needs(t, "python3"), "-c", inHTTPClient} }),
		"Python urllib":      script(s.URL, func(t *testing.T) []string { return []string{needs(t, "python3"), "-c", inURLLib} }),
	}
	// spooled have the error itself: nothing was sent before it.
	spooled := map[string]bool{"HTTP/1.0": true, "HTTP/1.0 keep-alive": true, "curl HTTP/1.0": true, "nginx by default": true}
	failures := []struct{ customer, table, code string }{
		{"clinic", "late", "SOURCE_FAILED"},
		{"clinic", "zeroed", "DATA_NOT_REPRESENTABLE"},
		{"broken", "numbers", "DATABASE_UNAVAILABLE"},
	}
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if whole := read(t, s.key["clinic"], `{"customer_id":"clinic","table_name":"few","mode":"stream"}`); whole.failed() || whole.Bytes < 50_000 {
				t.Errorf("a whole answer: %+v", whole)
			}
			for _, f := range failures {
				fail := func() seen {
					return read(t, s.key[f.customer], `{"customer_id":"`+f.customer+`","table_name":"`+f.table+`","mode":"stream"}`)
				}
				got := fail()
				// A connection that is reset may take with it what the source has not read yet: on a busy machine that is all of
				// it now and then, and the error is told in place of the rows.
				for again := 0; again < 10 && f.customer == "broken" && !spooled[name] && got.Status == http.StatusServiceUnavailable; again++ {
					got = fail()
				}
				if !got.failed() {
					t.Errorf("%s: it looks whole: %+v", f.table, got)
				}
				if spooled[name] != (got.Status >= 500) {
					t.Errorf("%s: %+v", f.table, got)
				}
				if !spooled[name] && got.Bytes < 100_000 {
					t.Errorf("%s: it did not fail late: %+v", f.table, got)
				}
				if o := s.outcome(t, plainly, s.key[f.customer], got.ID); o.Status != "failed" || o.Code != f.code {
					t.Errorf("%s: %+v, want %s", f.table, o, f.code)
				}
			}
		})
	}
	// Every form of an answer ends so, and in the mode auto nothing is sent before the error.
	for _, form := range []string{`"output_format":"json"`, `"output_format":"csv","compression":"gzip"`, `"compression":"zip"`, `"compression":"zstd","encrypted":true`,
		`"output_format":"csv","encrypted":true`, `"output_format":"parquet"`, `"output_format":"arrow","compression":"zip","encrypted":true`} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			for _, name := range []string{"Go", "curl"} {
				got := readers[name](t, s.key["clinic"], `{"customer_id":"clinic","table_name":"late","mode":"stream",`+form+`}`)

				if !got.failed() {
					t.Errorf("%s: it looks whole: %+v", name, got)
				}
			}
			a := s.ask(t, s.key["clinic"], "custom_table", `{"customer_id":"clinic","table_name":"late",`+form+`}`)
			if a.code() != "SOURCE_FAILED" || a.StatusCode < 500 {
				t.Errorf("auto: %s %.300s", a.Status, a.body)
			}
		})
	}
}

// TestCutStreamsOfHTTP2: a stream of HTTP/2 is reset.
func TestCutStreamsOfHTTP2(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	practice(db)
	d := deploy(t, secure(t)+"  limits: {warm: 0}\n", tenant{id: "clinic", dsn: db.DSN(db.Database())})
	key, _ := d.key(t, "clinic")
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	for name, read := range map[string]reader{"Go": inGo(client, d.URL), "curl": curl(d.URL, "-k", "--http2")} {
		if whole := read(t, key, `{"customer_id":"clinic","table_name":"few","mode":"stream"}`); whole.failed() || whole.Bytes < 50_000 {
			t.Errorf("%s: a whole answer: %+v", name, whole)
		}
		for table, code := range map[string]string{"late": "SOURCE_FAILED", "zeroed": "DATA_NOT_REPRESENTABLE"} {
			got := read(t, key, `{"customer_id":"clinic","table_name":"`+table+`","mode":"stream"}`)
			if got.Status != http.StatusOK || got.Bytes < 100_000 || !strings.Contains(got.Error, "INTERNAL_ERROR") {
				t.Errorf("%s, %s: %+v", name, table, got)
			}
			if o := d.outcome(t, client, key, got.ID); o.Status != "failed" || o.Code != code {
				t.Errorf("%s, %s: %+v", name, table, o)
			}
		}
	}
	// A client that resets its stream ends the run.
	started := d.endless(t, client, key)
	started.Body.Close()
	d.endsSoon(t, db, "a stream of HTTP/2 that was reset")
}

// secure are settings of a listener that speaks TLS, with a certificate of its own.
func secure(t *testing.T) string {
	certificate, key := selfSigned(t)
	return fmt.Sprintf("  listen: {address: \"127.0.0.1:0\", certificate: %s, key: %s}\n", certificate, key)
}

// selfSigned makes a certificate and its key, and returns their files.
func selfSigned(t *testing.T) (certificateFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}
