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
	"github.com/cipherstream/cipherstream/sdk/fault"
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

// errInterrupted is why the context of an interrupted command has ended.
var errInterrupted error = fault.New("cli.interrupted", fault.Cancelled, "the command was interrupted")

// program runs the command line in this process. The first signal cancels the
// command, which cleans up; the second ends the process at once. Plugin processes
// notice that and end themselves.
func program(args []string) int {
	// Without this, writing to a standard output or error that nobody reads ends the process
	// before it has cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		// nohup and background jobs ignore some, and should stay so.
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		<-signals
		cancel(errInterrupted)
		<-signals
		os.Exit(exitInterrupted)
	}()
	code := execute(ctx, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, args)
	if code == exitPipe {
		endByPipe()
	}
	return code
}
