package isolation

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestBreakages: however a stage of whatever kind breaks, the fault names the plugin
// and the stage, says how its process ended, and holds its last lines; nothing stands
// under the final name, and no process is left.
func TestBreakages(t *testing.T) {
	cfg := host.Config{Silence: 2 * time.Second, CancelGrace: 500 * time.Millisecond, MemoryLimit: 256 << 20}
	for _, c := range []struct {
		how     string
		code    string
		message string
		log     string // in its last lines
		hint    string
	}{
		{how: "panic", code: "plugin.panic", message: "the stage panicked"},
		{how: "goroutine", code: "plugin.exited", message: `plugin "rogue" exited with status 2`, log: "panic: in a goroutine of its own"},
		{how: "exit", code: "plugin.exited", message: `plugin "rogue" exited with status 7`, log: "about to exit", hint: "its last lines are in the details"},
		{how: "segv", code: "plugin.exited", message: `plugin "rogue" was killed by signal 11 (segmentation fault)`},
		{how: "flood", code: "plugin.exited", message: `plugin "rogue" exited with status 8`, log: "the end of the flood"},
		{how: "memory", code: "plugin.exited", message: `plugin "rogue" was ended: it used `, hint: "--plugin-memory"},
		{how: "memfd", code: "plugin.exited", message: `plugin "rogue" was ended: it used `, hint: "--plugin-memory"},
		{how: "shared", code: "plugin.exited", message: `plugin "rogue" was ended: it used `, hint: "--plugin-memory"},
		{how: "fork", code: "plugin.exited", message: `plugin "rogue" exited with status 9`},
	} {
		for _, link := range chain {
			t.Run(c.how+"/"+string(link.kind), func(t *testing.T) {
				t.Parallel()
				s := newSetup(t, cfg, false)
				const password = `hunter2"<&>-of-1`
				const key = "-----BEGIN KEY-----\nMIICXQ\"IBAAKBgQ\n-----END KEY-----\n"
				secret := password
				if link.kind == "sink" {
					secret = key
				}
				var events strings.Builder
				_, f := s.execute(t.Context(), s.planOf(link.kind, "rogue", settings{"break": c.how, "password": config.NewSecret(secret)}), func(e run.Event) {
					if l, ok := e.(run.Log); ok {
						events.WriteString(l.Message)
						for _, v := range l.Attributes {
							events.WriteString(v)
						}
					}
				})
				if f == nil || f.Code != c.code || f.Class != fault.Plugin || !strings.Contains(f.Message, c.message) || f.Stage != string(link.kind) {
					t.Fatalf("got %+v", f)
				}
				if strings.Contains("memory memfd shared", c.how) && !strings.HasSuffix(f.Message, "its limit is 256 MiB") {
					t.Errorf("message: %s", f.Message)
				}
				if f.Details["plugin"] != thirdParty || !strings.Contains(f.Details["log"], c.log) || !strings.Contains(f.Hint, c.hint) {
					t.Errorf("details %q, hint %q", f.Details, f.Hint)
				}
				for where, text := range map[string]string{"log": s.log.String(), "details": f.Details["log"], "events": events.String()} {
					for _, part := range []string{"hunter2", "<&>-of-1", "MIICXQ", "BAAKBgQ"} {
						if strings.Contains(text, part) {
							t.Errorf("%q is in the %s:\n%s", part, where, text)
						}
					}
				}
				if n := len(s.log.String()); n > 1<<20 {
					t.Errorf("%d bytes of log", n)
				}
				if lines := strings.Count(f.Details["log"], "\n"); lines > 20 {
					t.Errorf("%d last lines", lines)
				}
				if left := names(t, s.out); len(left) > 0 && (link.kind != "sink" || left[0] == "out") {
					t.Errorf("left behind: %v", left)
				}
				if left := s.processes(); len(left) > 0 {
					t.Errorf("processes left behind: %v", left)
				}
			})
		}
	}
}

// TestHang: a call that never returns, of whatever kind of stage, ends with the run:
// when somebody cancels it, and when its process stands still altogether.
func TestHang(t *testing.T) {
	cfg := host.Config{Silence: time.Second, CancelGrace: 300 * time.Millisecond}
	for _, link := range chain {
		for _, still := range []bool{false, true} {
			name := map[bool]string{false: "ignores the cancellation", true: "stands still"}[still]
			t.Run(string(link.kind)+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t, cfg, false)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				pid := 0
				_, f := s.execute(ctx, s.planOf(link.kind, "rogue", settings{"break": "hang"}), func(e run.Event) {
					if n := pidOf(e); n != 0 {
						pid = n
					}
					if l, ok := e.(run.Log); !ok || l.Message != saying {
						return
					}
					if !still {
						cancel()
					} else if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
						t.Error(err)
					}
				})
				switch {
				case f == nil:
					t.Fatal("it succeeded")
				case !still && f.Class != fault.Cancelled:
					t.Errorf("got %+v", f)
				case still && (f.Code != "plugin.exited" || f.Stage != string(link.kind) || f.Message != `plugin "rogue" was ended: it was silent for 1s`):
					t.Errorf("got %+v", f)
				}
				if left := s.processes(); len(left) > 0 {
					t.Errorf("processes left behind: %v", left)
				}
			})
		}
	}
}

// TestDescendants: what a plugin starts counts as the plugin's.
func TestDescendants(t *testing.T) {
	for how, message := range map[string]string{
		"children": `plugin "rogue" was ended: it used `,
		"bomb":     `plugin "rogue" was ended: it had more than 256 processes, the most that a plugin may have`,
	} {
		t.Run(how, func(t *testing.T) {
			s := newSetup(t, host.Config{MemoryLimit: 256 << 20}, false)
			_, f := s.execute(t.Context(), s.planOf("filter", "rogue", settings{"break": how}), nil)
			if f == nil || f.Code != "plugin.exited" || !strings.HasPrefix(f.Message, message) {
				t.Fatalf("got %+v", f)
			}
			if left := s.processes(); len(left) > 0 {
				t.Errorf("%d processes left behind", len(left))
			}
		})
	}
}

// TestChild: what a plugin has started in its own process group ends with it, whether
// or not it is confined.
func TestChild(t *testing.T) {
	s := newSetup(t, host.Config{}, false)
	_, f := s.execute(t.Context(), s.planOf("filter", "rogue", settings{"break": "child"}), nil)
	if f == nil || f.Message != `plugin "rogue" exited with status 9` {
		t.Errorf("got %+v", f)
	}
	if left := s.processes(); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
}

// TestOrphans: processes that have ended are no processes that a plugin has.
func TestOrphans(t *testing.T) {
	s := newSetup(t, host.Config{}, false)
	if receipt, f := s.execute(t.Context(), s.planOf("filter", "rogue", settings{"break": "orphans"}), nil); f != nil || receipt.Rows != 100 {
		t.Errorf("%+v, %+v", receipt, f)
	}
}

// TestGoodRogue: a stage of every kind works in confinement.
func TestGoodRogue(t *testing.T) {
	for _, link := range chain {
		s := newSetup(t, host.Config{StrictIsolation: confinable()}, false)
		if receipt, f := s.execute(t.Context(), s.planOf(link.kind, "rogue", settings{}), nil); f != nil || receipt.Rows != 100 {
			t.Errorf("%s: %+v, %+v", link.kind, receipt, f)
		}
	}
}

// TestLockedDirectory: the private directory is removed, whatever the plugin did to it.
func TestLockedDirectory(t *testing.T) {
	s := newSetup(t, host.Config{}, false)
	if _, f := s.execute(t.Context(), s.planOf("source", "rogue", settings{"break": "locked"}), nil); f != nil {
		t.Fatalf("got %+v", f)
	}
	for _, own := range names(t, s.tmp) {
		// What stays are its marker, and the copy of the program.
		if left := names(t, s.tmp+"/"+own); len(left) != 2 || left[1] != "programs" {
			t.Errorf("left in the private directory: %v", left)
		}
	}
}
