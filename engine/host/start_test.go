package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

func TestOffers(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: thirdParty, self: true})
	found, err := s.Survey(t.Context())
	if err != nil || len(found) != 2 || found[1].Err != nil {
		t.Fatalf("got %+v, %v", found, err)
	}
	own, other := found[0].Offer, found[1].Offer
	if own.Plugin != firstParty || !own.FirstParty || other.Plugin != thirdParty || other.FirstParty {
		t.Fatalf("got %+v", found)
	}
	if other.Version != own.Version || len(other.Stages) != len(own.Stages) {
		t.Fatalf("the same stages came as %+v and %+v", own, other)
	}
	for i, m := range other.Stages {
		want := own.Stages[i]
		if m.Kind != want.Kind || m.Name != want.Name || m.Summary != want.Summary || m.In != want.In || m.Out != want.Out ||
			m.Concurrent != want.Concurrent || m.KeepsRows != want.KeepsRows || len(m.Spec.Fields) != len(want.Spec.Fields) {
			t.Errorf("stage %d: got %+v, want %+v", i, m, want)
		}
	}
	s.nothingRuns(t)
}

// TestRefusedBeforeStart: programs that are not what was pinned are never started.
func TestRefusedBeforeStart(t *testing.T) {
	witness := filepath.Join(t.TempDir(), "ran")
	program := script("touch '" + witness + "'")
	for _, c := range []struct {
		name   string
		plugin pinned
		ask    string
		code   string
		says   string
	}{
		{"digest", pinned{name: "evil", program: program, digest: strings.Repeat("0", 64), files: []string{filepath.Dir(witness) + ":rw"}}, "evil", "plugin.digest",
			`the program of plugin "evil" does not match plugins.lock: its sha256 is `},
		{"missing program", pinned{name: "gone", program: program, missing: true}, "gone", "plugin.missing",
			`plugin "gone" is in plugins.lock, but the program cannot be read: `},
		{"not in the lock", pinned{name: "known", program: program}, "unknown", "plugin.unknown",
			`there is no plugin called "unknown" in plugins.lock`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, host.Config{}, c.plugin)
			p, err := s.Start(t.Context(), c.ask)
			f := fault.From(err)
			if f == nil || f.Code != c.code || f.Class != fault.Usage || !strings.HasPrefix(f.Message, c.says) {
				t.Fatalf("got %v, %+v", p, f)
			}
			if _, err := os.Stat(witness); err == nil {
				t.Error("the program ran")
			}
		})
	}
}

// TestChangedProgram: what is verified is what runs, also when the program
// changes after the host has read the lock file.
func TestChangedProgram(t *testing.T) {
	witness := filepath.Join(t.TempDir(), "ran")
	s := newSetup(t, host.Config{}, pinned{name: thirdParty, self: true, files: []string{filepath.Dir(witness) + ":rw"}})
	path := filepath.Join(s.plugins, host.ProgramPrefix+thirdParty)
	if err := os.Remove(path); err != nil { // this program, which is executed, cannot be written
		t.Fatal(err)
	}
	if err := os.WriteFile(path, script("touch '"+witness+"'"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(t.Context(), thirdParty); !fault.Is(err, "plugin.digest") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(witness); err == nil {
		t.Error("the changed program ran")
	}
}

func TestNameMismatch(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: "fourth", self: true})
	found, err := s.Look(t.Context(), "fourth")
	f := fault.From(found.Err)
	if err != nil || f == nil || f.Code != "plugin.name" || f.Class != fault.Plugin || f.Message != `the program of plugin "fourth" says that it is "third"` {
		t.Fatalf("got %+v", f)
	}
}

func TestNameOfTheFirstParty(t *testing.T) {
	dir := t.TempDir()
	shortTemp(t)
	lock := "plugins:\n  - {name: " + firstParty + ", version: 1.0.0, sha256: " + strings.Repeat("0", 64) + "}\n"
	if err := os.WriteFile(filepath.Join(dir, host.LockName), []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := host.New(host.Config{FirstParty: stage.Bundle{Name: firstParty}, PluginDir: dir})
	if !fault.Is(err, "plugins.lock") {
		t.Errorf("got %v", err)
	}
}

// TestProgramsThatAreNoPlugins: each is a fault that names the plugin, says how it
// ended and holds its last words; and each is gone afterwards.
func TestProgramsThatAreNoPlugins(t *testing.T) {
	const forever = "exec sleep 600"
	for _, c := range []struct {
		name    string
		program []byte
		timeout time.Duration
		says    []string
		log     []string
	}{
		{name: "garbage", program: script("echo about to begin >&2", "echo 'hello, I am no plugin'", forever), timeout: 300 * time.Millisecond,
			says: []string{"no handshake within 300ms", "something other than a plugin's handshake"}, log: []string{"about to begin", "hello, I am no plugin"}},
		{name: "binary garbage", program: script("head -c 100000 /dev/zero", forever),
			says: []string{"something other than a plugin's handshake"}},
		{name: "endless garbage", program: script("exec yes no plugin"), says: []string{"something other than a plugin's handshake"}, log: []string{"no plugin"}},
		{name: "handshake of something else", program: script("echo 'a|b|c|d|e|f'", forever), timeout: 300 * time.Millisecond,
			says: []string{"something other than a plugin's handshake"}, log: []string{"a|b|c|d|e|f"}},
		{name: "handshake in a long line", program: script("head -c 16384 /dev/zero | tr '\\0' x; echo '1|1|unix|/nowhere|grpc'", forever),
			timeout: 300 * time.Millisecond, says: []string{"something other than a plugin's handshake"}},
		{name: "handshake with a port", program: script("echo '1|1|tcp|127.0.0.1:9|grpc'", forever), says: []string{"something other than the path of a unix socket"}},
		{name: "handshake with an abstract socket", program: script("echo '1|1|unix|@here|grpc'", forever), says: []string{"something other than the path of a unix socket"}},
		{name: "exit", program: script("echo 'no licence found' >&2", "exit 7"),
			says: []string{"exited with status 7"}, log: []string{"no licence found"}},
		{name: "exit without a word", program: script("exit 0"), says: []string{"exited with status 0"}},
		{name: "garbage, then exit", program: script("echo usage: this", "exit 2"),
			says: []string{"something other than a plugin's handshake", "exited with status 2"}, log: []string{"usage: this"}},
		{name: "signal", program: script("ulimit -c 0; exec python3 -c 'import ctypes; ctypes.string_at(0)'"), says: []string{"was killed by signal 11"}},
		{name: "hang", program: script("echo waiting >&2", forever), timeout: 300 * time.Millisecond,
			says: []string{"no handshake within 300ms"}, log: []string{"waiting"}},
		{name: "hang with half a handshake", program: script("printf '1|1|unix'", forever), timeout: 300 * time.Millisecond,
			says: []string{"no handshake within 300ms"}},
		{name: "hang that ignores signals", program: script("trap '' TERM INT HUP", "sleep 600 & sleep 600"), timeout: 300 * time.Millisecond,
			says: []string{"no handshake within 300ms"}},
		{name: "output kept open", program: script("sleep 600 &", "exit 4"), says: []string{"exited with status 4"}},
		{name: "other handshake", program: script("echo '2|1|unix|/nowhere|grpc'", forever), says: []string{"its handshake has another form"}},
		{name: "no program", program: []byte("this is not a program"), says: []string{"exec format error"}},
		{name: "no interpreter", program: []byte("#!/does/not/exist\n"), says: []string{"no such file or directory"}},
		{name: "empty", program: nil, says: []string{"exec format error"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, host.Config{StartTimeout: c.timeout}, pinned{name: "odd", program: c.program})
			_, err := s.Start(t.Context(), "odd")
			f := fault.From(err)
			if f == nil || f.Code != "plugin.start" || f.Class != fault.Plugin || !strings.HasPrefix(f.Message, `plugin "odd" did not start`) {
				t.Fatalf("got %+v", f)
			}
			for _, want := range c.says {
				if !strings.Contains(f.Message, want) {
					t.Errorf("the message %q lacks %q", f.Message, want)
				}
			}
			for _, want := range c.log {
				if !strings.Contains(f.Details["log"], want) || !strings.Contains(s.log.String(), want) {
					t.Errorf("last lines %q and log %q, want %q in both", f.Details["log"], s.log, want)
				}
			}
			if f.Details["plugin"] != "odd" || f.Hint == "" {
				t.Errorf("details %v, hint %q", f.Details, f.Hint)
			}
			s.nothingRuns(t)
		})
	}
}

// TestHandshakeWithoutService: the handshake offers a service that is not there.
func TestHandshakeWithoutService(t *testing.T) {
	s := newSetup(t, host.Config{StartTimeout: 500 * time.Millisecond},
		pinned{name: "odd", program: script("echo '1|1|unix|/does/not/exist|grpc'", "exec sleep 600")})
	found, err := s.Look(t.Context(), "odd")
	f := fault.From(found.Err)
	if err != nil || f == nil || f.Code != "plugin.unresponsive" || f.Class != fault.Plugin || f.Message != `plugin "odd" did not answer within 500ms` {
		t.Fatalf("got %+v", f)
	}
	s.nothingRuns(t)
}

// TestLastLines: of a flood only the last lines are kept.
func TestLastLines(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: "odd", program: script(
		"i=0", "while [ $i -lt 1000 ]; do echo line $i >&2; i=$((i+1)); done", "head -c 100000 /dev/zero | tr '\\0' x >&2", "exit 1")})
	_, err := s.Start(t.Context(), "odd")
	f := fault.From(err)
	if f == nil {
		t.Fatal("it started")
	}
	lines := strings.Split(f.Details["log"], "\n")
	if len(lines) != 20 || lines[0] != "line 981" || lines[18] != "line 999" || lines[19] != strings.Repeat("x", 2048) {
		t.Errorf("%d lines: %.200q", len(lines), f.Details["log"])
	}
	if n := strings.Count(s.log.String(), "\n"); n > 250 {
		t.Errorf("%d lines reached the log", n)
	}
}

func TestCancelledStart(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: "odd", program: script("exec sleep 600")})
	reason := errors.New("nobody waits any more")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, reason)
	defer cancel()
	began := time.Now()
	if _, err := s.Start(ctx, "odd"); !errors.Is(err, reason) {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	s.nothingRuns(t)
}

// TestChatter: what a library writes to standard output, before the handshake and after
// it, is log.
func TestChatter(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The script becomes the test program under the name by which it serves.
	link := filepath.Join(t.TempDir(), "program")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s := newSetup(t, host.Config{}, pinned{name: thirdParty, files: []string{link + ":ro"}, program: script("echo a banner", "echo '|||'", "exec '"+link+"'")})
	p, err := s.Start(t.Context(), thirdParty)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if offer, err := p.Describe(t.Context()); err != nil || offer.Plugin != thirdParty {
		t.Errorf("it answers %+v, %v", offer, err)
	}
	for _, line := range []string{`msg="a banner" plugin=third stream=stdout`, `msg=||| plugin=third stream=stdout`} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("the log lacks %s:\n%s", line, s.log)
		}
	}
}
