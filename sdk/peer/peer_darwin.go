package peer

import (
	"net"

	"golang.org/x/sys/unix"
)

// Of returns the process that has connected, or, of a connection that was made here, the one that listens (unix(4),
// LOCAL_PEERCRED and LOCAL_PEERPID). One that has ended meanwhile has no number.
func Of(conn *net.UnixConn) (Process, error) {
	p := Process{UID: -1}
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, err
	}
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err != nil {
			credErr = err
			return
		}
		p.UID = int(cred.Uid)
		if pid, err := unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID); err == nil {
			p.PID = pid
		}
	}); err != nil {
		return p, err
	}
	return p, credErr
}
