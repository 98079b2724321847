//go:build !linux

package host_test

// timerSlack is not known here.
func timerSlack() int { return 0 }

// confinable reports whether the system can confine a process.
func confinable() bool { return false }
