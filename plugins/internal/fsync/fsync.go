// Package fsync makes names in a folder outlive a loss of power: the fsync(2) of a directory. It never writes anything
// itself.
package fsync

import (
	"errors"
	"os"
	"syscall"
)

// Directory writes the names in a folder to the disk, after a rename for instance. Some file systems cannot do it,
// which is no error. A folder that may be written and not read is one, of fs.ErrPermission.
func Directory(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
