//go:build !linux

package dbtest

import "syscall"

// diesWithParent is available on Linux only; elsewhere a killed test binary
// leaves its server behind.
func diesWithParent() *syscall.SysProcAttr { return nil }
