//go:build unix && !linux

package stream

import (
	"errors"
	"os"
)

// reopen is not possible: opening /dev/fd/N duplicates the descriptor.
func reopen(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
