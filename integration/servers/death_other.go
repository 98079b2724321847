//go:build !linux

package servers

import "syscall"

// diesWithParent is available on Linux only; elsewhere a killed test binary
// leaves its server behind.
func diesWithParent() *syscall.SysProcAttr { return nil }
