package isolation

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// serveAsHost runs a plugin until it is killed. out is where its output would go.
func serveAsHost(pluginDir, out string) {
	h, err := host.New(host.Config{FirstParty: runnertest.Bundle(firstParty), PluginDir: pluginDir, StartTimeout: time.Hour})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s := &setup{host: h, out: out}
	_, err = run.Execute(context.Background(), h, s.planOf("filter", "rogue", settings{"break": "settle"}), run.Options{ID: "r1"})
	fmt.Println(err)
	os.Exit(1)
}

// TestHostDies: when the host is killed its plugin ends, and, where it is confined,
// what that has started with it.
func TestHostDies(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		program []byte // nil for this one
		// processes is how many there are when it has settled in.
		processes int
	}{
		{"plugin", nil, 7},
		// It never looks at its lifeline.
		{"silent", []byte("#!/bin/sh\nexec sleep 600\n"), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, host.Config{}, false)
			plugins := s.plugins
			if c.program != nil {
				plugins = installProgram(t, c.program, false, s.out+":rw")
			}
			cmd := exec.Command(self, "host", plugins, s.out)
			cmd.Env = append(os.Environ(), "TMPDIR="+s.tmp)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }() // where the test fails before that
			sleeping := func() (n int) {
				for _, p := range s.processes() {
					if strings.Contains(p, "sleep 600 ") {
						n++
					}
				}
				return n
			}
			s.eventually("the plugin's processes", func() bool { return len(s.processes()) == c.processes && sleeping() > 0 })
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			s.eventually("the end of the plugin", func() bool {
				return len(s.processes()) == 0 || !confinable() && c.name == "plugin" && len(s.processes()) < c.processes
			})
			for _, left := range s.processes() {
				number, _, _ := strings.Cut(left, " ")
				if n, err := strconv.Atoi(number); err == nil {
					_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended by now
				}
			}
			s.eventually("the end of the rest", func() bool { return len(s.processes()) == 0 })
			// The next host that makes a private directory removes what is left.
			if h, err := host.New(host.Config{FirstParty: runnertest.Bundle(firstParty), TempDir: s.tmp}); err != nil {
				t.Error(err)
			} else if _, err := h.NewDir(); err != nil {
				t.Error(err)
			} else if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// eventually waits for a condition.
func (s *setup) eventually(what string, is func() bool) {
	s.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			s.Fatalf("%s did not come; there are %v", what, s.processes())
		}
	}
}

// TestThreads: a plugin outlives threads of the host that come and go, though the
// system ends it with the thread that has started it.
func TestThreads(t *testing.T) {
	s := newSetup(t, host.Config{}, false)
	p, err := s.host.Start(t.Context(), thirdParty)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 20 {
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(runtime.LockOSThread) // the thread ends with the goroutine
		}
		wait.Wait()
		runtime.GC()
	}
	if offer, err := p.Describe(t.Context()); err != nil || offer.Plugin != thirdParty {
		t.Errorf("it answers %+v, %v", offer, err)
	}
}
