package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

func (a *app) pluginCommand() *cobra.Command {
	c := &cobra.Command{Use: "plugin", Short: "Work with plugins"}
	a.group(c)
	c.AddCommand(a.pluginListCommand(), a.pluginTestCommand())
	return c
}

func (a *app) pluginListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the plugins and their stages",
		Long: `List the plugins and their stages: the first-party plugin, then those of the
folder with plugins.lock, which are started for it. With --json, the settings of
each stage too.`,
		Args: a.noArguments,
		RunE: a.action(func(c *cobra.Command, _ []string) error {
			e, err := a.engine(c.Context(), nil)
			if err != nil {
				return err
			}
			defer e.Close()
			return a.print(func(w io.Writer) error {
				if a.json {
					return writeJSON(w, map[string]any{"plugins": pluginsForMachines(e.Plugins())})
				}
				return writePlugins(w, e.Plugins())
			})
		}),
	}
	a.pluginsFlag(c)
	return c
}

type offeredPlugin struct {
	Name       string         `json:"name"`
	Version    string         `json:"version"`
	FirstParty bool           `json:"first_party"`
	Stages     []offeredStage `json:"stages"`
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

func pluginsForMachines(offers []host.Offer) []offeredPlugin {
	var plugins []offeredPlugin
	for _, o := range offers {
		p := offeredPlugin{Name: o.Plugin, Version: o.Version, FirstParty: o.FirstParty}
		for _, m := range o.Stages {
			p.Stages = append(p.Stages, offeredStage{m.Kind, m.Name, m.Summary, m.Doc, m.In, m.Out, m.Concurrent, m.KeepsRows,
				append([]config.Field{}, m.Spec.Fields...)})
		}
		plugins = append(plugins, p)
	}
	return plugins
}

func writePlugins(w io.Writer, offers []host.Offer) error {
	for i, o := range offers {
		if i > 0 {
			fmt.Fprintln(w)
		}
		party := "third party"
		if o.FirstParty {
			party = "first party"
		}
		fmt.Fprintf(w, "%s %s (%s)\n", diag.Printable(o.Plugin), diag.Printable(o.Version), party)
		var rows [][]string
		for _, m := range o.Stages {
			rows = append(rows, []string{string(m.Kind), m.Name, flow(m.In, m.Out), m.Summary})
		}
		if err := writeTable(w, "  ", rows); err != nil {
			return err
		}
	}
	return nil
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
