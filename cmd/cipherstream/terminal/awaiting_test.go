package terminal

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine"
)

// TestAwaiting: what is printed is a command that a shell understands, whatever is in
// it, however little progress is shown.
func TestAwaiting(t *testing.T) {
	script := filepath.Join(t.TempDir(), "it's a plugin")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$CIPHERSTREAM_ATTACH|$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	awaiting := engine.Awaiting{Stage: "mask", Plugin: "acme", Environment: "CIPHERSTREAM_ATTACH=/tmp/a b/c", Program: script, Args: []string{"$HOME `x`"}}
	written := func(r *Reporter) string {
		f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r.out = f
		r.Event(awaiting)
		r.Event(engine.Attached{Stage: "mask", Plugin: "acme", PID: 7})
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	lines := strings.Split(written(&Reporter{}), "\n")
	if lines[0] != "waiting for the process of stage mask (plugin acme). Start it in another terminal:" || lines[len(lines)-2] != "stage mask: attached to process 7" {
		t.Errorf("got %q", lines)
	}
	command := strings.TrimSpace(lines[2])
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil || string(out) != "/tmp/a b/c|$HOME `x`\n" {
		t.Errorf("%s: %v: %q", command, err, out)
	}
	if debugger := strings.TrimSpace(lines[6]); !strings.Contains(debugger, " dlv exec ") || !strings.Contains(debugger, " -- ") {
		t.Errorf("got %s", debugger)
	}
	for interpreter, want := range map[string]string{"python3": " python3 -IB -m pdb '", "node": " node --inspect-brk '", "sh": " dlv exec '"} {
		e := awaiting
		if e.Interpreter = interpreter; !strings.Contains(commandLine(e.Environment, debuggerOf(e)), want) {
			t.Errorf("of a program that %s runs: %q", interpreter, debuggerOf(e))
		}
	}
	first, _, _ := strings.Cut(written(&Reporter{json: true}), "\n")
	var event struct{ Event, Stage, Plugin, Environment, Command, Debugger string }
	if err := json.Unmarshal([]byte(first), &event); err != nil || event.Event != "awaiting" || event.Command != command || event.Environment != awaiting.Environment {
		t.Errorf("%v: %s", err, first)
	}
}
