package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// bundleOf makes a bundle with a program, a package and two links.
func bundleOf(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "lib", "package"), 0o755),
		os.WriteFile(filepath.Join(dir, BundleProgram), []byte("#!/bin/sh\n"), 0o755),
		os.WriteFile(filepath.Join(dir, "lib", "package", "code"), []byte("code"), 0o644),
		os.Symlink("package", filepath.Join(dir, "lib", "alias")),
		os.Symlink("/usr/bin/python3", filepath.Join(dir, "interpreter")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = RemoveBundle(dir) })
	return dir
}

func hashed(t *testing.T, dir string) string {
	t.Helper()
	digest, err := HashBundle(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// TestBundleDigest: everything that a plugin could notice changes the digest, and nothing else does.
func TestBundleDigest(t *testing.T) {
	t.Parallel()
	// Written down here, so that bundles that are installed stay what they are. It can be recomputed by hand: SHA-256 of
	// "cipherstream bundle 1\nl 11 interpreter\n16 /usr/bin/python3\nd 3 lib\nl 9 lib/alias\n7 package\nd 11 lib/package\n" +
	// "f 16 lib/package/code\n4\ncodex 6 plugin\n10\n#!/bin/sh\n".
	const want = "92957d17de613b7fdea5c3241b5af03fc049cab5288d2b338446f8646ff6d6d6"
	if got := hashed(t, bundleOf(t)); got != want {
		t.Errorf("the digest is %s", got)
	}
	for what, c := range map[string]struct {
		change  func(dir string) error
		differs bool
	}{
		"content": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "lib/package/code"), []byte("Code"), 0o644)
		}, true},
		"executable":       {func(dir string) error { return os.Chmod(filepath.Join(dir, "lib/package/code"), 0o755) }, true},
		"another file":     {func(dir string) error { return os.WriteFile(filepath.Join(dir, "lib/x"), nil, 0o644) }, true},
		"an empty folder":  {func(dir string) error { return os.Mkdir(filepath.Join(dir, "lib/x"), 0o755) }, true},
		"a file less":      {func(dir string) error { return os.Remove(filepath.Join(dir, "lib/package/code")) }, true},
		"another name":     {func(dir string) error { return os.Rename(filepath.Join(dir, "lib"), filepath.Join(dir, "lic")) }, true},
		"another link":     {func(dir string) error { return relink(dir, "lib/alias", "./package") }, true},
		"file, not a link": {func(dir string) error { return rewrite(dir, "lib/alias", "package") }, true},
		"other rights":     {func(dir string) error { return os.Chmod(filepath.Join(dir, "lib/package/code"), 0o444) }, false},
		"another time": {func(dir string) error {
			return os.Chtimes(filepath.Join(dir, BundleProgram), time.Unix(1, 0), time.Unix(1, 0))
		}, false},
	} {
		dir := bundleOf(t)
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		if got := hashed(t, dir); (got != want) != c.differs {
			t.Errorf("%s: the digest is %s", what, got)
		}
	}
}

func relink(dir, name, target string) error {
	path := filepath.Join(dir, name)
	return errors.Join(os.Remove(path), os.Symlink(target, path))
}

func rewrite(dir, name, text string) error {
	path := filepath.Join(dir, name)
	return errors.Join(os.Remove(path), os.WriteFile(path, []byte(text), 0o644))
}

// TestBundleCopy: a copy is the same bundle, which nobody writes by mistake.
func TestBundleCopy(t *testing.T) {
	t.Parallel()
	from := bundleOf(t)
	to := filepath.Join(t.TempDir(), "copy")
	digest, err := CopyBundle(t.Context(), to, from, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := hashed(t, to); digest != got || got != hashed(t, from) {
		t.Errorf("the copy has the digest %s, and was said to have %s", got, digest)
	}
	for _, name := range []string{".", "lib", "lib/package", "lib/package/code", BundleProgram} {
		if info, err := os.Lstat(filepath.Join(to, name)); err != nil || info.Mode().Perm()&0o222 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := RemoveBundle(to); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after it was removed: %v", err)
	}
	// A failure leaves nothing.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := CopyBundle(ctx, to, from, false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a failure: %v", err)
	}
}

// TestHostileBundles: what cannot be pinned, or is more than it should be, is refused with its name.
func TestHostileBundles(t *testing.T) {
	t.Parallel()
	link := func(name, target string) func(string) error {
		return func(dir string) error { return os.Symlink(target, filepath.Join(dir, name)) }
	}
	for what, c := range map[string]struct {
		make func(dir string) error
		says string
	}{
		"no program":           {func(dir string) error { return os.Remove(filepath.Join(dir, BundleProgram)) }, `no program called "plugin"`},
		"a program for nobody": {func(dir string) error { return os.Chmod(filepath.Join(dir, BundleProgram), 0o644) }, `no program called "plugin"`},
		"a linked program":     {func(dir string) error { return relink(dir, BundleProgram, "/usr/bin/env") }, `no program called "plugin"`},
		"out":                  {link("x", "../x"), `"x" leads to "../x", out of the bundle`},
		"out and back":         {link("x", "lib/../../bundle/lib"), "out of the bundle"},
		"out behind a link":    {link("x", "up/../secret"), "out of the bundle"},
		"a file of the system": {link("x", "/etc/passwd"), "out of the bundle"},
		"beside interpreters":  {link("x", "/usr/bin/../../etc/passwd"), "out of the bundle"},
		"the root":             {link("x", "/"), "out of the bundle"},
		"a pipe":               {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "lib/x"), 0o600) }, `"lib/x" is no file, folder or link`},
		"a line feed":          {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600) }, `"a\nb" has a control character`},
		"no UTF-8":             {func(dir string) error { return os.WriteFile(filepath.Join(dir, "\xff"), nil, 0o600) }, "not UTF-8"},
		"rights of another":    {func(dir string) error { return os.Chmod(filepath.Join(dir, BundleProgram), 0o755|os.ModeSetuid) }, "rights of another user"},
		"a huge file":          {func(dir string) error { return os.Truncate(filepath.Join(dir, "lib/package/code"), MaxBundle+1) }, "more than 2048 MiB"},
		"deep": {func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", maxBundleDepth+1)), 0o700)
		}, "deeper than 48"},
		"long": {func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, strings.Repeat(strings.Repeat("d", 200)+"/", 6)), 0o700)
		}, "longer than 1024"},
	} {
		dir := bundleOf(t)
		if err := c.make(dir); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		_, err := HashBundle(t.Context(), dir)
		if f := fault.From(err); f == nil || f.Code != codeProgram || f.Class != fault.Usage || !strings.Contains(f.Message, c.says) || strings.Contains(f.Message, "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := HashBundle(t.Context(), filepath.Join(t.TempDir(), "none")); !fault.Is(err, "plugin.missing") {
		t.Errorf("a folder that is not there: %v", err)
	}
	dir := bundleOf(t)
	linked := filepath.Join(t.TempDir(), "linked")
	if err := os.Symlink(dir, linked); err != nil {
		t.Fatal(err)
	}
	if _, err := HashBundle(t.Context(), linked); !fault.Is(err, codeProgram) {
		t.Errorf("a link to a bundle: %v", err)
	}
}

// TestBundleStates: what was verified once is not hashed again, and every change is noticed all the same, also one that puts the
// size and the time of the last change back.
func TestBundleStates(t *testing.T) {
	t.Parallel()
	dir := bundleOf(t)
	code := filepath.Join(dir, "lib/package/code")
	before, err := os.Stat(code)
	if err != nil {
		t.Fatal(err)
	}
	want := hashed(t, dir)
	var s bundleStates
	digest := func() string {
		t.Helper()
		got, err := s.digest(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := digest(); got != want || len(s.verified) != 0 {
		t.Errorf("a bundle that was just made: %s, and %d are remembered", got, len(s.verified))
	}
	// As if it had been made some time ago.
	_, list, err := readBundle(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.verified = map[string]verifiedBundle{dir: {"remembered", list}}
	if got := digest(); got != "remembered" {
		t.Errorf("nothing has changed, and it was hashed again: %s", got)
	}
	if err := errors.Join(os.WriteFile(code, []byte("evil"), 0o644), os.Chtimes(code, before.ModTime(), before.ModTime())); err != nil {
		t.Fatal(err)
	}
	if got := digest(); got == "remembered" || got == want {
		t.Errorf("a change was not noticed: %s", got)
	}
}

// FuzzBundleLink: a link that is taken leads into the bundle, or to a program of the system.
func FuzzBundleLink(f *testing.F) {
	for _, seed := range [][2]string{{"a", "b"}, {"a/b", "../c"}, {"a", ".."}, {"a/b/c", "../../../x"}, {"a", "/usr/bin/x"}, {"a", "/bin/../x"}, {"a", "b//../../c"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, target string) {
		if !filepath.IsLocal(name) || filepath.Clean(name) != name || checkBundleLink(name, target) != nil {
			return
		}
		if filepath.IsAbs(target) {
			if dir := filepath.Dir(target); dir != "/usr/bin" && dir != "/usr/local/bin" && dir != "/bin" {
				t.Errorf("%q -> %q", name, target)
			}
			return
		}
		if joined := filepath.Join(filepath.Dir(name), target); !filepath.IsLocal(joined) {
			t.Errorf("%q -> %q leads to %q", name, target, joined)
		}
	})
}

// TestBundleEntry: a bundle in the lock file is started from where it is, when it has the digest that is pinned.
func TestBundleEntry(t *testing.T) {
	t.Parallel()
	dir := bundleOf(t)
	entry, from, err := Pin(t.Context(), dir)
	if err != nil || !entry.Bundle {
		t.Fatalf("%+v, %v", entry, err)
	}
	h := &Host{}
	program, err := h.verifiedBundle(t.Context(), entry, from)
	if err != nil || program != filepath.Join(realPath(dir), BundleProgram) {
		t.Errorf("%s, %v", program, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lib", "more"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := h.verifiedBundle(t.Context(), entry, from); !fault.Is(err, "plugin.digest") {
		t.Errorf("a bundle with another file: %v", err)
	}
	text := fmt.Sprintf("plugins:\n  - {name: x, version: 1.0.0, sha256: %s, bundle: true}\n", entry.SHA256)
	lock, err := ParseLockfile("plugins.lock", []byte(text))
	if err != nil || !lock.Plugins[0].Bundle {
		t.Errorf("%+v, %v", lock, err)
	}
}
