//go:build unix

// Package partial makes the files that are on their way to a name, and removes those whose owner has died. A file is
// locked (flock(2)) from when it is made until it has its name or is gone, so that it can be seen whether somebody is
// at work on it, whatever process or run that is. It owns who may remove what; it never chooses a name.
package partial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// File is a file that its owner is writing.
type File struct {
	*os.File
	lock *os.File // another descriptor of the same open file
}

// attempts is how often a file is made whose name somebody takes away before it is locked.
const attempts = 100

// Create makes a file that nobody else may read. It fails where something has the name already.
func Create(path string) (*File, error) {
	for range attempts {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		lock, err := lockOf(file)
		if err != nil {
			return nil, errors.Join(err, file.Close(), os.Remove(path))
		}
		// Before it was locked it looked as if its owner had died.
		if mine, err := file.Stat(); err == nil {
			if there, err := os.Lstat(path); err == nil && os.SameFile(mine, there) {
				return &File{file, lock}, nil
			}
		}
		file.Close()
		lock.Close()
	}
	return nil, fmt.Errorf("%s was removed by somebody else, %d times", path, attempts)
}

// lockOf locks a file that was just made. A file system without locks is no error: nothing can be told of its files.
func lockOf(file *os.File) (lock *os.File, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again int
	var failed error
	err = raw.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		// Whoever holds it for a moment looks whether its owner has died.
		for failed = syscall.EINTR; failed == syscall.EINTR; {
			failed = syscall.Flock(int(fd), syscall.LOCK_EX)
		}
		if failed != nil && !unlockable(failed) {
			return
		}
		if again, failed = syscall.Dup(int(fd)); failed == nil {
			syscall.CloseOnExec(again)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(again), file.Name()), nil
}

// Release says that nobody is at work on the file any more. Close does not: the file may have to get its name yet.
func (f *File) Release() {
	f.lock.Close()
}

// unlockable reports whether a file system has no locks.
func unlockable(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err,
		syscall.ENOSYS) || errors.Is(err, syscall.EINVAL)
}

// Owner says whether somebody is at work on a file.
type Owner int

// The owners.
const (
	Unknown Owner = iota // the file system does not tell
	Alive
	Dead
)

// OwnerOf asks about a file of this user's. What is no such file, or gone, has an owner that nobody knows.
func OwnerOf(path string) Owner {
	owner, file, root := probe(path)
	if file != nil {
		file.Close()
	}
	if root != nil {
		root.Close()
	}
	return owner
}

// RemoveDead removes a file whose owner has died, and says whose it was. It follows no link in the place of the file,
// and removes nothing but a file of this user's. What is gone already is Dead.
func RemoveDead(path string) (Owner, error) {
	owner, file, root := probe(path)
	if root == nil {
		return Dead, nil // without its folder it is gone
	}
	defer root.Close()
	if file == nil {
		if _, err := root.Lstat(filepath.Base(path)); errors.Is(err, fs.ErrNotExist) {
			return Dead, nil
		}
		return owner, nil
	}
	defer file.Close()
	if owner != Dead {
		return owner, nil
	}
	// It is locked by file: nobody else removes it and makes another of the name.
	if err := root.Remove(filepath.Base(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return owner, err
	}
	return owner, nil
}

// probe opens a file through its folder, and locks it where its owner is dead.
func probe(path string) (owner Owner, file *os.File, root *os.Root) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return Unknown, nil, nil
	}
	name := filepath.Base(path)
	there, err := root.Lstat(name)
	if err != nil || !there.Mode().IsRegular() || !own(there) {
		return Unknown, nil, root
	}
	file, err = root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Unknown, nil, root
	}
	switch err := flock(file); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return Alive, file, root
	case err != nil:
		return Unknown, file, root
	}
	// Of the name it may be another by now.
	opened, err := file.Stat()
	if err != nil || !os.SameFile(there, opened) {
		return Unknown, file, root
	}
	if there, err = root.Lstat(name); err != nil || !os.SameFile(there, opened) {
		return Unknown, file, root
	}
	return Dead, file, root
}

func flock(file *os.File) (err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
	return errors.Join(err, failed)
}

func own(info fs.FileInfo) bool {
	stat, is := info.Sys().(*syscall.Stat_t)
	return is && int(stat.Uid) == os.Geteuid()
}
