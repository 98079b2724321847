package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The exit codes, a contract with whoever calls the program.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitConnect     = 3
	ExitInterrupted = 130
	ExitPipe        = 141
)

// exitCodes is the contract in words. A failure has the code of the row that
// lists its class, and otherwise exitFailed.
var exitCodes = []struct {
	code    int
	meaning string
	classes []fault.Class
}{
	{ExitDone, "done", nil},
	{ExitFailed, "the run failed: the database, a value, the output or a plugin", nil},
	{ExitUsage, "the command line, a parameter, a setting or a pipeline is wrong; nothing was read", []fault.Class{fault.Usage}},
	{ExitConnect, "a server or an object store could not be reached, or refused to let us in", []fault.Class{fault.Connect}},
	{ExitInterrupted, "interrupted by SIGINT, SIGTERM or SIGHUP; what was begun is undone", nil},
	{ExitPipe, "the reader of standard output went away, as head does: the command ended quietly, as if by SIGPIPE", nil},
}

// ExitCode is what the program ends with after err.
func ExitCode(ctx context.Context, err error) int {
	if err == nil {
		return ExitDone
	}
	if interrupted(ctx) {
		return ExitInterrupted
	}
	if fault.Is(err, codeReaderGone) {
		if UnderGoRun() {
			return ExitDone
		}
		return ExitPipe
	}
	class := fault.From(err).Class
	for _, row := range exitCodes {
		for _, c := range row.classes {
			if c == class {
				return row.code
			}
		}
	}
	return ExitFailed
}

// interrupted reports whether a signal has ended ctx.
func interrupted(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), ErrInterrupted)
}

// ExitCodeTable is the contract as text.
func ExitCodeTable() string {
	var b strings.Builder
	for _, row := range exitCodes {
		fmt.Fprintf(&b, "  %3d  %s\n", row.code, row.meaning)
	}
	return b.String()
}

// ExitCodesTopic is `cipherstream help exit-codes`.
func ExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: "The exit code says how a command ended:\n\n" + ExitCodeTable() + `
After every code but 0 an output file does not exist, or is what it was before;
what was written to standard output may not be the whole. With --json the error
is one JSON object on standard error: {"error": {"code", "class", "message",
"hint", "retryable", "stage", "details", "diagnostics", "exit_code"}}.
Retryable says that the same command may succeed later, as after a lost connection, or
when the system has killed a plugin for want of memory: that ends with 1 too. "run
--retries N" tries again by itself.

A command that is interrupted undoes what it has begun. When that takes more than a
second it says so; from a second later on another signal ends it at once, and
leaves behind what is unfinished. Signals before that count as one.

After 141 nothing is on standard error. Under "go run", which writes a line about every
code but 0 and ends with 1 then, it is 0.

"cipherstream sandbox", "cipherstream serve", "cipherstream worker" and "cipherstream
webhook listen" run until they are interrupted, so that for them this is 0, and so does
"cipherstream docs --http".

"cipherstream docs fault CODE" says what a fault's code means, and what to do.`,
	}
}
