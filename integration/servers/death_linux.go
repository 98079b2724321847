package servers

import "syscall"

// diesWithParent makes the kernel end the server when the test binary ends in
// a way that runs no cleanup.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
