package engine_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/cipherstream/cipherstream/engine"
)

// TestPluginsAreAskedLate: a plugin is started for what may need it, and for nothing else: a pipeline that does not ask
// for it neither waits for it nor hears of it.
func TestPluginsAreAskedLate(t *testing.T) {
	dir := t.TempDir()
	program := []byte("#!/bin/sh\necho it was started >&2\nexit 3\n")
	if err := os.WriteFile(filepath.Join(dir, "slow"), program, 0o700); err != nil {
		t.Fatal(err)
	}
	lock := fmt.Sprintf("plugins:\n  - {name: slow, version: 1.0.0, file: slow, sha256: %x}\n", sha256.Sum256(program))
	if err := os.WriteFile(filepath.Join(dir, "plugins.lock"), []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	e, err := engine.New(t.Context(), engine.Config{
		FirstParty: stages(), Args: []string{"serve-test-plugin"}, PluginDir: dir, Log: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil)),
		Catalogue: fstest.MapFS{
			"counting.yaml": {Data: []byte(counting)},
			"slow.yaml":     {Data: []byte(strings.Replace(counting, "use: pass", "use: slow/pass", 1))},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	started := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), "it was started")
	}
	if diags := e.Lint("counting"); len(diags) > 0 {
		t.Errorf("%+v", diags)
	}
	prepared, diags := e.Prepare("counting")
	if prepared == nil {
		t.Fatalf("%+v", diags)
	}
	if _, diags := prepared.Bind(engine.Inputs{End: engine.EndCaller, Customer: engine.Customer{ID: "c"}}); len(diags) > 0 {
		t.Errorf("%+v", diags)
	}
	if started() {
		t.Errorf("it was started for another's pipeline: %s", log.String())
	}
	if diags := e.Lint("slow"); len(diags) != 1 || !strings.Contains(diags[0].Message, `"slow/pass" cannot be had`) || !started() {
		t.Errorf("%+v\n%s", diags, log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
