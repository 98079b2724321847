package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/engine/host"
)

// trialSettings is the file of a project that "plugin new" begins with the settings that its stage is tested with.
const trialSettings = "plugin.test.yaml"

func (a *app) pluginDevCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dev [FOLDER]",
		Short: "Build a plugin and run its tests on every save",
		Long: `Build the plugin of a folder, this one by default, and run its tests: at once, and again
whenever a file of it is saved. The folder is one that "plugin new" begins, in Go, Python or
JavaScript; it has a Makefile whose target "build" makes bundle/ or bin/cipherstream-plugin-NAME.

What is run are the test files beside it (kind: Test), with the plugin as it has just been
built; where there are none, the checks of "plugin test" with the settings of
` + trialSettings + `, if there are any. A save ends what still runs of the one before.

It goes on until it is interrupted (Ctrl-C), which ends all that it has started, and leaves the
plugins that are installed alone.`,
		Example: "  cipherstream plugin new upper --kind filter --language python\n  cipherstream plugin dev upper",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return terminal.UsageFault("%s takes one folder, but got %d arguments", c.CommandPath(), len(args)).WithHint("give the folder of the plugin's project")
			}
			return nil
		},
		RunE: a.Action(func(c *cobra.Command, args []string) error {
			return a.pluginDev(c.Context(), append(args, ".")[0])
		}),
	}
}

// project is the folder of a plugin that is worked on.
type project struct {
	dir string
	// installed is a folder of plugins for what has been built, and self is this program.
	installed, self string
	output          io.Writer
}

// round is what came of one save.
type round struct {
	Changed []string `json:"changed"`
	// Failed is the command that failed; empty when all went well.
	Failed  string  `json:"failed,omitempty"`
	Passed  bool    `json:"passed"`
	Seconds float64 `json:"seconds"`
}

// pluginDev builds and tests until ctx ends.
func (a *app) pluginDev(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return terminal.UsageFault("the folder cannot be found: %w", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "Makefile")); err != nil || !info.Mode().IsRegular() {
		return terminal.UsageFault("%s is no project of a plugin: it has no Makefile", diag.Printable(dir)).
			WithHint("begin one with \"cipherstream plugin new\", or give the folder of one")
	}
	p := project{dir: dir, self: a.Executable, output: a.Err}
	if p.self == "" {
		if p.self, err = os.Executable(); err != nil {
			return err
		}
	}
	temporary, err := os.MkdirTemp("", "cipherstream-dev-")
	if err != nil {
		return err
	}
	p.installed = filepath.Join(temporary, "plugins")
	defer os.RemoveAll(temporary)
	defer host.RemoveBundle(p.installed) // which nobody may write, not even RemoveAll

	w := newWatcher(dir)
	changed, err := w.changed()
	for ; err == nil; changed, err = w.next(ctx) {
		if err := a.printText("%s: %s\n", diag.Printable(filepath.Base(dir)), savedText(changed)); err != nil {
			return err
		}
		r, saved := p.try(ctx, w)
		if ctx.Err() != nil {
			break
		}
		if saved {
			continue // which the next look finds
		}
		r.Changed = changed
		if err := a.printRound(r); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil // the end that the user asks for
	}
	return err
}

func savedText(changed []string) string {
	if len(changed) > 3 {
		return terminal.Counted(len(changed), "file")
	}
	return diag.Printable(strings.Join(changed, ", "))
}

func (a *app) printRound(r round) error {
	if a.JSON {
		return a.Print(func(w io.Writer) error { return terminal.WriteJSON(w, r) })
	}
	if r.Passed {
		return a.printText("ok, in %.1fs; waiting for a save (Ctrl-C ends)\n", r.Seconds)
	}
	return a.printText("FAILED: %s; waiting for a save (Ctrl-C ends)\n", diag.Printable(r.Failed))
}

// try builds and tests once. A save meanwhile ends it, and is reported.
func (p project) try(ctx context.Context, w *watcher) (r round, saved bool) {
	begun := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	looking := make(chan bool, 1)
	go func() {
		found := w.wait(ctx) == nil
		if found {
			stop()
		}
		looking <- found
	}()
	err := p.build(ctx)
	if err == nil {
		err = p.test(ctx)
	}
	r.Seconds, r.Passed = time.Since(begun).Seconds(), err == nil
	if err != nil {
		r.Failed = err.Error()
	}
	stop()
	return r, <-looking
}

func (p project) build(ctx context.Context) error {
	return p.run(ctx, "make", "--no-print-directory", "--silent", "build")
}

// test runs the test files of the project, or else the conformance checks, on what has been built.
func (p project) test(ctx context.Context) error {
	built, err := p.built()
	if err != nil {
		return err
	}
	files, err := p.testFiles()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		args := []string{"plugin", "test", built}
		if _, err := os.Stat(filepath.Join(p.dir, trialSettings)); err == nil {
			args = append(args, "--settings", trialSettings)
		}
		return p.run(ctx, p.self, args...)
	}
	var said bytes.Buffer
	if err := p.runTo(ctx, &said, p.self, "plugin", "install", built, "--replace", "--plugins", p.installed); err != nil {
		_, _ = said.WriteTo(p.output)
		return err
	}
	return p.run(ctx, p.self, append([]string{"test", "--plugins", p.installed}, files...)...)
}

// built is what "make build" has made, from the folder of the project.
func (p project) built() (string, error) {
	found, err := filepath.Glob(filepath.Join(p.dir, "bin", host.ProgramPrefix+"*"))
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(filepath.Join(p.dir, "bundle")); err == nil && info.IsDir() {
		found = append(found, filepath.Join(p.dir, "bundle"))
	}
	if len(found) != 1 {
		return "", fmt.Errorf("make build has to make bundle or one bin/%sNAME, and there are %d of them", host.ProgramPrefix, len(found))
	}
	return filepath.Rel(p.dir, found[0])
}

// testFiles are the documents of kind Test in the project's folder.
func (p project) testFiles() (names []string, err error) {
	paths, err := filepath.Glob(filepath.Join(p.dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var head struct{ Kind string }
		// What is no YAML is the business of the command that reads it.
		if yaml.NewDecoder(bytes.NewReader(text)).Decode(&head) == nil && head.Kind == document.KindTest {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

// grace is how long a command that is no longer wanted has to end by itself.
const grace = 5 * time.Second

// run runs a command in the project's folder, and shows what it says.
func (p project) run(ctx context.Context, name string, args ...string) error {
	return p.runTo(ctx, p.output, name, args...)
}

// runTo runs a command in the project's folder. The end of ctx ends it, with all that it has started.
func (p project) runTo(ctx context.Context, output io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, output, output
	// Its make is nobody's part, and builds for this program.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "CIPHERSTREAM="+p.self)
	// A process group of its own: a key pressed at the terminal is for this process, which ends the group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	if cmd.Process != nil && ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what has not ended by itself; usually nothing is left
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return errors.New(strings.Join(append([]string{filepath.Base(name)}, args...), " "))
	}
	return err
}
