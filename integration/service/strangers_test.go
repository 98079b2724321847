package service

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dial connects to the service. Nothing that a test waits for on the connection takes longer than patience.
func (d *deployment) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", d.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// first reads an answer of a connection.
func first(t *testing.T, r *bufio.Reader) *reply {
	t.Helper()
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	a := &reply{Response: answer}
	a.body, a.broken = io.ReadAll(answer.Body)
	return a
}

// testHugeBodies: a body of 1 GB is refused, and not read.
func testHugeBodies(t *testing.T, s *shared) {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n", path, s.key["clinic"])
	for name, c := range map[string]struct{ header, before, piece string }{
		"with its length": {"Content-Length: 1073741824\r\n\r\n", `{"customer_id":"`, strings.Repeat("a", 1<<20)},
		"in chunks":       {"Transfer-Encoding: chunked\r\n\r\n", "1\r\n{\r\n", "100000\r\n" + strings.Repeat(" ", 1<<20) + "\r\n"},
	} {
		conn := s.dial(t)
		if _, err := io.WriteString(conn, head+c.header+c.before); err != nil {
			t.Fatal(err)
		}
		sent := make(chan int)
		go func() {
			n := 0
			for n < 1<<30 {
				more, err := io.WriteString(conn, c.piece)
				if n += more; err != nil {
					break
				}
			}
			sent <- n
		}()
		a := first(t, bufio.NewReader(conn))
		if a.StatusCode != http.StatusRequestEntityTooLarge || a.code() != "BODY_TOO_LARGE" || !a.Close {
			t.Errorf("%s: %s %s", name, a.Status, a.body)
		}
		// What it took lies in the buffers of both ends.
		if n := <-sent; n > 64<<20 {
			t.Errorf("%s: it took %d bytes", name, n)
		}
	}
	// A client that asks first is told before it sends anything.
	conn := s.dial(t)
	if _, err := io.WriteString(conn, head+"Content-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if a := first(t, bufio.NewReader(conn)); a.code() != "BODY_TOO_LARGE" {
		t.Errorf("asked first: %s %s", a.Status, a.body)
	}
}

// testSlowClients: a client that sends its header or its body in drops does not keep a connection for long.
func testSlowClients(t *testing.T, s *shared) {
	body := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{", path, s.key["clinic"])
	var wait sync.WaitGroup
	for name, start := range map[string]string{"header": "GET /docs HTTP/1.1\r\nHost: service\r\nX-A: ", "body": body, "chunks": strings.Replace(body, "Content-Length: 1000\r\n\r\n{",
		"Transfer-Encoding: chunked\r\n\r\n1000\r\n{", 1)} {
		conn := s.dial(t)
		if _, err := io.WriteString(conn, start); err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			from := time.Now()
			go func() {
				drops := time.NewTicker(300 * time.Millisecond)
				defer drops.Stop()
				for range drops.C {
					if _, err := io.WriteString(conn, " "); err != nil {
						return
					}
				}
			}()
			text, err := io.ReadAll(conn)
			if took := time.Since(from); took > 30*time.Second || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: it held the connection for %v: %v", name, took, err)
			}
			if name != "header" && !strings.Contains(string(text), `"BODY_TIMEOUT"`) {
				t.Errorf("%s: it was told %q", name, text)
			}
		})
	}
	wait.Wait()
}

// testIdleConnections: thousands of connections on which nothing comes keep nobody from being served.
func testIdleConnections(t *testing.T, s *shared) {
	n := 2000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur >= 12_000 {
		n = 10_000
	}
	// Not through the test's cleanups, of which there would be thousands.
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for len(conns) < n {
		c, err := net.Dial("tcp", s.address())
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
		conns = append(conns, c)
	}
	from := time.Now()
	a := s.ask(t, s.key["clinic"], "custom_table", `{"customer_id":"clinic","table_name":"few"}`)
	if a.StatusCode != http.StatusOK || bytes.Count(a.body, []byte("\n")) != 1000 {
		t.Errorf("beside %d idle connections: %s, %d bytes", n, a.Status, len(a.body))
	}
	t.Logf("beside %d idle connections a thousand rows took %v", n, time.Since(from).Round(time.Millisecond))
}

// testSmuggling: where two readers of HTTP could take a request's end for different things, nothing behind it is answered.
func testSmuggling(t *testing.T, s *shared) {
	const smuggled = "GET /v1/smuggled HTTP/1.1\r\nHost: service\r\n\r\n"
	post := "POST " + path + " HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer " + s.key["clinic"] + "\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"length and chunks":          post + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"chunks and length":          post + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + smuggled,
		"two lengths":                post + "Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}" + smuggled,
		"two lengths in one":         post + "Content-Length: 2, 4\r\n\r\n{}" + smuggled,
		"a length with a sign":       post + "Content-Length: +2\r\n\r\n{}" + smuggled,
		"a length in hexadecimal":    post + "Content-Length: 0x2\r\n\r\n{}" + smuggled,
		"a negative length":          post + "Content-Length: -2\r\n\r\n{}" + smuggled,
		"a space before the colon":   post + "Content-Length : 2\r\n\r\n{}" + smuggled,
		"chunks and identity":        post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + smuggled,
		"chunks twice":               post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"chunks of another name":     post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
		"chunks behind a tab":        post + "Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n" + smuggled,
		"chunks in HTTP/1.0":         strings.Replace(post, "HTTP/1.1", "HTTP/1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"a bare line feed in chunks": post + "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n" + smuggled,
		"a chunk that is too long":   post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n" + smuggled,
		"a chunk of 2^64+2":          post + "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n" + smuggled,
		"a carriage return":          post + "X-A: a\rContent-Length: 2\r\n\r\n{}" + smuggled,
		"NUL":                        post + "X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}" + smuggled,
		"chunks in a folded header":  post + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + smuggled,
		"two hosts":                  post + "Host: other\r\nContent-Length: 2\r\n\r\n{}" + smuggled,
		"no host":                    strings.Replace(post, "Host: service\r\n", "", 1) + "Content-Length: 2\r\n\r\n{}" + smuggled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := s.dial(t)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			text, err := io.ReadAll(conn)
			if err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "HTTP/1."); n > 1 {
				t.Errorf("%d answers:\n%s", n, text)
			}
			if status := regexp.MustCompile(`^HTTP/1\.[01] (4\d\d|501) `); len(text) > 0 && !status.Match(text) {
				t.Errorf("it was answered:\n%s", text)
			}
		})
	}
}

// testFields: what a body may not say is refused by its name.
func testFields(t *testing.T, s *shared) {
	for body, want := range map[string]string{
		`{"customer_id":"clinic","table_name":"few","table_name":"numbers"}`:                                  "DUPLICATE_FIELD",
		`{"customer_id":"clinic","table_name":"few","table\u005fname":"numbers"}`:                             "DUPLICATE_FIELD",
		`{"customer_id":"clinic","customer_id":"trial","table_name":"few"}`:                                   "DUPLICATE_FIELD",
		`{"customer_id":"clinic","tablename":"few"}`:                                                          "INVALID_REQUEST", // and table_name is missing
		`{"customer_id":"clinic","table_name":"few","Mode":"stream"}`:                                         "UNKNOWN_FIELD",
		`{"customer_id":"clinic","table_name":"few","encryptd":true}`:                                         "UNKNOWN_FIELD",
		`{"customer_id":"clinic","table_name":"few"}{}`:                                                       "INVALID_JSON",
		`{"customer_id":"clinic","table_name":"few"`:                                                          "INVALID_JSON",
		"{\"customer_id\":\"clinic\",\"table_name\":\"f\xffw\"}":                                              "INVALID_JSON",
		strings.Repeat("[", 100_000):                                                                          "INVALID_JSON",
		`{"customer_id":"clinic","table_name":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`: "INVALID_JSON",
		`{"customer_id":["clinic"],"table_name":"few"}`:                                                       "INVALID_PARAMETER",
		`{"customer_id":"clinic:0","table_name":"few"}`:                                                       "INVALID_PARAMETER",
		``: "INVALID_JSON",
	} {
		a := s.ask(t, s.key["clinic"], "custom_table", body)
		if a.StatusCode != http.StatusBadRequest || a.code() != want {
			t.Errorf("%.100s: %s %.500s, want %s", body, a.Status, a.body, want)
		}
	}
	if a := s.ask(t, s.key["clinic"], "custom_table", `{"customer_id":"clinic","table_name":"few","encryptd":true}`); !strings.Contains(string(a.body), `did you mean \"encrypted\"?`) {
		t.Errorf("it does not suggest anything: %s", a.body)
	}
}

// testNames: no file is opened by a name. Where one would be, there is a pipe that nobody writes to, on which whoever opens it
// waits for ever.
func testNames(t *testing.T, s *shared) {
	for _, name := range []string{"planted", "planted.yaml", "planted.js", "planted.html"} {
		if err := syscall.Mkfifo(filepath.Join(s.dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	planted := filepath.Join(s.dir, "planted")
	escaped := strings.ReplaceAll(planted, "/", "%2F")
	client := &http.Client{Transport: plainly.Transport, Timeout: patience / 2, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, name := range []string{"planted", "planted.yaml", escaped, escaped + ".yaml", "..%2F..%2F" + escaped, "%2e%2e%2fplanted", "..%5Cplanted", "planted%00", "patients%00.yaml",
		"patients%2F..%2Fplanted", "%00", "..", "%2e%2e", ".", "patients%20", "file:%2F%2F" + escaped, "%252e%252e%252fplanted", "PATIENTS", strings.Repeat("a", 8000)} {
		for _, where := range []string{"/v1/procedures/", "/v1/requests/", "/docs/", "/docs/assets/", "/v1/objects/", "/"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				a := s.send(t, client, s.key["clinic"], method, where+name, `{"customer_id":"clinic"}`)
				refused := a.StatusCode == http.StatusNotFound || a.StatusCode == http.StatusMethodNotAllowed || a.StatusCode == http.StatusBadRequest ||
					a.StatusCode == http.StatusForbidden && a.code() == "LINK_INVALID"
				if !refused {
					t.Errorf("%s %s%.100s: %s %.300s", method, where, name, a.Status, a.body)
				}
			}
		}
	}
	for _, name := range []string{planted, "../planted", "planted\\u0000", "few\\u0000", "`few`", "few; DROP TABLE few", "few` UNION SELECT 1 -- ", "mysql.user", "information_schema.tables", "", " few", "few "} {
		for _, field := range []string{"table_name", "procedure_name"} {
			a := s.ask(t, s.key["clinic"], "custom_table", `{"customer_id":"clinic","`+field+`":"`+name+`"}`)
			if a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusBadRequest {
				t.Errorf("%s %q: %s %.300s", field, name, a.Status, a.body)
			}
		}
	}
	for _, id := range []string{"../clinic", "clinic\\u0000", planted, "%2e%2e", "clinic/", "CLINIC"} {
		if a := s.ask(t, s.key["clinic"], "patients", `{"customer_id":"`+id+`"}`); a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusBadRequest {
			t.Errorf("customer %q: %s %.300s", id, a.Status, a.body)
		}
	}
	if a := s.ask(t, s.key["clinic"], "custom_table", `{"customer_id":"clinic","table_name":"few"}`); a.StatusCode != http.StatusOK {
		t.Errorf("the table afterwards: %s %s", a.Status, a.body)
	}
}

// varying is what differs from one error to the next: when, and its request.
var varying = regexp.MustCompile(`"(timestamp|request_id)":"[^"]*"`)

// shape is an answer without what differs from one to the next.
func (a *reply) shape() string {
	h := a.Header.Clone()
	for _, name := range []string{"X-Request-Id", "Date", "RateLimit", "Ratelimit"} {
		h.Del(name)
	}
	return fmt.Sprint(a.Status, h, varying.ReplaceAllString(string(a.body), `"$1":""`))
}

// testKeys: a key that is not good is refused in one way, whatever is wrong with it.
func testKeys(t *testing.T, s *shared) {
	revoked, id := s.deployment.key(t, "clinic")
	body := `{"customer_id":"clinic","table_name":"few"}`
	if a := s.ask(t, revoked, "custom_table", body); a.StatusCode != http.StatusOK {
		t.Fatalf("before: %s %s", a.Status, a.body)
	}
	s.operate(t, "key", "revoke", id)
	expired, _ := s.deployment.key(t, "clinic", "--expires", "3s")
	eventually(t, "the end of a key", func() bool { return s.ask(t, expired, "custom_table", body).StatusCode != http.StatusOK })
	want := s.ask(t, "cs_live_"+strings.Repeat("a", len(revoked)-8), "custom_table", body)
	if want.StatusCode != http.StatusUnauthorized || want.code() != "INVALID_API_KEY" {
		t.Fatalf("an unknown key: %s %s", want.Status, want.body)
	}
	good := s.key["clinic"]
	for name, key := range map[string]string{"revoked": revoked, "expired": expired, "cut": good[:len(good)-1], "longer": good + "a", "other letters": strings.ToUpper(good),
		"of another kind": strings.Replace(good, "live", "demo", 1), "an operator's": strings.Replace(good, "live", "admin", 1), "x": "x"} {
		a := s.ask(t, key, "custom_table", body)
		if a.shape() != want.shape() {
			t.Errorf("%s:\n%s\nand an unknown one:\n%s", name, a.shape(), want.shape())
		}
	}
	if a := s.ask(t, "", "custom_table", body); a.StatusCode != http.StatusUnauthorized || a.code() != "AUTHENTICATION_REQUIRED" {
		t.Errorf("no key: %s %s", a.Status, a.body)
	}
	if strings.Contains(s.stderr.String(), revoked) || strings.Contains(s.stderr.String(), good) {
		t.Error("a key is in the log")
	}
}

// testOthers: nobody can tell whether a customer, or a request of one, that is not theirs is there.
func testOthers(t *testing.T, s *shared) {
	ask := func(id string) *reply {
		return s.ask(t, s.key["clinic"], "custom_table", `{"customer_id":"`+id+`","table_name":"few"}`)
	}
	want := ask("nobody")
	if want.StatusCode != http.StatusNotFound || want.code() != "CUSTOMER_NOT_FOUND" {
		t.Fatalf("an unknown customer: %s %s", want.Status, want.body)
	}
	for _, id := range []string{"trial", "away", "elsewhere"} {
		if a := ask(id); a.shape() != want.shape() {
			t.Errorf("%s:\n%s\nand an unknown one:\n%s", id, a.shape(), want.shape())
		}
	}
	theirs := s.ask(t, s.key["trial"], "custom_table", `{"customer_id":"trial","table_name":"few","encrypted":true}`)
	id := theirs.Header.Get("X-Request-Id")
	for _, what := range []string{"", "/receipt"} {
		if a := s.send(t, plainly, s.key["trial"], http.MethodGet, "/v1/requests/"+id+what, ""); a.StatusCode != http.StatusOK {
			t.Errorf("its own%s: %s %s", what, a.Status, a.body)
		}
		unknown := s.send(t, plainly, s.key["clinic"], http.MethodGet, "/v1/requests/req_000000000000000000000000"+what, "")
		a := s.send(t, plainly, s.key["clinic"], http.MethodGet, "/v1/requests/"+id+what, "")
		if a.StatusCode != http.StatusNotFound || a.shape() != unknown.shape() {
			t.Errorf("another's%s:\n%s\nand an unknown one:\n%s", what, a.shape(), unknown.shape())
		}
	}
	for _, id := range []string{"trial", "nobody"} {
		a := s.send(t, plainly, s.key["clinic"], http.MethodGet, "/v1/procedures/appointment_types/rows?customer_id="+id, "")
		if a.StatusCode != http.StatusNotFound || a.code() != "CUSTOMER_NOT_FOUND" {
			t.Errorf("the reference list of %s: %s %s", id, a.Status, a.body)
		}
	}
}

// testForwarded: nobody comes from somewhere else by saying so.
func testForwarded(t *testing.T, s *shared) {
	for _, header := range []http.Header{{}, {"X-Forwarded-For": {"203.0.113.7"}}, {"X-Forwarded-For": {"203.0.113.7, 127.0.0.1", "203.0.113.7"}}, {"Forwarded": {"for=203.0.113.7"}},
		{"X-Real-Ip": {"203.0.113.7"}}, {"True-Client-Ip": {"203.0.113.7"}}, {"Cf-Connecting-Ip": {"203.0.113.7"}}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(`{"customer_id":"elsewhere","table_name":"few"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header.Clone()
		r.Header.Set("Authorization", "Bearer "+s.key["elsewhere"])
		answer, err := plainly.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden || !strings.Contains(string(body), `"IP_NOT_ALLOWED"`) {
			t.Errorf("%v: %s %s", header, answer.Status, body)
		}
	}
}

// testDatabaseAway: a database that is away is the trouble of its customer alone.
func testDatabaseAway(t *testing.T, s *shared) {
	for _, mode := range []string{"auto", "stream"} {
		a := s.ask(t, s.key["away"], "custom_table", `{"customer_id":"away","table_name":"few","mode":"`+mode+`"}`)
		if a.StatusCode != http.StatusServiceUnavailable || a.code() != "DATABASE_UNAVAILABLE" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s %s", mode, a.Status, a.body)
		}
		if text := string(a.body); strings.Contains(text, "127.0.0.1") || strings.Contains(text, "root") || strings.Contains(text, "secret") {
			t.Errorf("the answer tells of the database: %s", text)
		}
		if o := s.outcome(t, plainly, s.key["away"], a.Header.Get("X-Request-Id")); o.Status != "failed" || o.Code != "DATABASE_UNAVAILABLE" {
			t.Errorf("%s: %+v", mode, o)
		}
		if a := s.ask(t, s.key["clinic"], "custom_table", `{"customer_id":"clinic","table_name":"few","mode":"`+mode+`"}`); a.StatusCode != http.StatusOK {
			t.Errorf("another customer: %s %s", a.Status, a.body)
		}
	}
	a := s.send(t, plainly, s.key["away"], http.MethodGet, "/v1/procedures/appointment_types/rows?customer_id=away", "")
	if a.StatusCode != http.StatusServiceUnavailable || a.code() != "DATABASE_UNAVAILABLE" {
		t.Errorf("a reference list: %s %s", a.Status, a.body)
	}
	for _, place := range []string{"/healthz", "/readyz"} {
		answer, err := http.Get(s.Operations + place)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", place, answer.Status)
		}
	}
}
