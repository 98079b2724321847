package host_test

import (
	"os/exec"
	"sync"
	"syscall"
)

// confinable reports, without the code that is tested, whether the system lets this
// user make the namespaces of a confined process.
var confinable = sync.OnceValue(func() bool {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	return cmd.Run() == nil
})
