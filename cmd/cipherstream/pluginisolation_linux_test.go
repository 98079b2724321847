package main

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

	"github.com/cipherstream/cipherstream/engine/host"
)

// TestPluginIsolation: the list says how a third-party plugin is kept apart, and
// --strict-isolation starts none that is not.
func TestPluginIsolation(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
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
	got := call(t, "plugin", "list", "--plugins", dir)
	if got.code != 0 || !regexp.MustCompile(`(?m)^good 1\.2\.3 \(third party; `+isolation+`\)$`).MatchString(got.stdout) {
		t.Errorf("%d: %s%s", got.code, got.stdout, got.stderr)
	}
	asJSON := call(t, "plugin", "list", "--plugins", dir, "--json")
	if asJSON.code != 0 || !regexp.MustCompile(`"isolation": ?"`+isolation+`"`).MatchString(asJSON.stdout) {
		t.Errorf("%d: %s%s", asJSON.code, asJSON.stdout, asJSON.stderr)
	}
	strict := call(t, "plugin", "list", "--plugins", dir, "--strict-isolation")
	if strict.code != 0 || strings.Contains(strict.stdout, "error[plugin.isolation]") == confinable {
		t.Errorf("%d: %s%s", strict.code, strict.stdout, strict.stderr)
	}
}
