package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/engine/sandbox/embedded"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// envAs makes this test binary be something else.
const envAs = "CIPHERSTREAM_TEST_AS"

// TestMain lets the test binary be the program, and the plugin that the program
// starts, so that nothing has to be built for the tests.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{servePlugin}) {
		sdk.Serve(bundle.Bundle(version()))
		return
	}
	if filepath.Base(os.Args[0]) == sandboxName {
		os.Exit(serveSandbox())
	}
	if b, ok := servedAs(filepath.Base(os.Args[0])); ok {
		sdk.Serve(b)
		return
	}
	switch os.Getenv(envAs) {
	case "program":
		os.Exit(program(os.Args[1:]))
	case "stuck":
		// A command that is interrupted and never ends.
		a := newApp(streams{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:])
		ctx, cancel := context.WithCancelCause(context.Background())
		heedSignals(cancel, a.notice.give)
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		select {}
	}
	for _, name := range []string{envDSN, envPlugins, "NO_COLOR", "COLUMNS"} {
		os.Unsetenv(name)
	}
	flag.Parse()
	programs := beThe(sandboxName)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(programs)
		os.Exit(code)
	}))
}

// beThe makes this test binary the sandbox's program as well, by another name of its file.
func beThe(name string) (dir string) {
	executable, err := os.Executable()
	if err == nil {
		dir, err = os.MkdirTemp("", "programs")
	}
	path := filepath.Join(dir, name)
	if err == nil {
		err = os.Symlink(executable, path)
	}
	if err == nil {
		err = os.Setenv(envSandbox, path)
	}
	if err != nil {
		panic(err)
	}
	return dir
}

// serveSandbox is cmd/cipherstream-sandbox.
func serveSandbox() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	sql, err := practiceSQL()
	if err != nil {
		panic(err)
	}
	return embedded.Program(ctx, sql, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// result is how a command line ended.
type result struct {
	code           int
	stdout, stderr string
}

// call runs a command line in this process.
func call(t *testing.T, args ...string) result {
	t.Helper()
	return callWith(t, t.Context(), args...)
}

func callWith(t *testing.T, ctx context.Context, args ...string) result {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, errs := open("stdout"), open("stderr")
	code := execute(ctx, streams{in, out, errs}, args)
	read := func(f *os.File) string {
		content, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	return result{code, read(out), read(errs)}
}

// start prepares a command line in a process of its own.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, executable, args...)}
	p.Env = append(append(os.Environ(), envAs+"=program"), env...)
	p.Stderr = &p.errs
	return p
}

type process struct {
	*exec.Cmd
	errs bytes.Buffer
}

// wait waits for the end and returns the exit code, as a shell has it: 128 and the number of the signal
// that has ended the process.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	if status := p.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.ProcessState.ExitCode()
}

// golden compares text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update to accept)\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}

// practiceServer serves a small practice for a test and returns its URL.
func practiceServer(t *testing.T, options sandbox.Options) string {
	t.Helper()
	sql, err := practiceSQL()
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Start(t.Context(), embedded.Config{SQL: sql, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.DSN()
}

// leftovers lists what is in a folder.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// firstLine reads until a line satisfies want, and returns it.
func firstLine(t *testing.T, r io.Reader, want func(string) bool) string {
	t.Helper()
	var seen strings.Builder
	line := []byte{}
	one := make([]byte, 1)
	for {
		if _, err := r.Read(one); err != nil {
			t.Fatalf("no such line: %v; got:\n%s", err, seen.String())
		}
		seen.Write(one)
		if line = append(line, one[0]); one[0] != '\n' {
			continue
		}
		if want(string(line)) {
			return string(line)
		}
		line = line[:0]
	}
}
