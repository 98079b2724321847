package sqlite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestLockOfAKilledProcess: what a process was starting when it was killed has its lock a moment longer; the next service
// waits for that, and does not refuse.
func TestLockOfAKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, directoryMode); err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	left, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, privateMode)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	if _, err := fmt.Fprintln(left, gone.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := flock(left); err != nil {
		t.Fatal(err)
	}
	fd, released := int(left.Fd()), make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { released <- syscall.Flock(fd, syscall.LOCK_UN) })
	d, err := lockDirectory(dir)
	if unlocked := <-released; err != nil || unlocked != nil {
		t.Fatal(err, unlocked)
	}
	if err := d.unlock(); err != nil {
		t.Error(err)
	}
}
