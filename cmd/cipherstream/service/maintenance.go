package service

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/customer"
)

func (a *app) maintenanceCommand() *cobra.Command {
	var w where
	c := &cobra.Command{
		Use:   "maintenance",
		Short: "Tell customers of a maintenance",
	}
	a.Group(c)
	w.flags(c)
	c.AddCommand(a.maintenanceAnnounceCommand(&w))
	return c
}

func (a *app) maintenanceAnnounceCommand(w *where) *cobra.Command {
	var from, to, message string
	c := &cobra.Command{
		Use:   "announce",
		Short: "Tell every customer when the service may not answer, and why",
		Long: `Tell every customer that has a webhook or mail for it, with the event system.maintenance, when the
service may not answer, and why. It is sent by the service that runs, or by the next one that does.`,
		Example: `  cipherstream maintenance announce --from 2026-03-01T22:00:00+11:00 --to 2026-03-01T23:00:00+11:00 \
    --message "The service is updated; jobs wait until then."`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			want := customer.Maintenance{Message: message}
			for _, t := range []struct {
				flag, text string
				into       *time.Time
			}{{"from", from, &want.StartsAt}, {"to", to, &want.EndsAt}} {
				if t.text == "" {
					return terminal.UsageFault("no --%s is given", t.flag).WithHint("give a time with its zone, such as 2026-03-01T22:00:00Z")
				}
				at, err := time.Parse(time.RFC3339, t.text)
				if err != nil {
					return terminal.UsageFault("--%s takes a time with its zone, such as 2026-03-01T22:00:00Z, but got %q", t.flag, diag.Printable(t.text))
				}
				*t.into = at
			}
			if message == "" {
				return terminal.UsageFault("no --message is given").WithHint("say what customers should know")
			}
			return a.operate(c, w, func(ctx context.Context, m admin.Manage) error {
				told, err := m.Announce(ctx, want)
				if err != nil {
					return err
				}
				return a.done(told, "%s are told of the maintenance from %s to %s", terminal.Counted(told.Customers, "customer"),
					told.StartsAt.Format(time.RFC3339), told.EndsAt.Format(time.RFC3339))
			})
		}),
	}
	c.Flags().StringVar(&from, "from", "", "`TIME` at which it begins, with its zone")
	c.Flags().StringVar(&to, "to", "", "`TIME` at which it ends, at most 30 days later")
	c.Flags().StringVar(&message, "message", "", "what customers are told")
	return c
}
