package pipeline

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/pipelinetest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// errLintFailed says that lint found errors, which it has written out already.
var errLintFailed = fmt.Errorf("the pipelines have errors: %w", terminal.ErrTold)

func (a *app) lintCommand() *cobra.Command {
	var sarif bool
	c := &cobra.Command{
		Use:   "lint FILE...",
		Short: "Check pipelines, templates and their tests",
		Long: `Check pipelines and templates, given as YAML files or as names of the catalogue:
everything that is wrong with them whatever the values of their parameters are. Filters
of this program are made and held against the columns that the pipeline declares.
Files that test pipelines are checked too, but for what a run of their cases shows.
Nothing is started, and no value of a secret is looked at.

The exit code is 2 when there are errors; warnings alone don't change it.`,
		Example: "  cipherstream lint pipelines/*.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return terminal.UsageFault("%s takes at least one pipeline", c.CommandPath()).WithHint("give the path of a YAML file")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			if sarif && a.JSON {
				return terminal.UsageFault("--sarif and --json are both given").WithHint("give one; SARIF is JSON too")
			}
			e, err := a.Engine(c.Context(), nil)
			if err != nil {
				return err
			}
			defer e.Close()
			var list diag.List
			for _, name := range args {
				switch {
				case isPath(name) && e.IsTest(name):
					list = append(list, pipelinetest.Lint(e, name)...)
				case isPath(name):
					list = append(list, e.LintFile(name)...)
				default:
					list = append(list, e.Lint(name)...)
				}
			}
			list = list.Normalise()
			err = a.Print(func(w io.Writer) error {
				switch {
				case a.JSON:
					return diag.WriteJSON(w, list)
				case sarif:
					return diag.WriteSARIF(w, list, session.Version())
				}
				if err := diag.WriteText(w, list, a.TextOptions(a.Out, e.Source)); err != nil {
					return err
				}
				_, err := fmt.Fprintln(w, verdict(len(args), list))
				return err
			})
			if err == nil && list.HasErrors() {
				err = fault.New("lint.errors", fault.Usage, "%w", errLintFailed)
			}
			return err
		}),
		ValidArgsFunction: a.completePipelines,
	}
	c.Flags().BoolVar(&sarif, "sarif", false, "write SARIF 2.1.0, for code hosts")
	a.PluginsFlag(c)
	return c
}

// verdict counts what lint found.
func verdict(files int, list diag.List) string {
	errors, warnings := 0, 0
	for _, d := range list {
		if d.Severity == diag.Error {
			errors++
		} else {
			warnings++
		}
	}
	found := "no problems"
	switch {
	case errors > 0 && warnings > 0:
		found = terminal.Counted(errors, "error") + ", " + terminal.Counted(warnings, "warning")
	case errors > 0:
		found = terminal.Counted(errors, "error")
	case warnings > 0:
		found = terminal.Counted(warnings, "warning")
	}
	return terminal.Counted(files, "pipeline") + ": " + found
}

func (a *app) planCommand() *cobra.Command {
	var r request
	c := &cobra.Command{
		Use:   "plan PIPELINE",
		Short: "Show what a run would do",
		Long: `Show what "cipherstream run" with the same arguments would do: the stages that are
on, their settings, what flows between them, the processes they run in, which secret
goes where, and the columns. Nothing is started. Secrets are not needed, and never
shown.`,
		Example: "  cipherstream plan appointments -p from_date=2024-01-01 -f csv -c gzip",
		Args:    a.onePipeline,
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			e, err := a.Engine(c.Context(), nil)
			if err != nil {
				return err
			}
			defer e.Close()
			out := prepared{}
			if out.pipeline, err = a.ready(e, args[0]); err != nil {
				return err
			}
			if out.request, err = a.resolve(args[0], out.pipeline.Document(), &r); err != nil {
				return err
			}
			if err := out.setDestination(&r); err != nil {
				return err
			}
			out.request.Secrets, out.request.RunID = standIns, noID
			p, err := a.plan(e, out.pipeline, out.request)
			if err != nil {
				return err
			}
			if err := r.checkObject(p); err != nil {
				return err
			}
			if err := r.checkDatabase(p); err != nil {
				return err
			}
			return a.Print(func(w io.Writer) error {
				if a.JSON {
					return p.WriteJSON(w)
				}
				return p.WriteText(w)
			})
		}),
	}
	r.flags(a, c)
	return c
}

func (a *app) schemaCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "schema",
		Short: "Write a JSON Schema of pipelines, for editors",
		Long: `Write a JSON Schema (draft 2020-12) of pipelines, templates and tests, with the settings
of every installed stage. An editor completes and checks with it; lint finds more. A
stage of a plugin that is not installed is taken as PLUGIN/NAME, with any settings.

In Visual Studio Code with the YAML extension, a first line of the file names it:

  # yaml-language-server: $schema=./cipherstream.schema.json`,
		Example: "  cipherstream schema > cipherstream.schema.json",
		Args:    a.NoArguments,
		RunE: a.Action(func(c *cobra.Command, _ []string) error {
			e, err := a.Engine(c.Context(), nil)
			if err != nil {
				return err
			}
			defer e.Close()
			return a.Print(func(w io.Writer) error { return terminal.WriteJSON(w, e.Schema()) })
		}),
	}
	a.PluginsFlag(c)
	return c
}
