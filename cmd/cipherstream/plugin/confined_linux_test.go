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

// needConfinement skips a test where the system does not confine.
func needConfinement(t *testing.T) {
	t.Helper()
	try := exec.Command("true")
	try.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	if try.Run() != nil {
		t.Skip("the system does not let this user make the namespaces of a confined process")
	}
}

// outside is what a confined program does not reach: the address of a listener, and a file.
func outside(t *testing.T) (address, file string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	file = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String(), file
}

// TestPluginTestConfines: a program is tested with what a run would let it reach: the network when it declares that it
// wants it, and the files that are granted. One that forgot the word so fails here, and not in production.
func TestPluginTestConfines(t *testing.T) {
	needConfinement(t)
	address, file := outside(t)
	trials := writeTrials(t, "encoder/csv:\n  settings: {address: \""+address+"\", file: "+file+"}\n")
	for _, c := range []struct {
		program string
		args    []string
		reaches string
	}{
		{"nosy-plugin", nil, "it reaches network: false, file: false"},
		{"nosy-plugin", []string{"--allow-files", file + ":ro"}, "it reaches network: false, file: true"},
		{"nosy-network-plugin", nil, "it reaches network: true, file: false"},
	} {
		program, _ := smallProgram(t, c.program)
		got := cmdtest.Call(t, append([]string{"plugin", "test", program, "--settings", trials}, c.args...)...)
		if got.Code != terminal.ExitFailed || !strings.Contains(got.Stdout, c.reaches) {
			t.Errorf("%s %v: it ended with %d:\n%s%s", c.program, c.args, got.Code, got.Stdout, got.Stderr)
		}
	}
}

// TestReplayIsConfined: a program that is given a recording reaches no more than a run would let it.
func TestReplayIsConfined(t *testing.T) {
	needConfinement(t)
	t.Setenv(session.EnvDSN, cmdtest.SmallPractice(t))
	dir := filepath.Join(t.TempDir(), "rec")
	if got := cmdtest.Call(t, "run", "practitioners", "-f", "csv", "-o", filepath.Join(t.TempDir(), "rows.csv"), "--record", dir); got.Code != terminal.ExitDone {
		t.Fatalf("it ended with %d:\n%s", got.Code, got.Stderr)
	}
	address, file := outside(t)
	program, _ := smallProgram(t, "nosy-plugin")
	base := []string{"plugin", "replay", dir, program, "--stage", "csv", "--set", "address=" + address, "--set", "file=" + file}
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
