// Package plugin owns the commands about plugins: what is there (list, info), what comes and
// goes (install, verify, remove), and what an author of one needs (new, test, replay). It never
// installs, starts or judges a plugin itself: engine/install, engine/host and the conformance
// suite of the SDK do.
package plugin

import (
	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return session.Under(session.Writing, a.pluginCommand())
}
