package plugin

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// neededFolder is the same, for commands that do nothing without one.
func (a *app) neededFolder() (string, error) {
	dir := a.GivenFolder()
	if dir == "" {
		return "", terminal.UsageFault("no folder of plugins is given").WithHint("give --plugins FOLDER, or set %s", session.EnvPlugins)
	}
	return dir, nil
}

// requiredFolder is the folder of plugins, which is given and there.
func (a *app) requiredFolder() (string, error) {
	named, err := a.neededFolder()
	if err != nil {
		return "", err
	}
	dir, err := a.PluginFolder()
	if err == nil && dir == "" {
		err = terminal.UsageFault("the folder of plugins, %s, is not there", named).WithHint("the first \"cipherstream plugin install\" makes it")
	}
	return dir, err
}

// hostConfig is how the commands about plugins start those of a folder. The log may be
// nil.
func (a *app) hostConfig(dir string, log *slog.Logger) host.Config {
	return host.Config{FirstParty: bundle.Bundle(session.Version()), Executable: a.Executable, Args: []string{session.ServePlugin}, PluginDir: dir,
		StrictIsolation: a.StrictIsolation(), Log: log}
}

// pluginHost starts the plugins of the folder, whose path it returns.
func (a *app) pluginHost() (*host.Host, string, error) {
	dir, err := a.PluginFolder()
	if err != nil {
		return nil, "", err
	}
	h, err := host.New(a.hostConfig(dir, nil))
	return h, dir, err
}

// programConfig is how a program that need not be in the lock file is started: as the one
// that a host starts without asking, under the name that is returned. Doing, such as
// "tested", is for the error. The log may be nil.
func programConfig(program, doing string, log *slog.Logger) (host.Config, string, error) {
	path, err := filepath.Abs(program)
	if err != nil {
		return host.Config{}, "", terminal.UsageFault("the program cannot be found: %w", err)
	}
	if info, err := os.Stat(path); err != nil {
		return host.Config{}, "", terminal.UsageFault("the program cannot be %s: %w", doing, err)
	} else if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return host.Config{}, "", terminal.UsageFault("%s is not a program that can be executed", path)
	}
	name := filepath.Base(path)
	return host.Config{FirstParty: stage.Bundle{Name: name}, Executable: path, Log: log}, name, nil
}

// pinnedProgram is a program that is started as if it were installed, with all that it declares that it needs.
type pinnedProgram struct {
	host   *host.Host
	entry  host.LockEntry
	folder string
	offer  host.Offer
}

// pinProgram pins a program as it is, asks it without the network what it offers, and grants it the network if it
// declares that it needs it, and files.
func pinProgram(ctx context.Context, h *host.Host, program string, files []string) (*pinnedProgram, error) {
	path, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil, terminal.UsageFault("the program cannot be started: %w", err)
	}
	p := &pinnedProgram{host: h}
	if p.entry, p.folder, err = host.Pin(ctx, path); err != nil {
		return nil, err
	}
	p.entry.Files = files
	p.entry.Grants = p.entry.GrantsOf()
	if p.offer, err = h.Try(ctx, p.entry, p.folder); err != nil {
		return nil, err
	}
	p.entry.Network = p.offer.Network
	p.entry.Grants = p.entry.GrantsOf()
	return p, nil
}

func (p *pinnedProgram) start(ctx context.Context, reach ...host.Reach) (host.Process, error) {
	return p.host.StartEntry(ctx, p.entry, p.folder, reach...)
}
