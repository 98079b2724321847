//go:build unix

package partial

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestOwner: a file has a living owner until it is released, also when it is closed or has another name by then.
func TestOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, final := filepath.Join(dir, "on its way"), filepath.Join(dir, "final")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); !os.IsExist(err) {
		t.Errorf("a second one of the name: %v", err)
	}
	held := func(when, path string, want Owner) {
		t.Helper()
		if got := OwnerOf(path); got != want {
			t.Errorf("%s: the owner is %d, want %d", when, got, want)
		}
	}
	held("while it is written", path, Alive)
	if owner, err := RemoveDead(path); owner != Alive || err != nil {
		t.Errorf("RemoveDead: %d, %v", owner, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	held("closed", path, Alive)
	if err := os.Rename(path, final); err != nil {
		t.Fatal(err)
	}
	held("renamed", final, Alive)
	f.Release()
	held("released", final, Dead)
	if owner, err := RemoveDead(final); owner != Dead || err != nil {
		t.Errorf("RemoveDead: %d, %v", owner, err)
	}
	if owner, err := RemoveDead(final); owner != Dead || err != nil {
		t.Errorf("RemoveDead of what is gone: %d, %v", owner, err)
	}
	if owner, err := RemoveDead(filepath.Join(dir, "no folder", "x")); owner != Dead || err != nil {
		t.Errorf("RemoveDead of what has no folder: %d, %v", owner, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestRemovesFilesOnly: what is no file of this user's stays, and so does what a link leads to.
func TestRemovesFilesOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for _, err := range []error{
		os.WriteFile(target, []byte("x"), 0o600), os.Symlink(target, filepath.Join(dir, "link")),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"link", "folder", "pipe"} {
		if owner, err := RemoveDead(filepath.Join(dir, name)); owner != Unknown || err != nil {
			t.Errorf("%s: %d, %v", name, owner, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestCreateAgainstRemovers: somebody who removes what looks dead while files are made takes none from its owner.
func TestCreateAgainstRemovers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "contended")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = RemoveDead(path)
			}
		}
	}()
	for range 500 {
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("a file of a living owner is gone: %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		f.Close()
		f.Release()
	}
	close(stop)
	<-stopped
}
