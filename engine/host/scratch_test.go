package host_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

// dead makes a directory as a dead host leaves it, and returns its path.
func dead(t *testing.T, tmp, name string, files ...string) string {
	t.Helper()
	path := filepath.Join(tmp, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f = filepath.Join(path, f)
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func newHost(t *testing.T) *host.Host {
	t.Helper()
	h, err := host.New(host.Config{FirstParty: bundle(firstParty)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSweep(t *testing.T) {
	tmp := shortTemp(t)
	living := newHost(t)
	defer living.Close()
	kept, err := living.NewDir()
	if err != nil {
		t.Fatal(err)
	}
	left := []string{
		dead(t, tmp, "cipherstream-1", "1/plugin123", "2/e1"),
		dead(t, tmp, "cipherstream-2", "lock"),
		dead(t, tmp, "cipherstream-3"), // died as it began, or as it ended
	}
	other := dead(t, tmp, "otherstream-1", "lock")
	outside := dead(t, t.TempDir(), "elsewhere", "lock")
	link := filepath.Join(tmp, "cipherstream-link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}

	h := newHost(t)
	defer h.Close()
	for _, path := range left {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("a dead host's %s is still there: %v", path, err)
		}
	}
	for _, path := range []string{kept, other, link, outside, filepath.Join(outside, "lock")} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("it removed what was not a dead host's: %v", err)
		}
	}
}

// TestHostsStartingTogether: sweeping never takes a directory that another host is
// about to use.
func TestHostsStartingTogether(t *testing.T) {
	shortTemp(t)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 25 {
				h, err := host.New(host.Config{FirstParty: bundle(firstParty)})
				if err != nil {
					t.Errorf("a host could not start beside others: %v", err)
					return
				}
				if _, err := h.NewDir(); err != nil {
					t.Errorf("a host has lost its directory to another: %v", err)
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if left := names(t, os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestLongTemporaryFolder: sockets in a private directory need a short path.
func TestLongTemporaryFolder(t *testing.T) {
	long := filepath.Join(t.TempDir(), "a-folder-with-a-name-that-is-much-too-long-for-a-socket-in-it")
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	h := newHost(t)
	dir, err := h.NewDir()
	if err != nil || len(dir) > 70 {
		t.Errorf("%s, %v", dir, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestNoTemporaryFolder(t *testing.T) {
	t.Setenv("TMPDIR", "/does/not/exist")
	_, err := host.New(host.Config{FirstParty: bundle(firstParty)})
	if err == nil {
		t.Fatal("it started")
	}
}
