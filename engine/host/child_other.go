//go:build !linux

package host

// sealDescriptors keeps whatever the host itself has inherited out of its children.
func sealDescriptors() { sealEach() }

// limitCoreDumps does nothing here: macOS writes no core files by default.
func limitCoreDumps(int) {}

// waitEnd does nothing here: the process is waited for at once.
func waitEnd(int) {}

// measure knows nothing here; GOMEMLIMIT alone bounds Go plugins.
func measure(int, bool, int64) (resident int64, processes int) { return 0, 0 }

// onMainThread is asked where threads are not restrained.
func onMainThread() bool { return false }
