package webhook

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// listening is a receiver in a process of its own, that speaks JSON.
type listening struct {
	*cmdtest.Process
	t     *testing.T
	url   string
	lines *bufio.Reader
	http  *http.Client
}

// listen starts a receiver with a certificate of its own, which is all that its client trusts.
func listen(t *testing.T, secret string, args ...string) *listening {
	t.Helper()
	trusted := filepath.Join(t.TempDir(), "cert.pem")
	p := cmdtest.Start(t, []string{EnvSecrets + "=" + secret}, append([]string{"webhook", "listen", "--listen", "127.0.0.1:0", "--save-cert", trusted, "--json"}, args...)...)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	l := &listening{Process: p, t: t, lines: bufio.NewReader(out)}
	t.Cleanup(l.end)
	var at opening
	l.next(&at)
	text, err := os.ReadFile(trusted)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) || !strings.HasPrefix(at.URL, "https://127.0.0.1:") || at.Pin == "" {
		t.Fatalf("%+v, %s", at, text)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	l.url, l.http = at.URL, &http.Client{Transport: transport}
	return l
}

func (l *listening) next(value any) {
	l.t.Helper()
	line, err := l.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, value)
	}
	if err != nil {
		l.t.Fatalf("%v: %s %s", err, line, l.Errs.String())
	}
}

// end interrupts the receiver, for which that is no failure.
func (l *listening) end() {
	_ = l.Cmd.Process.Signal(os.Interrupt)
	_, _ = io.Copy(io.Discard, l.lines)
	if code := l.ExitCode(l.t); code != 0 || l.Errs.Len() > 0 {
		l.t.Errorf("exit code %d: %s", code, l.Errs.String())
	}
}

// post sends a request, and returns the answer and what the receiver has shown.
func (l *listening) post(header http.Header, body []byte) (*http.Response, received) {
	l.t.Helper()
	request, err := http.NewRequest(http.MethodPost, l.url+"/hook", bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	request.Header = header
	answer, err := l.http.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	answer.Body.Close()
	var shown received
	l.next(&shown)
	if shown.Answered != answer.StatusCode {
		l.t.Errorf("it says that it answered %d, and has %d", shown.Answered, answer.StatusCode)
	}
	return answer, shown
}

// TestListen: what is signed is taken, what is altered or old is not, and what comes again is told apart: the next attempt
// from the same one once more.
func TestListen(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	l := listen(t, secret)
	now := time.Now()
	header, body := completed(t, now, "del_1", secret)
	later, laterBody := completed(t, now.Add(time.Second), "del_1", secret)
	moved := header.Clone()
	moved.Set(webhook.HeaderID, "del_2")
	old, oldBody := completed(t, now.Add(-time.Hour), "del_3", secret)
	foreign, foreignBody := completed(t, now, "del_4", webhook.NewSecret())
	for _, c := range []struct {
		name   string
		header http.Header
		body   []byte
		status int
		again  string
	}{
		{"signed", header, body, 200, ""},
		{"another attempt", later, laterBody, 200, "attempt"},
		{"the same once more", header, body, 200, "replay"},
		{"a row more", header, bytes.Replace(body, []byte("1234"), []byte("1235"), 1), 401, ""},
		{"under another id", moved, body, 401, ""},
		{"old", old, oldBody, 400, ""},
		{"of another secret", foreign, foreignBody, 401, ""},
		{"not signed", http.Header{}, body, 401, ""},
		{"too large", header, make([]byte, webhook.MaxBody+1), 413, ""},
	} {
		answer, shown := l.post(c.header, c.body)
		if answer.StatusCode != c.status || shown.Again != c.again || shown.Authentic != (c.status == 200) {
			t.Errorf("%s: %d, %+v", c.name, answer.StatusCode, shown)
		}
		if text, _ := json.Marshal(shown); strings.Contains(string(text), "abcdef") || strings.Contains(string(text), secret) {
			t.Errorf("%s: the link that opens, or the secret, is shown: %s", c.name, text)
		}
	}
	answer, err := l.http.Get(l.url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 405 || answer.Header.Get("Allow") != "POST" {
		t.Errorf("GET is answered %d", answer.StatusCode)
	}
}

// TestListenAnswers: it answers as told.
func TestListenAnswers(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	l := listen(t, secret, "--fail-first", "2", "--status", "429", "--retry-after", "1500ms", "--delay", "20ms")
	for i, want := range []int{503, 503, 429, 429} {
		header, body := completed(t, time.Now().Add(time.Duration(i)*time.Second), "del_1", secret)
		began := time.Now()
		answer, _ := l.post(header, body)
		if answer.StatusCode != want || answer.Header.Get("Retry-After") != "2" || time.Since(began) < 20*time.Millisecond {
			t.Errorf("request %d: %d after %s, Retry-After %q", i+1, answer.StatusCode, time.Since(began), answer.Header.Get("Retry-After"))
		}
	}
}

// TestListenToGone: a sender that does not wait is shown, and an interruption does not wait for the delay.
func TestListenToGone(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	l := listen(t, secret, "--delay", "1h")
	header, body := completed(t, time.Now(), "del_1", secret)
	request, err := http.NewRequest(http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	// With TLS 1.3 the sender might be gone while the receiver is still at its part of the handshake: there is no request then.
	by := l.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	by.MaxVersion = tls.VersionTLS12
	sender, err := tls.Dial("tcp", strings.TrimPrefix(l.url, "https://"), by)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(request.Write(sender), sender.Close()); err != nil {
		t.Fatal(err)
	}
	var shown received
	l.next(&shown)
	if shown.Answered != 0 || !shown.Authentic {
		t.Errorf("%+v", shown)
	}
}

// TestListenForPeople: what is shown to a person names what came and what was answered, and control characters of a sender
// do not reach the terminal.
func TestListenForPeople(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	p := cmdtest.Start(t, []string{EnvSecrets + "=" + secret}, "webhook", "listen", "--listen", "127.0.0.1:0", "--plain")
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	first := cmdtest.FirstLine(t, out, func(string) bool { return true })
	url, ok := strings.CutPrefix(strings.TrimSuffix(first, " until interrupted.\n"), "Receiving at ")
	if !ok || !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("%q", first)
	}
	header, body := completed(t, time.Now(), "del_1", secret)
	for _, id := range []string{"del_1", "del_\u009b"} {
		request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(bytes.Replace(body, []byte("del_1"), []byte(id), 1)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = header
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	_ = p.Cmd.Process.Signal(os.Interrupt)
	said, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.Errs.String())
	}
	for _, want := range []string{
		"  authentic → 200 OK\n", "  NOT TO BE BELIEVED → 401 Unauthorized\n",
		"job.completed del_1, attempt 1: job patients_1_ab of practice-7 is completed, 1,234 rows of patients in 2.5 s\n",
		"4.1 kB of csv until 2026-03-02T00:00:00Z: https://objects.example.com/results/patients_1_ab.zip?…\n",
	} {
		if !strings.Contains(string(said), want) {
			t.Errorf("nothing says %q:\n%s", want, said)
		}
	}
	if bytes.Contains(said, []byte("\u009b")) {
		t.Errorf("a control character was shown: %q", said)
	}
}
