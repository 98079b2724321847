// Command cipherstream is the one program: the command line, and, started again
// by itself with a hidden argument, the plugin process that runs the first-party
// stages. This package names the commands that there are; each stands in the folder
// of the noun that it is about. It never does what a command does.
package main

import (
	"os"
	"slices"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/database"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/decrypt"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/lsp"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/manual"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/pipeline"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/plugin"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/sandbox"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/service"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/sweep"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/webhook"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk"
)

// nouns are what the commands are about.
var nouns = []session.Noun{pipeline.Commands, database.Commands, lsp.Commands, plugin.Commands, sandbox.Commands, sweep.Commands,
	decrypt.Commands, service.Commands, webhook.Commands, manual.Commands}

func main() {
	// A plugin process comes first: nothing of the command line is set up for it.
	if slices.Equal(os.Args[1:], []string{session.ServePlugin}) {
		sdk.Serve(bundle.Bundle(session.Version()))
		return
	}
	os.Exit(session.Program(os.Args[1:], nouns...))
}
