// Package runtest is a host with small stages, a log and a folder for outputs, for tests of runs and of what stands
// on them. It is imported by tests only.
package runtest

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Plugin is the name under which the test program serves its stages.
const Plugin = "test"

// ThirdParty is the name under which it serves them when a lock file names it.
const ThirdParty = "third"

// Main makes the test program the plugin program too, as cipherstream itself is, and runs the tests.
func Main(m *testing.M, bundle func(name string) stage.Bundle) {
	if len(os.Args) > 1 && os.Args[1] == "serve-test-plugin" {
		sdk.Serve(bundle(Plugin))
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "serve-other-plugin" {
		sdk.Serve(bundle("other"))
		os.Exit(0)
	}
	// As the host calls the copy of a third party's, and what starts a bundle.
	if name := filepath.Base(os.Args[0]); name == "program" || name == host.BundleProgram {
		sdk.Serve(bundle(ThirdParty))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Setup is a host with its log and a directory for outputs. At the end it holds
// that no process and no file is left.
type Setup struct {
	Host *host.Host
	// Dir is the folder that the sink writes to.
	Dir string
	// Log is what the plugin processes have said.
	Log *Buffer
}

// Buffer is a buffer for several goroutines.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *Buffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *Buffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// New makes a setup of the stages of a bundle.
func New(t *testing.T, cfg host.Config, bundle stage.Bundle) *Setup {
	t.Helper()
	s := &Setup{Dir: t.TempDir(), Log: &Buffer{}}
	cfg.FirstParty = bundle
	cfg.Args = []string{"serve-test-plugin"}
	cfg.Log = slog.New(slog.NewTextHandler(s.Log, nil))
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Host = h
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		NoChildren(t)
	})
	return s
}

// NoChildren fails a test that has left a process behind, where /proc has them.
func NoChildren(t *testing.T) {
	t.Helper()
	for _, pid := range Children(t) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		t.Errorf("a process was left behind: %.40s", text)
	}
}

// Children are the numbers of the child processes of this one.
func Children(t *testing.T) (list []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

// Settings are those of a stage.
type Settings = map[string]any

// Plan makes a plan of count → filters → lines → file.
func (s *Setup) Plan(isolation plan.Isolation, source Settings, filters ...string) *plan.Plan {
	p := &plan.Plan{Name: "test", Isolation: isolation}
	add := func(kind stage.Kind, name string, cfg Settings) {
		if cfg == nil {
			cfg = Settings{}
		}
		p.Stages = append(p.Stages, plan.Stage{ID: string(kind) + "-" + name, Kind: kind, Plugin: Plugin, Name: name, FirstParty: true, Config: cfg})
	}
	add(stage.KindSource, "count", source)
	for _, f := range filters {
		add(stage.KindFilter, f, nil)
	}
	add(stage.KindEncoder, "lines", nil)
	add(stage.KindSink, "file", Settings{"path": filepath.Join(s.Dir, "out")})
	for i := range p.Stages {
		switch {
		case isolation == plan.IsolationStage || i == 0:
			p.Groups = append(p.Groups, plan.Group{Plugin: Plugin, Stages: []int{i}})
		default:
			last := &p.Groups[len(p.Groups)-1]
			last.Stages = append(last.Stages, i)
		}
		p.Groups[0].InHost = isolation == plan.IsolationNone
	}
	return p
}

// Left lists what is in the folder for outputs.
func (s *Setup) Left(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
