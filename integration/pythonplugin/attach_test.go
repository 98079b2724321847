package pythonplugin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/examplebundle"
)

// TestAttach debugs a stage as sdk/python/README.md says, with what the run prints and with pdb, which comes with Python.
func TestAttach(t *testing.T) {
	t.Parallel()
	examplebundle.Attach(t, bundle(t), "stage_filter.py", func(ctx context.Context, d examplebundle.Debugged) {
		text, err := os.ReadFile(d.Stage)
		if err != nil {
			t.Fatal(err)
		}
		before, _, found := strings.Cut(string(text), "        columns = batch.columns\n")
		if !found {
			t.Fatalf("the filter has no such line:\n%s", text)
		}
		shell := exec.CommandContext(ctx, "sh", "-c", "exec env "+d.Debugger)
		shell.Stdin = strings.NewReader(fmt.Sprintf("break %s:%d\ncontinue\np 'it stands at', batch.num_rows > 0, self.column\nclear 1\ncontinue\n",
			d.Stage, strings.Count(before, "\n")+1))
		out, err := shell.CombinedOutput()
		for _, says := range []string{"-> columns = batch.columns", "('it stands at', True, 'line')", "clinic: attached; waiting for the run to begin", "clinic: the run has ended"} {
			if !strings.Contains(string(out), says) {
				t.Errorf("it does not say %q", says)
			}
		}
		if err != nil || t.Failed() {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// TestAttachAnotherBuild debugs one that is not installed, and that stops where its author has written breakpoint().
func TestAttachAnotherBuild(t *testing.T) {
	t.Parallel()
	build := filepath.Join(t.TempDir(), "bundle")
	if out, err := exec.CommandContext(t.Context(), "cp", "-R", bundle(t), build).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	stage := filepath.Join(build, "stage_filter.py")
	text, err := os.ReadFile(stage)
	if err == nil {
		text = []byte(strings.Replace(string(text), "        columns = batch.columns\n", "        breakpoint()\n        columns = batch.columns\n", 1))
		err = os.WriteFile(stage, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	examplebundle.Attach(t, bundle(t), "stage_filter.py", func(ctx context.Context, d examplebundle.Debugged) {
		environment, _, _ := strings.Cut(d.Command, " ")
		shell := exec.CommandContext(ctx, "sh", "-c", "exec env "+environment+" "+filepath.Join(build, "plugin"))
		// It stops at every batch.
		shell.Stdin = strings.NewReader("p 'it stands at', self.column\n" + strings.Repeat("continue\n", 100))
		if out, err := shell.CombinedOutput(); err != nil || !strings.Contains(string(out), "('it stands at', 'line')") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// TestAttachTooLate: who starts the process when no run waits for it is told.
func TestAttachTooLate(t *testing.T) {
	t.Parallel()
	examplebundle.AttachTooLate(t, bundle(t))
}
