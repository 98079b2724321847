package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPath: the program is there, beside the sandbox's, works, and what is up to date is not linked again.
func TestPath(t *testing.T) {
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	if out, err := exec.Command(path, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "cipherstream ") {
		t.Errorf("%v: %s", err, out)
	}
	again := exec.Command("go", "build", "-x", "-tags", "gms_pure_go", "-o", path, "../../cmd/cipherstream")
	again.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := again.CombinedOutput()
	if err != nil || strings.Contains(string(out), "/link ") {
		t.Errorf("%v: it is linked again:\n%.2000s", err, out)
	}
	if second, err := os.Stat(path); err != nil || !os.SameFile(first, second) {
		t.Errorf("another file: %v", err)
	}
}
