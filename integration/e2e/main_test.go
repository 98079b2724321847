package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/integration/poll"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/sdk"
)

// The test program is also a third-party plugin program. It knows itself by the
// name that the host gives to the copy it has verified.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "program" {
		sdk.Serve(thirdParty())
		return
	}
	servers.Share()
	dbtest.Main(m, servers.Stop)
}

// program builds cipherstream once and returns its path.
func program(t testing.TB) string {
	t.Helper()
	path, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var seed = flag.Uint64("seed", 0, "repeat the random choices of a run that printed this number")

// chance is a source of random choices, whose seed is printed.
func chance(t testing.TB) *rand.Rand {
	t.Helper()
	n := *seed
	for n == 0 {
		n = rand.Uint64()
	}
	t.Logf("random choices: -seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// patience is how long a test waits for something that takes milliseconds.
const patience = time.Minute

// eventually polls until done is true, and fails the test when it never is.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	if !poll.Until(5*time.Millisecond, 100*time.Millisecond, patience, done) {
		t.Fatalf("%s: not within %s", what, patience)
	}
}

// workspace is where the program is run: with an environment, temporary folder and
// output folder of its own. At the end of the test no process and no private
// directory may be left.
type workspace struct {
	testing.TB
	dsn      string
	tmp, out string
	// env is added to the environment.
	env []string
}

// with is the workspace for a subtest.
func (w *workspace) with(t testing.TB) *workspace {
	of := *w
	of.TB = t
	return &of
}

func newWorkspace(t testing.TB, dsn string) *workspace {
	t.Helper()
	// Sockets in a private directory need a short path.
	tmp, err := os.MkdirTemp("/tmp", "cse2e")
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{TB: t, dsn: dsn, tmp: tmp, out: t.TempDir()}
	t.Cleanup(func() {
		w.nothingRuns()
		if len(names(t, tmp)) > 0 {
			t.Errorf("private directories left behind: %v", tree(t, tmp))
		}
		os.RemoveAll(tmp)
	})
	return w
}

// command prepares cipherstream with arguments.
func (w *workspace) command(args ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command(program(w), args...)
	w.surround(cmd)
	return cmd
}

func (w *workspace) surround(cmd *exec.Cmd) {
	cmd.Dir = w.out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.out, "TMPDIR=" + w.tmp}
	if w.dsn != "" {
		cmd.Env = append(cmd.Env, "CIPHERSTREAM_DSN="+w.dsn)
	}
	cmd.Env = append(cmd.Env, w.env...)
}

// result is how a command ended.
type result struct {
	code   int
	stdout []byte
	stderr string
}

// run runs cipherstream to its end.
func (w *workspace) run(args ...string) result {
	w.Helper()
	return w.finish(w.command(args...))
}

// runTimeout is far above what any run of these tests takes.
const runTimeout = 5 * time.Minute

// finish runs a command to its end.
func (w *workspace) finish(cmd *exec.Cmd) result {
	w.Helper()
	return <-w.begin(cmd)
}

// unconfined is what is said of every third-party plugin where the system refuses namespaces. What that
// means is tested in integration/isolation.
var unconfined = regexp.MustCompile(`(?m)^warn: plugin "[^"]*" runs unconfined, .*\n`)

// stillEnding is what an interrupted command says when its end takes longer than a moment, as on a busy machine.
var stillEnding = regexp.MustCompile(`^warn: interrupted, and still ending what was begun; .*\n`)

// begin starts a command and gives its result when it has ended.
func (w *workspace) begin(cmd *exec.Cmd) <-chan result { return w.beginFor(cmd, runTimeout) }

// beginFor is begin with a limit of time of its own.
func (w *workspace) beginFor(cmd *exec.Cmd, limit time.Duration) <-chan result {
	w.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	ended := make(chan result, 1)
	go func() {
		watch := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // the exit code says it
		if !watch.Stop() {
			w.Errorf("%v did not end within %s", cmd.Args, limit)
		}
		code := cmd.ProcessState.ExitCode()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
			code = 128 + int(status.Signal()) // as a shell has it
		}
		ended <- result{code, stdout.Bytes(), unconfined.ReplaceAllString(stderr.String(), "")}
	}()
	return ended
}

// must runs cipherstream and wants it to succeed without a complaint.
func (w *workspace) must(args ...string) []byte {
	w.Helper()
	r := w.run(append(args, "--progress", "none")...)
	if r.code != 0 || r.stderr != "" {
		w.Fatalf("cipherstream %v ended with %d:\n%s", args, r.code, r.stderr)
	}
	return r.stdout
}

// slowKill is a warning before a fault: a server that has much to do may take no second connection in time.
var slowKill = regexp.MustCompile(`^warn\[source\]: the query could not be killed on the server error=.*\n`)

// fails holds that a run ended with an exit code and a fault, and that no file is
// in the output folder.
func (w *workspace) fails(r result, code int, fault string) {
	w.Helper()
	told := slowKill.ReplaceAllString(r.stderr, "")
	if code == 130 {
		told = stillEnding.ReplaceAllString(told, "")
	}
	if r.code != code || !strings.HasPrefix(told, "error["+fault+"]: ") {
		w.Errorf("it ended with %d, want %d with %s:\n%s", r.code, code, fault, r.stderr)
	}
	if left := names(w, w.out); len(left) > 0 {
		w.Errorf("files left behind: %v", left)
	}
}

// said is a failure as a machine reads it.
type said struct {
	Code, Class, Message, Stage string
	ExitCode                    int `json:"exit_code"`
}

// failure reads the last line of standard error, which is JSON.
func (r result) failure(t testing.TB) said {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	var last struct{ Error said }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatalf("no failure in JSON: %v\n%s", err, r.stderr)
	}
	return last.Error
}

type settings = map[string]any

// pipeline writes a pipeline outside the output folder and returns its path: a
// source with settings, an encoder and the usual sink.
func (w *workspace) pipeline(source settings, encoder string) string {
	w.Helper()
	with := settings{"url": "${secret.dsn}"}
	for k, v := range source {
		with[k] = v
	}
	return w.document("mysql", with, encoder)
}

func (w *workspace) document(use string, with settings, encoder string) string {
	w.Helper()
	text, err := json.Marshal(with) // JSON is YAML
	if err != nil {
		w.Fatal(err)
	}
	path := filepath.Join(w.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(path, []byte(`apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: e2e, title: End to end}
spec:
  stages:
    source: {use: `+use+`, with: `+string(text)+`}
    encoder: {use: `+encoder+`}
    sink: {use: stream, with: {to: "${run.output}"}}
`), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// endless is a query that is far from its end when a test is done with it.
const endless = "SELECT seq, REPEAT('x', 100) AS filler, seq * 7 AS more FROM seq_1_to_200000000"

func (w *workspace) endless() string {
	w.Helper()
	return w.pipeline(settings{"query": endless}, "ndjson")
}

// output is the path of a file in the output folder.
func (w *workspace) output(name string) string { return filepath.Join(w.out, name) }

// flowing waits until bytes have arrived in a file that is not whole yet.
func (w *workspace) flowing() {
	w.Helper()
	eventually(w, "data in the temporary file", func() bool {
		for _, name := range names(w, w.out) {
			if info, err := os.Stat(w.output(name)); err == nil && strings.HasSuffix(name, ".partial") && info.Size() > 0 {
				return true
			}
		}
		return false
	})
}

func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// tree lists all that is below a folder, with the size of files.
func tree(t testing.TB, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err == nil {
			name, _ := filepath.Rel(dir, path)
			list = append(list, fmt.Sprintf("%s (%d bytes)", name, info.Size()))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return list
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
