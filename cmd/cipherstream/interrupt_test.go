package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// longRun starts a run that would take minutes, and waits until its sink writes into dir. Ended gives the exit code.
func longRun(t *testing.T, dsn, temporary, dir string, args ...string) (p *cmdtest.Process, ended <-chan int) {
	t.Helper()
	p = cmdtest.Start(t, []string{session.EnvDSN + "=" + dsn, "TMPDIR=" + temporary},
		append([]string{"run", "pipeline/testdata/everything.yaml", "-o", filepath.Join(dir, "out")}, args...)...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() { done <- p.ExitCode(t) }()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for len(cmdtest.Leftovers(t, dir)) == 0 {
		select {
		case code := <-done:
			t.Fatalf("the run ended by itself: %d %s", code, p.Errs.String())
		case <-look.C:
		}
	}
	return p, done
}

// TestSignalsTogether: what timeout(1), a service manager, a terminal and an impatient person send cleans up
// like one signal, also when the plugin processes get it before their host.
func TestSignalsTogether(t *testing.T) {
	dsn := cmdtest.Practice(t, sandbox.Options{Patients: cmdtest.Patients, Appointments: 10_000_000})
	const term, hup, interrupt = syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT
	for _, c := range []struct {
		name    string
		signals []syscall.Signal
		all     bool // the plugin processes get them, too
		args    []string
	}{
		{"timeout", []syscall.Signal{term, term}, false, nil},
		{"timeout again", []syscall.Signal{term, term}, false, []string{"--isolation", "stage"}},
		{"mixed", []syscall.Signal{term, interrupt, hup, interrupt, term}, false, nil},
		{"hang-up", []syscall.Signal{hup, hup}, false, []string{"--isolation", "none"}},
		{"service manager", []syscall.Signal{term, hup}, true, nil},
		{"every stage", []syscall.Signal{term, interrupt, hup}, true, []string{"--isolation", "stage"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			temporary, err := os.MkdirTemp("/tmp", "cs")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(temporary)
			p, ended := longRun(t, dsn, temporary, dir, c.args...)
			var plugins []int
			if c.all {
				if plugins = childrenOf(t, p.Process.Pid); len(plugins) == 0 {
					t.Skip("this system does not list the children of a process")
				}
			}
			for _, signal := range c.signals {
				for _, pid := range append(plugins, p.Process.Pid) {
					if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
						t.Fatal(err)
					}
				}
			}
			if code := <-ended; code != terminal.ExitInterrupted || !strings.Contains(p.Errs.String(), "error[cli.interrupted]: the command was interrupted\n") {
				t.Errorf("exit code %d: %s", code, p.Errs.String())
			}
			if names := append(cmdtest.Leftovers(t, dir), cmdtest.Leftovers(t, temporary)...); len(names) != 0 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

// childrenOf lists the child processes of a process, where /proc has them.
func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …; proc_pid_stat(5)
		_, rest, _ := strings.Cut(string(content), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(strings.Split(path, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// moment is how long an interrupted command may take before it says so.
const moment = time.Second

// TestSecondSignal: a command that does not come to its end says so, and another signal after that ends it.
func TestSecondSignal(t *testing.T) {
	for _, c := range []struct{ flag, announced string }{
		{"-v", "warning[cli.interrupted]: interrupted, and still ending"},
		{"--json", `{"warning":{"code":"cli.interrupted",`},
	} {
		p := cmdtest.Start(t, []string{cmdtest.EnvAs + "=stuck"}, c.flag)
		out, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.Stderr = nil
		errs, err := p.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		is := func(text string) func(string) bool {
			return func(line string) bool { return strings.HasPrefix(line, text) }
		}
		cmdtest.FirstLine(t, out, is("ready"))
		began := time.Now()
		send := func() {
			if err := p.Process.Signal(syscall.SIGTERM); err != nil && err != os.ErrProcessDone {
				t.Error(err)
			}
		}
		send()
		send()
		cmdtest.FirstLine(t, out, is("cli.interrupted"))
		send()
		if line, err := bufio.NewReader(errs).ReadString('\n'); err != nil || !strings.HasPrefix(line, c.announced) {
			t.Errorf("it says %q (%v)", line, err)
		}
		if took := time.Since(began); took < moment {
			t.Errorf("announced after %s", took)
		}
		send() // before anybody can have read that
		again := time.NewTicker(10 * time.Millisecond)
		ended := make(chan struct{})
		go func() {
			for {
				select {
				case <-again.C:
					send()
				case <-ended:
					return
				}
			}
		}()
		code := p.ExitCode(t)
		again.Stop()
		close(ended)
		if took := time.Since(began); code != terminal.ExitInterrupted || took < 2*moment {
			t.Errorf("it ended with %d after %s", code, took)
		}
	}
}
