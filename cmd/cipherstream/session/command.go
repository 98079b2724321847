// Package session owns one execution of the command line: the root command, which it makes
// of the nouns that it is given, and what commands of several nouns are given: the engine and
// its plugins, connections, secrets, and where objects go. It never knows a command of a noun,
// nor does what a command does.
package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Noun makes the commands about one thing, such as plugins, for an execution.
type Noun func(*Session) []*cobra.Command

// Session is one execution of the command line.
type Session struct {
	*terminal.Terminal
	// Executable is the program that serves the first-party plugin; empty is this one.
	Executable string
	// nouns make the commands that there are.
	nouns []Noun
	// args are the arguments as given.
	args []string
	// pluginDir holds third-party plugins.
	pluginDir string
	// limits bound what plugin processes may use.
	limits pluginLimits
	// acting is true from when the arguments have been understood.
	acting bool
}

// New begins an execution of the command line that has the commands of the nouns.
func New(files terminal.Streams, args []string, nouns ...Noun) *Session {
	return &Session{Terminal: terminal.New(files, slices.Contains(args, "--json")), nouns: nouns, args: args}
}

// Execute runs the command line and returns the exit code.
func (s *Session) Execute(ctx context.Context) int {
	root := s.rootCommand()
	root.SetArgs(append([]string{}, s.args...)) // nil would mean this process's own
	root.SetIn(s.In)
	root.SetOut(s.ResultWriter())
	root.SetErr(s.Err)
	command, err := root.ExecuteContextC(ctx)
	if err != nil && !s.acting {
		// The arguments were not understood, perhaps before --json was reached.
		s.JSON = s.JSON || slices.Contains(s.args, "--json")
		var coded *fault.Fault
		if !errors.As(err, &coded) {
			err = terminal.UsageFault("%s", strings.TrimSpace(err.Error())).WithHint("see %s --help", command.CommandPath())
		}
	}
	if err == nil {
		err = s.CloseResults()
	}
	if err != nil {
		s.Report(ctx, err)
	}
	return terminal.ExitCode(ctx, err)
}

func (s *Session) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cipherstream",
		Short: "Bulk extraction of practice data from MySQL",
		Long: `CipherStream extracts practice data from MySQL in bulk. A pipeline, which is a
YAML file or a name of the catalogue, says what is read, how it is encoded and
where it goes; every stage of it is a plugin.

  cipherstream run appointments --sandbox -p from_date=2024-01-01 | head

Exit codes:

` + terminal.ExitCodeTable(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	s.Group(root)
	for _, t := range []Topic{Reading, Writing, Serving, Calling} {
		root.AddGroup(&cobra.Group{ID: string(t), Title: string(t)})
	}
	root.PersistentFlags().BoolVar(&s.JSON, "json", false, "write results and errors as JSON")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// What comes before the flag is no command of this one, or it would have been asked.
		if c.HasSubCommands() && c.Flags().NArg() > 0 {
			return unknownCommand(c, c.Flags().Arg(0))
		}
		return flagFault(c, err)
	})
	for _, commands := range s.nouns {
		for _, c := range commands(s) {
			add(root, c)
		}
	}
	root.AddCommand(s.versionCommand(), terminal.ExitCodesTopic())
	root.SetHelpCommand(s.helpCommand())
	return root
}

// flagFault says what is wrong with a flag, and what was probably meant.
func flagFault(c *cobra.Command, err error) error {
	f := terminal.UsageFault("%v", err).WithHint("see %s --help", c.CommandPath())
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var known []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		if near := diag.Nearest(unknown.GetSpecifiedName(), known); len(near) > 0 {
			return f.WithHint("did you mean --%s?", strings.Join(near, " or --"))
		}
	}
	if strings.Contains(err.Error(), "missing unit in duration") {
		return f.WithHint("write a number and its unit, such as 90s, 5m or 2h")
	}
	return f
}

// add adds a command. Where a group of that name is there already, of another noun, what stands under it is added to that:
// people look for all about one thing in one place, whichever package it is in.
func add(root, c *cobra.Command) {
	for _, there := range root.Commands() {
		if there.Name() == c.Name() {
			there.AddCommand(c.Commands()...)
			return
		}
	}
	root.AddCommand(c)
}

// Topic is a heading of the program's help.
type Topic string

// The headings, in their order. Commands of none of them, as help and version are, stand last.
const (
	Reading Topic = "Read data:"
	Writing Topic = "Write pipelines and plugins:"
	Serving Topic = "Run a service:"
	Calling Topic = "Use a service:"
)

// Under puts commands of the program below a heading of its help.
func Under(t Topic, commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		c.GroupID = string(t)
	}
	return commands
}

// Group makes c a command that only has others under it.
func (s *Session) Group(c *cobra.Command) {
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
	f := terminal.UsageFault("%s has no command %q", parent.CommandPath(), name)
	if near := diag.Nearest(name, names); len(near) > 0 {
		return f.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return f.WithHint("see %s --help", parent.CommandPath())
}

func (s *Session) helpCommand() *cobra.Command {
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

// Action wraps what a command does; an error before it is one of usage.
func (s *Session) Action(do func(c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		s.acting = true
		return do(c, args)
	}
}

// NoArguments refuses arguments: cobra.Command.Args of a command that takes none.
func (s *Session) NoArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		if c.HasAvailableSubCommands() {
			return unknownCommand(c, args[0])
		}
		return terminal.UsageFault("%s takes no argument, but got %q", c.CommandPath(), args[0])
	}
	return nil
}

// Complete ties a completion to a flag.
func Complete(c *cobra.Command, flag string, how cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, how); err != nil {
		panic(err) // the flag doesn't exist, or has a completion: a defect of this package
	}
}
