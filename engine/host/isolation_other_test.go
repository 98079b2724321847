//go:build !linux

package host_test

// confinable reports whether the system can confine a process.
func confinable() bool { return false }
