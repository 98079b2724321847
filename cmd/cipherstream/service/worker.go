package service

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/telemetry"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// workerFlags are the flags of worker.
type workerFlags struct {
	serveFlags
	operations string
	workers    int
}

func (a *app) workerCommand() *cobra.Command {
	var f workerFlags
	c := &cobra.Command{
		Use:   "worker",
		Short: "Run jobs and data streams of the service, and nothing else",
		Long: `Run jobs and data streams of the service until interrupted: on any machine that reaches the record, the databases and
the buckets, and as many as are wanted. The record has to be on a MySQL or MariaDB server, where
services and workers share it; a data directory is one process's.

At SIGTERM the jobs that run are handed back, and begun anew by others. A worker that is killed, or
stands still, loses its jobs within half a minute. The document is read anew on SIGHUP.`,
		Example: `  cipherstream worker --config /etc/cipherstream/service.yaml
  cipherstream worker --config service.yaml --workers 8 --operations 127.0.0.1:9091`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("workers") && f.workers < 1 {
				return usage("--workers is at least 1")
			}
			return a.work(c.Context(), &f)
		}),
	}
	c.Flags().StringVar(&f.config, "config", defaultConfig, "`FILE` of kind Service")
	c.Flags().StringVar(&f.state, "state", "", stateUsage)
	c.Flags().IntVar(&f.workers, "workers", 0, "`N` jobs to run at once (default the document's jobs.workers, and at least 1)")
	c.Flags().StringVar(&f.operations, "operations", config.Off, "`ADDRESS` and port of /metrics, /healthz and /readyz, for operators")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // the flag exists
	return c
}

// load reads the document as this process takes it.
func (f *workerFlags) load(ctx context.Context) (*config.Settings, error) {
	set, diags, source := config.Load(ctx, f.config, f.options())
	if err := terminal.DiagnosticsError(diags, source); err != nil {
		return nil, err
	}
	if set.Operations.Address = f.operations; f.workers > 0 {
		set.Jobs.Workers = f.workers
	}
	if len(set.Buckets) == 0 {
		return nil, fault.New(config.CodeBucket, fault.Usage, "%s declares no bucket, so that there are no jobs", f.config).WithHint("declare one under buckets, and name it at the customers")
	}
	return set, nil
}

func (a *app) work(ctx context.Context, f *workerFlags) error {
	hangUps := a.hangUps()
	if err := f.missing(); err != nil {
		return err
	}
	set, err := f.load(ctx)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(service.LogLevel(set.Log.Level))
	log := telemetry.NewLog(a.Err, level)
	err = a.withParts(ctx, set, log, level, func(cfg service.Config) error {
		w, err := service.NewWorker(ctx, cfg)
		if err != nil {
			return err
		}
		if err := w.Start(ctx); err != nil {
			return err
		}
		defer w.Stop(context.WithoutCancel(ctx))
		for {
			select {
			case <-ctx.Done():
				return nil
			case err := <-w.Failed():
				return err
			case <-hangUps:
				to, err := f.load(ctx)
				if err == nil {
					err = w.Reload(ctx, to)
				}
				if err != nil {
					log.ErrorContext(ctx, "the document cannot take effect now, and nothing was changed", "document", f.config, "err", err)
				}
			}
		}
	})
	if fault.Is(err, store.CodeLocked) {
		return fault.New(store.CodeLocked, fault.Usage, "%w", err).
			WithHint("a data directory is one process's: a service runs its jobs itself (jobs.workers). For workers beside it the record has to be on a MySQL or "+
				"MariaDB server: give state a reference to its URL, env:%s, and take the data along with \"cipherstream state move\"", "CIPHERSTREAM_STATE").WithRetry()
	}
	return err
}

// hangUps tells of SIGHUPs; several that come at once are one.
func (a *app) hangUps() <-chan struct{} {
	hangUps := make(chan struct{}, 1)
	a.OnHangUp(func() {
		select {
		case hangUps <- struct{}{}:
		default: // one is on its way
		}
	})
	return hangUps
}

// withParts opens what a service and a worker are made of, and closes it when do has returned. Without a data directory
// there is one of its own, which is gone with it, or with the next engine where it was killed.
func (a *app) withParts(ctx context.Context, set *config.Settings, log *slog.Logger, level *slog.LevelVar, do func(service.Config) error) (err error) {
	e, err := a.newEngine(ctx, set, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if set.Directory == "" && !set.Shared {
		if set.Directory, err = e.NewDir(); err != nil {
			return err
		}
		ownBucket(set)
	}
	record, err := openRecord(ctx, set, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	key, err := dataKey(set)
	if err != nil {
		return err
	}
	streams, err := a.streamsEngine(ctx, set, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, streams.Close()) }()
	cfg := service.Config{Settings: set, Engine: e, Streams: streams, Record: record, DataKey: key, Version: session.Version(), Log: log, Level: level}
	if len(set.Buckets) > 0 {
		places := newBuckets(set, key)
		defer func() { err = errors.Join(err, places.Close()) }()
		cfg.Buckets = places
	}
	return do(cfg)
}
