package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// codeDeclined says that a person did not want a program.
const codeDeclined = "install.declined"

type installFlags struct {
	sha256, name          string
	allowNetwork, replace bool
	allowFiles            []string
	yes                   bool
	progress              string
}

func (a *app) pluginInstallCommand() *cobra.Command {
	var f installFlags
	c := &cobra.Command{
		Use:   "install PATH|URL",
		Short: "Install a plugin",
		Long: `Install a plugin: copy its program, or download it with https, into the folder of
plugins, and pin it there in plugins.lock by name, version, SHA-256 and origin.
From then on nothing but this very program is started under its name.

PATH may be the folder of a bundle: a plugin with all that it needs, such as a Python or
JavaScript program with its packages. Its program is the file "plugin" in it. The folder is
copied, and pinned by one SHA-256 over everything in it; a link may lead to a program in
/usr/local/bin, /usr/bin or /bin, which is the system's and not pinned, and nowhere else
out of the folder. Whenever the plugin is started, all of it is verified.

A program from a URL is not started before its SHA-256 is known to be right: give
the one that its publisher names with --sha256. Without it you are shown the digest
of what came, and asked; --yes accepts it unseen.

The plugin is started once, confined as in a run, to ask for its name, its version
and its stages. One that asks for the network is refused without --allow-network.
It sees none of your files but those that --allow-files grants: a folder with all
that is in it, or a file, to be read (PATH:ro, or PATH alone) or written (PATH:rw).
What is granted is pinned with the program; for another one, grant it again.
When anything fails, the folder is as it was.`,
		Example: `  cipherstream plugin install bin/upper --plugins ./plugins
  cipherstream plugin install bin/import --allow-files /data/in:ro --allow-files /data/out:rw
  cipherstream plugin install https://plugins.example.org/upper-1.2.0-linux-amd64 \
    --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return terminal.UsageFault("%s takes one program, but got %d arguments", c.CommandPath(), len(args)).WithHint("give the path or the URL of the plugin's program")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error { return a.pluginInstall(c.Context(), args[0], &f) }),
	}
	c.Flags().StringVar(&f.sha256, "sha256", "", "`DIGEST` that the program must have, in hexadecimal")
	c.Flags().StringVar(&f.name, "name", "", "`NAME` that the plugin must have")
	c.Flags().BoolVar(&f.allowNetwork, "allow-network", false, "let the plugin use the network if it asks for it")
	c.Flags().StringArrayVar(&f.allowFiles, "allow-files", nil, allowFilesUsage)
	c.Flags().BoolVar(&f.replace, "replace", false, "replace the program that the plugin has now")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "accept a downloaded program whose SHA-256 is not given")
	c.Flags().StringVar(&f.progress, "progress", terminal.ProgressAuto, terminal.ProgressUsage)
	for _, flag := range []string{"sha256", "name"} {
		session.Complete(c, flag, cobra.NoFileCompletions)
	}
	session.Complete(c, "progress", cobra.FixedCompletions(terminal.ProgressModes, cobra.ShellCompDirectiveNoFileComp))
	a.PluginsFlag(c)
	return c
}

func (a *app) pluginInstall(ctx context.Context, from string, f *installFlags) error {
	dir, err := a.neededFolder()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		// What is missing is made.
		if dir, err = a.PluginFolder(); err != nil {
			return err
		}
	}
	files, err := fileGrants(f.allowFiles)
	if err != nil {
		return err
	}
	report, err := a.NewReporter(f.progress, false, false)
	if err != nil {
		return err
	}
	defer report.Clear()
	request := install.Request{
		From: from, SHA256: f.sha256, Name: f.name, AllowNetwork: f.allowNetwork, AllowFiles: files, Replace: f.replace,
		Progress: downloading(report, time.Now()),
	}
	if strings.Contains(from, "://") && f.sha256 == "" {
		if request.Accept, err = a.acceptance(f, report); err != nil {
			return err
		}
	}
	done, err := install.Install(ctx, install.Config{Host: a.hostConfig(dir, report.Logger())}, request)
	if err != nil {
		return err
	}
	report.Clear()
	for _, warning := range done.Warnings {
		report.Logger().Warn(warning)
	}
	return a.Print(func(w io.Writer) error {
		p := offered(host.Found{Entry: done.Entry, Offer: done.Offer})
		if a.JSON {
			return terminal.WriteJSON(w, map[string]any{"plugin": p, "replaced": replacedBy(done), "warnings": append([]string{}, done.Warnings...)})
		}
		verb := "installed"
		if r := replacedBy(done); r != nil {
			verb = fmt.Sprintf("replaced %s %s with", diag.Printable(r.Name), diag.Printable(r.Version))
		}
		fmt.Fprintf(w, "%s %s %s in %s\n", verb, p.Name, p.Version, diag.Printable(dir))
		var stages []string
		for _, s := range p.Stages {
			stages = append(stages, string(s.Kind)+"/"+s.Name)
		}
		return terminal.WriteTable(w, "  ", [][]string{
			{"sha256", p.SHA256}, {"origin", p.Origin}, {"network", p.Network.String()}, {"files", p.filesText()}, {"stages", strings.Join(stages, ", ")},
		})
	})
}

// replaced is what a plugin was before.
type replaced struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

func replacedBy(done *install.Installed) *replaced {
	if done.Replaced == nil {
		return nil
	}
	return &replaced{done.Replaced.Name, done.Replaced.Version, done.Replaced.SHA256}
}

// acceptance is who decides about a downloaded program without a digest.
func (a *app) acceptance(f *installFlags, report *terminal.Reporter) (func(context.Context, string, int64) error, error) {
	switch {
	case f.yes:
		return func(context.Context, string, int64) error { return nil }, nil
	case a.JSON || !terminal.IsTerminal(a.In) || !terminal.IsTerminal(a.Err):
		return nil, terminal.UsageFault("a program from a URL needs its SHA-256").
			WithHint("give the one that its publisher names with --sha256, or accept what comes with --yes")
	}
	return func(ctx context.Context, sha256 string, bytes int64) error {
		report.Clear()
		fmt.Fprintf(a.Err, "The program has %s and the SHA-256\n  %s\nIs it the one that its publisher names? Install it? [y/N] ", terminal.Bytes(bytes), sha256)
		answer := make(chan string, 1)
		go func() {
			// It stays behind when the command is interrupted; the process ends then.
			line, _ := bufio.NewReader(io.LimitReader(a.In, 64)).ReadString('\n')
			answer <- line
		}()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case line := <-answer:
			if line = strings.ToLower(strings.TrimSpace(line)); line == "y" || line == "yes" {
				return nil
			}
			return fault.New(codeDeclined, fault.Usage, "the program was not accepted, and nothing was installed")
		}
	}, nil
}

// downloading shows how far a download is.
func downloading(r *terminal.Reporter, began time.Time) func(done, total int64) {
	return func(done, total int64) {
		elapsed := time.Since(began)
		r.Emit("progress", map[string]any{"bytes": done, "total": total, "elapsed_seconds": elapsed.Seconds()})
		r.Show(elapsed, func() string {
			of := ""
			if total >= 0 {
				of = " of " + terminal.Bytes(total)
			}
			return fmt.Sprintf("%s%s  %s/s  %s", terminal.Bytes(done), of, terminal.Bytes(r.Rate(elapsed, done)), terminal.Clock(elapsed))
		})
	}
}

func (a *app) pluginRemoveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a plugin",
		Long: `Remove a plugin from the folder of plugins: its entry in plugins.lock, and its
program. Runs that have started it go on.`,
		Args: a.onePlugin,
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			dir, err := a.requiredFolder()
			if err != nil {
				return err
			}
			entry, err := install.Remove(c.Context(), dir, args[0])
			if err != nil {
				return a.meant(err, dir, args[0])
			}
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, map[string]any{"removed": replaced{entry.Name, entry.Version, entry.SHA256}})
				}
				_, err := fmt.Fprintf(w, "removed %s %s from %s\n", entry.Name, diag.Printable(entry.Version), diag.Printable(dir))
				return err
			})
		}),
		ValidArgsFunction: a.completePlugin,
	}
	a.PluginsFlag(c)
	return c
}

func (a *app) onePlugin(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return terminal.UsageFault("%s takes one plugin, but got %d arguments", c.CommandPath(), len(args)).WithHint("give a name that \"cipherstream plugin list\" shows")
	}
	return nil
}

// meant says which plugin may have been meant by a name that no plugin has.
func (a *app) meant(err error, dir, name string) error {
	f := fault.From(err)
	if f.Code != "plugin.unknown" {
		return err
	}
	if near := diag.Nearest(name, pinnedNames(dir)); len(near) > 0 {
		return f.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return f.WithHint("\"cipherstream plugin list\" shows the plugins")
}
