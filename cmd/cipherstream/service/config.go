package service

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service/config"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration of the service",
		Long: `Check and show a document of kind Service, by which "cipherstream serve" is configured.

Nothing in it is a secret: where one is needed, a reference stands, env:VARIABLE, file:PATH,
command:PROGRAM ARGUMENTS, or ${secret.NAME} for one of those under spec.secrets.`,
	}
	a.Group(c)
	c.AddCommand(a.configCheckCommand(), a.configPrintCommand(), a.configSchemaCommand())
	return c
}

// document is the one that a command about documents is given.
func document(args []string) (string, error) {
	switch len(args) {
	case 0:
		return defaultConfig, nil
	case 1:
		return args[0], nil
	}
	return "", terminal.UsageFault("one document is taken, but got %d arguments", len(args))
}

func (a *app) configCheckCommand() *cobra.Command {
	var without bool
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say everything that is wrong with the configuration",
		Long: `Say everything that is wrong with a document of kind Service, service.yaml by default, with
place and hint, and with the schedules and pipelines that it names. Secrets are read, certificates and folders
looked at; nothing is connected to.`,
		Example: "  cipherstream config check /etc/cipherstream/service.yaml",
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			path, err := document(args)
			if err != nil {
				return err
			}
			options := config.Options{Secret: session.ReadSecret}
			if without {
				options.Secret = nil
			}
			set, err := a.settings(c.Context(), path, options)
			if err != nil {
				return err
			}
			if err := a.checkSchedules(c.Context(), set); err != nil {
				return err
			}
			if err := a.checkStreamPipelines(c.Context(), set); err != nil {
				return err
			}
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, map[string]any{"document": path, "name": set.Name, "customers": len(set.Customers), "valid": true})
				}
				_, err := fmt.Fprintf(w, "%s: good, %s\n", path, terminal.Counted(len(set.Customers), "customer"))
				return err
			})
		}),
	}
	c.Flags().BoolVar(&without, "without-secrets", false, "check references to secrets in form only, where the secrets cannot be had")
	return c
}

func (a *app) configPrintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "print [FILE]",
		Short: "Show the configuration with the defaults of what it does not say",
		Long: `Show the settings in effect: what a document of kind Service says, service.yaml by default,
and the defaults of what it does not. References stand in the place of secrets; no secret is read.
With --json it is the same document as JSON.`,
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			path, err := document(args)
			if err != nil {
				return err
			}
			set, err := a.settings(c.Context(), path, config.Options{})
			if err != nil {
				return err
			}
			if !a.JSON {
				return a.Print(set.Write)
			}
			values, err := set.Values()
			if err != nil {
				return err
			}
			return a.Print(func(w io.Writer) error { return terminal.WriteJSON(w, values) })
		}),
	}
}

func (a *app) configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of the configuration, for editors",
		Args:  a.NoArguments,
		RunE: a.Action(func(*cobra.Command, []string) error {
			return a.Print(func(w io.Writer) error { return terminal.WriteJSON(w, config.Schema()) })
		}),
	}
}
