//go:build !linux

package service

import "syscall"

// limitUnanswered leaves it to the deadline of writes, where the system has no time limit of its own for what is not acknowledged.
func limitUnanswered(string, string, syscall.RawConn) error { return nil }
