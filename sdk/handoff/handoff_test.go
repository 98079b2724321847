//go:build unix

package handoff

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

func TestHandOver(t *testing.T) {
	dir := t.TempDir()
	r, w := pipe(t)
	address, stop, err := Offer(t.Context(), dir, w)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := Take(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping again: %v", err)
	}
	empty(t, dir)
	// The descriptor is one of its own: closing this one leaves it open.
	w.Close()
	if _, err := taken.WriteString("through"); err != nil {
		t.Fatal(err)
	}
	taken.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "through" {
		t.Errorf("read %q (%v)", text, err)
	}
}

func TestOnlyOnce(t *testing.T) {
	_, w := pipe(t)
	address, stop, err := Offer(t.Context(), t.TempDir(), w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	first, err := Take(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if second, err := Take(t.Context(), address); err == nil {
		second.Close()
		t.Error("the file was given twice")
	}
}

// TestStranger: who does not say the word is given nothing, and keeps nobody else from it.
func TestStranger(t *testing.T) {
	_, w := pipe(t)
	address, stop, err := Offer(t.Context(), t.TempDir(), w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	path, word := cutWord(address)
	if len(word) != 32 {
		t.Fatalf("the address %q has a word of %d bytes", address, len(word))
	}
	silent, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if got, err := Take(t.Context(), path+separator+strings.Repeat("0f", 32)); err == nil {
		got.Close()
		t.Error("it was given to who said another word")
	}
	taken, err := Take(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	taken.Close()
	if n, err := silent.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("it was given to who said nothing")
	}
}

func TestNobodyAsks(t *testing.T) {
	for name, end := range map[string]func(cancel func()){"stop": func(func()) {}, "cancel": func(cancel func()) { cancel() }} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, w := pipe(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, stop, err := Offer(ctx, dir, w)
			if err != nil {
				t.Fatal(err)
			}
			end(cancel)
			if err := stop(); err != nil {
				t.Error(err)
			}
			empty(t, dir)
		})
	}
}

func TestTakeFails(t *testing.T) {
	if _, err := Take(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	// A server that talks, but gives nothing.
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan net.Conn, 2)
	go func() {
		for range 2 {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	result := make(chan error, 1)
	go func() {
		_, err := Take(t.Context(), path)
		result <- err
	}()
	conn := <-accepted
	conn.Write([]byte{0})
	if err := <-result; err == nil || !strings.Contains(err.Error(), "expected one descriptor, got 0") {
		t.Errorf("no descriptor: %v", err)
	}
	conn.Close()

	// A server that says nothing.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := Take(ctx, path)
		result <- err
	}()
	conn = <-accepted
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	conn.Close()
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, w := pipe(t)
	if _, _, err := Offer(t.Context(), dir, w); err == nil || !strings.Contains(err.Error(), "bytes; at most") {
		t.Errorf("got %v", err)
	}
	empty(t, dir)
}
