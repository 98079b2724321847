package host

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	scratchPrefix = "cipherstream-"
	scratchLock   = "lock"
	// longestTemp keeps socket paths below the limit of sockaddr_un, which is 104
	// bytes on macOS and 108 on Linux.
	longestTemp = 40
)

// scratch is the host's private directory. A lock on a file in it shows that its
// host lives, so that others can remove what dead hosts left.
type scratch struct {
	path string
	lock *os.File
}

func newScratch() (*scratch, error) {
	base := os.TempDir()
	if len(base) > longestTemp {
		base = "/tmp"
	}
	sweep(base)
	path, err := os.MkdirTemp(base, scratchPrefix) // mode 0700
	if err != nil {
		return nil, fault.New("host.directory", fault.Internal, "cannot make a private directory in %s: %w", base, errors.Unwrap(err)).
			WithHint("set TMPDIR to a directory that can be written")
	}
	lock, err := os.OpenFile(filepath.Join(path, scratchLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		os.RemoveAll(path)
		return nil, fault.New("host.directory", fault.Internal, "cannot lock the private directory %s: %w", path, err)
	}
	return &scratch{path: path, lock: lock}, nil
}

func (s *scratch) remove() error {
	err := os.RemoveAll(s.path)
	s.lock.Close()
	return err
}

// sweep removes the directories of this user's dead hosts.
func sweep(base string) {
	paths, _ := filepath.Glob(filepath.Join(base, scratchPrefix+"*"))
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
			continue
		}
		// A directory without its lock file is being made at this moment.
		lock, err := os.OpenFile(filepath.Join(path, scratchLock), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(path)
		}
		lock.Close()
	}
}
