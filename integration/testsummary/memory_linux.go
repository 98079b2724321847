package main

import (
	"fmt"
	"syscall"
)

// Of statfs(2) and linux/magic.h.
const (
	tmpfs  = 0x01021994
	noExec = 0x8 // ST_NOEXEC
)

// roomy returns nil where root is a file system in memory that starts programs, with free bytes that both it and the
// machine have to give.
func roomy(root string, free int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(root, &s); err != nil {
		return fmt.Errorf("%s: %w", root, err)
	}
	var machine syscall.Sysinfo_t
	if err := syscall.Sysinfo(&machine); err != nil {
		return err
	}
	switch has := int64(s.Bavail) * s.Bsize; {
	case int64(s.Type) != tmpfs:
		return fmt.Errorf("%s is not in memory", root)
	case s.Flags&noExec != 0:
		return fmt.Errorf("%s starts no programs", root)
	case has < free:
		return fmt.Errorf("%s has only %d bytes free", root, has)
	case int64(machine.Totalram)*int64(machine.Unit) < 2*free:
		return fmt.Errorf("the machine has only %d units of %d bytes of memory", machine.Totalram, machine.Unit)
	}
	return nil
}
