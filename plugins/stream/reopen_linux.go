package stream

import (
	"os"
	"strconv"
	"syscall"
)

// reopen opens the pipe or device behind f once more, without blocking. The new
// open file shares nothing with f but the pipe or device itself.
func reopen(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again int
	var openErr error
	err = raw.Control(func(fd uintptr) {
		again, openErr = syscall.Open("/proc/self/fd/"+strconv.Itoa(int(fd)),
			syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	})
	if err == nil {
		err = openErr
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(again), f.Name()), nil
}
