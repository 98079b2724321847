package host

import (
	"fmt"
	"time"
)

// limitCheck is how often the memory and the processes of a plugin are looked at.
const limitCheck = 200 * time.Millisecond

// maxProcesses is how many processes a third-party plugin may have, itself included
// (Linux): many for a pool of workers, few for a machine.
const maxProcesses = 256

// emptyProcess is what a process of the first-party stages has besides what is in flight,
// in bytes: about half of it when it is idle, and buffers of a connection.
const emptyProcess = 16 << 20

// Footprint estimates the memory, in bytes, of a first-party process with inFlight bytes in flight: those, what the
// heap grows beyond them before it is collected, and what an empty process has; at most the memory limit.
func (h *Host) Footprint(inFlight int64) int64 {
	if inFlight >= h.cfg.MemoryLimit {
		return h.cfg.MemoryLimit
	}
	return min(emptyProcess+inFlight+inFlight/100*gcPercent, h.cfg.MemoryLimit)
}

// watchLimits ends the process when it uses more memory, or has more processes, than it may.
//
// It measures resident memory itself, because the limits of the system (setrlimit(2)) do not fit: RLIMIT_AS bounds
// address space, of which garbage-collected languages reserve many times what they use (Go more than 1 GiB at its
// start, a JVM or V8 their largest heap), and RLIMIT_NPROC counts all processes of the user and does not bind root.
func (c *child) watchLimits() {
	ticker := time.NewTicker(limitCheck)
	defer ticker.Stop()
	for {
		select {
		case <-c.exited:
			return
		case <-ticker.C:
		}
		resident, processes := measure(c.pid(), c.confinement.thirdParty, c.memoryLimit)
		switch {
		case processes > maxProcesses:
			c.end(excess{fmt.Sprintf("had more than %d processes, the most that a plugin may have", maxProcesses),
				"this is a defect of the plugin"})
		case resident > c.memoryLimit:
			c.end(excess{fmt.Sprintf("used %d MiB of memory; its limit is %d MiB", resident>>20, c.memoryLimit>>20),
				"raise the memory limit of plugins (--plugin-memory), or make batches smaller (limits.batch_rows, limits.batch_bytes)"})
		default:
			continue
		}
		return
	}
}
