package wire

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// memorySeals are on a file that two processes map: nobody can make it smaller, which would end a process that reads behind
// its end, or larger, or take the seals away (memfd_create(2)).
const memorySeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// mapping is mapped memory, which is unmapped once.
type mapping struct {
	data  []byte
	unmap func()
}

func newMapping(file *os.File, size, protection int) (mapping, error) {
	data, err := unix.Mmap(int(file.Fd()), 0, size, protection, unix.MAP_SHARED)
	if err != nil {
		return mapping{}, err
	}
	return mapping{data, sync.OnceFunc(func() { _ = unix.Munmap(data) })}, nil
}

// unmapAfter unmaps the memory when its owner is garbage.
func (m mapping) unmapAfter(owner *ReadMemory) {
	runtime.AddCleanup(owner, func(unmap func()) { unmap() }, m.unmap)
}

// makeMemory makes a file in memory, and maps it to be read.
func makeMemory(size int) (mapping, *os.File, error) {
	fd, err := unix.MemfdCreate("cipherstream", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return mapping{}, nil, err
	}
	file := os.NewFile(uintptr(fd), "cipherstream")
	err = file.Truncate(int64(size))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, memorySeals)
	}
	var mapped mapping
	if err == nil {
		mapped, err = newMapping(file, size, unix.PROT_READ)
	}
	if err != nil {
		file.Close()
		return mapping{}, nil, err
	}
	return mapped, file, nil
}

// mapMemory maps a file that somebody else has made, to be written.
func mapMemory(file *os.File) (mapping, error) {
	seals, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals != memorySeals {
		return mapping{}, fmt.Errorf("the file has the seals %#x; expected %#x", seals, memorySeals)
	}
	info, err := file.Stat()
	if err != nil {
		return mapping{}, err
	}
	size := info.Size()
	if size <= 0 || size > maxSlots*SlotBytes || size%SlotBytes != 0 {
		return mapping{}, fmt.Errorf("the file has %d bytes; expected a multiple of %d, at most %d", size, SlotBytes, maxSlots*SlotBytes)
	}
	return newMapping(file, int(size), unix.PROT_READ|unix.PROT_WRITE)
}

// sendByte sends a byte if that is possible at once.
func sendByte(fd uintptr, b byte) {
	_ = unix.Sendto(int(fd), []byte{b}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
}

// receiveBytes receives what has come by now.
func receiveBytes(fd uintptr, into []byte) int {
	n, _, err := unix.Recvfrom(int(fd), into, unix.MSG_DONTWAIT)
	if err != nil {
		return 0
	}
	return n
}
