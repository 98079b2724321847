package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// asked asks the third party what it offers, and returns the process that stands ready since.
func (s *setup) asked(t *testing.T) (pid int) {
	t.Helper()
	found, err := s.host.Look(t.Context(), thirdParty)
	if err != nil || found.Err != nil {
		t.Fatal(err, found.Err)
	}
	children := runtest.Children(t)
	if len(children) != 1 {
		t.Fatalf("processes after it was asked: %v", children)
	}
	return children[0]
}

// servedBy runs a plan with one filter of the third party, which must succeed, and returns the filter's process.
func (s *setup) servedBy(t *testing.T, p *plan.Plan) (pid int) {
	t.Helper()
	return s.good(t, p)[1]
}

var anything = arrow.NewSchema(nil, nil)

// TestAskedServesTheRun: a plugin's process that was asked what it offers, and about a filter of the run, serves the run
// and ends with it.
func TestAskedServesTheRun(t *testing.T) {
	s, _, _ := thirdPartySetup(t, host.Config{})
	pid := s.asked(t)
	p := s.thirdPlan(1)
	checker := run.NewFilterChecker(s.host)
	for range 2 {
		if _, found := checker.Check(&p.Stages[1], anything); len(found) > 0 {
			t.Fatalf("%+v", found)
		}
	}
	checker.Yield(p)
	if got := s.servedBy(t, p); got != pid {
		t.Errorf("process %d served the run, and %d was asked", got, pid)
	}
	if got := s.servedBy(t, p); got == pid {
		t.Errorf("process %d served two runs", got)
	}
	runtest.NoChildren(t)
}

// TestAskedAboutOthers: a process that knows something other than the run's settings is not given to the run, and neither it
// nor one that the run does not need is beside it.
func TestAskedAboutOthers(t *testing.T) {
	s, _, _ := thirdPartySetup(t, host.Config{})
	for name, told := range map[string]func(checker *run.FilterChecker, p *plan.Plan){
		"other settings": func(checker *run.FilterChecker, p *plan.Plan) {
			other := p.Stages[1]
			other.Config = settings{"until": "/nowhere"}
			checker.Check(&p.Stages[1], anything)
			checker.Check(&other, anything)
		},
		"settings of another plugin's filter": func(checker *run.FilterChecker, p *plan.Plan) {
			other := p.Stages[1]
			other.Config = settings{"until": "/nowhere"}
			checker.Check(&other, anything)
			other.Plugin = pluginName
			p.Stages = append(p.Stages, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.asked(t)
			checker := run.NewFilterChecker(s.host)
			p := s.thirdPlan(1)
			told(checker, p)
			checker.Yield(p)
			runtest.NoChildren(t)
		})
	}
	t.Run("a plugin that the run does not need", func(t *testing.T) {
		s.asked(t)
		run.NewFilterChecker(s.host).Yield(s.planOf(plan.IsolationGroup, nil))
		runtest.NoChildren(t)
	})
}

// TestAskedChanged: a process that was asked is not given to a run when another would be started now, or when it does not
// answer; the run does not notice.
func TestAskedChanged(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, pid int, lock func(string)){
		"grants":  func(_ *testing.T, _ int, lock func(string)) { lock(", network: true") },
		"dead":    func(t *testing.T, pid int, _ func(string)) { signalled(t, pid, syscall.SIGKILL) },
		"stopped": func(t *testing.T, pid int, _ func(string)) { signalled(t, pid, syscall.SIGSTOP) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _, lock := thirdPartySetup(t, host.Config{})
			pid := s.asked(t)
			change(t, pid, lock)
			if got := s.servedBy(t, s.thirdPlan(1)); got == pid {
				t.Errorf("process %d served the run", got)
			}
		})
	}
	t.Run("program", func(t *testing.T) {
		s, program, _ := thirdPartySetup(t, host.Config{})
		s.asked(t)
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, f := s.execute(t.Context(), s.thirdPlan(1), nil); f == nil || f.Code != "plugin.digest" {
			t.Errorf("got %+v", f)
		}
	})
}

// TestAskedTooOld: a process that was asked and is not needed does not stand about for ever.
func TestAskedTooOld(t *testing.T) {
	s, _, _ := thirdPartySetup(t, host.Config{WarmAge: time.Millisecond})
	if found, err := s.host.Look(t.Context(), thirdParty); err != nil || found.Err != nil {
		t.Fatal(err, found.Err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for len(runtest.Children(t)) > 0 {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it is still there")
		}
	}
}

func signalled(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
	unableToRun(t, pid)
}

// TestAskedBundle: the files of a bundle are looked at again before a process that was asked is given to a run, because it
// may read them later.
func TestAskedBundle(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, thirdParty)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, host.BundleProgram), text, 0o700)
	}
	beside := filepath.Join(folder, "beside")
	if err == nil {
		err = os.WriteFile(beside, []byte("as it was"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	entry, _, err := host.Pin(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	lock := fmt.Sprintf("plugins:\n  - {name: %s, version: 1.0.0, file: %s, bundle: true, sha256: %s, grants: '%s'}\n",
		thirdParty, thirdParty, entry.SHA256, entry.GrantsOf())
	if err := os.WriteFile(filepath.Join(dir, host.LockName), []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSetup(t, host.Config{PluginDir: dir})
	pid := s.asked(t)
	if got := s.servedBy(t, s.thirdPlan(1)); got != pid {
		t.Errorf("process %d served the run, and %d was asked", got, pid)
	}
	s.asked(t)
	if err := os.WriteFile(beside, []byte("as it is"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, f := s.execute(t.Context(), s.thirdPlan(1), nil); !fault.Is(f, "plugin.digest") {
		t.Errorf("got %+v", f)
	}
}
