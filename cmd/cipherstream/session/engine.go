package session

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

// The environment variables that the program reads.
const (
	EnvDSN     = "CIPHERSTREAM_DSN"
	EnvKeys    = "CIPHERSTREAM_KEYS"
	EnvPlugins = "CIPHERSTREAM_PLUGINS"
	// EnvSandbox names the program that holds the embedded server, where it is not beside this one.
	EnvSandbox = "CIPHERSTREAM_SANDBOX"
)

// PluginsFlag lets a command use third-party plugins.
func (s *Session) PluginsFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.pluginDir, "plugins", "", "`FOLDER` with plugins.lock and third-party plugins (default $"+EnvPlugins+")")
	_ = c.MarkFlagDirname("plugins") // the flag exists
	s.strictIsolationFlag(c)
}

// Engine makes the engine of a command. The log receives what plugin processes
// write; it may be nil.
func (s *Session) Engine(ctx context.Context, log *slog.Logger) (*engine.Engine, error) {
	return s.EngineOver(ctx, log, nil)
}

// EngineOver is Engine with pipelines that are opened by a function of the caller's: see engine.Config.
func (s *Session) EngineOver(ctx context.Context, log *slog.Logger, open func(path string) (fs.File, error)) (*engine.Engine, error) {
	dir, err := s.PluginFolder()
	if err != nil {
		return nil, err
	}
	cfg := engine.Config{
		FirstParty: bundle.Bundle(Version()),
		Executable: s.Executable,
		Args:       []string{ServePlugin},
		Catalogue:  pipelines.FS(),
		Open:       open,
		PluginDir:  dir,
		Log:        log,
	}
	if err := s.limits.limit(&cfg); err != nil {
		return nil, err
	}
	return engine.New(ctx, cfg)
}

// Loader is an engine that starts nothing and knows no third-party plugins.
func Loader() (*engine.Engine, error) {
	return engine.New(context.Background(), engine.Config{FirstParty: bundle.Bundle(Version()), Catalogue: pipelines.FS()})
}

// GivenFolder is the folder of plugins that the user has named; empty is none. It may be
// missing.
func (s *Session) GivenFolder() string { return cmp.Or(s.pluginDir, os.Getenv(EnvPlugins)) }

// PluginFolder is the folder of plugins, which is there; empty is none, also where the
// variable names one that nothing was installed into yet.
func (s *Session) PluginFolder() (string, error) {
	dir := s.GivenFolder()
	if dir == "" {
		return "", nil
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.pluginDir == "":
		// The variable is set before the first installation, which makes the folder.
		return "", nil
	case err != nil:
		return "", terminal.UsageFault("the folder of plugins cannot be used: %w", err)
	case !info.IsDir():
		return "", terminal.UsageFault("the folder of plugins, %s, is no folder", dir)
	}
	return dir, nil
}

// OutputPath is the absolute path of a file.
func OutputPath(name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return "", terminal.UsageFault("the current folder is unknown, so that %q names no file: %w", name, err)
	}
	return path, nil
}
