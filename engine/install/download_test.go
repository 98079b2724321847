package install_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// serve serves with https, and returns the address and what trusts the server.
func serve(t *testing.T, handler http.Handler) (string, http.RoundTripper) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport)
	transport.DisableKeepAlives = true
	return server.URL, transport
}

func TestDownload(t *testing.T) {
	program := plugin(t, "upper")
	var referers atomic.Value
	mux := http.NewServeMux()
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/upper-1.0.0?token=geheim", http.StatusFound)
	})
	mux.HandleFunc("/upper-1.0.0", func(w http.ResponseWriter, r *http.Request) {
		referers.Store(r.Header.Get("Referer"))
		_, _ = w.Write(program)
	})
	address, transport := serve(t, mux)
	for _, from := range []string{"/upper-1.0.0", "/upper-1.0.0?token=geheim#part", "/moved?token=geheim"} {
		cfg := config(t)
		cfg.Transport = transport
		var told []int64
		done := must(t, cfg, install.Request{From: address + from, SHA256: digestOf(program), Progress: func(done, total int64) {
			told = append(told, done, total)
		}})
		path, _, _ := strings.Cut(from, "?")
		if done.Entry.Origin != address+path || done.Entry.SHA256 != digestOf(program) {
			t.Errorf("got %+v", done.Entry)
		}
		if n := len(told); n < 2 || told[n-2] != int64(len(program)) || told[n-1] != int64(len(program)) {
			t.Errorf("the progress was %v", told)
		}
		if got := contents(t, cfg.Host.PluginDir); strings.Contains(got[host.LockName], "geheim") {
			t.Errorf("the lock file shows the token: %s", got[host.LockName])
		}
		if r := referers.Load().(string); r != "" {
			t.Errorf("the address was told to another server: %s", r)
		}
		starts(t, cfg, "upper")
	}
}

// TestDownloadAccepted: without a digest somebody must accept the one that came.
func TestDownloadAccepted(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	serving := strings.TrimSpace(strings.TrimPrefix(string(plugin(t, "upper")), "#!"))
	program := []byte("#!/bin/sh\ntouch '" + ran + "'\nexec '" + serving + "'\n")
	files := []string{filepath.Dir(ran) + ":rw", serving + ":ro"}
	address, transport := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(program) }))
	cfg := config(t)
	cfg.Transport = transport
	refusal := errors.New("no")
	for name, c := range map[string]struct {
		accept func(context.Context, string, int64) error
		is     func(error) bool
	}{
		"nobody":  {nil, func(err error) bool { return fault.Is(err, install.CodeDigest) }},
		"refused": {func(context.Context, string, int64) error { return refusal }, func(err error) bool { return errors.Is(err, refusal) }},
	} {
		if _, err := install.Install(t.Context(), cfg, install.Request{From: address + "/upper", AllowFiles: files, Accept: c.accept}); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(ran); err == nil || len(contents(t, cfg.Host.PluginDir)) > 0 {
		t.Error("the program was started or installed")
	}
	must(t, cfg, install.Request{From: address + "/upper", AllowFiles: files, Accept: func(_ context.Context, digest string, size int64) error {
		if _, err := os.Stat(ran); err == nil {
			t.Error("the program was started before it was accepted")
		}
		if digest != digestOf(program) || size != int64(len(program)) {
			t.Errorf("asked about %s, %d bytes", digest, size)
		}
		return nil
	}})
	starts(t, cfg, "upper")
}

// TestDownloadFails: a server's failure is coded, tells no token, and leaves nothing.
func TestDownloadFails(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	hold := make(chan struct{})
	defer close(hold)
	mux := http.NewServeMux()
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	mux.HandleFunc("/404", answer(404))
	mux.HandleFunc("/403", answer(403))
	mux.HandleFunc("/429", answer(429))
	mux.HandleFunc("/503", answer(503))
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("#!/bin/sh\n"))
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(host.MaxProgram+1))
		_, _ = w.Write([]byte("#!/bin/sh\n"))
	})
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/upper?token=geheim", http.StatusFound)
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/round?token=geheim", http.StatusFound)
	})
	wait := func(r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { wait(r) })
	mux.HandleFunc("/stalls", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("#!/bin/sh\n"))
		w.(http.Flusher).Flush()
		wait(r)
	})
	address, transport := serve(t, mux)
	for _, c := range []struct {
		path, code string
		class      fault.Class
		says       string
		retryable  bool
	}{
		{"/404", install.CodeDownload, fault.Connect, "the server answered 404", false},
		{"/403", install.CodeDownload, fault.Connect, "the server answered 403", false},
		{"/429", install.CodeDownload, fault.Connect, "the server answered 429", true},
		{"/503", install.CodeDownload, fault.Connect, "the server answered 503", true},
		{"/cut", install.CodeDownload, fault.Connect, "unexpected EOF", true},
		{"/huge", "plugin.program", fault.Usage, "is larger than 512 MiB", false},
		{"/plain", install.CodeDownload, fault.Connect, "leads to an address without https", false},
		{"/round", install.CodeDownload, fault.Connect, "more than 5 times", false},
		{"/silent", install.CodeDownload, fault.Connect, "nothing came for 300ms", true},
		{"/stalls", install.CodeDownload, fault.Connect, "nothing came for 300ms", true},
	} {
		t.Run(c.path[1:], func(t *testing.T) {
			cfg := config(t)
			cfg.Transport, cfg.Stall = transport, time.Minute
			if strings.HasPrefix(c.says, "nothing came") {
				cfg.Stall = 300 * time.Millisecond // of the others, the machine may be slow
			}
			_, err := install.Install(t.Context(), cfg, install.Request{From: address + c.path + "?token=geheim", SHA256: strings.Repeat("0", 64)})
			f := fault.From(err)
			if f == nil || f.Code != c.code || f.Class != c.class || f.Retryable != c.retryable || !strings.Contains(f.Message, c.says) || !strings.Contains(f.Message, address+c.path) {
				t.Fatalf("got %+v", f)
			}
			if strings.Contains(f.Message+f.Hint, "geheim") {
				t.Errorf("it shows the token: %v", f)
			}
			if got := contents(t, cfg.Host.PluginDir); len(got) != 0 {
				t.Errorf("the folder has %q", got)
			}
		})
	}
	t.Run("untrusted", func(t *testing.T) {
		_, err := install.Install(t.Context(), config(t), install.Request{From: address + "/404?token=geheim", SHA256: strings.Repeat("0", 64)})
		f := fault.From(err)
		if f == nil || f.Code != install.CodeDownload || !strings.Contains(f.Message, "certificate") || strings.Contains(f.Message, "geheim") {
			t.Errorf("got %+v", f)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		cfg := config(t)
		cfg.Transport = transport
		reason := errors.New("nobody waits any more")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := install.Install(ctx, cfg, install.Request{From: address + "/stalls", SHA256: strings.Repeat("0", 64), Progress: func(done, _ int64) {
			if done > 0 {
				cancel(reason)
			}
		}})
		if !errors.Is(err, reason) {
			t.Errorf("got %v", err)
		}
	})
}
