package install_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/install"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// bundle is a folder whose program is that plugin, with a file beside it.
func bundle(t *testing.T, what, beside string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "lib"), 0o755), os.WriteFile(filepath.Join(dir, host.BundleProgram), plugin(t, what), 0o755),
		os.WriteFile(filepath.Join(dir, "lib", "beside"), []byte(beside), 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestBundle: a folder is installed, verified, replaced and removed as a single program is.
func TestBundle(t *testing.T) {
	cfg := config(t)
	t.Cleanup(func() { _ = host.RemoveBundle(cfg.Host.PluginDir) })
	from := bundle(t, "upper", "1")
	first := must(t, cfg, install.Request{From: from}).Entry
	if !first.Bundle || first.File != "cipherstream-plugin-upper-"+first.SHA256[:12] {
		t.Errorf("got %+v", first)
	}
	starts(t, cfg, "upper")
	at := filepath.Join(cfg.Host.PluginDir, first.File)
	if digest, err := host.HashBundle(t.Context(), at); err != nil || digest != first.SHA256 {
		t.Errorf("%s, %v", digest, err)
	}

	// The same one again mends what is broken.
	beside := filepath.Join(at, "lib", "beside")
	if err := errors.Join(os.Chmod(beside, 0o600), os.WriteFile(beside, []byte("2"), 0o600)); err != nil {
		t.Fatal(err)
	}
	verified, err := install.Verify(t.Context(), cfg)
	if err != nil || len(verified) != 1 || verified[0].Checks[install.CheckDigest] != install.Failed || !fault.Is(verified[0].Faults[0], "plugin.digest") {
		t.Errorf("a changed bundle: %+v, %v", verified, err)
	}
	must(t, cfg, install.Request{From: from})
	starts(t, cfg, "upper")

	// Another one takes its place, and nothing of the first is left.
	other := bundle(t, "upper", "2")
	if _, err := install.Install(t.Context(), cfg, install.Request{From: other}); !fault.Is(err, install.CodeExists) {
		t.Errorf("without replace: %v", err)
	}
	second := must(t, cfg, install.Request{From: other, Replace: true})
	if second.Replaced == nil || second.Replaced.SHA256 != first.SHA256 {
		t.Errorf("got %+v", second)
	}
	starts(t, cfg, "upper")
	if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first one is still there: %v", err)
	}

	// A program takes the place of a bundle.
	must(t, cfg, install.Request{From: file(t, "upper", plugin(t, "upper")), Replace: true})
	starts(t, cfg, "upper")
	must(t, cfg, install.Request{From: other, Replace: true})
	if _, err := install.Remove(t.Context(), cfg.Host.PluginDir, "upper"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(cfg.Host.PluginDir)
	if err != nil || len(left) != 1 || left[0].Name() != host.LockName {
		t.Errorf("after it was removed there is %v, %v", left, err)
	}
}

// TestBundleDigestAsked: a digest that is asked for is that of the whole folder.
func TestBundleDigestAsked(t *testing.T) {
	cfg := config(t)
	t.Cleanup(func() { _ = host.RemoveBundle(cfg.Host.PluginDir) })
	from := bundle(t, "upper", "1")
	if _, err := install.Install(t.Context(), cfg, install.Request{From: from, SHA256: strings.Repeat("0", 64)}); !fault.Is(err, install.CodeDigest) {
		t.Errorf("got %v", err)
	}
	digest, err := host.HashBundle(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	must(t, cfg, install.Request{From: from, SHA256: digest})
	starts(t, cfg, "upper")
}
