package peer

import (
	"net"

	"golang.org/x/sys/unix"
)

// Of returns the process that has connected, or, of a connection that was made here, the one that listens (unix(7),
// SO_PEERCRED).
func Of(conn *net.UnixConn) (Process, error) {
	p := Process{UID: -1}
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return p, err
	}
	if credErr != nil {
		return p, credErr
	}
	return Process{UID: int(cred.Uid), PID: int(cred.Pid)}, nil
}
