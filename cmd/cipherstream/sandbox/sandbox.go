// Package sandbox owns the commands about generated data, in a server that is started for
// it or in a real one, and finds, starts and ends the program that holds that server, for
// "run --sandbox" too. It never holds the server itself: cmd/cipherstream-sandbox does.
package sandbox

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return session.Under(session.Writing, a.sandboxCommand())
}

func (a *app) sandboxCommand() *cobra.Command {
	var data Practice
	var addr string
	var verbose bool
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a database of generated data",
		Long: `Serve a MySQL-compatible database of generated practice data on loopback until
interrupted. The same seed and size give the same rows. The password is made anew
for each start and shown with the connection URL.`,
		Example: "  cipherstream sandbox --addr 127.0.0.1:3307 --scale 5",
		Args:    a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			report, err := a.NewReporter(terminal.ProgressAuto, verbose, false)
			if err != nil {
				return err
			}
			server, err := Start(ctx, a.Terminal, &data, addr, ServerLog(report))
			if err != nil {
				return err
			}
			err = a.Print(func(w io.Writer) error { return a.announce(w, server.DSN()) })
			if err == nil {
				<-ctx.Done()
			}
			if closeErr := server.Close(); err == nil {
				err = closeErr
			}
			return err
		}),
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "loopback `ADDRESS` to listen on; port 0 takes a free one")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what the server logs")
	data.Flags(c, "")
	data.rowFlags(c)
	data.ChangesFlag(c, "")
	c.AddCommand(a.sandboxLoadCommand())
	return c
}

// announce says how the sandbox is reached.
func (a *app) announce(w io.Writer, dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return err
	}
	password, _ := u.User.Password()
	client := fmt.Sprintf("mysql --host=%s --port=%s --user=%s --password=%s %s", u.Hostname(), u.Port(), u.User.Username(), password, u.Path[1:])
	if a.JSON {
		return terminal.WriteJSON(w, map[string]string{"dsn": dsn, "command": client})
	}
	_, err = fmt.Fprintf(w, "Serving until interrupted.\n\n  %s=%q\n  %s\n", session.EnvDSN, dsn, client)
	return err
}

func (a *app) sandboxLoadCommand() *cobra.Command {
	var target session.Database
	var data Practice
	var replace bool
	var progress string
	var tables []string
	c := &cobra.Command{
		Use:   "load",
		Short: "Load the generated data into a real server",
		Long: `Create the practice's tables and procedures in a MySQL or MariaDB server and fill
them. When it fails or is interrupted, it removes what it made. Tables that are
not the practice's own are never touched.`,
		Example: "  cipherstream sandbox load --dsn-file dsn.txt --scale 50",
		Args:    a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			dsn, ok, err := target.Secret()
			switch {
			case err != nil:
				return err
			case !ok:
				return terminal.UsageFault("no connection URL is given").WithHint("set %s, or give --dsn-file PATH or --dsn URL", session.EnvDSN)
			}
			options, err := data.options()
			if err != nil {
				return err
			}
			sql, err := practiceSQL()
			if err != nil {
				return err
			}
			report, err := a.NewReporter(progress, false, false)
			if err != nil {
				return err
			}
			defer report.Clear()
			result, err := sandbox.Load(c.Context(), sandbox.LoadConfig{
				DSN: dsn, SQL: sql, Options: options, Tables: tables, Replace: replace, Progress: loading(report, time.Now()),
			})
			if err != nil {
				return err
			}
			loaded(report, result)
			return nil
		}),
	}
	target.Flags(c)
	data.Flags(c, "")
	data.rowFlags(c)
	c.Flags().StringSliceVar(&tables, "table", nil, "fill only the tables of these `NAMES`; the others stay empty (repeatable, default all)")
	c.Flags().BoolVar(&replace, "replace", false, "drop the practice's tables and procedures first")
	c.Flags().StringVar(&progress, "progress", terminal.ProgressAuto, terminal.ProgressUsage)
	session.Complete(c, "progress", cobra.FixedCompletions(terminal.ProgressModes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// ServerLog takes what the embedded server logs. It warns of every client that
// goes away, which is no news to those who only look at data.
func ServerLog(r *terminal.Reporter) *slog.Logger {
	if !r.Shows(slog.LevelInfo) {
		return nil
	}
	return r.Logger()
}

// loading shows how far a load is.
func loading(r *terminal.Reporter, began time.Time) func(sandbox.LoadProgress) {
	var mu sync.Mutex
	rows := map[string]int64{}
	return func(p sandbox.LoadProgress) {
		mu.Lock()
		rows[p.Table] = p.Rows
		var all int64
		for _, n := range rows {
			all += n
		}
		mu.Unlock()
		elapsed := time.Since(began)
		r.Emit("progress", map[string]any{"table": p.Table, "rows": p.Rows, "total": p.Total, "elapsed_seconds": elapsed.Seconds()})
		r.Show(elapsed, func() string {
			return fmt.Sprintf("%s: %s of %s rows  %s rows/s  %s", p.Table, terminal.Grouped(p.Rows), terminal.Grouped(p.Total), terminal.Grouped(r.Rate(elapsed, all)), terminal.Clock(elapsed))
		})
	}
}

// loaded shows what was loaded.
func loaded(r *terminal.Reporter, result *sandbox.LoadResult) {
	tables := map[string]int64{}
	for _, t := range result.Tables {
		tables[t.Table] = t.Rows
	}
	r.Emit("loaded", map[string]any{"rows": result.Rows(), "tables": tables, "method": result.Method, "elapsed_seconds": result.Elapsed.Seconds()})
	r.Done(fmt.Sprintf("%s rows loaded in %.1f s (%s)", terminal.Grouped(result.Rows()), result.Elapsed.Seconds(), result.Method))
}
