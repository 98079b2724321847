package run_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestInMemory: a run without processes, whose stages are joined by the same sockets, makes the same output and the
// same faults.
func TestInMemory(t *testing.T) {
	s := newSetup(t, host.Config{})
	var outputs []string
	for _, h := range []run.Host{s.host, runtest.NewInMemory(t, testBundle(pluginName))} {
		p := s.planOf(plan.IsolationStage, settings{"rows": 5000, "batch": 300}, "even")
		receipt, err := run.Execute(t.Context(), h, p, run.Options{ID: "r1"})
		if err != nil || receipt.Rows != 2500 {
			t.Fatalf("receipt %+v, %v", receipt, err)
		}
		content, err := os.ReadFile(filepath.Join(s.dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, string(content))
		for how, code := range map[string]string{"error": "count.broken", "panic": "plugin.panic"} {
			p := s.planOf(plan.IsolationStage, settings{"at": 50, "break": how})
			if _, err := run.Execute(t.Context(), h, p, run.Options{ID: "r1"}); !fault.Is(err, code) {
				t.Errorf("%s: got %v", how, err)
			}
		}
	}
	if outputs[0] != outputs[1] || outputs[0] == "" {
		t.Error("the outputs differ")
	}
}

// scripted is a process that does one thing in another way.
type scripted struct {
	host.Process
	start  func(ctx context.Context, p host.Process, handle func(*pb.Event)) error
	commit func(ctx context.Context, p host.Process) (stage.Receipt, error)
}

func (s *scripted) Start(ctx context.Context, handle func(*pb.Event)) error {
	if s.start == nil {
		return s.Process.Start(ctx, handle)
	}
	return s.start(ctx, s.Process, handle)
}

func (s *scripted) Commit(ctx context.Context) (stage.Receipt, error) {
	if s.commit == nil {
		return s.Process.Commit(ctx)
	}
	return s.commit(ctx, s.Process)
}

// TestEndsOfProcesses: what a run makes of the ways in which the process of its sink can end around the commit.
func TestEndsOfProcesses(t *testing.T) {
	t.Parallel()
	exited := func() error { return fault.New("plugin.exited", fault.Plugin, "the process ended") }
	for _, c := range []struct {
		name string
		sink scripted
		code string // of the run's fault
	}{
		{"ends before everything has come, and says nothing", scripted{start: func(context.Context, host.Process, func(*pb.Event)) error { return nil }},
			"plugin.contract"},
		{"dies before the commit", scripted{start: func(ctx context.Context, p host.Process, handle func(*pb.Event)) error {
			ctx, kill := context.WithCancel(ctx)
			defer kill()
			_ = p.Start(ctx, func(e *pb.Event) {
				if e.GetPrepared() != nil {
					kill() // and nobody hears of it
					return
				}
				handle(e)
			})
			return exited()
		}}, "plugin.exited"},
		{"dies in the commit", scripted{commit: func(context.Context, host.Process) (stage.Receipt, error) { return stage.Receipt{}, exited() }},
			"plugin.exited"},
		{"fails in the commit with an error of nobody's", scripted{commit: func(context.Context, host.Process) (stage.Receipt, error) {
			return stage.Receipt{}, errors.New("no code")
		}}, "internal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &runtest.Setup{Dir: t.TempDir()}
			h := runtest.NewInMemory(t, testBundle(pluginName))
			var mu sync.Mutex
			h.Change = func(p host.Process) host.Process {
				mu.Lock()
				defer mu.Unlock()
				return &chosen{Process: p, as: &c.sink}
			}
			p := s.Plan(plan.IsolationStage, settings{"rows": 100})
			_, err := run.Execute(t.Context(), h, p, run.Options{ID: "r1", Stall: time.Minute})
			if f := fault.From(err); f == nil || f.Code != c.code {
				t.Errorf("got %+v", f)
			}
			if left := s.Left(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// chosen becomes the scripted process when it is given the sink.
type chosen struct {
	host.Process
	as *scripted
}

func (c *chosen) Open(ctx context.Context, req *pb.OpenRequest, secrets []string) error {
	err := c.Process.Open(ctx, req, secrets)
	if req.Stages[len(req.Stages)-1].Kind == string(stage.KindSink) {
		c.Process = &scripted{Process: c.Process, start: c.as.start, commit: c.as.commit}
	}
	return err
}
