package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/engine/host"
	built "github.com/cipherstream/cipherstream/integration/program"
)

// TestPluginIsolation: the list says how a third-party plugin is kept apart, and
// --strict-isolation starts none that is not.
func TestPluginIsolation(t *testing.T) {
	dir := t.TempDir()
	self, err := built.Self()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "good-plugin")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	program := []byte("#!" + link + "\n")
	sum := sha256.Sum256(program)
	for name, text := range map[string][]byte{
		host.ProgramPrefix + "good": program,
		host.LockName:               fmt.Appendf(nil, "plugins:\n  - {name: good, version: 1.2.3, sha256: %s}\n", hex.EncodeToString(sum[:])),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Whether the system lets this user make namespaces, without the code that is tested.
	try := exec.Command("true")
	try.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	confinable := try.Run() == nil
	isolation := "confined, without network"
	if !confinable {
		isolation = "not confined: .*"
	}
	got := cmdtest.Call(t, "plugin", "list", "--plugins", dir)
	if got.Code != 0 || !regexp.MustCompile(`(?m)^good 1\.2\.3 \(third party; `+isolation+`\)$`).MatchString(got.Stdout) {
		t.Errorf("%d: %s%s", got.Code, got.Stdout, got.Stderr)
	}
	asJSON := cmdtest.Call(t, "plugin", "list", "--plugins", dir, "--json")
	if asJSON.Code != 0 || !regexp.MustCompile(`"isolation": ?"`+isolation+`"`).MatchString(asJSON.Stdout) {
		t.Errorf("%d: %s%s", asJSON.Code, asJSON.Stdout, asJSON.Stderr)
	}
	strict := cmdtest.Call(t, "plugin", "list", "--plugins", dir, "--strict-isolation")
	if strict.Code != 0 || strings.Contains(strict.Stdout, "error[plugin.isolation]") == confinable {
		t.Errorf("%d: %s%s", strict.Code, strict.Stdout, strict.Stderr)
	}
}
