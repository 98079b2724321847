package run_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// author starts the processes that a run waits for.
type author struct {
	t       *testing.T
	wait    sync.WaitGroup
	awaited []run.Awaiting
	came    []run.Attached
}

func (a *author) event(e run.Event) {
	switch e := e.(type) {
	case run.Awaiting:
		a.awaited = append(a.awaited, e)
		cmd := exec.Command(e.Program, e.Args...)
		cmd.Env = append(os.Environ(), e.Environment)
		if err := cmd.Start(); err != nil {
			a.t.Error(err)
			return
		}
		a.wait.Go(func() { _ = cmd.Wait() })
	case run.Attached:
		a.came = append(a.came, e)
	}
}

func TestAttachedStages(t *testing.T) {
	s := newSetup(t, host.Config{})
	p := s.planOf(plan.IsolationGroup, settings{"rows": 3000}, "even")
	p.Limits.TimeoutSeconds = 0.000001 // does not hold when somebody debugs
	if err := p.Attach("even", "file"); err != nil {
		t.Fatal(err)
	}
	a := &author{t: t}
	dir := filepath.Join(t.TempDir(), "rec")
	receipt, err := run.Execute(t.Context(), s.host, p, run.Options{ID: "r1", Events: a.event, Tap: record.New(dir)})
	a.wait.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Rows != 1500 || len(receipt.Processes) != 4 || len(a.awaited) != 2 || len(a.came) != 2 || a.came[0].PID == 0 {
		t.Errorf("receipt %+v, awaited %+v, came %+v", receipt, a.awaited, a.came)
	}
	a = &author{t: t}
	replayed, err := record.Replay{Dir: dir, Stage: "even", Attach: true, Events: a.event}.Execute(t.Context(), s.host)
	a.wait.Wait()
	if err != nil || replayed.Difference != nil || replayed.RowsOut != 1500 || len(a.came) != 1 {
		t.Errorf("replayed %+v, %v; came %+v", replayed, err, a.came)
	}
}

func TestAttachedDies(t *testing.T) {
	s := newSetup(t, host.Config{})
	p := s.planOf(plan.IsolationGroup, settings{"rows": 1 << 40, "break": "exit", "at": 50})
	if err := p.Attach("count"); err != nil {
		t.Fatal(err)
	}
	a := &author{t: t}
	_, f := s.execute(t.Context(), p, a.event)
	a.wait.Wait()
	if f == nil || f.Code != "plugin.exited" || f.Stage != "source-count" {
		t.Errorf("got %+v", f)
	}
	if left := s.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAttachGivenUp: the wait ends when the caller has enough, and when another process
// does not start.
func TestAttachGivenUp(t *testing.T) {
	s := newSetup(t, host.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := s.planOf(plan.IsolationStage, nil, "even")
	if err := p.Attach("even"); err != nil {
		t.Fatal(err)
	}
	_, f := s.execute(ctx, p, func(e run.Event) {
		if _, ok := e.(run.Awaiting); ok {
			cancel()
		}
	})
	if f == nil || f.Code != "run.cancelled" {
		t.Errorf("got %+v", f)
	}
	p.Groups[0].Plugin = "gone"
	_, f = s.execute(t.Context(), p, nil)
	if f == nil || f.Code != "plugin.unknown" || f.Stage != "source-count" {
		t.Errorf("got %+v", f)
	}
}

func TestAttachedIsAnother(t *testing.T) {
	s := newSetup(t, host.Config{})
	p := s.planOf(plan.IsolationGroup, nil)
	if err := p.Attach("lines"); err != nil {
		t.Fatal(err)
	}
	a := &author{t: t}
	_, f := s.execute(t.Context(), p, func(e run.Event) {
		if awaiting, ok := e.(run.Awaiting); ok {
			awaiting.Args = []string{"serve-other-plugin"}
			e = awaiting
		}
		a.event(e)
	})
	a.wait.Wait()
	if f == nil || f.Code != "plugin.name" || f.Class != fault.Usage || f.Message != `the process that was attached is plugin "other"; expected plugin "test"` {
		t.Errorf("got %+v", f)
	}
}
