// Command cipherstream is the one program: the command line, and, started again
// by itself with a hidden argument, the plugin process that runs the first-party
// stages. This package owns what a person or a script meets: arguments, exit
// codes, progress, the presentation of errors; it wires the engine, the stages,
// the catalogue and the sandbox together. It never reads a pipeline, moves data
// or talks to a database itself.
package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk"
)

// servePlugin is the only argument with which the program is a plugin process.
const servePlugin = "plugin-serve"

func main() {
	// A plugin process comes first: nothing of the command line is set up for it.
	if slices.Equal(os.Args[1:], []string{servePlugin}) {
		sdk.Serve(bundle.Bundle(version()))
		return
	}
	os.Exit(program(os.Args[1:]))
}

// program runs the command line in this process. A signal cancels the command, which
// cleans up (see heedSignals).
func program(args []string) int {
	// Without this, writing to a standard output or error that nobody reads ends the process
	// before it has cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	a := newApp(streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, args)
	heedSignals(cancel, a.notice.give)
	code := a.execute(ctx)
	if code == exitPipe {
		endByPipe()
	}
	return code
}
