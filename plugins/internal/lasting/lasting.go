// Package lasting makes what was written to a folder outlive a loss of power. It never
// writes anything itself.
package lasting

import (
	"errors"
	"os"
	"syscall"
)

// Sync makes a rename in a folder last. Some file systems cannot, which is no error. A
// folder that can be written to and not read is one, of fs.ErrPermission.
func Sync(folder string) error {
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
