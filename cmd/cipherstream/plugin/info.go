package plugin

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func (a *app) pluginInfoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "info NAME",
		Short: "Describe a plugin: origin, digest, stages, settings",
		Long: `Describe a plugin: where it comes from, its SHA-256, the protocol version that it
and this program speak, whether it asks for the network and whether it is granted,
the files that it is granted, and each of its stages with all settings. The plugin is started for it.
"cipherstream plugin info ` + bundle.Name + `" describes the first-party stages, and the
name of a stage, such as where, describes that one.`,
		Args: a.onePlugin,
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			h, dir, err := a.pluginHost()
			if err != nil {
				return err
			}
			defer h.Close()
			found, err := h.Look(c.Context(), args[0])
			if fault.Is(err, "plugin.unknown") {
				if one, ok := withStage(c.Context(), h, args[0]); ok {
					found, err = one, nil
				}
			}
			if err != nil {
				return a.meant(err, dir, args[0])
			}
			if found.Err != nil {
				return found.Err
			}
			p := offered(found)
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return terminal.WriteJSON(w, p)
				}
				return p.writeText(w, dir)
			})
		}),
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			names, directive := a.completePlugin(c, args, prefix)
			if len(args) == 0 {
				names = append([]string{bundle.Name + "\tthe first-party stages"}, names...)
			}
			return names, directive
		},
	}
	a.PluginsFlag(c)
	return c
}

// withStage finds the plugin that offers a stage of that name, NAME or PLUGIN/NAME, and leaves
// out its other stages. The first party's comes first, as in a pipeline.
func withStage(ctx context.Context, h *host.Host, name string) (host.Found, bool) {
	all, err := h.Survey(ctx)
	if err != nil {
		return host.Found{}, false
	}
	for _, found := range all {
		var stages []control.Manifest
		for _, m := range found.Offer.Stages {
			if m.Name == name || found.Offer.Plugin+"/"+m.Name == name {
				stages = append(stages, m)
			}
		}
		if found.Err == nil && len(stages) > 0 {
			found.Offer.Stages = stages
			return found, true
		}
	}
	return host.Found{}, false
}

func (p offeredPlugin) writeText(w io.Writer, dir string) error {
	fmt.Fprintln(w, p.title())
	rows := [][]string{}
	if !p.FirstParty {
		origin := p.Origin
		if origin == "" {
			origin = "not known"
		}
		rows = append(rows, []string{"origin", origin}, []string{"program", filepath.Join(dir, p.File)}, []string{"sha256", p.SHA256})
	}
	rows = append(rows, []string{"protocol", strconv.Itoa(p.Protocol)}, []string{"network", p.Network.String()})
	if !p.FirstParty {
		rows = append(rows, []string{"files", p.filesText()})
	}
	if p.Isolation != "" {
		rows = append(rows, []string{"isolation", p.Isolation})
	}
	if err := terminal.WriteTable(w, "  ", rows); err != nil {
		return err
	}
	for _, s := range p.Stages {
		if err := s.writeText(w); err != nil {
			return err
		}
	}
	return nil
}

// writeText writes a stage with its settings.
func (s offeredStage) writeText(w io.Writer) error {
	fmt.Fprintf(w, "\n%s %s  %s\n", diag.Printable(string(s.Kind)), diag.Printable(s.Name), diag.Printable(flow(s.In, s.Out)))
	for _, text := range []string{s.Summary, s.Doc} {
		for line := range strings.Lines(strings.TrimSpace(text)) {
			fmt.Fprintln(w, strings.TrimRight("  "+diag.Printable(strings.TrimRight(line, "\r\n")), " "))
		}
	}
	if len(s.Settings) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, d := range config.Describe(s.Settings) {
		rows = append(rows, []string{d.Name, d.Type, d.Obligation, d.Doc})
	}
	return terminal.WriteTable(w, "  ", rows)
}
