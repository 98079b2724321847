//go:build !linux

package host

import "syscall"

// processAttributes puts the child in a process group of its own. The lifeline
// ends it when the host dies.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// sealDescriptors keeps whatever the host itself has inherited out of its children.
func sealDescriptors() { sealEach() }

// limitCoreDumps does nothing here: macOS writes no core files by default.
func limitCoreDumps(int) {}

// residentMemory is not known here; GOMEMLIMIT alone bounds Go plugins.
func residentMemory(int) int64 { return 0 }
