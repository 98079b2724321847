package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

func journalling(t *testing.T, dir string) *Host {
	t.Helper()
	h, err := New(Config{FirstParty: runnertest.Bundle("test"), TempDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func leftover(name string) Leftover {
	return Leftover{Plugin: "test", Kind: stage.KindSink, Stage: "file", Resource: stage.Resource{Name: name, State: []byte(name), RunID: "r1"}}
}

// shown lists what is left, and says what of it is over.
func shown(h *Host, over ...string) (names []string) {
	h.Leftovers(func(list []Leftover) []bool {
		done := make([]bool, len(list))
		for i, l := range list {
			names = append(names, l.Resource.Name)
			done[i] = slices.Contains(over, l.Resource.Name)
		}
		return done
	})
	slices.Sort(names)
	return names
}

// die lets a host's lock go, as its death does.
func die(h *Host) {
	h.dir.lock.Close()
	h.dir = nil
}

// tempDir is a directory with a short path.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestJournal: what a living host keeps nobody is shown; what a dead one kept is shown until it is over, and then
// nothing of that host is left.
func TestJournal(t *testing.T) {
	dir := tempDir(t)
	living, dead := journalling(t, dir), journalling(t, dir)
	for _, name := range []string{"first", "second", "forgotten"} {
		forget, err := dead.Keep(leftover(name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "forgotten" {
			forget()
		}
	}
	if err := os.WriteFile(filepath.Join(dead.dir.path, "rows"), []byte("rows"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := living.Keep(leftover("of the living")); err != nil {
		t.Fatal(err)
	}
	if got := shown(living); got != nil {
		t.Errorf("of living hosts there are shown %v", got)
	}
	path := dead.dir.path
	die(dead)
	next := journalling(t, dir)
	if _, err := next.NewDir(); err != nil { // sweeps
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(path, "rows")); err == nil {
		t.Error("of a dead host more is left than its journal")
	}
	for _, c := range []struct{ over, want string }{{"", "first second"}, {"first", "first second"}, {"", "second"}, {"second", "second"}, {"", ""}} {
		if got := strings.Join(shown(next, c.over), " "); got != c.want {
			t.Errorf("shown are %q, want %q", got, c.want)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the directory of the dead host is left")
	}
}

// TestJournalOfClosedHost: what could not be undone is for the next host, and a host that has nothing leaves nothing.
func TestJournalOfClosedHost(t *testing.T) {
	dir := tempDir(t)
	for _, keeps := range []bool{true, false} {
		h := journalling(t, dir)
		forget, err := h.Keep(leftover("x"))
		if err != nil {
			t.Fatal(err)
		}
		if !keeps {
			forget()
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		want := 0
		if keeps {
			want = 1
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != want {
			t.Errorf("keeps %t: left are %v, %v", keeps, left, err)
		}
		if got := shown(journalling(t, dir), "x"); len(got) != want {
			t.Errorf("keeps %t: shown are %v", keeps, got)
		}
	}
}

// TestJournalHostile: what is no entry, or an old one, is not shown, and keeps no directory.
func TestJournalHostile(t *testing.T) {
	dir := tempDir(t)
	secret := filepath.Join(t.TempDir(), "secret")
	text := []byte(`{"plugin":"test","kind":"sink","stage":"file","resource":{"Name":"linked"}}`)
	if err := os.WriteFile(secret, text, 0o600); err != nil {
		t.Fatal(err)
	}
	h := journalling(t, dir)
	if _, err := h.Keep(leftover("old")); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(h.dir.path, journalName)
	entries, err := os.ReadDir(journal)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-journalKept - time.Hour)
	if err := os.Chtimes(filepath.Join(journal, entries[0].Name()), past, past); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"garbage": "\x00\xff", "half": `{"plugin":"te`, "long": strings.Repeat(" ", 1<<20) + string(text)} {
		if err := os.WriteFile(filepath.Join(journal, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(journal, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(journal, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	die(h)
	next := journalling(t, dir)
	if got := strings.Join(shown(next), " "); got != "old" && got != "" {
		t.Errorf("shown are %q", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := os.Lstat(secret); err != nil {
		t.Error(err)
	}
}

// TestHalfMarker: a host that dies while it marks its directory leaves nothing, and what somebody has put in such a
// directory stays.
func TestHalfMarker(t *testing.T) {
	dir := tempDir(t)
	for _, content := range []string{"", "A private directory", "something else"} {
		h := journalling(t, dir)
		if _, err := h.NewDir(); err != nil {
			t.Fatal(err)
		}
		path := h.dir.path
		if err := os.RemoveAll(filepath.Join(path, "1")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, scratchMarker), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		die(h)
		sweep(dir)
		if _, err := os.Lstat(path); (err == nil) != (content == "something else") {
			t.Errorf("with a marker of %q: %v", content, err)
		}
	}
}
