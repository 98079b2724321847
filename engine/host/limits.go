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

// Footprint is what a process takes, in bytes, that may have so many in flight: those, by how
// much the heap grows over them, and what it has without any; no more than its limit.
func (h *Host) Footprint(inFlight int64) int64 {
	if inFlight >= h.cfg.MemoryLimit {
		return h.cfg.MemoryLimit
	}
	return min(emptyProcess+inFlight+inFlight/100*gcPercent, h.cfg.MemoryLimit)
}

// watchLimits ends the process when it uses more than it may.
//
// The memory that counts is resident. RLIMIT_AS bounds what is reserved, of which
// garbage-collected languages have many times what they use: Go more than 1 GiB at
// its start, a JVM or V8 their greatest heap. RLIMIT_NPROC counts what the user has
// elsewhere too, and does not hold for root.
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
