package host_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

// TestSurroundings: a plugin process sees nothing of the host's own but what the race detector is told.
func TestSurroundings(t *testing.T) {
	t.Setenv("CIPHERSTREAM_DSN", "mysql://user:hunter2@host/x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	t.Setenv("LD_PRELOAD_OF_THE_HOST", "hunter2")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the one variable that is handed on
	// Something that whoever started the host left open for it to inherit.
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])

	s := newSetup(t, host.Config{MemoryLimit: 400 << 20}, pinned{name: thirdParty, self: true})
	for plugin, arguments := range map[string][]string{firstParty: {"serve-test-plugin"}, thirdParty: {}} {
		t.Run(plugin, func(t *testing.T) {
			see := s.see(t, plugin)
			if !slices.Equal(see.Arguments, arguments) {
				t.Errorf("arguments: %q", see.Arguments)
			}
			// A certificate has line breaks in it, and no sign that could be a variable's.
			want := map[string]string{
				"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", "HOME": see.Directory, "TMPDIR": see.Directory,
				"GOGC": "50", "GOMEMLIMIT": "314572800", "CIPHERSTREAM_LIFELINE": "3", "CIPHERSTREAM_PLUGIN": "b5d3a8f0-stage",
				"GORACE": "atexit_sleep_ms=0",
				"PWD":    see.Directory, // os/exec sets it with the directory
			}
			if plugin == firstParty {
				want["GOGC"], want["CIPHERSTREAM_GC_PERCENT"] = "200", "50" // until the first collection
			}
			for _, variable := range see.Environment {
				name, value, _ := strings.Cut(variable, "=")
				if expected, ok := want[name]; ok {
					if value != expected {
						t.Errorf("%s is %q, want %q", name, value, expected)
					}
					delete(want, name)
				} else if !strings.HasPrefix(name, "PLUGIN_") {
					t.Errorf("the process sees %s", name)
				}
				if strings.Contains(value, "hunter2") {
					t.Errorf("a secret is in %s", name)
				}
			}
			delete(want, "PWD")
			if len(want) > 0 {
				t.Errorf("the environment lacks %v", want)
			}
			if filepath.Dir(filepath.Dir(see.Directory)) != s.tmp {
				t.Errorf("it works in %s", see.Directory)
			}
			if _, err := os.Stat(see.Directory); !os.IsNotExist(err) {
				t.Errorf("its directory is still there: %v", err)
			}
			if see.Group != see.PID { // both are 1 in a process namespace of its own
				t.Errorf("process %d is in group %d", see.PID, see.Group)
			}
			if see.Input != "EOF" {
				t.Errorf("standard input: %q", see.Input)
			}
			if !slices.Equal(see.Descriptors, []int{0, 1, 2, 3}) {
				t.Errorf("it inherited the descriptors %v; 3 is the lifeline", see.Descriptors)
			}
			if want := 1_000_000; runtime.GOOS == "linux" && see.TimerSlack != want {
				t.Errorf("its timers may be %d ns late, want %d: with less, Go's runtime wakes up thousands of times a second", see.TimerSlack, want)
			}
			if see.GCPercent != 50 {
				t.Errorf("after the first collection it collects garbage at %d percent", see.GCPercent)
			}
			if see.CoreLimit != 0 {
				t.Errorf("core files may have %d bytes", see.CoreLimit)
			}
		})
	}
}

// TestPrivateDirectories: nobody else can look into them.
func TestPrivateDirectories(t *testing.T) {
	s := newSetup(t, host.Config{})
	dir, err := s.NewDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Dir(dir)} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if len(dir) > 70 {
		t.Errorf("%s is too long for sockets in it", dir)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
}
