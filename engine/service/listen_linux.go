package service

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnanswered has the connections of a listener end when what was sent stays unacknowledged for too long (tcp(7),
// TCP_USER_TIMEOUT; they inherit it): while something is on its way, no probe is sent that would find that out.
func limitUnanswered(_, _ string, c syscall.RawConn) (err error) {
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	}); failed != nil {
		return failed
	}
	return err
}
