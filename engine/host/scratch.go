package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	scratchPrefix = "cipherstream-"
	// longestTemp keeps socket paths below the limit of sockaddr_un, which is 104
	// bytes on macOS and 108 on Linux.
	longestTemp = 40
	// scratchTries bounds how often a directory is made anew because another host
	// swept it away before it was locked.
	scratchTries = 100
)

// scratch is the host's private directory. A lock on the directory itself shows
// that its host lives, so that others can remove what dead hosts left.
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
	var err error
	for range scratchTries {
		var path string
		if path, err = os.MkdirTemp(base, scratchPrefix); err != nil { // mode 0700
			return nil, fault.New("host.directory", fault.Internal, "cannot make a private directory in %s: %w", base, errors.Unwrap(err)).
				WithHint("set TMPDIR to a directory that can be written")
		}
		var lock *os.File
		if lock, err = lockDirectory(path); err == nil {
			return &scratch{path: path, lock: lock}, nil
		}
		if !errors.Is(err, errSwept) {
			os.RemoveAll(path)
			break
		}
	}
	return nil, fault.New("host.directory", fault.Internal, "cannot lock a private directory in %s: %w", base, err).
		WithHint("set TMPDIR to a directory on a local disk")
}

// remove keeps the lock to the end: what is left when it is cut short is not locked.
func (s *scratch) remove() error {
	err := removeTree(s.path)
	s.lock.Close()
	return err
}

// errSwept means that somebody else has the directory, or has removed it.
var errSwept = errors.New("another program removed it")

// lockDirectory locks a directory until the file is closed.
func lockDirectory(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errSwept
	}
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		// The path may be gone, or lead to another directory by now.
		var locked, there os.FileInfo
		if locked, err = lock.Stat(); err == nil {
			if there, err = os.Lstat(path); errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(locked, there) {
				err = errSwept
			}
		}
	} else if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errSwept
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// sweep removes the directories of this user's dead hosts. It may take one that is
// being made at this moment, whose maker then makes another.
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
		if lock, err := lockDirectory(path); err == nil {
			removeTree(path) // the next sweep tries again
			lock.Close()
		}
	}
}

// removeTree removes a directory of which a plugin may have closed parts to everybody,
// which is no hindrance for root alone. Nobody works in it any more.
func removeTree(path string) error {
	if err := os.RemoveAll(path); err == nil {
		return nil
	}
	_ = filepath.WalkDir(path, func(at string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(at, 0o700) // before what is in it is read
		}
		return nil
	})
	return os.RemoveAll(path)
}
