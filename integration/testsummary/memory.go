package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	// memory is where Linux keeps a file system in memory for everybody.
	memory = "/dev/shm"
	// memoryFree is what must be free there: the folders of a few database servers at once, and what tests write.
	memoryFree = 8 << 30
	// marker is the file of a folder of ours that its process holds locked. What lacks it is never removed.
	marker = ".cipherstream-tests"
)

// folder is a folder for the temporary files of the tests.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a folder in root, where free bytes must be free, and removes those of killed processes that it meets.
// Its name is short, because paths of unix sockets must be.
func newFolder(root string, free int64) (*folder, error) {
	if err := roomy(root, free); err != nil {
		return nil, err
	}
	for i := range 100 {
		path := filepath.Join(root, "cs"+strconv.Itoa(i))
		err := os.Mkdir(path, 0o700)
		if errors.Is(err, fs.ErrExist) {
			if old := takeOver(path); old != nil {
				old.remove()
			}
			err = os.Mkdir(path, 0o700)
		}
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Locked before it has its name, so that nobody takes it for one that was left.
		lock, err := os.Create(filepath.Join(path, "new"))
		if err != nil {
			return nil, err
		}
		f := &folder{path, lock}
		if err := errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX), os.Rename(lock.Name(), filepath.Join(path, marker))); err != nil {
			f.remove()
			return nil, err
		}
		return f, nil
	}
	return nil, fmt.Errorf("%s has too many folders of that name", root)
}

// takeOver returns the folder of ours at path whose process is dead, or nil.
func takeOver(path string) *folder {
	lock, err := os.OpenFile(filepath.Join(path, marker), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		lock.Close()
		return nil
	}
	return &folder{path, lock}
}

// remove removes the folder and all that is in it.
func (f *folder) remove() {
	_ = os.RemoveAll(f.path) // what another process still writes there is gone with it
	f.lock.Close()
}
