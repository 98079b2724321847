package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// script writes a program of a few lines of shell.
func script(t *testing.T, path, lines string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSandboxProgram: where the program that holds the server comes from, and what is said when it is not there.
func TestSandboxProgram(t *testing.T) {
	const serves = `echo '{"dsn":"mysql://sandbox:x@127.0.0.1:1/practice?tls=disabled"}'; cat >/dev/null`
	tool := func(t *testing.T, module string) string {
		dir := t.TempDir()
		script(t, filepath.Join(dir, "go"), `if [ "$1" = list ]; then echo `+module+`; exit; fi
[ "$1 $2 $3 $4" = "run -tags gms_pure_go `+sandboxPackage+`" ] || exit 9
`+serves)
		return dir
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		named   string // CIPHERSTREAM_SANDBOX
		beside  string // the name of a file beside the program
		as      string // the name of the program
		path    string
		refusal string // on standard error; empty when it is found
	}{
		{"named", script(t, filepath.Join(t.TempDir(), "any"), serves), "", "cipherstream", "", ""},
		{"beside", "", "cipherstream-sandbox", "cipherstream", "", ""},
		{"beside one of another name", "", "cipherstream-sandbox", "cs", "", ""},
		{"beside a release", "", "cipherstream-sandbox-linux-amd64", "cipherstream-linux-amd64", "", ""},
		{"from source", "", "", "cipherstream", tool(t, modulePath), ""},
		{"in another module", "", "", "cipherstream", tool(t, "example.com/other"), `"code":"sandbox.unavailable"`},
		{"without the toolchain", "", "", "cipherstream", t.TempDir(), "go build -tags gms_pure_go " + sandboxPackage},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			program := filepath.Join(dir, c.as)
			if err := os.Link(executable, program); err != nil {
				t.Skipf("no second name for the program: %v", err)
			}
			if c.beside != "" {
				script(t, filepath.Join(dir, c.beside), serves)
			}
			p := cmdtest.Start(t, []string{session.EnvSandbox + "=" + c.named, "PATH=" + c.path + ":/usr/bin:/bin"}, "sandbox", "--json")
			p.Path, p.Args[0] = program, program
			out, err := p.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			var served struct{ DSN string }
			err = json.NewDecoder(out).Decode(&served)
			refused := c.refusal != ""
			if refused != (err != nil) || !refused && served.DSN != "mysql://sandbox:x@127.0.0.1:1/practice?tls=disabled" {
				t.Errorf("served %q, %v", served.DSN, err)
			}
			_ = p.Process.Signal(os.Interrupt) // it may have ended
			if code := p.ExitCode(t); refused && code != terminal.ExitUsage || !refused && code != terminal.ExitDone {
				t.Errorf("exit code %d: %s", code, p.Errs.String())
			}
			if said := p.Errs.String(); !strings.Contains(said, c.refusal) {
				t.Errorf("it says %s", said)
			}
		})
	}
}

// TestSandboxThatFails: a program that does not serve is an error that holds what it said.
func TestSandboxThatFails(t *testing.T) {
	for _, c := range []struct{ name, lines, code, text string }{
		{"refuses", `echo '{"fault":{"code":"sandbox.sql","class":"internal","message":"no SQL","hint":"look for it"}}'; exit 1`, "sandbox.sql", "no SQL"},
		{"dies", `echo boom >&2; exit 3`, "sandbox.start", "boom"},
		{"garbage", `echo hello; cat >/dev/null`, "sandbox.start", "does not say where it serves"},
		{"nothing in it", `echo '{}'; cat >/dev/null`, "sandbox.start", "does not say where it serves"},
		{"endless", `yes | tr -d '\n'`, "sandbox.start", "without having served"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(session.EnvSandbox, script(t, filepath.Join(t.TempDir(), "program"), c.lines))
			a := terminal.New(terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, false)
			s, err := Start(t.Context(), a, &Practice{scale: 1}, "", nil)
			if s != nil || !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %s with %q", err, c.code, c.text)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Setenv(session.EnvSandbox, script(t, filepath.Join(t.TempDir(), "program"), "exec cat"))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(terminal.ErrInterrupted)
		a := terminal.New(terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, false)
		if _, err := Start(ctx, a, &Practice{scale: 1}, "", nil); !fault.Is(err, "cli.interrupted") {
			t.Errorf("%v, want cli.interrupted", err)
		}
	})
}

// TestSandboxEndsWithItsStarter: a killed program leaves no server behind.
func TestSandboxEndsWithItsStarter(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	program := script(t, filepath.Join(t.TempDir(), "program"),
		`echo '{"dsn":"mysql://sandbox:x@127.0.0.1:1/practice"}'; cat >/dev/null; echo ended >`+fifo)
	p := cmdtest.Start(t, []string{session.EnvSandbox + "=" + program}, "sandbox", "--json")
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	cmdtest.FirstLine(t, out, func(line string) bool { return strings.Contains(line, "dsn") || line == "{\n" })
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.ExitCode(t)
	if said, err := os.ReadFile(fifo); err != nil || string(said) != "ended\n" {
		t.Errorf("the sandbox said %q, %v", said, err)
	}
}

// TestSandboxLog: what the server logs goes to the log, and only when asked for.
func TestSandboxLog(t *testing.T) {
	var said bytes.Buffer
	log := &sandboxSaid{log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))}
	for _, part := range []string{`{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"a client`, ` went away","id":7}` + "\n", "panic: x\n"} {
		if n, err := log.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := "level=WARN msg=\"a client went away\" id=7\n"; said.String() != want {
		t.Errorf("logged %q, want %q", said.String(), want)
	}
	if got := log.tail(); got != ":\npanic: x" {
		t.Errorf("kept %q", got)
	}
}
