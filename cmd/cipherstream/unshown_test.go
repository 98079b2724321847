package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// listed is what a list of keys says of each.
type listed struct{ ID, State string }

// keysOf lists keys as the program does.
func keysOf(t *testing.T, args ...string) []listed {
	t.Helper()
	got := cmdtest.Call(t, append(args, "--json")...)
	var said struct{ Keys []listed }
	if err := json.Unmarshal([]byte(got.Stdout), &said); err != nil {
		t.Fatalf("%v: %v: %+v", args, err, got)
	}
	return said.Keys
}

// TestUnshownKeyEnds: a key whose text could not be written, because the disk is full or the reader is gone, is nobody's
// and opens nothing. Where it was to take the place of another, whoever rotates is told that there is none.
func TestUnshownKeyEnds(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("only Linux has such a device")
	}
	defer full.Close()
	r, gone, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer gone.Close()
	for _, output := range []struct {
		name string
		file *os.File
		code int
	}{{"full", full, terminal.ExitFailed}, {"nobody reads", gone, terminal.ExitPipe}} {
		t.Run(output.name, func(t *testing.T) {
			document := serviceDocument(t)
			cmdtest.Call(t, "key", "create", "clinic", "--config", document)
			shown := keysOf(t, "key", "list", "--config", document)
			if len(shown) != 1 || shown[0].State != "active" {
				t.Fatalf("%+v", shown)
			}
			for _, line := range []string{
				"key create clinic", "key create clinic --json", "key create --admin", "key rotate " + shown[0].ID + " --grace 1h", "customer key new clinic", "customer key new clinic --json",
			} {
				p := cmdtest.Start(t, nil, append(strings.Fields(line), "--config", document)...)
				p.Stdout = output.file
				code, errs := p.Ended(t)
				said := strings.Contains(errs, terminal.CodeOutput) && strings.Contains(errs, "standard output cannot be written")
				if code != output.code || said != (output.file == full) {
					t.Errorf("%s: exit code %d: %s", line, code, errs)
				}
				if rotates := strings.Contains(line, "rotate"); output.file == full && rotates != strings.Contains(errs, "key "+shown[0].ID+", which ends after the grace, has none in its place") {
					t.Errorf("%s: %s", line, errs)
				}
			}
			made := keysOf(t, "key", "list", "--config", document)
			if len(made) != 5 {
				t.Errorf("%d keys were made", len(made))
			}
			for _, k := range made {
				if want := map[bool]string{true: "active", false: "revoked"}[k.ID == shown[0].ID]; k.State != want {
					t.Errorf("key %s is %s, want %s", k.ID, k.State, want)
				}
			}
			sealing := keysOf(t, "customer", "key", "list", "clinic", "--config", document)
			if len(sealing) != 2 || sealing[0].State != "retired" || sealing[1].State != "retired" {
				t.Errorf("encryption keys: %+v", sealing)
			}
		})
	}
}
