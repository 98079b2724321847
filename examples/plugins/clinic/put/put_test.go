package put

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stagetest"
)

func TestConformance(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	stagetest.Run(t, Stage(), stagetest.Options{Settings: map[string]any{"url": server.URL}, Prompt: 10 * time.Second})
}

func newSinkTo(t *testing.T, address string) (sdk.Sink, string) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"url": address, "token": "t0p-secret", "max_size": "1KiB"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	made, err := Stage().Make(raw, sdk.Env{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return made.(sdk.Sink), dir
}

func deliver(t *testing.T, s sdk.Sink, text string) (sdk.Receipt, error) {
	t.Helper()
	object := sdk.Object{Media: sdk.Media{Type: "text/csv", Extension: ".csv", ContentEncoding: "gzip"}, RunID: "run"}
	if err := s.Open(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.SplitAfter(text, "\n") {
		if err := s.Write(t.Context(), []byte(p)); err != nil {
			return sdk.Receipt{}, err
		}
	}
	return s.Commit(t.Context())
}

func TestPut(t *testing.T) {
	for _, text := range []string{"a,b\n1,2\n", ""} {
		var got *http.Request
		var body []byte
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
		}))
		s, dir := newSinkTo(t, server.URL+"/in/box?signature=1")
		receipt, err := deliver(t, s, text)
		server.Close()
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		if receipt.Bytes != int64(len(text)) || receipt.SHA256 != hex.EncodeToString(sum[:]) || receipt.Location != server.URL+"/in/box" {
			t.Errorf("%+v", receipt)
		}
		h := got.Header
		if string(body) != text || got.Method != "PUT" || got.ContentLength != int64(len(text)) || h.Get("Content-Type") != "text/csv" ||
			h.Get("Content-Encoding") != "gzip" || h.Get("Authorization") != "Bearer t0p-secret" || h.Get("X-Content-SHA256") != receipt.SHA256 {
			t.Errorf("%s %d %q: %v", got.Method, got.ContentLength, body, h)
		}
		if err := s.Abort(t.Context()); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestNotDelivered: an answer that is no success is a fault, and a redirect is not followed.
func TestNotDelivered(t *testing.T) {
	var elsewhere atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
	defer other.Close()
	for _, c := range []struct {
		status int
		code   string
		retry  bool
	}{{403, "put.refused", false}, {500, "put.refused", true}, {429, "put.refused", true}, {307, "put.refused", false}, {0, "put.request", true}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Location", other.URL)
			w.WriteHeader(c.status)
		}))
		s, dir := newSinkTo(t, server.URL+"/?signature=hidden")
		_, err := deliver(t, s, "x\n")
		server.Close()
		var f *fault.Fault
		if !errors.As(err, &f) || f.Code != c.code || f.Retryable != c.retry || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "t0p") {
			t.Errorf("%d: %v", c.status, err)
		}
		for range 2 {
			if err := s.Abort(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%d: left behind: %v", c.status, left)
		}
	}
	if elsewhere.Load() {
		t.Error("the redirect was followed")
	}
}

func TestRefused(t *testing.T) {
	for _, address := range []string{"http://example.org/x", "ftp://example.org", "example.org", "://", "https://"} {
		raw, _ := json.Marshal(map[string]any{"url": address})
		if _, err := Stage().Make(raw, sdk.Env{}); !fault.Is(err, "put.url") {
			t.Errorf("%s: %v", address, err)
		}
	}
	s, _ := newSinkTo(t, "http://127.0.0.1:1/")
	if _, err := deliver(t, s, strings.Repeat("x", 1025)); !fault.Is(err, "put.too_large") {
		t.Errorf("too large: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}
