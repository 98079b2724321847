package datakey_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func open(t *testing.T, dir string) *datakey.Key {
	t.Helper()
	k, err := datakey.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTheKeyStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := []byte("a sealing key")
	sealed := open(t, dir).Seal("sealing", "c/1", text)
	got, err := open(t, dir).Open("sealing", "c/1", sealed)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("it opens as %q, %v", got, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("there are more files than the key's: %v, %v", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode is %v: %v", info.Mode(), err)
	}
	inFile, err := os.ReadFile(filepath.Join(dir, datakey.FileName))
	if err != nil {
		t.Fatal(err)
	}
	// The same key as a secret of the configuration.
	k, err := datakey.Parse(config.NewSecret(string(inFile)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open("sealing", "c/1", sealed); err != nil {
		t.Error(err)
	}
}

func TestSealedOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	k, another := open(t, t.TempDir()), open(t, t.TempDir())
	text := []byte("a sealing key")
	sealed := k.Seal("sealing", "c/1", text)
	if bytes.Contains(sealed, text) || bytes.Equal(sealed, k.Seal("sealing", "c/1", text)) {
		t.Error("the text shows, or is sealed the same way twice")
	}
	altered := bytes.Clone(sealed)
	altered[len(altered)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another place":   func() ([]byte, error) { return k.Open("sealing", "c/2", sealed) },
		"another purpose": func() ([]byte, error) { return k.Open("objects", "c/1", sealed) },
		"another key":     func() ([]byte, error) { return another.Open("sealing", "c/1", sealed) },
		"altered":         func() ([]byte, error) { return k.Open("sealing", "c/1", altered) },
		"cut":             func() ([]byte, error) { return k.Open("sealing", "c/1", sealed[:5]) },
		"empty":           func() ([]byte, error) { return k.Open("sealing", "c/1", nil) },
	} {
		if got, err := open(); got != nil || !fault.Is(err, datakey.CodeOpen) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestNoKey(t *testing.T) {
	t.Parallel()
	short := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 31))
	for _, text := range []string{"", short, "not base64 at all", strings.Repeat("A", 44), strings.Repeat("A", 5000)} {
		dir := t.TempDir()
		path := filepath.Join(dir, datakey.FileName)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, inFile := datakey.Open(dir)
		_, asSecret := datakey.Parse(config.NewSecret(text))
		for _, err := range []error{inFile, asSecret} {
			if !fault.Is(err, datakey.CodeKey) || len(text) > 8 && strings.Contains(err.Error(), text[:8]) {
				t.Errorf("%.50q: expected %s without the text, got %v", text, datakey.CodeKey, err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text+"\n" {
			t.Errorf("the file was changed: %.50q, %v", got, err)
		}
	}
}

func TestFileOfOthers(t *testing.T) {
	t.Parallel()
	refused := func(dir, says string) {
		t.Helper()
		if _, err := datakey.Open(dir); !fault.Is(err, datakey.CodeKey) || !strings.Contains(err.Error(), says) {
			t.Errorf("expected %s with %q, got %v", datakey.CodeKey, says, err)
		}
	}
	dir := t.TempDir()
	open(t, dir)
	path := filepath.Join(dir, datakey.FileName)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	refused(dir, "other users")

	linked := t.TempDir()
	if err := os.Symlink(path, filepath.Join(linked, datakey.FileName)); err != nil {
		t.Fatal(err)
	}
	refused(linked, "symbolic links")

	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, datakey.FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	refused(folder, "no plain file")

	refused(filepath.Join(dir, "nowhere"), "no such file")
}

// TestDerive: a purpose has one key of 32 bytes, which is another than that of any other purpose, or of another directory.
func TestDerive(t *testing.T) {
	t.Parallel()
	k, another := open(t, t.TempDir()), open(t, t.TempDir())
	objects := k.Derive("objects")
	if len(objects) != 32 || !bytes.Equal(objects, k.Derive("objects")) {
		t.Errorf("%d bytes", len(objects))
	}
	if bytes.Equal(objects, k.Derive("links")) || bytes.Equal(objects, another.Derive("objects")) {
		t.Error("two keys are the same")
	}
}
