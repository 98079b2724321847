package install_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
)

// TestLockKeptElsewhere: where plugins.lock is a link, the file that it leads to is replaced, with its mode
// and its comments, and the link stays.
func TestLockKeptElsewhere(t *testing.T) {
	cfg := config(t)
	elsewhere := filepath.Join(t.TempDir(), "pinned.yaml")
	if err := os.WriteFile(elsewhere, []byte("# ours\nplugins: []\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(cfg.Host.PluginDir, host.LockName)
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	must(t, cfg, install.Request{From: file(t, "x", plugin(t, "upper"))})
	starts(t, cfg, "upper")
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, %v", info, err)
	}
	got := contents(t, filepath.Dir(elsewhere))
	if text := got["pinned.yaml"]; len(got) != 1 || !strings.HasPrefix(text, "-rw-r----- # ours\n") || !strings.Contains(text, "name: upper") {
		t.Errorf("the other folder has %q", got)
	}
	// Who reads while it is replaced reads the old file to its end.
	text := make([]byte, 100)
	if n, _ := old.Read(text); string(text[:n]) != "# ours\nplugins: []\n" {
		t.Errorf("the old file has become %q", text[:n])
	}
}
