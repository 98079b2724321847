package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSeenProgram: a program whose state was seen is not read again, and one with another state is.
func TestSeenProgram(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) *os.File {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o500); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	state := func(file *os.File) fileState {
		t.Helper()
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return stateOfInfo(info)
	}
	original, copied := write("original", "another content"), write("copy", "the copy")
	want := strings.Repeat("0", 64)
	// What was seen is taken for it, although the content shows here that it was not read.
	c := &programCopy{path: copied.Name(), made: state(copied), original: original.Name(), seen: state(original)}
	if digest, err := (&Host{}).verify(t.Context(), c, original, want); err != nil || digest != want {
		t.Errorf("one that was seen: %s, %v", digest, err)
	}
	c.seen.size++
	if digest, err := (&Host{}).verify(t.Context(), c, original, want); err != nil || digest == want || c.original != "" {
		t.Errorf("one that has changed: %s, %v", digest, err)
	}
	if s := state(original); s.settledBefore(time.Now()) || !s.settledBefore(time.Now().Add(time.Minute)) {
		t.Error("a file is known again by its state a while after its last change, and not before")
	}
}
