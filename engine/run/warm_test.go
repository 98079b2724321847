package run_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const thirdParty = runtest.ThirdParty

// once is a filter that changes nothing.
type once struct{}

func (once) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }
func (once) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	in.Retain()
	return in, nil
}

type onceSettings struct {
	// Until is a file: while it is there, making the filter removes it and kills the process.
	Until string `config:"until"`
}

func newOnce(s onceSettings, _ stage.Env) (stage.Filter, error) {
	if s.Until != "" && os.Remove(s.Until) == nil {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return once{}, nil
}

// ready waits until so many processes stand ready.
func (s *setup) ready(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for s.host.PoolStats().Ready != n {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%+v, want %d ready\n%s", s.host.PoolStats(), n, s.log)
		}
	}
}

// good runs a plan, which must succeed, and returns its processes.
func (s *setup) good(t *testing.T, p *plan.Plan) (pids []int) {
	t.Helper()
	receipt, f := s.execute(t.Context(), p, func(e run.Event) {
		if started, ok := e.(run.Started); ok {
			for _, process := range started.Processes {
				pids = append(pids, process.PID)
			}
		}
	})
	if f != nil || receipt.Rows != 100 {
		t.Fatalf("%+v, %+v", receipt, f)
	}
	return pids
}

func TestWarmProcesses(t *testing.T) {
	s := newSetup(t, host.Config{Warm: 2})
	seen := map[int]bool{}
	for range 5 {
		s.ready(t, 2)
		for _, pid := range s.good(t, s.planOf(plan.IsolationGroup, nil)) {
			if seen[pid] {
				t.Errorf("process %d served two runs", pid)
			}
			seen[pid] = true
			if syscall.Kill(pid, 0) == nil {
				t.Errorf("process %d is still there", pid)
			}
		}
	}
	if got := s.host.PoolStats(); got.Taken != 5 || got.Own != 0 || got.Ended != 0 {
		t.Errorf("%+v", got)
	}
}

// unableToRun waits until a signal has had its effect on a process, which takes until its threads are scheduled: it is
// stopped, a zombie, or gone.
func unableToRun(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		state := strings.TrimSpace(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[:1]
		if strings.Contains("TZX", state) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("process %d is still in the state %s", pid, state)
		}
	}
}

// TestWarmDeath: processes that were killed or stopped while they stood ready fail no run.
func TestWarmDeath(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGSEGV} {
		for _, isolation := range isolations[1:] {
			t.Run(fmt.Sprintf("%v/%s", signal, isolation), func(t *testing.T) {
				s := newSetup(t, host.Config{Warm: 2})
				s.ready(t, 2)
				for _, pid := range runtest.Children(t) {
					if err := syscall.Kill(pid, signal); err != nil {
						t.Fatal(err)
					}
					unableToRun(t, pid)
				}
				s.good(t, s.planOf(isolation, nil))
				if got := s.host.PoolStats(); got.Taken != 0 || got.Ended != 2 {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// TestWarmDeathAtOpen: one that dies when it is given its part of the run, before any part
// has begun, costs another start and no more, however many neighbours know it already.
func TestWarmDeathAtOpen(t *testing.T) {
	for _, isolation := range isolations[1:] {
		for _, recorded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/record=%t", isolation, recorded), func(t *testing.T) {
				s := newSetup(t, host.Config{Warm: 4})
				s.ready(t, 4)
				until := filepath.Join(t.TempDir(), "until")
				if err := os.WriteFile(until, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				p := s.planOf(isolation, nil, "once")
				p.Stages[1].Config = settings{"until": until}
				o := run.Options{ID: "r1"}
				if recorded {
					o.Tap = record.New(filepath.Join(t.TempDir(), "record"))
				}
				receipt, err := run.Execute(t.Context(), s.host, p, o)
				if err != nil || receipt.Rows != 100 {
					t.Fatalf("%+v, %+v", receipt, err)
				}
				if _, err := os.Stat(until); err == nil {
					t.Error("no process was killed")
				}
			})
		}
	}
	// One of the run's own is not started again: it has not stood about.
	s := newSetup(t, host.Config{})
	until := filepath.Join(t.TempDir(), "until")
	if err := os.WriteFile(until, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := s.planOf(plan.IsolationGroup, nil, "once")
	p.Stages[1].Config = settings{"until": until}
	if _, f := s.execute(t.Context(), p, nil); f == nil || f.Code != "plugin.exited" || !f.Retryable {
		t.Errorf("got %+v", f)
	}
}

// TestKilledBySystem: a run whose process somebody else has killed may be tried again; one
// that killed itself otherwise, or used too much, may not.
func TestKilledBySystem(t *testing.T) {
	for how, retryable := range map[string]bool{"kill": true, "exit": false, "goroutine": false, "memory": false, "stop": false} {
		t.Run(how, func(t *testing.T) {
			s := newSetup(t, host.Config{MemoryLimit: 256 << 20, Silence: 3 * time.Second})
			_, f := s.execute(t.Context(), s.planOf(plan.IsolationGroup, settings{"break": how, "at": 20}), nil)
			if f == nil || f.Code != "plugin.exited" || f.Class != fault.Plugin || f.Retryable != retryable {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// TestWarmBurst: eight runs at once find two processes ready, and start six; nobody waits
// for one of the pool's.
func TestWarmBurst(t *testing.T) {
	s := newSetup(t, host.Config{Warm: 2})
	s.ready(t, 2)
	var burst sync.WaitGroup
	for i := range 8 {
		burst.Go(func() {
			p := s.planOf(plan.IsolationGroup, nil)
			p.Stages[len(p.Stages)-1].Config = settings{"path": filepath.Join(s.dir, fmt.Sprint(i))}
			if receipt, err := run.Execute(t.Context(), s.host, p, run.Options{ID: fmt.Sprint("r", i)}); err != nil || receipt.Rows != 100 {
				t.Errorf("%+v, %+v", receipt, err)
			}
		})
	}
	burst.Wait()
	if got := s.host.PoolStats(); got.Taken != 2 || got.Own != 6 {
		t.Errorf("%+v", got)
	}
	s.ready(t, 2)
}

// thirdPartySetup is a host with a plugin that plugins.lock pins, which is this program.
func thirdPartySetup(t *testing.T, cfg host.Config) (s *setup, program string, lock func(grants string)) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	cfg.PluginDir = t.TempDir()
	program = filepath.Join(cfg.PluginDir, host.ProgramPrefix+thirdParty)
	if err := os.WriteFile(program, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	lock = func(grants string) {
		entry := host.LockEntry{Name: thirdParty, SHA256: hex.EncodeToString(sum[:])}
		entry.Network = grants != ""
		line := fmt.Sprintf("plugins:\n  - {name: %s, version: 1.0.0, sha256: %s, grants: '%s'%s}\n", thirdParty, entry.SHA256, entry.GrantsOf(), grants)
		if err := os.WriteFile(filepath.Join(cfg.PluginDir, host.LockName), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock("")
	return newSetup(t, cfg), program, lock
}

// thirdPlan has filters of the third party's between a source and an encoder of our own, and
// after them, each in a process.
func (s *setup) thirdPlan(filters int) *plan.Plan {
	names := make([]string, filters)
	for i := range names {
		names[i] = "once"
	}
	p := s.planOf(plan.IsolationStage, nil, names...)
	for i := 1; i <= filters; i++ {
		p.Stages[i].Plugin, p.Stages[i].FirstParty = thirdParty, false
		p.Stages[i].ID += fmt.Sprint(i)
		p.Groups[i].Plugin = thirdParty
	}
	return p
}

// TestWarmThirdParty: from its first use on a plugin of others stands ready too, confined as
// ever, alone and beside another of its kind.
func TestWarmThirdParty(t *testing.T) {
	s, _, _ := thirdPartySetup(t, host.Config{Warm: 2})
	s.ready(t, 2)
	s.good(t, s.thirdPlan(1))
	s.ready(t, 4)
	for filters := 1; filters <= 2; filters++ {
		before := s.host.PoolStats()
		s.good(t, s.thirdPlan(filters))
		// Two of this program's three stand ready, and each of the third party's.
		if got := s.host.PoolStats(); got.Taken-before.Taken != 2+filters || got.Own-before.Own != 1 || got.Ended != 0 {
			t.Errorf("%d filters: %+v, before %+v", filters, got, before)
		}
		s.ready(t, 4)
	}
}

// TestWarmThirdPartyChanged: a process of what a plugin was is not given to a run, whatever
// was changed: its program, which then is refused, or its grants.
func TestWarmThirdPartyChanged(t *testing.T) {
	s, program, lock := thirdPartySetup(t, host.Config{Warm: 1})
	s.ready(t, 1)
	s.good(t, s.thirdPlan(1))
	s.ready(t, 2)
	lock(", network: true")
	before := s.host.PoolStats()
	s.good(t, s.thirdPlan(1))
	if got := s.host.PoolStats(); got.Ended-before.Ended != 1 || got.Taken-before.Taken != 1 {
		t.Errorf("other grants: %+v, before %+v", got, before)
	}
	lock("")
	s.ready(t, 2)
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	err = os.WriteFile(program, text, 0o600)
	if err == nil {
		err = os.Chtimes(program, info.ModTime(), info.ModTime()) // nothing to be seen by
	}
	if err != nil {
		t.Fatal(err)
	}
	_, f := s.execute(t.Context(), s.thirdPlan(1), nil)
	if f == nil || f.Code != "plugin.digest" {
		t.Errorf("the changed program: %+v", f)
	}
}
