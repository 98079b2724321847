package host

import (
	"fmt"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Isolation says what keeps a third-party plugin's process apart from the rest of
// the machine, beyond what every plugin process has. The first-party stages are this
// program, and have none.
type Isolation struct {
	// Confined is true when the process has a user and a process namespace of its
	// own, and, unless Network is true, a network namespace without interfaces
	// (namespaces(7)). It then sees no other process, cannot look into one, and all
	// that it starts ends with it.
	Confined bool
	// Network is true when the lock file grants the network.
	Network bool
	// Reason says why the process is not confined; empty when it is.
	Reason string
}

// String is a line for people; it is empty for the zero value.
func (i Isolation) String() string {
	switch {
	case i.Confined && i.Network:
		return "confined, with the network"
	case i.Confined:
		return "confined, without network"
	case i.Reason != "":
		return "not confined: " + i.Reason
	}
	return ""
}

// codeIsolation is the code of a plugin that is not started because it could not be
// confined.
const codeIsolation = "plugin.isolation"

// hold is what holds one process beyond what holds every one.
type hold struct {
	// thirdParty is true for a program that is not this one.
	thirdParty bool
	isolation  Isolation
	// cpus are the cores that the process may use; nil means all.
	cpus []int
}

// holdOwn is the hold on a first-party process.
func (h *Host) holdOwn() hold { return hold{cpus: h.cores.take()} }

// holdOther decides how the plugin of a lock entry is held. It fails when it cannot
// be confined and Config.StrictIsolation asks for it; otherwise a warning is logged,
// once for each plugin.
func (h *Host) holdOther(entry LockEntry) (hold, error) {
	held := hold{thirdParty: true, isolation: Isolation{Network: entry.Network}, cpus: h.cores.take()}
	reason := h.probe(entry.Network)
	if reason == "" {
		held.isolation.Confined = true
		return held, nil
	}
	held.isolation.Reason = reason
	if h.cfg.StrictIsolation {
		return hold{}, fault.New(codeIsolation, fault.Usage, "plugin %q is not started: it would not be confined, because %s", entry.Name, reason).
			WithHint("%s; or allow it to run unconfined by leaving strict isolation out", isolationHint)
	}
	if _, warned := h.warned.LoadOrStore(entry.Name, true); !warned {
		text := fmt.Sprintf("plugin %q runs unconfined, because %s", entry.Name, reason)
		if !entry.Network {
			text += fmt.Sprintf("; it can reach the network, which %s does not grant", LockName)
		}
		h.cfg.Log.Warn(text, "plugin", entry.Name)
	}
	return held, nil
}

// probe says why a process cannot be confined; empty means that it can. The system is
// asked once for each of the two kinds.
func (h *Host) probe(network bool) string {
	kind := 0
	if network {
		kind = 1
	}
	h.probes[kind].once.Do(func() { h.probes[kind].reason = probeNamespaces(network) })
	return h.probes[kind].reason
}
