package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// TestFoldersOfOthers: no command removes a folder of somebody's from the temporary directory, whatever its
// name is, nor leaves one there; a bucket by its default name is one of them.
func TestFoldersOfOthers(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out") // the first folder of the test, and the others, are where TMPDIR says now
	temporary, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temporary)
	t.Setenv("TMPDIR", temporary)
	theirs := []string{"cipherstream", "cipherstream-1", "cipherstream-main", "cipherstream.scratch.1", "cipherstream-objects"}
	for _, name := range theirs {
		if err := os.MkdirAll(filepath.Join(temporary, name, "within"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(theirs)
	t.Setenv(session.EnvDSN, cmdtest.Practice(t, sandbox.Options{Patients: 2, Appointments: 3}))
	for _, args := range []string{
		"list", "describe appointments", "lint appointments", "plan appointments", "schema", "version", "plugin list",
		"test ../../examples/pipelines/contact_list.test.yaml", "run appointments -o " + out,
		"run appointments --job --bucket " + filepath.Join(temporary, "cipherstream-objects"),
	} {
		if got := cmdtest.Call(t, strings.Fields(args)...); got.Code != terminal.ExitDone {
			t.Errorf("%s: %+v", args, got)
		}
		if left := cmdtest.Leftovers(t, temporary); !slices.Equal(left, theirs) {
			t.Fatalf("after %s there is %v, and was %v", args, left, theirs)
		}
	}
}
