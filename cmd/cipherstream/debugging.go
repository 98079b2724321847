package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
)

// debugging is how a plugin's author looks into a run.
type debugging struct {
	attach []string
	record string
}

const debuggingHelp = `For authors of plugins: --attach STAGE does not start the process of that stage. It
prints the command that starts it, for another terminal and a debugger, and waits.
Nothing is cut short there: no time limit holds for that process, nor the pipeline's
own for the run. Its socket is in a folder that only this user can enter.

--record FOLDER keeps what crosses from stage to stage, an Arrow file for each
boundary, and record.json, which has the settings without secrets. Every stage then
has a process of its own, and what crosses passes through this one. The files hold
the data itself, readable, also where the output is sealed: delete them when you are
done. "cipherstream plugin replay" gives them to a stage again.`

func (d *debugging) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&d.attach, "attach", nil,
		"wait for the process of `STAGE`, which you start yourself, under a debugger for instance (repeatable)")
	c.Flags().StringVar(&d.record, "record", "", "keep what crosses from stage to stage in `FOLDER`, which is new or empty. It will hold the data, readable")
	_ = c.MarkFlagDirname("record") // the flag exists
}

func (d *debugging) validate(c *cobra.Command, r *request) error {
	if !c.Flags().Changed("record") {
		return nil
	}
	if d.record == "" {
		return usageFault("--record names no folder")
	}
	if c.Flags().Changed("isolation") && r.isolation != string(plan.IsolationStage) {
		return usageFault("--record keeps what crosses from process to process, and --isolation %s joins stages in one", r.isolation).
			WithHint("leave --isolation out: with --record every stage has a process of its own")
	}
	r.isolation = string(plan.IsolationStage)
	return nil
}

// events takes the events of a run, and says what a recording will hold.
func (d *debugging) events(r *reporter) func(run.Event) {
	return func(e run.Event) {
		if _, begins := e.(run.Started); begins && d.record != "" {
			r.logger().Warn("the recording in " + d.record + " holds the data of this run, readable; delete it when you are done")
		}
		r.event(e)
	}
}

// awaiting says how to start the process that a run waits for.
func (r *reporter) awaiting(e run.Awaiting) {
	plain := commandLine(e.Environment, append([]string{e.Program}, e.Args...))
	words := []string{"dlv", "exec", e.Program}
	if len(e.Args) > 0 {
		words = append(append(words, "--"), e.Args...)
	}
	debugger := commandLine(e.Environment, words)
	if r.machine || r.json {
		r.write("awaiting", map[string]any{"stage": e.Stage, "plugin": e.Plugin, "environment": e.Environment, "command": plain, "debugger": debugger})
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
	fmt.Fprintf(r.out, `waiting for the process of stage %s (plugin %s). Start it in another terminal:

  %s

or under a debugger:

  %s

Another build of the plugin does as well. Interrupt this to give up.
`, diag.Printable(e.Stage), diag.Printable(e.Plugin), plain, debugger)
}

// attached says that it has come.
func (r *reporter) attached(e run.Attached) {
	if r.machine || r.json {
		r.write("attached", map[string]any{"stage": e.Stage, "plugin": e.Plugin, "pid": e.PID})
		return
	}
	text := fmt.Sprintf("stage %s: attached", diag.Printable(e.Stage))
	if e.PID != 0 {
		text += fmt.Sprintf(" to process %d", e.PID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
	fmt.Fprintln(r.out, text)
}

// commandLine is a command for a shell, with a variable of its environment.
func commandLine(variable string, words []string) string {
	name, value, _ := strings.Cut(variable, "=")
	parts := []string{name + "=" + shellQuoted(value)}
	for _, w := range words {
		parts = append(parts, shellQuoted(w))
	}
	return strings.Join(parts, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellQuoted quotes a word where a shell would change it.
func shellQuoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
