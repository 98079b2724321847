package lsp

import "syscall"

// mkfifo makes a pipe that has a name, which nobody writes to.
func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }
