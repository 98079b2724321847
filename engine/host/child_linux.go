package host

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes puts the child in a process group of its own, and has the
// kernel kill it when the host dies, even if it hangs.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// sealDescriptors keeps whatever the host itself has inherited from who started
// it, a shell for instance, out of its children. What the host opens is never
// inherited.
func sealDescriptors() {
	const all = 1<<32 - 1
	if unix.CloseRange(firstExtra, all, unix.CLOSE_RANGE_CLOEXEC) != nil {
		sealEach() // before Linux 5.11
	}
}

// limitCoreDumps keeps row data out of core files.
func limitCoreDumps(pid int) {
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
}

// residentMemory returns the resident memory of a process in bytes, 0 if unknown
// (proc(5), /proc/pid/statm).
func residentMemory(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
