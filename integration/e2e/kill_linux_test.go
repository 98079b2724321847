package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestHostKilled kills the program at random moments of a run. Whenever that is:
// its plugin processes end, nothing stands under the final name, the server works
// for nobody, and the next run clears what was left.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	random := chance(t)
	for _, isolation := range []string{"group", "stage"} {
		t.Run(isolation, func(t *testing.T) {
			w := newWorkspace(t, db.DSN(db.Database()))
			endless, short := w.endless(), w.pipeline(settings{"query": "SELECT 1 AS a"}, "ndjson")
			for i := range 10 {
				// While it starts, or while rows flow.
				moment := time.Duration(random.Int64N(int64(150 * time.Millisecond)))
				if i%2 == 1 {
					moment += time.Duration(random.Int64N(int64(700 * time.Millisecond)))
				}
				cmd := w.command("run", endless, "-o", w.output("rows"), "--isolation", isolation)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				killer := time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
				err := cmd.Wait()
				killer.Stop()
				if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
					t.Fatalf("killed after %s, it ended by itself: %v", moment, err)
				}
				w.nothingRuns()
				if exists(w.output("rows")) {
					t.Errorf("killed after %s: a file stands under the final name", moment)
				}
				w.idle(db)
				if got := w.must("run", short); string(got) != "{\"a\":1}\n" {
					t.Errorf("the next run gives %q", got)
				}
				if left := names(t, w.tmp); len(left) > 0 {
					t.Errorf("killed after %s: the next run leaves %v", moment, left)
				}
				w.nothingLeft()
			}
		})
	}
}

// nothingLeft holds that no file is in the output folder.
func (w *workspace) nothingLeft() {
	w.Helper()
	if left := names(w, w.out); len(left) > 0 {
		w.Errorf("left behind: %v", left)
	}
}

// TestPluginKilled kills each plugin process while rows flow.
func TestPluginKilled(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	for _, c := range []struct{ isolation, first, stages string }{
		{"group", "source", "source…sink"},
		{"stage", "source", "source"},
		{"stage", "encoder", "encoder"},
		{"stage", "sink", "sink"},
	} {
		s := w.start("run", w.endless(), "-o", w.output("rows"), "--isolation", c.isolation)
		w.flowing()
		if err := syscall.Kill(s.plugins[c.first], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r := <-s.ended
		want := said{Code: "plugin.exited", Class: "plugin", Message: `plugin "cipherstream" was killed by signal 9 (killed)`, Stage: c.stages, ExitCode: 1}
		if f := r.failure(t); r.code != 1 || f != want {
			t.Errorf("%s killed: it ended with %d: %+v, want %+v", c.stages, r.code, f, want)
		}
		w.nothingRuns()
		w.idle(db)
		w.nothingLeft()
	}
}

// TestPluginStopped stops a plugin process, which then neither answers nor ends: an
// interrupt still ends everything.
func TestPluginStopped(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	s := w.start("run", w.endless(), "-o", w.output("rows"), "--isolation", "stage")
	w.flowing()
	for _, pid := range s.plugins {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if r := <-s.ended; r.code != 130 || !strings.Contains(r.stderr, interrupted) {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	w.nothingRuns()
	w.nothingLeft()
}

// interrupted is the last that a program says whose clean-up came to its end, here when its plugins had been killed.
const interrupted = "the command was interrupted"

// TestSecondSignal: the second one doesn't wait for anything, and leaves no process
// either.
func TestSecondSignal(t *testing.T) {
	db := dbtest.MariaDB(t)
	w := newWorkspace(t, db.DSN(db.Database()))
	s := w.start("run", w.endless(), "-o", w.output("rows"), "--isolation", "stage")
	w.flowing()
	for _, pid := range s.plugins {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	var r result
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // fails once it has ended
		select {
		case r = <-s.ended:
			waiting = false
		case <-tick.C:
		}
	}
	if r.code != 130 || strings.Contains(r.stderr, interrupted) {
		t.Errorf("it ended with %d:\n%s", r.code, r.stderr)
	}
	w.nothingRuns()
	w.nothingLeft()
	w.must("run", w.pipeline(settings{"query": "SELECT 1"}, "csv")) // clears the private directory
}

// TestConnectionCut cuts the connection to the server after every kind of number of
// bytes. A part of the rows is never taken for all of them.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	random := chance(t)
	for _, source := range []settings{
		{"query": "SELECT seq, REPEAT('x', seq % 90) AS filler, NULLIF(seq % 3, 0) AS sparse FROM seq_1_to_20000", "protocol": "binary"},
		{"query": "SELECT seq, REPEAT('x', seq % 90) AS filler, NULLIF(seq % 3, 0) AS sparse FROM seq_1_to_20000", "protocol": "text"},
	} {
		t.Run(source["protocol"].(string), func(t *testing.T) {
			p := newProxy(t, db.Port())
			w := newWorkspace(t, strings.Replace(db.DSN(db.Database()), fmt.Sprintf(":%d/", db.Port()), fmt.Sprintf(":%d/", p.port), 1))
			pipeline := w.pipeline(source, "csv")
			p.limit.Store(1 << 62)
			whole := w.must("run", pipeline)
			eventually(t, "the end of the connection", func() bool { return p.passed.Load() > 0 })
			total := p.passed.Load()
			if strings.Count(string(whole), "\n") != 20001 || total < 500_000 {
				t.Fatalf("%d lines of %d bytes from the server", strings.Count(string(whole), "\n"), total)
			}
			cuts := []int64{0, 1, 3, 4, 100, total - 1, total - 4, total - 5, total - 8, total - 9, total - 12, total - 20}
			for len(cuts) < 24 {
				cuts = append(cuts, random.Int64N(total))
			}
			slices.Sort(cuts)
			for _, cut := range cuts {
				p.limit.Store(cut)
				isolation := isolations[random.IntN(3)]
				r := w.run("run", pipeline, "-o", "rows", "--isolation", isolation)
				if r.code != 1 && r.code != 3 || !strings.HasPrefix(r.stderr, "error[mysql.") || len(names(t, w.out)) > 0 {
					t.Errorf("cut after %d of %d bytes, isolation %s: it ended with %d and left %v:\n%s", cut, total, isolation, r.code, names(t, w.out), r.stderr)
				}
				if r.code == 3 && cut > 4096 {
					t.Errorf("cut after %d bytes: exit code 3 when rows were flowing:\n%s", cut, r.stderr)
				}
				for _, name := range names(t, w.out) {
					_ = syscall.Unlink(w.output(name))
				}
			}
		})
	}
}
