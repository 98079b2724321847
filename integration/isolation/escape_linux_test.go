package isolation

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/engine/host"
)

// worked is how a way out ends that is open.
const worked = "worked"

// escape tries one way out of the confinement, and says how that ended.
func escape(ctx context.Context, way string) string {
	kind, what, _ := strings.Cut(way, ":")
	pid, _ := strconv.Atoi(what)
	var err error
	switch kind {
	case "read":
		_, err = os.ReadFile(what)
	case "list":
		_, err = os.ReadDir(what)
	case "write":
		err = os.WriteFile(what, []byte("plugins: []\n"), 0o600)
	case "append":
		var file *os.File
		if file, err = os.OpenFile(what, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			file.Close()
		}
	case "connect":
		if text := dial(ctx, "unix", what); text != "" {
			return text
		}
	case "signal":
		err = syscall.Kill(pid, 0)
	case "ptrace":
		err = unix.PtraceSeize(pid)
	case "mount":
		err = syscall.Mount("tmpfs", what, "tmpfs", 0, "")
	case "remount":
		err = syscall.Mount("", what, "", syscall.MS_REMOUNT|syscall.MS_BIND, "")
	case "namespace":
		cmd := exec.CommandContext(ctx, "/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
		err = cmd.Run()
	default:
		return "unknown way " + kind
	}
	if err != nil {
		return err.Error()
	}
	return worked
}

// TestEscapes: of what belongs to others, a confined plugin reaches nothing, whoever runs it; and what it is granted, it has.
func TestEscapes(t *testing.T) {
	granted := t.TempDir()
	for name, text := range map[string]string{"in": "granted", "out": "", "beside": ""} {
		if err := os.WriteFile(filepath.Join(granted, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A file of the user that nobody else may read, and a server of his.
	home, err := os.MkdirTemp(shortHome(t), "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	key, socket := filepath.Join(home, "key"), filepath.Join(home, "s")
	if err := os.WriteFile(key, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, network := range []bool{false, true} {
		t.Run(fmt.Sprint(network), func(t *testing.T) {
			s := newSetup(t, host.Config{}, network, filepath.Join(granted, "in")+":ro", filepath.Join(granted, "out")+":rw")
			// What another run of the same host would have there.
			run, err := s.host.NewDir()
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(run)
			other, err := net.Listen("unix", filepath.Join(run, "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			// Its own program, of which other runs use the same copy.
			program := s.copyOfProgram(filepath.Dir(run))
			closed := []string{
				"append:" + program, "write:" + filepath.Join(filepath.Dir(program), "beside"),
				"read:" + key, "list:" + home, "connect:" + socket, "connect:" + filepath.Join(run, "s"), "list:" + run,
				"write:" + filepath.Join(s.plugins, host.LockName), "append:" + filepath.Join(s.plugins, host.LockName), "read:" + filepath.Join(s.plugins, host.LockName),
				"append:" + filepath.Join(granted, "in"), "read:" + filepath.Join(granted, "beside"),
				"list:" + s.plugins, "read:" + filepath.Join(s.plugins, host.ProgramPrefix+thirdParty),
				"list:/proc/" + strconv.Itoa(os.Getpid()) + "/fd", "list:/proc/" + strconv.Itoa(os.Getpid()) + "/root",
				"append:/proc/" + strconv.Itoa(os.Getpid()) + "/mem", "read:/proc/" + strconv.Itoa(os.Getpid()) + "/cmdline",
				"read:/proc/" + strconv.Itoa(os.Getpid()) + "/environ", "signal:" + strconv.Itoa(os.Getpid()), "ptrace:" + strconv.Itoa(os.Getpid()),
				"read:/etc/shadow", "read:/etc/passwd", "list:/root", "list:/home", "list:/sys", "list:/run", "list:/var",
				"write:/usr/bin/cipherstream-rogue", "write:/cipherstream-rogue", "write:/etc/cipherstream-rogue", "append:/proc/sys/kernel/core_pattern",
				"mount:/tmp", "remount:/usr", "remount:/proc", "namespace:",
			}
			open := []string{"read:" + program, "read:" + filepath.Join(granted, "in"), "append:" + filepath.Join(granted, "out"), "write:/tmp/x", "append:/dev/null", "read:/proc/self/status"}
			see, _ := s.see(spying{Try: slices.Concat(closed, open)})
			if !confinable() {
				t.Skip("the system does not let this user make the namespaces of a confined process")
			}
			for i, way := range closed {
				if see.Tried[i] == worked {
					t.Errorf("it got out by %s", way)
				}
			}
			for i, way := range open {
				if how := see.Tried[len(closed)+i]; how != worked {
					t.Errorf("%s: %s", way, how)
				}
			}
			if lock, err := os.ReadFile(filepath.Join(s.plugins, host.LockName)); err != nil || !strings.Contains(string(lock), "name: "+thirdParty) {
				t.Errorf("the lock file is %q, %v", lock, err)
			}
		})
	}
}

// shortHome is the home of the user who runs the test, where he may write in it; paths of sockets must be short.
func shortHome(t *testing.T) string {
	home, err := os.UserHomeDir()
	if err != nil || len(home) > 40 || unix.Access(home, unix.W_OK) != nil {
		return "/tmp"
	}
	return home
}
