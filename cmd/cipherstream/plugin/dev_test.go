package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// developed is a project whose build copies a program, with a test of its filter.
func developed(t *testing.T) (dir string, save func(name, text string)) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "good")
	program, _ := smallProgram(t, "good-plugin")
	save = func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		// As editors do: the file is another one, so that it differs whatever its time is.
		if err := errors.Join(os.WriteFile(path+".new~", []byte(text), 0o600), os.Rename(path+".new~", path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	save("Makefile", "build:\n\tmkdir -p bin && cp "+program+" bin/cipherstream-plugin-good\n")
	save("pipeline.yaml", `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: own, title: Own}
spec:
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", query: SELECT 7 AS n}}
    filter: {use: good/pass, with: {column: n}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
`)
	save("pipeline.test.yaml", testedFor("7"))
	return dir, save
}

func testedFor(n string) string {
	return `apiVersion: cipherstream/v1
kind: Test
pipeline: ./pipeline.yaml
cases:
  - {name: it passes, columns: [{name: n, type: int64}], rows: [{n: 7}], expect: {output: "{\"n\":` + n + `}\n"}}
`
}

// TestPluginDev builds and tests at its start and on every save, until it is interrupted; what goes wrong is said, and mended by the
// next save. A save ends what the one before has started.
func TestPluginDev(t *testing.T) {
	t.Parallel()
	dir, save := developed(t)
	tmp := t.TempDir()
	p := cmdtest.Start(t, []string{"TMPDIR=" + tmp}, "plugin", "dev", dir)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says := func(text string) {
		t.Helper()
		cmdtest.FirstLine(t, out, func(line string) bool { return strings.HasPrefix(line, text) })
	}
	says("good: Makefile, pipeline.test.yaml, pipeline.yaml")
	says("ok, in ")
	save("pipeline.test.yaml", testedFor("8"))
	says("good: pipeline.test.yaml")
	says("FAILED: ")
	makefile, err := os.ReadFile(filepath.Join(dir, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	save("Makefile", "build:\n\tsleep 1000\n")
	says("good: Makefile")
	save("pipeline.test.yaml", testedFor("7"))
	says("good: pipeline.test.yaml") // though the build is not over
	save("Makefile", string(makefile))
	says("good: Makefile")
	says("ok, in ")
	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(t); code != terminal.ExitDone || !strings.Contains(p.Errs.String(), `{"n":8}`) {
		t.Errorf("it ended with %d:\n%s", code, p.Errs.String())
	}
	if left := cmdtest.Leftovers(t, tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPluginDevUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"a", "b"}, {t.TempDir()}, {"nowhere"}} {
		got := cmdtest.Call(t, append([]string{"plugin", "dev"}, args...)...)
		if got.Code != terminal.ExitUsage || !strings.Contains(got.Stderr, "project") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// TestWatcher: what is saved, made and removed counts, and what is built or hidden does not.
func TestWatcher(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	w := newWatcher(dir)
	for _, step := range []struct {
		do   func()
		want []string
	}{
		{func() { write("stage.py", "a"); write("src/more.py", "b") }, []string{"src/more.py", "stage.py"}},
		{func() {}, nil},
		{func() { write("stage.py", "longer") }, []string{"stage.py"}},
		{func() {
			if err := os.Chtimes(filepath.Join(dir, "stage.py"), time.Time{}, time.Unix(7, 0)); err != nil {
				t.Fatal(err)
			}
		}, []string{"stage.py"}},
		{func() {
			write("bundle/stage.py", "a")
			write(".stage.py.swp", "a")
			write("src/__pycache__/more.pyc", "a")
		}, nil},
		{func() {
			if err := os.RemoveAll(filepath.Join(dir, "src")); err != nil {
				t.Fatal(err)
			}
		}, []string{"src/more.py"}},
	} {
		step.do()
		if got, err := w.changed(); err != nil || !slices.Equal(got, step.want) {
			t.Errorf("%v, %v; want %v", got, err, step.want)
		}
	}
	if _, err := newWatcher(filepath.Join(dir, "nowhere")).changed(); err == nil {
		t.Error("a folder that is not there is watched")
	}
}
