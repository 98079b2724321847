//go:build !linux

package host

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// statTimes are the times of the last change of the content, and of anything.
func statTimes(s *syscall.Stat_t) (modified, changed unix.Timespec) {
	return unix.Timespec(s.Mtimespec), unix.Timespec(s.Ctimespec)
}
