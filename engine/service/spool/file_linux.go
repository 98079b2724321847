package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// unlinked makes a file that never has a name, or where the file system has no such thing, one whose name is gone at once.
func unlinked(dir string) (file, error) {
	// With O_EXCL nobody can give it a name later (open(2)).
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR|os.O_EXCL, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		return removed(dir)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}
