package host

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	// scratchPrefix is what the names of private directories begin with, and nothing else that is named after this
	// program: no bucket, no checkout, and not the program itself.
	scratchPrefix = "cipherstream.scratch."
	// scratchDigits is how many digits follow, of which the second half is a check of the first.
	scratchDigits = 10
	// scratchMarker is the file in a private directory whose content shows that a host has made the directory.
	scratchMarker = ".cipherstream-scratch"
	// longestTemp keeps socket paths below the limit of sockaddr_un, which is 104
	// bytes on macOS and 108 on Linux: the path of a plugin's own socket is longer by up to 71.
	longestTemp = 32
)

// markerText is the content of the marker in a private directory of that name. A copy of the directory has another
// name, so that the marker in it is not valid.
func markerText(name string) string {
	return "A private directory of cipherstream, which removes it when the process that made it has ended.\n" + name + "\n"
}

// scratchName makes a name for a private directory. It contains a check of itself, so that an empty directory with such
// a name is known to belong to a host that died before it wrote the marker, or after it removed it.
func scratchName() string {
	half := scratchDigits / 2
	random := fmt.Sprintf("%0*d", half, rand.IntN(int(math.Pow10(half))))
	return scratchPrefix + random + nameCheck(random)
}

func nameCheck(digits string) string {
	half := scratchDigits / 2
	sum := sha256.Sum256([]byte(scratchPrefix + digits))
	return fmt.Sprintf("%0*d", half, binary.BigEndian.Uint32(sum[:])%uint32(math.Pow10(half)))
}

// named reports whether a name is one that scratchName makes.
func named(name string) bool {
	digits, is := strings.CutPrefix(name, scratchPrefix)
	return is && len(digits) == scratchDigits && nameCheck(digits[:scratchDigits/2]) == digits[scratchDigits/2:]
}

// scratch is the host's private directory. A lock on the directory itself shows
// that its host lives, so that others can remove what dead hosts left.
type scratch struct {
	path string
	lock *os.File
}

// scratchBase is where private directories are made.
func scratchBase(temp string) string {
	if len(temp) > longestTemp {
		return "/tmp"
	}
	return temp
}

// newScratch makes a private directory in base, and removes those of dead hosts. The marker comes
// after the lock: a directory that has one and no lock is a dead host's.
func newScratch(base string) (*scratch, error) {
	base = scratchBase(base)
	sweep(base)
	for range attempts {
		path := filepath.Join(base, scratchName())
		err := os.Mkdir(path, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fault.New("host.directory", fault.Internal, "cannot make a private directory in %s: %w", base, errors.Unwrap(err)).
				WithHint("set TMPDIR to a directory that can be written")
		}
		lock, err := claim(path)
		switch {
		case err == nil:
			return &scratch{path: path, lock: lock}, nil
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EWOULDBLOCK):
			continue // another host has taken it for a dead one's, since it had no marker yet
		}
		os.RemoveAll(path)
		var where *fs.PathError
		if errors.As(err, &where) {
			err = where.Err
		}
		return nil, fault.New("host.directory", fault.Internal, "cannot use a private directory in %s: %w", base, err).
			WithHint("set TMPDIR to a directory on a local disk that has room")
	}
	return nil, fault.New("host.directory", fault.Internal, "no private directory in %s was left to this host in %d attempts", base, attempts)
}

// attempts is how many directories a host makes until one is its own.
const attempts = 1000

// claim locks a directory that was just made, and marks it.
func claim(path string) (*os.File, error) {
	lock, err := lockDirectory(path)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(path, scratchMarker), []byte(markerText(filepath.Base(path))), 0o600); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// remove removes the directory. It keeps the lock until the end: if this process dies meanwhile the lock goes with it,
// and the next sweep removes the rest. A journal of what could not be undone stays for the next host.
func (s *scratch) remove() error {
	defer s.lock.Close()
	return sweepMarked(s.path, s.lock)
}

// lockDirectory locks a directory until the file is closed. It follows no link, and fails at once when the directory is
// locked.
func lockDirectory(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// sweep removes the private directories of this user's dead hosts. Several processes may sweep at once, because only
// one gets the lock of a directory. What cannot be removed is left to the next sweep.
func sweep(base string) {
	entries, _ := os.ReadDir(base) // without them there is nothing to remove
	for _, entry := range entries {
		path := filepath.Join(base, entry.Name())
		if !strings.HasPrefix(entry.Name(), scratchPrefix) || !entry.IsDir() || !marked(path) && !(named(entry.Name()) && private(path)) {
			continue
		}
		if lock, err := lockDirectory(path); err == nil {
			if marked(path) {
				_ = sweepMarked(path, lock) // the next sweep tries again
			} else {
				removeHalfMarker(path)
				_ = syscall.Rmdir(path) // which takes a directory, and only an empty one
			}
			lock.Close()
		}
	}
}

// removeHalfMarker removes the marker of a host that died while it wrote it, from a directory that this process has
// locked.
func removeHalfMarker(path string) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return
	}
	defer root.Close()
	info, err := root.Lstat(scratchMarker)
	if err != nil || !info.Mode().IsRegular() || !ownedByUser(info) || info.Size() >= int64(len(markerText(filepath.Base(path)))) {
		return
	}
	if text, err := root.ReadFile(scratchMarker); err == nil && strings.HasPrefix(markerText(filepath.Base(path)), string(text)) {
		_ = root.Remove(scratchMarker) // the next sweep tries again
	}
}

// sweepMarked removes the directory of a dead host. A journal that a later run may still need stays.
func sweepMarked(path string, lock *os.File) error {
	if root, err := os.OpenRoot(path); err == nil {
		defer root.Close()
		if hasJournal(root) {
			return emptyScratch(root, journalName)
		}
	}
	return removeScratch(path, lock)
}

// emptyScratch removes all that is in a private directory but the marker and, if it is named, the journal.
func emptyScratch(root *os.Root, keep string) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != scratchMarker && entry.Name() != keep {
			if err := removeWithin(root, entry.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// marked reports whether a directory is a private one of this user's hosts: this user's, closed
// to everybody else, with a marker of this user's that names it.
func marked(path string) bool {
	if !private(path) {
		return false
	}
	marker, err := os.OpenFile(filepath.Join(path, scratchMarker), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer marker.Close()
	want := markerText(filepath.Base(path))
	info, err := marker.Stat()
	if err != nil || !info.Mode().IsRegular() || !ownedByUser(info) || info.Size() != int64(len(want)) {
		return false
	}
	got := make([]byte, len(want))
	n, err := marker.ReadAt(got, 0)
	return err == nil && string(got[:n]) == want
}

// private reports whether a path is a directory of this user's that is closed to everybody else.
func private(path string) bool {
	dir, err := os.Lstat(path)
	return err == nil && dir.IsDir() && dir.Mode().Perm()&0o077 == 0 && ownedByUser(dir)
}

func ownedByUser(info os.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == os.Geteuid()
}

// removeScratch removes a private directory that this process has locked. It removes what is in the open, locked
// directory, so that another one which gets the same path meanwhile is not touched. The marker is removed last: if this
// process dies before that, the next sweep still knows the directory.
func removeScratch(path string, lock *os.File) error {
	root, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	locked, err := lock.Stat()
	if err != nil {
		return err
	}
	if there, err := root.Stat("."); err != nil || !os.SameFile(locked, there) {
		return err
	}
	if err := emptyScratch(root, ""); err != nil {
		return err
	}
	if err := root.Remove(scratchMarker); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(path) // a directory that is empty, or nothing
}

// removeTree removes a directory in which no process works any more. A plugin may have taken all permissions from parts
// of it, which hinders everybody but root: these are given back first.
func removeTree(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return removeWithin(root, filepath.Base(path))
}

func removeWithin(root *os.Root, name string) error {
	if err := root.RemoveAll(name); err == nil {
		return nil
	}
	reopenWithin(root, name)
	return root.RemoveAll(name)
}

// reopenWithin opens directories to this user again, as far as it can.
func reopenWithin(root *os.Root, name string) {
	if info, err := root.Lstat(name); err != nil || !info.IsDir() || root.Chmod(name, 0o700) != nil {
		return
	}
	dir, err := root.Open(name)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // as many as there are
	for _, entry := range names {
		reopenWithin(root, filepath.Join(name, entry))
	}
}
