package session

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// ServePlugin is the only argument with which the program is a plugin process.
const ServePlugin = "plugin-serve"

// Program runs the command line in this process, as Session.Program does.
func Program(args []string, nouns ...Noun) int {
	return New(terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, args, nouns...).Program()
}

// Program is Execute for a process that does nothing else. A signal cancels the command, which cleans up (see
// terminal.HeedSignals).
func (s *Session) Program() int {
	// Without this, writing to a standard output or error that nobody reads ends the process
	// before it has cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s.HeedSignals(cancel)
	code := s.Execute(ctx)
	if code == terminal.ExitPipe {
		terminal.EndByPipe()
	}
	return code
}
