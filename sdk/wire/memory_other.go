//go:build !linux

package wire

import (
	"errors"
	"os"
)

// mapping is mapped memory, which only Linux has.
type mapping struct {
	data  []byte
	unmap func()
}

func (mapping) unmapAfter(*ReadMemory) {}

func makeMemory(int) (mapping, *os.File, error) { return mapping{}, nil, errors.ErrUnsupported }

func mapMemory(*os.File) (mapping, error) { return mapping{}, errors.ErrUnsupported }

func sendByte(uintptr, byte) {}

func receiveBytes(uintptr, []byte) int { return 0 }
