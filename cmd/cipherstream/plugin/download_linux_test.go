package plugin

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// TestPluginDownload installs from a server, with the digest, without it, and unseen.
func TestPluginDownload(t *testing.T) {
	address, digest, trust := download(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"digest", []string{"--sha256", digest}, terminal.ExitDone, "installed good 1.2.3 in "},
		{"unseen", []string{"--yes"}, terminal.ExitDone, "installed good 1.2.3 in "},
		{"other digest", []string{"--sha256", strings.Repeat("0", 64)}, terminal.ExitUsage, "error[install.digest]: the program from " + address + " is not the one that was asked for: its sha256 is " + digest},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "plugins")
			p := cmdtest.Start(t, trust, append([]string{"plugin", "install", address + "?token=geheim", "--plugins", dir}, c.args...)...)
			var out bytes.Buffer
			p.Stdout = &out
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			code := p.ExitCode(t)
			shown := out.String() + p.Errs.String()
			if code != c.code || !strings.Contains(shown, c.says) || strings.Contains(shown, "geheim") {
				t.Errorf("it ended with %d: %s", code, shown)
			}
			if _, err := os.Stat(dir); (err == nil) != (c.code == terminal.ExitDone) {
				t.Errorf("the folder: %v", err)
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		got := cmdtest.Call(t, "plugin", "install", address, "--sha256", digest, "--plugins", t.TempDir())
		// This process does not trust the server.
		if got.Code != terminal.ExitConnect || !strings.Contains(got.Stderr, "error[install.download]: "+address+" cannot be downloaded: ") {
			t.Errorf("got %+v", got)
		}
	})
}

// TestPluginConfirmation asks on a terminal.
func TestPluginConfirmation(t *testing.T) {
	address, digest, trust := download(t)
	for answer, want := range map[string]int{"y\n": terminal.ExitDone, "yes\n": terminal.ExitDone, "\n": terminal.ExitUsage, "n\n": terminal.ExitUsage, "why\n": terminal.ExitUsage} {
		t.Run(strings.TrimSpace(answer), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "plugins")
			screen, tty := cmdtest.PseudoTerminal(t)
			p := cmdtest.Start(t, append(trust, "TERM=xterm"), "plugin", "install", address, "--plugins", dir)
			p.Stdin, p.Stdout, p.Stderr = tty, tty, tty
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			tty.Close()
			var shown bytes.Buffer
			one := make([]byte, 1)
			for !strings.HasSuffix(shown.String(), "[y/N] ") {
				if _, err := screen.Read(one); err != nil {
					t.Fatalf("no question: %v: %s", err, shown.String())
				}
				shown.Write(one)
			}
			if !strings.Contains(shown.String(), digest) {
				t.Errorf("the question has no digest: %s", shown.String())
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("the folder was made before the answer")
			}
			if _, err := io.WriteString(screen, answer); err != nil {
				t.Fatal(err)
			}
			rest := make(chan string)
			go func() {
				content, _ := io.ReadAll(screen) // ends with EIO when the last writer is gone
				rest <- string(content)
			}()
			code := p.ExitCode(t)
			after := <-rest
			if code != want || want == terminal.ExitUsage && !strings.Contains(after, "install.declined") {
				t.Errorf("it ended with %d: %s", code, after)
			}
			if _, err := os.Stat(dir); (err == nil) != (want == terminal.ExitDone) {
				t.Errorf("the folder: %v", err)
			}
		})
	}
}
