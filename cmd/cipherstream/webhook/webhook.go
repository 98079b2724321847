// Package webhook owns the commands for those who receive webhooks: a receiver to try things with, and the check of a
// request that was kept. It owns how a request is taken apart and what is said of it; what is signed, and how, is that of
// sdk/webhook. It never sends a request, and asks no service.
package webhook

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package: the group webhook, to which others may be added.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	c := &cobra.Command{
		Use:   "webhook",
		Short: "Receive webhooks, and check those that were kept",
		Long: `Try a receiver of webhooks: listen is one, which shows what comes and answers as it is
told, and verify says of a request that was kept who has signed what.`,
	}
	a.Group(c)
	c.AddCommand(a.listenCommand(), a.verifyCommand())
	return session.Under(session.Calling, c)
}

// EnvSecrets holds the secrets where no flag says where they are.
const EnvSecrets = "CIPHERSTREAM_WEBHOOK_SECRETS"

const secretsUsage = "`WHERE` the secrets are: env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS (default env:" + EnvSecrets + ")"

// secretsHelp is what both commands say of their secrets.
const secretsHelp = `The secrets come from --secrets or ` + EnvSecrets + `, one a line or with
commas between them: the customer's, and while it is rotated the other one too.
--secrets takes no secret, which others could see in the list of processes, but says
where they are.`

// readSecrets reads the secrets from where they are.
func readSecrets(ctx context.Context, from string) ([]string, error) {
	if from == "" {
		if os.Getenv(EnvSecrets) == "" {
			return nil, terminal.UsageFault("no webhook secret is given").WithHint("set %s, or give --secrets file:PATH", EnvSecrets)
		}
		from = "env:" + EnvSecrets
	}
	text, err := session.ReadSecret(ctx, from)
	if err != nil {
		return nil, err
	}
	secrets := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	if len(secrets) == 0 {
		return nil, terminal.UsageFault("no webhook secret is given")
	}
	for _, secret := range secrets {
		if err := webhook.CheckSecret(secret); err != nil {
			return nil, err
		}
	}
	return secrets, nil
}
