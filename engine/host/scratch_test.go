package host_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// folder makes a directory with files in it, and returns its path.
func folder(t *testing.T, parent, name string, files ...string) string {
	t.Helper()
	path := filepath.Join(parent, name)
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

// leavingHost is an argument with which this test binary is a host that ends without closing anything.
const leavingHost = "leave-a-private-directory"

func leave() {
	h, err := host.New(host.Config{FirstParty: bundle(firstParty)})
	if err == nil {
		var dir string
		dir, err = h.NewDir()
		fmt.Print(filepath.Dir(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// dead has a host die, and returns the private directory that it leaves in tmp.
func dead(t *testing.T, tmp string) string {
	t.Helper()
	elsewhere, err := os.MkdirTemp("/tmp", "cs") // it would sweep tmp
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(elsewhere)
	cmd := exec.Command(ownPath(t), leavingHost)
	cmd.Env = append(os.Environ(), "TMPDIR="+elsewhere)
	cmd.Stderr = os.Stderr
	left, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(tmp, filepath.Base(string(left)))
	if err := os.Rename(string(left), path); err != nil {
		t.Fatal(err)
	}
	return path
}

func ownPath(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
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

// TestSweep: a host removes what dead hosts left, and nothing else, whatever it is called.
func TestSweep(t *testing.T) {
	tmp := shortTemp(t)
	living := newHost(t)
	defer living.Close()
	kept, err := living.NewDir()
	if err != nil {
		t.Fatal(err)
	}
	full := dead(t, tmp)
	folder(t, full, "1", "plugin123", "deep/er/\xff")
	if err := os.Chmod(filepath.Join(full, "1", "deep"), 0); err != nil { // as a plugin may leave it
		t.Fatal(err)
	}
	marker := filepath.Join(full, ".cipherstream-scratch")
	name := filepath.Base(full)
	prefix := strings.TrimRight(name, "0123456789")

	// The user's own: by names that the program used to take for its own, by names like that of the
	// private directory, and by content like the private directory's.
	own := []string{
		folder(t, tmp, "cipherstream-main", "README.md"),
		folder(t, tmp, "cipherstream-1", "1/plugin123"),
		folder(t, tmp, "cipherstream-objects", "appointments.ndjson"),
		folder(t, tmp, prefix+"1", "rows.csv"),
		folder(t, tmp, prefix+"2"),
		folder(t, tmp, prefix+"3", ".cipherstream-scratch"),
		filepath.Join(tmp, prefix+"4"), // a copy of a private directory
		filepath.Join(tmp, prefix+"5"), // one that others may write to
		filepath.Join(tmp, "renamed"),
	}
	text, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range own[6:] {
		folder(t, filepath.Dir(path), filepath.Base(path))
		marked := strings.Replace(string(text), name, filepath.Base(path), 1)
		if path == own[6] {
			marked = string(text)
		}
		if err := os.WriteFile(filepath.Join(path, ".cipherstream-scratch"), []byte(marked), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(own[7], 0o777); err != nil {
		t.Fatal(err)
	}
	// Links to what would be swept, and a marker that is one.
	outside := dead(t, tmp)
	elsewhere := filepath.Join(t.TempDir(), filepath.Base(outside))
	if err := os.Rename(outside, elsewhere); err != nil {
		t.Fatal(err)
	}
	linked := folder(t, tmp, prefix+"6")
	for link, to := range map[string]string{outside: elsewhere, filepath.Join(linked, ".cipherstream-scratch"): filepath.Join(elsewhere, ".cipherstream-scratch")} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	// A host that dies between making its directory and marking it, or removing the marker and it.
	unmarked, filled, empty, cut, other := dead(t, tmp), dead(t, tmp), dead(t, tmp), dead(t, tmp), dead(t, tmp)
	for _, path := range []string{unmarked, filled, empty, cut, other} {
		if err := os.Remove(filepath.Join(path, ".cipherstream-scratch")); err != nil {
			t.Fatal(err)
		}
		for _, sub := range names(t, path) {
			if err := os.Remove(filepath.Join(path, sub)); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder(t, tmp, filepath.Base(filled), "rows.csv")
	for path, marker := range map[string]string{empty: "", cut: "A private directory of", other: "A private diary"} {
		if err := os.WriteFile(filepath.Join(path, ".cipherstream-scratch"), []byte(marker), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own = append(own, filled, other)
	own = append(own, outside, elsewhere, filepath.Join(elsewhere, ".cipherstream-scratch"), linked)

	h := newHost(t)
	defer h.Close()
	if _, err := os.Lstat(full); err != nil {
		t.Errorf("a host that needs no private directory has swept: %v", err)
	}
	if _, err := h.NewDir(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{full, unmarked, empty, cut} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what a dead host left is still there: %s, %v", path, err)
		}
	}
	for _, path := range append(own, kept) {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("it removed what was not a dead host's: %v", err)
		}
	}
}

// TestSweepOfOthers: what another user has made to look like a private directory stays.
func TestSweepOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a directory of another user")
	}
	tmp := shortTemp(t)
	theirs, mixed := dead(t, tmp), dead(t, tmp)
	const nobody = 65534
	for _, path := range []string{theirs, filepath.Join(theirs, ".cipherstream-scratch"), filepath.Join(mixed, ".cipherstream-scratch")} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	h := newHost(t)
	defer h.Close()
	if _, err := h.NewDir(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{theirs, mixed} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("it removed what another user had put there: %v", err)
		}
	}
}

// TestHostsStartingTogether: sweeping never takes a directory that another host is
// about to use, nor stumbles over another that sweeps.
func TestHostsStartingTogether(t *testing.T) {
	tmp := shortTemp(t)
	for range 4 {
		dead(t, tmp)
	}
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
	h := newHost(t) // which is enough to read pipelines
	if _, err := h.NewDir(); !fault.Is(err, "host.directory") {
		t.Errorf("got %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
