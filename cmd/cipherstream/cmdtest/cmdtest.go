// Package cmdtest lets the tests of the program's commands start them, in the test's process or as a program of its
// own, and gives them what commands work on: a database, a sealed delivery, a terminal. It never holds a command, and
// never says what is right: its caller does. Only tests import it.
//
// What a command starts beside itself, the process of the first-party plugin and the sandbox, are the programs as they are
// built for users: a test binary carries neither, and the race detector is for the commands.
package cmdtest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/sdk"
)

// EnvAs makes this test binary be something else.
const EnvAs = "CIPHERSTREAM_TEST_AS"

// envBuilt tells this test binary, when it is the program, where cipherstream is.
const envBuilt = "CIPHERSTREAM_TEST_BUILT"

// Program is what a test binary is, besides a test.
type Program struct {
	// Nouns make the commands that it has.
	Nouns []session.Noun
	// Plugin is the plugin that it is when its file has that name; nil is none.
	Plugin func(name string) (sdk.Bundle, bool)
}

// nouns are those of the package under test.
var nouns []session.Noun

// Main lets the test binary be the program, and a plugin of others that the program starts: the TestMain of a package.
func Main(m *testing.M, as Program) {
	nouns = as.Nouns
	if as.Plugin != nil {
		if b, ok := as.Plugin(filepath.Base(os.Args[0])); ok {
			sdk.Serve(b)
			return
		}
	}
	switch os.Getenv(EnvAs) {
	case "program":
		s := session.New(terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:], nouns...)
		s.Executable = os.Getenv(envBuilt)
		os.Exit(s.Program())
	case "stuck":
		// A command that is interrupted and never ends.
		s := session.New(terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
		ctx, cancel := context.WithCancelCause(context.Background())
		s.HeedSignals(cancel)
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		select {}
	}
	for _, name := range []string{session.EnvDSN, session.EnvPlugins, "NO_COLOR", "COLUMNS"} {
		os.Unsetenv(name)
	}
	flag.Parse()
	path, err := built.Path()
	if err == nil {
		err = errors.Join(os.Setenv(envBuilt, path), os.Setenv(session.EnvSandbox, filepath.Join(filepath.Dir(path), sandboxName)))
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// Result is how a command line ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Call runs a command line in this process.
func Call(t *testing.T, args ...string) Result {
	t.Helper()
	return CallWith(t, t.Context(), args...)
}

// CallWith is Call with a context, whose end interrupts the command.
func CallWith(t *testing.T, ctx context.Context, args ...string) Result {
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
	s := session.New(terminal.Streams{In: in, Out: out, Err: errs}, args, nouns...)
	s.Executable = os.Getenv(envBuilt)
	code := s.Execute(ctx)
	read := func(f *os.File) string {
		content, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	return Result{code, read(out), read(errs)}
}

// Start prepares a command line in a process of its own.
func Start(t *testing.T, env []string, args ...string) *Process {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p := &Process{Cmd: exec.CommandContext(ctx, executable, args...)}
	p.Env = append(append(os.Environ(), EnvAs+"=program"), env...)
	p.Stderr = &p.Errs
	return p
}

// Process is a command line in a process of its own. Errs is what it says on standard error.
type Process struct {
	*exec.Cmd
	Errs bytes.Buffer
}

// ExitCode waits for the end and returns the exit code, as a shell has it: 128 and the number of the signal
// that has ended the process.
func (p *Process) ExitCode(t *testing.T) int {
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

// Leftovers lists what is in a folder.
func Leftovers(t *testing.T, dir string) []string {
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

// FirstLine reads until a line satisfies want, and returns it.
func FirstLine(t *testing.T, r io.Reader, want func(string) bool) string {
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

// InShell prepares a command line with redirections of a shell.
func InShell(t *testing.T, redirections string, args ...string) *Process {
	t.Helper()
	p := Start(t, nil, args...)
	p.Args = append([]string{"sh", "-c", `exec "$0" "$@" ` + redirections, p.Path}, args...)
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	p.Path = shell
	return p
}

// Ended runs a prepared command line to its end.
func (p *Process) Ended(t *testing.T) (int, string) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p.ExitCode(t), p.Errs.String()
}
