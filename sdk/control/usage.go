package control

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// usage returns the CPU time of this process and its peak resident memory.
func usage() (cpu time.Duration, peak int64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	peak = int64(u.Maxrss)
	if runtime.GOOS == "linux" {
		peak <<= 10 // Linux counts KiB, macOS bytes
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), peak
}
