//go:build !linux

package host

import (
	"runtime"
	"syscall"
)

const isolationHint = "run it on Linux"

// processAttributes puts the child in a process group of its own. The lifeline
// ends it when the host dies.
func processAttributes(Isolation) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func probeNamespaces(bool) string {
	return "namespaces, which keep processes apart, are only on Linux, and this is " + runtime.GOOS
}

// prepareThread does nothing here: GOMAXPROCS alone bounds the cores of Go plugins.
func prepareThread(confinement) error { return nil }

// probeJail is not asked where there are no namespaces.
func (h *Host) probeJail(bool) string { return "" }

// confine is not asked for where nothing is confined.
func (h *Host) confine(*confinement, string, string, []Reach) error { return nil }

func allowedCores() []int { return nil }
