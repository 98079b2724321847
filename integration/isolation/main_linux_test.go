package isolation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const (
	firstParty = "test"
	thirdParty = "rogue"
)

// The test program is also the first-party plugin program, by an argument; the
// third-party one, which knows itself by the name that the host gives to the copy
// it has verified; and what that starts in its turn.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 2 && os.Args[1] == "hoard":
		hoardMiB(os.Args[2])
	case len(os.Args) > 3 && os.Args[1] == "stranger":
		beStranger(os.Args[2], os.Args[3:])
	case len(os.Args) > 3 && os.Args[1] == "host":
		serveAsHost(os.Args[2], os.Args[3])
	case filepath.Base(os.Args[0]) == "program":
		noteInherited()
		sdk.Serve(rogue())
	case len(os.Args) > 1 && os.Args[1] == "serve-test-plugin":
		sdk.Serve(runnertest.Bundle(firstParty))
	default:
		os.Exit(m.Run())
	}
}

// setup is a host with its log, and a folder for outputs. At the end nothing may be
// left: no process, no private directory.
type setup struct {
	*testing.T
	host     *host.Host
	log      *runtest.Buffer
	out, tmp string
	plugins  string // the folder
	// opened, if set, is called when all data sockets of a run are there, and nobody has come to one.
	opened func()
}

func newSetup(t *testing.T, cfg host.Config, network bool, files ...string) *setup {
	t.Helper()
	s := &setup{T: t, log: &runtest.Buffer{}, out: t.TempDir()}
	var err error
	// Paths of sockets must be short.
	if s.tmp, err = os.MkdirTemp("/tmp", "cs"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.tmp) })
	cfg.TempDir = s.tmp
	if cfg.Executable, err = built.Self(); err != nil {
		t.Fatal(err)
	}
	cfg.FirstParty, cfg.Args = runnertest.Bundle(firstParty), []string{"serve-test-plugin"}
	counted := cfg.FirstParty.Stages[0]
	cfg.FirstParty.Stages[0] = stage.DefineSource(stage.About{Name: counted.Name, Summary: counted.Summary},
		func(_ struct{}, env stage.Env) (stage.Source, error) {
			// It is made last, because groups are opened from the sink to the source.
			if s.opened != nil {
				s.opened()
			}
			made, err := counted.Make([]byte("{}"), env)
			if err != nil {
				return nil, err
			}
			return made.(stage.Source), nil
		})
	cfg.PluginDir = install(t, network, append(files, s.out+":rw")...)
	cfg.Log = slog.New(slog.NewTextHandler(s.log, nil))
	s.plugins = cfg.PluginDir
	if s.host, err = host.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := s.processes(); len(left) > 0 {
			t.Errorf("processes left behind: %v", left)
		}
		if err := s.host.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left := names(t, s.tmp); len(left) > 0 {
			t.Errorf("private directories left behind: %v", left)
		}
	})
	return s
}

// install puts this program into a plugin folder. It is never read into memory: starting a confined process copies the
// page tables of this one, and of the race detector's shadow of all that it has read.
func install(t *testing.T, network bool, files ...string) string {
	t.Helper()
	digest, err := digestOfSelf()
	if err != nil {
		t.Fatal(err)
	}
	dir := pin(t, digest, network, files...)
	putSelf(t, filepath.Join(dir, host.ProgramPrefix+thirdParty))
	return dir
}

// putSelf makes this program, without the race detector, a file at path as well.
func putSelf(t *testing.T, path string) {
	t.Helper()
	self, err := built.Self()
	if err != nil {
		t.Fatal(err)
	}
	if os.Link(self, path) == nil {
		return
	}
	copySelf(t, path) // on another file system
}

func copySelf(t *testing.T, path string) {
	t.Helper()
	self, err := built.Self()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := host.CopyProgram(t.Context(), path, from, 0o700, false); err != nil {
		t.Fatal(err)
	}
}

var digestOfSelf = sync.OnceValues(func() (string, error) {
	path, err := built.Self()
	if err != nil {
		return "", err
	}
	self, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer self.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, self)
	return hex.EncodeToString(hash.Sum(nil)), err
})

func installProgram(t *testing.T, program []byte, network bool, files ...string) string {
	t.Helper()
	sum := sha256.Sum256(program)
	dir := pin(t, hex.EncodeToString(sum[:]), network, files...)
	if err := os.WriteFile(filepath.Join(dir, host.ProgramPrefix+thirdParty), program, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pin makes a plugin folder whose lock file pins a program that is to be put there.
func pin(t *testing.T, digest string, network bool, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	entry := host.LockEntry{Name: thirdParty, SHA256: digest, Network: network, Files: files}
	lock := fmt.Sprintf("plugins:\n  - {name: %s, version: 1.0.0, sha256: %s, network: %v, files: [%s], grants: '%s'}\n",
		thirdParty, entry.SHA256, network, strings.Join(files, ", "), entry.GrantsOf())
	if err := os.WriteFile(filepath.Join(dir, host.LockName), []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// processes lists the processes that this host's plugins are, and that they have
// started, wherever those are by now: the private directory is in their environment.
func (s *setup) processes() (list []string) {
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		s.Fatal(err)
	}
	for _, path := range paths {
		// A process may end while it is looked at; a zombie has no environment.
		if environment, err := os.ReadFile(path); err == nil && bytes.Contains(environment, []byte("HOME="+s.tmp)) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			list = append(list, filepath.Base(filepath.Dir(path))+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return list
}

type settings = map[string]any

// chain is the stages of a plan, of which one kind is the rogue's.
var chain = []struct {
	kind stage.Kind
	name string
}{
	{stage.KindSource, "count"}, {stage.KindFilter, "pass"}, {stage.KindEncoder, "lines"},
	{stage.KindEncryptor, "index"}, {stage.KindCompressor, "bracket"}, {stage.KindSink, "file"},
}

// planOf gives the third party one of the stages; the others run in this process.
func (s *setup) planOf(kind stage.Kind, name string, with settings) *plan.Plan {
	p := &plan.Plan{Name: "test", Isolation: plan.IsolationNone}
	for i, link := range chain {
		planned := plan.Stage{ID: string(link.kind), Kind: link.kind, Name: link.name, Plugin: firstParty, FirstParty: true, Config: settings{}}
		if link.kind == kind {
			planned.Name, planned.Plugin, planned.FirstParty, planned.Config = name, thirdParty, false, with
		}
		if link.kind == stage.KindSink {
			planned.Config["path"] = filepath.Join(s.out, "out")
		}
		p.Stages = append(p.Stages, planned)
		if n := len(p.Groups); n > 0 && p.Groups[n-1].Plugin == planned.Plugin {
			p.Groups[n-1].Stages = append(p.Groups[n-1].Stages, i)
		} else {
			p.Groups = append(p.Groups, plan.Group{Plugin: planned.Plugin, Stages: []int{i}, InHost: planned.FirstParty})
		}
	}
	return p
}

func (s *setup) execute(ctx context.Context, p *plan.Plan, events func(run.Event)) (*run.Receipt, *fault.Fault) {
	s.Helper()
	receipt, err := run.Execute(ctx, s.host, p, run.Options{ID: "r1", Events: events, Stall: time.Minute})
	return receipt, fault.From(err)
}

// pidOf is the process that the rogue has in a run that starts.
func pidOf(e run.Event) int {
	if started, ok := e.(run.Started); ok {
		for _, p := range started.Processes {
			if p.Plugin == thirdParty {
				return p.PID
			}
		}
	}
	return 0
}

// statusOf reads a line of /proc/PID/status.
func statusOf(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in %s", name, text)
	return ""
}
