package debugging

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	built "github.com/cipherstream/cipherstream/integration/program"
	"go.uber.org/goleak"
)

// The programs that the tests start: cipherstream, the plugin, and a changed build of it.
var programs struct{ cipherstream, acme, changed string }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "csdebugging")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(dir string) (err error) {
	if programs.cipherstream, err = built.Path(); err != nil {
		return err
	}
	programs.acme = filepath.Join(dir, "acme")
	programs.changed = filepath.Join(dir, "acme-changed")
	for _, args := range [][]string{
		{"-o", programs.acme, "./testdata/acme"},
		{"-ldflags", "-X main.mark=!", "-o", programs.changed, "./testdata/acme"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-tags", "gms_pure_go,grpcnotrace"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %w: %s", args, err, out)
		}
	}
	return nil
}

const (
	key      = "the key of the signatures: 8fd1c2"
	pipeline = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: signed, title: Signed patients}
spec:
  stages:
    source:
      use: mysql
      with: {url: "${secret.dsn}", query: "SELECT patient_id, first_name, new_patient_date FROM patient ORDER BY patient_id"}
    filter:
      - {use: where, name: where, with: {expression: "patient_id % 3 != 0"}}
      - {use: acme/sign, name: sign, with: {column: patient_id, key: "${secret.signing_key}"}}
      - {use: acme/shout, name: shout}
    encoder: {use: acme/pipes}
    compressor: {use: gzip}
    sink: {use: stream, with: {to: "${run.output}"}}
`
)

// workspace is where the program is run. At the end no private folder may be left.
type workspace struct {
	*testing.T
	tmp, out, plugins, pipeline, keyFile string
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	// Sockets in a private directory need a short path.
	tmp, err := os.MkdirTemp("/tmp", "csdbg")
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{T: t, tmp: tmp, out: t.TempDir(), plugins: t.TempDir()}
	t.Cleanup(func() {
		if left := w.names(tmp); len(left) > 0 {
			t.Errorf("private folders left behind: %v", left)
		}
		os.RemoveAll(tmp)
	})
	program := w.read(programs.acme)
	sum := sha256.Sum256(program)
	w.pipeline, w.keyFile = filepath.Join(w.out, "signed.yaml"), filepath.Join(w.out, "key.txt")
	for path, text := range map[string]string{
		filepath.Join(w.plugins, "cipherstream-plugin-acme"): string(program),
		filepath.Join(w.plugins, "plugins.lock"):             "plugins:\n  - {name: acme, version: 1.0.0, sha256: " + hex.EncodeToString(sum[:]) + "}\n",
		w.pipeline:                                           pipeline, w.keyFile: key,
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *workspace) names(dir string) (list []string) {
	w.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func (w *workspace) read(path string) []byte {
	w.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	return content
}

// command prepares cipherstream with arguments.
func (w *workspace) command(args ...string) *exec.Cmd {
	cmd := exec.Command(programs.cipherstream, args...)
	cmd.Dir = w.out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.out, "TMPDIR=" + w.tmp, "CIPHERSTREAM_PLUGINS=" + w.plugins}
	return cmd
}

// pipelineArgs runs the pipeline on generated data.
func (w *workspace) pipelineArgs(more ...string) []string {
	return append([]string{"run", w.pipeline, "--sandbox", "--secret", "signing_key=file:" + w.keyFile}, more...)
}

type result struct {
	code           int
	stdout, stderr string
}

// patience is far above what anything in these tests takes.
const patience = time.Minute

// run runs a command to its end.
func (w *workspace) run(cmd *exec.Cmd) result {
	w.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.wait(cmd)
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// wait waits for the end of a command.
func (w *workspace) wait(cmd *exec.Cmd) {
	w.Helper()
	watch := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
	_ = cmd.Wait() // its state says how
	if !watch.Stop() {
		w.Errorf("%v did not end within %s", cmd.Args, patience)
	}
}

// must runs cipherstream and wants it to succeed.
func (w *workspace) must(args ...string) result {
	w.Helper()
	r := w.run(w.command(args...))
	if r.code != 0 {
		w.Fatalf("cipherstream %v ended with %d:\n%s", args, r.code, r.stderr)
	}
	return r
}

// digest is the sha256 of a file.
func (w *workspace) digest(path string) string {
	w.Helper()
	sum := sha256.Sum256(w.read(path))
	return hex.EncodeToString(sum[:])
}

// printed finds the command lines in a text, which begin with the variable.
func printed(text string) (commands []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "CIPHERSTREAM_ATTACH=") && !strings.Contains(line, " dlv ") {
			commands = append(commands, line)
		}
	}
	return commands
}
