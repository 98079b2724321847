package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// TestJSONOfEveryCommand holds what the README says of --json: of every command, what is said is for a machine, to the
// last byte of both files, also where it did not work.
func TestJSONOfEveryCommand(t *testing.T) {
	t.Run("Refused", func(t *testing.T) {
		for _, path := range leaves(tree()) {
			r := cmdtest.Call(t, append(strings.Fields(path), "--json", "--no-such-flag")...)
			said := values(t, path, r.Stderr)
			if r.Code != terminal.ExitUsage || r.Stdout != "" || len(said) != 1 || coded(said[0]) != "cli.usage" {
				t.Errorf("%s --no-such-flag: %+v", path, r)
			}
		}
	})
	t.Run("Done", func(t *testing.T) {
		tried := map[string]bool{}
		for line, args := range writers(t, cmdtest.Practice(t, sandbox.Options{Patients: 2, Appointments: 3})) {
			path := command(args)
			// Text by its nature: help, what a shell reads, and a page in Markdown.
			if path == "" || strings.HasPrefix(line, "completion") || slices.Contains(args, "--help") || slices.Contains(args, "--markdown") {
				continue
			}
			tried[path] = true
			if !slices.Contains(args, "--json") {
				args = append(args, "--json")
			}
			t.Run(line, func(t *testing.T) {
				if slices.Contains([]string{"serve", "sandbox", "webhook listen"}, path) || slices.Contains(args, "--http") {
					serves(t, args)
					return
				}
				r := cmdtest.Call(t, args...)
				// What these say of a service that is nowhere, an event of somebody else, and a bad pipeline.
				well := r.Code == terminal.ExitDone || path == "doctor" || path == "webhook verify" || path == "lint" && r.Code == terminal.ExitUsage
				said, errs := values(t, "standard output", r.Stdout), values(t, "standard error", r.Stderr)
				if !well || len(said)+len(errs) == 0 {
					t.Errorf("%+v", r)
				}
			})
		}
		for path := range keysAndJobs(t) {
			tried[path] = true
		}
		for _, path := range leaves(tree()) {
			if !tried[path] && !slices.Contains(elsewhere, path) && !strings.HasPrefix(path, "completion") {
				t.Errorf("nothing tries %s", path)
			}
		}
	})
}

// keysAndJobs has the commands done that need what others made before, and returns their paths.
func keysAndJobs(t *testing.T) map[string]bool {
	document := serviceDocument(t)
	done := map[string]bool{}
	// do returns the value of the field name of what the command said.
	do := func(name string, args ...string) string {
		t.Helper()
		r := cmdtest.Call(t, append(args, "--json", "--config", document)...)
		said, errs := values(t, "standard output", r.Stdout), values(t, "standard error", r.Stderr)
		if r.Code != terminal.ExitDone || len(said)+len(errs) == 0 {
			t.Fatalf("%v: %+v", args, r)
		}
		done[command(args)] = true
		if name == "" {
			return ""
		}
		fields, _ := said[0].(map[string]any)
		value, _ := fields[name].(string)
		if value == "" {
			t.Fatalf("%v: no %s in %s", args, name, r.Stdout)
		}
		return value
	}
	id := do("id", "key", "create", "clinic")
	id = do("id", "key", "rotate", id)
	do("", "key", "revoke", id)
	number := do("id", "customer", "key", "new", "clinic")
	do("", "customer", "key", "activate", "clinic", number)
	do("", "customer", "key", "retire", "clinic", number)
	do("", "state", "backup", filepath.Join(t.TempDir(), "record"))
	return done
}

// serves starts what serves until it is interrupted: it says one document as soon as it is ready, and is quiet then.
func serves(t *testing.T, args []string) {
	p := cmdtest.Start(t, nil, args...)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(out)
	var ready map[string]any
	if err := d.Decode(&ready); err != nil || len(ready) == 0 {
		t.Errorf("it says %v: %v", ready, err)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(io.MultiReader(d.Buffered(), out))
	if err != nil || strings.TrimSpace(string(rest)) != "" {
		t.Errorf("then it says %q: %v", rest, err)
	}
	if code := p.ExitCode(t); code != terminal.ExitDone && code != terminal.ExitInterrupted {
		t.Errorf("it ends with %d", code)
	}
	values(t, "standard error", p.Errs.String())
}

// command is the path of the command that args name, or empty.
func command(args []string) (longest string) {
	for _, path := range leaves(tree()) {
		if strings.HasPrefix(strings.Join(args, " ")+" ", path+" ") && len(path) > len(longest) {
			longest = path
		}
	}
	return longest
}

// values are the JSON objects that text consists of.
func values(t *testing.T, what, text string) (said []any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			return said
		}
		if err != nil {
			t.Errorf("%s is not JSON: %v\n%s", what, err, text)
			return said
		}
		if _, ok := v.(map[string]any); !ok {
			t.Errorf("%s: %v is no object", what, v)
		}
		said = append(said, v)
	}
}

// coded is the code of an error that was said, or empty.
func coded(said any) string {
	object, _ := said.(map[string]any)
	fault, _ := object["error"].(map[string]any)
	code, _ := fault["code"].(string)
	return code
}
