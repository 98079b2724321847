// Package service owns the commands about the service: the one that runs it, those that check its configuration, those
// with which an operator manages keys and customers, and the client that fetches an answer. It wires the engine, the
// record and the service together, and never does what one of them does.
package service

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

// app is the execution of the command line that the commands belong to.
type app struct{ *session.Session }

// Commands are those of this package.
func Commands(s *session.Session) []*cobra.Command {
	a := &app{s}
	return slices.Concat(
		session.Under(session.Serving, a.serveCommand(), a.workerCommand(), a.configCommand(), a.keyCommand(), a.customerCommand(),
			a.maintenanceCommand(), a.stateCommand(), a.doctorCommand()),
		session.Under(session.Calling, a.callCommand(), a.jobsCommand(), a.scheduleCommand(), a.webhookCommand(), a.dataStreamCommand()),
	)
}

// defaultConfig is the service's document where none is named.
const defaultConfig = "service.yaml"

// settings reads a document; warnings are shown.
func (a *app) settings(ctx context.Context, path string, options config.Options) (*config.Settings, error) {
	settings, diags, source := config.Load(ctx, path, options)
	if err := a.Check(source, diags); err != nil {
		return nil, err
	}
	return settings, nil
}

// engine makes the engine of a service.
func (a *app) newEngine(ctx context.Context, set *config.Settings, log *slog.Logger) (*engine.Engine, error) {
	catalogue := fs.FS(pipelines.FS())
	if set.Catalogue != "" {
		catalogue = os.DirFS(set.Catalogue)
	}
	return engine.New(ctx, engine.Config{
		FirstParty: bundle.Bundle(session.Version()), Executable: a.Executable, Args: []string{session.ServePlugin},
		Catalogue: catalogue, NoFiles: true,
		PluginDir: set.Plugins, Warm: set.Limits.Warm, Log: log,
	})
}

// streamsEngine makes the engine that runs the pipelines of data streams: those of this program by their names, and files that
// the document names. No request reaches it.
func (a *app) streamsEngine(ctx context.Context, set *config.Settings, log *slog.Logger) (*engine.Engine, error) {
	own, err := fs.Sub(pipelines.FS(), "streams")
	if err != nil {
		return nil, err
	}
	return engine.New(ctx, engine.Config{
		FirstParty: bundle.Bundle(session.Version()), Executable: a.Executable, Args: []string{session.ServePlugin},
		Catalogue: own, PluginDir: set.Plugins, Log: log,
	})
}

// dataKey is the key of the data directory, or the one that the document refers to.
func dataKey(set *config.Settings) (*datakey.Key, error) {
	if set.DataKey.Reveal() != "" {
		return datakey.Parse(set.DataKey)
	}
	return datakey.Open(set.Directory)
}

func usage(format string, args ...any) error { return terminal.UsageFault(format, args...) }
