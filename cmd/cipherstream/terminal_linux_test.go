package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// onTerminal runs a command line with standard error on a terminal, and standard
// output too if wanted. It returns what the terminal showed.
func onTerminal(t *testing.T, stdoutToo bool, env []string, args ...string) (code int, shown, stdout string) {
	t.Helper()
	screen, tty := cmdtest.PseudoTerminal(t)
	p := cmdtest.Start(t, append([]string{"TERM=xterm"}, env...), args...)
	var out bytes.Buffer
	p.Stdin, p.Stdout, p.Stderr = tty, &out, tty
	if stdoutToo {
		p.Stdout = tty
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	read := make(chan string)
	go func() {
		content, _ := io.ReadAll(screen) // ends with EIO when the last writer is gone
		read <- string(content)
	}()
	code = p.ExitCode(t)
	return code, <-read, out.String()
}

func TestTerminal(t *testing.T) {
	dsn := []string{session.EnvDSN + "=" + cmdtest.SmallPractice(t)}
	const clear = "\r\x1b[K"

	code, shown, stdout := onTerminal(t, false, dsn, "run", "pipeline/testdata/slow.yaml")
	last := shown[strings.LastIndex(shown, clear)+len(clear):]
	if code != 0 || !strings.Contains(shown, " waiting for the source  0:01"+clear) || !strings.HasPrefix(last, "1 row, ") || stdout != "{\"slept\":0}\n" {
		t.Errorf("with a bar: %d %q %q", code, shown, stdout)
	}
	code, shown, _ = onTerminal(t, true, dsn, "run", "pipeline/testdata/visits.yaml", "-p", "since=1990-01-01", "-p", "most=3")
	if code != 0 || strings.Contains(shown, clear) || strings.Count(shown, "\r\n") != 4 || !strings.Contains(shown, "3 rows, ") {
		t.Errorf("with the data on the terminal: %d %q", code, shown)
	}
	code, shown, _ = onTerminal(t, true, dsn, "run", "appointments", "-c", "gzip")
	if code != terminal.ExitUsage || !strings.Contains(shown, "standard output is a terminal") || !strings.Contains(shown, "\x1b[31m") {
		t.Errorf("with compressed data on the terminal: %d %q", code, shown)
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		code, shown, _ = onTerminal(t, false, []string{env}, "lint")
		if code != terminal.ExitUsage || strings.Contains(shown, "\x1b") || !strings.Contains(shown, "error[cli.usage]") {
			t.Errorf("with %s: %d %q", env, code, shown)
		}
	}
}
