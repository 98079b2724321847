package host_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
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

// TestLongTempDir: plugins start whatever the length of the folder for temporary files is, in it where their sockets
// have room there.
func TestLongTempDir(t *testing.T) {
	t.Parallel()
	for length := 28; length <= 48; length++ {
		// Nobody else's, not even of this test in another process.
		tmp := "/tmp/" + (rand.Text() + strings.Repeat("x", 48))[:length-len("/tmp/")]
		if err := os.Mkdir(tmp, 0o700); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(tmp)
		h, err := host.New(host.Config{FirstParty: bundle(firstParty), Args: []string{"serve-test-plugin"}, TempDir: tmp})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := h.Start(t.Context(), firstParty); err != nil {
			t.Errorf("%d bytes: %v", length, err)
		} else {
			p.Close()
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}
