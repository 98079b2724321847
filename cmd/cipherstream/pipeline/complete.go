package pipeline

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/document"
)

// completePipeline completes the one pipeline of a command: a name, or a file.
func (a *app) completePipeline(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completePipelines(nil, nil, prefix)
}

// completePipelines completes any number of pipelines.
func (a *app) completePipelines(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	e, err := session.Loader()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer e.Close()
	var names []string
	for _, name := range e.Names() {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name+"\t"+title(e, name))
		}
	}
	if len(names) > 0 {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func title(e *engine.Engine, name string) string {
	doc, _ := e.Load(name)
	if doc == nil {
		return ""
	}
	return doc.Metadata.Title
}

// declared lists the parameters of the pipeline that the arguments name.
func declared(args []string) []document.Parameter {
	if len(args) == 0 {
		return nil
	}
	e, err := session.Loader()
	if err != nil {
		return nil
	}
	defer e.Close()
	doc, _ := load(e, args[0])
	if doc == nil {
		return nil
	}
	return doc.Parameters
}

// completeParameter completes name=value: names first, then allowed values.
func (a *app) completeParameter(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	name, _, valued := strings.Cut(prefix, "=")
	var out []string
	for _, p := range declared(args) {
		switch {
		case !valued && strings.HasPrefix(p.Name, name):
			out = append(out, p.Name+"=\t"+p.Description)
		case valued && p.Name == name:
			for _, v := range p.Allowed {
				out = append(out, fmt.Sprintf("%s=%v", name, v))
			}
		}
	}
	if valued {
		return out, cobra.ShellCompDirectiveNoFileComp
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeAllowed completes the allowed values of a parameter.
func (a *app) completeAllowed(parameter string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, p := range declared(args) {
			if p.Name == parameter {
				for _, v := range p.Allowed {
					out = append(out, fmt.Sprint(v))
				}
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
