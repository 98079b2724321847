//go:build !linux

package e2e

// nothingRuns needs /proc.
func (w *workspace) nothingRuns() {}
