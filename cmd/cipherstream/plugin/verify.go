package plugin

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codePluginVerify says that a plugin of the lock file is not what it should be.
const codePluginVerify = "plugin.verify_failed"

func (a *app) pluginVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [NAME...]",
		Short: "Check that the plugins are what plugins.lock says",
		Long: `Check the plugins of plugins.lock, or those that are named: the program is there,
its SHA-256 (of a bundle, that of the
whole folder) is the one that is pinned, it starts, it speaks this program's protocol
version, it has the name and the version that are pinned, and it asks for no network
that it is not granted. A program with another SHA-256 is not started. What the system
does not keep a plugin from, of files, network, processes and memory, is named.

The exit code is 1 when a check fails.`,
		RunE: a.Action(func(c *cobra.Command, names []string) error {
			dir, err := a.requiredFolder()
			if err != nil {
				return err
			}
			return a.pluginVerify(c.Context(), dir, names)
		}),
		ValidArgsFunction: a.completePlugins,
	}
	a.PluginsFlag(c)
	return c
}

// verifiedPlugin is a verdict for machines.
type verifiedPlugin struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	pinnedPlugin
	Network bool `json:"network"`
	// Isolation is how its process was kept apart, and NotConfined what it was not kept from.
	Isolation   string                    `json:"isolation,omitempty"`
	NotConfined []string                  `json:"not_confined,omitempty"`
	OK          bool                      `json:"ok"`
	Checks      map[string]install.Status `json:"checks"`
	Errors      []*pluginError            `json:"errors"`
}

func (a *app) pluginVerify(ctx context.Context, dir string, names []string) error {
	all, err := install.Verify(ctx, install.Config{Host: a.hostConfig(dir, nil)}, names...)
	if err != nil {
		pinned := pinnedNames(dir)
		if i := slices.IndexFunc(names, func(name string) bool { return !slices.Contains(pinned, name) }); i >= 0 {
			return a.meant(err, dir, names[i])
		}
		return err
	}
	plugins, broken := []verifiedPlugin{}, 0
	for _, v := range all {
		p := verifiedPlugin{Name: v.Entry.Name, Version: v.Entry.Version, pinnedPlugin: pinnedPlugin{v.Entry.SHA256, v.Entry.Program(), v.Entry.Origin},
			Network: v.Entry.Network, Isolation: v.Offer.Isolation.String(), NotConfined: v.Offer.Isolation.NotConfined(), OK: v.OK(), Checks: v.Checks, Errors: []*pluginError{}}
		for _, f := range v.Faults {
			p.Errors = append(p.Errors, errorOf(f))
		}
		if !p.OK {
			broken++
		}
		plugins = append(plugins, p)
	}
	if err := a.Print(func(w io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(w, map[string]any{"plugins": plugins, "good": len(plugins) - broken, "broken": broken})
		}
		if len(plugins) == 0 {
			_, err := fmt.Fprintf(w, "no plugin is installed in %s\n", diag.Printable(dir))
			return err
		}
		return writeVerified(w, plugins)
	}); err != nil {
		return err
	}
	if broken > 0 {
		return fault.New(codePluginVerify, fault.Plugin, "%d of %s in %s must not be used as they are", broken, terminal.Counted(len(plugins), "plugin"), dir)
	}
	return nil
}

// writeVerified is a table of the checks, and below it why some have failed.
func writeVerified(w io.Writer, plugins []verifiedPlugin) error {
	header := []string{"PLUGIN", "PINNED"}
	for _, check := range install.Checks {
		header = append(header, strings.ToUpper(check))
	}
	rows := [][]string{header}
	for _, p := range plugins {
		row := []string{p.Name, p.Version}
		for _, check := range install.Checks {
			row = append(row, map[install.Status]string{install.Passed: "ok", install.Failed: "FAIL", install.Skipped: "-"}[p.Checks[check]])
		}
		rows = append(rows, row)
	}
	if err := terminal.WriteTable(w, "", rows); err != nil {
		return err
	}
	for _, p := range plugins {
		if !p.OK {
			fmt.Fprintf(w, "\n%s\n", p.Name)
		} else if len(p.NotConfined) > 0 {
			fmt.Fprintf(w, "\n%s: %s\n", p.Name, diag.Printable(p.Isolation))
		}
		for _, e := range p.Errors {
			writeBroken(w, e)
		}
	}
	return nil
}

// pinnedNames lists the plugins of a folder's lock file, for hints and completion.
func pinnedNames(dir string) (names []string) {
	lock, err := host.ReadLockfile(filepath.Join(dir, host.LockName))
	if err != nil {
		return nil
	}
	for _, p := range lock.Plugins {
		names = append(names, p.Name)
	}
	return names
}

// completePlugin completes the name of one plugin of the folder.
func (a *app) completePlugin(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completePlugins(c, args, prefix)
}

// completePlugins completes any number of plugins of the folder.
func (a *app) completePlugins(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	dir, err := a.PluginFolder()
	if err != nil || dir == "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.DeleteFunc(pinnedNames(dir), func(name string) bool { return slices.Contains(args, name) })
	return names, cobra.ShellCompDirectiveNoFileComp
}
