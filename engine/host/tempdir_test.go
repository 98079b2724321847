package host_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
)

// TestTempDir: the private directory is where the configuration says.
func TestTempDir(t *testing.T) {
	t.Parallel()
	tmp, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	h, err := host.New(host.Config{FirstParty: bundle(firstParty), TempDir: tmp})
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := h.NewDir(); err != nil || filepath.Dir(filepath.Dir(dir)) != tmp {
		t.Errorf("got %s, %v, want one in %s", dir, err, tmp)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if left := names(t, tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
