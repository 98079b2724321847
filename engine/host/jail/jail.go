// Package jail is the step between a host and the program of a confined plugin: the host's own program, executed again
// inside new namespaces, where it puts together what the plugin may see of the file system, gives up its rights, and
// becomes the plugin's program (execve(2)). It decides nothing: the Spec says what is to be seen. It returns to nobody:
// it becomes that program, or says why not and ends.
//
// A Go program cannot do this between fork and exec, where it may neither allocate nor call the runtime. So it is done
// by whatever program imports this package, when it is started under the name Arg0: in an init function, because that
// comes before anything of the program's own, whatever program it is. The package imports little, so that init comes early.
package jail

// Arg0 is the name under which a program that imports this package becomes a plugin's.
const Arg0 = "cipherstream-jail"

// StatusFD is the descriptor on which the step says why it has failed. It is closed without a word when it has become the
// plugin's program.
const StatusFD = 4

// Done is what is said on StatusFD when a Spec without a program has been done.
const Done = "done"

// Spec is what a plugin's process sees, and what it becomes.
type Spec struct {
	// Base is any directory that is there: the new root is put together over it.
	Base string
	// Places are put into the new root in their order: what contains a place comes before it. The root has nothing else.
	Places []Place
	// TempBytes bounds what /tmp holds.
	TempBytes int64
	// Directory is where the program begins.
	Directory string
	// Program is a path inside, and Args what it is given, its name first. Without a program the step ends when the rest is
	// done, which shows that the system allows it.
	Program string
	Args    []string
}

// Kind says what a Place is.
type Kind string

// The kinds of places.
const (
	// Bind shows what is there, with all that is mounted below it.
	Bind Kind = "bind"
	// Link is a symbolic link to Target.
	Link Kind = "link"
	// Device is a device file.
	Device Kind = "device"
	// Temp is the bounded /tmp.
	Temp Kind = "temp"
	// Empty hides what a place above shows.
	Empty Kind = "empty"
	// Proc shows the processes of the new process namespace, to be read.
	Proc Kind = "proc"
)

// Place is a path inside, which is the same as outside.
type Place struct {
	Kind   Kind   `json:"kind"`
	Path   string `json:"path"`
	Target string `json:"target,omitempty"`
	// Write is set for a Bind that may be written.
	Write bool `json:"write,omitempty"`
}
