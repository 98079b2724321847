package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// noon is when the deliveries of these tests were made.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const link = "https://objects.example.com/results/patients_1_ab.zip?X-Amz-Signature=abcdef"

// completed is a delivery, signed.
func completed(t *testing.T, at time.Time, id string, secrets ...string) (http.Header, []byte) {
	t.Helper()
	body, header, err := webhook.Sign(webhook.Event{Event: "job.completed", Timestamp: at, DeliveryID: id, Attempt: 1, Data: json.RawMessage(
		`{"job_id":"patients_1_ab","customer_id":"practice-7","procedure_name":"patients","status":"completed","rows_processed":1234,"execution_time_seconds":2.5,"file_size_bytes":4096,"s3_url":"` + link + `","expires_at":"2026-03-02T00:00:00Z","output_format":"csv"}`)}, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return header, body
}

// written is a request as it goes over the wire.
func written(header http.Header, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n", len(body))
	for name := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", strings.ToLower(name), header.Get(name))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// secretFile keeps secrets in a file.
func secretFile(t *testing.T, secrets ...string) string {
	t.Helper()
	return "file:" + file(t, []byte(strings.Join(secrets, "\n")+"\n"))
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestVerify: a request that was kept, in each form in which people keep one, is authentic; what was altered is not, and
// what is said of it names what it was.
func TestVerify(t *testing.T) {
	secret, other := webhook.NewSecret(), webhook.NewSecret()
	header, body := completed(t, noon, "del_1", secret)
	whole := string(written(header, body))
	own, standard := header.Get(webhook.HeaderSignature), header.Get(webhook.HeaderStandardSignature)
	without := func(text, name string) string {
		var lines []string
		for _, line := range strings.SplitAfter(text, "\r\n") {
			if !strings.HasPrefix(line, name+":") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	flip := func(signature string) string {
		last := signature[len(signature)-5]
		return signature[:len(signature)-5] + string(last^1) + signature[len(signature)-4:]
	}
	chunked := strings.Replace(without(whole, "Content-Length"), "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1)
	at := strings.Index(chunked, "\r\n\r\n") + 4
	chunked = chunked[:at] + fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 10, body[:10], len(body)-10, body[10:])
	for name, c := range map[string]struct {
		request string
		args    string
		code    int
		says    []string
	}{
		"as it was sent":       {whole, "", 0, []string{"authentic\n", "webhook-signature         holds", "X-CipherStream-Signature  holds", "signature in the body     holds", "not judged", "job patients_1_ab of practice-7 is completed, 1,234 rows"}},
		"line feeds":           {strings.ReplaceAll(whole, "\r\n", "\n"), "", 0, []string{"authentic\n"}},
		"no first line":        {whole[strings.Index(whole, "\r\n")+2:], "", 0, []string{"authentic\n"}},
		"chunked":              {chunked, "", 0, []string{"authentic\n"}},
		"an editor's line end": {whole + "\n", "", 0, []string{"authentic\n", "what is behind it (1) was left out"}},
		"in time":              {whole, "--at 2026-03-01T12:04:59Z", 0, []string{"holds           2026-03-01T12:00:00Z, 4m59s ago"}},
		"no Standard Webhooks": {without(without(without(whole, "webhook-id"), "webhook-timestamp"), "webhook-signature"), "", 0, []string{"webhook-signature         is missing", "the headers of Standard Webhooks are missing"}},

		"too late":            {whole, "--at 2026-03-01T12:05:01Z", 1, []string{"not to be believed", "5m1s ago: more than 5m0s", "webhook.time"}},
		"too early":           {whole, "--at 2026-03-01T11:00:00Z", 1, []string{"1h0m0s ahead: more than 5m0s"}},
		"a row more":          {strings.Replace(whole, "1234", "1235", 1), "", 1, []string{"webhook-signature         does not hold", "X-CipherStream-Signature  does not hold", "signature in the body     does not hold", "the secret is another one, or the body was altered"}},
		"another id":          {strings.Replace(whole, "webhook-id: del_1", "webhook-id: del_2", 1), "", 1, []string{"webhook-signature         does not hold", "X-CipherStream-Signature  holds", "webhook-id is del_2, and the body's delivery_id del_1", "webhook-id, webhook-timestamp or webhook-signature was altered"}},
		"another time":        {strings.Replace(whole, fmt.Sprint(noon.Unix()), fmt.Sprint(noon.Unix()+1), 1), "", 1, []string{"webhook-signature         does not hold", "X-CipherStream-Signature  holds"}},
		"own header":          {strings.Replace(whole, own, flip(own), 1), "", 0, []string{"webhook-signature         holds", "X-CipherStream-Signature  does not hold", "X-CipherStream-Signature was altered"}},
		"standard signature":  {strings.Replace(whole, standard, flip(standard), 1), "", 1, []string{"webhook-signature         does not hold"}},
		"no signature":        {without(without(whole, "webhook-signature"), "x-cipherstream-signature"), "", 1, []string{"it has no signature"}},
		"a line end was kept": {without(whole, "Content-Length") + "\r\n", "", 1, []string{"the body is right without the line end (CRLF) at its end"}},
		"cut off":             {whole[:len(whole)-9], "", 1, []string{"it is cut off, or was changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"webhook", "verify", file(t, []byte(c.request)), "--secrets", secretFile(t, secret)}, strings.Fields(c.args)...)
			got := cmdtest.Call(t, args...)
			if got.Code != c.code || (got.Stderr == "") != (c.code == 0) {
				t.Errorf("exit code %d, want %d: %s", got.Code, c.code, got.Stderr)
			}
			for _, says := range c.says {
				if !strings.Contains(got.Stdout+got.Stderr, says) {
					t.Errorf("nothing says %q:\n%s%s", says, got.Stdout, got.Stderr)
				}
			}
			if strings.Contains(got.Stdout, "abcdef") || strings.Contains(got.Stdout+got.Stderr, secret) {
				t.Errorf("the link that opens, or the secret, is shown:\n%s%s", got.Stdout, got.Stderr)
			}
		})
	}

	t.Run("of a rotation", func(t *testing.T) {
		header, body := completed(t, noon, "del_1", other, secret)
		got := cmdtest.Call(t, "webhook", "verify", file(t, written(header, body)), "--secrets", secretFile(t, secret, other))
		if got.Code != 0 || !strings.Contains(got.Stdout, "and the body, with secret 1 and 2\n") || !strings.Contains(got.Stdout, "signs the body, with secret 2\n") {
			t.Errorf("%+v", got)
		}
		// With the new one alone, the published header does not hold yet.
		got = cmdtest.Call(t, "webhook", "verify", file(t, written(header, body)), "--secrets", secretFile(t, secret))
		if got.Code != 0 || !strings.Contains(got.Stdout, "X-CipherStream-Signature  does not hold") || !strings.Contains(got.Stdout, "while a secret is rotated") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("in two files, as JSON, with the link", func(t *testing.T) {
		head := string(written(header, body))
		head = head[:strings.Index(head, "\r\n\r\n")]
		got := cmdtest.Call(t, "webhook", "verify", "--headers", file(t, []byte(head)), "--body", file(t, body), "--secrets", secretFile(t, secret), "--json", "--show-links")
		var found report
		if err := json.Unmarshal([]byte(got.Stdout), &found); err != nil || got.Code != 0 {
			t.Fatalf("%v: %+v", err, got)
		}
		if !found.Authentic || len(found.Checks) != 5 || len(found.Events) != 1 || found.Events[0].DeliveryID != "del_1" || !strings.Contains(string(found.Events[0].Data), "abcdef") {
			t.Errorf("%+v", found)
		}
	})
	t.Run("from standard input", func(t *testing.T) {
		p := cmdtest.Start(t, []string{EnvSecrets + "=" + other + "," + secret}, "webhook", "verify")
		p.Stdin = strings.NewReader(whole)
		var out bytes.Buffer
		p.Stdout = &out
		if code, errs := p.Ended(t); code != 0 || !strings.HasPrefix(out.String(), "authentic\n") {
			t.Errorf("exit code %d: %s%s", code, out.String(), errs)
		}
	})
}

// TestVerifyEveryByte: whatever byte of the body, the id or the time is another one, the request is refused.
func TestVerifyEveryByte(t *testing.T) {
	secret := webhook.NewSecret()
	header, body := completed(t, noon, "del_1", secret)
	e := examiner{secrets: []string{secret}, tolerance: time.Minute}
	examine := func(what string, header http.Header, body []byte, want bool) {
		t.Helper()
		found, err := e.examine(header, body, noon)
		if err != nil || found.Authentic != want {
			t.Errorf("%s: authentic %v, want %v, %v", what, found.Authentic, want, err)
		}
	}
	examine("as it is", header, body, true)
	for i := range body {
		altered := slices.Clone(body)
		altered[i] ^= 1
		examine(fmt.Sprintf("byte %d", i), header, altered, false)
	}
	for _, name := range []string{webhook.HeaderID, webhook.HeaderTimestamp} {
		for i := range header.Get(name) {
			altered := header.Clone()
			value := []byte(header.Get(name))
			value[i] ^= 1
			altered.Set(name, string(value))
			examine(fmt.Sprintf("%s, byte %d", name, i), altered, body, false)
		}
	}
}

// TestVerifyUsage holds what is refused before anything is looked at. No secret is repeated.
func TestVerifyUsage(t *testing.T) {
	secret := webhook.NewSecret()
	header, body := completed(t, noon, "del_1", secret)
	request := file(t, written(header, body))
	for _, c := range []struct{ args, says string }{
		{"verify " + request, "no webhook secret is given"},
		{"verify " + request + " --secrets " + secret, "a reference to a secret begins with env:"},
		{"verify " + request + " --secrets " + secretFile(t, secret[:20]), "webhook.secret"},
		{"verify a b", "takes one file"},
		{"verify --body " + request, "--body and --headers are given together"},
		{"verify " + request + " --body b --headers h", "give one of them"},
		{"verify " + request + "no --secrets " + secretFile(t, secret), "the request cannot be read"},
		{"verify " + request + " --at yesterday --secrets " + secretFile(t, secret), "is no time"},
		{"verify " + request + " --tolerance 0s --secrets " + secretFile(t, secret), "--tolerance is a time of more than nothing"},
		{"verify " + file(t, []byte("no request")) + " --secrets " + secretFile(t, secret), "no empty line between the headers"},
		{"verify " + file(t, []byte("A: b\nwhsec_x\n\n{}")) + " --secrets " + secretFile(t, secret), "line 2 of the headers is no NAME: VALUE"},
		{"verify " + file(t, []byte("Content-Length: x\n\n{}")) + " --secrets " + secretFile(t, secret), "Content-Length is no number"},
		{"verify " + file(t, []byte("Transfer-Encoding: chunked\n\nzz\n{}")) + " --secrets " + secretFile(t, secret), "sent in chunks"},
		{"verify " + file(t, make([]byte, maxCaptured+1)) + " --secrets " + secretFile(t, secret), "larger than that of a webhook may be"},
		{"listen --status 199", "--status is from 200 to 599"},
		{"listen --fail-first -1", "--fail-first is 0 or more"},
		{"listen --delay -1s", "no time before now"},
		{"listen --plain --save-cert x", "--plain has no certificate"},
		{"listen --cert x", "--cert and --key are given together"},
		{"listen --listen nowhere --secrets " + secretFile(t, secret), "--listen is no address"},
		{"listen --cert x --key y --secrets " + secretFile(t, secret) + " --listen 127.0.0.1:0", "--cert and --key cannot be used"},
	} {
		got := cmdtest.Call(t, append([]string{"webhook"}, strings.Fields(c.args)...)...)
		if got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr, c.says) || got.Stdout != "" {
			t.Errorf("%s: exit code %d, want %q: %s%s", c.args, got.Code, c.says, got.Stderr, got.Stdout)
		}
		if strings.Contains(got.Stderr, secret[:20]) {
			t.Errorf("%s: the secret is repeated: %s", c.args, got.Stderr)
		}
	}
}

// FuzzRequest: whatever is given as a request that was kept, it is read or refused, and its body is part of what was given.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("a: b\n\nbody"))
	f.Add([]byte("a: b\nTransfer-Encoding: chunked\n\n2\r\n{}\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseRequest(text)
		if err != nil {
			return
		}
		if len(c.header) == 0 || len(c.body) > len(text) {
			t.Errorf("%+v", c)
		}
		for name := range c.header {
			if name != textproto.CanonicalMIMEHeaderKey(name) {
				t.Errorf("header %q", name)
			}
		}
	})
}
