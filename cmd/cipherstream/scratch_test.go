package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	theirs := []string{"cipherstream", "cipherstream-1", "cipherstream-main", "cipherstream.scratch.1", defaultBucket}
	for _, name := range theirs {
		if err := os.MkdirAll(filepath.Join(temporary, name, "within"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(theirs)
	t.Setenv(envDSN, practiceServer(t, sandbox.Options{Patients: 2, Appointments: 3}))
	for _, args := range []string{
		"list", "describe appointments", "lint appointments", "plan appointments", "schema", "version", "plugin list",
		"test ../../examples/pipelines/contact_list.test.yaml", "run appointments -o " + out,
		"run appointments --job --bucket " + filepath.Join(temporary, defaultBucket),
	} {
		if got := call(t, strings.Fields(args)...); got.code != exitDone {
			t.Errorf("%s: %+v", args, got)
		}
		if left := leftovers(t, temporary); !slices.Equal(left, theirs) {
			t.Fatalf("after %s there is %v, and was %v", args, left, theirs)
		}
	}
}
