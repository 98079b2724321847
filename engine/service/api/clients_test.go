package api

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/required"
)

// TestHTTP2 is the same answers over HTTP/2: with trailers when they are whole, and reset when they are not.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	plain := newServer(t, nil)
	s := httptest.NewUnstartedServer(plain.api.Handler())
	s.Config, s.EnableHTTP2 = Server(plain.api.Handler(), nil), true
	s.TLS = s.Config.TLSConfig
	s.StartTLS()
	t.Cleanup(s.Close)
	get := func(body string) (*http.Response, []byte, error) {
		r, err := http.NewRequest("POST", s.URL+"/v1/procedures/visits", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer good")
		response, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		return response, content, err
	}
	response, content, err := get(ask(`,"mode":"stream","rows":5000`))
	if err != nil || response.ProtoMajor != 2 || string(content) != want(5000) || response.Trailer.Get(headerRows) != "5000" || response.Trailer.Get(headerDigest) != digest(content) {
		t.Errorf("%s, %v, %v, %d bytes", response.Proto, err, response.Trailer, len(content))
	}
	if response.TLS.Version != tls.VersionTLS13 {
		t.Errorf("TLS %x", response.TLS.Version)
	}
	response, _, err = get(ask(`,"mode":"stream","rows":100000,"width":50,"at":50000,"break":"error"`))
	if err == nil || !strings.Contains(err.Error(), "stream error") || response.Trailer.Get(headerRows) != "" {
		t.Errorf("a cut: %v, %v", err, response.Trailer)
	}
	// Other streams of the connection go on.
	if _, content, err = get(ask("")); err != nil || string(content) != want(3) {
		t.Errorf("after a cut: %v", err)
	}
	// So does the connection when a body is refused, unread or read in part.
	for _, body := range []string{strings.Repeat(" ", MaxBody+1), `{"customer_id":`} {
		reused := false
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }}),
			"POST", s.URL+"/v1/procedures/visits", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer good")
		response, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode/100 != 4 || !json.Valid(content) {
			t.Errorf("a body of %d bytes: %s, %v, %q", len(body), response.Status, err, content)
		}
		if !reused {
			t.Errorf("before a body of %d bytes the connection was ended", len(body))
		}
	}
	if response, content, err := get(ask("")); err != nil || string(content) != want(3) || response.Header.Get("Connection") != "" {
		t.Errorf("after refused bodies: %v", err)
	}
	old := s.Client().Transport.(*http.Transport).Clone()
	old.TLSClientConfig.MaxVersion = tls.VersionTLS12
	if _, err := (&http.Client{Transport: old}).Get(s.URL); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
}

// clients are programs that fetch an answer into a file, given its address, its body and the file: what customers write.
// Each says of an answer that was cut that it failed.
var clients = map[string][]string{
	"curl":       {"curl", "-sS", "-o", "FILE", "-H", "Authorization: Bearer good", "-H", "Content-Type: application/json", "-d", "BODY", "URL"},
	"curl --1.0": {"curl", "-sS", "--http1.0", "--fail", "-o", "FILE", "-H", "Authorization: Bearer good", "-H", "Content-Type: application/json", "-d", "BODY", "URL"},
	"http.client": {"python3", "-c", `
import http.client, sys, urllib.parse
url, body, file = sys.argv[1:]
at = urllib.parse.urlsplit(url)
c = http.client.HTTPConnection(at.netloc)
c.request("POST", at.path, body, {"Authorization": "Bearer good", "Content-Type": "application/json"})
r = c.getresponse()
with open(file, "wb") as f:
    while piece := r.read(65536):
        f.write(piece)
`, "URL", "BODY", "FILE"},
	"requests": {"python3", "-c", `
import requests, sys
url, body, file = sys.argv[1:]
with requests.post(url, body, headers={"Authorization": "Bearer good", "Content-Type": "application/json"}, stream=True) as r, open(file, "wb") as f:
    for piece in r.iter_content(65536):
        f.write(piece)
`, "URL", "BODY", "FILE"},
	"node": {"node", "--input-type=module", "-e", `
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
const [url, body, file] = process.argv.slice(1);
const r = await fetch(url, { method: 'POST', body, headers: { Authorization: 'Bearer good', 'Content-Type': 'application/json' } });
await pipeline(r.body, createWriteStream(file));
`, "URL", "BODY", "FILE"},
}

// TestClientsSeeACut: the clients that customers use take what is whole for whole, and report what was cut as a failure.
func TestClientsSeeACut(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for name, command := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := program(t, command[0])
			if name == "requests" {
				var err error
				if path, err = python.Schemathesis(); err != nil { // it is made with requests
					required.Missing(t, err.Error())
				}
			}
			file := filepath.Join(t.TempDir(), "rows.ndjson")
			for body, good := range map[string]bool{
				ask(`,"mode":"stream","rows":100000,"width":20`):                            true,
				ask(`,"mode":"stream","rows":100000,"width":20,"at":60000,"break":"error"`): false,
			} {
				args := make([]string, 0, len(command))
				for _, a := range command[1:] {
					args = append(args, strings.NewReplacer("URL", s.URL+"/v1/procedures/visits", "BODY", body, "FILE", file).Replace(a))
				}
				out, err := exec.Command(path, args...).CombinedOutput()
				var ended *exec.ExitError
				if err != nil && !errors.As(err, &ended) {
					t.Fatal(err)
				}
				if (err == nil) != good {
					t.Errorf("%s: %v\n%s", body, err, out)
				}
				got, _ := os.ReadFile(file)
				if n := strings.Count(string(got), "\n"); good && n != 100000 {
					t.Errorf("%d rows of a whole answer", n)
				}
			}
		})
	}
}
