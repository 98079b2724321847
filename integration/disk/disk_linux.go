// Package disk gives tests a disk that is soon full. It owns mounting and unmounting, and never fills one. Only tests import it.
package disk

import (
	"os"
	"syscall"
	"testing"
)

// Small mounts an empty disk over a folder until the test ends, with options of tmpfs (tmpfs(5)), such as size=1m. Only root
// can do that: elsewhere the test is skipped, and says so.
func Small(tb testing.TB, dir, options string) {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("SKIPPED, NOT TESTED: mounting a small disk needs root")
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, options); err != nil {
		tb.Skipf("SKIPPED, NOT TESTED: this root may not mount a small disk: %v", err)
	}
	tb.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			tb.Error(err)
		}
	})
}
