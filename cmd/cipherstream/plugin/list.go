package plugin

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

func (a *app) pluginCommand() *cobra.Command {
	c := &cobra.Command{Use: "plugin", Short: "List, install, check, write and test plugins"}
	a.Group(c)
	c.AddCommand(
		a.pluginListCommand(), a.pluginInfoCommand(), a.pluginInstallCommand(), a.pluginVerifyCommand(), a.pluginRemoveCommand(),
		a.pluginTestCommand(), a.pluginReplayCommand(), a.pluginNewCommand(), a.pluginDevCommand(),
	)
	return c
}

func (a *app) pluginListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the plugins and their stages",
		Long: `List the plugins and their stages: the first-party plugin, then those of the
folder with plugins.lock, which are started for it. One that is broken is shown
as such. With --json, the settings of each stage too.`,
		Args: a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			h, _, err := a.pluginHost()
			if err != nil {
				return err
			}
			defer h.Close()
			plugins, err := h.Survey(c.Context())
			if err != nil {
				return err
			}
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					list := []offeredPlugin{}
					for _, p := range plugins {
						list = append(list, offered(p))
					}
					return terminal.WriteJSON(w, map[string]any{"plugins": list})
				}
				return writePlugins(w, plugins)
			})
		}),
	}
	a.PluginsFlag(c)
	return c
}

// offeredPlugin is a plugin for machines.
type offeredPlugin struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	FirstParty bool   `json:"first_party"`
	pinnedPlugin
	Protocol int           `json:"protocol,omitempty"`
	Network  networkAccess `json:"network"`
	// Files is what a third-party plugin is granted of the file system, as PATH:ro or PATH:rw.
	Files     []string `json:"files,omitempty"`
	Isolation string   `json:"isolation,omitempty"`
	// NotConfined is what it is not kept from: of files, network, processes and memory.
	NotConfined []string       `json:"not_confined,omitempty"`
	Stages      []offeredStage `json:"stages"`
	Error       *pluginError   `json:"error,omitempty"`
}

// pinnedPlugin is what the lock file says beside name and version; of the first-party
// plugin it says nothing.
type pinnedPlugin struct {
	SHA256 string `json:"sha256,omitempty"`
	File   string `json:"file,omitempty"`
	Origin string `json:"origin,omitempty"`
}

type networkAccess struct {
	Asked   bool `json:"asked"`
	Granted bool `json:"granted"`
}

func (n networkAccess) String() string {
	switch {
	case n.Asked && n.Granted:
		return "asked for, granted"
	case n.Asked:
		return "asked for, not granted"
	case n.Granted:
		return "not asked for, granted"
	}
	return "not asked for, not granted"
}

// pluginError says why a plugin is broken.
type pluginError struct {
	Code    string            `json:"code"`
	Class   fault.Class       `json:"class"`
	Message string            `json:"message"`
	Hint    string            `json:"hint,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

func errorOf(err error) *pluginError {
	f := fault.From(err)
	if f == nil {
		return nil
	}
	return &pluginError{f.Code, f.Class, f.Message, f.Hint, f.Details}
}

type offeredStage struct {
	Kind       stage.Kind     `json:"kind"`
	Name       string         `json:"name"`
	Summary    string         `json:"summary"`
	Doc        string         `json:"doc,omitempty"`
	In         stage.Shape    `json:"in,omitempty"`
	Out        stage.Shape    `json:"out,omitempty"`
	Concurrent bool           `json:"concurrent"`
	KeepsRows  bool           `json:"keeps_rows"`
	Settings   []config.Field `json:"settings"`
}

func offered(f host.Found) offeredPlugin {
	o := f.Offer
	p := offeredPlugin{Name: o.Plugin, Version: o.Version, FirstParty: o.FirstParty, Protocol: o.Protocol,
		Network: networkAccess{o.Network, o.FirstParty || f.Entry.Network}, Files: f.Entry.Files, Isolation: o.Isolation.String(), NotConfined: o.Isolation.NotConfined(),
		Stages: []offeredStage{}, Error: errorOf(f.Err)}
	if !p.FirstParty {
		p.pinnedPlugin = pinnedPlugin{f.Entry.SHA256, f.Entry.Program(), f.Entry.Origin}
	}
	if p.Error != nil {
		p.Name, p.Version = f.Entry.Name, f.Entry.Version
	}
	for _, m := range o.Stages {
		p.Stages = append(p.Stages, offeredStage{m.Kind, m.Name, m.Summary, m.Doc, m.In, m.Out, m.Concurrent, m.KeepsRows,
			append([]config.Field{}, m.Spec.Fields...)})
	}
	return p
}

// filesText is what a plugin is granted of the file system, for people.
func (p offeredPlugin) filesText() string {
	if len(p.Files) == 0 {
		return "none granted"
	}
	return strings.Join(p.Files, ", ")
}

// title is a plugin's first line.
func (p offeredPlugin) title() string {
	party := "third party"
	switch {
	case p.FirstParty:
		party = "first party"
	case p.Error != nil:
		party += "; broken"
	case p.Isolation != "":
		party += "; " + p.Isolation
	}
	return fmt.Sprintf("%s %s (%s)", diag.Printable(p.Name), diag.Printable(p.Version), diag.Printable(party))
}

func writePlugins(w io.Writer, plugins []host.Found) error {
	for i, found := range plugins {
		if i > 0 {
			fmt.Fprintln(w)
		}
		p := offered(found)
		fmt.Fprintln(w, p.title())
		if p.Error != nil {
			writeBroken(w, p.Error)
			continue
		}
		var rows [][]string
		for _, s := range p.Stages {
			rows = append(rows, []string{string(s.Kind), s.Name, flow(s.In, s.Out), s.Summary})
		}
		if err := terminal.WriteTable(w, "  ", rows); err != nil {
			return err
		}
	}
	return nil
}

// writeBroken says why a plugin is broken, and what to do.
func writeBroken(w io.Writer, e *pluginError) {
	fmt.Fprintf(w, "  error[%s]: %s\n", diag.Printable(e.Code), diag.Printable(e.Message))
	if e.Hint != "" {
		fmt.Fprintf(w, "  help: %s\n", diag.Printable(e.Hint))
	}
}

// flow shows what a stage takes and gives.
func flow(in, out stage.Shape) string {
	switch {
	case in == stage.ShapeNone:
		return "→ " + string(out)
	case out == stage.ShapeNone:
		return string(in) + " →"
	}
	return string(in) + " → " + string(out)
}
