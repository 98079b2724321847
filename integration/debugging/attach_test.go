package debugging

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// watched keeps what a command writes and tells of every command line in it.
type watched struct {
	mu       sync.Mutex
	text     bytes.Buffer
	told     int
	here     int
	commands chan string
	attached chan struct{} // once for every process that came
}

func (o *watched) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	// Whole lines only.
	whole := o.text.String()[:bytes.LastIndexByte(o.text.Bytes(), '\n')+1]
	all := printed(whole)
	for ; o.told < len(all); o.told++ {
		o.commands <- all[o.told]
	}
	for ; o.here < strings.Count(whole, ": attached to process "); o.here++ {
		o.attached <- struct{}{}
	}
	return len(p), nil
}

func (o *watched) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// command waits for the next command line.
func (o *watched) command(t *testing.T) string {
	t.Helper()
	return next(t, o, o.commands)
}

// next waits for something that the program says.
func next[T any](t *testing.T, o *watched, from <-chan T) (said T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case said = <-from:
	case <-timer.C:
		t.Fatalf("it does not go on within %s:\n%s", patience, o)
	}
	return said
}

// begin starts cipherstream and returns it with its standard error.
func (w *workspace) begin(args ...string) (*exec.Cmd, *watched) {
	w.Helper()
	cmd := w.command(args...)
	errs := &watched{commands: make(chan string, 16), attached: make(chan struct{}, 16)}
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	// A test that gives up leaves no process.
	w.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, errs
}

// terminal runs a printed command as a person would, in a shell with an environment of
// its own, and returns what waits for its end and gives what it said.
func (w *workspace) terminal(command string) func() string {
	w.Helper()
	shell := exec.Command("sh", "-c", "exec env "+command)
	shell.Dir = w.TempDir()
	var errs bytes.Buffer
	shell.Stdout, shell.Stderr = io.Discard, &errs
	if err := shell.Start(); err != nil {
		w.Fatal(err)
	}
	return func() string {
		w.wait(shell)
		return errs.String()
	}
}

func TestAttach(t *testing.T) {
	w := newWorkspace(t)
	plain, attached := filepath.Join(w.out, "plain.gz"), filepath.Join(w.out, "attached.gz")
	w.must(w.pipelineArgs("-o", plain)...)
	// One stage of somebody else's, between two of its own plugin, and one first-party.
	cmd, errs := w.begin(w.pipelineArgs("-o", attached, "--attach", "shout", "--attach", "where", "--progress", "none")...)
	var terminals []func() string
	for range 2 {
		terminals = append(terminals, w.terminal(errs.command(t)))
	}
	w.wait(cmd)
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("it ended with %d:\n%s", code, errs)
	}
	if w.digest(plain) != w.digest(attached) {
		t.Error("the run with attached stages made something else")
	}
	all := ""
	for _, said := range terminals {
		all += said()
	}
	for _, says := range []string{"acme: attaching to the run that waits at " + w.tmp, "cipherstream: attaching to the run that waits at ",
		"acme: attached; waiting for the run to begin\n", "acme: the run has ended\n", "cipherstream: the run has ended\n"} {
		if !strings.Contains(all, says) {
			t.Errorf("the terminals do not say %q:\n%s", says, all)
		}
	}
	for _, says := range []string{"waiting for the process of stage shout (plugin acme)", "stage shout: attached to process ", " dlv exec "} {
		if !strings.Contains(errs.String(), says) {
			t.Errorf("it does not say %q:\n%s", says, errs)
		}
	}
	if strings.Contains(all+errs.String(), key) {
		t.Error("the key is shown")
	}
}

// TestAttachAnotherBuild: the process that came is the one that runs, pinned or not.
func TestAttachAnotherBuild(t *testing.T) {
	w := newWorkspace(t)
	dir := filepath.Join(w.out, "rec")
	cmd, errs := w.begin(w.pipelineArgs("-o", filepath.Join(w.out, "rows.gz"), "--attach", "sign", "--record", dir)...)
	command := errs.command(t)
	pinned := filepath.Join(w.plugins, "cipherstream-plugin-acme")
	if !strings.HasSuffix(command, " "+pinned) {
		t.Errorf("the command is %s", command)
	}
	said := w.terminal(strings.TrimSuffix(command, pinned) + programs.changed)
	w.wait(cmd)
	said()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("it ended with %d:\n%s", code, errs)
	}
	if _, rows := w.cells(filepath.Join(dir, boundaries[2])); !strings.HasSuffix(rows[0][3], "!") {
		t.Errorf("the first row is %v", rows[0])
	}

	// The same in a replay, with the build that is pinned.
	replay, errs := w.begin("plugin", "replay", dir, "--stage", "sign", "--secret", "key=file:"+w.keyFile, "--attach")
	said = w.terminal(errs.command(t))
	w.wait(replay)
	said()
	if code := replay.ProcessState.ExitCode(); code != 1 || !strings.Contains(errs.String(), "error[replay.differs]") {
		t.Errorf("it ended with %d:\n%s", code, errs)
	}
}

// TestAttachInterrupted: an interrupt ends the wait, and nothing is left.
func TestAttachInterrupted(t *testing.T) {
	w := newWorkspace(t)
	out := filepath.Join(w.out, "rows.gz")
	cmd, errs := w.begin(w.pipelineArgs("-o", out, "--attach", "sign")...)
	command := errs.command(t)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	w.wait(cmd)
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(errs.String(), "error[cli.interrupted]") {
		t.Errorf("it ended with %d:\n%s", code, errs)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("there is an output")
	}
	// Who comes too late is told.
	if said := w.terminal(command)(); !strings.Contains(said, "acme: cannot attach: no run waits there any more\n") {
		t.Errorf("it said %s", said)
	}
}

// TestAttachedDies: the death of a process that somebody debugs is a plugin's death.
func TestAttachedDies(t *testing.T) {
	w := newWorkspace(t)
	out := filepath.Join(w.out, "rows.gz")
	cmd, errs := w.begin(w.pipelineArgs("-o", out, "--attach", "sign", "--attach", "shout")...)
	shell := exec.Command("sh", "-c", "exec env "+errs.command(t))
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	next(t, errs, errs.attached)
	if err := shell.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = shell.Wait() // it was killed
	said := w.terminal(errs.command(t))
	w.wait(cmd)
	said()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(errs.String(), `error[plugin.exited]: plugin "acme" ended; it was attached`) {
		t.Errorf("it ended with %d:\n%s", code, errs)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("there is an output")
	}
}
