package run_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const pluginName = runtest.Plugin

func TestMain(m *testing.M) { runtest.Main(m, testBundle) }

// setup is runtest's with the stages of these tests.
type setup struct {
	*runtest.Setup
	host *host.Host
	dir  string
	log  *runtest.Buffer
}

func newSetup(t *testing.T, cfg host.Config) *setup {
	t.Helper()
	s := runtest.New(t, cfg, testBundle(pluginName))
	return &setup{Setup: s, host: s.Host, dir: s.Dir, log: s.Log}
}

type settings = runtest.Settings

func (s *setup) planOf(isolation plan.Isolation, source settings, filters ...string) *plan.Plan {
	return s.Plan(isolation, source, filters...)
}

func (s *setup) left(t *testing.T) []string { return s.Left(t) }

func (s *setup) execute(ctx context.Context, p *plan.Plan, events func(run.Event)) (*run.Receipt, *fault.Fault) {
	receipt, err := run.Execute(ctx, s.host, p, run.Options{ID: "r1", Events: events, Stall: 300 * time.Millisecond})
	return receipt, fault.From(err)
}

var isolations = []plan.Isolation{plan.IsolationNone, plan.IsolationGroup, plan.IsolationStage}

func TestReceiptAndEvents(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(string(isolation), func(t *testing.T) {
			s := newSetup(t, host.Config{})
			var events []run.Event
			receipt, f := s.execute(t.Context(), s.planOf(isolation, settings{"rows": 20_000, "batch": 3000}, "even"),
				func(e run.Event) { events = append(events, e) })
			if f != nil {
				t.Fatal(f)
			}
			content, err := os.ReadFile(filepath.Join(s.dir, "out"))
			if err != nil {
				t.Fatal(err)
			}
			if receipt.RowsRead != 20_000 || receipt.Rows != 10_000 || receipt.Bytes != int64(len(content)) || receipt.MediaType != "text/plain" {
				t.Errorf("receipt: %+v", receipt)
			}
			if receipt.Counters["source-count.batches"] != 7 {
				t.Errorf("counters: %v", receipt.Counters)
			}
			if receipt.Facts["source-count.last"] != "batch of 2000" {
				t.Errorf("facts: %v", receipt.Facts)
			}
			if n := bytes.Count(content, []byte("\n")); n != 10_000 {
				t.Errorf("%d lines", n)
			}
			if text, err := json.Marshal(receipt); err != nil || !bytes.Contains(text, []byte(`"run_id":"r1"`)) {
				t.Errorf("receipt as JSON: %s, %v", text, err)
			}
			started, ok := events[0].(run.Started)
			if want := map[plan.Isolation]int{plan.IsolationNone: 1, plan.IsolationGroup: 1, plan.IsolationStage: 4}[isolation]; !ok || len(started.Processes) != want {
				t.Errorf("first event: %+v", events[0])
			}
			if (started.Processes[0].PID == 0) != (isolation == plan.IsolationNone) {
				t.Errorf("process: %+v", started.Processes[0])
			}
			opened := false
			for _, e := range events {
				if o, ok := e.(run.Opened); ok {
					opened = len(o.Columns) == 1 && o.Columns[0] == run.Column{Name: "n", Type: "int64"}
				}
			}
			if !opened {
				t.Error("no Opened event with the source's column")
			}
			if ended, ok := events[len(events)-1].(run.Ended); !ok || ended.Receipt != receipt {
				t.Errorf("last event: %+v", events[len(events)-1])
			}
		})
	}
}

func TestFailures(t *testing.T) {
	cfg := host.Config{Silence: 3 * time.Second, CancelGrace: time.Second, MemoryLimit: 256 << 20}
	for _, c := range []struct {
		name      string
		source    settings
		filters   []string
		processes bool // needs processes of its own
		code      string
		message   string
		log       string // in the details' log
	}{
		{name: "error", source: settings{"break": "error", "at": 50}, code: "count.broken", message: "row 50 is broken"},
		{name: "late", source: settings{"break": "late"}, code: "count.late", message: "after the last row"},
		{name: "panic", source: settings{"break": "panic", "at": 20}, code: "plugin.panic", message: "index out of range"},
		{name: "goroutine panic", source: settings{"break": "goroutine", "at": 20}, processes: true, code: "plugin.exited",
			message: `plugin "test" exited with status 2`, log: "in a goroutine of its own"},
		{name: "exit", source: settings{"break": "exit", "at": 20}, processes: true, code: "plugin.exited",
			message: `plugin "test" exited with status 7`, log: "about to exit"},
		{name: "kill", source: settings{"break": "kill", "at": 20}, processes: true, code: "plugin.exited", message: "killed by signal 9"},
		{name: "stop", source: settings{"break": "stop", "at": 20}, processes: true, code: "plugin.exited", message: "was silent for 3s"},
		{name: "memory", source: settings{"break": "memory", "at": 20}, processes: true, code: "plugin.exited", message: "its limit is 256 MiB"},
		{name: "hanging filter", filters: []string{"hang"}, processes: true, code: "plugin.unresponsive", message: ""},
	} {
		for _, isolation := range isolations {
			if c.processes && isolation == plan.IsolationNone {
				continue
			}
			t.Run(c.name+"/"+string(isolation), func(t *testing.T) {
				s := newSetup(t, cfg)
				_, f := s.execute(t.Context(), s.planOf(isolation, c.source, c.filters...), nil)
				if c.name == "hanging filter" {
					// The group says that it is stalled, and its process is killed because
					// it cannot end.
					if f == nil || f.Class != fault.Plugin {
						t.Fatalf("got %+v", f)
					}
				} else if f == nil || f.Code != c.code || !strings.Contains(f.Message, c.message) {
					t.Fatalf("got %+v, want %s: %s", f, c.code, c.message)
				}
				if !strings.Contains(f.Details["log"], c.log) {
					t.Errorf("details: %q, want %q", f.Details["log"], c.log)
				}
				if !strings.HasPrefix(f.Stage, "source-count") && c.name != "hanging filter" {
					t.Errorf("stage: %q", f.Stage)
				}
				// A process that was killed could not clean up its temporary file; it
				// must never stand under its final name.
				for _, name := range s.left(t) {
					if name == "out" || !c.processes || isolation == plan.IsolationStage && c.name != "hanging filter" {
						t.Errorf("left behind: %s", name)
					}
				}
			})
		}
	}
}

// What a plugin writes where it should not must neither stop nor spoil a run.
func TestNoise(t *testing.T) {
	for _, noise := range []string{"stdout", "flood"} {
		t.Run(noise, func(t *testing.T) {
			s := newSetup(t, host.Config{})
			receipt, f := s.execute(t.Context(), s.planOf(plan.IsolationGroup, settings{"break": noise, "at": 30, "rows": 500}), nil)
			if f != nil {
				t.Fatal(f)
			}
			if receipt.Rows != 500 {
				t.Errorf("%d rows", receipt.Rows)
			}
			if n := len(s.log.String()); n == 0 || n > 1<<20 {
				t.Errorf("%d bytes of log", n)
			}
		})
	}
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	const password = "hunter2-&-more"
	s := newSetup(t, host.Config{})
	p := s.planOf(plan.IsolationGroup, settings{"break": "secret", "at": 10,
		"password": config.NewSecret(password)})
	var logged strings.Builder
	_, f := s.execute(t.Context(), p, func(e run.Event) { fmt.Fprintf(&logged, "%+v\n", e) })
	if f == nil || f.Code != "plugin.exited" {
		t.Fatalf("got %+v", f)
	}
	for where, text := range map[string]string{"log": s.log.String(), "events": logged.String(), "details": f.Details["log"]} {
		if strings.Contains(text, password) {
			t.Errorf("the password is in the %s", where)
		}
	}
	if !strings.Contains(f.Details["log"], "connecting with [secret]") {
		t.Errorf("details: %q", f.Details["log"])
	}
}

func TestSecretsStayOutOfFacts(t *testing.T) {
	s := newSetup(t, host.Config{})
	receipt, f := s.execute(t.Context(), s.planOf(plan.IsolationGroup, settings{"password": config.NewSecret("hunter2-&-more")}), nil)
	if f != nil {
		t.Fatal(f)
	}
	if fact := receipt.Facts["source-count.last"]; fact != "batch of 10[secret]" {
		t.Errorf("the fact is %q", fact)
	}
}

func TestCancel(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(string(isolation), func(t *testing.T) {
			s := newSetup(t, host.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			_, f := s.execute(ctx, s.planOf(isolation, settings{"rows": 1 << 40}), func(e run.Event) {
				if p, ok := e.(run.Progress); ok && p.Bytes > 0 {
					cancel()
				}
			})
			if f == nil || f.Code != "run.cancelled" || f.Class != fault.Cancelled {
				t.Fatalf("got %+v", f)
			}
			if left := s.left(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	s := newSetup(t, host.Config{})
	p := s.planOf(plan.IsolationGroup, settings{"rows": 1 << 40})
	p.Limits.TimeoutSeconds = 0.3
	_, f := s.execute(t.Context(), p, nil)
	if f == nil || f.Code != "run.timeout" || !strings.Contains(f.Message, "300ms") {
		t.Fatalf("got %+v", f)
	}
}

func TestCommitFailure(t *testing.T) {
	for _, isolation := range isolations {
		s := newSetup(t, host.Config{})
		p := s.planOf(isolation, nil)
		p.Stages[len(p.Stages)-1].Config["fail_commit"] = true
		_, f := s.execute(t.Context(), p, nil)
		if f == nil || f.Code != "file.commit" || f.Stage != "sink-file" {
			t.Fatalf("%s: got %+v", isolation, f)
		}
		if left := s.left(t); len(left) > 0 {
			t.Errorf("%s: left behind: %v", isolation, left)
		}
	}
}

func TestBadSettings(t *testing.T) {
	for _, isolation := range isolations {
		s := newSetup(t, host.Config{})
		_, f := s.execute(t.Context(), s.planOf(isolation, settings{"rowz": 1}), nil)
		if f == nil || f.Code != "config.invalid" || f.Class != fault.Usage || f.Stage != "source-count" {
			t.Fatalf("%s: got %+v", isolation, f)
		}
	}
}
