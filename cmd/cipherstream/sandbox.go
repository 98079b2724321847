package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/engine/sandbox"
)

func (a *app) sandboxCommand() *cobra.Command {
	var data practice
	var addr string
	var verbose bool
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a database of generated data",
		Long: `Serve a MySQL-compatible database of generated practice data on loopback until
interrupted. The same seed and size give the same rows. The password is made anew
for each start and shown with the connection URL.`,
		Example: "  cipherstream sandbox --addr 127.0.0.1:3307 --scale 5",
		Args:    a.noArguments,
		RunE: a.action(func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			report, err := a.newReporter(progressAuto, verbose, false)
			if err != nil {
				return err
			}
			server, err := a.startSandbox(ctx, &data, addr, report.sandboxLog())
			if err != nil {
				return err
			}
			err = a.print(func(w io.Writer) error { return a.announce(w, server.DSN()) })
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
	data.flags(c, "")
	data.rowFlags(c)
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
	if a.json {
		return writeJSON(w, map[string]string{"dsn": dsn, "command": client})
	}
	_, err = fmt.Fprintf(w, "Serving until interrupted.\n\n  %s=%q\n  %s\n", envDSN, dsn, client)
	return err
}

func (a *app) sandboxLoadCommand() *cobra.Command {
	var target database
	var data practice
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
		Args:    a.noArguments,
		RunE: a.action(func(c *cobra.Command, _ []string) error {
			dsn, ok, err := target.secret()
			switch {
			case err != nil:
				return err
			case !ok:
				return usageFault("no connection URL is given").WithHint("set %s, or give --dsn-file PATH or --dsn URL", envDSN)
			}
			options, err := data.options()
			if err != nil {
				return err
			}
			sql, err := practiceSQL()
			if err != nil {
				return err
			}
			report, err := a.newReporter(progress, false, false)
			if err != nil {
				return err
			}
			defer report.clear()
			result, err := sandbox.Load(c.Context(), sandbox.LoadConfig{
				DSN: dsn, SQL: sql, Options: options, Tables: tables, Replace: replace, Progress: report.loading(time.Now()),
			})
			if err != nil {
				return err
			}
			report.loaded(result)
			return nil
		}),
	}
	target.flags(c)
	data.flags(c, "")
	data.rowFlags(c)
	c.Flags().StringSliceVar(&tables, "table", nil, "fill only the tables of these `NAMES`; the others stay empty (repeatable, default all)")
	c.Flags().BoolVar(&replace, "replace", false, "drop the practice's tables and procedures first")
	c.Flags().StringVar(&progress, "progress", progressAuto, progressUsage)
	complete(c, "progress", cobra.FixedCompletions(progressModes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// sandboxLog takes what the embedded server logs. It warns of every client that
// goes away, which is no news to those who only look at data.
func (r *reporter) sandboxLog() *slog.Logger {
	if !r.verbose {
		return nil
	}
	return r.logger()
}

// loading shows how far a load is.
func (r *reporter) loading(began time.Time) func(sandbox.LoadProgress) {
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
		r.emit("progress", map[string]any{"table": p.Table, "rows": p.Rows, "total": p.Total, "elapsed_seconds": elapsed.Seconds()})
		r.show(elapsed, func() string {
			return fmt.Sprintf("%s: %s of %s rows  %s rows/s  %s", p.Table, grouped(p.Rows), grouped(p.Total), grouped(r.pace.add(elapsed, all)), clock(elapsed))
		})
	}
}

// loaded shows what was loaded.
func (r *reporter) loaded(result *sandbox.LoadResult) {
	tables := map[string]int64{}
	for _, t := range result.Tables {
		tables[t.Table] = t.Rows
	}
	r.emit("loaded", map[string]any{"rows": result.Rows(), "tables": tables, "method": result.Method, "elapsed_seconds": result.Elapsed.Seconds()})
	r.done(fmt.Sprintf("%s rows loaded in %.1f s (%s)", grouped(result.Rows()), result.Elapsed.Seconds(), result.Method))
}
