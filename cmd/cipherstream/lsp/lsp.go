// Package lsp owns the command lsp: a server of the Language Server Protocol that tells an editor what it knows of the
// pipeline, template, test or configuration of a service that is being written. It owns the protocol, the texts that are
// open, and where in a text the cursor is, also while the text is no YAML; what is right and wrong, and what there is to
// say about it, it has from the engine and the schemas of documents. It never opens a database or a network, runs no
// pipeline, and starts no plugin but those of plugins.lock, confined and verified as for lint.
package lsp

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeProtocol is the code of a client that does not keep to the protocol.
const codeProtocol = "lsp.protocol"

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	c := &cobra.Command{
		Use:   "lsp",
		Short: "Help an editor with pipelines, as a language server",
		Long: `Speak the Language Server Protocol on standard input and output: an editor starts it, and
shows what is wrong with a pipeline, a template, a test or the configuration of a service
while it is typed, offers fixes, completes, explains, and goes to where something is
declared. Nothing of it opens a database or a network. Files of others that are YAML
too are left alone: a document of ours begins with apiVersion: cipherstream/v1.

docs/editors.md has the settings for Neovim, Helix and Visual Studio Code.`,
		Args: s.NoArguments,
		RunE: s.Action(func(c *cobra.Command, _ []string) error {
			return serve(c.Context(), s)
		}),
	}
	s.PluginsFlag(c)
	return session.Under(session.Writing, c)
}

// serve serves one editor until it leaves.
func serve(ctx context.Context, s *session.Session) error {
	texts := newTexts()
	e, err := s.EngineOver(ctx, nil, texts.open)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := newServer(e, texts, s.Out).serve(ctx, s.In); err != nil {
		return fault.New(codeProtocol, fault.Usage, "%w", err).
			WithHint("an editor starts this command; to check files by hand, use \"cipherstream lint FILE\"")
	}
	return nil
}
