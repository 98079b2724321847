package api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/required"
	"github.com/cipherstream/cipherstream/sdk/envelope"
)

// TestPages: the browser of the document and every guide are there, load nothing from elsewhere and hold no script, and
// what they link to is there.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *Config) { c.Servers = []string{"https://api.example.com/"} })
	link := regexp.MustCompile(`(?:href|src)="([^"#]+)`)
	seen := map[string]bool{"/docs": false, "/docs/": false}
	for {
		page := ""
		for p, done := range seen {
			if !done {
				page = p
			}
		}
		if page == "" {
			break
		}
		seen[page] = true
		a := s.do("GET", page, "", "Authorization", "-")
		if a.StatusCode != 200 || a.Header.Get("ETag") == "" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatalf("%s: %s %v", page, a.Status, a.Header)
		}
		if b := s.do("GET", page, "", "Authorization", "-", "If-None-Match", a.Header.Get("ETag")); b.StatusCode != 304 || len(b.body) > 0 {
			t.Errorf("%s again: %s", page, b.Status)
		}
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
			continue
		}
		policy := a.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'; script-src 'self';") || !strings.HasSuffix(policy, "connect-src 'self' https://api.example.com") {
			t.Errorf("%s: policy %s", page, policy)
		}
		text := string(a.body)
		if regexp.MustCompile(`<script[^>]*>[^<]|style="|\son\w+="|javascript:`).MatchString(text) {
			t.Errorf("%s holds a script or a style", page)
		}
		if !strings.HasSuffix(strings.TrimSpace(text), "</html>") || strings.Contains(text, "{{") {
			t.Errorf("%s is not whole", page)
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(m[1], "/") {
				t.Errorf("%s loads %s", page, m[1])
			} else if _, ok := seen[m[1]]; !ok {
				seen[m[1]] = false
			}
		}
	}
	if len(seen) < 13 {
		t.Errorf("only %d pages: %v", len(seen), seen)
	}
	errors := string(s.do("GET", "/docs/errors", "").body)
	for _, e := range table {
		if !strings.Contains(errors, `id="`+string(e.Code)+`"`) {
			t.Errorf("%s is not documented", e.Code)
		}
	}
}

// program looks for a program that a guide or a client needs. Java is the one that is not required: it is run where it is.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err != nil && name == "java":
		t.Skip("SKIPPED, NOT TESTED: there is no java")
	case err != nil:
		required.Missing(t, name+" was not found; install it with `make deps`")
	}
	return path
}

// TestGuidesDecrypt runs the programs of the guide on what envelope seals.
func TestGuidesDecrypt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile := write("key.txt", []byte(key+"\n"))
	ring, err := envelope.ParseRing(key, "")
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := ring.Sealer("clinic-7")
	if err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	var plain strings.Builder
	for i, row := range []string{`{"name":"Zoë"}`, `{"name":null}`, strings.Repeat("x", 100_000)} {
		plain.WriteString(row + "\n")
		sealed = sealer.Seal(sealed, []byte(row+"\n"), int64(i))
	}
	for name, command := range map[string][]string{
		"decrypt.py": {"python3"}, "decrypt.mjs": {"node"}, "Decrypt.java": {"java"}, "decrypt.go.txt": {"go", "run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, err := guideCode(name)
			if err != nil {
				t.Fatal(err)
			}
			file := write(strings.TrimSuffix(name, ".txt"), []byte(code))
			if name == "decrypt.py" && exec.Command(program(t, "python3"), "-c", "import cryptography").Run() != nil {
				required.Missing(t, "python3 has no package cryptography; install it with `make deps`")
			}
			for _, c := range []struct {
				customer string
				input    []byte
				good     bool
			}{{"clinic-7", sealed, true}, {"clinic-8", sealed, false}, {"clinic-7", sealed[:len(sealed)-1], name == "Decrypt.java"}, {"clinic-7", bytes.Replace(sealed, []byte("\n"), []byte("\n{}\n"), 1), false}} {
				run := exec.Command(program(t, command[0]), append(command[1:len(command):len(command)], file, c.customer, keyFile)...)
				run.Stdin, run.Dir = bytes.NewReader(c.input), dir
				run.Env = append(os.Environ(), "GO111MODULE=off", "GOFLAGS=")
				var stderr strings.Builder
				run.Stderr = &stderr
				out, err := run.Output()
				if (err == nil) != c.good || c.good && string(out) != plain.String() {
					t.Errorf("%s, %d bytes: %v, %d bytes\n%s", c.customer, len(c.input), err, len(out), stderr.String())
				}
			}
		})
	}
}

// TestGuideSetsAWebhook runs the program of the guide that sets a webhook and tests it.
func TestGuideSetsAWebhook(t *testing.T) {
	t.Parallel()
	program(t, "curl")
	h := newHookServer(t, nil)
	text, err := guideCode("webhook.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", text)
	if bash, err := exec.LookPath("bash"); err == nil {
		cmd = exec.Command(bash, "-c", text)
	}
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CIPHERSTREAM_URL="+h.URL, "CIPHERSTREAM_KEY=good", "CIPHERSTREAM_CUSTOMER=clinic-7")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secret, err := os.ReadFile(filepath.Join(dir, "webhook.secret"))
	if err != nil || !regexp.MustCompile(`^whsec_[A-Za-z0-9+/]{43}=\n$`).Match(secret) {
		t.Errorf("%v: %q", err, secret)
	}
	if events, err := h.record.Outbox(t.Context(), 0, 10); err != nil || len(events) != 1 || events[0].Event != "webhook.test" {
		t.Errorf("%v %v", events, err)
	}
}

// TestGuideVerifies runs the program of the guide on what is signed, and on what was altered.
func TestGuideVerifies(t *testing.T) {
	t.Parallel()
	python := program(t, "python3")
	text, err := guideCode("webhook.py")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "webhook.py")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	key := bytes.Repeat([]byte{7}, 32)
	secret, other := "whsec_"+base64.StdEncoding.EncodeToString(key), "whsec_"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32))
	now := time.Now().Unix()
	sign := func(id string, at int64, body string) string {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.%s", id, at, body)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	const id, body = "del_1_ab", `{"event":"job.completed"}`
	good := sign(id, now, body)
	for name, c := range map[string]struct {
		secrets, id string
		at          int64
		signature   string
		body        string
		taken       bool
	}{
		"as it is sent":     {secret, id, now, good, body, true},
		"during a rotation": {other + "," + secret, id, now, "v1,AAAA " + good, body, true},
		"another secret":    {other, id, now, good, body, false},
		"another body":      {secret, id, now, good, body + " ", false},
		"another id":        {secret, "del_1_ac", now, good, body, false},
		"another time":      {secret, id, now + 1, good, body, false},
		"too old":           {secret, id, now - 301, sign(id, now-301, body), body, false},
		"of the future":     {secret, id, now + 400, sign(id, now+400, body), body, false},
		"no signature":      {secret, id, now, "", body, false},
	} {
		cmd := exec.Command(python, file, c.id, strconv.FormatInt(c.at, 10), c.signature)
		cmd.Env, cmd.Stdin = append(os.Environ(), "WEBHOOK_SECRETS="+c.secrets), strings.NewReader(c.body)
		if out, err := cmd.CombinedOutput(); (err == nil) != c.taken || err != nil && !strings.Contains(string(out), "not to be believed") {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}
