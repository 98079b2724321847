package host_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// terminal is a plugin process that somebody starts by hand.
type terminal struct {
	*exec.Cmd
	out, errs lockedBuffer
	ended     chan struct{}
}

// open starts a program as a person would who was told how.
func openTerminal(t *testing.T, a host.Awaited) *terminal {
	t.Helper()
	term := &terminal{Cmd: exec.Command(a.Program, a.Args...), ended: make(chan struct{})}
	term.Env = append(os.Environ(), a.Environment)
	term.Stdout, term.Stderr = &term.out, &term.errs
	if err := term.Start(); err != nil {
		t.Error(err)
		close(term.ended)
		return term
	}
	go func() {
		_ = term.Wait() // its state says how
		close(term.ended)
	}()
	return term
}

// attach starts a plugin in a terminal of its own.
func (s *setup) attach(t *testing.T, plugin string) (host.Process, *terminal) {
	t.Helper()
	var term *terminal
	p, err := s.Attach(t.Context(), plugin, func(a host.Awaited) { term = openTerminal(t, a) })
	if err != nil {
		t.Fatalf("%v\n%s", err, term.errs.String())
	}
	t.Cleanup(func() {
		p.Close()
		<-term.ended
	})
	return p, term
}

func TestAttach(t *testing.T) {
	for _, plugin := range []string{firstParty, thirdParty} {
		s := newSetup(t, host.Config{}, pinned{name: thirdParty, self: true})
		if err := os.Chmod(filepath.Join(s.plugins, host.ProgramPrefix+thirdParty), 0o700); err != nil {
			t.Fatal(err)
		}
		var awaited host.Awaited
		var term *terminal
		p, err := s.Attach(t.Context(), plugin, func(a host.Awaited) {
			awaited = a
			if plugin == thirdParty {
				// The test program knows itself by this name, and another build does as well.
				link := filepath.Join(t.TempDir(), "program")
				if err := os.Symlink(a.Program, link); err != nil {
					t.Error(err)
				}
				a.Program = link
			}
			term = openTerminal(t, a)
		})
		if err != nil {
			t.Fatalf("%s: %v\n%s", plugin, err, term.errs.String())
		}
		if p.PID() != term.Process.Pid {
			t.Errorf("%s: process %d; it is %d", plugin, p.PID(), term.Process.Pid)
		}
		offer, err := p.Describe(t.Context())
		if err != nil || offer.Plugin != plugin || len(offer.Stages) == 0 {
			t.Errorf("%s: %+v, %v", plugin, offer, err)
		}
		if err := p.Open(t.Context(), s.group("", "source/count", "encoder/lines", "sink/file"), nil); err != nil {
			t.Fatal(err)
		}
		if err := runToCommit(t, p); err != nil {
			t.Errorf("%s: %v\n%s", plugin, err, term.errs.String())
		}
		if content, err := os.ReadFile(filepath.Join(s.out, "out")); err != nil || bytes.Count(content, []byte("\n")) != 100 {
			t.Errorf("%s: %d bytes, %v", plugin, len(content), err)
		}
		p.Close()
		<-term.ended
		if code := term.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s: it ended with %d", plugin, code)
		}
		_, path, _ := strings.Cut(awaited.Environment, "=")
		want := plugin + ": attaching to the run that waits at " + path + "\n" +
			plugin + ": attached; waiting for the run to begin\n" + plugin + ": the run has ended\n"
		if got := term.errs.String(); got != want {
			t.Errorf("%s: it said\n%swant\n%s", plugin, got, want)
		}
		s.nothingRuns(t)
	}
}

// TestAttachedOutput: what an attached plugin prints stays in its terminal.
func TestAttachedOutput(t *testing.T) {
	s := newSetup(t, host.Config{})
	p, term := s.attach(t, firstParty)
	req := s.group("", "source/count", "encoder/lines", "sink/file")
	req.Stages[0].Settings = []byte(`{"break": "stdout", "at": 30}`)
	if err := p.Open(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = p.Start(ctx, func(e *pb.Event) {
		if e.GetPrepared() != nil {
			cancel()
		}
	})
	p.Close()
	<-term.ended // and what it has printed has come
	if out := term.out.String(); !strings.Contains(out, "1|2|garbage\n") || !strings.Contains(out, "more garbage\n") {
		t.Errorf("its terminal has %.60q", out)
	}
	if s.log.String() != "" {
		t.Errorf("the log has %.200q", s.log.String())
	}
}

// TestAttachedStandsStill: no time limit ends a process that somebody debugs.
func TestAttachedStandsStill(t *testing.T) {
	s := newSetup(t, host.Config{Silence: 50 * time.Millisecond, StartTimeout: 50 * time.Millisecond})
	p, term := s.attach(t, firstParty)
	stop := func(doing string, do func() error) {
		t.Helper()
		if err := term.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(300*time.Millisecond, func() { _ = term.Process.Signal(syscall.SIGCONT) })
		defer timer.Stop()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", doing, err)
		}
	}
	stop("describe", func() error { _, err := p.Describe(t.Context()); return err })
	stop("open", func() error {
		return p.Open(t.Context(), s.group("", "source/count", "encoder/lines", "sink/file"), nil)
	})
	stop("start", func() error { return runToCommit(t, p) })
}

// runToCommit runs a group with a sink to its end.
func runToCommit(t *testing.T, p host.Process) error {
	var committing sync.WaitGroup
	defer committing.Wait()
	return p.Start(t.Context(), func(e *pb.Event) {
		if e.GetPrepared() != nil {
			committing.Go(func() {
				if _, err := p.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// TestAttachedDies: its death is what the death of any plugin is.
func TestAttachedDies(t *testing.T) {
	s := newSetup(t, host.Config{})
	p, _ := s.attach(t, firstParty)
	req := s.group("", "source/count", "encoder/lines", "sink/file")
	req.Stages[0].Settings = []byte(`{"break": "kill", "at": 20}`)
	if err := p.Open(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	f := fault.From(p.Start(t.Context(), func(*pb.Event) {}))
	if f == nil || f.Code != "plugin.exited" || f.Class != fault.Plugin || f.Message != `plugin "test" ended; it was attached, so that its own terminal says how` {
		t.Errorf("got %+v", f)
	}
}

// TestAttachedIsReleased: a process that stands still when the run is cancelled holds
// nobody up, and ends when it goes on.
func TestAttachedIsReleased(t *testing.T) {
	s := newSetup(t, host.Config{CancelGrace: 100 * time.Millisecond})
	p, term := s.attach(t, firstParty)
	req := s.group("", "source/count", "encoder/lines", "sink/file")
	req.Stages[0].Settings = []byte(`{"break": "stop", "at": 20}`)
	if err := p.Open(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		standsStill(t, term.Process.Pid)
		cancel(why)
	}()
	if err := p.Start(ctx, func(*pb.Event) {}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	p.Close()
	select {
	case <-term.ended:
		t.Error("it was killed")
	default:
	}
	if err := term.Process.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
	<-term.ended
}

// standsStill waits until a process is stopped by a signal (proc(5), state T).
func standsStill(t *testing.T, pid int) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for range 4000 {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Error(err)
			return
		}
		if _, rest, ok := strings.Cut(string(text), ") "); ok && strings.HasPrefix(rest, "T") {
			return
		}
		<-ticker.C
	}
	t.Error("the process goes on")
}

// TestAttachedNobody: the wait ends with its context, and leaves nothing.
func TestAttachedNobody(t *testing.T) {
	s := newSetup(t, host.Config{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	if p, err := s.Attach(ctx, firstParty, func(host.Awaited) { cancel(why) }); !errors.Is(err, why) {
		t.Errorf("got %v, %v", p, err)
	}
	s.nothingRuns(t)
	if _, err := s.Attach(t.Context(), "gone", nil); !fault.Is(err, "plugin.unknown") {
		t.Errorf("got %v", err)
	}
}

// TestAttachedIsNoPlugin: what connects and is no plugin is told as such.
func TestAttachedIsNoPlugin(t *testing.T) {
	for name, says := range map[string]string{"GET / HTTP/1.0\r\n\r\n": "did not start", "": "did not start"} {
		s := newSetup(t, host.Config{})
		_, err := s.Attach(t.Context(), firstParty, func(a host.Awaited) {
			_, path, _ := strings.Cut(a.Environment, "=")
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := conn.Write([]byte(name)); err != nil {
				t.Error(err)
			}
			conn.Close()
		})
		f := fault.From(err)
		if f == nil || f.Code != "plugin.start" || !strings.Contains(f.Message, says) {
			t.Errorf("%q: got %+v", name, f)
		}
		s.nothingRuns(t)
	}
}
