package nodeplugin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
)

// workspace is where cipherstream is run, with a plugin folder that pins the plugin and the test program.
type workspace struct {
	testing.TB
	plugins, out string
	// tmp is the temporary folder of what runs; nothing may stay in it.
	tmp string
}

func newWorkspace(t testing.TB) *workspace {
	t.Helper()
	tmp, err := os.MkdirTemp("/tmp", "csnode") // sockets in it need a short path
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{TB: t, plugins: t.TempDir(), out: t.TempDir(), tmp: tmp}
	t.Cleanup(func() {
		w.empty(tmp)
		os.RemoveAll(tmp)
	})
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.RemoveBundle(w.plugins) })
	for _, path := range []string{plugin(t), own} {
		w.must("plugin", "install", path)
	}
	return w
}

// with is the workspace for a subtest.
func (w *workspace) with(t testing.TB) *workspace {
	of := *w
	of.TB = t
	return &of
}

func (w *workspace) write(path string, content []byte) {
	w.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.Fatal(err)
	}
}

// pipeline writes a pipeline with a source of the test program's.
func (w *workspace) pipeline(source, filter string) string {
	w.Helper()
	path := filepath.Join(w.TempDir(), "pipeline.yaml")
	w.write(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: nodeplugin, title: A plugin in JavaScript}
spec:
  stages:
    source: `+source+`
    filter: `+filter+`
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
`))
	return path
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

func (w *workspace) command(args ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command(program(w), args...)
	cmd.Dir = w.out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.out, "TMPDIR=" + w.tmp, "CIPHERSTREAM_PLUGINS=" + w.plugins}
	return cmd
}

// run runs cipherstream to its end.
func (w *workspace) run(args ...string) result {
	w.Helper()
	var stdout, stderr bytes.Buffer
	cmd := w.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	watch := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // the exit code says it
	if !watch.Stop() {
		w.Fatalf("cipherstream %v did not end within %s", args, patience)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs cipherstream and wants it to succeed.
func (w *workspace) must(args ...string) string {
	w.Helper()
	r := w.run(args...)
	if r.code != 0 {
		w.Fatalf("cipherstream %v ended with %d:\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// patience is how long a test waits for what takes seconds.
const patience = 5 * time.Minute

// empty holds that nothing is in a folder: the output of a failed run, what a run needs while it lasts.
func (w *workspace) empty(dir string) {
	w.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range entries {
		w.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
	}
}

// event is what a run that speaks to a machine says.
type event struct {
	Event     string
	Rows      int64
	Processes []struct {
		Plugin string
		PID    int
	}
	Receipt struct {
		Rows     int64
		Counters map[string]int64
	}
}

// watched starts a run and hands over its events while it goes on.
func (w *workspace) watched(args []string, handle func(event)) result {
	w.Helper()
	return w.watchedWith(args, func(e event, _ *os.Process) { handle(e) })
}

// watchedWith is watched for who needs the process of cipherstream too.
func (w *workspace) watchedWith(args []string, handle func(event, *os.Process)) result {
	w.Helper()
	cmd := w.command(append(args, "--progress", "json")...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	watch := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	var said strings.Builder
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		var e event
		if json.Unmarshal([]byte(line), &e) == nil {
			handle(e, cmd.Process)
		}
		if err != nil {
			if err != io.EOF {
				w.Error(err)
			}
			break
		}
	}
	_ = cmd.Wait() // the exit code says it
	if !watch.Stop() {
		w.Fatalf("cipherstream %v did not end within %s:\n%s", args, patience, said.String())
	}
	return result{code: cmd.ProcessState.ExitCode(), stderr: said.String()}
}
