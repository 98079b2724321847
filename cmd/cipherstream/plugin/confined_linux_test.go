package plugin

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// TestReplayIsConfined: a program that is given a recording reaches no more than a run would let it.
func TestReplayIsConfined(t *testing.T) {
	try := exec.Command("true")
	try.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	if try.Run() != nil {
		t.Skip("the system does not let this user make the namespaces of a confined process")
	}
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	dir := filepath.Join(t.TempDir(), "rec")
	if got := cmdtest.Call(t, "run", "practitioners", "-f", "csv", "-o", filepath.Join(t.TempDir(), "rows.csv"), "--record", dir); got.Code != terminal.ExitDone {
		t.Fatalf("it ended with %d:\n%s", got.Code, got.Stderr)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	program, _ := smallProgram(t, "nosy-plugin")
	base := []string{"plugin", "replay", dir, program, "--stage", "csv", "--set", "address=" + listener.Addr().String(), "--set", "file=" + file}
	for _, c := range []struct {
		args []string
		file string
	}{
		{nil, "file: false"},
		{[]string{"--allow-files", file}, "file: true"},
	} {
		got := cmdtest.Call(t, append(base, c.args...)...)
		if got.Code != terminal.ExitFailed || !strings.Contains(got.Stderr, "error[nosy.report]") || !strings.Contains(got.Stderr, "network: false") || !strings.Contains(got.Stderr, c.file) {
			t.Errorf("%v: it ended with %d:\n%s", c.args, got.Code, got.Stderr)
		}
	}
}
