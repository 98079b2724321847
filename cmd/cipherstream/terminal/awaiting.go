package terminal

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/diag"
)

// awaiting says how to start the process that a run waits for.
func (r *Reporter) awaiting(e engine.Awaiting) {
	plain := commandLine(e.Environment, append([]string{e.Program}, e.Args...))
	debugger := commandLine(e.Environment, debuggerOf(e))
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

// debuggerOf is the command that starts the process under the debugger of its language.
func debuggerOf(e engine.Awaiting) []string {
	switch {
	case strings.HasPrefix(e.Interpreter, "python"):
		// As the first line of a plugin says, so that it finds what it finds without a debugger.
		return append([]string{e.Interpreter, "-IB", "-m", "pdb", e.Program}, e.Args...)
	case e.Interpreter == "node":
		return append([]string{e.Interpreter, "--inspect-brk", e.Program}, e.Args...)
	case len(e.Args) > 0:
		return append([]string{"dlv", "exec", e.Program, "--"}, e.Args...)
	}
	return []string{"dlv", "exec", e.Program}
}

// attached says that it has come.
func (r *Reporter) attached(e engine.Attached) {
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
	parts := []string{name + "=" + ShellQuoted(value)}
	for _, w := range words {
		parts = append(parts, ShellQuoted(w))
	}
	return strings.Join(parts, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// ShellQuoted quotes a word where a shell would change it.
func ShellQuoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
