package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// app is one execution of the command line.
type app struct {
	streams
	// results are what goes to standard output, but for rows.
	results *results
	// args are the arguments as given.
	args []string
	// json says that a machine reads: results on standard output and errors on
	// standard error are JSON.
	json bool
	// pluginDir holds third-party plugins.
	pluginDir string
	// limits bound what plugin processes may use.
	limits pluginLimits
	// notice says that an interrupted command still cleans up.
	notice notice
	// acting is true from when the arguments have been understood.
	acting bool
}

// Codes of this package's faults.
const (
	codeUsage  = "cli.usage"
	codeOutput = "cli.output"
)

func usageFault(format string, args ...any) *fault.Fault {
	return fault.New(codeUsage, fault.Usage, format, args...)
}

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, s streams, args []string) int { return newApp(s, args).execute(ctx) }

func newApp(s streams, args []string) *app {
	a := &app{streams: s, results: &results{file: s.out}, args: args}
	a.notice.set(a.tellStillEnding(slices.Contains(args, "--json")))
	return a
}

func (a *app) execute(ctx context.Context) int {
	root := a.rootCommand()
	root.SetArgs(append([]string{}, a.args...)) // nil would mean this process's own
	root.SetIn(a.in)
	root.SetOut(a.results)
	root.SetErr(a.err)
	command, err := root.ExecuteContextC(ctx)
	if err != nil && !a.acting {
		// The arguments were not understood, perhaps before --json was reached.
		a.json = a.json || slices.Contains(a.args, "--json")
		var coded *fault.Fault
		if !errors.As(err, &coded) {
			err = usageFault("%s", strings.TrimSpace(err.Error())).WithHint("see %s --help", command.CommandPath())
		}
	}
	if err == nil {
		err = a.results.close()
	}
	if err != nil {
		a.report(ctx, err)
	}
	return exitCode(ctx, err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cipherstream",
		Short: "Bulk extraction of practice data from MySQL",
		Long: `CipherStream extracts practice data from MySQL in bulk. A pipeline, which is a
YAML file or a name of the catalogue, says what is read, how it is encoded and
where it goes; every stage of it is a plugin.

  cipherstream run appointments --sandbox -p from_date=2024-01-01 | head

Exit codes:

` + exitCodeTable(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	a.group(root)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "write results and errors as JSON")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// What comes before the flag is no command of this one, or it would have been asked.
		if c.HasSubCommands() && c.Flags().NArg() > 0 {
			return unknownCommand(c, c.Flags().Arg(0))
		}
		return usageFault("%v", err).WithHint("see %s --help", c.CommandPath())
	})
	root.AddCommand(
		a.runCommand(), a.checkCommand(), a.planCommand(), a.lintCommand(), a.testCommand(), a.listCommand(), a.describeCommand(), a.schemaCommand(),
		a.pluginCommand(), a.sandboxCommand(), a.sweepCommand(), a.decryptCommand(), a.versionCommand(), exitCodesTopic(),
	)
	root.SetHelpCommand(a.helpCommand())
	return root
}

// group makes c a command that only has others under it.
func (a *app) group(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(c, args[0])
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// unknownCommand says which command may have been meant.
func unknownCommand(parent *cobra.Command, name string) error {
	var names []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() {
			names = append(names, c.Name())
		}
	}
	f := usageFault("%s has no command %q", parent.CommandPath(), name)
	if near := diag.Nearest(name, names); len(near) > 0 {
		return f.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return f.WithHint("see %s --help", parent.CommandPath())
}

func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(c *cobra.Command, args []string) error {
			about := c.Root()
			for _, name := range args {
				var next *cobra.Command
				for _, child := range about.Commands() {
					if child.Name() == name || child.HasAlias(name) {
						next = child
					}
				}
				if next == nil {
					return unknownCommand(about, name)
				}
				about = next
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			about, _, err := c.Root().Find(args)
			var names []string
			if err == nil {
				for _, child := range about.Commands() {
					names = append(names, child.Name()+"\t"+child.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// action wraps what a command does; an error before it is one of usage.
func (a *app) action(do func(c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		a.acting = true
		return do(c, args)
	}
}

func (a *app) noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		if c.HasAvailableSubCommands() {
			return unknownCommand(c, args[0])
		}
		return usageFault("%s takes no argument, but got %q", c.CommandPath(), args[0])
	}
	return nil
}

func (a *app) onePipeline(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageFault("%s takes one pipeline, but got %d arguments", c.CommandPath(), len(args)).
			WithHint("give a name that \"cipherstream list\" shows, or the path of a YAML file; parameters are given with -p name=value")
	}
	return nil
}

// print writes a result to standard output.
func (a *app) print(write func(io.Writer) error) error {
	out := bufio.NewWriter(a.results)
	err := write(out)
	if err == nil {
		err = out.Flush()
	}
	return err
}

// diagnosed is a list of diagnostics with errors in it, and the files they show.
type diagnosed struct {
	list   diag.List
	source diag.Source
	err    error
}

func (d *diagnosed) Error() string { return d.err.Error() }
func (d *diagnosed) Unwrap() error { return d.err }

// check returns an error when the list has errors, and prints it otherwise:
// it holds warnings then.
func (a *app) check(e *engine.Engine, list diag.List) error {
	if err := list.Err(); err != nil {
		return &diagnosed{list: list, source: e.Source, err: err}
	}
	if len(list) > 0 && !a.json {
		if err := diag.WriteText(a.err, list, a.textOptions(a.err, e.Source)); err != nil {
			return streamFault("error", err)
		}
	}
	return nil
}
