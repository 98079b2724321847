package host

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"

	"github.com/cipherstream/cipherstream/engine/host/jail"
)

// ownProgram is the program of this process, whatever has become of its file (proc(5)).
const ownProgram = "/proc/self/exe"

// maxStatus bounds what is said about a process that could not be confined.
const maxStatus = 4 << 10

// jailArguments are the arguments with which ownProgram sets a jail up as s says; see package jail.
func jailArguments(s *jail.Spec) []string {
	text, _ := json.Marshal(s) // strings and numbers
	return []string{jail.Arg0, string(text)}
}

// command executes a program as it is to be confined.
func (c *confinement) command(program string, args []string) *exec.Cmd {
	if c.jail != nil {
		return &exec.Cmd{Path: ownProgram, Args: jailArguments(c.jail)}
	}
	return exec.Command(program, args...)
}

// readStatus waits until a confined process has become the plugin's program, and returns what kept it from that.
func readStatus(from *os.File) error {
	text, err := io.ReadAll(io.LimitReader(from, maxStatus))
	if err != nil || len(text) == 0 {
		return nil // what has become of it shows soon
	}
	return errors.New(string(text))
}
