// Package pipeline owns what is done with a pipeline on the command line: list, describe,
// schema, lint, plan, check, test, expr and run. It reads their flags, has the engine do it, and
// shows what came of it. It never reads a pipeline or moves data itself, and knows no
// command about anything else, but that a run may start a sandbox.
package pipeline

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return slices.Concat(
		session.Under(session.Reading, a.listCommand(), a.describeCommand(), a.planCommand(), a.checkCommand(), a.runCommand()),
		session.Under(session.Writing, a.lintCommand(), a.testCommand(), a.exprCommand(), a.schemaCommand()),
	)
}

func (a *app) onePipeline(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return terminal.UsageFault("%s takes one pipeline, but got %d arguments", c.CommandPath(), len(args)).
			WithHint("give a name that \"cipherstream list\" shows, or the path of a YAML file; parameters are given with -p name=value")
	}
	return nil
}
