package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

const (
	firstParty = "test"
	thirdParty = "third"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The test program is also two plugin programs: the first-party one, by an
// argument, and a third-party one, which gets none and knows itself by the name
// that the host gives to the copy it has verified.
func TestMain(m *testing.M) {
	inherited = inheritedDescriptors()
	switch {
	case serveVersions(filepath.Base(os.Args[0])):
	case filepath.Base(os.Args[0]) == "program":
		sdk.Serve(bundle(thirdParty))
	case len(os.Args) > 1 && os.Args[1] == leavingHost:
		leave()
	case len(os.Args) > 1 && os.Args[1] == "serve-test-plugin":
		sdk.Serve(bundle(firstParty))
	default:
		os.Exit(m.Run())
	}
}

// bundle is the stages of runnertest, and a source that tells what it sees.
func bundle(name string) stage.Bundle {
	b := runnertest.Bundle(name)
	b.Stages = append(b.Stages, stage.DefineSource(stage.About{Name: "report", Summary: "Reports what its process sees."},
		func(struct{}, stage.Env) (stage.Source, error) { return report{}, nil }))
	return b
}

// surroundings is what a plugin process sees of the world.
type surroundings struct {
	Arguments   []string
	Environment []string
	Directory   string
	Group, PID  int
	Input       string // how reading standard input ends
	Descriptors []int
	CoreLimit   uint64
	TimerSlack  int // of a thread, in nanoseconds
	GCPercent   uint64
}

// inherited is the descriptors that this process got from its parent.
var inherited []int

// inheritedDescriptors lists what does not close on exec: whatever a Go program
// opens itself, the runtime's own included, does.
func inheritedDescriptors() (list []int) {
	for fd := range 256 {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	return list
}

type report struct{}

func (report) Open(context.Context) (*arrow.Schema, error) {
	see := surroundings{Arguments: os.Args[1:], Environment: os.Environ(), Group: unix.Getpgrp(), PID: os.Getpid(), Descriptors: inherited}
	var err error
	if see.Directory, err = os.Getwd(); err != nil {
		return nil, err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		see.Input = err.Error()
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return nil, err
	}
	see.CoreLimit, see.TimerSlack = limit.Cur, timerSlack()
	percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for range 1000 { // what a collection brings about follows it
		runtime.GC()
		metrics.Read(percent)
		if see.GCPercent = percent[0].Value.Uint64(); see.GCPercent == 50 {
			break
		}
	}
	text, err := json.Marshal(see)
	if err != nil {
		return nil, err
	}
	return nil, fault.New("test.report", fault.Source, "this is what the process sees").WithDetail("report", string(text))
}

func (report) Next(context.Context) (arrow.Record, error) { return nil, io.EOF }
func (report) Close() error                               { return nil }

// setup is a host with its log, its plugin folder, and a folder for outputs and
// one for private directories. At the end nothing may be left: no process, no
// private directory.
type setup struct {
	*host.Host
	log               *lockedBuffer
	plugins, out, tmp string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *lockedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *lockedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// pinned is a plugin's program, which the lock file pins.
type pinned struct {
	name    string
	program []byte
	// self makes this test program the plugin's, in the place of program.
	self bool
	// digest replaces the program's own; missing leaves the program out.
	digest  string
	missing bool
	// files is what it is granted of the file system.
	files []string
}

// shortTemp points TMPDIR at an empty folder whose path is short enough for
// sockets in it.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

func newSetup(t *testing.T, cfg host.Config, plugins ...pinned) *setup {
	t.Helper()
	s := &setup{log: &lockedBuffer{}, plugins: t.TempDir(), out: t.TempDir(), tmp: shortTemp(t)}
	lock := "plugins:\n"
	for _, p := range plugins {
		digest, path := p.digest, filepath.Join(s.plugins, host.ProgramPrefix+p.name)
		if p.self {
			digest = linkSelf(t, path)
		} else if !p.missing {
			if err := os.WriteFile(path, p.program, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if digest == "" {
			sum := sha256.Sum256(p.program)
			digest = hex.EncodeToString(sum[:])
		}
		entry := host.LockEntry{Name: p.name, SHA256: digest, Files: p.files}
		lock += fmt.Sprintf("  - {name: %s, version: 1.0.0, sha256: %s, files: [%s], grants: '%s'}\n", p.name, digest, strings.Join(p.files, ", "), entry.GrantsOf())
	}
	if len(plugins) > 0 {
		if err := os.WriteFile(filepath.Join(s.plugins, host.LockName), []byte(lock), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.FirstParty = bundle(firstParty)
	cfg.Args = []string{"serve-test-plugin"}
	cfg.PluginDir = s.plugins
	cfg.Log = slog.New(slog.NewTextHandler(s.log, nil))
	h, err := host.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Host = h
	t.Cleanup(func() {
		// What a process had must be gone before the host is.
		s.nothingRuns(t)
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left := names(t, s.tmp); len(left) > 0 {
			t.Errorf("private directories left behind: %v", left)
		}
	})
	return s
}

// nothingRuns holds that no process is left, and no private directory of one. What stays are the marker and the copies of
// the programs, which are whole.
func (s *setup) nothingRuns(t *testing.T) {
	t.Helper()
	runtest.NoChildren(t)
	for _, own := range names(t, s.tmp) {
		private := filepath.Join(s.tmp, own)
		left := names(t, private)
		if len(left) > 2 || len(left) == 2 && left[1] != "programs" {
			t.Errorf("left in the private directory: %v", left)
		}
		copies, _ := filepath.Glob(filepath.Join(private, "programs", "*"))
		for _, dir := range copies {
			text, err := os.ReadFile(filepath.Join(dir, "program"))
			if sum := fmt.Sprintf("%x", sha256.Sum256(text)); err != nil || sum != filepath.Base(dir) {
				t.Errorf("the copy in %s has the digest %s: %v", dir, sum, err)
			}
		}
	}
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

// linkSelf makes this test program a file at path as well, and returns its SHA-256. It is never read into memory:
// starting a confined process copies the page tables of this one, and of the race detector's shadow of all that it has
// read.
func linkSelf(t *testing.T, path string) (digest string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if digest, err = digestOfSelf(); err != nil {
		t.Fatal(err)
	}
	if os.Link(self, path) == nil {
		return digest
	}
	// On another file system.
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := host.CopyProgram(t.Context(), path, from, 0o700, false); err != nil {
		t.Fatal(err)
	}
	return digest
}

var digestOfSelf = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
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

func script(lines ...string) []byte {
	return []byte("#!/bin/sh\n" + strings.Join(lines, "\n") + "\n")
}

// group describes a group of stages, KIND/NAME, the sink's file being out.
func (s *setup) group(input string, stages ...string) *pb.OpenRequest {
	req := &pb.OpenRequest{RunId: "r1", Input: input, Limits: &pb.Limits{}}
	for _, text := range stages {
		kind, name, _ := strings.Cut(text, "/")
		settings := "{}"
		if kind == string(stage.KindSink) {
			settings = fmt.Sprintf(`{"path": %q}`, filepath.Join(s.out, "out"))
		}
		req.Stages = append(req.Stages, &pb.Stage{Id: kind, Kind: kind, Name: name, Settings: []byte(settings)})
	}
	return req
}

// see asks a plugin's process what it sees.
func (s *setup) see(t *testing.T, plugin string) surroundings {
	t.Helper()
	p, err := s.Start(t.Context(), plugin)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Open(t.Context(), s.group("", "source/report", "encoder/lines", "sink/file"), nil); err != nil {
		t.Fatal(err)
	}
	f := fault.From(p.Start(t.Context(), func(*pb.Event) {}))
	var see surroundings
	if f == nil || f.Code != "test.report" {
		t.Fatalf("got %+v", f)
	}
	if err := json.Unmarshal([]byte(f.Details["report"]), &see); err != nil {
		t.Fatal(err)
	}
	if confined := plugin != firstParty && confinable(); !confined && see.PID != p.PID() || confined && see.PID != 1 {
		t.Errorf("process %d answers for process %d", see.PID, p.PID())
	}
	return see
}
