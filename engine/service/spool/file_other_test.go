//go:build !linux

package spool

import "testing"

// smallDisk is none: nothing can be mounted here.
func smallDisk(*testing.T) string { return "" }
