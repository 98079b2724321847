// Package jail turns a process in new namespaces into the process of a confined plugin. The host executes its own
// program again in these namespaces, under the name Arg0. There this package mounts what the plugin may see of the file
// system, gives up all rights, and executes the plugin's program (execve(2)). What the plugin may see a Spec says; this
// package decides nothing. It never returns: it becomes the plugin, or reports on StatusFD why not and ends.
//
// A Go program cannot do this between fork and exec, where it may neither allocate nor call the runtime. So every
// program that imports this package does it in an init function, which runs before the program's own code. The package
// imports little, so that its init runs early.
package jail

// Arg0 is the name (argv[0]) with which a program that imports this package is started to become a plugin.
const Arg0 = "cipherstream-jail"

// StatusFD is the descriptor on which the process reports why it has failed. It is closed, with nothing written, when
// the process becomes the plugin's program.
const StatusFD = 4

// Done is written to StatusFD when everything of a Spec without a program has been done.
const Done = "done"

// Spec is what a plugin's process sees, and what it becomes.
type Spec struct {
	// Base is any directory that exists: the new root is mounted on it.
	Base string
	// Places is everything that is in the new root, in the order in which it is mounted: a place comes behind the one
	// that contains it.
	Places []Place
	// TempBytes is the size of /tmp.
	TempBytes int64
	// Directory is the program's working directory.
	Directory string
	// Program is a path in the new root, and Args its arguments with its name in front. Without a program the process
	// ends when all else is done: a test of whether the system allows it.
	Program string
	Args    []string
}

// Kind says what a Place is.
type Kind string

// The kinds of places.
const (
	// Bind shows the host's file or directory, with everything that is mounted below it.
	Bind Kind = "bind"
	// Link is a symbolic link to Target.
	Link Kind = "link"
	// Device is a device file.
	Device Kind = "device"
	// Temp is the bounded /tmp.
	Temp Kind = "temp"
	// Empty hides a directory that another place shows, by an empty one.
	Empty Kind = "empty"
	// Proc is /proc of the new process namespace, read-only.
	Proc Kind = "proc"
)

// Place is a path, the same in the new root as for the host.
type Place struct {
	Kind   Kind   `json:"kind"`
	Path   string `json:"path"`
	Target string `json:"target,omitempty"`
	// Write is set for a Bind that may be written.
	Write bool `json:"write,omitempty"`
}
