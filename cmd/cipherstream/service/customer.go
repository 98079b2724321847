package service

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

func (a *app) customerCommand() *cobra.Command {
	var w where
	c := &cobra.Command{
		Use:   "customer",
		Short: "Manage customers and their encryption keys",
		Long: `Manage the customers that the configuration declares: take one out of service and into it
again, and make, activate and retire the keys that its deliveries are encrypted with.`,
	}
	a.Group(c)
	w.flags(c)
	c.AddCommand(a.customerListCommand(&w), a.customerSwitchCommand(&w, "enable", "Take a customer into service again"),
		a.customerSwitchCommand(&w, "disable", "Take a customer out of service: its keys are refused"), a.sealingKeyCommand(&w))
	return c
}

func (a *app) customerListCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List customers",
		Args:  a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				customers, err := m.ListCustomers(ctx)
				if err != nil {
					return err
				}
				return a.Print(func(out io.Writer) error {
					if a.JSON {
						return terminal.WriteJSON(out, map[string]any{"customers": customers})
					}
					rows := [][]string{{"ID", "STATE", "KEYS", "ENCRYPTION KEY", "NAME"}}
					for _, c := range customers {
						state := "enabled"
						if c.Disabled {
							state = "disabled"
						}
						if c.Demo {
							state += ", demo"
						}
						rows = append(rows, []string{c.ID, state, strconv.Itoa(c.ActiveKeys), c.SealingKeyID, c.Name})
					}
					return terminal.WriteTable(out, "", rows)
				})
			})
		}),
	}
}

func (a *app) customerSwitchCommand(w *where, word, short string) *cobra.Command {
	return &cobra.Command{
		Use:   word + " CUSTOMER",
		Short: short,
		Args:  a.oneArgument("one customer"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				do := m.Enable
				if word == "disable" {
					do = m.Disable
				}
				info, err := do(ctx, args[0])
				if err != nil {
					return err
				}
				return a.done(info, "customer %s is %sd", info.ID, word)
			})
		}),
	}
}

func (a *app) sealingKeyCommand(w *where) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Manage the encryption keys of a customer",
		Long: `Manage the keys that a customer's deliveries are encrypted with. A key that is made is shown
once, for the customer, and encrypts nothing before it is activated; the one before it retires then,
and still opens what it has encrypted, at the customer's.`,
	}
	a.Group(c)
	c.AddCommand(a.sealingListCommand(w), a.sealingNewCommand(w),
		a.sealingStateCommand(w, "activate", "Encrypt with a key from now on"), a.sealingStateCommand(w, "retire", "Encrypt with a key no more"))
	return c
}

func (a *app) sealingListCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "list CUSTOMER",
		Short: "List the encryption keys of a customer",
		Args:  a.oneArgument("one customer"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				keys, err := m.ListSealingKeys(ctx, args[0])
				if err != nil {
					return err
				}
				return a.Print(func(out io.Writer) error {
					if a.JSON {
						return terminal.WriteJSON(out, map[string]any{"keys": keys})
					}
					rows := [][]string{{"ID", "STATE", "FROM", "ACTIVATED", "RETIRED", "USES"}}
					for _, k := range keys {
						rows = append(rows, []string{k.ID, string(k.State), k.Origin, moment(k.ActivatedAt), moment(k.RetiredAt), strconv.FormatInt(k.Uses, 10)})
					}
					return terminal.WriteTable(out, "", rows)
				})
			})
		}),
	}
}

func (a *app) sealingNewCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:   "new CUSTOMER",
		Short: "Make an encryption key, and show it once",
		Args:  a.oneArgument("one customer"),
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if err := a.checkShown(); err != nil {
				return err
			}
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				key, err := m.NewSealingKey(ctx, args[0])
				if err != nil {
					return err
				}
				return a.showOnce(ctx, key, func(out io.Writer) error {
					_, err := fmt.Fprintf(out, "%s\n\nThis is encryption key %s of %s, shown once. It encrypts from when it is activated:\n\n  cipherstream customer key activate %s %s\n",
						key.Text, key.ID, key.Customer, key.Customer, key.ID)
					return err
				}, func(ctx context.Context) error {
					_, err := m.RetireSealingKey(ctx, key.Customer, key.ID)
					return err
				}, "cipherstream customer key retire "+key.Customer+" "+key.ID)
			})
		}),
	}
}

func (a *app) sealingStateCommand(w *where, word, short string) *cobra.Command {
	return &cobra.Command{
		Use:   word + " CUSTOMER ID",
		Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return terminal.UsageFault("%s takes a customer and the id of one of its keys, but got %d arguments", c.CommandPath(), len(args))
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				var key customer.SealingKeyInfo
				var err error
				if word == "activate" {
					key, err = m.ActivateSealingKey(ctx, args[0], args[1])
				} else {
					key, err = m.RetireSealingKey(ctx, args[0], args[1])
				}
				if err != nil {
					return err
				}
				return a.done(key, "encryption key %s of %s is %s", key.ID, key.Customer, key.State)
			})
		}),
	}
}
