package service

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

func (a *app) keyCommand() *cobra.Command {
	var w where
	c := &cobra.Command{
		Use:   "key",
		Short: "Manage the API keys of customers and operators",
		Long: `Manage the keys with which customers and operators call the service. A key is shown once,
when it is made; of it the service keeps a hash only. One that could not be shown, because standard
output is full, is revoked at once.`,
	}
	a.Group(c)
	w.flags(c)
	c.AddCommand(a.keyCreateCommand(&w), a.keyListCommand(&w), a.keyRevokeCommand(&w), a.keyRotateCommand(&w))
	return c
}

// oneArgument is cobra.Command.Args of a command that takes one.
func (a *app) oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return terminal.UsageFault("%s takes %s, but got %d arguments", c.CommandPath(), what, len(args)).WithHint("see %s --help", c.CommandPath())
		}
		return nil
	}
}

func (a *app) keyCreateCommand(w *where) *cobra.Command {
	var want customer.NewKey
	var scopes []string
	var expires string
	c := &cobra.Command{
		Use:   "create CUSTOMER",
		Short: "Make a key, and show it once",
		Example: `  cipherstream key create sunrise --label "nightly extract" --expires 90d
  cipherstream key create --admin --label operator`,
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			switch {
			case want.Admin && len(args) > 0:
				return usage("an operator's key is of no customer, but %q is given", args[0])
			case !want.Admin && len(args) != 1:
				return terminal.UsageFault("%s takes one customer, but got %d arguments", c.CommandPath(), len(args)).WithHint("an operator's key, of no customer, is made with --admin")
			case !want.Admin:
				want.Customer = args[0]
			}
			for _, scope := range scopes {
				want.Scopes = append(want.Scopes, customer.Scope(scope))
			}
			if expires != "" {
				life, err := parseLife(expires)
				if err != nil {
					return err
				}
				want.ExpiresAt = time.Now().Add(life)
			}
			if err := a.checkShown(); err != nil {
				return err
			}
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				key, err := m.CreateKey(ctx, want)
				if err != nil {
					return err
				}
				return a.showIssued(ctx, m, key, "")
			})
		}),
	}
	c.Flags().StringVar(&want.Label, "label", "", "`TEXT` that says what the key is for")
	c.Flags().StringSliceVar(&scopes, "scope", nil, "what the key is good for: procedures, jobs, webhooks, data_stream (repeatable, default all)")
	c.Flags().StringVar(&expires, "expires", "", "`TIME` after which the key ends, such as 90d or 12h (default never)")
	c.Flags().BoolVar(&want.Admin, "admin", false, "make a key of an operator, which is of no customer and is accepted from admin_networks only")
	return c
}

// parseLife reads a duration in days too.
func parseLife(text string) (time.Duration, error) {
	var days int
	if n, err := fmt.Sscanf(text, "%dd", &days); n == 1 && err == nil && fmt.Sprintf("%dd", days) == text && days > 0 && days <= 36500 {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	life, err := time.ParseDuration(text)
	if err != nil || life <= 0 {
		return 0, usage("%q is not a time such as 90d or 12h", text)
	}
	return life, nil
}

func (a *app) keyListCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "list [CUSTOMER]",
		Short: "List keys: what they are good for, and when they were last used",
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			of := ""
			if len(args) > 1 {
				return usage("%s takes one customer at most, but got %d arguments", c.CommandPath(), len(args))
			} else if len(args) == 1 {
				of = args[0]
			}
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				keys, err := m.ListKeys(ctx, of)
				if err != nil {
					return err
				}
				return a.Print(func(out io.Writer) error {
					if a.JSON {
						return terminal.WriteJSON(out, map[string]any{"keys": keys})
					}
					rows := [][]string{{"ID", "KIND", "CUSTOMER", "STATE", "SCOPES", "EXPIRES", "LAST USED", "LABEL"}}
					for _, k := range keys {
						rows = append(rows, []string{k.ID, string(k.Kind), k.Customer, string(k.State), scopeList(k.Scopes), moment(k.ExpiresAt), moment(k.LastUsedAt), k.Label})
					}
					return terminal.WriteTable(out, "", rows)
				})
			})
		}),
	}
}

func scopeList(scopes customer.Scopes) string {
	var names []string
	for _, s := range scopes {
		names = append(names, string(s))
	}
	return strings.Join(names, ",")
}

// moment is a time for a table; the zero time is never.
func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

func (a *app) keyRevokeCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End a key at once",
		Args:  a.oneArgument("the id of one key"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				key, err := m.RevokeKey(ctx, args[0])
				if err != nil {
					return err
				}
				return a.done(key, "key %s is revoked", key.ID)
			})
		}),
	}
}

// done says in a line what was done, or gives a machine the result.
func (a *app) done(result any, format string, args ...any) error {
	return a.answer(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		return err
	})
}

func (a *app) keyRotateCommand(w *where) *cobra.Command {
	var grace string
	c := &cobra.Command{
		Use:   "rotate ID",
		Short: "Make a key like another, which ends after a while",
		Args:  a.oneArgument("the id of one key"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			var life time.Duration // 0 ends the old key at once
			if grace != "0" {
				var err error
				if life, err = parseLife(grace); err != nil {
					return err
				}
			}
			if err := a.checkShown(); err != nil {
				return err
			}
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				key, err := m.RotateKey(ctx, args[0], life)
				if err != nil {
					return err
				}
				return a.showIssued(ctx, m, key, args[0])
			})
		}),
	}
	c.Flags().StringVar(&grace, "grace", "24h", "`TIME` for which the old key still works, such as 24h or 7d; 0 ends it at once")
	return c
}
