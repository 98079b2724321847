package host_test

import (
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the system may wake this thread up by a timer, in nanoseconds.
func timerSlack() int {
	slack, _ := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	return slack
}

// confinable reports, without the code that is tested, whether the system lets this
// user make the namespaces of a confined process.
var confinable = sync.OnceValue(func() bool {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	return cmd.Run() == nil
})
