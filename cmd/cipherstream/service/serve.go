package service

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/sandbox"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	config  string
	listen  string
	state   string
	sandbox bool
	verbose bool
	data    sandbox.Practice
}

// stateUsage explains --state.
const stateUsage = "`FOLDER` or REFERENCE instead of the document's state: a data directory, or env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS for the URL of a MySQL or MariaDB server"

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the API, and run its jobs",
		Long: `Serve the API until interrupted.

With --sandbox there is nothing to configure: a database of generated data, a customer
called sandbox, and a fresh key, with a line to try it out. All of it is gone afterwards. Its
data stream asks the database for what has changed, and with --sandbox-changes rows do.

Otherwise a document of kind Service says where to listen, who the customers are and what
they may have; "cipherstream config check" explains what is wrong with one. It is read anew
on SIGHUP: what can change does so at once, and a document with a mistake, or with a change
that needs a restart, changes nothing. What happens is logged as JSON on standard error.

At SIGTERM the service is not ready at once, and takes no new requests; what runs may go on
for the time of shutdown.grace, and is cut then, so that nobody takes it for whole.`,
		Example: `  cipherstream serve --sandbox
  cipherstream serve --config /etc/cipherstream/service.yaml`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			switch {
			case f.sandbox && f.state != "":
				return usage("--sandbox has a data directory of its own, which is gone afterwards, but --state names one")
			case f.sandbox && c.Flags().Changed("config"):
				return terminal.UsageFault("--sandbox needs no document, but --config names one").WithHint("give one of them")
			case !f.sandbox && (c.Flags().Changed("sandbox-seed") || c.Flags().Changed("sandbox-scale") || c.Flags().Changed("sandbox-changes")):
				return usage("--sandbox-seed, --sandbox-scale and --sandbox-changes have no effect without --sandbox")
			case f.sandbox:
				return a.serveSandbox(c.Context(), &f)
			}
			return a.serve(c.Context(), &f)
		}),
	}
	c.Flags().StringVar(&f.config, "config", defaultConfig, "`FILE` of kind Service")
	c.Flags().BoolVar(&f.sandbox, "sandbox", false, "serve generated data, with a fresh key for a customer of that name")
	c.Flags().StringVar(&f.listen, "listen", "", "`ADDRESS` to listen on instead of the document's (with --sandbox 127.0.0.1:8080)")
	c.Flags().StringVar(&f.state, "state", "", stateUsage)
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log every request, also with --sandbox")
	f.data.Flags(c, "sandbox-")
	f.data.ChangesFlag(c, "sandbox-")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // the flag exists
	return c
}

func (f *serveFlags) options() config.Options {
	return config.Options{Secret: session.ReadSecret, Listen: f.listen, State: f.state}
}

// missing is the error of a document that nobody has named and that is not there.
func (f *serveFlags) missing() error {
	if _, err := os.Stat(f.config); errors.Is(err, fs.ErrNotExist) && f.config == defaultConfig {
		return terminal.UsageFault("there is no %s in the current folder", defaultConfig).WithHint("name a document with --config FILE, or try serve --sandbox, which needs none")
	}
	return nil
}

// serve serves what a document says.
func (a *app) serve(ctx context.Context, f *serveFlags) error {
	hangUps := a.hangUps()
	if err := f.missing(); err != nil {
		return err
	}
	set, diags, source := config.Load(ctx, f.config, f.options())
	if err := terminal.DiagnosticsError(diags, source); err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(service.LogLevel(set.Log.Level))
	log := telemetry.NewLog(a.Err, level)
	warn(ctx, log, f.config, diags)
	return a.running(ctx, set, log, level, func(ctx context.Context, s *service.Service) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case err := <-s.Failed():
				return err
			case <-hangUps:
				reload(ctx, s, f, log)
			}
		}
	})
}

// reload reads the document anew. What is wrong with it is logged, and the service goes on as before.
func reload(ctx context.Context, s *service.Service, f *serveFlags, log *slog.Logger) {
	set, diags, _ := config.Load(ctx, f.config, f.options())
	if set == nil {
		s.ReloadRefused()
		log.ErrorContext(ctx, "the document has mistakes, and nothing was changed", "document", f.config, "mistakes", diags)
		return
	}
	warn(ctx, log, f.config, diags)
	if err := s.Reload(ctx, set); err != nil {
		log.ErrorContext(ctx, "the document cannot take effect now, and nothing was changed", "document", f.config, "err", err)
	}
}

// warn logs what a document that is good could be better in.
func warn(ctx context.Context, log *slog.Logger, document string, diags diag.List) {
	if len(diags) > 0 {
		log.WarnContext(ctx, "the document has something that may be a mistake", "document", document, "warnings", diags)
	}
}

// running runs a service while do goes on, and ends it properly.
func (a *app) running(ctx context.Context, set *config.Settings, log *slog.Logger, level *slog.LevelVar, do func(context.Context, *service.Service) error) error {
	return a.withParts(ctx, set, log, level, func(cfg service.Config) error {
		s, err := service.New(ctx, cfg)
		if err != nil {
			return err
		}
		if err := s.Start(ctx); err != nil {
			return err
		}
		defer s.Stop(context.WithoutCancel(ctx))
		return do(ctx, s)
	})
}
