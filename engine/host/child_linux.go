package host

import "golang.org/x/sys/unix"

// sealDescriptors keeps whatever the host itself has inherited from who started
// it, a shell for instance, out of its children. What the host opens is never
// inherited.
func sealDescriptors() {
	const all = 1<<32 - 1
	if unix.CloseRange(firstExtra, all, unix.CLOSE_RANGE_CLOEXEC) != nil {
		sealEach() // before Linux 5.11
	}
}

// limitCoreDumps keeps row data out of core files.
func limitCoreDumps(pid int) {
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
}

// waitEnd waits until the process has ended, without reaping it: until it is reaped the system gives its number, and
// that of its process group, to no other process.
func waitEnd(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// onMainThread reports whether the calling thread is the process's first.
func onMainThread() bool { return unix.Gettid() == unix.Getpid() }
