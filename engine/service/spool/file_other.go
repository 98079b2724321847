//go:build !linux

package spool

// unlinked makes a file whose name is gone at once.
func unlinked(dir string) (file, error) { return removed(dir) }
