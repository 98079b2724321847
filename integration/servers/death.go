package servers

import (
	"os"
	"os/exec"
	"syscall"
)

// afterDeath runs a script with arguments when this process has ended, in whatever way that
// came, or when the file that it returns is closed.
func afterDeath(script string, args ...string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// The pipe has an end for this process alone, so reading ends when it does.
	cmd := exec.Command("sh", append([]string{"-c", "cat >/dev/null\n" + script, "sh"}, args...)...)
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the terminal is not for it
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // nobody needs its result
	return w, nil
}
