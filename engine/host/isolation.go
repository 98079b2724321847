package host

import (
	"fmt"
	"strings"

	"github.com/cipherstream/cipherstream/engine/host/jail"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Isolation says what keeps a third-party plugin's process apart from the rest of
// the machine, beyond what every plugin process has. The first-party stages are this
// program, and have none.
type Isolation struct {
	// Confined is true when the process has namespaces of its own (namespaces(7)): of
	// users, processes, mounts and System V objects, and, unless Network is true, a
	// network namespace without interfaces. It then sees no other process, cannot look
	// into one, all that it starts ends with it, and of the files it sees the system's
	// programs, its own directory, the data sockets of its neighbours, and Files.
	Confined bool
	// Apart is true when it has all of that but the namespace of mounts: the files of
	// the host's user, and the sockets among them, are within its reach.
	Apart bool
	// Network is true when the lock file grants the network.
	Network bool
	// Files is what the lock file grants of the file system, as PATH:ro or PATH:rw.
	Files []string
	// Reason says why the process is not confined; empty when it is.
	Reason string
}

// firstParty reports whether the process is one of this program's own stages.
func (i Isolation) firstParty() bool { return !i.Confined && !i.Apart && i.Reason == "" }

// What a plugin may be kept from, in the words of NotConfined.
const (
	openFiles     = "files"     // of the host's user, and the local services among them
	openNetwork   = "network"   // though the lock file does not grant it
	openProcesses = "processes" // it sees and signals those of the user, and leaves its own behind
	openMemory    = "memory"    // of what it has left behind
)

// NotConfined lists what the process can reach although nobody has granted it: some of files, network, processes and
// memory. It is empty when the process is confined, and for the zero value.
func (i Isolation) NotConfined() []string {
	switch {
	case i.Confined || i.Reason == "":
		return nil
	case i.Apart:
		return []string{openFiles}
	case i.Network:
		return []string{openFiles, openProcesses, openMemory}
	}
	return []string{openFiles, openNetwork, openProcesses, openMemory}
}

// String is a line for people; it is empty for the zero value.
func (i Isolation) String() string {
	network := ", without network"
	if i.Network {
		network = ", with the network"
	}
	switch {
	case i.Confined && len(i.Files) > 0:
		return "confined" + network + ", with " + strings.Join(i.Files, ", ")
	case i.Confined:
		return "confined" + network
	case i.Apart:
		return "partly confined" + network + "; not confined: " + i.openText()
	case i.Reason != "":
		return "not confined: " + i.openText()
	}
	return ""
}

// openText is what is not confined, and why.
func (i Isolation) openText() string {
	return strings.Join(i.NotConfined(), ", ") + ", because " + i.Reason
}

// codeIsolation is the code of a plugin that is not started because it could not be
// confined.
const codeIsolation = "plugin.isolation"

// confinement is how one process is kept apart, beyond what every process has.
type confinement struct {
	// thirdParty is true for a program that is not this one.
	thirdParty bool
	isolation  Isolation
	// cpus are the cores that the process may use; nil means all.
	cpus []int
	// jail is what it sees of the file system; nil means everything.
	jail *jail.Spec
}

// Reach is a directory that a process has to see beside its own one and what it is granted: that of a data socket.
type Reach struct {
	Path string
	// Write is true when the process makes files there: the side that listens makes the socket.
	Write bool
}

// ownConfinement is that of a first-party process.
func (h *Host) ownConfinement() confinement { return confinement{cpus: h.cores.take()} }

// confinementOf decides how the plugin of a lock entry is confined. It fails when it cannot be and
// Config.StrictIsolation asks for it; otherwise a warning is logged, once for each plugin.
func (h *Host) confinementOf(entry LockEntry) (confinement, error) {
	confined := confinement{thirdParty: true, isolation: Isolation{Network: entry.Network, Files: entry.Files},
		cpus: h.cores.take()}
	possible := h.probe(entry.Network)
	if possible.jail == "" {
		confined.isolation.Confined = true
		return confined, nil
	}
	confined.isolation.Apart, confined.isolation.Reason = possible.namespaces == "", possible.jail
	if h.cfg.StrictIsolation {
		return confinement{}, fault.New(codeIsolation, fault.Usage, "plugin %q is not started: it would not be confined, because %s; not confined: %s",
			entry.Name, confined.isolation.Reason, strings.Join(confined.isolation.NotConfined(), ", ")).
			WithHint("%s; or allow it to run unconfined by leaving strict isolation out", isolationHint)
	}
	if _, warned := h.warned.LoadOrStore(entry.Name, true); !warned {
		h.cfg.Log.Warn(confined.isolation.warning(entry.Name), "plugin", entry.Name)
	}
	return confined, nil
}

// warning says what a plugin that is not confined can do.
func (i Isolation) warning(plugin string) string {
	how := "runs unconfined"
	if i.Apart {
		how = "is confined in part"
	}
	text := fmt.Sprintf("plugin %q %s, because %s; not confined: %s; it can use all files and local services of this user, which %s does not grant",
		plugin, how, i.Reason, strings.Join(i.NotConfined(), ", "), LockName)
	if !i.Apart && !i.Network {
		text += fmt.Sprintf("; it can reach the network, which %s does not grant", LockName)
	}
	return text
}

// obstacles say why this system does not let the host make namespaces, and why it does not let it confine a process
// with them altogether. Empty means that it can.
type obstacles struct{ namespaces, jail string }

// probe finds out what the system allows, once for processes without the network and once for those with it.
func (h *Host) probe(network bool) obstacles {
	kind := 0
	if network {
		kind = 1
	}
	p := &h.probes[kind]
	p.once.Do(func() {
		if p.found.namespaces = probeNamespaces(network); p.found.namespaces != "" {
			p.found.jail = p.found.namespaces
			return
		}
		p.found.jail = h.probeJail(network)
	})
	return p.found
}
