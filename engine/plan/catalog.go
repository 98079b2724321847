package plan

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Manifest is what the planner knows about a stage that some plugin offers.
type Manifest struct {
	Plugin string
	// FirstParty marks the stages that come with the program.
	FirstParty            bool
	Kind                  stage.Kind
	Name                  string
	Summary, Doc          string
	In, Out               stage.Shape
	Spec                  *config.Spec
	Concurrent, KeepsRows bool
	// Make makes the stage in this process, for a check. It is nil for third-party stages, which never run in this
	// process.
	Make func(settings []byte) (any, error)
}

// Maker is Manifest.Make of a stage of this program. What the stage logs is dropped.
func Maker(d stage.Definition) func([]byte) (any, error) {
	return func(settings []byte) (any, error) {
		return d.Make(settings, stage.Env{Log: slog.New(slog.DiscardHandler), Memory: memory.DefaultAllocator, Count: func(string, int64) {}})
	}
}

// Catalog is every stage that can be used.
type Catalog []Manifest

// FromBundle returns the manifests of a bundle's stages.
func FromBundle(b stage.Bundle, firstParty bool) Catalog {
	var c Catalog
	for _, d := range b.Stages {
		m := Manifest{Plugin: b.Name, FirstParty: firstParty, Kind: d.Kind, Name: d.Name, Summary: d.Summary, Doc: d.Doc,
			In: d.In, Out: d.Out, Spec: d.Spec, Concurrent: d.Concurrent, KeepsRows: d.KeepsRows}
		if firstParty && d.Kind == stage.KindFilter {
			m.Make = Maker(d)
		}
		c = append(c, m)
	}
	return c
}

// Broken is an installed plugin that does not start or is not what the lock file says, so that its stages are not
// known.
type Broken struct {
	Plugin string
	// Fault says why.
	Fault *fault.Fault
}

// find looks up what a stage uses. Other plugins are asked only when it is not in the catalogue: the one that it names,
// or all of them. When it is not found and a broken plugin may offer it, the problem says so; when the stage names that
// plugin, the problem is the plugin's own fault.
func (c *Config) find(s *document.Stage) (*Manifest, *diag.Diagnostic) {
	m, problem := c.Catalog.find(s)
	if problem == nil || c.Others == nil {
		return m, problem
	}
	plugin, _, explicit := strings.Cut(s.Use.Text, "/")
	asked := plugin
	if !explicit {
		asked = ""
	}
	others, broken := c.Others(asked)
	if m, problem = slices.Concat(c.Catalog, others).find(s); problem == nil || len(broken) == 0 {
		return m, problem
	}
	d := *problem
	var suspects []string
	for _, b := range broken {
		if explicit && b.Plugin == plugin {
			d = diag.At(s.Use.At, b.Fault.Code, "%s %q cannot be had: %s", s.Kind, s.Use.Text, b.Fault.Message)
			d.Hint = b.Fault.Hint
			if d.Hint == "" {
				d.Hint = fmt.Sprintf("\"cipherstream plugin verify %s\" tells more", b.Plugin)
			}
			return nil, &d
		}
		suspects = append(suspects, fmt.Sprintf("%q (%s)", b.Plugin, b.Fault.Code))
	}
	if explicit {
		return nil, problem
	}
	if d.Hint != "" {
		d.Hint += "; "
	}
	noun := "plugin"
	if len(suspects) > 1 {
		noun = "plugins"
	}
	d.Hint += fmt.Sprintf("what the broken %s %s would offer is not known: see \"cipherstream plugin list\"", noun,
		strings.Join(suspects, ", "))
	return nil, &d
}

// find looks up what a stage uses: NAME or PLUGIN/NAME. A plain name that
// several plugins offer is the first-party one; between third parties the
// plugin must be named.
func (c Catalog) find(s *document.Stage) (*Manifest, *diag.Diagnostic) {
	plugin, name, explicit := strings.Cut(s.Use.Text, "/")
	if !explicit {
		plugin, name = "", s.Use.Text
	}
	var found []*Manifest
	var names, plugins, others []string
	for i := range c {
		m := &c[i]
		plugins = append(plugins, m.Plugin)
		if explicit && m.Plugin != plugin {
			continue
		}
		if m.Kind == s.Kind {
			names = append(names, m.Name)
			if m.Name == name {
				found = append(found, m)
			}
		} else if m.Name == name {
			others = append(others, string(m.Kind))
		}
	}
	fail := func(d diag.Diagnostic) (*Manifest, *diag.Diagnostic) { return nil, &d }
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		if i := slices.IndexFunc(found, func(m *Manifest) bool { return m.FirstParty }); i >= 0 {
			return found[i], nil
		}
		var from []string
		for _, m := range found {
			from = append(from, fmt.Sprintf("%s/%s", m.Plugin, m.Name))
		}
		return fail(diag.At(s.Use.At, CodeAmbiguous, "several plugins offer a %s %q", s.Kind, name).
			WithHint("name the plugin: %s", strings.Join(from, " or ")))
	case explicit && !slices.Contains(plugins, plugin):
		slices.Sort(plugins)
		return fail(diag.At(s.Use.At, CodeUnknownPlugin, "no plugin is called %q", plugin).
			WithSuggestion(plugin, slices.Compact(plugins)).WithoutFix())
	case len(others) > 0:
		return fail(diag.At(s.Use.At, CodeUnknownStage, "no %s is called %q, but there is a %s of that name", s.Kind, name, others[0]).
			WithHint("put it under the key %q", others[0]))
	}
	slices.Sort(names)
	d := diag.At(s.Use.At, CodeUnknownStage, "no %s is called %q", s.Kind, name).WithSuggestion(name,
		slices.Compact(names))
	if explicit {
		d = d.WithoutFix()
	}
	if d.Hint == "" {
		d = d.WithHint("is the plugin that offers it installed?")
	}
	return fail(d)
}
