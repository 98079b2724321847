package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/required"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// certificate is that of a server at 127.0.0.1, which signs itself.
func certificate(t *testing.T) (pool *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pool, certFile, keyFile
}

// taken is a message as the server has taken it.
type taken struct {
	From    string   `json:"from"`
	To      []string `json:"to"`
	TLS     bool     `json:"tls"`
	Login   string   `json:"login"`
	Content []byte   `json:"content"`
}

// server is a real one, of other hands.
type server struct {
	port  int
	lines *bufio.Reader
	pool  *x509.CertPool
}

func start(t *testing.T, mode, login string) *server {
	t.Helper()
	interpreter, err := python.Mail()
	if err != nil {
		required.Missing(t, err.Error())
	}
	pool, certFile, keyFile := certificate(t)
	command := exec.Command(interpreter, "testdata/server.py", mode, certFile, keyFile, login)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = command.Wait()
	})
	s := &server{lines: bufio.NewReader(out), pool: pool}
	line, err := s.lines.ReadString('\n')
	if err == nil {
		s.port, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return s
}

// next is the next message that the server takes.
func (s *server) next(t *testing.T) (m taken, message *netmail.Message, text string) {
	t.Helper()
	line, err := s.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	if err == nil {
		message, err = netmail.ReadMessage(bytes.NewReader(m.Content))
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(message.Body))
	if err != nil {
		t.Fatal(err)
	}
	return m, message, strings.ReplaceAll(string(body), "\r\n", "\n")
}

func sender(t *testing.T, cfg Config) *Sender {
	t.Helper()
	cfg.Server, cfg.From, cfg.API = "127.0.0.1", "CipherStream <noreply@example.com>", "https://api.example.com/"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func delivery(event, data string) store.Delivery {
	return store.Delivery{ID: "del_1_a", Customer: "clinic-7", Channel: store.ByMail, Target: "practice@example.com", Event: event, Data: []byte(data), Attempts: 1}
}

const failedJob = `{"job_id":"patients_1_a","customer_id":"clinic-7","procedure_name":"patients","status":"failed","rows_processed":42,` +
	`"error_code":"SOURCE_UNAVAILABLE","error_message":"the value 'Smith, John' is none","s3_url":"https://objects.example.com/x?sig=1"}`

// TestRealServer: in each way of encryption, with a login and without, a message arrives as it was written.
func TestRealServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode, login string
		tls         TLS
	}{
		{"starttls", "login", ""}, {"starttls", "none", StartTLS}, {"tls", "login", Implicit}, {"clear", "none", None}, {"clear", "login", None},
	} {
		t.Run(c.mode+" "+c.login, func(t *testing.T) {
			t.Parallel()
			server := start(t, c.mode, c.login)
			cfg := Config{Port: server.port, TLS: c.tls, Roots: server.pool}
			if c.login == "login" {
				cfg.Username, cfg.Password = "service", config.NewSecret("pass word")
			}
			s := sender(t, cfg)
			if o := s.Send(t.Context(), delivery("job.failed", failedJob)); o.Verdict != store.Accepted || o.Duration <= 0 || o.Code != "" {
				t.Fatalf("%+v", o)
			}
			got, message, text := server.next(t)
			h := message.Header
			if got.From != "noreply@example.com" || len(got.To) != 1 || got.To[0] != "practice@example.com" || got.TLS != (c.mode != "clear") ||
				(got.Login == "service") != (c.login == "login") {
				t.Errorf("%+v", got)
			}
			if h.Get("From") != `"CipherStream" <noreply@example.com>` || h.Get("To") != "<practice@example.com>" || h.Get("Subject") != "[CipherStream] Failed: patients" ||
				h.Get("Message-ID") != "<del_1_a@example.com>" || h.Get("Auto-Submitted") != "auto-generated" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain; charset=UTF-8") ||
				h.Get("Date") == "" {
				t.Errorf("%v", h)
			}
			const want = `The job patients_1_a (patients) has failed: SOURCE_UNAVAILABLE.

Its state, and its result with a key of the API:
https://api.example.com/v1/customers/clinic-7/jobs/patients_1_a

Customer: clinic-7
`
			if text != want {
				t.Errorf("got  %q\nwant %q", text, want)
			}
			for _, secret := range []string{"Smith", "objects.example.com", "pass word"} {
				if bytes.Contains(got.Content, []byte(secret)) {
					t.Errorf("the message has %q", secret)
				}
			}
			for target, want := range map[string]store.Outcome{
				"nobody@example.com": {Verdict: store.Final, Code: CodeRefused, Message: "the server answered 550"},
				"later@example.com":  {Verdict: store.Again, Code: CodeLater, Message: "the server answered 451"},
			} {
				d := delivery("job.failed", failedJob)
				d.Target = target
				o := s.Send(t.Context(), d)
				if o.Duration = 0; o != want {
					t.Errorf("%s: got %+v, want %+v", target, o, want)
				}
			}
		})
	}
}

// TestRealServerRefuses: without encryption nothing is said, and with a wrong password nothing is sent.
func TestRealServerRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode, login, code string
		cfg               Config
		trusts            bool
	}{
		"no STARTTLS":             {mode: "clear", login: "none", code: CodeTLS, trusts: true},
		"certificate not trusted": {mode: "starttls", login: "none", code: CodeTLS},
		"the same from the start": {mode: "tls", login: "none", code: CodeTLS, cfg: Config{TLS: Implicit}},
		"wrong password":          {mode: "starttls", login: "login", code: CodeLogin, trusts: true, cfg: Config{Username: "service", Password: config.NewSecret("wrong")}},
		"no login there":          {mode: "starttls", login: "none", code: CodeLogin, trusts: true, cfg: Config{Username: "service", Password: config.NewSecret("wrong")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, c.mode, c.login)
			c.cfg.Port = server.port
			if c.trusts {
				c.cfg.Roots = server.pool
			}
			if o := sender(t, c.cfg).Send(t.Context(), delivery("job.failed", failedJob)); o.Verdict != store.Again || o.Code != c.code {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestHostileServer: what a server can do that means no good, or is broken.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	pool, _, _ := certificate(t)
	// talk answers each line with the next of the answers.
	talk := func(answers ...string) func(net.Conn) {
		return func(c net.Conn) {
			lines := bufio.NewReader(c)
			for i, answer := range answers {
				if i > 0 {
					if _, err := lines.ReadString('\n'); err != nil {
						return
					}
				}
				if _, err := io.WriteString(c, answer+"\r\n"); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, c)
		}
	}
	endless := func(text string, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
				time.Sleep(pause)
			}
		}
	}
	const hello = "250-hostile\r\n250-STARTTLS\r\n250 8BITMIME"
	for name, c := range map[string]struct {
		serve func(net.Conn)
		tls   TLS
		code  string
		want  store.Verdict
	}{
		"says nothing":               {serve: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, code: CodeTimeout, want: store.Again},
		"drips its greeting":         {serve: endless("2", 20*time.Millisecond), code: CodeTimeout, want: store.Again},
		"a greeting that has no end": {serve: endless(strings.Repeat("220-x", 1000), 0), code: CodeConnection, want: store.Again},
		"lines that have no end":     {serve: endless(strings.Repeat("220-x\r\n", 1000), 0), code: CodeConnection, want: store.Again},
		"closes at once":             {serve: func(net.Conn) {}, code: CodeConnection, want: store.Again},
		"speaks HTTP":                {serve: talk("HTTP/1.1 400 Bad Request\r\n"), code: CodeConnection, want: store.Again},
		"is busy":                    {serve: talk("421 4.3.2 secret text"), code: CodeLater, want: store.Again},
		"offers no encryption":       {serve: talk("220 x", "250-hostile\r\n250 AUTH PLAIN LOGIN"), code: CodeTLS, want: store.Again},
		"refuses STARTTLS":           {serve: talk("220 x", hello, "454 4.7.0 not now"), code: CodeLater, want: store.Again},
		"hangs in the handshake":     {serve: talk("220 x", hello, "220 go"), code: CodeTimeout, want: store.Again},
		"hangs behind the message":   {tls: None, serve: talk("220 x", "250-hostile\r\n250 8BITMIME", "250 ok", "250 ok", "354 go"), code: CodeTimeout, want: store.Again},
		"refuses the sender":         {tls: None, serve: talk("220 x", "250-hostile\r\n250 8BITMIME", "553 5.1.8 secret text"), code: CodeRefused, want: store.Final},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := listen(t, c.serve)
			timeout := 20 * time.Second
			if c.code == CodeTimeout || c.code == CodeRefused { // it hangs behind that
				timeout = 500 * time.Millisecond
			}
			s := sender(t, Config{Port: port, TLS: c.tls, Roots: pool, Timeout: timeout, Username: user(c.tls), Password: config.NewSecret(user(c.tls))})
			o := s.Send(t.Context(), delivery("job.failed", failedJob))
			if o.Verdict != c.want || o.Code != c.code || o.Duration > 10*time.Second || strings.Contains(o.Message, "secret") {
				t.Errorf("got %+v; want %s %s", o, c.want, c.code)
			}
		})
	}
	t.Run("hangs when it has the message", func(t *testing.T) {
		t.Parallel()
		port := listen(t, func(c net.Conn) {
			lines := bufio.NewReader(c)
			for _, answer := range []string{"220 x", "250-hostile\r\n250 8BITMIME", "250 ok", "250 ok", "354 go"} {
				_, _ = io.WriteString(c, answer+"\r\n")
				if _, err := lines.ReadString('\n'); err != nil {
					return
				}
			}
			for line, err := "", error(nil); line != ".\r\n"; {
				if line, err = lines.ReadString('\n'); err != nil {
					return
				}
			}
			_, _ = io.WriteString(c, "250 taken\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
		s := sender(t, Config{Port: port, TLS: None, Timeout: 500 * time.Millisecond})
		if o := s.Send(t.Context(), delivery("job.failed", failedJob)); o.Verdict != store.Accepted {
			t.Errorf("%+v", o)
		}
	})
	t.Run("the service ends", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		port := listen(t, func(c net.Conn) { cancel(); _, _ = io.Copy(io.Discard, c) })
		if o := sender(t, Config{Port: port, Roots: pool}).Send(ctx, delivery("job.failed", failedJob)); o.Verdict != store.Again {
			t.Errorf("%+v", o)
		}
	})
}

// user is who logs in where that would be told in the clear.
func user(mode TLS) string {
	if mode == None {
		return ""
	}
	return "hunter2"
}

// listen serves connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = c.Close() })()
				defer func() { _ = c.Close() }()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// TestInjection: nothing of an event begins a header, ends a message or becomes another recipient.
func TestInjection(t *testing.T) {
	t.Parallel()
	s := sender(t, Config{Port: 1})
	const evil = "x\r\nBcc: evil@example.com\r\n\r\nbody\r\n.\r\nMAIL FROM:<a@b>\u2028\u0085\x00\x1b[2J"
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(quoted)
	for _, event := range []string{"job.completed", "job.failed", "job.cancelled", store.EventMaintenance, store.EventRateLimit, store.EventDisabled, evil} {
		d := delivery(event, `{"job_id":`+text+`,"procedure_name":`+text+`,"error_code":`+text+`,"starts_at":`+text+`,"ends_at":`+text+`,"message":`+text+`,"policy":`+text+
			`,"reset_at":`+text+`,"reason":`+text+`,"webhook_url":"https://hooks.example.com/secret-path?token=1"}`)
		d.ID, d.Customer = evil, evil
		m, err := s.message(d)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		parsed, err := netmail.ReadMessage(&b)
		if err != nil {
			t.Fatal(err)
		}
		for name := range parsed.Header {
			if !strings.Contains(" From To Subject Message-Id Date Auto-Submitted Content-Type Content-Transfer-Encoding Mime-Version ", " "+name+" ") {
				t.Errorf("%q: a header %s", event, name)
			}
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
		if err != nil || strings.ContainsAny(subject, "\r\n\x00\x1b\u2028") {
			t.Errorf("%q: subject %q, %v", event, subject, err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
		if err != nil || bytes.ContainsAny(body, "\x00\x1b") || bytes.Contains(body, []byte("secret-path")) || bytes.Contains(body, []byte("token=1")) {
			t.Errorf("%q: %q, %v", event, body, err)
		}
		if recipients, err := m.GetRecipients(); err != nil || len(recipients) != 1 {
			t.Errorf("%q: %v, %v", event, recipients, err)
		}
	}
	for _, target := range []string{"", "x", "a@example.com, b@example.com", "a@example.com\r\nRCPT TO:<b@example.com>", "Name <a@example.com>", "a b@example.com", `"a"@example.com`, "ä@example.com"} {
		d := delivery("job.failed", failedJob)
		d.Target = target
		if o := s.Send(t.Context(), d); o.Verdict != store.Final || o.Code != CodeAddress {
			t.Errorf("%q: %+v", target, o)
		}
	}
	for _, from := range []string{"", "x", "a@example.com\r\nX: y", "A <a b@example.com>"} {
		if _, err := New(Config{From: from}); err == nil {
			t.Errorf("%q is a sender", from)
		}
	}
}

// TestWords: what is written of each event.
func TestWords(t *testing.T) {
	t.Parallel()
	s := sender(t, Config{Port: 1})
	for event, c := range map[string]struct{ data, subject, text string }{
		"job.completed":        {`{"job_id":"patients_1_a","procedure_name":"patients","rows_processed":7}`, "Completed: patients", "is completed, with 7 rows"},
		"job.cancelled":        {`{"job_id":"patients_1_a","procedure_name":"patients"}`, "Cancelled: patients", "was cancelled"},
		store.EventMaintenance: {`{"starts_at":"2026-03-01T12:00:00.000Z","ends_at":"2026-03-01T13:00:00.000Z","message":"New disks.\nSorry."}`, "Maintenance from 2026-03-01T12:00:00.000Z on", "\nNew disks.\nSorry.\n"},
		store.EventRateLimit:   {`{"policy":"procedures","limit":60,"remaining":12,"reset_at":"2026-03-01T12:00:00.000Z"}`, "Near a limit: procedures", "counted anew from 2026-03-01T12:00:00.000Z"},
		store.EventDisabled:    {`{"webhook_url":"https://hooks.example.com/x?token=1","reason":"nothing but failures for 5 days"}`, "Webhooks are sent no more", "the webhook at hooks.example.com: nothing but failures for 5 days."},
	} {
		var about said
		if err := json.Unmarshal([]byte(c.data), &about); err != nil {
			t.Fatal(err)
		}
		subject, text := s.words(delivery(event, c.data), about)
		if subject != "[CipherStream] "+c.subject || !strings.Contains(text, c.text) || strings.Contains(text, "token") ||
			strings.Contains(text, "/v1/customers/clinic-7/jobs/patients_1_a") != strings.HasPrefix(event, "job.") {
			t.Errorf("%s: %q %q", event, subject, text)
		}
	}
	if got := word(strings.Repeat("ä", 201)); got != strings.Repeat("ä", 200)+"…" {
		t.Error(got)
	}
}
